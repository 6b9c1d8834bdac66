//! The servers that the supervisor starts, each on a free port with files that only their owner may read.

pub mod mailpit;
pub mod portal;
pub mod ports;
pub mod postgres;
pub mod private;
pub mod random;
pub mod temporal;
pub mod tls;
pub mod versitygw;
pub mod worker;

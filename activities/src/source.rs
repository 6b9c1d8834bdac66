//! The platform's database. It is read in sessions with known settings, one snapshot an account, and never written.

pub mod pool;
pub mod replica;
pub mod session;
pub mod snapshot;

//! Promises of the whole system, each kept against real servers.

mod faults;
mod installation;
mod presign;
mod servers;
mod stack;
mod sweep;
mod upload;

//! Promises of the whole system, each kept against real servers.

mod faults;
mod fulfil;
mod installation;
mod installation_of;
mod presign;
mod servers;
mod stack;
mod sweep;
mod upload;

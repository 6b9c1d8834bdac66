//! Promises of the whole system, each kept against real servers.

mod stack;

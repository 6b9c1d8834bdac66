//! Expiry, sweep, and the bucket that they may touch.

mod alone;
mod deletion;
mod expire;
mod installation;
mod lifecycle;
mod recheck;
mod sweep;

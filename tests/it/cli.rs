//! The production binary as an operator meets it.

mod broken;
mod clocks;
mod config;
mod glance;
mod policy;
mod receipts;
mod silence;
mod tls;
mod watched;

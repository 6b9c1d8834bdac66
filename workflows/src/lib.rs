//! The vocabulary of the export system and its three Temporal workflows.
//!
//! Nothing here touches a database, a store or a clock: this crate cannot name them.

pub mod contract;
pub mod export_at_once;
pub mod export_expiry;
mod failure;
mod input;
pub mod nightly_batch;
mod policies;

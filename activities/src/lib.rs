//! Fulfils data-export requests, in wings. They are listed in the order in which a request passes through them.

/// The zip archive and its manifest.
pub mod archive;
/// Which tables, columns and rows are exported.
pub mod catalogue;
/// The dependencies and settings of every step.
pub mod context;
/// One request: the steps from `pending` to `ready`.
pub mod fulfil;
/// Work without a single request: expiry and sweep.
pub mod passes;
/// Every statement on the queue and its log.
pub mod requests;
/// Values as JSON and CSV.
pub mod serialise;
/// The platform's database, read only.
pub mod source;
/// The bucket: objects, keys, checksums, and whose bucket it is.
pub mod store;
/// The activities: the edge to Temporal.
pub mod temporal;

pub mod alone;
pub mod blocking;
pub mod failure;
pub mod metrics;
pub mod pulse;
pub mod search_attributes;
pub mod spool;

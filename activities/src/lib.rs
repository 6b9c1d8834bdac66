//! Fulfils data-export requests.
//!
//! The folders, in the order in which a request passes through them:
//!
//! - [`temporal`]: the activities, the only code here that knows Temporal; [`context`] holds what they share.
//! - [`fulfil`]: one request, from `pending` to `ready`.
//! - [`requests`]: every statement on the queue and its log.
//! - [`source`]: the platform's database, read only.
//! - [`catalogue`]: which tables, columns and rows are exported; [`scope`]: which of them a request asks for.
//! - [`serialise`]: values as JSON, CSV and XLSX.
//! - [`archive`]: the zip archive and its manifest.
//! - [`store`]: the bucket: objects, keys, checksums, and whose bucket it is.
//! - [`passes`]: work on all requests at once: expiry and sweep.

pub mod archive;
pub mod catalogue;
pub mod context;
pub mod fulfil;
pub mod passes;
pub mod receipt;
pub mod requests;
pub mod serialise;
pub mod source;
pub mod store;
pub mod temporal;

pub mod alone;
pub mod blocking;
pub mod database;
pub mod failure;
pub mod local;
pub mod metrics;
pub mod pulse;
pub mod scope;
pub mod search_attributes;
pub mod spool;
pub mod user_id;

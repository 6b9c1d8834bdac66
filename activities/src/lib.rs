//! The steps that take one export request from `pending` to `ready`, and the passes that expire and sweep.
pub mod archive;
pub mod blocking;
pub mod claim;
pub mod failure;
pub mod installation;
pub mod manifest;
pub mod object_key;
pub mod pending;
pub mod presign;
pub mod pseudonym;
pub mod pulse;
pub mod request;
pub mod serialise;
pub mod spool;
pub mod store;
pub mod sweep;
pub mod upload;

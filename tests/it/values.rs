//! What is in an archive: every value, every reader, and `verify`.

mod archive;
mod catalogue;
mod catalogue_tools;
mod cells;
mod isolation;
mod junk;
mod privacy;
pub(crate) mod types;
mod undeliverable;
mod verify;
mod verify_bounds;

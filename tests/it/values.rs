//! What is in an archive: every value, every reader, and `verify`.

mod archive;
mod catalogue;
mod cells;
mod isolation;
mod junk;
mod privacy;
pub(crate) mod types;
mod undeliverable;
mod verify;
mod verify_bounds;

//! What is in an archive: every value, every reader, and `verify`.

mod archive;
mod catalogue;
mod catalogue_update;
mod cells;
mod first_catalogue;
mod grants;
mod import;
mod isolation;
mod junk;
mod page;
mod parquet;
mod privacy;
mod scope;
mod scope_proof;
pub(crate) mod types;
mod undeliverable;
mod verify;
mod verify_bounds;
mod workbook;

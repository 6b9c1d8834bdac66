pub mod migrate;
pub mod verify;
//! What the binary `export-worker` is made of.

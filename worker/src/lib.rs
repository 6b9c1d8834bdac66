//! What the binary `export-worker` is made of.

pub mod migrate;
pub mod verify;

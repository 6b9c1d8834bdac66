//! The portal: what it answers to whom, and what its process cannot do.

mod ask;
mod download;
mod events;
mod issuer;
mod list;
mod page;
mod part;
mod problems;
mod process;
mod receipt;
mod register;
mod rights;
mod schemathesis;
mod sessions;
mod stream;
mod tokens;

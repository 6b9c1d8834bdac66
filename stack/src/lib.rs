//! Starts PostgreSQL, Temporal and the store for the demo, for development and for the tests.
//!
//! The production binary does not use this crate. One supervisor process ([`supervisor`]) starts every server and stops
//! them all as soon as the process that asked for them is gone.

pub mod database;
pub mod demo;
pub mod development;
pub mod instruments;
pub mod platform;
pub mod processes;
pub mod program;
pub mod servers;
pub mod shared;
pub mod stack;
pub mod supervisor;
pub mod terminal;
pub mod tools;
pub mod wait;

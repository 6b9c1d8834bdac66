//! Starts PostgreSQL, Temporal and the store for the demo, for development and for the tests.
//!
//! The production binary does not use this crate. One supervisor process ([`supervisor`]) starts every server and stops
//! them all as soon as the process that asked for them is gone.

pub mod checker;
pub mod database;
pub mod demo;
pub mod development;
pub mod faulty_store;
pub mod platform;
pub mod ports;
pub mod postgres;
pub mod private;
pub mod processes;
pub mod program;
pub mod proxy;
pub mod random;
pub mod round_trips;

pub mod shared;
pub mod stack;
pub mod supervisor;
pub mod temporal;
pub mod terminal;
pub mod tls;
pub mod tools;
pub mod versitygw;
pub mod wait;
pub mod worker;

//! Promises of the whole system, one file each, tested on real servers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail it as the test itself does"
)]

mod archive;
mod attempts;
mod broken;
mod catalogue;
mod checker;
mod checksum;
mod clocks;
mod codec;
mod collect;
mod config;
mod constraints;
mod counts;
mod csv_reader;
mod cut;
mod database;
mod deletion;
mod exactly_once;
mod expire;
mod extremes;
mod faults;
mod fulfil;
mod fulfil_faults;
mod glance;
mod held_back;
mod histories;
mod hostile;
mod installation;
mod installation_of;
mod junk;
mod locked_row;
mod meddling;
mod memory;
mod night;
mod night_faults;
mod night_of;
mod only;
mod operate;
mod operators;
mod outages;
mod passes;
mod pause;
mod pending;
mod platform;
mod poison;
mod pooler;
mod presign;
mod privacy;
mod races;
mod replay;
mod replica;
mod rolling;
mod sample;
mod schedule;
mod search_attributes;
mod servers;
mod settings;
mod silence;
mod source;
mod stack;
mod steering;
mod support;
mod sweep;
mod tls;
mod types;
mod undeliverable;
mod upload;
mod values;
mod verify;
mod verify_bounds;
mod watched;

//! Parts of the binary `export-worker`: the worker, its schedules, the operator's commands, the doctor.

pub mod cli;
pub mod codec;
pub mod config;
pub mod connect;
pub mod doctor;
mod http;
pub mod migrate;
pub mod output;
pub mod run;
pub mod status;
pub mod telemetry;
pub mod temporal;

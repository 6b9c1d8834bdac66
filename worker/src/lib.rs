//! Parts of the binary `export-worker`: the worker, its schedules, the operator's commands, the doctor.

pub mod codec;
pub mod commands;
pub mod config;
pub mod connect;
pub mod doctor;
pub mod history;
mod http;
pub mod migrate;
pub mod night;
pub mod output;
pub mod run;
pub mod schedule;
pub mod status;
pub mod steer;
pub mod telemetry;

//! Measures the cost of an export, and of a night of many small accounts. There is no pass or fail.

mod bench;
mod contender;
mod formats;
mod goals;
mod measured;
mod plot;
mod rows;
mod scale;
mod schemas;
mod subject;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use export_stack::program;

/// Measures the cost of an export, and of a night of many small accounts.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the cost of an export, compared with COPY and other tools.
    Export(bench::Options),
    /// Run one night of many small accounts and measure its cost.
    Night(scale::Size),
    /// One run of the bench, in a separate process.
    #[command(hide = true, subcommand)]
    Measured(measured::Measured),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Export(options) => program::run_until_interrupted(bench::run(options)),
        Command::Night(size) => program::run_until_interrupted(scale::run(size)),
        Command::Measured(measured) => program::run_on_all_cores(measured::measure(measured)),
    }
}

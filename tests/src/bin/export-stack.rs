//! Starts and stops the servers for development and for the demo.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use export_tests::supervisor::serve;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The process that starts and stops the servers; the other commands start it themselves.
    #[command(hide = true)]
    Supervise {
        /// The folder that it owns.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Supervise { folder } = Arguments::parse().command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    match runtime.block_on(serve::serve(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

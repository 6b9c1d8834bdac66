//! Starts and stops the servers for development and for the demo.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use export_stack::{demo, development, program, supervisor::serve};

/// Starts PostgreSQL, Temporal and the store, for development and for the demo.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the servers and a worker for development, with data that lasts.
    Up,
    /// Stop the servers of `up`, and a kept demo.
    Down,
    /// Show one night, from pending requests to a verified download.
    Demo {
        /// Leave everything running afterwards.
        #[arg(long)]
        keep: bool,
    },
    /// The process that starts and stops the servers; the other commands start it themselves.
    #[command(hide = true)]
    Supervise {
        /// The folder that it owns.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Up => program::run_until_interrupted(development::up()),
        Command::Down => program::run_until_interrupted(development::down()),
        Command::Demo { keep } => program::run_until_interrupted(demo::run(keep)),
        Command::Supervise { folder } => program::run_to_end(serve::serve(&folder)),
    }
}

//! Starts and stops the servers for development and for the demo.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use export_tests::{bench, demo, development, scale, supervisor::serve, terminal::say};
use tokio::signal::unix::{SignalKind, signal};

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
    /// Run one night of many small accounts and measure its cost.
    Scale(scale::Size),
    /// Measure the cost of an export, compared with COPY and other tools.
    Bench(bench::Options),
    /// One run of the bench, in a separate process.
    #[command(hide = true, subcommand)]
    Measured(bench::Measured),
    /// The process that starts and stops the servers; the other commands start it themselves.
    #[command(hide = true)]
    Supervise {
        /// The folder that it owns.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if let Command::Measured(measured) = command {
        // As many threads as the worker has.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return ended(
            runtime
                .context("failed to start")
                .and_then(|runtime| runtime.block_on(bench::measure(measured)).map(|()| ExitCode::SUCCESS)),
        );
    }
    // One thread: the supervisor must start its servers on the thread that lives as long as the process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    ended(runtime.context("failed to start").and_then(|runtime| runtime.block_on(run(command))))
}

fn ended(done: anyhow::Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(error) => {
            // As in `say`: the terminal may be gone.
            let _ = writeln!(std::io::stderr(), "export-stack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up => until_interrupted(Box::pin(development::up())).await,
        Command::Down => until_interrupted(development::down()).await,
        Command::Demo { keep } => until_interrupted(Box::pin(demo::run(keep))).await,
        Command::Scale(size) => until_interrupted(Box::pin(scale::run(size))).await,
        Command::Bench(options) => until_interrupted(Box::pin(bench::run(options))).await,
        Command::Measured(measured) => Box::pin(bench::measure(measured)).await.map(|()| ExitCode::SUCCESS),
        Command::Supervise { folder } => serve::serve(&folder).await.map(|()| ExitCode::SUCCESS),
    }
}

/// Drops the running command at the first signal, which stops everything that it has started.
async fn until_interrupted(doing: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    // The future is dropped at the end of this block, before any further output.
    let code = {
        tokio::select! {
            done = Box::pin(doing) => return done.map(|()| ExitCode::SUCCESS),
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        }
    };
    say("Interrupted; everything that was started has stopped.");
    Ok(ExitCode::from(code))
}

//! The frame of a program: its runtime, its signals and its exit code.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use crate::terminal::say;

/// Runs to the end, or to the first signal. A signal drops the future, which stops everything that it has started.
pub fn run_until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    run(until_interrupted(work))
}

/// Runs to the end. Signals have their usual effect.
pub fn run_to_end(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    run(async { work.await.map(|()| ExitCode::SUCCESS) })
}

/// Runs with as many threads as the worker has.
pub fn run_on_all_cores(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = Builder::new_multi_thread().enable_all().build().context("failed to start");
    exit(runtime.and_then(|runtime| runtime.block_on(work)).map(|()| ExitCode::SUCCESS))
}

/// Runs on one thread: the supervisor must start its servers on the thread that lives as long as the process.
fn run(work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build().context("failed to start");
    exit(runtime.and_then(|runtime| runtime.block_on(work)))
}

fn exit(ended: anyhow::Result<ExitCode>) -> ExitCode {
    ended.unwrap_or_else(|error| {
        // As in `say`: the terminal may be gone.
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn until_interrupted(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("failed to listen for SIGHUP")?;
    // The future is dropped at the end of this block, before any further output.
    let code = {
        tokio::select! {
            ended = Box::pin(work) => return ended.map(|()| ExitCode::SUCCESS),
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        }
    };
    say("Interrupted; everything that was started has stopped.");
    Ok(ExitCode::from(code))
}

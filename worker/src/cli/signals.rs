//! Ends a command at SIGINT or SIGTERM, also in a container.
//!
//! In a container, the command is process 1, and the kernel ignores signals to process 1 that have no handler. `run`
//! and `codec-server` drain instead.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Ends this process at the next SIGINT or SIGTERM, with the exit code that shells use for that signal.
///
/// The process ends immediately, as without a handler: the server rolls back a running statement, and the next sweep
/// deletes an unfinished upload.
pub(super) fn end_on_signals() -> Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signal = signal(kind).context("failed to listen for signals")?;
        // A separate task, so that a command that computes ends too.
        tokio::spawn(async move {
            signal.recv().await;
            std::process::exit(128 + kind.as_raw_value());
        });
    }
    Ok(())
}

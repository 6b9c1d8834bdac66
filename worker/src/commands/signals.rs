//! Ends a command at SIGINT or SIGTERM, also in a container.
//!
//! There a command is process 1, for which the kernel ignores a signal that has no handler. `run` and `codec-server`
//! drain instead.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Ends this process at the next SIGINT or SIGTERM, with the exit code by which shells know the signal.
///
/// At once, as without a handler: a statement under way is rolled back by its server, and the next sweep takes an upload
/// under way.
pub(super) fn end_on_signals() -> Result<()> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signal = signal(kind).context("failed to listen for signals")?;
        // In a task of its own, so that a command which computes ends, too.
        tokio::spawn(async move {
            signal.recv().await;
            std::process::exit(128 + kind.as_raw_value());
        });
    }
    Ok(())
}

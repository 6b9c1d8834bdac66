//! `history dump|replay`.

pub(super) mod dump;
pub(super) mod replay;

use anyhow::Result;
use clap::Subcommand;

use super::ExitStatus;
use crate::{config::Config, output::Output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the history of a run to a file, for `history replay` and for a report.
    Dump(dump::Arguments),
    /// Check whether this release can continue these histories, without a server.
    Replay(replay::Arguments),
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Dump(arguments) => dump::run(arguments, config, output).await,
            Self::Replay(arguments) => replay::run(arguments, config, output).await,
        }
    }
}

//! `events prune`.

use anyhow::Result;
use clap::Subcommand;
use export_activities::requests::operate;
use serde::Serialize;

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Command {
    /// Delete log lines older than 24 months, and requests without any log line left.
    Prune,
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Prune => prune(config, output).await,
        }
    }
}

#[derive(Serialize)]
struct Pruned {
    pruned: u64,
}

/// Deletes the log lines past their retention.
async fn prune(config: &Config, output: Output) -> Result<ExitStatus> {
    let pruned = operate::prune_events(&connect::state(config)?).await?;
    output.write(&Pruned { pruned }, |answer, out| {
        writeln!(
            out,
            "{} lines older than 24 months deleted, and the requests that have none left",
            answer.pruned
        )
    })?;
    Ok(ExitStatus::Success)
}

//! `sweep`: a sweep by hand.

use anyhow::Result;
use clap::Args;
use export_activities::{
    passes::sweep::{self, SweepOptions},
    pulse::Pulse,
};

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only count them.
    #[arg(long)]
    dry_run: bool,
    /// Delete even if too many objects would go: at least ten and half, or more than 20 and a tenth.
    #[arg(long)]
    force: bool,
}

/// Runs one sweep.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { dry_run, force } = *arguments;
    let state = connect::state(config)?;
    let store = connect::store_for_command(config).await?;
    let options = SweepOptions { min_age: config.sweep_min_age, dry_run, force };
    let ended = sweep::sweep(&state, &store, &options, &Pulse::default()).await?;
    output.write(&ended, |ended, out| {
        if ended.refused {
            return writeln!(
                out,
                "Too many objects seem orphaned: nothing was deleted. Is EXPORT_DATABASE_URL right? --force deletes anyway"
            );
        }
        let what = if dry_run { "would be deleted" } else { "deleted" };
        writeln!(out, "{} orphans {what}", ended.swept)
    })?;
    Ok(if ended.refused { ExitStatus::Failure } else { ExitStatus::Success })
}

//! `recheck`: compares delivered archives by hand.

use anyhow::Result;
use clap::Args;
use export_activities::{
    passes::recheck::{self, RecheckOptions},
    pulse::Pulse,
};

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Read all of them back, instead of `EXPORT_RECHECK_BYTES`.
    #[arg(long)]
    all: bool,
}

/// Compares once. Returns `Failure` if an archive is damaged.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let state = connect::state(config)?;
    let store = connect::store_for_command(config).await?;
    let bytes = if arguments.all { u64::MAX } else { config.recheck_bytes };
    let options = RecheckOptions { bytes, within: None };
    let done = recheck::recheck(&state, &store, &options, &Pulse::default()).await?;
    output.write(&done, |done, out| {
        writeln!(out, "Compared the sizes of {} archives, and read {} back", done.compared, done.read)?;
        for request in &done.damaged {
            writeln!(out, "request {request}: its archive is missing, or not as it was delivered")?;
        }
        Ok(())
    })?;
    Ok(if done.damaged.is_empty() { ExitStatus::Success } else { ExitStatus::Failure })
}

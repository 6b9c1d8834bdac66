//! `lifecycle print` and `lifecycle apply`: the bucket's own rules.

use anyhow::Result;
use clap::Subcommand;
use export_activities::store::{
    installation,
    lifecycle::{self, Lifecycle},
};
use serde::Serialize;

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Command {
    /// Print rules by which the store itself deletes what was left, as the S3 API takes them.
    Print,
    /// Set these rules in the bucket; other rules are kept.
    Apply,
}

#[derive(Serialize)]
struct Applied {
    location: String,
    is_set: bool,
    harmful: Vec<String>,
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Print => {
                let rules = lifecycle::rules();
                output.write(&rules, |rules, out| writeln!(out, "{rules:#}"))?;
                Ok(ExitStatus::Success)
            }
            Self::Apply => apply(config, output).await,
        }
    }
}

async fn apply(config: &Config, output: Output) -> Result<ExitStatus> {
    let state = connect::state(config)?;
    let store = connect::store_for_command(config).await?;
    installation::check_bucket(&state, &store).await?;
    store.set_lifecycle().await?;
    // Read back: a store may accept rules and not keep them.
    let Lifecycle { is_ours, harmful } =
        store.lifecycle().await?.unwrap_or(Lifecycle { is_ours: false, harmful: Vec::new() });
    let applied = Applied { location: store.location().to_owned(), is_set: is_ours, harmful };
    output.write(&applied, |applied, out| {
        let location = &applied.location;
        if applied.is_set {
            writeln!(out, "`{location}` deletes what was left by itself, after nine days")?;
        } else {
            writeln!(out, "`{location}` accepted the rules, but does not have them")?;
        }
        applied.harmful.iter().try_for_each(|harm| writeln!(out, "{harm}: change or remove it"))
    })?;
    let is_well = applied.is_set && applied.harmful.is_empty();
    Ok(if is_well { ExitStatus::Success } else { ExitStatus::Failure })
}

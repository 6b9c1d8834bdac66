//! `bucket move`: changes where new archives are stored.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use export_activities::{
    database::pool::Pool,
    requests::archives::{self, Archives, read_installation},
    store::installation::{self, check_mark},
};
use serde::Serialize;

use super::ExitStatus;
use crate::{
    config::Config,
    connect::{self, explain},
    output::Output,
};

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Command {
    /// Store new archives in the bucket of EXPORT_BUCKET; existing archives stay in their bucket until they expire.
    Move {
        /// Only the address changed: this is the same bucket and holds the same archives.
        #[arg(long)]
        same_bucket: bool,
    },
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Move { same_bucket } => move_to(config, output, same_bucket).await,
        }
    }
}

#[derive(Serialize)]
struct Moved {
    from: Option<String>,
    to: String,
    archives: u64,
    done: bool,
    sentence: String,
}

/// Moves the installation to the bucket of the configuration. Deletes and copies nothing.
///
/// The former bucket must still be reachable and ours: its archives are deleted there when they expire.
async fn move_to(config: &Config, output: Output, same: bool) -> Result<ExitStatus> {
    let state = connect::state(config)?;
    let store = connect::store_for_command(config).await?;
    let to = store.location().to_owned();
    let from = read_installation(&state).await?.location;
    let moved =
        |archives, done, sentence| Moved { from: from.clone(), to: to.clone(), archives, done, sentence };
    let answer = match &from {
        None => moved(0, false, "No bucket is recorded yet: start `export-worker run` once".to_owned()),
        Some(from) if *from == to => moved(0, true, format!("New archives are stored in `{to}` already")),
        Some(from) => match prepare(&state, &store, from, same).await {
            Err(error) => moved(0, false, format!("Nothing was moved: {}", explain::store(&error))),
            Ok(()) => {
                let kind = if same { Archives::Same } else { Archives::Stay };
                let archives = archives::move_location(&state, from, &to, kind).await?;
                let rest = if same {
                    format!("{archives} archives are in it under their new address")
                } else {
                    format!("{archives} archives stay in `{from}` until they expire, and are deleted there")
                };
                moved(archives, true, format!("New archives are stored in `{to}` from now on; {rest}"))
            }
        },
    };
    let verdict = if answer.done { ExitStatus::Success } else { ExitStatus::Failure };
    output.write(&answer, |answer, out| writeln!(out, "{}", answer.sentence))?;
    Ok(verdict)
}

/// Checks that both buckets are ours. Marks an empty new one.
async fn prepare(
    state: &Pool,
    store: &export_activities::store::Store,
    from: &str,
    same: bool,
) -> Result<()> {
    let installation = read_installation(state).await?;
    if same {
        check_mark(store, installation.id).await?;
        return installation::check_archives(state, store, from).await;
    }
    if installation.has_archives {
        let former = store.at(from)?;
        check_mark(&former, installation.id)
            .await
            .with_context(|| format!("failed to reach the former bucket `{from}` with these credentials"))?;
    }
    installation::mark_if_empty(store, installation.id).await?.require_ours(store)?;
    Ok(())
}

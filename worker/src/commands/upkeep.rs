//! `expire`, `sweep` and `events prune`: upkeep by hand.

use anyhow::Result;
use export_activities::{
    passes::{
        expire::{self, DELETE_WITHIN, ExpiryPass},
        sweep::{self as sweeper, SweepOptions},
    },
    pulse::Pulse,
    requests::{operate, state::Trace},
};
use export_workflows::contract::ExpireInput;
use serde::Serialize;

use super::Verdict;
use crate::{config::Config, connect, output::Output};

/// Runs one expiry pass.
pub(super) async fn expire(config: &Config, output: Output, accounts: bool, force: bool) -> Result<Verdict> {
    let state = connect::state(config)?;
    let store = connect::store_for_command(config).await?;
    let asked = if accounts { Some((connect::source(config)?, connect::catalogue(config)?)) } else { None };
    let input = ExpireInput { accounts, force, ..ExpireInput::default() };
    let pass = ExpiryPass {
        state: &state,
        accounts: asked.as_ref().map(|(source, catalogue)| (source, catalogue)),
        store: &store,
        trace: &Trace::default(),
        pulse: &Pulse::default(),
        delete_within: DELETE_WITHIN,
    };
    let ended = expire::expire(&pass, &input).await?;
    output.write(&ended, |ended, out| {
        writeln!(out, "expired {}, revoked {}, archives deleted {}", ended.expired, ended.revoked, ended.deleted)?;
        if ended.deletions_left > 0 {
            writeln!(out, "{} archives are still in the store: it did not answer, or refused to delete them", ended.deletions_left)?;
        }
        if ended.too_many_accounts_gone {
            writeln!(
                out,
                "Too many users seem to be gone: nothing was revoked. Is EXPORT_SOURCE_URL right? --force revokes anyway"
            )?;
        }
        Ok(())
    })?;
    let well = ended.deletions_left == 0 && !ended.too_many_accounts_gone;
    Ok(if well { Verdict::Good } else { Verdict::Bad })
}

/// Runs one sweep.
pub(super) async fn sweep(config: &Config, output: Output, dry_run: bool, force: bool) -> Result<Verdict> {
    let state = connect::state(config)?;
    let store = connect::store_for_command(config).await?;
    let options = SweepOptions { min_age: config.sweep_min_age, dry_run, force };
    let ended = sweeper::sweep(&state, &store, &options, &Pulse::default()).await?;
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
    Ok(if ended.refused { Verdict::Bad } else { Verdict::Good })
}

#[derive(Serialize)]
struct Pruned {
    pruned: u64,
}

/// Deletes the log lines past their retention.
pub(super) async fn prune(config: &Config, output: Output) -> Result<Verdict> {
    let pruned = operate::prune_events(&connect::state(config)?).await?;
    output.write(&Pruned { pruned }, |answer, out| {
        writeln!(
            out,
            "{} lines older than 24 months deleted, and the requests that have none left",
            answer.pruned
        )
    })?;
    Ok(Verdict::Good)
}

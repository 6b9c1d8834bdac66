//! `expire`: an expiry pass by hand.

use anyhow::Result;
use clap::Args;
use export_activities::{
    passes::expire::{self, DELETE_WITHIN, ExpiryPass},
    pulse::Pulse,
    requests::state::Trace,
};
use export_workflows::contract::ExpireInput;

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also revoke the archives of users who no longer have a row.
    #[arg(long)]
    accounts: bool,
    /// Revoke even if too many users seem to be gone: at least ten and half, or more than 20 and a tenth.
    #[arg(long, requires = "accounts")]
    force: bool,
}

/// Runs one expiry pass.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { accounts, force } = *arguments;
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
    Ok(if well { ExitStatus::Success } else { ExitStatus::Failure })
}

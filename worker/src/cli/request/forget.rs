//! `request forget`.

use anyhow::Result;
use clap::Args;
use export_activities::{
    database::pool::Pool,
    passes::expire::delete_archive,
    requests::operate::{self, RevokeReason},
    user_id::UserId,
};
use serde::Serialize;

use crate::{
    cli::ExitStatus,
    config::Config,
    connect::{self, explain},
    output::Output,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// User whose requests are revoked.
    #[arg(long)]
    user: UserId,
}

#[derive(Serialize)]
struct ForgottenAnswer {
    revoked: usize,
    #[serde(flatten)]
    requests: operate::Forgotten,
}

/// Revokes the user's open requests, deletes the archives, and removes the user's id from the rows.
///
/// Safe to repeat: each step takes what the step before has finished.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let user = &arguments.user;
    let state = connect::state(config)?;
    let open = operate::open_requests(&state, user).await?;
    for id in &open {
        operate::revoke(&state, *id, RevokeReason::UserRequest).await?;
    }
    let deleted = delete_archives(config, &state, user).await;
    let requests = operate::forget(&state, user).await?;
    let answer = ForgottenAnswer { revoked: open.len(), requests };
    output.write(&answer, |answer, out| {
        writeln!(out, "{} revoked, {} forgotten", answer.revoked, answer.requests.forgotten)?;
        if answer.requests.left > 0 {
            let why = deleted.err().map(|error| format!(" ({})", explain::command(&error))).unwrap_or_default();
            writeln!(
                out,
                "{} still name the user, because their archives are not deleted yet{why}: THEIR LINKS STILL WORK. Run \
                 this command again after the next expiry pass",
                answer.requests.left
            )?;
        }
        Ok(())
    })?;
    Ok(if answer.requests.left == 0 { ExitStatus::Success } else { ExitStatus::Failure })
}

/// Deletes the archives of one user, before any other.
async fn delete_archives(config: &Config, state: &Pool, user: &UserId) -> Result<()> {
    let stored = operate::stored_requests(state, user).await?;
    if stored.is_empty() {
        return Ok(());
    }
    let store = connect::store_for_command(config).await?;
    for id in stored {
        delete_archive(state, &store, id).await?;
    }
    Ok(())
}

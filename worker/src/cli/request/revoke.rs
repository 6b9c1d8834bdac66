//! `request revoke`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use export_activities::{
    database::pool::Pool,
    passes::expire::delete_archive,
    requests::operate::{self, RevokeReason, Revoked},
};
use uuid::Uuid;

use super::{RequestAnswer, unknown};
use crate::{
    cli::ExitStatus,
    config::Config,
    connect::{self, explain},
    output::Output,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The request.
    id: Uuid,
    /// Reason.
    #[arg(long, value_enum)]
    reason: Reason,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Reason {
    UserRequest,
    Legal,
    Mistake,
}

impl From<Reason> for RevokeReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::UserRequest => Self::UserRequest,
            Reason::Legal => Self::Legal,
            Reason::Mistake => Self::Mistake,
        }
    }
}

/// Revokes a request and deletes its archive immediately. Succeeds only if the link no longer works.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let id = arguments.id;
    let state = connect::state(config)?;
    let (done, sentence) = match operate::revoke(&state, id, arguments.reason.into()).await? {
        Revoked::Unknown => return unknown(id).write(output),
        Revoked::HadFailed { reason, has_archive: false } => {
            (false, format!("Request {id} had failed before ({reason}); nothing was changed"))
        }
        Revoked::HadFailed { reason, has_archive: true } => {
            let (done, archive) = delete(config, &state, id).await;
            (done, format!("Request {id} had failed before ({reason}), and {archive}"))
        }
        Revoked::Done { had_archive: false } => {
            (true, format!("Request {id} is revoked; there was no archive"))
        }
        Revoked::Done { had_archive: true } => {
            let (done, archive) = delete(config, &state, id).await;
            (done, format!("Request {id} is revoked, and {archive}"))
        }
    };
    RequestAnswer { id, retry_of: None, done, sentence }.write(output)
}

/// Deletes this archive before any other: its link works until then. Returns whether it is deleted, and a sentence.
async fn delete(config: &Config, state: &Pool, id: Uuid) -> (bool, String) {
    let deleted = async { delete_archive(state, &connect::store_for_command(config).await?, id).await };
    match deleted.await {
        Ok(_) => (true, "its archive is deleted: the link is dead".to_owned()),
        Err(error) => (
            false,
            format!(
                "its archive could not be deleted from here ({}): THE LINK STILL WORKS until the expiry pass, every five \
                 minutes, has deleted it",
                explain::store(&error)
            ),
        ),
    }
}

//! `request retry`.

use anyhow::Result;
use clap::Args;
use export_activities::requests::operate::{self, Retried};
use uuid::Uuid;

use super::{RequestAnswer, unknown};
use crate::{cli::ExitStatus, config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The failed request.
    id: Uuid,
}

/// Repeats a failed request.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let id = arguments.id;
    let answer = |new, done, sentence| RequestAnswer { id: new, retry_of: Some(id), done, sentence };
    match operate::retry(&connect::state(config)?, id).await? {
        Retried::Created(new) => answer(new, true, new.to_string()),
        Retried::Waiting(new) => answer(new, true, new.to_string()),
        Retried::NotFailed => {
            answer(id, false, format!("Request {id} has not failed: there is nothing to repeat"))
        }
        Retried::Forgotten => answer(
            id,
            false,
            format!("The user of request {id} was forgotten: it is unknown whose data to export"),
        ),
        Retried::Unknown => unknown(id),
    }
    .write(output)
}

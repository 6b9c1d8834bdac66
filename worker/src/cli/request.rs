//! `request create|list|show|fulfil|revoke|retry|forget`.

mod create;
mod forget;
mod fulfil;
mod list;
mod retry;
mod revoke;
mod show;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use uuid::Uuid;

use super::ExitStatus;
use crate::{config::Config, output::Output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a pending request.
    Create(create::Arguments),
    /// List requests, newest first.
    List(list::Arguments),
    /// Show one request and its log: whether a link exists, and when it expires.
    Show(show::Arguments),
    /// Fulfil a pending request now, in a run separate from the night.
    Fulfil(fulfil::Arguments),
    /// Revoke a request: delete its archive, so that its link stops working.
    Revoke(revoke::Arguments),
    /// Create a pending request that repeats a failed one.
    Retry(retry::Arguments),
    /// Revoke the requests of an erased account, delete their archives, and remove the user's id from their rows.
    Forget(forget::Arguments),
}

impl Command {
    /// Returns whether the command waits for a run, or deletes without a bound.
    pub(super) fn may_take_long(&self) -> bool {
        match self {
            Self::Fulfil(arguments) => arguments.waits(),
            Self::Forget(_) => true,
            _ => false,
        }
    }

    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Create(arguments) => create::run(&arguments, config, output).await,
            Self::List(arguments) => list::run(&arguments, config, output).await,
            Self::Show(arguments) => show::run(&arguments, config, output).await,
            Self::Fulfil(arguments) => fulfil::run(&arguments, config, output).await,
            Self::Revoke(arguments) => revoke::run(&arguments, config, output).await,
            Self::Retry(arguments) => retry::run(&arguments, config, output).await,
            Self::Forget(arguments) => forget::run(&arguments, config, output).await,
        }
    }
}

#[derive(Serialize)]
struct RequestAnswer {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<Uuid>,
    done: bool,
    sentence: String,
}

impl RequestAnswer {
    fn write(self, output: Output) -> Result<ExitStatus> {
        let verdict = if self.done { ExitStatus::Success } else { ExitStatus::Failure };
        output.write(&self, |answer, out| writeln!(out, "{}", answer.sentence))?;
        Ok(verdict)
    }
}

fn unknown(id: Uuid) -> RequestAnswer {
    RequestAnswer { id, retry_of: None, done: false, sentence: format!("There is no request {id}") }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

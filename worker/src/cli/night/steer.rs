//! `night pause|resume|window|cancel`.

use anyhow::{Result, bail};
use clap::Args;
use export_workflows::nightly_batch::{Pause, Resume, SetWindow, Steering};
use serde::Serialize;
use temporalio_client::Client;

use crate::{
    cli::{ExitStatus, arguments::text},
    config::Config,
    connect,
    output::Output,
    temporal::{
        night::{self, RunningNight},
        steer::{self, NightUpdate, Steered},
    },
};

#[derive(Debug, Args)]
pub(in crate::cli) struct PauseArguments {
    /// Reason, shown with the night.
    #[arg(long, value_name = "TEXT", value_parser = text)]
    why: String,
    /// Who you are; else $USER on this host.
    #[arg(long, value_name = "NAME", value_parser = text)]
    by: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ResumeArguments {
    /// Reason, for the night's history.
    #[arg(long, value_name = "TEXT", value_parser = text)]
    why: Option<String>,
    /// Who you are; else $USER on this host.
    #[arg(long, value_name = "NAME", value_parser = text)]
    by: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WindowArguments {
    /// Maximum number of requests, 1 to 50.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=50))]
    lanes: u32,
}

#[derive(Serialize)]
struct SteerAnswer {
    /// The night that received the update; `None` if none runs.
    workflow_id: Option<String>,
    done: bool,
    sentence: String,
    steering: Option<Steering>,
}

impl SteerAnswer {
    fn write(self, output: Output) -> Result<ExitStatus> {
        output.write(&self, |said, out| writeln!(out, "{}", said.sentence))?;
        Ok(if self.done { ExitStatus::Success } else { ExitStatus::Failure })
    }
}

/// Starts no further request.
pub(super) async fn pause(arguments: PauseArguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let update = NightUpdate::Pause(Pause { by: who(arguments.by)?, why: arguments.why });
    say(
        config,
        output,
        update,
        "is paused: requests in flight complete, and none starts until `export-worker night resume`",
    )
    .await
}

/// Resumes the night.
pub(super) async fn resume(
    arguments: ResumeArguments,
    config: &Config,
    output: Output,
) -> Result<ExitStatus> {
    let update = NightUpdate::Resume(Resume { by: who(arguments.by)?, why: arguments.why });
    say(config, output, update, "continues").await
}

/// Sets the maximum number of requests in flight.
pub(super) async fn window(
    arguments: &WindowArguments,
    config: &Config,
    output: Output,
) -> Result<ExitStatus> {
    let lanes = arguments.lanes;
    let then = format!("has {lanes} requests in flight at most");
    say(config, output, NightUpdate::SetWindow(SetWindow { lanes }), &then).await
}

async fn say(config: &Config, output: Output, update: NightUpdate, then: &str) -> Result<ExitStatus> {
    let client = connect::temporal(config).await?;
    let Some(RunningNight { workflow_id: id, .. }) = night::running(&client).await? else {
        return none_runs(output);
    };
    let (done, sentence, steering) = match steer::send(&client, &id, update).await? {
        Steered::Taken(steering) => (true, format!("`{id}` {then}"), Some(steering)),
        Steered::Refused(why) => (false, format!("`{id}` refuses: {why}"), None),
        Steered::Ended => (false, format!("`{id}` has just ended; nothing was changed"), None),
    };
    SteerAnswer { workflow_id: Some(id), done, sentence, steering }.write(output)
}

/// Cancels the night.
pub(super) async fn cancel(config: &Config, output: Output) -> Result<ExitStatus> {
    let client: Client = connect::temporal(config).await?;
    let Some(RunningNight { workflow_id: id, .. }) = night::running(&client).await? else {
        return none_runs(output);
    };
    steer::cancel(&client, &id, "`export-worker night cancel`").await?;
    let sentence = format!(
        "`{id}` is cancelled: its attempts release their requests within seconds, and pending requests wait for the next night"
    );
    SteerAnswer { workflow_id: Some(id), done: true, sentence, steering: None }.write(output)
}

fn none_runs(output: Output) -> Result<ExitStatus> {
    let sentence = "No night is running; `export-worker night trigger` starts one, `export-worker schedule pause` keeps \
                    the next from starting"
        .to_owned();
    SteerAnswer { workflow_id: None, done: false, sentence, steering: None }.write(output)
}

/// Returns the name given with `--by`, or the user of this host.
fn who(by: Option<String>) -> Result<String> {
    if let Some(by) = by {
        return Ok(by);
    }
    match ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok())
        .filter(|user| !user.is_empty())
    {
        Some(user) => Ok(format!("{user}@{}", connect::host())),
        None => bail!("USER is not set here: name yourself with --by"),
    }
}

//! `night trigger`, and the result of a night or of a run for one request.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use export_workflows::{
    contract::{FailureReason, NIGHTLY_BATCH},
    nightly_batch::NightReport,
};
use serde::Serialize;
use temporalio_client::Client;

use crate::{
    cli::ExitStatus,
    config::Config,
    connect,
    output::Output,
    temporal::night::{self, Ended, Started},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Wait until the night ends, then print its counts; Ctrl-C ends the waiting, not the night.
    #[arg(long)]
    wait: bool,
    /// Fail all requests with this reason, however many; first inspect those that were held back.
    #[arg(long, value_name = "REASON")]
    accept: Vec<Accept>,
}

impl Arguments {
    pub(super) fn waits(&self) -> bool {
        self.wait
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Accept {
    AccountDeleted,
    UnreadableValue,
    ScopeRefused,
    AttemptsExhausted,
}

impl From<Accept> for FailureReason {
    fn from(accept: Accept) -> Self {
        match accept {
            Accept::AccountDeleted => Self::AccountDeleted,
            Accept::UnreadableValue => Self::UnreadableValue,
            Accept::ScopeRefused => Self::ScopeRefused,
            Accept::AttemptsExhausted => Self::AttemptsExhausted,
        }
    }
}

#[derive(Serialize)]
struct TriggerAnswer {
    #[serde(flatten)]
    night: night::StartedRun,
    completed: Option<bool>,
    result: Option<serde_json::Value>,
    failure: Option<String>,
}

/// Starts a night, or names the running one. With `wait`, prints its result.
pub(super) async fn run(arguments: Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let wait = arguments.wait;
    let accept: Vec<_> = arguments.accept.into_iter().map(FailureReason::from).collect();
    let client = connect::temporal(config).await?;
    let accepts = !accept.is_empty();
    let night = night::trigger(&client, &config.task_queue, accept).await?;
    let id = &night.workflow_id;
    if accepts && night.started == Started::WasRunning {
        bail!(
            "`{id}` is running already, and accepts nothing: wait for its end, or `export-worker night cancel`, then try again"
        );
    }
    output.say(&match night.started {
        Started::BySchedule => format!("Started `{id}`"),
        Started::Directly if accepts => format!("Started `{id}` directly, which accepts what was named"),
        Started::Directly => {
            format!("Started `{id}` directly: schedule `{NIGHTLY_BATCH}` does not exist; `export-worker schedule apply` makes it")
        }
        Started::WasRunning if wait => format!("`{id}` is running already; waiting for that one"),
        Started::WasRunning => format!("`{id}` is running already; nothing was started"),
    });
    if night.schedule_paused {
        output
            .say("The schedule is paused: no night starts by itself until `export-worker schedule unpause`");
    }
    say_if_nobody_polls(config, &client, output).await?;
    answer(&client, output, night, wait).await
}

/// Reports that no worker polls the task queue, if so.
pub(in crate::cli) async fn say_if_nobody_polls(
    config: &Config,
    client: &Client,
    output: Output,
) -> Result<()> {
    if !night::worker_is_polling(client, &config.task_queue).await? {
        output.say(&format!(
            "No worker polls task queue `{}`: nothing moves until `export-worker run` is started",
            config.task_queue
        ));
    }
    Ok(())
}

/// Writes the id of the run and, with `wait`, its result.
pub(in crate::cli) async fn answer(
    client: &Client,
    output: Output,
    night: night::StartedRun,
    wait: bool,
) -> Result<ExitStatus> {
    let mut answer = TriggerAnswer { night, completed: None, result: None, failure: None };
    if wait {
        let (completed, result, failure) = match night::wait(client, &answer.night.workflow_id).await? {
            Ended::Completed(result) => (true, Some(result), None),
            Ended::NotCompleted(sentence, result) => (false, result, Some(sentence)),
        };
        answer = TriggerAnswer { completed: Some(completed), result, failure, ..answer };
    }
    output.write(&answer, |answer, out| {
        if let Some(failure) = &answer.failure {
            writeln!(out, "`{}` did not complete: {failure}", answer.night.workflow_id)?;
        }
        let Some(result) = &answer.result else { return Ok(()) };
        match serde_json::from_value(result.clone()) {
            Ok(report) => counts(&report, out),
            // Another release wrote this result.
            Err(_) => writeln!(out, "{result}"),
        }
    })?;
    Ok(if answer.completed == Some(false) { ExitStatus::Failure } else { ExitStatus::Success })
}

/// Prints the counts in the order of the night: the outcomes of the requests, then the passes.
fn counts(report: &NightReport, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: &dyn Display| writeln!(out, "{name:<24}{value}");
    if let Some(night) = report.night {
        line("night", &night)?;
    }
    line("pending_at_start", &report.pending_at_start)?;
    let requests = &report.requests;
    line("fulfilled", &requests.fulfilled)?;
    line("failed", &requests.failed.values().sum::<u64>())?;
    for (reason, count) in &requests.failed {
        line(&format!("  {}", reason.as_str()), count)?;
    }
    if !requests.held_back.is_empty() {
        line("held_back", &requests.held_back.values().sum::<u64>())?;
    }
    for (reason, count) in &requests.held_back {
        line(&format!("  {}", reason.as_str()), count)?;
    }
    line("already_done", &requests.already_done)?;
    line("superseded", &requests.superseded)?;
    line("given_up_tonight", &requests.given_up_tonight)?;
    line("deferred", &requests.deferred)?;
    if let Some(code) = &requests.deferred_code {
        line("  last met", code)?;
    }
    line("expired", &report.expired)?;
    line("revoked", &report.revoked)?;
    line("deletions_left", &report.deletions_left)?;
    line("swept", &report.swept)?;
    if !report.miscounted.is_empty() {
        line("miscounted", &report.miscounted.len())?;
    }
    for (what, count) in &report.miscounted {
        line(&format!("  {what}"), &format!("counted {}, found {}", count.counted, count.found))?;
    }
    if report.too_many_accounts_gone {
        writeln!(out, "Too many users seem to be gone, so nothing was revoked: is EXPORT_SOURCE_URL right?")?;
    }
    if report.sweep_refused {
        writeln!(out, "Too many objects seem orphaned, so none was deleted: is EXPORT_DATABASE_URL right?")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_night_are_one_a_line_with_the_reasons_below() {
        let result = serde_json::json!({
            "night": "2026-11-21", "fulfilled": 3, "failed": {"account_deleted": 1, "revoked": 1},
            "deferred_code": null, "sweep_refused": true, "held_back": {"unreadable_value": 4},
            "miscounted": {"fulfilled": {"counted": 3, "found": 2}},
        });
        let mut out = Vec::new();
        counts(&serde_json::from_value(result).unwrap(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        insta::assert_snapshot!(text, @r"
        night                   2026-11-21
        pending_at_start        0
        fulfilled               3
        failed                  2
          account_deleted       1
          revoked               1
        held_back               4
          unreadable_value      4
        already_done            0
        superseded              0
        given_up_tonight        0
        deferred                0
        expired                 0
        revoked                 0
        deletions_left          0
        swept                   0
        miscounted              1
          fulfilled             counted 3, found 2
        Too many objects seem orphaned, so none was deleted: is EXPORT_DATABASE_URL right?
        ");
    }
}

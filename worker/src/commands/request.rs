//! `request create|list|show|fulfil|revoke|retry|forget`.

use std::io::{self, Write};

use anyhow::Result;
use chrono::{DateTime, Utc};
use export_activities::{
    passes::expire::delete_archive,
    requests::operate::{self, Listed, Retried, RevokeReason, Revoked, Shown},
};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::Verdict;
use crate::{
    config::Config,
    connect::{self, explain},
    night::{self, Started},
    output::{Output, table},
};

#[derive(Serialize)]
struct Answer {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<Uuid>,
    done: bool,
    sentence: String,
}

impl Answer {
    fn write(self, output: Output) -> Result<Verdict> {
        let verdict = if self.done { Verdict::Good } else { Verdict::Bad };
        output.write(&self, |answer, out| writeln!(out, "{}", answer.sentence))?;
        Ok(verdict)
    }
}

/// Creates a pending request.
pub(super) async fn create(config: &Config, output: Output, user: Uuid) -> Result<Verdict> {
    let id = operate::create(&connect::state(config)?, user).await?;
    // Only the id, so that a shell script can use it.
    let answer = Answer { id, retry_of: None, done: true, sentence: id.to_string() };
    answer.write(output)
}

/// Lists requests.
pub(super) async fn list(
    config: &Config,
    output: Output,
    status: Option<&str>,
    limit: i64,
) -> Result<Verdict> {
    let listed = operate::list(&connect::state(config)?, status, limit).await?;
    output.write(&listed, |listed, out| {
        let rows: Vec<_> = listed.iter().map(row).collect();
        table(out, &["REQUEST", "USER", "STATUS", "REQUESTED", "LINK UNTIL", "WHY"], &rows)
    })?;
    Ok(Verdict::Good)
}

fn row(listed: &Listed) -> Vec<String> {
    let why = listed.failure_reason.as_deref().or(listed.last_error.as_deref()).unwrap_or_default();
    vec![
        listed.id.to_string(),
        listed.user_id.to_string(),
        listed.status.clone(),
        time(listed.requested_at),
        listed.expires_at.filter(|_| listed.status == "ready").map(time).unwrap_or_default(),
        why.to_owned(),
    ]
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[derive(Serialize)]
struct ShownAnswer<'a> {
    #[serde(flatten)]
    request: &'a Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_url: Option<&'a str>,
}

/// Shows one request. Shows its link only with `reveal`.
pub(super) async fn show(config: &Config, output: Output, id: Uuid, reveal: bool) -> Result<Verdict> {
    let Some(shown) = operate::show(&connect::state(config)?, id).await? else {
        return unknown(id).write(output);
    };
    let download_url = shown.link.as_ref().filter(|_| reveal).map(operate::Link::reveal);
    output.write(&ShownAnswer { request: &shown, download_url }, |answer, out| human(answer, out))?;
    Ok(Verdict::Good)
}

fn human(answer: &ShownAnswer<'_>, out: &mut dyn Write) -> io::Result<()> {
    let request = answer.request;
    let mut line = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(out, "{name:<14}{value}"),
        None => Ok(()),
    };
    line("request", Some(request.id.to_string()))?;
    line("user", Some(request.user_id.to_string()))?;
    line("status", Some(request.status.clone()))?;
    line("requested", Some(time(request.requested_at)))?;
    line("retry of", request.retry_of.map(|id| id.to_string()))?;
    line("why", request.failure_reason.clone())?;
    line("last error", request.last_error.clone())?;
    line("fulfilled", request.fulfilled_at.map(time))?;
    line("snapshot", request.snapshot_at.map(time))?;
    if request.has_link {
        let until = request.expires_at.map(time).unwrap_or_default();
        let hint = if answer.download_url.is_some() { "" } else { "; --reveal prints it" };
        line("link", Some(format!("works until {until}{hint}")))?;
    }
    line("download url", answer.download_url.map(str::to_owned))?;
    line("object", request.object_key.clone())?;
    line("deleted", request.object_deleted_at.map(time))?;
    line("bytes", request.archive_bytes.map(|bytes| bytes.to_string()))?;
    line("sha256", request.archive_sha256.clone())?;
    line("rows", request.row_counts.as_ref().map(ToString::to_string))?;
    line(
        "attempts",
        Some(format!("{} failed, {} claims, {} lost", request.attempts, request.claims, request.lost)),
    )?;
    line("held by", request.claim_owner.clone())?;
    line("until", request.lease_until.map(time))?;
    for event in &request.events {
        let night = event.night.map(|night| format!(", night {night}")).unwrap_or_default();
        let run = event.run_id.as_deref().map(|run| format!(", run {run}")).unwrap_or_default();
        let reason = event.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        line("event", Some(format!("{} {}{reason}{night}{run}", time(event.at), event.kind)))?;
    }
    Ok(())
}

fn unknown(id: Uuid) -> Answer {
    Answer { id, retry_of: None, done: false, sentence: format!("There is no request {id}") }
}

/// Fulfils one request immediately, in a separate run. With `wait`, prints its result.
pub(super) async fn fulfil(config: &Config, output: Output, id: Uuid, wait: bool) -> Result<Verdict> {
    // The run checks this too, but a caller that does not wait would not see its answer.
    let Some(shown) = operate::show(&connect::state(config)?, id).await? else {
        return unknown(id).write(output);
    };
    if shown.status != "pending" {
        let sentence = format!("Request {id} is {}: only a pending one can be fulfilled", shown.status);
        return Answer { id, retry_of: None, done: false, sentence }.write(output);
    }
    let client = connect::temporal(config).await?;
    let run = night::fulfil(&client, &config.task_queue, id).await?;
    output.say(&match run.started {
        Started::WasRunning => format!("`{}` is running already; nothing was started", run.workflow_id),
        Started::Directly | Started::BySchedule => format!("Started `{}`", run.workflow_id),
    });
    super::night::say_if_nobody_polls(config, &client, output).await?;
    super::night::answer(&client, output, run, wait).await
}

/// Revokes a request and deletes its archive immediately. Succeeds only if the link no longer works.
pub(super) async fn revoke(
    config: &Config,
    output: Output,
    id: Uuid,
    reason: RevokeReason,
) -> Result<Verdict> {
    let state = connect::state(config)?;
    let (done, sentence) = match operate::revoke(&state, id, reason).await? {
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
    Answer { id, retry_of: None, done, sentence }.write(output)
}

/// Deletes this archive before any other: its link works until then. Returns whether it is deleted, and a sentence.
async fn delete(config: &Config, state: &PgPool, id: Uuid) -> (bool, String) {
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

/// Repeats a failed request.
pub(super) async fn retry(config: &Config, output: Output, id: Uuid) -> Result<Verdict> {
    let answer = |new, done, sentence| Answer { id: new, retry_of: Some(id), done, sentence };
    match operate::retry(&connect::state(config)?, id).await? {
        Retried::Created(new) => answer(new, true, new.to_string()),
        Retried::Waiting(new) => answer(new, true, new.to_string()),
        Retried::NotFailed => {
            answer(id, false, format!("Request {id} has not failed: there is nothing to repeat"))
        }
        Retried::Forgotten => answer(
            id,
            false,
            format!("The user of request {id} was forgotten: nobody knows whose data to export"),
        ),
        Retried::Unknown => unknown(id),
    }
    .write(output)
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
pub(super) async fn forget(config: &Config, output: Output, user: Uuid) -> Result<Verdict> {
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
    Ok(if answer.requests.left == 0 { Verdict::Good } else { Verdict::Bad })
}

/// Deletes the archives of one user, before any other.
async fn delete_archives(config: &Config, state: &PgPool, user: Uuid) -> Result<()> {
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

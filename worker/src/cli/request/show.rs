//! `request show`.

use std::io::{self, Write};

use anyhow::Result;
use chrono::{NaiveDate, Utc};
use clap::Args;
use export_activities::requests::{
    census::due_on,
    operate::{self, RequestDetails},
    state::Status,
};
use serde::Serialize;
use uuid::Uuid;

use super::{time, unknown};
use crate::{cli::ExitStatus, config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The request.
    id: Uuid,
    /// Also print the link: anyone who has it can download the archive.
    #[arg(long)]
    reveal: bool,
}

#[derive(Serialize)]
struct ShownAnswer<'a> {
    #[serde(flatten)]
    request: &'a RequestDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_url: Option<&'a str>,
}

/// Shows one request. Shows its link only with `reveal`.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { id, reveal } = *arguments;
    let Some(shown) = operate::show(&connect::state(config)?, id).await? else {
        return unknown(id).write(output);
    };
    let download_url = shown.link.as_ref().filter(|_| reveal).map(operate::Link::reveal);
    output.write(&ShownAnswer { request: &shown, download_url }, |answer, out| human(answer, out))?;
    Ok(ExitStatus::Success)
}

fn human(answer: &ShownAnswer<'_>, out: &mut dyn Write) -> io::Result<()> {
    let request = answer.request;
    let mut line = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(out, "{name:<14}{value}"),
        None => Ok(()),
    };
    line("request", Some(request.id.to_string()))?;
    line("user", Some(request.user_id.to_string()))?;
    line("status", Some(request.status.to_string()))?;
    line("requested", Some(time(request.requested_at)))?;
    line("formats", Some(request.formats.join(", ")))?;
    line("part", (!request.scope.is_whole()).then(|| request.scope.to_string()))?;
    if request.status == Status::Pending {
        let days = |due: NaiveDate| (due - Utc::now().date_naive()).num_days();
        let due = due_on(request.requested_at);
        line(
            "due",
            due.map(|due| format!("{due}, the last day that the law allows; {} days are left", days(due))),
        )?;
    }
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

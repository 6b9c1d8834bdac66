//! `status`.

use std::io::{self, Write};

use anyhow::Result;
use chrono::{DateTime, Utc};

use super::ExitStatus;
use crate::{
    config::Config,
    output::Output,
    status::{self, Requests, SystemStatus, show_age},
};

/// Prints the status. Returns `Bad` if something needs a person.
pub(super) async fn run(config: &Config, output: Output) -> Result<ExitStatus> {
    let status = status::read(config).await?;
    output.write(&status, human)?;
    Ok(if status.well { ExitStatus::Success } else { ExitStatus::Failure })
}

fn human(status: &SystemStatus, out: &mut dyn Write) -> io::Result<()> {
    let time = |at: Option<DateTime<Utc>>| {
        at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d %H:%M UTC").to_string())
    };
    if let Some(requests) = &status.requests {
        write_requests(requests, out)?;
    }
    if let Some(nights) = &status.nights {
        writeln!(out, "{:<12}last {}, next {}", "nights", time(nights.last), time(nights.next))?;
    }
    for state in status.schedules.iter().flatten() {
        let how = match (state.exists, state.paused, &state.note) {
            (false, ..) => "does not exist".to_owned(),
            (true, false, _) => "runs".to_owned(),
            (true, true, None) => "paused".to_owned(),
            (true, true, Some(note)) => format!("paused: {note}"),
        };
        writeln!(out, "{:<12}{} {how}", "schedule", state.id)?;
    }
    if let Some(pollers) = &status.pollers {
        writeln!(out, "{:<12}{} for exports, {} for passes", "workers", pollers.exports, pollers.passes)?;
    }
    if status.well {
        return writeln!(out, "\nNothing needs a person");
    }
    writeln!(out, "\nA person is needed:")?;
    for trouble in &status.troubles {
        writeln!(out, "- {}\n  -> {}", trouble.cause, trouble.remedy)?;
    }
    Ok(())
}

fn write_requests(requests: &Requests, out: &mut dyn Write) -> io::Result<()> {
    let queue = &requests.queue;
    let failed: i64 = requests.failed.values().sum();
    let reasons: Vec<_> = requests.failed.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    writeln!(
        out,
        "{:<12}{} pending, {} ready, {failed} failed{reasons}",
        "requests", queue.pending, queue.ready
    )?;
    if let Some(days) = requests.days_left {
        let age = show_age(requests.oldest_unanswered_seconds);
        writeln!(out, "{:<12}has had no answer for {age}; {days} days are left of its month", "the oldest")?;
    }
    if queue.deletions_left > 0 {
        writeln!(out, "{:<12}{} archives of failed requests", "to delete", queue.deletions_left)?;
    }
    Ok(())
}

//! `night show` and `night watch`: the progress and results of a night, read from the database.

use std::{
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use anyhow::Result;
use chrono::{DateTime, NaiveDate, Utc};
use export_activities::requests::census::{self, Night};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sqlx::{Connection as _, PgPool};

use super::Verdict;
use crate::{
    config::Config,
    connect::{self, explain},
    night::{self, Ended},
    output::Output,
};

/// Interval at which the progress bar is updated.
const BAR_EVERY: Duration = Duration::from_secs(1);
/// Interval of progress lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
#[derive(Serialize)]
struct Shown {
    /// Requests that the night had to serve: the ones counted below, and the ones left pending.
    requested: i64,
    /// Requests that the night left pending.
    left: i64,
    #[serde(flatten)]
    night: Night,
}

/// Shows the results of a night, by default the last in the log. Does not contact Temporal.
pub(super) async fn show(config: &Config, output: Output, date: Option<NaiveDate>) -> Result<Verdict> {
    let mut connection = connect::once(&connect::state(config)?).await?;
    let date = match date {
        Some(date) => Some(date),
        None => census::last_night(&mut connection).await?,
    };
    let night = match date {
        Some(date) => census::night(&mut connection, date, None).await?,
        None => None,
    };
    let Some(night) = night else {
        let which = date.map_or_else(|| "No night".to_owned(), |date| format!("No night of {date}"));
        let sentence = format!("{which} has written into the log");
        output.write(&serde_json::json!({ "sentence": sentence }), |_, out| writeln!(out, "{sentence}"))?;
        return Ok(Verdict::Bad);
    };
    let left = match night.first.zip(night.last) {
        Some((first, last)) => census::left(&mut connection, first, last).await?,
        None => 0,
    };
    connection.close().await?;
    let requested = night.ready + night.failed.values().sum::<i64>() + left;
    output.write(&Shown { requested, left, night }, |shown, out| {
        writeln!(out, "{:<24}{}", "night", shown.night.night)?;
        writeln!(out, "{:<24}{}", "requested", shown.requested)?;
        writeln!(out, "{:<24}{}", "left", shown.left)?;
        counts(&shown.night, out)
    })?;
    Ok(Verdict::Good)
}

fn counts(night: &Night, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: String| writeln!(out, "{name:<24}{value}");
    line("ready", night.ready.to_string())?;
    line("failed", night.failed.values().sum::<i64>().to_string())?;
    for (reason, count) in &night.failed {
        line(&format!("  {reason}"), count.to_string())?;
    }
    line("ended", night.ended.values().sum::<i64>().to_string())?;
    for (reason, count) in &night.ended {
        line(&format!("  {reason}"), count.to_string())?;
    }
    line("bytes", night.bytes.to_string())?;
    line("rows", night.rows.to_string())?;
    for (name, at) in [("first", night.first), ("last", night.last)] {
        if let Some(at) = at {
            line(name, at.format("%Y-%m-%d %H:%M:%S UTC").to_string())?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Watched {
    workflow_id: Option<String>,
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(flatten)]
    night: Option<Night>,
}

/// Follows the running night to its end. Reports if no night is running.
pub(super) async fn watch(config: &Config, output: Output) -> Result<Verdict> {
    let state = connect::state(config)?;
    let client = connect::temporal(config).await?;
    let Some(running) = night::running(&client).await? else {
        let none = Watched { workflow_id: None, completed: None, failure: None, night: None };
        output.write(&none, |_, out| writeln!(out, "No night is running"))?;
        return Ok(Verdict::Good);
    };
    output.say(&format!("Watching `{}`", running.workflow_id));
    let progress = Progress::new(output);
    let workflow_id = running.workflow_id.clone();
    let mut ended = pin!(night::wait(&client, &workflow_id));
    let mut ticks = tokio::time::interval(if progress.bar.is_hidden() { LINE_EVERY } else { BAR_EVERY });
    let ended = loop {
        tokio::select! {
            ended = &mut ended => break ended?,
            _ = ticks.tick() => progress.show(read(&state, running.since).await),
        }
    };
    progress.bar.finish_and_clear();
    let (night, _) = read(&state, running.since).await?;
    let failure = match ended {
        Ended::Completed(_) => None,
        Ended::NotCompleted(sentence, _) => Some(sentence),
    };
    let watched = Watched {
        workflow_id: Some(running.workflow_id),
        completed: Some(failure.is_none()),
        failure,
        night: Some(night),
    };
    output.write(&watched, |watched, out| {
        if let Some(night) = &watched.night {
            writeln!(out, "{:<24}{}", "night", night.night)?;
            counts(night, out)?;
        }
        match &watched.failure {
            Some(failure) => writeln!(out, "The night did not complete: {failure}"),
            None => Ok(()),
        }
    })?;
    Ok(if watched.failure.is_none() { Verdict::Good } else { Verdict::Bad })
}

/// Reads the results of the night since its start, and the number of requests still pending.
async fn read(state: &PgPool, since: DateTime<Utc>) -> Result<(Night, i64)> {
    let mut connection = connect::glance(state).await?;
    let date = since.date_naive();
    let night = census::night(&mut connection, date, Some(since)).await?;
    let pending = census::still_pending(&mut connection, since).await?;
    connection.close().await?;
    Ok((night.unwrap_or(Night { night: date, ..Default::default() }), pending))
}

struct Progress {
    output: Output,
    bar: ProgressBar,
}

impl Progress {
    fn new(output: Output) -> Self {
        // Drawn on standard error, and hidden if that is no terminal.
        let bar = if output == Output::Human { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}  {elapsed}  {msg}") {
            bar.set_style(style);
        }
        Self { output, bar }
    }

    /// A short database outage does not end the watching.
    fn show(&self, read: Result<(Night, i64)>) {
        let message = match read {
            Ok((night, pending)) => {
                let failed = night.failed.values().sum::<i64>();
                let done = u64::try_from(night.ready + failed).unwrap_or_default();
                self.bar.set_length(done + u64::try_from(pending).unwrap_or_default());
                self.bar.set_position(done);
                format!("{} ready, {failed} failed, {pending} pending", night.ready)
            }
            Err(error) => explain::database(&error, "EXPORT_DATABASE_URL").to_string(),
        };
        if self.bar.is_hidden() {
            self.output.say(&message);
        }
        self.bar.set_message(message);
    }
}

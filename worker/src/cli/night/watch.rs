//! `night watch`: the progress of the running night, read from the database.

use std::{pin::pin, time::Duration};

use anyhow::Result;
use chrono::{DateTime, Utc};
use export_activities::{
    database::pool::Pool,
    requests::census::{self, NightResults},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sqlx::Connection as _;

use super::show::counts;
use crate::{
    cli::ExitStatus,
    config::Config,
    connect::{self, explain},
    output::Output,
    temporal::night::{self, Ended},
};

/// Interval at which the progress bar is updated.
const BAR_EVERY: Duration = Duration::from_secs(1);
/// Interval of progress lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Watched {
    workflow_id: Option<String>,
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(flatten)]
    night: Option<NightResults>,
}

/// Follows the running night to its end. Reports if no night is running.
pub(super) async fn run(config: &Config, output: Output) -> Result<ExitStatus> {
    let state = connect::state(config)?;
    let client = connect::temporal(config).await?;
    let Some(running) = night::running(&client).await? else {
        let none = Watched { workflow_id: None, completed: None, failure: None, night: None };
        output.write(&none, |_, out| writeln!(out, "No night is running"))?;
        return Ok(ExitStatus::Success);
    };
    output.say(&format!("Watching `{}`", running.workflow_id));
    let progress = ProgressLine::new(output);
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
    Ok(if watched.failure.is_none() { ExitStatus::Success } else { ExitStatus::Failure })
}

/// Reads the results of the night since its start, and the number of requests still pending.
async fn read(state: &Pool, since: DateTime<Utc>) -> Result<(NightResults, i64)> {
    let mut connection = connect::glance(state).await?;
    let date = since.date_naive();
    let night = census::night(&mut connection, date, Some(since)).await?;
    let pending = census::still_pending(&mut connection, since).await?;
    connection.close().await?;
    Ok((night.unwrap_or(NightResults { night: date, ..Default::default() }), pending))
}

struct ProgressLine {
    output: Output,
    bar: ProgressBar,
}

impl ProgressLine {
    fn new(output: Output) -> Self {
        // Drawn on standard error, and hidden if that is no terminal.
        let bar = if output == Output::Human { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}  {elapsed}  {msg}") {
            bar.set_style(style);
        }
        Self { output, bar }
    }

    /// A short database outage does not end the watching.
    fn show(&self, read: Result<(NightResults, i64)>) {
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

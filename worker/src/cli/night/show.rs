//! `night show`: the results of a night, read from the database.

use std::io::{self, Write};

use anyhow::Result;
use chrono::NaiveDate;
use clap::Args;
use export_activities::requests::census::{self, NightResults};
use serde::Serialize;
use sqlx::Connection as _;

use crate::{cli::ExitStatus, config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// UTC start date of the night; by default the last night in the log.
    #[arg(long, value_name = "DATE")]
    night: Option<NaiveDate>,
}

#[derive(Serialize)]
struct NightAnswer {
    /// Requests that the night had to serve: the ones counted below, and the ones left pending.
    requested: i64,
    /// Requests that the night left pending.
    left: i64,
    #[serde(flatten)]
    night: NightResults,
}

/// Shows the results of a night, by default the last in the log. Does not contact Temporal.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let mut connection = connect::once(&connect::state(config)?).await?;
    let date = match arguments.night {
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
        return Ok(ExitStatus::Failure);
    };
    let left = match night.first.zip(night.last) {
        Some((first, last)) => census::left(&mut connection, first, last).await?,
        None => 0,
    };
    connection.close().await?;
    let requested = night.ready + night.failed.values().sum::<i64>() + left;
    output.write(&NightAnswer { requested, left, night }, |shown, out| {
        writeln!(out, "{:<24}{}", "night", shown.night.night)?;
        writeln!(out, "{:<24}{}", "requested", shown.requested)?;
        writeln!(out, "{:<24}{}", "left", shown.left)?;
        counts(&shown.night, out)
    })?;
    Ok(ExitStatus::Success)
}

pub(super) fn counts(night: &NightResults, out: &mut dyn Write) -> io::Result<()> {
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

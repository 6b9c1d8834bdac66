//! `schedule apply|show|pause|unpause|delete`.

use anyhow::Result;
use clap::Subcommand;
use export_activities::search_attributes;
use export_workflows::contract::{EXPORT_EXPIRY, NIGHTLY_BATCH};
use serde::Serialize;

use super::{ExitStatus, arguments::text};
use crate::{
    config::Config,
    connect,
    output::Output,
    temporal::schedule::{self, Applied, Effect},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create or update both schedules; a paused schedule stays paused and keeps its note.
    Apply,
    /// Show both schedules and whether they match their definitions.
    Show,
    /// Start no further night until `schedule unpause`; a running night continues.
    Pause {
        /// Reason, for the schedule's note.
        #[arg(long, value_name = "TEXT", value_parser = text)]
        why: String,
        /// Also pause the five-minute expiry pass: archives then outlive their links.
        #[arg(long)]
        all: bool,
    },
    /// Resume both schedules.
    Unpause,
    /// Delete both schedules; current runs continue.
    Delete {
        /// Confirm that no night will start automatically any more.
        #[arg(long, required = true)]
        yes: bool,
    },
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Apply => apply(config, output).await,
            Self::Show => show(config, output).await,
            Self::Pause { why, all } => pause(config, output, &why, all).await,
            Self::Unpause => unpause(config, output).await,
            Self::Delete { yes: _ } => delete(config, output).await,
        }
    }
}

#[derive(Serialize)]
struct ScheduleLine {
    id: &'static str,
    applied: Applied,
}

/// Applies both schedules and registers our search attributes. Nights also run without the attributes.
async fn apply(config: &Config, output: Output) -> Result<ExitStatus> {
    let client = connect::temporal(config).await?;
    let applied = schedule::apply(&client, &config.task_queue).await?;
    let lines: Vec<_> = applied.into_iter().map(|(id, applied)| ScheduleLine { id, applied }).collect();
    if let Err(error) = search_attributes::register(&client).await {
        tracing::warn!(
            "Nights cannot be found by date or failures until an administrator runs `{}` ({error:#})",
            search_attributes::COMMAND
        );
    }
    output.write(&lines, |lines, out| {
        for line in lines {
            let how = if line.applied == Applied::Created { "created" } else { "updated" };
            writeln!(out, "{} {how}, task queue `{}`", line.id, config.task_queue)?;
        }
        Ok(())
    })?;
    Ok(ExitStatus::Success)
}

/// Shows both schedules. Returns `Bad` if one differs from its definition.
async fn show(config: &Config, output: Output) -> Result<ExitStatus> {
    let client = connect::temporal(config).await?;
    let states = schedule::show(&client, &config.task_queue).await?;
    output.write(&states, |states, out| {
        for state in states {
            writeln!(out, "{}", state.id)?;
            for difference in &state.differences {
                writeln!(out, "  differs   {difference}; run `export-worker schedule apply`")?;
            }
            if !state.exists {
                continue;
            }
            let time = |at: Option<chrono::DateTime<chrono::Utc>>| {
                at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
            };
            writeln!(
                out,
                "  next      {}",
                if state.paused { "paused".to_owned() } else { time(state.next) }
            )?;
            writeln!(out, "  last      {}", time(state.last))?;
            writeln!(out, "  running   {}", if state.running.is_empty() { "no" } else { "yes" })?;
            writeln!(out, "  queue     {}", state.task_queue)?;
            writeln!(out, "  missed    {}, skipped {}", state.missed, state.skipped)?;
            if let Some(note) = &state.note {
                writeln!(out, "  note      {note}")?;
            }
        }
        Ok(())
    })?;
    let well = states.iter().all(|state| state.as_defined);
    Ok(if well { ExitStatus::Success } else { ExitStatus::Failure })
}

#[derive(Serialize)]
struct SaidLine {
    id: &'static str,
    said: Effect,
}

/// Pauses the schedule of the nights and, with `all`, the schedule of the expiry passes too.
async fn pause(config: &Config, output: Output, why: &str, all: bool) -> Result<ExitStatus> {
    let client = connect::temporal(config).await?;
    let mut lines =
        vec![SaidLine { id: NIGHTLY_BATCH, said: schedule::pause(&client, NIGHTLY_BATCH, why).await? }];
    if all {
        lines.push(SaidLine { id: EXPORT_EXPIRY, said: schedule::pause(&client, EXPORT_EXPIRY, why).await? });
    }
    tell(output, &lines, "paused")
}

/// Unpauses both schedules.
async fn unpause(config: &Config, output: Output) -> Result<ExitStatus> {
    let client = connect::temporal(config).await?;
    let mut lines = Vec::new();
    for id in [NIGHTLY_BATCH, EXPORT_EXPIRY] {
        lines.push(SaidLine { id, said: schedule::unpause(&client, id).await? });
    }
    tell(output, &lines, "unpaused")
}

/// Deletes both schedules.
async fn delete(config: &Config, output: Output) -> Result<ExitStatus> {
    let client = connect::temporal(config).await?;
    let mut lines = Vec::new();
    for id in [NIGHTLY_BATCH, EXPORT_EXPIRY] {
        lines.push(SaidLine { id, said: schedule::delete(&client, id).await? });
    }
    tell(output, &lines, "deleted")
}

/// Prints one line a schedule. Returns `Bad` if one does not exist.
fn tell(output: Output, lines: &[SaidLine], done: &str) -> Result<ExitStatus> {
    output.write(lines, |lines, out| {
        for line in lines {
            match line.said {
                Effect::Done => writeln!(out, "{} {done}", line.id)?,
                Effect::Missing => {
                    writeln!(out, "{} does not exist; `export-worker schedule apply` makes it", line.id)?;
                }
            }
        }
        Ok(())
    })?;
    let well = lines.iter().all(|line| line.said == Effect::Done);
    Ok(if well { ExitStatus::Success } else { ExitStatus::Failure })
}

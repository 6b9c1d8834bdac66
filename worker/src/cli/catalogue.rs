//! `catalogue check` and `catalogue init`.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use export_activities::catalogue::{self, FindingKind};

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compare the catalogue with the database.
    Check,
    /// Print a first catalogue for these relations, every column undecided.
    Init {
        /// Relations such as `public.users`.
        #[arg(required = true, value_name = "SCHEMA.RELATION")]
        relations: Vec<String>,
    },
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Check => check(config, output).await,
            Self::Init { relations } => init(config, &relations).await,
        }
    }
}

/// Prints the drift report. Returns `Bad` if something needs a decision.
async fn check(config: &Config, output: Output) -> Result<ExitStatus> {
    let catalogue = connect::catalogue(config)?;
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let report = catalogue.report(&mut conn).await?;
    output.write(&report, |report, out| {
        for finding in &report.findings {
            let what = match finding.kind {
                kind if kind.stops_exports() => "stops the night",
                FindingKind::NoIndex => "slow",
                FindingKind::UnrelatedRelation => "not looked at",
                _ => "not decided, not exported",
            };
            writeln!(out, "{what}: {finding}")?;
        }
        if report.is_clean() { writeln!(out, "the catalogue fits the database") } else { Ok(()) }
    })?;
    Ok(if report.is_clean() { ExitStatus::Success } else { ExitStatus::Failure })
}

/// Prints a first catalogue. The worker refuses it until every column is decided.
async fn init(config: &Config, relations: &[String]) -> Result<ExitStatus> {
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let text = catalogue::init(&mut conn, relations).await?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitStatus::Success)
}

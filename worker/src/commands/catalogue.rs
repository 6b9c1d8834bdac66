//! `catalogue check` and `catalogue init`.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use export_activities::catalogue;

use super::Verdict;
use crate::{config::Config, connect, output::Output};

/// Prints the drift report. Returns `Bad` if something needs a decision.
pub(super) async fn check(config: &Config, output: Output) -> Result<Verdict> {
    let catalogue = connect::catalogue(config)?;
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let report = catalogue.report(&mut conn).await?;
    output.write(&report, |report, out| {
        for finding in &report.findings {
            let what = match finding.kind {
                kind if kind.stops_exports() => "stops the night",
                kind if kind.is_warning() => "slow",
                _ => "not decided, not exported",
            };
            writeln!(out, "{what}: {finding}")?;
        }
        if report.is_clean() { writeln!(out, "the catalogue fits the database") } else { Ok(()) }
    })?;
    Ok(if report.is_clean() { Verdict::Good } else { Verdict::Bad })
}

/// Prints a first catalogue. The worker refuses it until every column is decided.
pub(super) async fn init(config: &Config, relations: &[String]) -> Result<Verdict> {
    let mut conn = connect::source(config)?.acquire().await.context("failed to reach the source database")?;
    let text = catalogue::init(&mut conn, relations).await?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Verdict::Good)
}

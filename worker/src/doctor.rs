//! `export-worker doctor`: checks everything a night depends on. Each line is ok, or a cause and its remedy.
//!
//! The doctor stores, reads and deletes two probe objects, and writes the bucket's mark only with `--adopt-bucket`. It
//! changes nothing else. If an earlier failure prevents a check, its line says so.

mod clocks;
mod database;
mod encryption;
mod files;
mod notices;
mod portal;
mod receipts;
mod rights;
mod start;
mod store;
mod temporal;

use std::{path::Path, time::Duration};

use export_activities::spool::Spool;
use serde::Serialize;

use crate::{
    config::{Config, show_size},
    connect::{
        self,
        explain::{self, Explained},
    },
};

/// Result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// No problem found.
    Ok,
    /// A night runs, but a person should check.
    Warning,
    /// A night would not run, or would run wrongly.
    Failed,
    /// The check could not run.
    Skipped,
}

/// One line of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Name of the check.
    pub check: &'static str,
    /// Result of the check.
    pub state: CheckState,
    /// Finding: the cause, unless the check is ok.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Line {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: CheckState::Ok, found: found.into(), remedy: None }
    }

    fn warning(check: &'static str, explained: Explained) -> Self {
        Self { check, state: CheckState::Warning, found: explained.cause, remedy: Some(explained.remedy) }
    }

    fn failed(check: &'static str, explained: Explained) -> Self {
        Self { check, state: CheckState::Failed, found: explained.cause, remedy: Some(explained.remedy) }
    }

    fn skipped(check: &'static str, because: &str) -> Self {
        Self { check, state: CheckState::Skipped, found: format!("not examined: {because}"), remedy: None }
    }

    fn is_ok(&self) -> bool {
        matches!(self.state, CheckState::Ok | CheckState::Warning)
    }
}

/// Time limit of one part. A server that accepts a connection and then stays silent returns no error. The next part
/// runs anyway, and the report ends while a person waits.
const PART_WITHIN: Duration = Duration::from_secs(20);

/// Waits for one part. If it times out, its line says so.
async fn in_time<T>(
    check: &'static str,
    remedy: &str,
    lines: &mut Vec<Line>,
    part: impl AsyncFnOnce(&mut Vec<Line>) -> T,
) -> Option<T> {
    let mut found = Vec::new();
    let ended = tokio::time::timeout(PART_WITHIN, part(&mut found)).await;
    lines.append(&mut found);
    if ended.is_err() {
        let cause = format!("it accepts, and does not answer within {} s", PART_WITHIN.as_secs());
        lines.push(Line::failed(check, Explained::new(cause, remedy)));
    }
    ended.ok()
}

/// Runs all checks, in the order of their dependencies.
pub async fn examine(config: &Config, adopt_bucket: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    start::examine(config, &mut lines);
    let catalogue = match connect::catalogue(config) {
        Ok(catalogue) => Some(catalogue),
        Err(error) => {
            let remedy = "fix the file; `run` refuses to start with it";
            lines.push(Line::failed("catalogue file", Explained::new(format!("{error:#}"), remedy)));
            None
        }
    };
    let catalogue = catalogue.as_ref();
    let remedy = "check the server of EXPORT_DATABASE_URL and locks on our tables in its pg_stat_activity";
    let state = async |lines: &mut Vec<Line>| database::state(config, catalogue, lines).await;
    let state = in_time("database", remedy, &mut lines, state).await.flatten();
    let state = state.as_ref();
    let remedy = "check the server of EXPORT_SOURCE_URL and locks in its pg_stat_activity";
    let source = async |lines: &mut Vec<Line>| database::source(config, catalogue, lines).await;
    in_time("source database", remedy, &mut lines, source).await;
    let remedy = "check the server of EXPORT_REPLICA_URL";
    let replica = async |lines: &mut Vec<Line>| database::replica(config, lines).await;
    in_time("replica", remedy, &mut lines, replica).await;
    let remedy = "check the store of EXPORT_S3_ENDPOINT and the network between";
    let store = async |lines: &mut Vec<Line>| store::examine(config, state, adopt_bucket, lines).await;
    let bucket = in_time("store", remedy, &mut lines, store).await.flatten();
    let remedy = "check the store of [files] in the catalogue and the network between";
    let files = async |lines: &mut Vec<Line>| files::examine(config, catalogue, lines).await;
    in_time("files of users", remedy, &mut lines, files).await;
    let remedy = "check the server of EXPORT_DATABASE_URL";
    let clocks = async |lines: &mut Vec<Line>| clocks::examine(state, bucket, lines).await;
    in_time("clocks", remedy, &mut lines, clocks).await;
    lines.extend(portal::issuer(config).await);
    let remedy = "check EXPORT_SMTP_URL and EXPORT_WEBHOOK_URL, and the network between";
    let notices = async |lines: &mut Vec<Line>| notices::examine(config, state, catalogue, lines).await;
    in_time("notices", remedy, &mut lines, notices).await;
    lines.push(encryption::examine(config));
    lines.push(receipts::examine(config));
    let remedy = "check the server of TEMPORAL_ADDRESS and the network between";
    let temporal = async |lines: &mut Vec<Line>| temporal::examine(config, lines).await;
    in_time("Temporal", remedy, &mut lines, temporal).await;
    lines.push(spool(&config.spool_dir, config.spool_quota));
    lines
}

fn spool(directory: &Path, quota: u64) -> Line {
    const CHECK: &str = "spool";
    match Spool::new(directory, quota) {
        Ok(_) => Line::ok(CHECK, format!("`{}`, at most {}", directory.display(), show_size(quota))),
        Err(error) => Line::failed(CHECK, explain::spool(&error)),
    }
}

/// Returns whether no check failed.
pub fn is_healthy(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.state != CheckState::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_healthy_and_a_failure_is_not() {
        let warning = Line::warning("x", Explained::new("slow", "wait"));
        assert!(is_healthy(&[Line::ok("y", "fine"), warning.clone(), Line::skipped("z", "y")]));
        assert!(!is_healthy(&[warning, Line::failed("w", Explained::new("gone", "look"))]));
    }
}

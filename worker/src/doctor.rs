//! `export-worker doctor`: looks at everything a night depends on; each line is ok, or a cause and its remedy.
//!
//! It changes nothing that matters: it stores, reads and deletes two objects of its own, and writes the bucket's mark only
//! with `--adopt-bucket`. A line that cannot be examined because an earlier one failed says so.

mod clocks;
mod database;
mod encryption;
mod store;
mod temporal;

use std::path::Path;

use export_activities::spool::Spool;
use serde::Serialize;

use crate::{
    config::{Config, show_size},
    connect::{self, explain::Explained},
};

/// How one line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// A night runs, but somebody should look.
    Warning,
    /// A night would not run, or not rightly.
    Failed,
    /// It could not be examined.
    Skipped,
}

/// One line of the examination.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What was examined.
    pub check: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found: the cause, unless all is well.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Line {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), remedy: None }
    }

    fn warning(check: &'static str, explained: Explained) -> Self {
        Self { check, state: State::Warning, found: explained.cause, remedy: Some(explained.remedy) }
    }

    fn failed(check: &'static str, explained: Explained) -> Self {
        Self { check, state: State::Failed, found: explained.cause, remedy: Some(explained.remedy) }
    }

    fn skipped(check: &'static str, because: &str) -> Self {
        Self { check, state: State::Skipped, found: format!("not examined: {because}"), remedy: None }
    }

    fn is_ok(&self) -> bool {
        matches!(self.state, State::Ok | State::Warning)
    }
}

/// Examines everything, in the order in which one thing depends on another.
pub async fn examine(config: &Config, adopt_bucket: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let catalogue = match connect::catalogue(config) {
        Ok(catalogue) => Some(catalogue),
        Err(error) => {
            let remedy = "mend the file; `run` refuses to start with it";
            lines.push(Line::failed("catalogue file", Explained::new(format!("{error:#}"), remedy)));
            None
        }
    };
    let state = database::state(config, catalogue.as_ref(), &mut lines).await;
    database::source(config, catalogue.as_ref(), &mut lines).await;
    database::replica(config, &mut lines).await;
    let bucket = store::examine(config, state.as_ref(), adopt_bucket, &mut lines).await;
    clocks::examine(state.as_ref(), bucket, &mut lines).await;
    lines.push(encryption::examine(config));
    temporal::examine(config, &mut lines).await;
    lines.push(spool(&config.spool_dir, config.spool_quota));
    lines
}

fn spool(directory: &Path, quota: u64) -> Line {
    const CHECK: &str = "spool";
    match Spool::new(directory, quota) {
        Ok(_) => Line::ok(CHECK, format!("`{}`, at most {}", directory.display(), show_size(quota))),
        Err(error) => {
            let remedy = "name a directory of the worker's own in EXPORT_SPOOL_DIR";
            Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy))
        }
    }
}

/// Tells whether nothing failed.
pub fn is_healthy(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.state != State::Failed)
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

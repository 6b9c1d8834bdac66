//! `night trigger`.

use std::io::{self, Write};

use anyhow::Result;
use export_workflows::contract::NIGHTLY_BATCH;
use serde::Serialize;

use super::Verdict;
use crate::{
    config::Config,
    connect,
    night::{self, Ended, Started},
    output::Output,
};

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    night: night::Night,
    completed: Option<bool>,
    result: Option<serde_json::Value>,
    failure: Option<String>,
}

/// Starts a night, or names the running one; with `wait`, prints how it ended.
pub(super) async fn trigger(config: &Config, output: Output, wait: bool) -> Result<Verdict> {
    let client = connect::temporal().await?;
    let night = night::trigger(&client, &config.task_queue).await?;
    let id = &night.workflow_id;
    output.say(&match night.started {
        Started::BySchedule => format!("Started `{id}`"),
        Started::Directly => {
            format!("Started `{id}` directly: schedule `{NIGHTLY_BATCH}` does not exist; `export-worker schedule apply` makes it")
        }
        Started::WasRunning if wait => format!("`{id}` is running already; waiting for that one"),
        Started::WasRunning => format!("`{id}` is running already; nothing was started"),
    });
    if night.schedule_paused {
        output.say("The schedule is paused: no night begins by itself until somebody unpauses it");
    }
    if !night::worker_is_polling(&client, &config.task_queue).await? {
        output.say(&format!(
            "No worker polls task queue `{}`: nothing moves until `export-worker run` is started",
            config.task_queue
        ));
    }
    let mut answer = Answer { night, completed: None, result: None, failure: None };
    if wait {
        match night::wait(&client, &answer.night.workflow_id).await? {
            Ended::Completed(result) => {
                answer.completed = Some(true);
                answer.result = Some(result);
            }
            Ended::NotCompleted(sentence) => {
                answer.completed = Some(false);
                answer.failure = Some(sentence);
            }
        }
    }
    output.write(&answer, |answer, out| match (&answer.result, &answer.failure) {
        (Some(result), _) => counts(result, out),
        (None, Some(failure)) => writeln!(out, "The night did not complete: {failure}"),
        (None, None) => Ok(()),
    })?;
    Ok(if answer.completed == Some(false) { Verdict::Bad } else { Verdict::Good })
}

/// Prints the counts, one a line, leaving out what is not there.
fn counts(result: &serde_json::Value, out: &mut dyn Write) -> io::Result<()> {
    let Some(counts) = result.as_object() else { return writeln!(out, "{result}") };
    for (name, count) in counts {
        match count {
            serde_json::Value::Null => {}
            serde_json::Value::Object(parts) => {
                let total: u64 = parts.values().filter_map(serde_json::Value::as_u64).sum();
                writeln!(out, "{name:<24}{total}")?;
                for (part, count) in parts {
                    writeln!(out, "  {part:<22}{count}")?;
                }
            }
            serde_json::Value::String(text) => writeln!(out, "{name:<24}{text}")?,
            other => writeln!(out, "{name:<24}{other}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_a_night_are_one_a_line_with_the_reasons_below() {
        let result = serde_json::json!({
            "night": "2026-11-21", "fulfilled": 3, "failed": {"account_deleted": 1, "revoked": 1},
            "deferred_code": null, "sweep_refused": false,
        });
        let mut out = Vec::new();
        counts(&result, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("fulfilled               3\n"), "{text}");
        assert!(text.contains("failed                  2\n  account_deleted       1\n"), "{text}");
        assert!(!text.contains("deferred_code"), "{text}");
    }
}

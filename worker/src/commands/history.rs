//! `history dump|replay`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Verdict;
use crate::{
    config::Config,
    connect,
    history::{self, Replayed},
    output::Output,
};

#[derive(Serialize)]
struct Dumped<'a> {
    workflow_id: &'a str,
    events: usize,
    bytes: usize,
    file: &'a Path,
}

/// Writes the history of one run to a file, or to standard output.
pub(super) async fn dump(
    config: &Config,
    output: Output,
    workflow_id: &str,
    run_id: Option<&str>,
    file: &Path,
) -> Result<Verdict> {
    let client = connect::temporal(config).await?;
    let history = history::fetch(&client, workflow_id, run_id).await?;
    let json = serde_json::to_vec(&history).context("failed to write the history as JSON")?;
    if file == Path::new("-") {
        std::io::stdout().lock().write_all(&json).context("failed to write to standard output")?;
        return Ok(Verdict::Good);
    }
    std::fs::write(file, &json).with_context(|| format!("failed to write `{}`", file.display()))?;
    let dumped = Dumped { workflow_id, events: history.events.len(), bytes: json.len(), file };
    output.write(&dumped, |dumped, out| {
        writeln!(
            out,
            "Wrote {} events of `{}` to `{}`",
            dumped.events,
            dumped.workflow_id,
            dumped.file.display()
        )
    })?;
    Ok(Verdict::Good)
}

#[derive(Serialize)]
struct Answer {
    file: PathBuf,
    ok: bool,
    #[serde(flatten)]
    replayed: Option<Replayed>,
    /// Why the file could not be replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Answer {
    fn sentence(&self) -> String {
        match (&self.replayed, &self.error) {
            (Some(Replayed { failure: Some(failure), .. }), _) => failure.sentence.clone(),
            (Some(replayed), _) => {
                format!("ok ({}, {} events)", replayed.workflow_type, replayed.events)
            }
            (None, error) => error.clone().unwrap_or_default(),
        }
    }
}

/// Replays each file with the code of this release. Prints one line a file.
pub(super) async fn replay(config: &Config, output: Output, files: &[PathBuf]) -> Result<Verdict> {
    let replayer = history::replayer(connect::converter(config)?)?;
    let mut answers = Vec::new();
    for file in files {
        let read = std::fs::read(file).context("it cannot be opened").and_then(|json| history::read(&json));
        let replayed = match read {
            Ok(history) => Box::pin(history::replay(&replayer, history)).await,
            Err(error) => Err(error),
        };
        let file = file.clone();
        answers.push(match replayed {
            Ok(replayed) => {
                Answer { file, ok: replayed.failure.is_none(), replayed: Some(replayed), error: None }
            }
            Err(error) => Answer { file, ok: false, replayed: None, error: Some(format!("{error:#}")) },
        });
    }
    output.write(&answers, |answers, out| {
        for answer in answers {
            writeln!(out, "{}: {}", answer.file.display(), answer.sentence())?;
        }
        Ok(())
    })?;
    Ok(if answers.iter().all(|answer| answer.ok) { Verdict::Good } else { Verdict::Bad })
}

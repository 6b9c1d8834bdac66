//! `history replay`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::{
    cli::ExitStatus,
    config::Config,
    connect,
    output::Output,
    temporal::history::{self, Replayed},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Files of `history dump`, of `temporal workflow show -o json`, or of Download in the Web UI.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct ReplayAnswer {
    file: PathBuf,
    ok: bool,
    #[serde(flatten)]
    replayed: Option<Replayed>,
    /// Why the file could not be replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl ReplayAnswer {
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
pub(super) async fn run(arguments: Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let replayer = history::replayer(connect::converter(config)?)?;
    let mut answers = Vec::new();
    for file in arguments.files {
        let read = std::fs::read(&file).context("it cannot be opened").and_then(|json| history::read(&json));
        let replayed = match read {
            Ok(history) => Box::pin(history::replay(&replayer, history)).await,
            Err(error) => Err(error),
        };
        answers.push(match replayed {
            Ok(replayed) => {
                ReplayAnswer { file, ok: replayed.failure.is_none(), replayed: Some(replayed), error: None }
            }
            Err(error) => ReplayAnswer { file, ok: false, replayed: None, error: Some(format!("{error:#}")) },
        });
    }
    output.write(&answers, |answers, out| {
        for answer in answers {
            writeln!(out, "{}: {}", answer.file.display(), answer.sentence())?;
        }
        Ok(())
    })?;
    Ok(if answers.iter().all(|answer| answer.ok) { ExitStatus::Success } else { ExitStatus::Failure })
}

//! `history dump`.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use crate::{cli::ExitStatus, config::Config, connect, output::Output, temporal::history};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The workflow, such as `nightly_batch-2026-11-21T01:00:00Z`.
    workflow_id: String,
    /// One run of the workflow; by default the latest.
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// The file; `-` is standard output.
    #[arg(short = 'o', long = "file", value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Dumped<'a> {
    workflow_id: &'a str,
    events: usize,
    bytes: usize,
    file: &'a Path,
}

/// Writes the history of one run to a file, or to standard output.
pub(super) async fn run(arguments: Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { workflow_id, run_id, file } = &arguments;
    let client = connect::temporal(config).await?;
    let history = history::fetch(&client, workflow_id, run_id.as_deref()).await?;
    let json = serde_json::to_vec(&history).context("failed to write the history as JSON")?;
    if file == Path::new("-") {
        std::io::stdout().lock().write_all(&json).context("failed to write to standard output")?;
        return Ok(ExitStatus::Success);
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
    Ok(ExitStatus::Success)
}

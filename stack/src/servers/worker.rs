//! Runs the production binary the way an operator does.

use std::{
    collections::BTreeMap,
    process::{Output, Stdio},
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::tools;

/// Runs one command of `export-worker` to its end, with or without success.
///
/// The command is killed when the caller stops waiting for it.
pub async fn output(environment: &BTreeMap<String, String>, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(tools::worker_program()?);
    tools::clean_environment(|name| {
        command.env_remove(name);
    });
    command.args(arguments).envs(environment).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.output().await.with_context(|| format!("failed to run `export-worker {}`", arguments.join(" ")))
}

/// Runs a command that must succeed, as [`output`] does, and returns the text that it printed.
pub async fn command(environment: &BTreeMap<String, String>, arguments: &[&str]) -> anyhow::Result<String> {
    let output = output(environment, arguments).await?;
    let line = format!("export-worker {}", arguments.join(" "));
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        bail!("`{line}` ended with {}: {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed something that is not text"))
}

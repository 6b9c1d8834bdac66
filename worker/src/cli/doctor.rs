//! `doctor`.

use anyhow::Result;
use clap::Args;

use super::ExitStatus;
use crate::{
    config::Config,
    doctor::{self, CheckState},
    output::Output,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Assign the bucket to this installation, whatever its current mark says.
    #[arg(long)]
    adopt_bucket: bool,
}

/// Prints every line. Returns `Bad` if one failed.
pub(super) async fn run(arguments: &Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let lines = doctor::examine(config, arguments.adopt_bucket).await;
    output.write(&lines, |lines, out| {
        for line in lines {
            let state = match line.state {
                CheckState::Ok => "ok",
                CheckState::Warning => "WARN",
                CheckState::Failed => "FAIL",
                CheckState::Skipped => "-",
            };
            writeln!(out, "{state:<5}{:<24}{}", line.check, line.found)?;
            if let Some(remedy) = &line.remedy {
                writeln!(out, "{:<29}-> {remedy}", "")?;
            }
        }
        Ok(())
    })?;
    Ok(if doctor::is_healthy(&lines) { ExitStatus::Success } else { ExitStatus::Failure })
}

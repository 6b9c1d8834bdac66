//! `doctor`.

use anyhow::Result;

use super::Verdict;
use crate::{
    config::Config,
    doctor::{self, State},
    output::Output,
};

/// Prints every line. Returns `Bad` if one failed.
pub(super) async fn doctor(config: &Config, output: Output, adopt_bucket: bool) -> Result<Verdict> {
    let lines = doctor::examine(config, adopt_bucket).await;
    output.write(&lines, |lines, out| {
        for line in lines {
            let state = match line.state {
                State::Ok => "ok",
                State::Warning => "WARN",
                State::Failed => "FAIL",
                State::Skipped => "-",
            };
            writeln!(out, "{state:<5}{:<24}{}", line.check, line.found)?;
            if let Some(remedy) = &line.remedy {
                writeln!(out, "{:<29}-> {remedy}", "")?;
            }
        }
        Ok(())
    })?;
    Ok(if doctor::is_healthy(&lines) { Verdict::Good } else { Verdict::Bad })
}

//! `verify`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use export_activities::requests::operate;
use uuid::Uuid;

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The archive.
    archive: PathBuf,
    /// Also check that the file has this SHA-256.
    #[arg(long, value_name = "HEX", value_parser = sha256, conflicts_with = "request")]
    sha256: Option<String>,
    /// Also check that the file was delivered for this request (needs EXPORT_DATABASE_URL).
    #[arg(long, value_name = "ID")]
    request: Option<Uuid>,
}

/// Verifies an archive; an error names the first difference.
pub(super) async fn run(arguments: Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { archive, sha256, request } = arguments;
    let expected = match request {
        Some(id) => {
            let digest = operate::delivered_sha256(&connect::state(config)?, id).await?;
            Some(digest.with_context(|| format!("no archive was delivered for request {id}"))?)
        }
        None => sha256,
    };
    let path = archive.clone();
    let verified = tokio::task::spawn_blocking(move || export_verify::verify(&path, expected.as_deref()));
    // Drop the error of a panicked thread: it repeats the panic message, which may hold a value.
    let report = verified.await.map_err(|_| anyhow!("the verifier was interrupted"))??;
    output.write(&report, |report, out| {
        writeln!(out, "`{}` is whole", archive.display())?;
        writeln!(out, "request   {}", report.request_id)?;
        writeln!(out, "user      {}", report.user_id)?;
        writeln!(out, "snapshot  {}", report.snapshot_at.format("%Y-%m-%d %H:%M:%S UTC"))?;
        writeln!(out, "bytes     {} in {} files", report.bytes, report.files)?;
        writeln!(out, "sha256    {}", report.sha256)?;
        for entity in &report.entities {
            writeln!(out, "rows      {:>10}  {}", entity.rows, entity.name)?;
        }
        Ok(())
    })?;
    Ok(ExitStatus::Success)
}

fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a SHA-256 is 64 hexadecimal digits".to_owned())
    }
}

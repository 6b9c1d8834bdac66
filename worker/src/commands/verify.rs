//! `verify`.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use export_activities::requests::operate;
use uuid::Uuid;

use super::Verdict;
use crate::{config::Config, connect, output::Output};

/// Verifies an archive; an error names the first difference.
pub(super) async fn verify(
    config: &Config,
    output: Output,
    archive: &Path,
    sha256: Option<String>,
    request: Option<Uuid>,
) -> Result<Verdict> {
    let expected = match request {
        Some(id) => {
            let digest = operate::delivered_sha256(&connect::state(config)?, id).await?;
            Some(digest.with_context(|| format!("no archive was delivered for request {id}"))?)
        }
        None => sha256,
    };
    let path = archive.to_owned();
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
    Ok(Verdict::Good)
}

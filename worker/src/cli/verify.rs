//! `verify`.

use std::{
    fs::File,
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Utc};
use clap::Args;
use export_activities::{
    receipt::{self, PublicKeys, Receipt},
    requests::operate,
};
use export_verify::Report;
use serde::Serialize;
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
    /// Also check that the file is the one of this receipt, offline.
    #[arg(long, value_name = "FILE", requires = "receipt_key")]
    receipt: Option<PathBuf>,
    /// The public keys that may have signed the receipt: a JWK or a JWK Set, from a source that you trust.
    #[arg(long, value_name = "FILE", requires = "receipt")]
    receipt_key: Option<PathBuf>,
}

/// Verifies an archive; an error names the first difference.
pub(super) async fn run(arguments: Arguments, config: &Config, output: Output) -> Result<ExitStatus> {
    let Arguments { archive, sha256, request, receipt, receipt_key } = arguments;
    let stated = receipt.zip(receipt_key).map(|(receipt, keys)| read(&receipt, &keys)).transpose()?;
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
    if let Some(stated) = &stated {
        let agreed = export_verify::compare_with_receipt(&report, &stated.receipt);
        agreed.with_context(|| format!("`{}` is not the archive of the receipt", archive.display()))?;
    }
    output.write(&Verified { report, stated }, |Verified { report, stated }, out| {
        writeln!(out, "`{}` is whole", archive.display())?;
        writeln!(out, "request   {}", report.request_id)?;
        writeln!(out, "user      {}", report.user_id)?;
        writeln!(out, "snapshot  {}", report.snapshot_at.format("%Y-%m-%d %H:%M:%S UTC"))?;
        if let Some(scope) = &report.scope {
            writeln!(out, "part      {scope}")?;
        }
        writeln!(out, "bytes     {} in {} files", report.bytes, report.files)?;
        writeln!(out, "sha256    {}", report.sha256)?;
        for entity in &report.entities {
            writeln!(out, "rows      {:>10}  {}", entity.rows, entity.name)?;
        }
        stated.as_ref().map_or(Ok(()), |stated| write_stated(stated, out))
    })?;
    Ok(ExitStatus::Success)
}

/// What was verified.
#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    stated: Option<Stated>,
}

/// A receipt whose signature is right.
#[derive(Serialize)]
struct Stated {
    receipt: Receipt,
    /// Thumbprint of the key that signed it.
    key: String,
}

fn read(receipt: &Path, keys: &Path) -> Result<Stated> {
    let trusted = PublicKeys::load(keys).with_context(|| format!("`{}` is no public key", keys.display()))?;
    let context = || format!("`{}` is not a valid receipt", receipt.display());
    let mut text = String::new();
    let file = File::open(receipt).with_context(context)?;
    file.take(receipt::LONGEST).read_to_string(&mut text).with_context(context)?;
    let (receipt, key) = trusted.verify(&text).with_context(context)?;
    Ok(Stated { receipt, key: key.kid.clone() })
}

fn write_stated(Stated { receipt, key }: &Stated, out: &mut dyn Write) -> io::Result<()> {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%S UTC");
    let at = DateTime::from_timestamp(receipt.iat, 0).unwrap_or_default();
    writeln!(out, "receipt   signed by the key {key}")?;
    writeln!(out, "          it states that this very file was delivered by {}", receipt.iss)?;
    writeln!(out, "asked     {} ({})", time(receipt.requested_at), receipt.requested_as)?;
    writeln!(out, "ready     {}", time(receipt.ready_at))?;
    writeln!(out, "stated    {}", time(at))?;
    writeln!(out, "until     {}", time(receipt.expires_at))?;
    for access in receipt.accesses.iter().flatten() {
        writeln!(out, "{:<10}{} ({})", access.action, time(access.at), access.actor_as)?;
    }
    Ok(())
}

fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a SHA-256 is 64 hexadecimal digits".to_owned())
    }
}

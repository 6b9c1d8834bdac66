//! `receipt`.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use export_activities::{
    receipt::{PublicKey, SigningKey},
    requests::receipts,
};
use serde::Serialize;
use uuid::Uuid;

use super::ExitStatus;
use crate::{config::Config, connect, output::Output};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key that signs receipts: writes the private key to a new file, and prints the public key as JWK.
    Key {
        /// The file for the private key, for EXPORT_RECEIPT_KEY_FILE.
        file: PathBuf,
    },
    /// Print the receipt of a delivered archive, as the worker signed it.
    Show {
        /// The request.
        request: Uuid,
        /// Sign a new one that also states who got a link to the archive or downloaded it through the portal until now.
        #[arg(long)]
        accesses: bool,
    },
}

#[derive(Serialize)]
struct Receipt {
    receipt: String,
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Key { file } => {
                let public = make(&file)?;
                output.write(&public, |public, out| {
                    writeln!(out, "{}", serde_json::to_string_pretty(public)?)
                })?;
            }
            Self::Show { request, accesses } => {
                let key = accesses.then(|| config.needed_receipt_key()).transpose()?;
                let state = connect::state(config)?;
                let receipt = match key {
                    Some(key) => key.sign(&receipts::with_accesses(&state, request).await?)?,
                    None => receipts::read(&state, request).await?,
                };
                output.write(&Receipt { receipt }, |answer, out| writeln!(out, "{}", answer.receipt))?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

/// Writes a private key for its owner's eyes only. A file that is there stays: receipts may have been signed with it.
fn make(file: &Path) -> Result<PublicKey> {
    let (pem, public) = SigningKey::generate()?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.and_then(|mut made| made.write_all(pem.as_bytes()))
        .with_context(|| format!("failed to write the key to `{}`", file.display()))?;
    Ok(public)
}

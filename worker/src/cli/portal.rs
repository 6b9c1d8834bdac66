//! `portal`.

use anyhow::Result;
use clap::{Args, Subcommand};
use export_portal::caller::keys;
use serde::Serialize;

use super::ExitStatus;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a service key for a backend of the platform: prints the key, and its line for EXPORT_PORTAL_KEY_FILE.
    Key(Arguments),
    /// Print the description of the API: OpenAPI 3.1.
    Openapi,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Name of the backend: it is in the log of everything that is done with the key.
    name: String,
}

#[derive(Serialize)]
struct Made {
    key: String,
    line: String,
}

impl Command {
    pub(super) fn run(self, output: Output) -> Result<ExitStatus> {
        match self {
            Self::Key(Arguments { name }) => {
                let (key, line) = keys::make(&name)?;
                output.write(&Made { key, line }, |made, out| {
                    writeln!(out, "key   {}", made.key)?;
                    writeln!(out, "line  {}", made.line)
                })?;
            }
            Self::Openapi => {
                let text = export_portal::openapi()?;
                let document: serde_json::Value = serde_json::from_str(&text)?;
                output.write(&document, |_, out| writeln!(out, "{text}"))?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

//! `register`.

use std::io::{self, Write as _};

use anyhow::Result;
use chrono::NaiveDate;
use clap::Args;
use export_activities::requests::register::{self, Period};
use futures::TryStreamExt as _;

use super::ExitStatus;
use crate::{config::Config, connect};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only requests of this day or later, such as 2026-11-01, in UTC.
    #[arg(long)]
    from: Option<NaiveDate>,
    /// Only requests of this day or earlier.
    #[arg(long)]
    to: Option<NaiveDate>,
}

/// Prints CSV, whatever the format of answers is.
pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<ExitStatus> {
    let Arguments { from, to } = *arguments;
    let mut chunks = Box::pin(register::csv(connect::state(config)?, Period { from, to }));
    while let Some(chunk) = chunks.try_next().await? {
        match io::stdout().lock().write_all(&chunk) {
            // The reader, for example `head`, has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    Ok(ExitStatus::Success)
}

//! `migrate`.

use anyhow::Result;
use serde::Serialize;

use super::ExitStatus;
use crate::{config::Config, connect::explain, migrate, output::Output};

#[derive(Serialize)]
struct Migrated {
    applied: Vec<String>,
}

/// Applies the missing migrations.
pub(super) async fn run(config: &Config, output: Output) -> Result<ExitStatus> {
    let applied = migrate::migrate(config.owner_url()?).await.map_err(explain::owner)?;
    output.write(&Migrated { applied }, |answer, out| {
        for name in &answer.applied {
            writeln!(out, "applied {name}")?;
        }
        if answer.applied.is_empty() { writeln!(out, "nothing to apply") } else { Ok(()) }
    })?;
    Ok(ExitStatus::Success)
}

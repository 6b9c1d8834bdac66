//! Checks the resources that idle workers hold, and the things that ended workers leave.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Findings, Invariant, Subject};

/// Idle workers.
#[derive(Clone, Copy, Debug)]
pub struct Resting<'a> {
    /// Their process ids.
    pub pids: &'a [u32],
    /// The spool that they share.
    pub spool: &'a Path,
    /// The most connections that all of them may have together, for each role.
    pub connections: i64,
}

/// Checks that idle workers hold no file of the spool and no more connections than they may.
pub async fn check_resting(subject: &Subject, workers: &Resting<'_>) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let spool = workers.spool.canonicalize().context("failed to find the spool")?;
    findings.looked(Invariant::NothingLeft, workers.pids.len());
    for pid in workers.pids {
        for file in held(*pid, &spool)? {
            findings
                .broken(Invariant::NothingLeft, format!("worker {pid} holds the file `{}`", file.display()));
        }
    }
    for (role, count) in connections(subject).await? {
        if count > workers.connections {
            let what =
                format!("{role} has {count} connections, the workers may have {}", workers.connections);
            findings.broken(Invariant::NothingLeft, what);
        }
    }
    Ok(findings)
}

/// Checks that ended workers have left no connection, and nothing in their folders.
pub async fn check_ended(subject: &Subject, folders: &[&Path]) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for (role, count) in connections(subject).await? {
        findings.broken(Invariant::NothingLeft, format!("{role} still has {count} connections"));
    }
    for folder in folders {
        findings.looked(Invariant::NothingLeft, 1);
        for entry in fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))? {
            let path = entry.context("failed to list a folder")?.path();
            findings.broken(Invariant::NothingLeft, format!("`{}` was left behind", path.display()));
        }
    }
    Ok(findings)
}

/// Returns the files below a folder that a process holds open, also files of the spool, which have no name any more.
pub fn held(pid: u32, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).context("failed to inspect a process")?;
    let files = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(files.filter(|path| path.starts_with(folder)).collect())
}

async fn connections(subject: &Subject) -> anyhow::Result<BTreeMap<String, i64>> {
    let counted: Vec<(String, i64)> = sqlx::query_as(
        "select usename::text, count(*) from pg_stat_activity
         where datname = current_database() and usename in ('export_state', 'export_read')
         group by usename",
    )
    .fetch_all(&subject.database)
    .await
    .context("failed to count the connections")?;
    Ok(counted.into_iter().collect())
}

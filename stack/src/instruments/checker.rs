//! Checks an installation by its database, its bucket and its histories: the invariants that must hold after every
//! night, fault and operator.
//!
//! It does not know what happened before. Each invariant counts the things that it checked, so that a check of nothing
//! is visible, and describes each break in one sentence.

mod histories;
mod leftovers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::Context as _;
use aws_sdk_s3::Client;
use export_activities::{store::object_key::INSTALLATION_MARK, user_id::UserId};
use sqlx::PgPool;
use temporalio_client::Client as Temporal;
use uuid::Uuid;

pub use self::leftovers::{Resting, check_ended, check_resting, held};

/// The rules that must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// The events of each request are a legal path to the state of its row.
    LegalPath,
    /// Each `ready` request has its object, which matches the row and verifies.
    ReadyIsDelivered,
    /// Each object, version and unfinished upload is named by a row.
    NothingOrphaned,
    /// Each live link returns the archive.
    LinkWorks,
    /// No claim is held and no transaction of ours is open.
    NothingHeld,
    /// The histories agree with the row of each request, and no request is fulfilled twice.
    HistoriesTellTheTruth,
    /// No workflow task failed because of the workflow.
    RunsUndisturbed,
    /// Idle workers hold nothing, and ended workers leave nothing behind.
    NothingLeft,
}

/// The number of checks and the breaks that they found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The number of things that each invariant checked.
    pub checked: BTreeMap<Invariant, usize>,
    /// One sentence for each break.
    pub broken: Vec<(Invariant, String)>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (invariant, checked) in &self.checked {
            let broken = self.broken.iter().filter(|(which, _)| which == invariant);
            writeln!(f, "{invariant:?}: {checked} checked, {} broken", broken.clone().count())?;
            for (_, what) in broken {
                writeln!(f, "  {what}")?;
            }
        }
        Ok(())
    }
}

impl Findings {
    /// Returns whether exactly these invariants are broken.
    pub fn broke(&self, invariants: &[Invariant]) -> bool {
        let broken: BTreeSet<_> = self.broken.iter().map(|(invariant, _)| *invariant).collect();
        broken == invariants.iter().copied().collect()
    }

    /// Adds the findings of another check.
    pub fn extend(&mut self, other: Self) {
        for (invariant, things) in other.checked {
            self.looked(invariant, things);
        }
        self.broken.extend(other.broken);
    }

    fn looked(&mut self, invariant: Invariant, things: usize) {
        *self.checked.entry(invariant).or_default() += things;
    }

    fn broken(&mut self, invariant: Invariant, what: String) {
        self.broken.push((invariant, what));
    }
}

/// The installation to check, without our own code in between.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The database, as a superuser, because only a superuser sees the transactions of all roles.
    pub database: PgPool,
    /// The store.
    pub s3: Client,
    /// The bucket.
    pub bucket: String,
    /// The client of the namespace in which nights ran, if there is one.
    pub histories: Option<Temporal>,
}

/// Checks everything. The installation must be idle: no night runs, and after a kill a sweep has run.
pub async fn check(subject: &Subject) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    check_paths(subject, &mut findings).await?;
    check_delivered(subject, &mut findings).await?;
    check_orphans(subject, &mut findings).await?;
    check_held(subject, &mut findings).await?;
    if let Some(client) = &subject.histories {
        histories::check(client, &subject.database, &mut findings).await?;
    }
    Ok(findings)
}

async fn check_paths(subject: &Subject, findings: &mut Findings) -> anyhow::Result<()> {
    let rows: Vec<(Uuid, String, Vec<String>)> = sqlx::query_as(
        "select r.id,
                r.status || case when object_key is null then '' else ', archive' end
                         || case when object_deleted_at is null then '' else ' deleted' end,
                array(select e.kind from public.data_export_events e
                      where e.request_id = r.id and e.kind <> 'damaged' order by e.id)
         from public.data_export_requests r",
    )
    .fetch_all(&subject.database)
    .await
    .context("failed to read the requests and their events")?;
    findings.looked(Invariant::LegalPath, rows.len());
    for (id, state, path) in rows {
        let legal: &[&str] = match state.as_str() {
            "pending" => &["requested"],
            "ready, archive" => &["requested", "ready"],
            "failed" => &["requested", "failed"],
            "failed, archive" => &["requested", "ready", "failed"],
            "failed, archive deleted" => &["requested", "ready", "failed", "object_deleted"],
            _ => &[],
        };
        if path != legal {
            findings.broken(Invariant::LegalPath, format!("request {id} is `{state}` after {path:?}"));
        }
    }
    Ok(())
}

async fn check_delivered(subject: &Subject, findings: &mut Findings) -> anyhow::Result<()> {
    type Row = (Uuid, UserId, String, i64, String, serde_json::Value, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "select id, user_id, object_key, archive_bytes, archive_sha256, row_counts,
                case when expires_at > clock_timestamp() then download_url end
         from public.data_export_requests where status = 'ready'",
    )
    .fetch_all(&subject.database)
    .await
    .context("failed to read the delivered requests")?;
    findings.looked(Invariant::ReadyIsDelivered, rows.len());
    for (id, user, key, bytes, sha256, row_counts, link) in rows {
        let wrong = |what: String| format!("request {id}: {what}");
        let object = subject.s3.get_object().bucket(&subject.bucket).key(&key).send().await;
        let Ok(object) = object else {
            findings.broken(Invariant::ReadyIsDelivered, wrong(format!("`{key}` cannot be read")));
            continue;
        };
        let archive = object.body.collect().await.context("an object ended early")?.into_bytes();
        if i64::try_from(archive.len())? != bytes {
            let what = wrong(format!("`{key}` has {} bytes, the row says {bytes}", archive.len()));
            findings.broken(Invariant::ReadyIsDelivered, what);
        } else if let Err(what) = verify(&archive, &sha256, id, &user, &row_counts) {
            findings.broken(Invariant::ReadyIsDelivered, wrong(format!("{what:#}")));
        }
        if let Some(link) = link {
            findings.looked(Invariant::LinkWorks, 1);
            let answer = crate::servers::versitygw::http()?.get(&link).send().await;
            let got = match answer.and_then(reqwest::Response::error_for_status) {
                Ok(answer) => answer.bytes().await.ok(),
                Err(_) => None,
            };
            if got.is_none_or(|got| got != archive) {
                findings.broken(Invariant::LinkWorks, wrong("its link does not give the archive".to_owned()));
            }
        }
    }
    Ok(())
}

/// Verifies an archive, and that it is the archive of the row.
fn verify(
    archive: &[u8],
    sha256: &str,
    request: Uuid,
    user: &UserId,
    row_counts: &serde_json::Value,
) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new().context("failed to make a file")?;
    std::fs::write(file.path(), archive).context("failed to write an archive")?;
    let report = export_verify::verify(file.path(), Some(sha256))?;
    anyhow::ensure!(report.request_id == request, "the archive is of request {}", report.request_id);
    anyhow::ensure!(report.user_id == *user, "the archive is of user {}", report.user_id);
    let counts: BTreeMap<_, _> =
        report.entities.into_iter().map(|entity| (entity.name, entity.rows)).collect();
    let counts = serde_json::to_value(counts)?;
    anyhow::ensure!(counts == *row_counts, "the archive has {counts} rows, the row says {row_counts}");
    Ok(())
}

async fn check_orphans(subject: &Subject, findings: &mut Findings) -> anyhow::Result<()> {
    let named: Vec<String> = sqlx::query_scalar(
        "select object_key from public.data_export_requests
         where object_key is not null and object_deleted_at is null",
    )
    .fetch_all(&subject.database)
    .await
    .context("failed to read the objects that rows name")?;
    let named: BTreeSet<String> = named.into_iter().collect();
    let mut pages =
        subject.s3.list_objects_v2().bucket(&subject.bucket).prefix("exports/").into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.context("failed to list the bucket")?.contents() {
            let key = object.key().unwrap_or_default();
            findings.looked(Invariant::NothingOrphaned, 1);
            if key != INSTALLATION_MARK && !named.contains(key) {
                findings.broken(Invariant::NothingOrphaned, format!("no request names the object `{key}`"));
            }
        }
    }
    let uploads = subject.s3.list_multipart_uploads().bucket(&subject.bucket).send().await;
    for upload in uploads.context("failed to list unfinished uploads")?.uploads() {
        let key = upload.key().unwrap_or_default();
        findings.broken(Invariant::NothingOrphaned, format!("an upload of `{key}` is unfinished"));
    }
    Ok(())
}

async fn check_held(subject: &Subject, findings: &mut Findings) -> anyhow::Result<()> {
    let claimed: Vec<Uuid> =
        sqlx::query_scalar("select id from public.data_export_requests where claim_token is not null")
            .fetch_all(&subject.database)
            .await
            .context("failed to read the claims")?;
    let open: Vec<(i32, String)> = sqlx::query_as(
        "select pid, usename::text from pg_stat_activity
         where datname = current_database() and usename in ('export_state', 'export_read')
             and state is distinct from 'idle' and xact_start is not null",
    )
    .fetch_all(&subject.database)
    .await
    .context("failed to read the open transactions")?;
    findings.looked(Invariant::NothingHeld, 1);
    for id in claimed {
        findings.broken(Invariant::NothingHeld, format!("request {id} is still claimed"));
    }
    for (pid, role) in open {
        findings.broken(Invariant::NothingHeld, format!("{role} has a transaction open in backend {pid}"));
    }
    Ok(())
}

//! What an operator does to requests: create, list, show, revoke, retry, forget; and the pruning of the log.
//!
//! `pending | ready -> failed (revoked)` is the only move here, guarded like every other one. The archive of a
//! revoked request is deleted by the command at once (`expire::delete_archive`), else by the next expiry pass. Nothing
//! here touches the store, and no answer carries the link unless it is asked for.

use std::fmt;

use anyhow::{Context as _, Result};
use chrono::{DateTime, NaiveDate, Utc};
use export_workflows::contract::FailureReason;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

/// Why an operator takes an export back; noted on the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeReason {
    /// The user asked for it.
    UserRequest,
    /// The law or a court asked for it.
    Legal,
    /// It should not have been made.
    Mistake,
}

impl RevokeReason {
    /// Gives the word that is noted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserRequest => "user_request",
            Self::Legal => "legal",
            Self::Mistake => "mistake",
        }
    }
}

/// A request in a list.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The request.
    pub id: Uuid,
    /// Whose data.
    pub user_id: Uuid,
    /// `pending`, `ready` or `failed`, exact at this moment.
    pub status: String,
    /// When the user asked.
    pub requested_at: DateTime<Utc>,
    /// When its link stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Attempts that failed in our own code.
    pub attempts: i32,
    /// Class and code of the last failed attempt.
    pub last_error: Option<String>,
}

/// One request in full.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The request.
    pub id: Uuid,
    /// Whose data.
    pub user_id: Uuid,
    /// `pending`, `ready` or `failed`, exact at this moment.
    pub status: String,
    /// When the user asked.
    pub requested_at: DateTime<Utc>,
    /// Whether there is a link that works.
    pub has_link: bool,
    /// The link: whoever has it has the archive. It shows and serialises as nothing.
    #[serde(skip)]
    pub link: Option<Link>,
    /// When the link stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it became ready.
    pub fulfilled_at: Option<DateTime<Utc>>,
    /// The moment of which the archive is a copy.
    pub snapshot_at: Option<DateTime<Utc>>,
    /// The archive in the bucket.
    pub object_key: Option<String>,
    /// When the archive was deleted.
    pub object_deleted_at: Option<DateTime<Utc>>,
    /// Size of the archive.
    pub archive_bytes: Option<i64>,
    /// Its SHA-256.
    pub archive_sha256: Option<String>,
    /// Rows by entity.
    pub row_counts: Option<serde_json::Value>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// Attempts that failed in our own code.
    pub attempts: i32,
    /// How often it was claimed.
    pub claims: i32,
    /// Workers that were killed while they held it.
    pub lost: i32,
    /// Class and code of the last failed attempt.
    pub last_error: Option<String>,
    /// Who holds it now.
    pub claim_owner: Option<String>,
    /// Until when others leave it alone.
    pub lease_until: Option<DateTime<Utc>>,
    /// The failed request that it repeats.
    pub retry_of: Option<Uuid>,
    /// What happened to it.
    pub events: Vec<Event>,
}

/// A link that neither shows nor serialises.
pub struct Link(SecretString);

impl Link {
    /// Gives the link itself: for the one place that was asked to print it.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// One line of the fulfilment log.
#[derive(Debug, Serialize)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// `requested`, `ready`, `failed` or `object_deleted`.
    pub kind: String,
    /// Why, with `failed`.
    pub reason: Option<String>,
    /// In the name of which night.
    pub night: Option<NaiveDate>,
    /// By which Temporal run.
    pub run_id: Option<String>,
}

/// How revoking a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is failed now; `had_archive` says whether an archive has to be deleted.
    Done {
        /// It was delivered, so its archive is in the bucket.
        had_archive: bool,
    },
    /// It had failed before; nothing was changed.
    HadFailed {
        /// Why it had failed.
        reason: String,
        /// Its archive is still stored.
        has_archive: bool,
    },
    /// There is no such request.
    Unknown,
}

/// How asking for a repetition ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// This new request waits for the next night.
    Created(Uuid),
    /// This one repeats it already and is still waiting.
    Waiting(Uuid),
    /// It is pending or ready: there is nothing to repeat.
    NotFailed,
    /// Its user was forgotten: nobody knows whose data it asked for.
    Forgotten,
    /// There is no such request.
    Unknown,
}

/// Makes a pending request, as the platform does.
pub async fn create(state: &PgPool, user_id: Uuid) -> Result<Uuid> {
    sqlx::query_scalar!("insert into public.data_export_requests (user_id) values ($1) returning id", user_id)
        .fetch_one(state)
        .await
        .context("failed to create the request")
}

/// Lists requests, newest first: all, or those in one state.
pub async fn list(state: &PgPool, status: Option<&str>, limit: i64) -> Result<Vec<Listed>> {
    // The state is the one that the platform shows: an overdue ready request is failed.
    sqlx::query_as!(
        Listed,
        r#"select r.id, r.user_id, e.status as "status!", r.requested_at, r.expires_at, e.failure_reason,
               r.attempts, r.last_error
           from public.data_export_requests r
           join public.data_export_requests_effective e on e.id = r.id
           where $1::text is null or e.status = $1
           order by r.requested_at desc, r.id
           limit $2"#,
        status,
        limit,
    )
    .fetch_all(state)
    .await
    .context("failed to list requests")
}

/// Reads one request with its log; `None` when there is no such request.
pub async fn show(state: &PgPool, request_id: Uuid) -> Result<Option<Shown>> {
    let row = sqlx::query!(
        r#"select r.id, r.user_id, e.status as "status!", r.requested_at, e.download_url, r.expires_at,
               r.fulfilled_at, r.snapshot_at, r.object_key, r.object_deleted_at, r.archive_bytes, r.archive_sha256,
               r.row_counts, e.failure_reason, r.attempts, r.claims, r.lost, r.last_error, r.claim_owner,
               r.lease_until, r.retry_of
           from public.data_export_requests r
           join public.data_export_requests_effective e on e.id = r.id
           where r.id = $1"#,
        request_id,
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read request `{request_id}`"))?;
    let Some(row) = row else { return Ok(None) };
    let events = sqlx::query_as!(
        Event,
        "select at, kind, reason, night, run_id from public.data_export_events where request_id = $1 order by id",
        request_id,
    )
    .fetch_all(state)
    .await
    .with_context(|| format!("failed to read the log of request `{request_id}`"))?;
    Ok(Some(Shown {
        id: row.id,
        user_id: row.user_id,
        status: row.status,
        requested_at: row.requested_at,
        has_link: row.download_url.is_some(),
        link: row.download_url.map(|url| Link(url.into())),
        expires_at: row.expires_at,
        fulfilled_at: row.fulfilled_at,
        snapshot_at: row.snapshot_at,
        object_key: row.object_key,
        object_deleted_at: row.object_deleted_at,
        archive_bytes: row.archive_bytes,
        archive_sha256: row.archive_sha256,
        row_counts: row.row_counts,
        failure_reason: row.failure_reason,
        attempts: row.attempts,
        claims: row.claims,
        lost: row.lost,
        last_error: row.last_error,
        claim_owner: row.claim_owner,
        lease_until: row.lease_until,
        retry_of: row.retry_of,
        events,
    }))
}

/// Reads the digest of a delivered archive, for `verify --request`; `None` when there is none.
pub async fn delivered_sha256(state: &PgPool, request_id: Uuid) -> Result<Option<String>> {
    let digest = sqlx::query_scalar!(
        "select archive_sha256 from public.data_export_requests where id = $1",
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read request `{request_id}`"))?;
    Ok(digest.flatten())
}

/// `pending | ready -> failed (revoked)`. An attempt that holds the request loses it: its compare-and-set finds no row.
pub async fn revoke(state: &PgPool, request_id: Uuid, reason: RevokeReason) -> Result<Revoked> {
    let context = || format!("failed to revoke request `{request_id}`");
    let moved = sqlx::query!(
        "update public.data_export_requests
         set status = 'failed', failure_reason = $3, last_error = $2, download_url = null,
             pseudonym_salt = null, claim_token = null, claim_owner = null, claim_try = null, lease_until = null
         where id = $1 and status in ('pending', 'ready')
         returning object_key",
        request_id,
        format!("revoked by an operator: {}", reason.as_str()),
        FailureReason::Revoked.as_str(),
    )
    .fetch_optional(state)
    .await
    .with_context(context)?;
    if let Some(row) = moved {
        return Ok(Revoked::Done { had_archive: row.object_key.is_some() });
    }
    let failed = sqlx::query!(
        r#"select failure_reason, object_key is not null and object_deleted_at is null as "has_archive!"
           from public.data_export_requests where id = $1"#,
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(context)?;
    Ok(match failed {
        Some(row) => Revoked::HadFailed {
            reason: row.failure_reason.unwrap_or_default(),
            has_archive: row.has_archive,
        },
        None => Revoked::Unknown,
    })
}

/// Makes a new pending request that repeats a failed one; asked twice, it is made once.
pub async fn retry(state: &PgPool, request_id: Uuid) -> Result<Retried> {
    let context = || format!("failed to repeat request `{request_id}`");
    let mut tx = state.begin().await.with_context(context)?;
    // The lock makes two calls at once one after the other.
    let status = sqlx::query!(
        // Overdue counts as failed, as in the view: the expiry pass is minutes away at most.
        r#"select user_id, status = 'failed' or (status = 'ready' and expires_at <= clock_timestamp()) as "failed!"
           from public.data_export_requests where id = $1 for update"#,
        request_id,
    )
    .fetch_optional(&mut *tx)
    .await
    .with_context(context)?;
    let Some(row) = status else { return Ok(Retried::Unknown) };
    if !row.failed {
        return Ok(Retried::NotFailed);
    }
    if row.user_id.is_nil() {
        return Ok(Retried::Forgotten);
    }
    let waiting = sqlx::query_scalar!(
        "select id from public.data_export_requests where retry_of = $1 and status = 'pending' and user_id = $2",
        request_id,
        row.user_id,
    )
    .fetch_optional(&mut *tx)
    .await
    .with_context(context)?;
    if let Some(id) = waiting {
        return Ok(Retried::Waiting(id));
    }
    let id = sqlx::query_scalar!(
        "insert into public.data_export_requests (user_id, retry_of) values ($1, $2) returning id",
        row.user_id,
        request_id,
    )
    .fetch_one(&mut *tx)
    .await
    .with_context(context)?;
    tx.commit().await.with_context(context)?;
    Ok(Retried::Created(id))
}

/// Lists the requests of a user that have not ended.
pub async fn open_requests(state: &PgPool, user_id: Uuid) -> Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select id from public.data_export_requests
         where user_id = $1 and status in ('pending', 'ready') order by requested_at, id",
        user_id,
    )
    .fetch_all(state)
    .await
    .context("failed to list the requests of a user")
}

/// What is left of a user in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Ended requests that named the user until now.
    pub forgotten: i64,
    /// Requests that still do: they have not ended, or their archive is not deleted yet.
    pub left: i64,
}

/// Lists the ended requests of a user whose archives are still stored.
pub async fn stored_requests(state: &PgPool, user_id: Uuid) -> Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select id from public.data_export_requests
         where user_id = $1 and status = 'failed' and object_key is not null and object_deleted_at is null",
        user_id,
    )
    .fetch_all(state)
    .await
    .context("failed to list the archives of a user")
}

/// Replaces the user's id by the nil UUID in every request that has ended and whose archive is deleted.
///
/// A trigger refuses it for the others. `last_error` goes too, since it may name a row of the user.
pub async fn forget(state: &PgPool, user_id: Uuid) -> Result<Forgotten> {
    const CONTEXT: &str = "failed to forget a user";
    let forgotten = sqlx::query!(
        "update public.data_export_requests set user_id = $2, last_error = null
         where user_id = $1 and status = 'failed' and (object_key is null or object_deleted_at is not null)",
        user_id,
        Uuid::nil(),
    )
    .execute(state)
    .await
    .context(CONTEXT)?
    .rows_affected();
    let left = sqlx::query_scalar!(
        r#"select count(*) as "left!" from public.data_export_requests where user_id = $1"#,
        user_id,
    )
    .fetch_one(state)
    .await
    .context(CONTEXT)?;
    Ok(Forgotten { forgotten: i64::try_from(forgotten).unwrap_or(i64::MAX), left })
}

/// Deletes the lines of the log that are older than 24 months, which is how long it is kept. Returns how many.
///
/// A trigger refuses to delete a younger one, whoever asks. Another deletes an ended request with its last line.
pub async fn prune_events(state: &PgPool) -> Result<u64> {
    /// Lines of one transaction: short enough to leave room for a night.
    const BATCH: i64 = 5_000;
    let mut pruned = 0;
    loop {
        let deleted = sqlx::query!(
            "delete from public.data_export_events where id in (
                 select id from public.data_export_events where at < now() - interval '24 months'
                 order by id limit $1)",
            BATCH,
        )
        .execute(state)
        .await
        .context("failed to prune the log")?
        .rows_affected();
        pruned += deleted;
        if deleted < u64::try_from(BATCH).unwrap_or(u64::MAX) {
            return Ok(pruned);
        }
    }
}

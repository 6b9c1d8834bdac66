//! Runs an operator's commands on requests (create, list, show, revoke, retry, forget), and prunes the log.
//!
//! `pending | ready -> failed (revoked)` is the only move here, guarded like every other one. The command deletes the
//! archive of a revoked request at once (`expire::delete_archive`), else the next expiry pass does. Nothing here
//! touches the store, and no output carries the link unless it is asked for.

use std::fmt;

use anyhow::{Context as _, Result};
use chrono::{DateTime, NaiveDate, Utc};
use export_workflows::contract::FailureReason;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sqlx::{Connection as _, types::Json};
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    requests::state::Status,
    scope::{Filters, Scope},
    serialise::formats::Formats,
    user_id::UserId,
};

/// Why an operator revokes an export; recorded on the row.
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
    /// Returns the text that is recorded.
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
    /// The user whose data it asks for.
    pub user_id: UserId,
    /// Its state, exact at this moment.
    pub status: Status,
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
pub struct RequestDetails {
    /// The request.
    pub id: Uuid,
    /// The user whose data it asks for.
    pub user_id: UserId,
    /// Its state, exact at this moment.
    pub status: Status,
    /// When the user asked.
    pub requested_at: DateTime<Utc>,
    /// Which part of the data is asked for; missing if it is the whole.
    #[serde(skip_serializing_if = "Scope::is_whole")]
    pub scope: Scope,
    /// The formats that were asked for.
    pub formats: Vec<String>,
    /// Whether there is a link that works.
    pub has_link: bool,
    /// The link, which is all that a download needs. It is never shown or serialised.
    #[serde(skip)]
    pub link: Option<Link>,
    /// When the link stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it became ready.
    pub fulfilled_at: Option<DateTime<Utc>>,
    /// The moment at which the archive's data was read.
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
    /// The activity that holds it now.
    pub claim_owner: Option<String>,
    /// Until when no other attempt may take it over.
    pub lease_until: Option<DateTime<Utc>>,
    /// The failed request that it repeats.
    pub retry_of: Option<Uuid>,
    /// Its lines of the log.
    pub events: Vec<Event>,
}

/// A link that is never shown or serialised.
pub struct Link(SecretString);

impl Link {
    /// Returns the link itself: for the one place that prints it on request.
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
    /// When it was written.
    pub at: DateTime<Utc>,
    /// `requested`, `ready`, `failed`, `object_deleted` or `damaged`.
    pub kind: String,
    /// The reason of `failed`, or what was found damaged.
    pub reason: Option<String>,
    /// The night that wrote it, if one did.
    pub night: Option<NaiveDate>,
    /// The Temporal run that wrote it, if one did.
    pub run_id: Option<String>,
}

/// The result of revoking a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is failed now.
    Done {
        /// It was delivered, so its archive is in the bucket and has to be deleted.
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

/// The result of retrying a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// This new request waits for the next night.
    Created(Uuid),
    /// This request already repeats it and is still pending.
    Waiting(Uuid),
    /// It is pending or ready: there is nothing to repeat.
    NotFailed,
    /// Its user was forgotten: it is unknown whose data it asked for.
    Forgotten,
    /// There is no such request.
    Unknown,
}

/// Makes a pending request, as the platform does. The caller has checked that the scope fits the catalogue.
pub async fn create(state: &Pool, user_id: &UserId, scope: &Scope, formats: &Formats) -> Result<Uuid> {
    let filters = Some(&scope.filters).filter(|filters| !filters.is_empty());
    sqlx::query_scalar!(
        "insert into public.data_export_requests (user_id, entities, since, until, filters, formats)
         values ($1, $2, $3, $4, $5, $6) returning id",
        user_id.as_str(),
        scope.entities.as_deref(),
        scope.since,
        scope.until,
        filters.map(Json) as _,
        &formats.names(),
    )
    .fetch_one(state)
    .await
    .context("failed to create the request")
}

/// Lists requests, newest first: all, or those in one state.
pub async fn list(state: &Pool, status: Option<Status>, limit: i64) -> Result<Vec<Listed>> {
    // Uses the state that the platform shows: an overdue ready request is failed.
    sqlx::query_as!(
        Listed,
        r#"select r.id, r.user_id as "user_id: UserId", e.status as "status!: Status", r.requested_at, r.expires_at, e.failure_reason,
               r.attempts, r.last_error
           from public.data_export_requests r
           join public.data_export_requests_effective e on e.id = r.id
           where $1::text is null or e.status = $1
           order by r.requested_at desc, r.id
           limit $2"#,
        status.map(Status::as_str),
        limit,
    )
    .fetch_all(state)
    .await
    .context("failed to list requests")
}

/// Reads one request with its log; `None` when there is no such request.
pub async fn show(state: &Pool, request_id: Uuid) -> Result<Option<RequestDetails>> {
    let row = sqlx::query!(
        r#"select r.id, r.user_id as "user_id: UserId", e.status as "status!: Status", r.requested_at, e.download_url, r.expires_at,
               r.fulfilled_at, r.snapshot_at, r.object_key, r.object_deleted_at, r.archive_bytes, r.archive_sha256,
               r.row_counts, e.failure_reason, r.attempts, r.claims, r.lost, r.last_error, r.claim_owner,
               r.lease_until, r.retry_of, r.entities, r.since, r.until, r.filters as "filters: Json<Filters>", r.formats
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
    Ok(Some(RequestDetails {
        id: row.id,
        user_id: row.user_id,
        status: row.status,
        requested_at: row.requested_at,
        scope: Scope::of_columns(row.entities, row.since, row.until, row.filters),
        formats: Formats::shown(row.formats),
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
pub async fn delivered_sha256(state: &Pool, request_id: Uuid) -> Result<Option<String>> {
    let digest = sqlx::query_scalar!(
        "select archive_sha256 from public.data_export_requests where id = $1",
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read request `{request_id}`"))?;
    Ok(digest.flatten())
}

/// Moves `pending | ready -> failed (revoked)`. An attempt that holds the request loses it: its compare-and-set finds
/// no row.
pub async fn revoke(state: &Pool, request_id: Uuid, reason: RevokeReason) -> Result<Revoked> {
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

/// Makes a new pending request that repeats a failed one. A second call makes no second request.
pub async fn retry(state: &Pool, request_id: Uuid) -> Result<Retried> {
    let context = || format!("failed to repeat request `{request_id}`");
    let mut session = state.acquire().await.with_context(context)?;
    let mut tx = session.begin().await.with_context(context)?;
    // The lock serialises concurrent calls.
    let status = sqlx::query!(
        // Overdue counts as failed, as in the view: the next expiry pass is at most minutes away.
        r#"select user_id as "user_id: UserId", status = 'failed' or (status = 'ready' and expires_at <= clock_timestamp()) as "failed!"
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
    if row.user_id == UserId::forgotten() {
        return Ok(Retried::Forgotten);
    }
    let waiting = sqlx::query_scalar!(
        "select id from public.data_export_requests where retry_of = $1 and status = 'pending' and user_id = $2",
        request_id,
        row.user_id.as_str(),
    )
    .fetch_optional(&mut *tx)
    .await
    .with_context(context)?;
    if let Some(id) = waiting {
        return Ok(Retried::Waiting(id));
    }
    let id = sqlx::query_scalar!(
        // What failed is asked for again.
        "insert into public.data_export_requests (user_id, retry_of, entities, since, until, filters, formats)
         select r.user_id, r.id, r.entities, r.since, r.until, r.filters, r.formats from public.data_export_requests r where r.id = $1
         returning id",
        request_id,
    )
    .fetch_one(&mut *tx)
    .await
    .with_context(context)?;
    tx.commit().await.with_context(context)?;
    session.keep();
    Ok(Retried::Created(id))
}

/// Lists the requests of a user that have not ended.
pub async fn open_requests(state: &Pool, user_id: &UserId) -> Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select id from public.data_export_requests
         where user_id = $1 and status in ('pending', 'ready') order by requested_at, id",
        user_id.as_str(),
    )
    .fetch_all(state)
    .await
    .context("failed to list the requests of a user")
}

/// The result of forgetting a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// Ended requests that named the user until now.
    pub forgotten: i64,
    /// Requests that still name the user: they have not ended, or their archive is not deleted yet.
    pub left: i64,
}

/// Lists the ended requests of a user whose archives are still stored.
pub async fn stored_requests(state: &Pool, user_id: &UserId) -> Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select id from public.data_export_requests
         where user_id = $1 and status = 'failed' and object_key is not null and object_deleted_at is null",
        user_id.as_str(),
    )
    .fetch_all(state)
    .await
    .context("failed to list the archives of a user")
}

/// Replaces the user's id by the nil UUID in every request that has ended and whose archive is deleted.
///
/// A trigger refuses it for other requests. Clears `last_error` and the filters too, because they may say something of the
/// user, and the reason that was given for asking for them. Ends the user's sessions, and no longer names the user as the one who asked
/// for others.
pub async fn forget(state: &Pool, user_id: &UserId) -> Result<Forgotten> {
    const CONTEXT: &str = "failed to forget a user";
    sqlx::query!("delete from public.data_export_sessions where user_id = $1", user_id.as_str())
        .execute(state)
        .await
        .context(CONTEXT)?;
    let nobody = UserId::forgotten();
    sqlx::query!(
        "with named as (
             update public.data_export_requests set asked_by = $2 where asked_by = $1 and asked_as <> 'service'
         )
         update public.data_export_accesses set actor = $2 where actor = $1 and actor_as <> 'service'",
        user_id.as_str(),
        nobody.as_str(),
    )
    .execute(state)
    .await
    .context(CONTEXT)?;
    sqlx::query!(
        "update public.data_export_accesses a set why = 'forgotten'
         from public.data_export_requests r
         where r.id = a.request_id and r.user_id = $1 and a.why is not null",
        user_id.as_str(),
    )
    .execute(state)
    .await
    .context(CONTEXT)?;
    let forgotten = sqlx::query!(
        "update public.data_export_requests
         set user_id = $2, last_error = null, ask_key = null, ask_print = null, receipt = null, filters = null,
             asked_why = case when asked_why is not null then 'forgotten' end
         where user_id = $1 and status = 'failed' and (object_key is null or object_deleted_at is not null)",
        user_id.as_str(),
        nobody.as_str(),
    )
    .execute(state)
    .await
    .context(CONTEXT)?
    .rows_affected();
    let left = sqlx::query_scalar!(
        r#"select count(*) as "left!" from public.data_export_requests where user_id = $1"#,
        user_id.as_str(),
    )
    .fetch_one(state)
    .await
    .context(CONTEXT)?;
    Ok(Forgotten { forgotten: i64::try_from(forgotten).unwrap_or(i64::MAX), left })
}

/// Deletes the lines of both logs that are older than 24 months, their retention. Returns how many.
///
/// A trigger refuses to delete a younger line for every role. Another trigger deletes an ended request with its last
/// line.
pub async fn prune_events(state: &Pool) -> Result<u64> {
    /// Lines of one transaction: few enough to leave room for a night.
    const BATCH: i64 = 5_000;
    let mut pruned = 0;
    sqlx::query!("delete from public.data_export_notices where ended_at < now() - interval '90 days'")
        .execute(state)
        .await
        .context("failed to prune ended notices")?;
    loop {
        let events = sqlx::query!(
            "delete from public.data_export_events where id in (
                 select id from public.data_export_events where at < now() - interval '24 months'
                 order by id limit $1)",
            BATCH,
        );
        let accesses = sqlx::query!(
            "delete from public.data_export_accesses where id in (
                 select id from public.data_export_accesses where at < now() - interval '24 months'
                 order by id limit $1)",
            BATCH,
        );
        let mut deleted = events.execute(state).await.context("failed to prune the log")?.rows_affected();
        deleted +=
            accesses.execute(state).await.context("failed to prune the log of accesses")?.rows_affected();
        pruned += deleted;
        if deleted < u64::try_from(BATCH).unwrap_or(u64::MAX) {
            return Ok(pruned);
        }
    }
}

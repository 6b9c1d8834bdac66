//! The states of an export request and every guarded update that may leave `pending`.
//!
//! `pending -> ready -> failed`, or `pending -> failed`. Each update here is a compare-and-set: it names the state and
//! the claim that it expects, and zero rows is an answer, never a surprise. The transaction that moves a row also
//! writes its event and notifies `data_export`. Taking and renewing the claim is in `claim.rs`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, Utc};
use export_workflows::contract::FailureReason;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::held_back;

/// In whose name a row moves; noted in its event.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The night (UTC date), if one is running.
    pub night: Option<NaiveDate>,
    /// The Temporal run, if there is one.
    pub run_id: Option<String>,
}

/// What a delivered archive is, as the row and its event record it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where it lies.
    pub object_key: String,
    /// Size in bytes.
    pub archive_bytes: i64,
    /// SHA-256 in lower-case hexadecimal.
    pub archive_sha256: String,
    /// Rows by entity.
    pub row_counts: BTreeMap<String, u64>,
    /// `now()` of the read transaction.
    pub snapshot_at: DateTime<Utc>,
    /// When the link stops working.
    pub expires_at: DateTime<Utc>,
}

/// The row as an attempt reads it back when it must know how a race ended.
#[derive(Debug)]
pub struct Standing {
    /// `pending`, `ready` or `failed`.
    pub status: String,
    /// The object that the row names.
    pub object_key: Option<String>,
    /// The attempt that holds it.
    pub claim_token: Option<Uuid>,
}

/// Reads how a request stands now; `None` when there is no such row.
pub async fn standing(state: &PgPool, request_id: Uuid) -> Result<Option<Standing>> {
    sqlx::query_as!(
        Standing,
        "select status, object_key, claim_token from public.data_export_requests where id = $1",
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read back request `{request_id}`"))
}

/// `pending -> ready`, if this attempt still holds the request. Returns whether it did.
///
/// An error may hide a COMMIT that took place: the caller reads the row back before it decides.
pub async fn mark_ready(
    state: &PgPool,
    request_id: Uuid,
    token: Uuid,
    delivery: &Delivery,
    download_url: &str,
    trace: &Trace,
) -> Result<bool> {
    let row_counts = serde_json::to_value(&delivery.row_counts).context("failed to encode row counts")?;
    // One statement, which commits by itself: row, log and notice, in one round trip.
    let moved = sqlx::query!(
        r#"with moved as (
             update public.data_export_requests
             set status = 'ready', download_url = $3, expires_at = $4, object_key = $5, archive_bytes = $6,
                 archive_sha256 = $7, row_counts = $8, snapshot_at = $9, fulfilled_at = clock_timestamp(),
                 claim_token = null, claim_owner = null, claim_try = null, lease_until = null,
                 pseudonym_salt = null, last_error = null
             where id = $1 and status = 'pending' and claim_token = $2
             returning id, object_key, archive_bytes, archive_sha256, row_counts
           ), logged as (
             insert into public.data_export_events
                 (request_id, kind, night, run_id, object_key, archive_bytes, archive_sha256, row_counts)
             select id, 'ready', $10, $11, object_key, archive_bytes, archive_sha256, row_counts from moved
             returning request_id
           )
           select pg_catalog.pg_notify('data_export', request_id || ' ready')::pg_catalog.text as "notified?" from logged"#,
        request_id,
        token,
        download_url,
        delivery.expires_at,
        delivery.object_key,
        delivery.archive_bytes,
        delivery.archive_sha256,
        row_counts,
        delivery.snapshot_at,
        trace.night,
        trace.run_id,
    )
    .fetch_optional(state)
    .await?;
    Ok(moved.is_some())
}

/// How an attempt to fail a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The row is `failed`.
    Done,
    /// Too many of the night would fail for this reason: it is `pending`, and free.
    HeldBack,
    /// It was no longer this attempt's.
    Taken,
}

/// Whether too many failures hold a request back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brake {
    /// They do.
    On,
    /// A person has looked and accepts the reason.
    Off,
}

/// `pending -> failed`, if this attempt still holds the request and not too many of its night fail for this reason.
///
/// `counted` adds one to `attempts`: only for a failure of our own code.
#[expect(clippy::too_many_arguments, reason = "the row, the reason, and in whose name")]
pub async fn mark_failed(
    state: &PgPool,
    request_id: Uuid,
    token: Uuid,
    reason: FailureReason,
    last_error: &str,
    counted: bool,
    trace: &Trace,
    brake: Brake,
) -> Result<Failed> {
    let mut tx = state.begin().await?;
    if let (Brake::On, Some(night)) = (brake, trace.night)
        && held_back::is_one_too_many(&mut tx, night, reason).await?
    {
        let released = held_back::release(&mut tx, request_id, token, reason, last_error).await?;
        tx.commit().await?;
        return Ok(if released { Failed::HeldBack } else { Failed::Taken });
    }
    let moved = sqlx::query!(
        "update public.data_export_requests
         set status = 'failed', failure_reason = $3, last_error = $4, pseudonym_salt = null,
             attempts = attempts + $5,
             claim_token = null, claim_owner = null, claim_try = null, lease_until = null
         where id = $1 and status = 'pending' and claim_token = $2",
        request_id,
        token,
        reason.as_str(),
        last_error,
        i32::from(counted),
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    if moved == 0 {
        tx.rollback().await?;
        return Ok(Failed::Taken);
    }
    record_failed(&mut tx, request_id, reason, None, trace).await?;
    tx.commit().await?;
    Ok(Failed::Done)
}

/// Writes the `failed` event of a row that the same transaction has moved, and notifies.
pub(crate) async fn record_failed(
    tx: &mut Transaction<'_, Postgres>,
    request_id: Uuid,
    reason: FailureReason,
    object_key: Option<&str>,
    trace: &Trace,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into public.data_export_events (request_id, kind, reason, night, run_id, object_key)
         values ($1, 'failed', $2, $3, $4, $5)",
        request_id,
        reason.as_str(),
        trace.night,
        trace.run_id,
        object_key,
    )
    .execute(&mut **tx)
    .await?;
    notify(tx, request_id, "failed").await
}

/// Tells whoever listens on `data_export`, in the transaction that moved the row.
async fn notify(
    tx: &mut Transaction<'_, Postgres>,
    request_id: Uuid,
    status: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_notify('data_export', $1)", format!("{request_id} {status}"))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

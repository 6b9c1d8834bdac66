//! The states of a request, and the guarded updates by which an attempt moves it: `pending -> ready` and
//! `pending -> failed`.
//!
//! The moves of the passes are in `expiry.rs`, the moves of an operator in `operate.rs`. Each update here is a
//! compare-and-set: it names the state and the claim that it expects, and zero rows is an answer, not an error. A
//! trigger writes the event and notifies `data_export` in the same transaction, for every move of a row. An update here
//! only adds the night and the run. `claim.rs` takes and renews the claim.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, Utc};
use export_workflows::contract::FailureReason;
use serde::Serialize;
use sqlx::Connection as _;
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    requests::{claim::Count, held_back},
};

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// It waits for a night, or an attempt holds it.
    Pending,
    /// Its archive is delivered, and its link works.
    Ready,
    /// It has ended. With the reason `expired` this is the normal end of a delivered request.
    Failed,
}

impl Status {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Ready, Self::Failed];

    /// Returns the text on the row.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// Returns the states from which a request may move to this one. A trigger of the database refuses all others.
    pub fn valid_old_states(self) -> &'static [Self] {
        match self {
            Self::Pending => &[],
            Self::Ready => &[Self::Pending],
            Self::Failed => &[Self::Pending, Self::Ready],
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The night and the run that move a row, recorded in its event.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The night (UTC date), if one is running.
    pub night: Option<NaiveDate>,
    /// The Temporal run, if there is one.
    pub run_id: Option<String>,
}

/// A delivered archive, as the row and its event record it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its key in the bucket.
    pub object_key: String,
    /// The bucket, as [`Store::location`](crate::store::Store::location) names it.
    pub object_location: String,
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
    /// The signed receipt of all this, if receipts are signed.
    pub receipt: Option<String>,
}

/// The columns that an attempt reads back to find out how a race ended.
#[derive(Debug)]
pub struct CurrentRow {
    /// Its state.
    pub status: Status,
    /// The object that the row names.
    pub object_key: Option<String>,
    /// The attempt that holds it.
    pub claim_token: Option<Uuid>,
}

/// Reads the current state of a request; `None` if it has no row.
///
/// Takes a lock, which a standby refuses. An old row of a standby behind a load balancer would look like a lost race,
/// and the object of a delivered request would be deleted.
pub async fn read_back(state: &Pool, request_id: Uuid) -> Result<Option<CurrentRow>> {
    sqlx::query_as!(
        CurrentRow,
        r#"select status as "status: Status", object_key, claim_token from public.data_export_requests
           where id = $1 for key share"#,
        request_id
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read back request `{request_id}`"))
}

/// Moves `pending -> ready`, if this attempt still holds the request. Returns whether it did.
///
/// An error may hide a COMMIT that took place: the caller reads the row back before it decides.
pub async fn mark_ready(
    state: &Pool,
    request_id: Uuid,
    token: Uuid,
    delivery: &Delivery,
    download_url: &str,
    trace: &Trace,
) -> Result<bool> {
    let row_counts = serde_json::to_value(&delivery.row_counts).context("failed to encode row counts")?;
    let moved = sqlx::query!(
        "update public.data_export_requests
         set status = 'ready', download_url = $3, expires_at = $4, object_key = $5, archive_bytes = $6,
             archive_sha256 = $7, row_counts = $8, snapshot_at = $9, object_location = $12,
             receipt = $13,
             fulfilled_at = clock_timestamp(),
             claim_token = null, claim_owner = null, claim_try = null, lease_until = null,
             pseudonym_salt = null, last_error = null
         from (select pg_catalog.set_config('data_export.night', coalesce($10::date::text, ''), true),
                      pg_catalog.set_config('data_export.run_id', coalesce($11::text, ''), true)) trace
         where id = $1 and status = 'pending' and claim_token = $2",
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
        delivery.object_location,
        delivery.receipt,
    )
    .execute(state)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// How an attempt to fail a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The row is `failed`.
    Done,
    /// Too many of the night would fail for this reason: the row stays `pending`, and its claim is released.
    HeldBack,
    /// It was no longer this attempt's.
    Taken,
}

/// Whether too many failures hold a request back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brake {
    /// They do.
    On,
    /// An operator accepts the reason.
    Off,
}

/// How an attempt fails its request.
#[derive(Clone, Copy, Debug)]
pub struct Failing<'a> {
    /// The reason, as the row and its event record it.
    pub reason: FailureReason,
    /// The failure in one line.
    pub last_error: &'a str,
    /// [`Count::Attempt`] for a failure of our own code, which adds one to `attempts`.
    pub count: Count,
    /// Whether too many failures of the night hold it back.
    pub brake: Brake,
}

/// Moves `pending -> failed`, if this attempt still holds the request and not too many of its night fail for this
/// reason.
pub async fn mark_failed(
    state: &Pool,
    request_id: Uuid,
    token: Uuid,
    failing: &Failing<'_>,
    trace: &Trace,
) -> Result<Failed> {
    let Failing { reason, last_error, count, brake } = *failing;
    let mut session = state.acquire().await?;
    let mut tx = session.begin().await?;
    if let (Brake::On, Some(night)) = (brake, trace.night)
        && held_back::is_one_too_many(&mut tx, night, reason).await?
    {
        let released = held_back::release(&mut tx, request_id, token, reason, last_error).await?;
        tx.commit().await?;
        session.keep();
        return Ok(if released { Failed::HeldBack } else { Failed::Taken });
    }
    let moved = sqlx::query!(
        "update public.data_export_requests
         set status = 'failed', failure_reason = $3, last_error = $4, pseudonym_salt = null,
             attempts = attempts + $5,
             claim_token = null, claim_owner = null, claim_try = null, lease_until = null
         from (select pg_catalog.set_config('data_export.night', coalesce($6::date::text, ''), true),
                      pg_catalog.set_config('data_export.run_id', coalesce($7::text, ''), true)) trace
         where id = $1 and status = 'pending' and claim_token = $2",
        request_id,
        token,
        reason.as_str(),
        last_error,
        i32::from(count == Count::Attempt),
        trace.night,
        trace.run_id,
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    session.keep();
    Ok(if moved == 1 { Failed::Done } else { Failed::Taken })
}

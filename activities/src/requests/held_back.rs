//! Holds back a request that would fail, when too many requests of its night would fail for the same reason.
//!
//! One wrong setting hits every request, and a failed request does not come back. A request that is held back stays
//! `pending`. The second round of the night tries it again, when all others have ended and it may be one of few. After
//! that it waits for an operator.

use anyhow::{Context as _, Result};
use chrono::NaiveDate;
use export_workflows::contract::FailureReason;
use sqlx::{PgConnection, PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use crate::requests::brake;

/// The class of our advisory locks: "held" in ASCII. The object is the night.
const LOCK: i32 = 0x6865_6c64;

/// Returns whether one more failure for `reason` would be one too many for the night.
///
/// Until the transaction ends, no other attempt of the night can fail a request, so the count is exact.
pub async fn is_one_too_many(
    tx: &mut Transaction<'_, Postgres>,
    night: NaiveDate,
    reason: FailureReason,
) -> Result<bool, sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1, $2 - date '2000-01-01')", LOCK, night)
        .execute(&mut **tx)
        .await?;
    // Leaves out delivered requests whose user is gone: the expiry pass fails them, and has its own brake.
    let hit = sqlx::query_scalar!(
        r#"select count(*) as "count!" from public.data_export_events
           where kind = 'failed' and night = $1 and reason = $2 and object_key is null"#,
        night,
        reason.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    let hit = u64::try_from(hit).unwrap_or(0) + 1;
    let Some(enough) = brake::least_that_releases(hit) else { return Ok(false) };
    // The count stops at `enough`: more rows would not change the answer.
    let ended = sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select from public.data_export_events
               where night = $1 and (kind = 'ready' or (kind = 'failed' and object_key is null))
               limit $2) e"#,
        night,
        i64::try_from(enough).unwrap_or(i64::MAX),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u64::try_from(ended).unwrap_or(0) + 1 < enough)
}

/// Releases the claim of a request that is held back. Returns false when it was no longer this attempt's.
pub async fn release(
    tx: &mut Transaction<'_, Postgres>,
    request_id: Uuid,
    token: Uuid,
    reason: FailureReason,
    last_error: &str,
) -> Result<bool, sqlx::Error> {
    let released = sqlx::query!(
        "update public.data_export_requests
         set claim_token = null, claim_owner = null, claim_try = null, lease_until = null,
             last_error = $4, held_back = $3
         where id = $1 and claim_token = $2 and status = 'pending'",
        request_id,
        token,
        reason.as_str(),
        format!("held back: {last_error}"),
    )
    .execute(&mut **tx)
    .await?;
    Ok(released.rows_affected() == 1)
}

/// Counts the requests that a fault of the system left pending in two nights or more.
pub async fn deferred_twice(state: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from public.data_export_requests
           where status = 'pending' and deferred_nights > 1"#
    )
    .fetch_one(state)
    .await
    .context("failed to count the requests that were deferred")
}

/// Counts the requests that wait for an operator, by the reason for which they would fail.
pub async fn counts(state: impl PgExecutor<'_>) -> Result<Vec<(FailureReason, i64)>> {
    let rows = sqlx::query!(
        r#"select held_back as "reason!", count(*) as "count!" from public.data_export_requests
           where status = 'pending' and held_back is not null group by held_back order by held_back"#
    )
    .fetch_all(state)
    .await
    .context("failed to count the requests that are held back")?;
    let reason = |text: &str| FailureReason::OF_ATTEMPTS.into_iter().find(|reason| reason.as_str() == text);
    Ok(rows.into_iter().filter_map(|row| Some((reason(&row.reason)?, row.count))).collect())
}

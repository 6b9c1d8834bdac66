//! `ready -> failed`: the moves of the expiry pass. Each statement takes a limited number of rows.

use anyhow::{Context as _, Result};
use export_workflows::contract::FailureReason;
use uuid::Uuid;

use crate::{database::pool::Pool, requests::state::Trace, user_id::UserId};

/// Maximum number of rows of one transaction: few enough never to keep the platform waiting for a lock.
pub const BATCH: i64 = 500;

/// Fails overdue requests, at most [`BATCH`]. Returns how many.
pub async fn fail_overdue(state: &Pool, trace: &Trace) -> Result<u64> {
    let failed = sqlx::query!(
            "with overdue as (
                 select id from public.data_export_requests
                 where status = 'ready' and expires_at <= clock_timestamp()
                 order by expires_at limit $1
                 for update skip locked
             )
             update public.data_export_requests r
             set status = 'failed', failure_reason = 'expired', download_url = null
             from overdue, (select pg_catalog.set_config('data_export.night', coalesce($2::date::text, ''), true),
                                   pg_catalog.set_config('data_export.run_id', coalesce($3::text, ''), true)) trace
             where r.id = overdue.id",
            BATCH,
            trace.night,
            trace.run_id,
        )
        .execute(state)
        .await
        .context("failed to expire overdue requests")?;
    Ok(failed.rows_affected())
}

/// A request whose archive is delivered.
pub struct Delivered {
    /// The request.
    pub id: Uuid,
    /// The user whose data it holds.
    pub user_id: UserId,
}

/// Lists `ready` requests by id, at most [`BATCH`], from the one after `after`.
pub async fn list_delivered(state: &Pool, after: Uuid) -> Result<Vec<Delivered>> {
    sqlx::query_as!(
        Delivered,
        r#"select id, user_id as "user_id: UserId" from public.data_export_requests
           where status = 'ready' and id > $1 order by id limit $2"#,
        after,
        BATCH,
    )
    .fetch_all(state)
    .await
    .context("failed to list delivered requests")
}

/// Fails those of the requests that are `ready`, because their accounts are deleted. Returns how many.
pub async fn revoke_deleted_accounts(state: &Pool, requests: &[Uuid], trace: &Trace) -> Result<u64> {
    let revoked = sqlx::query!(
        "update public.data_export_requests
         set status = 'failed', failure_reason = $2, download_url = null
         from (select pg_catalog.set_config('data_export.night', coalesce($3::date::text, ''), true),
                      pg_catalog.set_config('data_export.run_id', coalesce($4::text, ''), true)) trace
         where id = any($1) and status = 'ready'",
        requests,
        FailureReason::AccountDeleted.as_str(),
        trace.night,
        trace.run_id,
    )
    .execute(state)
    .await
    .context("failed to revoke the archives of deleted accounts")?;
    Ok(revoked.rows_affected())
}

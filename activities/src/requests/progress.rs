//! The progress of long exports: one row for each, written by the attempt that holds the request.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use uuid::Uuid;

use crate::{database::pool::Pool, user_id::UserId};

/// What an attempt does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It reads rows.
    Reading,
    /// It sends bytes.
    Uploading,
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Uploading => "uploading",
        }
    }
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it does.
    pub phase: Phase,
    /// Rows or bytes so far.
    pub done: u64,
    /// Rows or bytes in the end, if that is known.
    pub total: Option<u64>,
    /// Rows by entity so far.
    pub entities: BTreeMap<String, u64>,
}

/// Writes the report of an attempt, if it still holds the request. Returns whether it does.
pub async fn write(state: &Pool, request_id: Uuid, token: Uuid, report: &Report) -> Result<bool> {
    let entities = serde_json::to_value(&report.entities).context("failed to encode a report of progress")?;
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let written = sqlx::query!(
        "insert into public.data_export_progress as p (request_id, claim_token, attempt, phase, done, total, entities)
         select r.id, r.claim_token, greatest(r.claims, 1), $3, $4, $5, $6
         from public.data_export_requests r where r.id = $1 and r.claim_token = $2 and r.status = 'pending'
         on conflict (request_id) do update
         set claim_token = excluded.claim_token, attempt = excluded.attempt, phase = excluded.phase,
             done = excluded.done, total = excluded.total, entities = excluded.entities, at = excluded.at",
        request_id,
        token,
        report.phase.as_str(),
        number(report.done),
        report.total.map(number),
        entities,
    )
    .execute(state)
    .await
    .context("failed to report progress")?;
    Ok(written.rows_affected() > 0)
}

/// Returns how many rows the last whole export of the user had; `None` without one.
pub async fn expected_rows(state: &Pool, user_id: &UserId) -> Result<Option<u64>> {
    let rows = sqlx::query_scalar!(
        "select (select sum(value::bigint)::bigint from pg_catalog.jsonb_each_text(r.row_counts))
         from public.data_export_requests r
         where r.user_id = $1 and r.row_counts is not null and row(r.entities, r.since, r.until, r.filters) is null
         order by r.requested_at desc, r.id desc limit 1",
        user_id.as_str(),
    )
    .fetch_optional(state)
    .await
    .context("failed to read the size of the last export")?;
    Ok(rows.flatten().and_then(|rows| u64::try_from(rows).ok()).filter(|rows| *rows > 0))
}

/// Deletes the reports of exports that are no longer made.
pub async fn clear(state: &Pool) -> Result<()> {
    sqlx::query!(
        "delete from public.data_export_progress p
         where p.at < now() - interval '10 minutes'
             or not exists (select from public.data_export_requests r
                            where r.id = p.request_id and r.claim_token = p.claim_token)"
    )
    .execute(state)
    .await
    .context("failed to clear old progress")?;
    Ok(())
}

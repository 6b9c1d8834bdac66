//! Lists the queue: one page of pending requests, oldest first, up to a cutoff that the first page fixes.
//!
//! Pages by keyset, never by offset, because the queue shrinks during the night. Writes nothing.

use anyhow::{Context, Result};
use export_workflows::contract::{Cursor, ListPendingInput, PendingPage};
use uuid::Uuid;

use crate::{database::pool::Pool, failure::Failure};

/// Lists one page. The very first page fixes the cutoff (the database's `now()`) and counts what is pending.
///
/// The second round leaves out the requests that were given up since the cutoff.
pub async fn list_pending(state: &Pool, input: &ListPendingInput) -> Result<PendingPage> {
    if let Some(only) = &input.only {
        return list_only(state, only).await;
    }
    if input.at_once {
        return list_at_once(state, input.limit).await;
    }
    let first = input.cutoff.is_none();
    let cutoff = match input.cutoff {
        Some(cutoff) => cutoff,
        None => sqlx::query_scalar!(r#"select now() as "now!""#)
            .fetch_one(state)
            .await
            .context("failed to read the database's clock")?,
    };
    let (after_at, after_id) = input.cursor.clone().map(|c| (c.requested_at, c.id)).unzip();
    let rows = sqlx::query!(
        "select id, requested_at from public.data_export_requests
         where status = 'pending' and requested_at <= $1
             and ($2::timestamptz is null or (requested_at, id) > ($2, $3::uuid))
             and ($4::int < 2 or given_up_at is null or given_up_at < $1)
         order by requested_at, id
         limit $5",
        cutoff,
        after_at,
        after_id,
        i32::from(input.round),
        i64::from(input.limit),
    )
    .fetch_all(state)
    .await
    .context("failed to list pending requests")?;
    let pending_at_start = if first {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from public.data_export_requests
               where status = 'pending' and requested_at <= $1"#,
            cutoff
        )
        .fetch_one(state)
        .await
        .context("failed to count pending requests")?;
        Some(u64::try_from(count).unwrap_or(0))
    } else {
        None
    };
    // A full page may be the last one: then the next page is empty.
    let full = rows.len() >= usize::try_from(input.limit).unwrap_or(usize::MAX);
    let next = rows.last().filter(|_| full).map(|row| Cursor { requested_at: row.requested_at, id: row.id });
    Ok(PendingPage {
        requests: rows.into_iter().map(|row| row.id).collect(),
        next,
        cutoff: Some(cutoff),
        pending_at_start,
        ..PendingPage::default()
    })
}

/// Lists the requests that start at once and were never claimed. A request that was, belongs to the night.
async fn list_at_once(state: &Pool, limit: u32) -> Result<PendingPage> {
    let requests = sqlx::query_scalar!(
        "select r.id from public.data_export_requests r, public.data_export_policy p
         where r.status = 'pending' and r.start = 'at_once' and r.claims = 0 and p.start <> 'night'
         order by r.requested_at, r.id limit $1",
        i64::from(limit),
    )
    .fetch_all(state)
    .await
    .context("failed to list the requests that start at once")?;
    Ok(PendingPage { requests, ..PendingPage::default() })
}

/// Returns whether a request waits to start at once, and the policy has such requests.
pub async fn is_asked_at_once(state: &Pool) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select p.start <> 'night' and exists (
               select from public.data_export_requests r
               where r.status = 'pending' and r.start = 'at_once' and r.claims = 0) as "is_asked!"
           from public.data_export_policy p"#
    )
    .fetch_one(state)
    .await
    .context("failed to look for requests that start at once")
}

/// Lists the requests that the input names, in their order. It also lists requests that are no longer pending: these
/// end as `already_done`.
async fn list_only(state: &Pool, only: &[Uuid]) -> Result<PendingPage> {
    let rows = sqlx::query!(
        r#"select o.id as "id!", r.status as "status?"
           from unnest($1::uuid[]) with ordinality o (id, n)
           left join public.data_export_requests r on r.id = o.id
           order by o.n"#,
        only,
    )
    .fetch_all(state)
    .await
    .context("failed to look for the requests")?;
    let unknown: Vec<Uuid> = rows.iter().filter(|row| row.status.is_none()).map(|row| row.id).collect();
    if !unknown.is_empty() {
        return Err(Failure::UnknownRequests(unknown).into());
    }
    let pending = rows.iter().filter(|row| row.status.as_deref() == Some("pending")).count();
    Ok(PendingPage {
        requests: rows.into_iter().map(|row| row.id).collect(),
        pending_at_start: Some(u64::try_from(pending)?),
        ..PendingPage::default()
    })
}

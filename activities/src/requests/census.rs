//! Counts the queue and the results of a night, for monitoring. It only reads, with one statement a question.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Months, NaiveDate, Utc};
use export_workflows::contract::{Counted, Miscount};
use serde::Serialize;
use sqlx::PgConnection;

use crate::database::pool::Pool;

/// The state of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Requests that wait for a night.
    pub pending: i64,
    /// When the oldest of them was made.
    pub oldest_pending: Option<DateTime<Utc>>,
    /// When the oldest request without an answer was made: one that is pending, or one that failed because of the
    /// processor within the last two months and was not followed by a fulfilled one.
    pub oldest_unanswered: Option<DateTime<Utc>>,
    /// Requests whose row is `ready`.
    pub ready: i64,
    /// Since when the oldest overdue one should have been expired.
    pub overdue_since: Option<DateTime<Utc>>,
    /// Archives of failed requests that are still in the store.
    pub deletions_left: i64,
    /// Since when the oldest of these archives should have been deleted.
    pub undeleted_since: Option<DateTime<Utc>>,
    /// The time of the database's clock, for all of these.
    pub now: DateTime<Utc>,
}

impl Queue {
    /// Returns how long the oldest pending request has waited; zero when none waits.
    pub fn oldest_pending_seconds(&self) -> i64 {
        self.since(self.oldest_pending)
    }

    /// Returns how long the oldest request without an answer has waited; zero when none waits.
    pub fn oldest_unanswered_seconds(&self) -> i64 {
        self.since(self.oldest_unanswered)
    }

    /// Returns how long the oldest overdue request has been overdue; zero when none is.
    pub fn overdue_seconds(&self) -> i64 {
        self.since(self.overdue_since)
    }

    /// Returns for how long the oldest archive of a failed request has been kept; zero when none is.
    pub fn undeleted_seconds(&self) -> i64 {
        self.since(self.undeleted_since)
    }

    /// Returns the days that are left of the month that the law allows for the oldest request without an answer: 0 on the
    /// last day, negative afterwards. Days are days of UTC.
    pub fn days_left(&self) -> Option<i64> {
        Some((due_on(self.oldest_unanswered?)? - self.now.date_naive()).num_days())
    }

    fn since(&self, moment: Option<DateTime<Utc>>) -> i64 {
        moment.map_or(0, |moment| (self.now - moment).num_seconds().max(0))
    }
}

/// Returns the last day of the month that the law allows for a request, in UTC. The 31st of February is the last of February.
pub fn due_on(requested_at: DateTime<Utc>) -> Option<NaiveDate> {
    requested_at.date_naive().checked_add_months(Months::new(1))
}

/// Counts the queue. Each count has a separate partial index, so it reads the counted rows and never the whole table.
pub async fn queue(state: &mut PgConnection) -> Result<Queue> {
    sqlx::query_as!(
        Queue,
        r#"select p.pending as "pending!", p.oldest_pending, least(p.oldest_pending, f.oldest_failed) as oldest_unanswered,
               r.ready as "ready!", r.overdue_since,
               d.deletions_left as "deletions_left!", d.undeleted_since, clock_timestamp() as "now!"
           from (select count(*) as pending, min(requested_at) as oldest_pending
                 from public.data_export_requests where status = 'pending') p,
                (select min(o.requested_at) as oldest_failed
                 from public.data_export_requests o
                 where o.status = 'failed' and o.failure_reason in ('unreadable_value', 'scope_refused', 'attempts_exhausted')
                     and o.requested_at > now() - interval '2 months'
                     and o.user_id <> '00000000-0000-0000-0000-000000000000'
                     and not exists (select from public.data_export_requests l
                                     where l.user_id = o.user_id and l.requested_at > o.requested_at
                                         and l.fulfilled_at is not null
                                         and (row(l.entities, l.since, l.until, l.filters) is null
                                              or row(l.entities, l.since, l.until, l.filters)
                                                  is not distinct from row(o.entities, o.since, o.until, o.filters)))) f,
                (select count(*) as ready,
                     min(expires_at) filter (where expires_at <= clock_timestamp()) as overdue_since
                 from public.data_export_requests where status = 'ready') r,
                (select count(*) as deletions_left, min(updated_at) as undeleted_since
                 from public.data_export_requests
                 where status = 'failed' and object_key is not null and object_deleted_at is null) d"#
    )
    .fetch_one(state)
    .await
    .context("failed to count the queue")
}

/// Counts the failed requests by reason; this reads the whole table.
pub async fn failed(state: &mut PgConnection) -> Result<BTreeMap<String, i64>> {
    let rows = sqlx::query!(
        r#"select failure_reason as "reason!", count(*) as "count!" from public.data_export_requests
           where status = 'failed' group by failure_reason"#
    )
    .fetch_all(state)
    .await
    .context("failed to count the failed requests")?;
    Ok(rows.into_iter().map(|row| (row.reason, row.count)).collect())
}

/// One night, as the log records it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NightResults {
    /// The UTC date on which it began.
    pub night: NaiveDate,
    /// Requests that it made ready.
    pub ready: i64,
    /// Requests that it failed, by reason.
    pub failed: BTreeMap<String, i64>,
    /// Delivered requests that it ended, by reason: overdue, or their user is gone.
    pub ended: BTreeMap<String, i64>,
    /// Bytes in the archives that it made ready.
    pub bytes: i64,
    /// Rows in these archives.
    pub rows: i64,
    /// The first line that it wrote.
    pub first: Option<DateTime<Utc>>,
    /// The last line that it wrote.
    pub last: Option<DateTime<Utc>>,
}

/// Returns the time of the database's clock.
pub async fn now(state: &Pool) -> Result<DateTime<Utc>> {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(state)
        .await
        .context("failed to read the database's clock")
}

/// Returns the last night that wrote a line into the log.
pub async fn last_night(state: &mut PgConnection) -> Result<Option<NaiveDate>> {
    sqlx::query_scalar!("select max(night) from public.data_export_events where night is not null")
        .fetch_one(state)
        .await
        .context("failed to look for the last night")
}

/// Reads what a night did, from `since` on; `None` when it wrote no line.
pub async fn night(
    state: &mut PgConnection,
    night: NaiveDate,
    since: Option<DateTime<Utc>>,
) -> Result<Option<NightResults>> {
    let lines = sqlx::query!(
        r#"select e.kind, e.reason, d.delivered as "delivered!", count(*) as "count!", min(e.at) as "first!",
               max(e.at) as "last!", coalesce(sum(e.archive_bytes), 0)::bigint as "bytes!",
               coalesce(sum((select sum(n.value::bigint) from jsonb_each_text(e.row_counts) n)), 0)::bigint as "rows!"
           from public.data_export_events e,
               lateral (select e.kind = 'failed' and e.object_key is not null as delivered) d
           where e.night = $1 and ($2::timestamptz is null or e.at >= $2)
           group by e.kind, e.reason, d.delivered"#,
        night,
        since,
    )
    .fetch_all(&mut *state)
    .await
    .context("failed to read the night's lines of the log")?;
    let Some(first) = lines.iter().map(|line| line.first).min() else { return Ok(None) };
    let mut found = NightResults { night, first: Some(first), ..Default::default() };
    for line in lines {
        found.last = found.last.max(Some(line.last));
        match (line.kind.as_str(), line.reason) {
            ("ready", _) => {
                found.ready = line.count;
                found.bytes = line.bytes;
                found.rows = line.rows;
            }
            ("failed", Some(reason)) if line.delivered => {
                found.ended.insert(reason, line.count);
            }
            ("failed", Some(reason)) => {
                found.failed.insert(reason, line.count);
            }
            _ => {}
        }
    }
    Ok(Some(found))
}

/// Compares what a night has counted with the rows and the log, and returns the counts that they do not confirm.
///
/// The log may have more than was counted: a run for a single request writes under the same date, and an attempt whose
/// answer was lost has counted nothing. The log never has less, and no request is pending without a count.
pub async fn recount(
    state: &Pool,
    night: NaiveDate,
    counted: &Counted,
) -> Result<BTreeMap<String, Miscount>> {
    let rows = sqlx::query!(
        r#"select case when kind = 'ready' then 'fulfilled' else 'failed/' || reason end as "what!",
               count(*) as "found!"
           from public.data_export_events
           where night = $1 and at >= $2 and (kind = 'ready' or (kind = 'failed' and object_key is null))
           group by 1
           union all
           select 'left', count(*) from public.data_export_requests where status = 'pending' and requested_at <= $2"#,
        night,
        counted.since,
    )
    .fetch_all(state)
    .await
    .context("failed to count what the night did")?;
    let found: BTreeMap<_, _> =
        rows.into_iter().map(|row| (row.what, u64::try_from(row.found).unwrap_or(0))).collect();
    let found = |what: &str| found.get(what).copied().unwrap_or(0);
    let mut miscounted = BTreeMap::new();
    let failed =
        counted.failed.iter().map(|(reason, failed)| (format!("failed/{}", reason.as_str()), *failed));
    for (what, counted) in failed.chain([("fulfilled".to_owned(), counted.fulfilled)]) {
        let found = found(&what);
        if found < counted {
            miscounted.insert(what, Miscount { counted, found });
        }
    }
    let left = Miscount { counted: counted.left, found: found("left") };
    if left.found > left.counted {
        miscounted.insert("left".to_owned(), left);
    }
    Ok(miscounted)
}

/// Counts the requests that a night left to the next: made before its first line, and pending after its last. This
/// reads the whole table.
pub async fn left(state: &mut PgConnection, first: DateTime<Utc>, last: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from public.data_export_requests r
           where r.requested_at <= $1 and (r.status = 'pending' or exists (
               select from public.data_export_events e
               where e.request_id = r.id and e.at > $2
                   and (e.kind = 'ready' or e.kind = 'failed' and e.object_key is null)))"#,
        first,
        last,
    )
    .fetch_one(state)
    .await
    .context("failed to count what the night left pending")
}

/// Counts the requests that were made before a moment and are pending now.
pub async fn still_pending(state: &mut PgConnection, made_before: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from public.data_export_requests
           where status = 'pending' and requested_at <= $1"#,
        made_before,
    )
    .fetch_one(state)
    .await
    .context("failed to count the pending requests")
}

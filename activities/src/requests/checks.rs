//! Remembers when an archive was last compared with what was delivered, and what was found.

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::database::pool::Pool;

/// How many damaged archives are named; the others are counted.
const NAMED: i64 = 5;

/// The most rows that are listed at once.
pub const PAGE: i64 = 1000;

/// A delivered archive, as its row describes it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its request.
    pub id: Uuid,
    /// Its object.
    pub object_key: String,
    /// Its size.
    pub bytes: i64,
    /// Its digest, in hex.
    pub sha256: String,
    /// What was found at its last check, by name.
    pub finding: Option<String>,
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The store does not have it.
    Missing,
    /// It has another size than was delivered.
    OtherSize,
    /// It has other bytes than were delivered.
    OtherBytes,
    /// The store refuses to give it, for example from an archive class.
    Unreadable,
}

impl Finding {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherSize => "other_size",
            Self::OtherBytes => "other_bytes",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The ready requests whose archives were found damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Their number.
    pub count: i64,
    /// Some of them, each with what was found.
    pub requests: Vec<(Uuid, String)>,
}

/// Lists the archives at `location` whose request comes after one and not after another, in the order of ids, at most
/// [`PAGE`]. `None` is no bound.
pub async fn list_between(
    state: &Pool,
    location: &str,
    after: Option<Uuid>,
    up_to: Option<Uuid>,
) -> Result<Vec<Delivered>> {
    sqlx::query_as!(
        Delivered,
        r#"select r.id, r.object_key as "object_key!", r.archive_bytes as "bytes!", r.archive_sha256 as "sha256!",
               c.finding as "finding?"
           from public.data_export_requests r
           left join public.data_export_checks c on c.request_id = r.id
           where r.id > coalesce($2, '00000000-0000-0000-0000-000000000000'::uuid)
               and r.id <= coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
               and r.status = 'ready' and r.expires_at > clock_timestamp()
               and coalesce(r.object_location, (select i.location from public.data_export_installation i)) = $1
           order by r.id
           limit $4"#,
        location,
        after,
        up_to,
        PAGE,
    )
    .fetch_all(state)
    .await
    .context("failed to list the delivered archives")
}

/// Lists the archives at `location` that were not read for longest and were not read since `before`, up to `bytes` in total,
/// but at least one, and at most [`PAGE`]. What cannot be read anyway is left out.
pub async fn list_due(
    state: &Pool,
    location: &str,
    before: DateTime<Utc>,
    bytes: u64,
) -> Result<Vec<Delivered>> {
    sqlx::query_as!(
        Delivered,
        r#"select id as "id!", object_key as "object_key!", archive_bytes as "bytes!", archive_sha256 as "sha256!",
               finding as "finding?"
           from (
               select r.id, r.object_key, r.archive_bytes, r.archive_sha256, c.finding,
                   sum(r.archive_bytes) over w as up_to, row_number() over w as place
               from public.data_export_requests r
               left join public.data_export_checks c on c.request_id = r.id
               where r.status = 'ready' and r.expires_at > clock_timestamp()
                   and coalesce(r.object_location, (select i.location from public.data_export_installation i)) = $1
                   and coalesce(c.finding, '') not in ('missing', 'other_size')
                   and coalesce(c.checked_at, '-infinity') < $2
               window w as (order by c.checked_at nulls first, r.fulfilled_at, r.id)
           ) due
           where (up_to <= $3::bigint or place = 1) and place <= $4
           order by place"#,
        location,
        before,
        i64::try_from(bytes).unwrap_or(i64::MAX),
        PAGE,
    )
    .fetch_all(state)
    .await
    .context("failed to list the archives to read back")
}

/// Records what was found of an archive, unless it is no longer the one of a ready request. Returns whether it was.
pub async fn record(state: &Pool, archive: &Delivered, finding: Option<Finding>) -> Result<bool> {
    let recorded = sqlx::query!(
        "insert into public.data_export_checks (request_id, finding)
         select id, $3 from public.data_export_requests where id = $1 and object_key = $2 and status = 'ready'
             and expires_at > clock_timestamp()
         on conflict (request_id) do update set checked_at = excluded.checked_at, finding = excluded.finding",
        archive.id,
        archive.object_key,
        finding.map(Finding::as_str),
    )
    .execute(state)
    .await
    .with_context(|| format!("failed to record the check of `{}`", archive.object_key))?;
    Ok(recorded.rows_affected() > 0)
}

/// Forgets the check of an archive, which is then the next to be read.
pub async fn forget(state: &Pool, archive: &Delivered) -> Result<()> {
    sqlx::query!("delete from public.data_export_checks where request_id = $1", archive.id)
        .execute(state)
        .await
        .with_context(|| format!("failed to forget the check of `{}`", archive.object_key))?;
    Ok(())
}

/// Forgets the checks of requests that are no longer ready.
pub async fn forget_ended(state: &Pool) -> Result<()> {
    sqlx::query!(
        "delete from public.data_export_checks c using public.data_export_requests r
         where r.id = c.request_id and r.status <> 'ready'"
    )
    .execute(state)
    .await
    .context("failed to forget the checks of archives that are gone")?;
    Ok(())
}

/// Counts the ready requests whose archives were found damaged.
pub async fn damaged(state: &mut PgConnection) -> Result<Damaged> {
    let found = sqlx::query!(
        r#"select count(*) over () as "count!", r.id, c.finding as "finding!"
           from public.data_export_checks c
           join public.data_export_requests r on r.id = c.request_id
           where c.finding is not null and r.status = 'ready' and r.expires_at > clock_timestamp()
           order by r.id
           limit $1"#,
        NAMED,
    )
    .fetch_all(state)
    .await
    .context("failed to look for damaged archives")?;
    Ok(Damaged {
        count: found.first().map_or(0, |row| row.count),
        requests: found.into_iter().map(|row| (row.id, row.finding)).collect(),
    })
}

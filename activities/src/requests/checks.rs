//! Remembers when an archive was last compared with what was delivered, and what was found.

use anyhow::{Context as _, Result};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::database::pool::Pool;

/// How many damaged archives are named; the others are counted.
const NAMED: i64 = 5;

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
}

impl Finding {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherSize => "other_size",
            Self::OtherBytes => "other_bytes",
        }
    }
}

/// The ready requests whose archives were found damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Their number.
    pub count: i64,
    /// Some of them.
    pub requests: Vec<Uuid>,
}

/// Lists the archives at `location` whose request comes after one and not after another, in the order of ids. `None` is
/// no bound.
pub async fn list_between(
    state: &Pool,
    location: &str,
    after: Option<Uuid>,
    up_to: Option<Uuid>,
) -> Result<Vec<Delivered>> {
    sqlx::query_as!(
        Delivered,
        r#"select id, object_key as "object_key!", archive_bytes as "bytes!", archive_sha256 as "sha256!"
           from public.data_export_requests
           where id > coalesce($2, '00000000-0000-0000-0000-000000000000'::uuid)
               and id <= coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
               and status = 'ready' and expires_at > clock_timestamp()
               and coalesce(object_location, (select i.location from public.data_export_installation i)) = $1
           order by id"#,
        location,
        after,
        up_to,
    )
    .fetch_all(state)
    .await
    .context("failed to list the delivered archives")
}

/// Lists the archives at `location` that were not read for longest, up to `bytes` in total, but at least one. Damaged ones
/// come first.
pub async fn list_due(state: &Pool, location: &str, bytes: u64) -> Result<Vec<Delivered>> {
    sqlx::query_as!(
        Delivered,
        r#"select id as "id!", object_key as "object_key!", archive_bytes as "bytes!", archive_sha256 as "sha256!"
           from (
               select r.id, r.object_key, r.archive_bytes, r.archive_sha256,
                   sum(r.archive_bytes) over w as up_to, row_number() over w as place
               from public.data_export_requests r
               left join public.data_export_checks c on c.request_id = r.id
               where r.status = 'ready' and r.expires_at > clock_timestamp()
                   and coalesce(r.object_location, (select i.location from public.data_export_installation i)) = $1
               window w as (order by c.finding is null, c.checked_at nulls first, r.fulfilled_at, r.id)
           ) due
           where up_to <= $2::bigint or place = 1
           order by place"#,
        location,
        i64::try_from(bytes).unwrap_or(i64::MAX),
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
        r#"select count(*) over () as "count!", r.id
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
        requests: found.into_iter().map(|row| row.id).collect(),
    })
}

//! What the database records of archives: whose bucket, where each one is, and which are to be deleted.

use anyhow::{Context as _, Result};
use futures::stream::BoxStream;
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    requests::{expiry::BATCH, state::Trace},
};

/// What the database records of this installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Its id, as the bucket's mark holds it.
    pub id: Uuid,
    /// The bucket of new archives; `None` until a worker has found its mark there.
    pub location: Option<String>,
    /// Whether any archive is recorded that was not deleted yet.
    pub has_archives: bool,
}

/// Reads what the database records of this installation.
pub async fn read_installation(state: &Pool) -> Result<Installation> {
    sqlx::query_as!(
        Installation,
        r#"select i.id, i.location,
               exists (select from public.data_export_requests where status = 'ready')
               or exists (select from public.data_export_requests
                          where status = 'failed' and object_key is not null and object_deleted_at is null)
               as "has_archives!"
           from public.data_export_installation i"#
    )
    .fetch_one(state)
    .await
    .context("failed to read the identity of this installation")
}

/// Records the bucket of new archives.
pub async fn record_location(state: &Pool, location: &str) -> Result<()> {
    sqlx::query!("select public.data_export_record_location($1)", location)
        .execute(state)
        .await
        .context("failed to record the location of the bucket")?;
    Ok(())
}

/// What happens to the archives at the previous location when another one is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archives {
    /// They stay there until they expire.
    Stay,
    /// It is the same bucket under another address: they are recorded under it.
    Same,
}

/// Records another bucket for new archives. Returns how many archives were recorded at the previous location.
pub async fn move_location(state: &Pool, before: &str, after: &str, archives: Archives) -> Result<u64> {
    let moved = sqlx::query_scalar!(
        r#"select public.data_export_move_location($1, $2, $3) as "stored!""#,
        before,
        after,
        archives == Archives::Same
    )
    .fetch_one(state)
    .await
    .context("failed to record the new location")?;
    Ok(u64::try_from(moved).unwrap_or_default())
}

/// An archive and its size, as its row records them.
pub struct Recorded {
    /// Its key.
    pub object_key: String,
    /// Its size.
    pub archive_bytes: i64,
}

/// Lists the archives that are recorded at a location and not deleted yet.
pub fn list_at<'s>(state: &'s Pool, location: &'s str) -> BoxStream<'s, sqlx::Result<Recorded>> {
    sqlx::query_as!(
        Recorded,
        r#"select object_key as "object_key!", archive_bytes as "archive_bytes!"
           from public.data_export_requests
           where object_key is not null and object_deleted_at is null and coalesce(object_location, $1) = $1"#,
        location
    )
    .fetch(state)
}

/// Lists the locations besides `current` at which archives are recorded.
pub async fn list_other_locations(state: &Pool, current: &str) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select distinct object_location as "location!" from public.data_export_requests
           where object_key is not null and object_deleted_at is null and object_location <> $1"#,
        current,
    )
    .fetch_all(state)
    .await
    .context("failed to list the buckets that hold archives")
}

/// The archive of a failed request, which is to be deleted.
pub struct Undeleted {
    /// The request.
    pub id: Uuid,
    /// The key on its row.
    pub object_key: String,
    /// The bucket on its row; `None` means the bucket in use.
    pub object_location: Option<String>,
}

/// Lists archives of failed requests by request id, at most [`BATCH`], from the one after `after` to `last`.
pub async fn list_undeleted(state: &Pool, after: Uuid, last: Uuid) -> Result<Vec<Undeleted>> {
    sqlx::query_as!(
        Undeleted,
        r#"select id, object_key as "object_key!", object_location from public.data_export_requests
           where status = 'failed' and object_key is not null and object_deleted_at is null
               and id > $1 and id <= $2
           order by id limit $3"#,
        after,
        last,
        BATCH,
    )
    .fetch_all(state)
    .await
    .context("failed to list archives that are to be deleted")
}

/// Returns the archive of one failed request; `None` if there is none, or it is deleted.
pub async fn find_undeleted(state: &Pool, request_id: Uuid) -> Result<Option<Undeleted>> {
    sqlx::query_as!(
        Undeleted,
        r#"select id, object_key as "object_key!", object_location from public.data_export_requests
           where id = $1 and status = 'failed' and object_key is not null and object_deleted_at is null"#,
        request_id,
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read request `{request_id}`"))
}

/// Counts the archives of failed requests that are not deleted yet.
pub async fn count_undeleted(state: &Pool) -> Result<u64> {
    let left = sqlx::query_scalar!(
        r#"select count(*) as "count!" from public.data_export_requests
           where status = 'failed' and object_key is not null and object_deleted_at is null"#
    )
    .fetch_one(state)
    .await
    .context("failed to count archives that are to be deleted")?;
    Ok(u64::try_from(left).unwrap_or(0))
}

/// Records that an archive is deleted. The caller has seen that the store no longer has it.
pub async fn record_deleted(state: &Pool, archive: &Undeleted, trace: &Trace) -> Result<()> {
    sqlx::query!(
        "update public.data_export_requests set object_deleted_at = clock_timestamp()
         from (select pg_catalog.set_config('data_export.night', coalesce($3::date::text, ''), true),
                      pg_catalog.set_config('data_export.run_id', coalesce($4::text, ''), true)) trace
         where id = $1 and status = 'failed' and object_key = $2 and object_deleted_at is null",
        archive.id,
        archive.object_key,
        trace.night,
        trace.run_id,
    )
    .execute(state)
    .await
    .with_context(|| format!("failed to record that `{}` was deleted", archive.object_key))?;
    Ok(())
}

/// The key of an object, in its parts.
pub struct Key {
    /// The whole key.
    pub text: String,
    /// The request that it names.
    pub request_id: Uuid,
    /// The claim token that it names.
    pub token: Uuid,
}

/// Returns the keys that no row with an archive at `location` names, and whose token no pending row carries.
pub async fn list_unreferenced(state: &Pool, keys: &[Key], location: &str) -> Result<Vec<String>> {
    let names: Vec<String> = keys.iter().map(|key| key.text.clone()).collect();
    let requests: Vec<Uuid> = keys.iter().map(|key| key.request_id).collect();
    let tokens: Vec<Uuid> = keys.iter().map(|key| key.token).collect();
    // Looks for the claim only on the request that the key names, because a token belongs to one request.
    sqlx::query_scalar!(
        r#"select o.key as "key!"
           from unnest($1::text[], $2::uuid[], $3::uuid[]) as o (key, request_id, token)
           where not exists (
                   select from public.data_export_requests r
                   where r.object_key = o.key and r.object_deleted_at is null
                       and coalesce(r.object_location, (select i.location from public.data_export_installation i)) = $4
               )
               and not exists (
                   select from public.data_export_requests r
                   where r.id = o.request_id and r.status = 'pending' and r.claim_token = o.token
               )"#,
        &names,
        &requests,
        &tokens,
        location,
    )
    .fetch_all(state)
    .await
    .context("failed to ask which objects no request points to")
}

//! Deletes the objects and multipart uploads that no request points to: what killed workers left behind.
//!
//! An orphan has a key of exactly our form, is older than a minimum age, is named by no row, and its token is carried by no
//! pending row. The database is asked again, by key, just before each delete. When the orphans are suspiciously many, nothing
//! is deleted: a database restored from yesterday makes today's archives look like orphans.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use export_workflows::contract::SweepOutput;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    failure::Failure,
    installation,
    object_key::{INSTALLATION_MARK, ObjectKey, PREFIX},
    pulse::Pulse,
    store::Store,
};

/// This many orphans are never suspicious, however small the bucket.
const ALWAYS_ALLOWED: u64 = 100;
/// Beyond that, orphans may be one object in this many.
const ALLOWED_ONE_IN: u64 = 10;

/// How to sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// Younger objects and uploads are left alone: an attempt may be working on them.
    pub min_age: Duration,
    /// Count only.
    pub dry_run: bool,
    /// Delete even when suspiciously much would go.
    pub force: bool,
}

/// Sweeps the bucket: counts first, then deletes, unless the count is suspicious.
pub async fn sweep(
    state: &PgPool,
    store: &Store,
    options: &SweepOptions,
    pulse: &Pulse,
) -> anyhow::Result<SweepOutput> {
    if !is_ours(state, store).await? {
        return Ok(SweepOutput::default());
    }
    let sweep = Sweep { state, store, pulse, before: cutoff(state, options.min_age).await? };
    let count = sweep.count().await?;
    if count.is_suspicious() && !options.force {
        tracing::error!(
            sweep.orphans = count.orphans,
            sweep.objects = count.objects,
            "the sweep of bucket `{}` would delete {} orphans beside {} objects and was refused: is this the right \
             database? `export-worker sweep --force` overrides",
            store.bucket(),
            count.orphans,
            count.objects,
        );
        return Ok(SweepOutput { swept: 0, refused: true });
    }
    if options.dry_run || count.orphans == 0 {
        return Ok(SweepOutput { swept: count.orphans, refused: false });
    }
    // More than was counted may turn up meanwhile, but never more than the rule allows.
    let at_most = if options.force { u64::MAX } else { count.allowed() };
    Ok(SweepOutput { swept: sweep.delete(at_most).await?, refused: false })
}

/// Refuses a bucket that is another installation's; an empty one without a mark has nothing of ours.
async fn is_ours(state: &PgPool, store: &Store) -> anyhow::Result<bool> {
    let id = sqlx::query_scalar!("select id from public.data_export_installation")
        .fetch_one(state)
        .await
        .context("failed to read the installation's id")?;
    match installation::look(store, id).await? {
        Some(standing) => standing.require_ours(store).map(|()| true).map_err(Into::into),
        None => Ok(false),
    }
}

/// Gives the moment before which an orphan must have been stored, by the database's clock.
async fn cutoff(state: &PgPool, min_age: Duration) -> anyhow::Result<DateTime<Utc>> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(state)
        .await
        .context("failed to read the database's clock")?;
    let min_age = TimeDelta::from_std(min_age).context("the minimum age of an orphan is out of range")?;
    now.checked_sub_signed(min_age).context("the minimum age of an orphan is out of range")
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    orphans: u64,
    objects: u64,
}

impl Count {
    fn allowed(self) -> u64 {
        ALWAYS_ALLOWED.max(self.objects / ALLOWED_ONE_IN)
    }

    fn is_suspicious(self) -> bool {
        self.orphans > self.allowed()
    }
}

struct Sweep<'a> {
    state: &'a PgPool,
    store: &'a Store,
    pulse: &'a Pulse,
    before: DateTime<Utc>,
}

impl Sweep<'_> {
    async fn count(&self) -> anyhow::Result<Count> {
        let mut count = Count::default();
        let mut from = None;
        loop {
            self.go_on()?;
            let page = self.store.list_objects(from).await?;
            let objects = page.objects.iter().filter(|object| object.key != INSTALLATION_MARK);
            count.objects += objects.count() as u64;
            let old = page.objects.iter().filter_map(|object| self.old(&object.key, object.stored_at));
            count.orphans += self.orphans(old.collect()).await?.len() as u64;
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        let mut from = None;
        loop {
            self.go_on()?;
            let page = self.store.list_uploads(PREFIX, from).await?;
            let old = page.uploads.iter().filter_map(|upload| self.old(&upload.key, upload.begun_at));
            let old: Vec<ObjectKey> = old.collect();
            // One key may have several uploads, each of which is one orphan.
            let orphans = self.orphans(old.clone()).await?;
            count.orphans += old.iter().filter(|key| orphans.contains(key)).count() as u64;
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(count),
            }
        }
    }

    /// Walks again rather than remember: the list of orphans has no bound, a page has.
    async fn delete(&self, at_most: u64) -> anyhow::Result<u64> {
        let mut swept = 0;
        let mut from = None;
        loop {
            self.go_on()?;
            let page = self.store.list_objects(from).await?;
            let old = page.objects.iter().filter_map(|object| self.old(&object.key, object.stored_at));
            for key in self.orphans(old.collect()).await? {
                self.go_on()?;
                if swept < at_most && self.is_orphan(&key).await? {
                    self.store.delete(&key).await?;
                    swept += 1;
                    tracing::info!(object_key = %key, "swept the orphaned object `{key}`");
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        let mut from = None;
        loop {
            self.go_on()?;
            let page = self.store.list_uploads(PREFIX, from).await?;
            for upload in &page.uploads {
                self.go_on()?;
                if let Some(key) = self.old(&upload.key, upload.begun_at)
                    && swept < at_most
                    && self.is_orphan(&key).await?
                {
                    self.store.abort_upload(&upload.key, &upload.id).await?;
                    swept += 1;
                    tracing::info!(object_key = %key, "swept an unfinished upload of `{key}`");
                }
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(swept),
            }
        }
    }

    fn go_on(&self) -> Result<(), Failure> {
        self.pulse.beat(1);
        if self.pulse.is_cancelled() { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Gives the key if it is one of ours and old enough; what has no date is young.
    fn old(&self, key: &str, since: Option<DateTime<Utc>>) -> Option<ObjectKey> {
        ObjectKey::parse(key).filter(|_| since.is_some_and(|since| since <= self.before))
    }

    async fn is_orphan(&self, key: &ObjectKey) -> anyhow::Result<bool> {
        Ok(!self.orphans(vec![key.clone()]).await?.is_empty())
    }

    /// Gives those of the keys that no row names and whose token no pending row carries.
    async fn orphans(&self, mut keys: Vec<ObjectKey>) -> anyhow::Result<Vec<ObjectKey>> {
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Ok(keys);
        }
        let names: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let requests: Vec<Uuid> = keys.iter().map(ObjectKey::request_id).collect();
        let tokens: Vec<Uuid> = keys.iter().map(ObjectKey::token).collect();
        // The claim is looked for on the request that the key names, since a token is made for one request only.
        let orphans = sqlx::query_scalar!(
            r#"
            select o.key as "key!"
            from unnest($1::text[], $2::uuid[], $3::uuid[]) as o (key, request_id, token)
            where not exists (
                    select from public.data_export_requests r where r.object_key = o.key
                )
                and not exists (
                    select from public.data_export_requests r
                    where r.id = o.request_id and r.status = 'pending' and r.claim_token = o.token
                )
            "#,
            &names,
            &requests,
            &tokens,
        )
        .fetch_all(self.state)
        .await
        .context("failed to ask which objects no request points to")?;
        keys.retain(|key| orphans.iter().any(|orphan| orphan == key.as_str()));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_suspicious_beyond_a_hundred_orphans_and_a_tenth_of_the_objects() {
        for (orphans, objects, suspicious) in [
            (0, 0, false),
            (100, 100, false),
            (101, 101, true),
            (101, 1009, true),
            (101, 1010, false),
            (1000, 10_000, false),
            (1001, 10_000, true),
        ] {
            let count = Count { orphans, objects };
            assert_eq!(count.is_suspicious(), suspicious, "{count:?}");
        }
    }
}

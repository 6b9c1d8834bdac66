//! Deletes the objects and multipart uploads that no request points to. Killed workers leave them behind.
//!
//! An orphan has a key of exactly our form and is older than a minimum age. No row that still has its archive names it,
//! and no pending row carries its token. The sweep asks the database again, by key, just before each deletion. It
//! deletes nothing when there are too many orphans to be plausible: a database restored from yesterday makes today's
//! archives look like orphans.

use std::{pin::pin, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use export_workflows::contract::SweepOutput;
use futures::{Stream, TryStreamExt as _};

use crate::{
    database::pool::Pool,
    failure::Failure,
    passes::buckets::Buckets,
    pulse::Pulse,
    requests::{
        archives::{self, Key},
        brake::{self, Pass},
        census,
    },
    store::{
        ListedObject, ListedUpload, Store,
        object_key::{INSTALLATION_MARK, ObjectKey, PREFIX},
    },
};

/// How to sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// Younger objects and uploads are left alone: an attempt may be working on them.
    pub min_age: Duration,
    /// Count only.
    pub dry_run: bool,
    /// Delete even if the brake holds.
    pub force: bool,
}

/// Sweeps the bucket in use, and former ones that still hold archives: counts first, then deletes, unless the brake
/// holds.
///
/// # Errors
/// When the bucket in use is not the one of this installation, or database or store fail.
pub async fn sweep(
    state: &Pool,
    store: &Store,
    options: &SweepOptions,
    pulse: &Pulse,
) -> anyhow::Result<SweepOutput> {
    let before = cutoff(state, options.min_age).await?;
    let mut swept = 0;
    for store in Buckets::open(state, store).await?.all(state).await? {
        let sweep = Sweep { state, store: &store, pulse, before };
        let count = sweep.count().await?;
        if brake::holds(count.orphans, count.objects) && !options.force {
            if !options.dry_run {
                brake::hold(state, Pass::Sweep, count.orphans, count.objects).await?;
            }
            tracing::error!(
                sweep.orphans = count.orphans,
                sweep.objects = count.objects,
                "The sweep of `{}` would delete {} of {} objects and was refused: is this the right database? \
                 `export-worker sweep --force` deletes them anyway",
                store.location(),
                count.orphans,
                count.objects,
            );
            return Ok(SweepOutput { swept, refused: true });
        }
        if options.dry_run {
            swept += count.orphans + count.uploads;
            continue;
        }
        // More orphans than were counted may appear meanwhile. Never delete more than the brake allows.
        let at_most = if options.force { u64::MAX } else { brake::allowed(count.objects) };
        swept += sweep.delete_objects(at_most).await? + sweep.abort_uploads().await?;
    }
    if !options.dry_run {
        brake::release(state, Pass::Sweep).await?;
    }
    Ok(SweepOutput { swept, refused: false })
}

/// Returns the moment before which an orphan must have been stored, by the database's clock.
async fn cutoff(state: &Pool, min_age: Duration) -> anyhow::Result<DateTime<Utc>> {
    let now = census::now(state).await?;
    let min_age = TimeDelta::from_std(min_age).context("the minimum age of an orphan is out of range")?;
    now.checked_sub_signed(min_age).context("the minimum age of an orphan is out of range")
}

#[derive(Clone, Copy, Debug, Default)]
struct SweepCount {
    objects: u64,
    orphans: u64,
    /// Unfinished uploads that nobody works on. They hold no archive, so they are no reason to brake.
    uploads: u64,
}

struct Sweep<'a> {
    state: &'a Pool,
    store: &'a Store,
    pulse: &'a Pulse,
    before: DateTime<Utc>,
}

/// One page of a listing: the number of its entries, and the orphans among them.
struct SweepPage<T> {
    entries: u64,
    orphans: Vec<(ObjectKey, T)>,
}

impl Sweep<'_> {
    async fn count(&self) -> anyhow::Result<SweepCount> {
        let mut count = SweepCount::default();
        let mut objects = pin!(self.orphaned_objects());
        while let Some(page) = objects.try_next().await? {
            count.objects += page.entries;
            count.orphans += page.orphans.len() as u64;
        }
        let mut uploads = pin!(self.orphaned_uploads());
        while let Some(page) = uploads.try_next().await? {
            count.uploads += page.orphans.len() as u64;
        }
        Ok(count)
    }

    async fn delete_objects(&self, at_most: u64) -> anyhow::Result<u64> {
        let mut swept = 0;
        let mut objects = pin!(self.orphaned_objects());
        while let Some(page) = objects.try_next().await? {
            for (key, _) in page.orphans {
                self.go_on()?;
                if swept < at_most && self.is_orphan(&key).await? {
                    self.store.delete(&key).await?;
                    swept += 1;
                    tracing::info!(object_key = %key, "Swept the orphaned object `{key}`");
                }
            }
        }
        Ok(swept)
    }

    async fn abort_uploads(&self) -> anyhow::Result<u64> {
        let mut swept = 0;
        let mut uploads = pin!(self.orphaned_uploads());
        while let Some(page) = uploads.try_next().await? {
            for (key, upload) in page.orphans {
                self.go_on()?;
                if self.is_orphan(&key).await? {
                    self.store.abort_upload(&upload.key, &upload.id).await?;
                    swept += 1;
                    tracing::info!(object_key = %key, "Swept an unfinished upload of `{key}`");
                }
            }
        }
        Ok(swept)
    }

    fn orphaned_objects(&self) -> impl Stream<Item = anyhow::Result<SweepPage<ListedObject>>> {
        // The mark of the installation is no archive.
        let objects = self.store.objects().map_ok(|mut page| {
            page.retain(|object| object.key != INSTALLATION_MARK);
            page
        });
        self.pages(objects, |object| (&object.key, object.stored_at))
    }

    fn orphaned_uploads(&self) -> impl Stream<Item = anyhow::Result<SweepPage<ListedUpload>>> {
        self.pages(self.store.uploads(PREFIX), |upload| (&upload.key, upload.begun_at))
    }

    /// Finds the orphans in each page of a listing. Counting and deleting both list: a list of all orphans has no bound,
    /// a page has.
    fn pages<'s, T: 's>(
        &'s self,
        listing: impl Stream<Item = anyhow::Result<Vec<T>>> + 's,
        key_and_age: impl Fn(&T) -> (&str, Option<DateTime<Utc>>) + Copy + 's,
    ) -> impl Stream<Item = anyhow::Result<SweepPage<T>>> + 's {
        listing.and_then(move |page| async move {
            self.go_on()?;
            let entries = page.len() as u64;
            let old = page.into_iter().filter_map(|entry| {
                let (key, since) = key_and_age(&entry);
                Some((self.old(key, since)?, entry))
            });
            let mut old: Vec<_> = old.collect();
            // One key may have several uploads, each of which is one orphan.
            let orphans = self.orphans(old.iter().map(|(key, _)| key.clone()).collect()).await?;
            old.retain(|(key, _)| orphans.contains(key));
            Ok(SweepPage { entries, orphans: old })
        })
    }

    fn go_on(&self) -> Result<(), Failure> {
        self.pulse.beat(1);
        self.pulse.check()
    }

    /// Returns the key if it is one of ours and old enough; an object without a date is young.
    fn old(&self, key: &str, since: Option<DateTime<Utc>>) -> Option<ObjectKey> {
        ObjectKey::parse(key).filter(|_| since.is_some_and(|since| since <= self.before))
    }

    async fn is_orphan(&self, key: &ObjectKey) -> anyhow::Result<bool> {
        Ok(!self.orphans(vec![key.clone()]).await?.is_empty())
    }

    /// Returns the keys that no row with an archive in this bucket names, and whose token no pending row carries.
    async fn orphans(&self, mut keys: Vec<ObjectKey>) -> anyhow::Result<Vec<ObjectKey>> {
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Ok(keys);
        }
        let asked: Vec<_> = keys
            .iter()
            .map(|key| Key {
                text: key.as_str().to_owned(),
                request_id: key.request_id(),
                token: key.token(),
            })
            .collect();
        let orphans = archives::list_unreferenced(self.state, &asked, self.store.location()).await?;
        keys.retain(|key| orphans.iter().any(|orphan| orphan == key.as_str()));
        Ok(keys)
    }
}

//! Compares delivered archives with their rows: presence and size of each, and the bytes of some, which it reads back.
//!
//! It deletes nothing and changes no request. What it finds is recorded, and a person decides: the data is in the
//! platform, so a new export of the same account is as good.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    failure::{StoreError, judge},
    passes::buckets::Buckets,
    pulse::Pulse,
    requests::{
        census,
        checks::{self, Delivered, Finding},
    },
    store::{Store, object_key::ObjectKey},
};

/// After this many archives in a row that could not be read, the store is in trouble, and not the archives.
const FAILURES: u32 = 3;

/// More damaged archives than this are not looked for: the bucket is another one, or empty.
const MOST_DAMAGED: usize = 1000;

/// How much to read back.
#[derive(Clone, Copy, Debug)]
pub struct RecheckOptions {
    /// Bytes of each bucket, but at least one archive; 0: none.
    pub bytes: u64,
    /// No archive is begun after this time; none: no limit.
    pub within: Option<Duration>,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rechecked {
    /// Archives whose size was compared.
    pub compared: u64,
    /// Archives that were read back.
    pub read: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The requests whose archives are damaged.
    pub damaged: BTreeSet<Uuid>,
}

/// Compares the archives of the bucket in use, and of former ones that still hold archives, and reads some of them back.
///
/// # Errors
/// When the bucket in use is not the one of this installation, or database or store fail. One archive that cannot be read
/// is left for the next time.
pub async fn recheck(
    state: &Pool,
    store: &Store,
    options: &RecheckOptions,
    pulse: &Pulse,
) -> anyhow::Result<Rechecked> {
    checks::forget_ended(state).await?;
    let begun = Instant::now();
    let mut done = Rechecked::default();
    for store in Buckets::open(state, store).await?.all(state).await? {
        let recheck = Recheck { state, store: &store, pulse };
        recheck.compare(&mut done).await?;
        if options.bytes > 0 {
            recheck.read_due(options, begun, &mut done).await?;
        }
    }
    Ok(done)
}

struct Recheck<'a> {
    state: &'a Pool,
    store: &'a Store,
    pulse: &'a Pulse,
}

impl Recheck<'_> {
    /// Compares a listing with the rows of the same range of ids: a listing is in the order of keys, which begin with
    /// them. What does not fit is asked for by its key, so a store with another order costs only time.
    async fn compare(&self, done: &mut Rechecked) -> anyhow::Result<()> {
        let mut pages = pin!(self.store.current_objects());
        let mut after = None;
        while let Some(page) = pages.try_next().await? {
            self.go_on()?;
            let last = page.iter().rev().find_map(|object| ObjectKey::parse(&object.key));
            let Some(last) = last.map(|key| key.request_id()) else { continue };
            let sizes = page.into_iter().map(|object| (object.key, object.bytes)).collect();
            self.compare_range(after, Some(last), &sizes, done).await?;
            after = Some(last);
        }
        self.compare_range(after, None, &HashMap::new(), done).await
    }

    async fn compare_range(
        &self,
        mut after: Option<Uuid>,
        up_to: Option<Uuid>,
        sizes: &HashMap<String, Option<i64>>,
        done: &mut Rechecked,
    ) -> anyhow::Result<()> {
        loop {
            let archives = checks::list_between(self.state, self.store.location(), after, up_to).await?;
            for archive in &archives {
                self.go_on()?;
                if done.damaged.len() >= MOST_DAMAGED {
                    tracing::error!(
                        "More than {MOST_DAMAGED} archives in `{}` are damaged, so no more were looked for: is this the \
                         right bucket?",
                        self.store.location()
                    );
                    return Ok(());
                }
                done.compared += 1;
                self.compare_size(archive, sizes, done).await?;
            }
            match archives.last() {
                Some(last) if i64::try_from(archives.len()) == Ok(checks::PAGE) => after = Some(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn compare_size(
        &self,
        archive: &Delivered,
        sizes: &HashMap<String, Option<i64>>,
        done: &mut Rechecked,
    ) -> anyhow::Result<()> {
        let is_listed = sizes.get(&archive.object_key) == Some(&Some(archive.bytes));
        let finding = if is_listed { None } else { self.head(archive).await? };
        if finding.is_some() {
            return self.report(archive, finding, done).await;
        }
        // It is back.
        let had = archive.finding.as_deref();
        if [Finding::Missing, Finding::OtherSize].iter().any(|finding| had == Some(finding.as_str())) {
            checks::forget(self.state, archive).await?;
        }
        Ok(())
    }

    /// Asks the store for the size of an archive.
    async fn head(&self, archive: &Delivered) -> anyhow::Result<Option<Finding>> {
        let head = self.store.head(&key(archive)?).await?;
        Ok(match head {
            None => Some(Finding::Missing),
            Some(head) if i64::try_from(head.bytes) != Ok(archive.bytes) => Some(Finding::OtherSize),
            Some(_) => None,
        })
    }

    /// Reads back what is due.
    async fn read_due(
        &self,
        options: &RecheckOptions,
        begun: Instant,
        done: &mut Rechecked,
    ) -> anyhow::Result<()> {
        let before = census::now(self.state).await?;
        let (mut left, mut is_first, mut failures) = (options.bytes, true, 0);
        // Those that could not be read are due again, at once.
        let mut skipped = HashSet::new();
        loop {
            let mut due = checks::list_due(self.state, self.store.location(), before, left).await?;
            due.retain(|archive| !skipped.contains(&archive.id));
            if due.is_empty() {
                return Ok(());
            }
            for archive in due {
                let bytes = u64::try_from(archive.bytes)?;
                let is_late = options.within.is_some_and(|within| begun.elapsed() >= within);
                if is_late || (bytes > left && !is_first) {
                    return Ok(());
                }
                match self.read(&archive, done).await {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        self.pulse.check()?;
                        failures += 1;
                        if failures == FAILURES {
                            return Err(error);
                        }
                        tracing::warn!(
                            error.chain = %judge(&error),
                            object_key = archive.object_key,
                            "Could not read `{}` back; the next night tries again",
                            archive.object_key
                        );
                        skipped.insert(archive.id);
                    }
                }
                is_first = false;
                left = left.saturating_sub(bytes);
            }
        }
    }

    /// Reads an archive back.
    async fn read(&self, archive: &Delivered, done: &mut Rechecked) -> anyhow::Result<()> {
        let mut finding = self.head(archive).await?;
        if finding.is_none() {
            let last = u64::try_from(archive.bytes)?.saturating_sub(1);
            match self.store.read_part(&key(archive)?, 0..=last).await {
                Ok(None) => finding = Some(Finding::Missing),
                Err(error) if is_refused(&error) => finding = Some(Finding::Unreadable),
                Err(error) => return Err(error),
                Ok(Some(mut content)) => {
                    let mut sha256 = Sha256::new();
                    while let Some(bytes) = content.next().await? {
                        sha256.update(&bytes);
                        self.pulse.beat(bytes.len() as u64);
                        self.pulse.check()?;
                        done.bytes += bytes.len() as u64;
                    }
                    done.read += 1;
                    let is_same = hex::encode(sha256.finalize()) == archive.sha256;
                    finding = (!is_same).then_some(Finding::OtherBytes);
                }
            }
        }
        self.report(archive, finding, done).await
    }

    async fn report(
        &self,
        archive: &Delivered,
        finding: Option<Finding>,
        done: &mut Rechecked,
    ) -> anyhow::Result<()> {
        // Meanwhile the request may have ended, and its archive with it.
        if checks::record(self.state, archive, finding).await?
            && let Some(finding) = finding
            && done.damaged.insert(archive.id)
        {
            tracing::error!(
                request.id = %archive.id,
                object_key = archive.object_key,
                finding = finding.as_str(),
                "The archive of request {} is damaged: `{}` {}",
                archive.id,
                archive.object_key,
                match finding {
                    Finding::Missing => "is missing",
                    Finding::OtherSize => "has another size than was delivered",
                    Finding::OtherBytes => "has other bytes than were delivered",
                    Finding::Unreadable => "is not given by the store",
                },
            );
        }
        Ok(())
    }

    fn go_on(&self) -> anyhow::Result<()> {
        self.pulse.beat(1);
        Ok(self.pulse.check()?)
    }
}

/// Returns whether the store answered that it does not give this object, which a later try does not change.
fn is_refused(error: &anyhow::Error) -> bool {
    const LATER: [u16; 2] = [408, 429];
    let answer = error.downcast_ref::<StoreError>().and_then(|error| error.status);
    answer.is_some_and(|status| (400..500).contains(&status) && !LATER.contains(&status))
}

fn key(archive: &Delivered) -> anyhow::Result<ObjectKey> {
    ObjectKey::parse(&archive.object_key)
        .with_context(|| format!("`{}` is not the key of an archive", archive.object_key))
}

//! Compares delivered archives with their rows: presence and size of each, and the bytes of some, which it reads back.
//!
//! It deletes nothing and changes no request. What it finds is recorded, and a person decides: the data is in the
//! platform, so a new export of the same account is as good.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    passes::buckets::Buckets,
    pulse::Pulse,
    requests::checks::{self, Delivered, Finding},
    store::{Store, object_key::ObjectKey},
};

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

/// Compares the archives of the bucket in use, and of former ones that still hold archives. Reads back up to `bytes` in
/// each, but at least one archive; none if it is 0.
///
/// # Errors
/// When the bucket in use is not the one of this installation, or database or store fail.
pub async fn recheck(state: &Pool, store: &Store, bytes: u64, pulse: &Pulse) -> anyhow::Result<Rechecked> {
    checks::forget_ended(state).await?;
    let mut done = Rechecked::default();
    for store in Buckets::open(state, store).await?.all(state).await? {
        let recheck = Recheck { state, store: &store, pulse };
        recheck.compare(&mut done).await?;
        let due =
            if bytes == 0 { Vec::new() } else { checks::list_due(state, store.location(), bytes).await? };
        for archive in due {
            recheck.read(&archive, &mut done).await?;
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
        after: Option<Uuid>,
        up_to: Option<Uuid>,
        sizes: &HashMap<String, Option<i64>>,
        done: &mut Rechecked,
    ) -> anyhow::Result<()> {
        for archive in checks::list_between(self.state, self.store.location(), after, up_to).await? {
            self.pulse.beat(1);
            self.pulse.check()?;
            done.compared += 1;
            let is_same = sizes.get(&archive.object_key) == Some(&Some(archive.bytes));
            if !is_same && let Some(finding) = self.head(&archive).await? {
                self.report(&archive, Some(finding), done).await?;
            }
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

    /// Reads an archive back.
    async fn read(&self, archive: &Delivered, done: &mut Rechecked) -> anyhow::Result<()> {
        let mut finding = self.head(archive).await?;
        if finding.is_none() {
            let last = u64::try_from(archive.bytes)?.saturating_sub(1);
            match self.store.read_part(&key(archive)?, 0..=last).await? {
                None => finding = Some(Finding::Missing),
                Some(mut content) => {
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
                "The archive of request {} is damaged: `{}` is {}",
                archive.id,
                archive.object_key,
                match finding {
                    Finding::Missing => "missing",
                    Finding::OtherSize => "of another size than was delivered",
                    Finding::OtherBytes => "of other bytes than were delivered",
                },
            );
        }
        Ok(())
    }
}

fn key(archive: &Delivered) -> anyhow::Result<ObjectKey> {
    ObjectKey::parse(&archive.object_key)
        .with_context(|| format!("`{}` is not the key of an archive", archive.object_key))
}

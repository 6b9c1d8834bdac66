//! Finds out which checksum of whole objects a store keeps, by storing test objects in the same way as archives.
//!
//! [`Probe::delete`] deletes them all. Each object has a separate key in the form of an archive's key, for a request
//! that cannot exist, so the sweep deletes the objects of a killed process. The bucket must be known to be ours.

use std::{collections::BTreeMap, os::unix::fs::FileExt as _};

use anyhow::Context as _;
use chrono::Utc;
use uuid::Uuid;

use super::{
    ArchiveFile, Upload,
    multipart::{self, Parts, SMALLEST_PART},
    send_whole,
};
use crate::{
    archive::Archive,
    failure::{Failure, StoreError},
    pulse::Pulse,
    spool::Spool,
    store::{Checksum, Store, Sum, object_key::ObjectKey},
};

/// The text at the end of each object; the small object has nothing else.
pub const PROBE_TEXT: &[u8] = b"export-worker stores this for a moment to try the store, and deletes it\n";

/// A checksum is refused this often before the store counts as one that does not keep it.
const TRIES: usize = 4;

/// The test objects of a store.
pub struct Probe<'a> {
    store: &'a Store,
    spool: &'a Spool,
    stored: Vec<ObjectKey>,
}

/// The checksum that a store keeps, and the objects that proved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundChecksum {
    /// The checksum.
    pub checksum: Checksum,
    /// The object that was uploaded in one put.
    pub small: ObjectKey,
    /// The object that was uploaded in two parts.
    pub large: ObjectKey,
}

/// The two ways to upload an archive.
#[derive(Clone, Copy, Debug)]
enum Way {
    Put,
    Parts,
}

impl<'a> Probe<'a> {
    /// Makes a probe that has stored nothing yet. Its files are in the spool and take one block of the disk each.
    pub fn new(store: &'a Store, spool: &'a Spool) -> Self {
        Self { store, spool, stored: Vec::new() }
    }

    /// Finds the first checksum, in order of preference, that the store keeps for both ways to upload.
    ///
    /// # Errors
    /// [`Failure::NoChecksum`] when there is none; other errors when the store does not answer or refuses.
    pub async fn find(&mut self) -> anyhow::Result<FoundChecksum> {
        for checksum in Checksum::ALL {
            let Some(small) = self.try_often(checksum, Way::Put).await? else { continue };
            let Some(large) = self.try_often(checksum, Way::Parts).await? else { continue };
            return Ok(FoundChecksum { checksum, small, large });
        }
        Err(self.none_kept())
    }

    /// Stores a small object, with the first checksum that the store keeps for an upload in one put.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub async fn put(&mut self) -> anyhow::Result<ObjectKey> {
        for checksum in Checksum::ALL {
            if let Some(small) = self.try_often(checksum, Way::Put).await? {
                return Ok(small);
            }
        }
        Err(self.none_kept())
    }

    /// Deletes every object that was stored.
    ///
    /// # Errors
    /// When an object could not be deleted. All others are tried anyway.
    pub async fn delete(&mut self) -> anyhow::Result<()> {
        let mut ended = Ok(());
        for key in std::mem::take(&mut self.stored) {
            ended = ended.and(self.store.delete(&key).await);
        }
        ended
    }

    /// Like [`attempt`](Self::attempt), but one refusal proves nothing: stores also refuse to complete an upload that a
    /// sweep aborts in the same moment.
    async fn try_often(&mut self, checksum: Checksum, way: Way) -> anyhow::Result<Option<ObjectKey>> {
        for _ in 0..TRIES {
            if let Some(key) = self.attempt(checksum, way).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Stores an object in this way. Returns its key if the store keeps this checksum.
    async fn attempt(&mut self, checksum: Checksum, way: Way) -> anyhow::Result<Option<ObjectKey>> {
        let pulse = Pulse::default();
        let object = self.object(checksum, way, &pulse)?;
        let archive = Upload {
            file: &object.file,
            bytes: object.bytes,
            sha256: object.sha256,
            sum: object.sum,
            snapshot_at: object.snapshot_at,
        };
        let source = ArchiveFile::new(&archive)?;
        let key = ObjectKey::new(Uuid::nil(), Uuid::new_v4());
        self.stored.push(key.clone());
        let sent = match way {
            Way::Put => send_whole(self.store, &key, &source, &pulse).await,
            Way::Parts => {
                let parts = Parts::smallest(source.bytes);
                Box::pin(multipart::send(self.store, &key, &source, parts, &pulse)).await
            }
        };
        let Err(error) = sent else { return Ok(Some(key)) };
        if !self.lacks(&key, source.sum, &error).await? {
            return Err(error);
        }
        tracing::info!(
            "The store keeps no {checksum} of whole objects, so the next checksum is tried: {error:#}"
        );
        Ok(None)
    }

    /// Returns whether an upload failed because the store does not keep this checksum. A missing object proves nothing,
    /// because a sweep may have deleted it.
    async fn lacks(&self, key: &ObjectKey, sum: Sum, error: &anyhow::Error) -> anyhow::Result<bool> {
        match error.downcast_ref::<Failure>() {
            Some(Failure::StoredObjectDiffers(_)) => {
                let found = self.store.head(key).await?;
                Ok(found.is_some_and(|head| head.sum(sum.checksum()) != Some(sum)))
            }
            _ => Ok(error.downcast_ref().is_some_and(StoreError::is_refusal)),
        }
    }

    /// Makes an object of one part, or of a whole part and the beginning of a second. The bytes before the text are a
    /// hole in the file, which takes no disk space.
    fn object(&self, checksum: Checksum, way: Way, pulse: &Pulse) -> anyhow::Result<Archive> {
        let before = match way {
            Way::Put => 0,
            Way::Parts => SMALLEST_PART,
        };
        let file = self.spool.scratch()?;
        file.write_all_at(PROBE_TEXT, before).context("failed to write to the spool")?;
        Archive::of_file(file, BTreeMap::new(), Utc::now(), checksum, pulse)
    }

    /// Says that each checksum was refused. A store that refuses the encryption refuses all of them.
    fn none_kept(&self) -> anyhow::Error {
        match self.store.encryption() {
            Some(wanted) => Failure::NotEncrypted(format!(
                "each upload that asks for {wanted} was refused, or no checksum is kept of it"
            )),
            None => Failure::NoChecksum(Checksum::ALL.map(|checksum| checksum.to_string()).join(", ")),
        }
        .into()
    }
}

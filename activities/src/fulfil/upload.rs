//! Uploads the archive of one attempt, under a key that only this attempt uses.
//!
//! It leaves either one whole object, whose size and checksum the store has confirmed, or an error and no multipart
//! upload. A lost answer is normal, so the step reads the object back before it reports an error of the last call. It
//! never writes to the row and never deletes an object: only a row that was read may decide that.

mod archive;
mod multipart;
mod probe;

use std::fs::File;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, Utc};

pub use self::multipart::{MOST_PARTS, PART_BYTES};
pub use self::probe::{FoundChecksum, PROBE_TEXT, Probe};
use self::{archive::ArchiveFile, multipart::Parts};
use crate::{
    failure::{Failure, StoreError},
    pulse::Pulse,
    store::{Head, Store, Sum, object_key::ObjectKey},
};

/// An archive to upload.
#[derive(Debug)]
pub struct Upload<'a> {
    /// Its bytes, from position 0; the file's own position does not matter and does not move.
    pub file: &'a File,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its checksum, computed when the archive was complete. The store must keep the same one for the whole object.
    pub sum: Sum,
    /// When the data was read; the date in the name of the downloaded file.
    pub snapshot_at: DateTime<Utc>,
}

/// Uploads the archive to `key`, and verifies the stored object.
///
/// Ends as [`Failure::Interrupted`] as soon as the pulse is cancelled; the object may then exist or not.
pub async fn upload(
    store: &Store,
    key: &ObjectKey,
    archive: &Upload<'_>,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    let source = ArchiveFile::new(archive)?;
    if source.bytes <= store.put_limit() {
        send_whole(store, key, &source, pulse).await
    } else {
        Box::pin(multipart::send(store, key, &source, Parts::of(source.bytes), pulse)).await
    }
}

/// Sends the archive in one put and reads it back.
async fn send_whole(
    store: &Store,
    key: &ObjectKey,
    source: &ArchiveFile,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    let sent = unless_cancelled(pulse, Box::pin(put(store, key, source))).await?;
    settle(store, key, source, sent, pulse).await?;
    pulse.sent(source.bytes);
    Ok(())
}

async fn put(store: &Store, key: &ObjectKey, source: &ArchiveFile) -> anyhow::Result<()> {
    let body = source.read(0, source.bytes).await?;
    let call = store
        .client()
        .put_object()
        .bucket(store.bucket())
        .key(key.as_str())
        .content_type(CONTENT_TYPE)
        .content_disposition(&source.disposition)
        .cache_control(CACHE_CONTROL)
        .metadata("sha256", &source.sha256)
        .body(ByteStream::from(body));
    let call = match store.encryption() {
        Some(encryption) => encryption.of_put(call),
        None => call,
    };
    // The sum of the bytes that were written, not of the bytes just read: the store refuses a file that changed on the
    // disk in between.
    source
        .sum
        .of_put(call)
        .send()
        .await
        .map_err(|error| StoreError::new("PutObject", &error))
        .with_context(|| format!("failed to upload `{key}`"))?;
    Ok(())
}

const CONTENT_TYPE: &str = "application/zip";
/// The archive is one person's: no shared cache may keep it.
const CACHE_CONTROL: &str = "private, no-store";

/// Decides how the call that makes the object visible ended, by the stored object and not by the answer.
async fn settle(
    store: &Store,
    key: &ObjectKey,
    source: &ArchiveFile,
    sent: anyhow::Result<()>,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    // The ended call counts as movement. It and the next call each have a time limit, and together they may take longer
    // than the stall timeout.
    pulse.beat(1);
    let found = unless_cancelled(pulse, store.head(key)).await?;
    match (sent, found) {
        (Ok(()), Ok(found)) => source.compare(found.as_ref()).and_then(|()| encrypted(store, found.as_ref())),
        (Ok(()), Err(error)) => Err(error),
        (Err(error), Ok(Some(head))) => {
            // The stored object outweighs the error.
            source.compare(Some(&head)).with_context(|| format!("{error:#}"))?;
            encrypted(store, Some(&head))?;
            tracing::info!(object_key = %key, "Lost the answer to the upload of `{key}`; the stored object is complete");
            Ok(())
        }
        (Err(error), Ok(None) | Err(_)) => Err(error),
    }
}

/// Makes sure that a stored object is encrypted as the store was asked to.
fn encrypted(store: &Store, found: Option<&Head>) -> anyhow::Result<()> {
    let Some(wanted) = store.encryption() else { return Ok(()) };
    let stored = found.and_then(|head| head.encryption.as_ref());
    if wanted.is_that_of(stored) {
        return Ok(());
    }
    let stored = stored.map_or_else(|| "no encryption".to_owned(), ToString::to_string);
    Err(Failure::NotEncrypted(format!("asked for {wanted}, the store names {stored}")).into())
}

impl ArchiveFile {
    fn compare(&self, found: Option<&Head>) -> anyhow::Result<()> {
        let differs = |what: String| Err(Failure::StoredObjectDiffers(what).into());
        let Some(head) = found else {
            return differs("there is no such object".to_owned());
        };
        if head.bytes != self.bytes {
            return differs(format!("{} bytes instead of {}", head.bytes, self.bytes));
        }
        let checksum = self.sum.checksum();
        match head.sum(checksum) {
            Some(sum) if sum == self.sum => Ok(()),
            Some(sum) => differs(format!("{sum} instead of {}", self.sum)),
            None => differs(format!("the store returned no {checksum} of the whole object")),
        }
    }
}

/// Runs `step` until it ends or the attempt is cancelled, whichever comes first.
async fn unless_cancelled<T>(pulse: &Pulse, step: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        () = pulse.cancelled() => Err(Failure::Interrupted.into()),
        done = step => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Checksum;

    fn source(sum: Sum) -> (tempfile::NamedTempFile, ArchiveFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = "2026-03-01T23:59:59.999Z".parse().unwrap();
        let archive = Upload { file: file.as_file(), bytes: 7, sha256: [0xab; 32], sum, snapshot_at: at };
        let source = ArchiveFile::new(&archive).unwrap();
        (file, source)
    }

    fn head(bytes: u64, sums: &[Sum]) -> Head {
        Head { bytes, sums: sums.to_vec(), encryption: None }
    }

    #[test]
    fn the_downloaded_file_is_named_by_the_day_of_the_snapshot_in_utc() {
        let (_file, source) = source(Checksum::Crc64Nvme.of(b"archive"));
        assert_eq!(source.disposition, "attachment; filename=\"export-2026-03-01.zip\"");
        assert_eq!(source.sha256, "ab".repeat(32));
    }

    #[test]
    fn only_an_object_of_equal_size_and_checksum_is_the_archive() {
        for checksum in Checksum::ALL {
            let (ours, theirs) = (checksum.of(b"archive"), checksum.of(b"archivE"));
            let others = Checksum::ALL.into_iter().filter(|other| *other != checksum);
            let others: Vec<Sum> = others.map(|other| other.of(b"archive")).collect();
            let (_file, source) = source(ours);
            source.compare(Some(&head(7, &[ours]))).unwrap();
            source.compare(Some(&head(7, &[others.as_slice(), &[ours]].concat()))).unwrap();
            for (found, word) in [
                (None, "no such object".to_owned()),
                (Some(head(6, &[ours])), "6 bytes instead of 7".to_owned()),
                (Some(head(7, &[theirs])), format!("{theirs} instead of {ours}")),
                (Some(head(7, &[])), format!("returned no {checksum} of the whole")),
                // Another checksum says nothing, even if it is right.
                (Some(head(7, &others)), format!("returned no {checksum} of the whole")),
            ] {
                let error = source.compare(found.as_ref()).unwrap_err();
                assert!(matches!(error.downcast_ref(), Some(Failure::StoredObjectDiffers(_))), "{error:#}");
                assert!(error.to_string().contains(&word), "{error:#}");
            }
        }
    }
}

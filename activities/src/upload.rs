//! Puts the archive of one attempt into the bucket, under a key that is this attempt's alone.
//!
//! It leaves behind either one whole object, whose size and checksum the store has confirmed, or an error and
//! no multipart upload. A lost answer is normal, so an error on the last call is believed only after a look at the object.
//! Nothing is written to the row here, and no object is deleted: only a row that was read may decide that.

mod multipart;
mod source;

use std::fs::File;

use anyhow::Context as _;
use aws_sdk_s3::primitives::ByteStream;
use chrono::{DateTime, Utc};

pub use self::multipart::PART_BYTES;
use self::source::Source;
use crate::{
    failure::{Failure, StoreError},
    object_key::ObjectKey,
    pulse::Pulse,
    store::{Head, Store, crc64nvme_to_base64},
};

/// An archive that is ready to go up.
#[derive(Debug)]
pub struct Upload<'a> {
    /// Its bytes, from position 0; the file's own position does not matter and does not move.
    pub file: &'a File,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its CRC-64/NVME, as it was computed while the archive was written.
    pub crc64nvme: u64,
    /// When the data was read; the date in the name of the downloaded file.
    pub snapshot_at: DateTime<Utc>,
}

/// Uploads the archive to `key` and reads back that the store holds exactly it.
///
/// Ends as [`Failure::Interrupted`] as soon as the pulse is cancelled; the object may then exist or not.
pub async fn upload(
    store: &Store,
    key: &ObjectKey,
    archive: &Upload<'_>,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    let source = Source::new(archive)?;
    if source.bytes <= store.put_limit() {
        let sent = unless_cancelled(pulse, Box::pin(put(store, key, &source))).await?;
        settle(store, key, &source, sent, pulse).await?;
        pulse.beat(source.bytes);
        Ok(())
    } else {
        Box::pin(multipart::send(store, key, &source, pulse)).await
    }
}

async fn put(store: &Store, key: &ObjectKey, source: &Source) -> anyhow::Result<()> {
    let body = source.read(0, source.bytes).await?;
    store
        .client()
        .put_object()
        .bucket(store.bucket())
        .key(key.as_str())
        .content_type(CONTENT_TYPE)
        .content_disposition(&source.disposition)
        .cache_control(CACHE_CONTROL)
        .metadata("sha256", &source.sha256)
        // The sum of the bytes that were written, not of those just read: the store refuses a file that
        // changed on the disk in between.
        .checksum_crc64_nvme(crc64nvme_to_base64(source.crc64nvme))
        .body(ByteStream::from(body))
        .send()
        .await
        .map_err(|error| StoreError::new("PutObject", &error))
        .with_context(|| format!("failed to upload `{key}`"))?;
    Ok(())
}

const CONTENT_TYPE: &str = "application/zip";
/// The archive is one person's: no shared cache may keep it.
const CACHE_CONTROL: &str = "private, no-store";

/// Decides how the call that makes the object visible has ended: by what the store holds, not by what it answered.
async fn settle(
    store: &Store,
    key: &ObjectKey,
    source: &Source,
    sent: anyhow::Result<()>,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    // The call has ended, within its own bound, and the next one has another: together they may last longer than an
    // attempt may stand still.
    pulse.beat(1);
    let found = unless_cancelled(pulse, store.head(key)).await?;
    match (sent, found) {
        (Ok(()), Ok(found)) => source.compare(found.as_ref()),
        (Ok(()), Err(error)) => Err(error),
        (Err(error), Ok(Some(head))) => {
            // Two facts, of which the object is the harder one.
            source.compare(Some(&head)).with_context(|| format!("{error:#}"))?;
            tracing::info!(object_key = %key, "the answer to the upload of `{key}` was lost, the object is whole");
            Ok(())
        }
        (Err(error), Ok(None) | Err(_)) => Err(error),
    }
}

impl Source {
    fn compare(&self, found: Option<&Head>) -> anyhow::Result<()> {
        let differs = |what: String| Err(Failure::StoredObjectDiffers(what).into());
        let Some(head) = found else {
            return differs("there is no such object".to_owned());
        };
        if head.bytes != self.bytes {
            return differs(format!("{} bytes instead of {}", head.bytes, self.bytes));
        }
        match head.crc64nvme {
            Some(crc) if crc == self.crc64nvme => Ok(()),
            Some(crc) => differs(format!("CRC-64/NVME {crc:016x} instead of {:016x}", self.crc64nvme)),
            None => differs("the store returned no CRC-64/NVME of the whole object".to_owned()),
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

    fn source() -> (tempfile::NamedTempFile, Source) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = "2026-03-01T23:59:59.999Z".parse().unwrap();
        let archive =
            Upload { file: file.as_file(), bytes: 7, sha256: [0xab; 32], crc64nvme: 42, snapshot_at: at };
        let source = Source::new(&archive).unwrap();
        (file, source)
    }

    fn head(bytes: u64, crc64nvme: Option<u64>) -> Head {
        Head { bytes, crc64nvme, sha256: None }
    }

    #[test]
    fn the_downloaded_file_is_named_by_the_day_of_the_snapshot_in_utc() {
        let (_file, source) = source();
        assert_eq!(source.disposition, "attachment; filename=\"export-2026-03-01.zip\"");
        assert_eq!(source.sha256, "ab".repeat(32));
    }

    #[test]
    fn only_an_object_of_equal_size_and_checksum_is_the_archive() {
        let (_file, source) = source();
        source.compare(Some(&head(7, Some(42)))).unwrap();
        for (found, word) in [
            (None, "no such object"),
            (Some(head(6, Some(42))), "6 bytes instead of 7"),
            (Some(head(7, Some(43))), "CRC-64/NVME"),
            (Some(head(7, None)), "returned no CRC-64/NVME"),
        ] {
            let error = source.compare(found.as_ref()).unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(Failure::StoredObjectDiffers(_))), "{error:#}");
            assert!(error.to_string().contains(word), "{error:#}");
        }
    }
}

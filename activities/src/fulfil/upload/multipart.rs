//! Sends a large archive in parts, several at a time, and never leaves an unfinished upload behind.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::{
    config::{Config, timeout::TimeoutConfig},
    primitives::ByteStream,
    types::{ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use futures::{StreamExt as _, stream::FuturesUnordered};

use super::{ArchiveFile, CACHE_CONTROL, CONTENT_TYPE, settle, unless_cancelled};
use crate::{
    failure::{Failure, StoreError},
    pulse::Pulse,
    store::{Store, object_key::ObjectKey},
};

const MIB: u64 = 1024 * 1024;
/// The smallest part of an archive. With parts of 8 MiB, an archive may have up to 78 GiB.
pub const PART_BYTES: u64 = 8 * MIB;
/// The smallest part that S3 accepts, except for the last one.
pub(super) const SMALLEST_PART: u64 = 5 * MIB;
/// The maximum number of parts of one object in S3.
pub const MOST_PARTS: u64 = 10_000;
/// Maximum bytes of one archive's parts in memory together, unless a single part is larger.
const MEMORY_BYTES: u64 = 64 * MIB;
/// The longest time to clean up after a failed upload. The sweep deletes the rest.
const TIDY_UP: Duration = Duration::from_secs(20);

/// Sends the archive in parts, completes it and reads it back. Aborts the upload if any of this fails.
pub(super) async fn send(
    store: &Store,
    key: &ObjectKey,
    source: &ArchiveFile,
    parts: Parts,
    pulse: &Pulse,
) -> anyhow::Result<()> {
    let mut unfinished = OpenUpload::new(store, key);
    let sending = Box::pin(send_all(store, key, source, parts, pulse, &mut unfinished));
    let ended = unless_cancelled(pulse, sending).await.flatten();
    match ended {
        Ok(()) => unfinished.completed().await,
        Err(_) => unfinished.abort().await,
    }
    ended
}

async fn send_all(
    store: &Store,
    key: &ObjectKey,
    source: &ArchiveFile,
    parts: Parts,
    pulse: &Pulse,
    unfinished: &mut OpenUpload,
) -> anyhow::Result<()> {
    let id = create(store, key, source).await?;
    unfinished.id = Some(id.clone());
    let sent = send_parts(store, key, &id, source, parts, pulse).await?;
    let completed = complete(store, key, &id, source, sent).await;
    settle(store, key, source, completed, pulse).await
}

async fn create(store: &Store, key: &ObjectKey, source: &ArchiveFile) -> anyhow::Result<String> {
    let call = store
        .client()
        .create_multipart_upload()
        .bucket(store.bucket())
        .key(key.as_str())
        .content_type(CONTENT_TYPE)
        .content_disposition(&source.disposition)
        .cache_control(CACHE_CONTROL)
        .metadata("sha256", &source.sha256)
        // Declared here, on each part and in `CompletedPart`; otherwise stores disagree about the sum of the whole.
        .checksum_algorithm(source.sum.checksum().algorithm())
        .checksum_type(ChecksumType::FullObject);
    let call = match store.encryption() {
        Some(encryption) => encryption.of_create(call),
        None => call,
    };
    let output = call
        .send()
        .await
        .map_err(|error| StoreError::new("CreateMultipartUpload", &error))
        .with_context(|| format!("failed to begin the upload of `{key}`"))?;
    let id = output.upload_id.filter(|id| !id.is_empty());
    id.ok_or_else(|| {
        Failure::StoredObjectDiffers("the store returned no id for the upload".to_owned()).into()
    })
}

/// Sends all parts, with as many in flight as the store can handle at the moment.
async fn send_parts(
    store: &Store,
    key: &ObjectKey,
    id: &str,
    source: &ArchiveFile,
    parts: Parts,
    pulse: &Pulse,
) -> anyhow::Result<Vec<CompletedPart>> {
    let mut waiting = parts.iter();
    let mut in_flight = FuturesUnordered::new();
    let mut sent = Vec::new();
    loop {
        while in_flight.len() < parts.in_flight(store.parts_in_flight())
            && let Some(part) = waiting.next()
        {
            in_flight.push(send_part(store, key, id, source, part));
        }
        let Some(part) = in_flight.next().await else {
            break;
        };
        let (completed, bytes) = part?;
        pulse.sent(bytes);
        sent.push(completed);
    }
    sent.sort_by_key(CompletedPart::part_number);
    Ok(sent)
}

async fn send_part(
    store: &Store,
    key: &ObjectKey,
    id: &str,
    source: &ArchiveFile,
    part: Part,
) -> anyhow::Result<(CompletedPart, u64)> {
    let body = source.read(part.offset, part.bytes).await?;
    let output = store
        .client()
        .upload_part()
        .bucket(store.bucket())
        .key(key.as_str())
        .upload_id(id)
        .part_number(part.number)
        .checksum_algorithm(source.sum.checksum().algorithm())
        .body(ByteStream::from(body))
        .send()
        .await
        .map_err(|error| StoreError::new("UploadPart", &error))
        .with_context(|| format!("failed to upload part {} of `{key}`", part.number))?;
    Ok((source.sum.checksum().completed_part(part.number, output), part.bytes))
}

async fn complete(
    store: &Store,
    key: &ObjectKey,
    id: &str,
    source: &ArchiveFile,
    parts: Vec<CompletedPart>,
) -> anyhow::Result<()> {
    // Assembling thousands of parts takes a store longer than receiving one, so a single try of this call may last as
    // long as the operation.
    let patient = Config::builder().timeout_config(
        TimeoutConfig::builder().operation_attempt_timeout(store.operation_timeout()).build(),
    );
    let call = store
        .client()
        .complete_multipart_upload()
        .bucket(store.bucket())
        .key(key.as_str())
        .upload_id(id)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .checksum_type(ChecksumType::FullObject);
    // The store compares the sum of the assembled object with ours before the object becomes visible.
    source
        .sum
        .of_complete(call)
        .customize()
        .config_override(patient)
        .send()
        .await
        .map_err(|error| StoreError::new("CompleteMultipartUpload", &error))
        .with_context(|| format!("failed to complete the upload of `{key}`"))?;
    Ok(())
}

/// An upload that must be aborted unless it succeeds, also if its future is dropped.
struct OpenUpload {
    store: Store,
    key: ObjectKey,
    id: Option<String>,
    armed: bool,
}

impl OpenUpload {
    /// Armed before the first call, because its response may be lost although the upload exists.
    fn new(store: &Store, key: &ObjectKey) -> Self {
        Self { store: store.clone(), key: key.clone(), id: None, armed: true }
    }

    /// Aborts the upload that a second try of the first call may have left beside the finished one.
    async fn completed(mut self) {
        self.id = None;
        self.abort().await;
    }

    async fn abort(mut self) {
        tidy_up(self.store.clone(), self.key.clone(), self.id.clone()).await;
        self.armed = false;
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        if self.armed
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(tidy_up(self.store.clone(), self.key.clone(), self.id.take()));
        }
    }
}

/// Aborts the upload by its id, then all other uploads to its key: one whose id was lost, and one that a part in flight
/// brought back.
async fn tidy_up(store: Store, key: ObjectKey, id: Option<String>) {
    let abort = async {
        if let Some(id) = &id {
            store.abort_upload(key.as_str(), id).await?;
        }
        store.abort_uploads(&key).await
    };
    match tokio::time::timeout(TIDY_UP, abort).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(object_key = %key, "Could not abort the upload of `{key}`, which the sweep of the next night aborts: {error:#}");
        }
        Err(_) => {
            tracing::warn!(object_key = %key, "Could not abort the upload of `{key}`, which the sweep of the next night aborts: the store does not answer");
        }
    }
}

/// How an archive is split into parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    total: u64,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    number: i32,
    offset: u64,
    bytes: u64,
}

impl Parts {
    pub(super) fn of(total: u64) -> Self {
        let size = total.div_ceil(MOST_PARTS).next_multiple_of(MIB).max(PART_BYTES);
        Self { total, size }
    }

    /// Returns the smallest parts that S3 accepts, for a test object.
    pub(super) fn smallest(total: u64) -> Self {
        Self { total, size: SMALLEST_PART }
    }

    fn iter(self) -> impl Iterator<Item = Part> {
        let offsets = (0..self.total.div_ceil(self.size)).map(move |index| index * self.size);
        (1..).zip(offsets).map(move |(number, offset)| Part {
            number,
            offset,
            bytes: self.size.min(self.total - offset),
        })
    }

    /// Returns the number of parts in flight: `bearable`, or fewer to stay within the memory limit.
    fn in_flight(self, bearable: usize) -> usize {
        let fit = usize::try_from(MEMORY_BYTES / self.size).unwrap_or(usize::MAX);
        bearable.min(fit).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_cover_the_archive_without_gap_or_overlap() {
        for total in [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 17] {
            let parts: Vec<Part> = Parts::of(total).iter().collect();
            let mut end = 0;
            for (number, part) in (1..).zip(&parts) {
                assert_eq!((part.number, part.offset), (number, end));
                end += part.bytes;
            }
            assert_eq!(end, total);
            assert!(parts.iter().rev().skip(1).all(|part| part.bytes == PART_BYTES));
        }
    }

    #[test]
    fn ten_thousand_parts_always_suffice() {
        const TIB: u64 = 1024 * 1024 * MIB;
        for total in [PART_BYTES * MOST_PARTS, PART_BYTES * MOST_PARTS + 1, TIB, 5 * TIB, 48 * TIB] {
            let parts = Parts::of(total);
            assert!(total.div_ceil(parts.size) <= MOST_PARTS, "{total}");
            assert!(parts.size <= 5 * 1024 * MIB, "S3 takes no larger part");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_the_size_of_the_archive() {
        for total in [1, 100 * MIB, 1024 * 1024 * MIB, 5 * 1024 * 1024 * MIB] {
            let parts = Parts::of(total);
            let in_flight = u64::try_from(parts.in_flight(1000)).unwrap();
            assert!(in_flight * parts.size <= MEMORY_BYTES.max(parts.size));
        }
        assert_eq!(Parts::of(MIB).in_flight(4), 4);
        assert_eq!(Parts::of(MIB).in_flight(0), 1);
    }
}

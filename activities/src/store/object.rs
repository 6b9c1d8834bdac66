//! Reads the head of one object, and deletes one.

use std::ops::RangeInclusive;

use anyhow::Context as _;
use aws_sdk_s3::{operation::head_object::HeadObjectOutput, primitives::ByteStream, types::ChecksumMode};
use bytes::Bytes;

use super::{
    Store,
    checksum::{self, Checksum, Sum},
    encryption::StoredEncryption,
};
use crate::{failure::StoreError, store::object_key::ObjectKey};

/// Maximum number of rounds of listing and deleting one key. One is enough, unless versioning was suspended meanwhile.
const DELETE_ROUNDS: u32 = 4;
/// The version id of an object that was stored while the bucket kept no versions.
const UNVERSIONED: &str = "null";

/// The store's data about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its size in bytes.
    pub bytes: u64,
    /// The checksums over the whole object that the store keeps, at most one of each kind.
    pub sums: Vec<Sum>,
    /// The encryption that the store names, if it names one.
    pub encryption: Option<StoredEncryption>,
}

impl Head {
    /// Returns this checksum of the whole object, if the store keeps it.
    pub fn sum(&self, checksum: Checksum) -> Option<Sum> {
        self.sums.iter().copied().find(|sum| sum.checksum() == checksum)
    }
}

/// An object that is being read.
#[derive(Debug)]
pub struct Content {
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    pub content_type: Option<String>,
    body: ByteStream,
    read: u64,
    what: &'static str,
}

impl Content {
    /// Returns the next bytes, or none after the last.
    ///
    /// # Errors
    /// When the connection breaks, or ends early.
    pub async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let broken = |code: &str| StoreError { operation: "GetObject", code: code.to_owned(), status: None };
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.read += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Some(Err(_)) => Err(broken("response")).with_context(|| format!("failed to read {}", self.what)),
            None if self.read == self.bytes => Ok(None),
            None => {
                Err(broken("response")).with_context(|| format!("failed to read {} to its end", self.what))
            }
        }
    }
}

impl Store {
    /// Starts to read an object of the platform; none if it does not exist.
    pub async fn read(&self, key: &str) -> anyhow::Result<Option<Content>> {
        match self.client().get_object().bucket(self.bucket()).key(key).send().await {
            Ok(output) => Ok(Some(Content {
                bytes: output
                    .content_length()
                    .and_then(|bytes| u64::try_from(bytes).ok())
                    .unwrap_or_default(),
                content_type: output.content_type().map(str::to_owned),
                body: output.body,
                read: 0,
                what: "a file of the user",
            })),
            Err(error) => match StoreError::new("GetObject", &error) {
                // A missing bucket is a fault of the platform's settings and not a missing file.
                error if error.code == "NoSuchKey" => Ok(None),
                // The key is data of the user.
                error => Err(error).context("failed to read a file of the user"),
            },
        }
    }

    /// Starts to read a part of an archive, from its first to its last byte, both included; none if it does not exist.
    ///
    /// # Errors
    /// When the store does not answer, or has fewer bytes.
    pub async fn read_part(
        &self,
        key: &ObjectKey,
        part: RangeInclusive<u64>,
    ) -> anyhow::Result<Option<Content>> {
        let (first, last) = (*part.start(), *part.end());
        let call = self.client().get_object().bucket(self.bucket()).key(key.as_str());
        let output = match call.range(format!("bytes={first}-{last}")).send().await {
            Ok(output) => output,
            Err(error) => match StoreError::new("GetObject", &error) {
                error if error.code == "NoSuchKey" => return Ok(None),
                error => return Err(error).with_context(|| format!("failed to read `{key}`")),
            },
        };
        let bytes = last - first + 1;
        if output.content_length().and_then(|length| u64::try_from(length).ok()) != Some(bytes) {
            let short = StoreError { operation: "GetObject", code: "response".to_owned(), status: None };
            return Err(short)
                .with_context(|| format!("the store has not the bytes {first} to {last} of `{key}`"));
        }
        let content_type = output.content_type().map(str::to_owned);
        Ok(Some(Content { bytes, content_type, body: output.body, read: 0, what: "an archive" }))
    }

    /// Reads the head of an object; none if it does not exist.
    pub async fn head(&self, key: &ObjectKey) -> anyhow::Result<Option<Head>> {
        let answer = self
            .client()
            .head_object()
            .bucket(self.bucket())
            .key(key.as_str())
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(Some(read_head(&output))),
            Err(error) => match StoreError::new("HeadObject", &error) {
                error if error.is_not_found() => Ok(None),
                error => Err(error).with_context(|| format!("failed to inspect `{key}`")),
            },
        }
    }

    /// Deletes an object with all its versions, and checks that it is gone. A missing object is no error.
    ///
    /// In a bucket that keeps versions, a plain delete only hides the archive behind a marker. So each version is
    /// deleted by its id, and no marker is left.
    ///
    /// # Errors
    /// When the store does not answer, refuses, or still has the object afterwards.
    pub async fn delete(&self, key: &ObjectKey) -> anyhow::Result<()> {
        let context = || format!("failed to delete `{key}`");
        for round in 0..DELETE_ROUNDS {
            match self.versions(key).await? {
                // A store without versions: delete the object by its key.
                None => {
                    self.delete_version(key, None).await.with_context(context)?;
                    if self.head(key).await?.is_none() {
                        return Ok(());
                    }
                }
                Some(versions) if versions.is_empty() => return Ok(()),
                Some(versions) => {
                    for version in versions {
                        // In a bucket that never kept versions, `null` is the object itself, and most stores accept
                        // only a plain delete. A bucket that once kept versions then leaves a marker, which the next
                        // round deletes by its id.
                        let version = Some(version).filter(|id| round > 0 || id != UNVERSIONED);
                        self.delete_version(key, version).await.with_context(context)?;
                    }
                }
            }
        }
        Err(StoreError { operation: "DeleteObject", code: "still_there".to_owned(), status: None })
            .with_context(context)
    }

    /// Lists the ids of the versions and markers of one key; none if the store does not support versions.
    async fn versions(&self, key: &ObjectKey) -> anyhow::Result<Option<Vec<String>>> {
        let listed =
            self.client().list_object_versions().bucket(self.bucket()).prefix(key.as_str()).send().await;
        let page = match listed {
            Ok(page) => page,
            Err(error) => match StoreError::new("ListObjectVersions", &error) {
                error if error.is_not_implemented() => return Ok(None),
                error => {
                    return Err(error).with_context(|| format!("failed to list the versions of `{key}`"));
                }
            },
        };
        let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let ours = versions.chain(markers).filter(|(name, _)| *name == Some(key.as_str()));
        Ok(Some(ours.map(|(_, id)| id.unwrap_or(UNVERSIONED).to_owned()).collect()))
    }

    async fn delete_version(&self, key: &ObjectKey, version: Option<String>) -> Result<(), StoreError> {
        let delete = self.client().delete_object().bucket(self.bucket()).key(key.as_str());
        match delete.set_version_id(version).send().await {
            Ok(_) => Ok(()),
            Err(error) => match StoreError::new("DeleteObject", &error) {
                error if matches!(error.code.as_str(), "NoSuchKey" | "NoSuchVersion") => Ok(()),
                error => Err(error),
            },
        }
    }
}

fn read_head(output: &HeadObjectOutput) -> Head {
    Head {
        bytes: output.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        sums: checksum::read_all(output),
        encryption: StoredEncryption::read(output),
    }
}

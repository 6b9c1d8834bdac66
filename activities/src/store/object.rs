//! Looks at one object, and removes one.

use anyhow::Context as _;
use aws_sdk_s3::{operation::head_object::HeadObjectOutput, types::ChecksumMode};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::Store;
use crate::{failure::StoreError, object_key::ObjectKey};

/// What the store says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its size in bytes.
    pub bytes: u64,
    /// Its CRC-64/NVME over the whole object, if the store keeps one.
    pub crc64nvme: Option<u64>,
    /// The metadata `sha256`, as it was given at the upload.
    pub sha256: Option<String>,
}

impl Store {
    /// Looks at an object; none when there is no such object.
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
                error => Err(error).with_context(|| format!("failed to look at `{key}`")),
            },
        }
    }

    /// Deletes an object, with all its versions where the bucket keeps versions; one that is not there is
    /// no error.
    pub async fn delete(&self, key: &ObjectKey) -> anyhow::Result<()> {
        let answer = self.client().delete_object().bucket(self.bucket()).key(key.as_str()).send().await;
        match answer {
            // In a bucket with versions a plain delete only hides the archive behind a marker.
            Ok(output) if output.version_id().is_some() || output.delete_marker() == Some(true) => {
                self.delete_versions(key).await
            }
            Ok(_) => Ok(()),
            Err(error) => match StoreError::new("DeleteObject", &error) {
                error if error.code == "NoSuchKey" => Ok(()),
                error => Err(error).with_context(|| format!("failed to delete `{key}`")),
            },
        }
    }

    async fn delete_versions(&self, key: &ObjectKey) -> anyhow::Result<()> {
        // The listing begins anew after each page, since a page that was deleted needs no marker.
        loop {
            let page = self
                .client()
                .list_object_versions()
                .bucket(self.bucket())
                .prefix(key.as_str())
                .send()
                .await
                .map_err(|error| StoreError::new("ListObjectVersions", &error))
                .with_context(|| format!("failed to list the versions of `{key}`"))?;
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
            let mut deleted = false;
            for (_, version) in versions.chain(markers).filter(|(name, _)| *name == Some(key.as_str())) {
                self.client()
                    .delete_object()
                    .bucket(self.bucket())
                    .key(key.as_str())
                    .set_version_id(version.map(str::to_owned))
                    .send()
                    .await
                    .map_err(|error| StoreError::new("DeleteObject", &error))
                    .with_context(|| format!("failed to delete a version of `{key}`"))?;
                deleted = true;
            }
            if !deleted || page.is_truncated() != Some(true) {
                return Ok(());
            }
        }
    }
}

fn read_head(output: &HeadObjectOutput) -> Head {
    Head {
        bytes: output.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        crc64nvme: output.checksum_crc64_nvme().and_then(crc64nvme_from_base64),
        sha256: output.metadata().and_then(|metadata| metadata.get("sha256")).cloned(),
    }
}

/// S3 writes a checksum as the Base64 of its big-endian bytes.
pub(crate) fn crc64nvme_to_base64(crc: u64) -> String {
    BASE64_STANDARD.encode(crc.to_be_bytes())
}

fn crc64nvme_from_base64(text: &str) -> Option<u64> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_the_base64_of_its_big_endian_bytes() {
        // The check value of CRC-64/NVME: the sum of the text 123456789.
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, b"123456789");
        assert_eq!(crc, 0xae8b_1486_0a79_9888);
        assert_eq!(crc64nvme_to_base64(crc), "rosUhgp5mIg=");
        assert_eq!(crc64nvme_from_base64("rosUhgp5mIg="), Some(crc));
    }

    #[test]
    fn a_checksum_of_several_parts_is_not_taken_for_one_of_the_whole() {
        assert_eq!(crc64nvme_from_base64("rosUhgp5mIg=-3"), None);
        assert_eq!(crc64nvme_from_base64("rosU"), None);
        assert_eq!(crc64nvme_from_base64(""), None);
    }
}

//! Walks through what lies under `exports/`, a page at a time.

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::Store;
use crate::{
    failure::StoreError,
    object_key::{INSTALLATION_MARK, ObjectKey, PREFIX},
};

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its key, ours or not.
    pub key: String,
    /// When it was stored, by the store's clock.
    pub stored_at: Option<DateTime<Utc>>,
}

/// A multipart upload that is neither completed nor aborted.
#[derive(Clone, Debug)]
pub struct ListedUpload {
    /// The key that it would get.
    pub key: String,
    /// Its id.
    pub id: String,
    /// When it began, by the store's clock.
    pub begun_at: Option<DateTime<Utc>>,
}

/// One page of objects: at most 1,000, as S3 decides.
pub(crate) struct ObjectPage {
    pub(crate) objects: Vec<ListedObject>,
    pub(crate) next: Option<String>,
}

/// Where the next page of uploads begins.
#[derive(Clone, Debug)]
pub(crate) struct UploadMarker {
    key: Option<String>,
    id: Option<String>,
}

/// One page of multipart uploads: at most 1,000, as S3 decides.
pub(crate) struct UploadPage {
    pub(crate) uploads: Vec<ListedUpload>,
    pub(crate) next: Option<UploadMarker>,
}

impl Store {
    /// Tells whether anything but the installation's mark lies under `exports/`.
    pub async fn holds_objects(&self) -> anyhow::Result<bool> {
        let page = self.list(PREFIX, None, Some(2)).await?;
        Ok(page.objects.iter().any(|object| object.key != INSTALLATION_MARK))
    }

    /// Gives a page of the objects under `exports/`.
    pub(crate) async fn list_objects(&self, from: Option<String>) -> anyhow::Result<ObjectPage> {
        self.list(PREFIX, from, None).await
    }

    /// Returns whether the store lists an object, as the sweep would find it.
    pub async fn is_listed(&self, key: &ObjectKey) -> anyhow::Result<bool> {
        let page = self.list(key.as_str(), None, Some(2)).await?;
        Ok(page.objects.iter().any(|object| object.key == key.as_str()))
    }

    async fn list(
        &self,
        prefix: &str,
        from: Option<String>,
        at_most: Option<i32>,
    ) -> anyhow::Result<ObjectPage> {
        let output = self
            .client()
            .list_objects_v2()
            .bucket(self.bucket())
            .prefix(prefix)
            .set_continuation_token(from)
            .set_max_keys(at_most)
            .send()
            .await
            .map_err(|error| StoreError::new("ListObjectsV2", &error))
            .with_context(|| format!("failed to list the objects under `{prefix}`"))?;
        let next = output.next_continuation_token.filter(|_| output.is_truncated == Some(true));
        let objects = output.contents.unwrap_or_default().into_iter().filter_map(|object| {
            Some(ListedObject { key: object.key?, stored_at: object.last_modified.and_then(|at| utc(&at)) })
        });
        Ok(ObjectPage { objects: objects.collect(), next })
    }

    /// Gives a page of the unfinished multipart uploads whose key begins with `prefix`.
    pub(crate) async fn list_uploads(
        &self,
        prefix: &str,
        from: Option<UploadMarker>,
    ) -> anyhow::Result<UploadPage> {
        let (key, id) = from.map(|marker| (marker.key, marker.id)).unwrap_or_default();
        let output = self
            .client()
            .list_multipart_uploads()
            .bucket(self.bucket())
            .prefix(prefix)
            .set_key_marker(key)
            .set_upload_id_marker(id)
            .send()
            .await
            .map_err(|error| StoreError::new("ListMultipartUploads", &error))
            .with_context(|| format!("failed to list the multipart uploads under `{prefix}`"))?;
        let next = (output.is_truncated == Some(true))
            .then_some(UploadMarker { key: output.next_key_marker, id: output.next_upload_id_marker });
        let uploads = output.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            let begun_at = upload.initiated.and_then(|at| utc(&at));
            Some(ListedUpload { key: upload.key?, id: upload.upload_id?, begun_at })
        });
        Ok(UploadPage { uploads: uploads.collect(), next })
    }
}

fn utc(at: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}

//! Aborts multipart uploads. Their parts would otherwise stay in the store, invisible and paid for.

use anyhow::{Context as _, ensure};
use futures::TryStreamExt as _;

use super::Store;
use crate::{failure::StoreError, store::object_key::ObjectKey};

impl Store {
    /// Aborts every unfinished multipart upload to this key.
    pub async fn abort_uploads(&self, key: &ObjectKey) -> anyhow::Result<()> {
        let mut pages = std::pin::pin!(self.uploads(key.as_str()));
        while let Some(page) = pages.try_next().await? {
            // The list is by prefix; uploads to longer keys must stay.
            for upload in page.iter().filter(|upload| upload.key == key.as_str()) {
                self.abort_upload(&upload.key, &upload.id).await?;
            }
        }
        Ok(())
    }

    /// Starts a multipart upload to this key, finds it in the store's list, aborts it, and checks that it is gone.
    ///
    /// Only this list finds the parts that a killed worker leaves behind.
    pub async fn try_uploads(&self, key: &ObjectKey) -> anyhow::Result<()> {
        let begun =
            self.client().create_multipart_upload().bucket(self.bucket()).key(key.as_str()).send().await;
        let begun = begun
            .map_err(|error| StoreError::new("CreateMultipartUpload", &error))
            .with_context(|| format!("failed to begin the upload of `{key}`"))?;
        let id = begun.upload_id.context("the store returned no id for the upload")?;
        // Abort the upload even if the list fails.
        let listed = self.is_begun(key, &id).await;
        self.abort_upload(key.as_str(), &id).await?;
        ensure!(listed?, "the store does not list an upload that has begun");
        ensure!(!self.is_begun(key, &id).await?, "the store lists an upload after it was aborted");
        Ok(())
    }

    async fn is_begun(&self, key: &ObjectKey, id: &str) -> anyhow::Result<bool> {
        let mut pages = std::pin::pin!(self.uploads(key.as_str()));
        while let Some(page) = pages.try_next().await? {
            if page.iter().any(|upload| upload.key == key.as_str() && upload.id == id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Aborts one multipart upload. A missing upload is no error.
    pub(crate) async fn abort_upload(&self, key: &str, id: &str) -> anyhow::Result<()> {
        let answer =
            self.client().abort_multipart_upload().bucket(self.bucket()).key(key).upload_id(id).send().await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => match StoreError::new("AbortMultipartUpload", &error) {
                error if error.code == "NoSuchUpload" => Ok(()),
                error => Err(error).with_context(|| format!("failed to abort the upload of `{key}`")),
            },
        }
    }
}

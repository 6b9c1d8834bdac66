//! Aborts multipart uploads, whose parts would otherwise stay in the store, unseen and paid for.

use anyhow::Context as _;
use futures::TryStreamExt as _;

use super::Store;
use crate::{failure::StoreError, object_key::ObjectKey};

impl Store {
    /// Aborts every unfinished multipart upload to this key.
    pub async fn abort_uploads(&self, key: &ObjectKey) -> anyhow::Result<()> {
        let mut pages = std::pin::pin!(self.uploads(key.as_str()));
        while let Some(page) = pages.try_next().await? {
            // A prefix is not a key: what merely begins like it stays.
            for upload in page.iter().filter(|upload| upload.key == key.as_str()) {
                self.abort_upload(&upload.key, &upload.id).await?;
            }
        }
        Ok(())
    }

    /// Aborts one multipart upload; one that is gone already is no error.
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

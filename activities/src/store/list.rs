//! Lists the objects and uploads under `exports/`, one page at a time.

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use futures::{Stream, stream};

use super::Store;
use crate::{
    failure::StoreError,
    store::object_key::{INSTALLATION_MARK, ObjectKey, PREFIX},
};

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// Its key, ours or not.
    pub key: String,
    /// Its size.
    pub bytes: Option<i64>,
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

/// The position at which a page of a listing begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ListPosition {
    /// Of versions: after this version of this key; none means from the beginning.
    Version { key: Option<String>, version: Option<String> },
    /// Of objects, in a store without versions.
    Object(Option<String>),
    /// Of uploads: after this upload to this key.
    Upload { key: Option<String>, id: Option<String> },
}

/// A page and where the next one begins.
struct Page<T> {
    items: Vec<T>,
    next: Option<ListPosition>,
}

impl Store {
    /// Returns whether `exports/` holds any object except the installation's mark.
    pub async fn holds_objects(&self) -> anyhow::Result<bool> {
        let page = self.object_page(PREFIX, None, Some(2)).await?;
        Ok(page.items.iter().any(|object| object.key != INSTALLATION_MARK))
    }

    /// Returns whether the store lists an object, as the sweep would find it.
    pub async fn is_listed(&self, key: &ObjectKey) -> anyhow::Result<bool> {
        let page = self.object_page(key.as_str(), None, Some(2)).await?;
        Ok(page.items.iter().any(|object| object.key == key.as_str()))
    }

    /// Lists the objects under `exports/`, page by page, at most 1,000 each as S3 decides.
    ///
    /// Every version counts, also one that is hidden behind a newer one or a marker, because it is an archive too. A
    /// key whose versions are on two pages appears twice.
    pub(crate) fn objects(&self) -> impl Stream<Item = anyhow::Result<Vec<ListedObject>>> + use<'_> {
        let first = ListPosition::Version { key: None, version: None };
        pages(first, move |position| async move {
            match position {
                ListPosition::Object(token) => self.object_page(PREFIX, token, None).await,
                position => match self.version_page(position).await? {
                    Some(page) => Ok(page),
                    None => self.object_page(PREFIX, None, None).await,
                },
            }
        })
    }

    /// Lists the objects under `exports/` as a link finds them: of each key only the last version, and none that is hidden
    /// behind a marker.
    pub(crate) fn current_objects(&self) -> impl Stream<Item = anyhow::Result<Vec<ListedObject>>> + use<'_> {
        pages(ListPosition::Object(None), move |position| async move {
            let ListPosition::Object(token) = position else {
                bail!("not a position in a listing of objects")
            };
            self.object_page(PREFIX, token, None).await
        })
    }

    /// Lists the unfinished multipart uploads whose key begins with `prefix`, page by page.
    pub(crate) fn uploads<'s>(
        &'s self,
        prefix: &'s str,
    ) -> impl Stream<Item = anyhow::Result<Vec<ListedUpload>>> + use<'s> {
        let first = ListPosition::Upload { key: None, id: None };
        pages(first, move |position| self.upload_page(prefix, position))
    }

    /// Lists a page of versions; none if the store does not support versions.
    async fn version_page(&self, from: ListPosition) -> anyhow::Result<Option<Page<ListedObject>>> {
        let ListPosition::Version { key, version } = from else { return Ok(None) };
        let listing = self.client().list_object_versions().bucket(self.bucket()).prefix(PREFIX);
        let output = match listing.set_key_marker(key).set_version_id_marker(version).send().await {
            Ok(output) => output,
            Err(error) => match StoreError::new("ListObjectVersions", &error) {
                error if error.is_not_implemented() => return Ok(None),
                error => {
                    return Err(error)
                        .with_context(|| format!("failed to list the versions under `{PREFIX}`"));
                }
            },
        };
        let next = (output.is_truncated == Some(true)).then_some(ListPosition::Version {
            key: output.next_key_marker,
            version: output.next_version_id_marker,
        });
        let versions = output.versions.unwrap_or_default().into_iter().filter_map(|version| {
            let stored_at = version.last_modified.and_then(|at| utc(&at));
            Some(ListedObject { key: version.key?, bytes: version.size, stored_at })
        });
        Ok(Some(Page { items: versions.collect(), next }))
    }

    async fn object_page(
        &self,
        prefix: &str,
        from: Option<String>,
        at_most: Option<i32>,
    ) -> anyhow::Result<Page<ListedObject>> {
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
        let next = (output.is_truncated == Some(true)).then_some(output.next_continuation_token).flatten();
        let objects = output.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let stored_at = object.last_modified.and_then(|at| utc(&at));
            Some(ListedObject { key: object.key?, bytes: object.size, stored_at })
        });
        Ok(Page { items: objects.collect(), next: next.map(|token| ListPosition::Object(Some(token))) })
    }

    async fn upload_page(&self, prefix: &str, from: ListPosition) -> anyhow::Result<Page<ListedUpload>> {
        let ListPosition::Upload { key, id } = from else { bail!("not a position in a listing of uploads") };
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
        let next = (output.is_truncated == Some(true)).then_some(ListPosition::Upload {
            key: output.next_key_marker,
            id: output.next_upload_id_marker,
        });
        let uploads = output.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            let begun_at = upload.initiated.and_then(|at| utc(&at));
            Some(ListedUpload { key: upload.key?, id: upload.upload_id?, begun_at })
        });
        Ok(Page { items: uploads.collect(), next })
    }
}

/// Walks from page to page. A store that repeats a page is an error, because it would keep a sweep running for ever.
fn pages<T, F>(
    first: ListPosition,
    mut page: impl FnMut(ListPosition) -> F,
) -> impl Stream<Item = anyhow::Result<Vec<T>>>
where
    F: Future<Output = anyhow::Result<Page<T>>>,
{
    stream::try_unfold((Some(first), 0_u32), move |(position, walked)| {
        // Boxed, because the future of a call to the store is large, and every step that lists would hold it.
        let asked = position.map(|position| (Box::pin(page(position.clone())), position));
        async move {
            let Some((page, position)) = asked else { return Ok(None) };
            let page = page.await?;
            if page.next.as_ref() == Some(&position) || walked >= LONGEST_LISTING {
                bail!(StoreError {
                    operation: "List",
                    code: "endless_listing".to_owned(),
                    status: Some(200)
                });
            }
            Ok(Some((page.items, (page.next, walked + 1))))
        }
    })
}

/// Number of pages after which a listing counts as endless: a hundred million objects.
const LONGEST_LISTING: u32 = 100_000;

fn utc(at: &aws_sdk_s3::primitives::DateTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;
    use crate::failure::judge;

    fn walk(last: u32, repeats: bool) -> impl Stream<Item = anyhow::Result<Vec<u32>>> {
        let token = |n: u32| ListPosition::Object(Some(n.to_string()));
        pages(token(0), move |position| async move {
            let ListPosition::Object(Some(text)) = &position else { bail!("{position:?}") };
            let n: u32 = text.parse().unwrap();
            let next = if repeats { Some(token(n)) } else { (n < last).then(|| token(n + 1)) };
            Ok(Page { items: vec![n], next })
        })
    }

    #[tokio::test]
    async fn a_listing_is_walked_to_its_last_page() {
        let walked: Vec<_> = walk(3, false).try_collect().await.unwrap();
        assert_eq!(walked.concat(), [0, 1, 2, 3]);
    }

    #[tokio::test]
    async fn a_listing_that_does_not_advance_or_never_ends_is_an_error() {
        for (last, repeats) in [(0, true), (u32::MAX, false)] {
            let error = walk(last, repeats).try_for_each(|_| async { Ok(()) }).await.unwrap_err();
            assert_eq!(judge(&error).code, "store/endless_listing");
        }
    }
}

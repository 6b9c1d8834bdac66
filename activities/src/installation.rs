//! Keeps two installations from sharing one bucket: `exports/.installation` holds the id of the one that owns it.
//!
//! A bucket whose mark is another's, or is missing beside objects, is left alone: nothing is uploaded and nothing
//! deleted, since every archive in it would look like an orphan to the wrong database. Only [`adopt`] writes over a mark.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::{
    config::{Config, retry::RetryConfig, timeout::TimeoutConfig},
    primitives::ByteStream,
};
use bytes::Bytes;
use uuid::Uuid;

use crate::{
    failure::{Failure, StoreError},
    object_key::INSTALLATION_MARK,
    store::Store,
};

/// How long [`answers`] waits: it asks whether the store is there at all, and a slot waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A mark is the text of a UUID; anything longer is not one, whatever it is.
const MARK_BYTES: i64 = 36;

/// How the bucket stands to this installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The mark holds our id.
    Ours,
    /// There was no mark and nothing else under `exports/`: the mark was written just now.
    Written,
    /// There is no mark, but there are objects: nobody knows whose.
    Missing,
    /// The mark holds another id, or none that can be read.
    Foreign(Option<Uuid>),
}

impl Standing {
    /// Turns a bucket that is not ours into a failure that says how to mend it.
    pub fn require_ours(self, store: &Store) -> Result<(), Failure> {
        let bucket = store.bucket();
        let remedy = "nothing is uploaded or deleted; give the right bucket in `EXPORT_BUCKET`, or take this one over \
                      with `export-worker doctor --adopt-bucket`";
        match self {
            Self::Ours | Self::Written => Ok(()),
            Self::Missing => Err(Failure::Installation(format!(
                "bucket `{bucket}` holds objects but no mark `{INSTALLATION_MARK}`: {remedy}"
            ))),
            Self::Foreign(Some(id)) => Err(Failure::Installation(format!(
                "bucket `{bucket}` belongs to installation {id}: {remedy}"
            ))),
            Self::Foreign(None) => Err(Failure::Installation(format!(
                "the mark `{INSTALLATION_MARK}` in bucket `{bucket}` is not the id of an installation: {remedy}"
            ))),
        }
    }
}

/// Looks whose bucket it is, and marks an empty one as ours.
pub async fn standing(store: &Store, id: Uuid) -> anyhow::Result<Standing> {
    if let Some(standing) = look(store, id).await? {
        return Ok(standing);
    }
    let written = write(store, id, Some("*")).await;
    match (written, look(store, id).await?) {
        // Read back even after a good answer: a store may ignore the condition, or look and write in two steps, and let
        // two writers both succeed. The sweep looks again before it deletes anything.
        (Ok(()), Some(Standing::Ours)) => Ok(Standing::Written),
        (_, Some(standing)) => Ok(standing),
        (Err(error), None) => Err(error),
        (Ok(()), None) => Err(Failure::Installation(format!(
            "the mark `{INSTALLATION_MARK}` was written to bucket `{}` but cannot be read",
            store.bucket()
        ))
        .into()),
    }
}

/// Looks whose bucket it is and writes nothing; none when it has no mark and no objects.
pub async fn look(store: &Store, id: Uuid) -> anyhow::Result<Option<Standing>> {
    match read(store).await? {
        Mark::Of(found) if found == id => Ok(Some(Standing::Ours)),
        Mark::Of(found) => Ok(Some(Standing::Foreign(Some(found)))),
        Mark::Unreadable => Ok(Some(Standing::Foreign(None))),
        Mark::None => Ok(store.holds_objects().await?.then_some(Standing::Missing)),
    }
}

/// Takes the bucket over, whatever its mark was; the operator knows what they do.
pub async fn adopt(store: &Store, id: Uuid) -> anyhow::Result<()> {
    write(store, id, None).await
}

/// Fails unless the store answers, quickly, and still shows the mark: asked by a second try before it claims its request.
pub async fn answers(store: &Store) -> anyhow::Result<()> {
    let once = Config::builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(ANSWER_WITHIN).build());
    store
        .client()
        .head_object()
        .bucket(store.bucket())
        .key(INSTALLATION_MARK)
        .customize()
        .config_override(once)
        .send()
        .await
        .map_err(|error| StoreError::new("HeadObject", &error))
        .with_context(|| format!("failed to look at `{INSTALLATION_MARK}`"))?;
    Ok(())
}

enum Mark {
    Of(Uuid),
    Unreadable,
    None,
}

async fn read(store: &Store) -> anyhow::Result<Mark> {
    let answer = store.client().get_object().bucket(store.bucket()).key(INSTALLATION_MARK).send().await;
    let output = match answer {
        Ok(output) => output,
        Err(error) => match StoreError::new("GetObject", &error) {
            // Any other 404, such as a missing bucket, is no statement about the mark.
            error if error.code == "NoSuchKey" => return Ok(Mark::None),
            error => return Err(error).with_context(|| format!("failed to read `{INSTALLATION_MARK}`")),
        },
    };
    if output.content_length() != Some(MARK_BYTES) {
        return Ok(Mark::Unreadable);
    }
    let body = output
        .body
        .collect()
        .await
        .map_err(|_| StoreError { operation: "GetObject", code: "response".to_owned(), status: None })
        .with_context(|| format!("failed to read `{INSTALLATION_MARK}`"))?;
    Ok(Uuid::try_parse_ascii(&body.into_bytes()).map_or(Mark::Unreadable, Mark::Of))
}

async fn write(store: &Store, id: Uuid, if_none_match: Option<&str>) -> anyhow::Result<()> {
    store
        .client()
        .put_object()
        .bucket(store.bucket())
        .key(INSTALLATION_MARK)
        .content_type("text/plain")
        .set_if_none_match(if_none_match.map(str::to_owned))
        .body(ByteStream::from(Bytes::from(id.to_string())))
        .send()
        .await
        .map_err(|error| StoreError::new("PutObject", &error))
        .with_context(|| format!("failed to write `{INSTALLATION_MARK}`"))?;
    Ok(())
}

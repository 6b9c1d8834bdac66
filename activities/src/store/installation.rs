//! Keeps two installations from sharing one bucket, and one installation from losing its bucket.
//!
//! `exports/.installation` in the bucket holds the id of the installation that owns it; the database holds the location
//! of the bucket. Both are compared before anything is uploaded or deleted. A bucket with another mark, or with objects
//! and no mark, is left alone: every archive in it would look like an orphan to the wrong database. A bucket at another
//! location than the recorded one is left alone, too: an archive would look deleted there while its link works
//! elsewhere. Only [`adopt`] overwrites a mark, and only [`archives::move_location`] changes the
//! location.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_sdk_s3::{
    config::{
        Builder, Config, RequestChecksumCalculation, ResponseChecksumValidation, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    primitives::ByteStream,
};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    failure::{Failure, StoreError},
    requests::archives::{self, Installation},
    store::{
        Store,
        object_key::{INSTALLATION_MARK, ObjectKey},
    },
};

/// How long [`answers`] waits: it only asks whether the store answers at all, and a slot waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a bucket that held our mark is trusted: a bucket is seldom made again, and there are many small requests.
const TRUSTED: Duration = Duration::from_secs(30);
/// A mark is the text of a UUID; anything of another length is not a mark.
const MARK_BYTES: i64 = 36;

/// Whose bucket it is, as seen by this installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The mark holds our id.
    Ours,
    /// There was no mark and nothing else under `exports/`: the mark was written just now.
    Written,
    /// There is no mark, but there are objects: it is unknown whose.
    Missing,
    /// The mark holds another id, or none that can be read.
    Foreign(Option<Uuid>),
}

impl Ownership {
    /// Turns a bucket that is not ours into a failure that says how to fix it.
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

/// Refuses a bucket at another location than the recorded one. Before a location is recorded, the mark alone decides.
pub fn require_location(recorded: Option<&str>, store: &Store) -> Result<(), Failure> {
    match recorded {
        Some(recorded) if recorded != store.location() => Err(Failure::Installation(format!(
            "the archives of this installation are in `{recorded}`, and this process is set to `{}`: nothing is uploaded or \
             deleted; set EXPORT_BUCKET and EXPORT_S3_ENDPOINT to the first, or move with `export-worker bucket move`",
            store.location()
        ))),
        _ => Ok(()),
    }
}

/// Prepares the bucket for a worker: it must be ours and at the recorded location. Marks an empty one and records its
/// location. Returns the id of the installation.
///
/// # Errors
/// [`Failure::Installation`] when the bucket is not the one of this installation; other errors when the database or the
/// store does not answer.
pub async fn open_bucket(state: &Pool, store: &Store) -> anyhow::Result<Uuid> {
    let installation = archives::read_installation(state).await?;
    require_location(installation.location.as_deref(), store)?;
    if installation.has_archives && read_ownership(store, installation.id).await?.is_none() {
        return Err(lost(store).into());
    }
    mark_if_empty(store, installation.id).await?.require_ours(store)?;
    archives::record_location(state, store.location()).await?;
    Ok(installation.id)
}

/// Makes sure that archives may be deleted here: the bucket is at the recorded location and holds our mark. Returns what
/// the database records.
///
/// # Errors
/// As [`open_bucket`]; a bucket without a mark is never ours.
pub async fn check_bucket(state: &Pool, store: &Store) -> anyhow::Result<Installation> {
    let mut installation = archives::read_installation(state).await?;
    require_location(installation.location.as_deref(), store)?;
    check_mark(store, installation.id).await?;
    if installation.location.is_none() {
        archives::record_location(state, store.location()).await?;
        installation.location = Some(store.location().to_owned());
    }
    Ok(installation)
}

/// Makes sure that a bucket holds our mark.
pub async fn check_mark(store: &Store, id: Uuid) -> anyhow::Result<()> {
    match read_ownership(store, id).await? {
        Some(ownership) => ownership.require_ours(store).map_err(Into::into),
        None => Err(lost(store).into()),
    }
}

/// Watches the mark while a worker runs: a bucket may be emptied, made again or taken over meanwhile. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MarkWatch {
    id: Uuid,
    seen: Arc<Mutex<Option<Instant>>>,
}

impl MarkWatch {
    /// Watches the mark of this installation.
    pub fn new(id: Uuid) -> Self {
        Self { id, seen: Arc::default() }
    }

    /// Returns the id of this installation.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Makes sure that the bucket holds our mark; asks the store at most once in 30 s.
    ///
    /// # Errors
    /// [`Failure::Installation`] when it does not.
    pub async fn confirm(&self, store: &Store) -> anyhow::Result<()> {
        // Attempts that start together wait for one answer.
        let mut seen = self.seen.lock().await;
        if seen.is_none_or(|seen| seen.elapsed() > TRUSTED) {
            check_mark(store, self.id).await?;
            *seen = Some(Instant::now());
        }
        Ok(())
    }
}

fn lost(store: &Store) -> Failure {
    Failure::Installation(format!(
        "bucket `{}` is empty and without the mark `{INSTALLATION_MARK}`, but archives of this installation are recorded: \
         nothing is uploaded or deleted; give the right bucket in `EXPORT_BUCKET`, or, if this bucket was emptied, take it \
         over with `export-worker doctor --adopt-bucket`",
        store.location()
    ))
}

/// Makes sure that every archive that is recorded at the previous location is in this bucket, with its size.
///
/// # Errors
/// [`Failure::Installation`] names the first one that is not.
pub async fn check_archives(state: &Pool, store: &Store, before: &str) -> anyhow::Result<()> {
    let mut recorded = archives::list_at(state, before);
    while let Some(row) = recorded.try_next().await.context("failed to list the archives")? {
        let key =
            ObjectKey::parse(&row.object_key).context("a request names an object that is none of ours")?;
        let stored = store.head(&key).await?.map(|head| head.bytes);
        if stored != u64::try_from(row.archive_bytes).ok() {
            return Err(Failure::Installation(format!(
                "`{key}` is not in `{}` as it is recorded: this is not the same bucket; leave `--same-bucket` out",
                store.location()
            ))
            .into());
        }
    }
    Ok(())
}

/// Finds out whose bucket it is, and marks an empty one as ours.
pub async fn mark_if_empty(store: &Store, id: Uuid) -> anyhow::Result<Ownership> {
    if let Some(ownership) = read_ownership(store, id).await? {
        return Ok(ownership);
    }
    let written = write(store, id, Some("*")).await;
    match (written, read_ownership(store, id).await?) {
        // Read back even after a good answer: a store may ignore the condition, or check and write in two steps, and
        // let two writers both succeed. The sweep checks again before it deletes anything.
        (Ok(()), Some(Ownership::Ours)) => Ok(Ownership::Written),
        (_, Some(ownership)) => Ok(ownership),
        (Err(error), None) => Err(error),
        (Ok(()), None) => Err(Failure::Installation(format!(
            "the mark `{INSTALLATION_MARK}` was written to bucket `{}` but cannot be read",
            store.bucket()
        ))
        .into()),
    }
}

/// Finds out whose bucket it is, and writes nothing; `None` if it has no mark and no objects.
pub async fn read_ownership(store: &Store, id: Uuid) -> anyhow::Result<Option<Ownership>> {
    match read(store).await? {
        Mark::Of(found) if found == id => Ok(Some(Ownership::Ours)),
        Mark::Of(found) => Ok(Some(Ownership::Foreign(Some(found)))),
        Mark::Unreadable => Ok(Some(Ownership::Foreign(None))),
        Mark::None => Ok(store.holds_objects().await?.then_some(Ownership::Missing)),
    }
}

/// Takes the bucket over, whatever its mark is: the operator has decided.
pub async fn adopt(store: &Store, id: Uuid) -> anyhow::Result<()> {
    write(store, id, None).await
}

/// Fails unless the store answers quickly and still has the mark. A retry calls this before it claims its request.
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
        .with_context(|| format!("failed to inspect `{INSTALLATION_MARK}`"))?;
    Ok(())
}

enum Mark {
    Of(Uuid),
    Unreadable,
    None,
}

async fn read(store: &Store) -> anyhow::Result<Mark> {
    let call = store.client().get_object().bucket(store.bucket()).key(INSTALLATION_MARK);
    let answer = call.customize().config_override(without_checksum()).send().await;
    let output = match answer {
        Ok(output) => output,
        Err(error) => match StoreError::new("GetObject", &error) {
            // Any other 404, such as a missing bucket, says nothing about the mark.
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

/// The mark needs no checksum: it is read back and compared with the id. With a checksum, a store that refuses
/// checksums could not be distinguished from a broken one.
fn without_checksum() -> Builder {
    Config::builder()
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

async fn write(store: &Store, id: Uuid, if_none_match: Option<&str>) -> anyhow::Result<()> {
    let call = store
        .client()
        .put_object()
        .bucket(store.bucket())
        .key(INSTALLATION_MARK)
        .content_type("text/plain")
        .set_if_none_match(if_none_match.map(str::to_owned))
        .body(ByteStream::from(Bytes::from(id.to_string())));
    // The mark is no secret, but a bucket may refuse what is not encrypted.
    let call = match store.encryption() {
        Some(encryption) => encryption.of_put(call),
        None => call,
    };
    call.customize()
        .config_override(without_checksum())
        .send()
        .await
        .map_err(|error| StoreError::new("PutObject", &error))
        .with_context(|| format!("failed to write `{INSTALLATION_MARK}`"))?;
    Ok(())
}

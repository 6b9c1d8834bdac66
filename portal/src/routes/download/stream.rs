//! Sends an archive through the portal: the whole of it, or one range, only as fast as it is taken.

use std::{io, ops::RangeInclusive, sync::Arc, time::Duration};

use async_stream::try_stream;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use export_activities::store::Content;
use futures::Stream;
use http_range_header::{EndPosition, StartPosition, SyntacticallyCorrectRange};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{Found, described};
use crate::{
    Portal,
    problem::{Code, Problem},
    records::{self, Access, Actor},
    rights::Role,
};

/// The longest time without a byte that was taken, or that came from the store.
const STALL: Duration = Duration::from_secs(60);
/// Seconds until a caller tries again when too many downloads run.
const LATER: u64 = 30;

/// Who downloads, for the log of accesses.
#[derive(Clone, Debug)]
pub(super) struct Downloader {
    pub(super) role: Role,
    pub(super) name: Option<String>,
    pub(super) why: Option<String>,
}

impl Downloader {
    pub(super) fn of(actor: Actor<'_>) -> Self {
        Self { role: actor.role, name: actor.name.map(str::to_owned), why: actor.why.map(str::to_owned) }
    }

    pub(super) fn actor(&self) -> Actor<'_> {
        Actor { role: self.role, name: self.name.as_deref(), why: self.why.as_deref() }
    }
}

/// What a caller gets.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Range(RangeInclusive<u64>),
    Nothing,
}

/// Returns which part the headers ask for (RFC 9110, section 14). What cannot be read asks for the whole, and so do
/// several ranges, and a range of another version.
fn part(headers: &HeaderMap, etag: &str, bytes: u64) -> Part {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(range) = text(header::RANGE) else { return Part::Whole };
    // A weak tag or a time proves nothing about the bytes.
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(etag) {
        return Part::Whole;
    }
    let Ok(parsed) = http_range_header::parse_range_header(range) else { return Part::Whole };
    // A range whose end is before its begin is none.
    if let [SyntacticallyCorrectRange { start: StartPosition::Index(first), end: EndPosition::Index(last) }] =
        &parsed.ranges[..]
        && first > last
    {
        return Part::Whole;
    }
    match parsed.validate(bytes) {
        Ok(ranges) => match &ranges[..] {
            [one] => Part::Range(one.clone()),
            _ => Part::Whole,
        },
        Err(_) if parsed.ranges.len() > 1 => Part::Whole,
        Err(_) => Part::Nothing,
    }
}

/// Answers with the archive, or with the range of it that the caller asks for. `begins` is logged when the whole of it
/// begins, `delivered` when the last byte of the whole goes out; a range counts as nothing.
pub(super) async fn send(
    portal: &Arc<Portal>,
    found: Found,
    headers: &HeaderMap,
    downloader: Downloader,
    begins: Option<Access>,
) -> Result<Response, Problem> {
    let (etag, total) = (format!("\"{}\"", found.sha256), u64::try_from(found.bytes).unwrap_or_default());
    let part = part(headers, &etag, total);
    let (status, range) = match &part {
        Part::Whole => (StatusCode::OK, 0..=total.saturating_sub(1)),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, range.clone()),
        Part::Nothing => {
            let problem = Problem::new(
                Code::RangeNotSatisfiable,
                format!("It has {total} bytes: ask for some of these."),
            );
            return Ok(with(problem.into_response(), header::CONTENT_RANGE, &format!("bytes */{total}")));
        }
    };
    let Ok(permit) = Arc::clone(&portal.streaming).try_acquire_owned() else {
        let detail =
            "Too many people download at the moment. Try again shortly; a download that was cut goes on.";
        return Err(Problem::new(Code::TooManyDownloads, detail).retry_after(LATER));
    };
    let content =
        found.store.read_part(&found.key, range.clone()).await.map_err(|error| Problem::store(&error))?;
    let Some(content) = content else { return Err(super::lost(found.record.id)) };
    let is_whole = part == Part::Whole;
    if let Some(begins) = begins.filter(|_| is_whole) {
        records::log(
            &portal.settings.database,
            found.record.id,
            begins,
            downloader.actor(),
            Some(found.bytes),
        )
        .await?;
    }
    let delivery = is_whole.then(|| Delivery {
        portal: Arc::clone(portal),
        id: found.record.id,
        bytes: found.bytes,
        downloader,
    });
    let mut answer =
        (status, described(&found), Body::from_stream(body(content, delivery, permit))).into_response();
    let length = range.end() - range.start() + 1;
    answer.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {}-{}/{total}", range.start(), range.end());
        answer = with(answer, header::CONTENT_RANGE, &range);
    }
    Ok(answer)
}

fn with(mut answer: Response, name: header::HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::try_from(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// What is logged when the last byte goes out.
struct Delivery {
    portal: Arc<Portal>,
    id: Uuid,
    bytes: i64,
    downloader: Downloader,
}

impl Delivery {
    async fn log(self) {
        let Self { portal, id, bytes, downloader } = self;
        let logged =
            records::log(&portal.settings.database, id, Access::Delivered, downloader.actor(), Some(bytes))
                .await;
        if logged.is_err() {
            tracing::error!(request.id = %id, "Request {id} was downloaded, and the log of accesses does not say so");
        }
    }
}

/// Reads from the store one chunk ahead of the caller. An error cuts the connection, so that a part never looks whole.
fn body(
    mut content: Content,
    delivery: Option<Delivery>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (chunks, mut taken) = mpsc::channel::<Bytes>(1);
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    // Beside the answer, because nobody polls the body of a caller that takes nothing.
    let mut reading = AbortOnDropHandle::new(tokio::spawn(async move {
        let _permit = permit;
        let mut left = content.bytes;
        while left > 0 {
            let chunk = match timeout(STALL, content.next()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) | Err(_) => return Err(cut()),
                Ok(Err(error)) => {
                    tracing::warn!(error.chain = %export_activities::failure::judge(&error), "A download was cut: the store failed");
                    return Err(cut());
                }
            };
            left = left.saturating_sub(chunk.len() as u64);
            // The caller has gone, or takes nothing.
            if !matches!(timeout(STALL, chunks.send(chunk)).await, Ok(Ok(()))) {
                return Err(cut());
            }
        }
        Ok(delivery)
    }));
    try_stream! {
        let mut next = taken.recv().await;
        while let Some(chunk) = next {
            next = taken.recv().await;
            // Logged before the last chunk: nothing is polled after it.
            if next.is_none() {
                let delivery = (&mut reading).await.map_err(|_| cut())??;
                if let Some(delivery) = delivery {
                    delivery.log().await;
                }
            }
            yield chunk;
        }
    }
}

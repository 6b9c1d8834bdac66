//! `GET /v1/exports/{id}/events`: each change of an export, as server-sent events.
//!
//! Each event has the whole state, so a caller that comes back is right again with the first one.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use chrono::Utc;
use futures::stream::{self, Stream, StreamExt as _};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Id, empty, seen};
use crate::{
    Portal,
    caller::{Caller, sessions},
    export::Export,
    live::Watcher,
    problem::{Code, Document, Problem},
    records::Record,
};

/// Between two signs of life: proxies close a connection that is silent for a minute.
const BEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts, and by how much streams differ: they must not all come back at once.
const LIFE: Duration = Duration::from_secs(15 * 60);
const SPREAD: u64 = 3 * 60;
/// The longest pause before a caller comes back.
const LATEST: u64 = 10;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx, and those that follow it, to pass each event on at once.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An event as it arrives.
#[derive(ToSchema)]
#[schema(as = Event)]
#[expect(dead_code, reason = "only its description is used")]
struct EventWord {
    /// `export`
    #[schema(required = false)]
    event: String,
    /// An `Export` as JSON.
    #[schema(required = false)]
    data: String,
    /// What to send as `Last-Event-ID`.
    #[schema(required = false)]
    id: String,
}

/// Streams the state of an export: first as it is now, then each change.
///
/// An event has an `id` when something changed that lasts; progress has none. A stream ends after about 15 minutes, with
/// the session or the token, or when the replica stops; the caller then comes back.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/events",
    tag = "exports",
    params(
        ("id" = uuid::Uuid, Path, description = "The export"),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that arrived."),
    ),
    responses(
        (status = 200, description = "Events `export`, each with an `Export` as its data", body = EventWord, content_type = "text/event-stream"),
        (status = 204, description = "Nothing will change any more, and the caller knows the last state"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it belongs to another person", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, `too_many_streams`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Watched before it is read, so that no change between the two is missed.
    let watcher = watch(&portal, &caller, id)?;
    let record = seen(&portal, &caller, id).await?;
    let first = show(&portal, &caller, record);
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    if first.has_ended() && last == Some(tag(&first).as_str()) {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let events = stream_of(Watched { portal, caller, watcher, seen: None }, first);
    let keep_alive = KeepAlive::new().interval(BEAT).text("beat");
    let mut answer = Sse::new(events).keep_alive(keep_alive).into_response();
    answer.headers_mut().insert(NO_BUFFERING, HeaderValue::from_static("no"));
    Ok(answer)
}

/// Watches an export, unless there are too many watchers on this replica or too many of this caller.
pub(super) fn watch(portal: &Portal, caller: &Caller, id: Uuid) -> Result<Watcher, Problem> {
    portal.live.watch(id, caller.bucket()).ok_or_else(|| {
        let detail = "This caller or this replica has as many streams as it may have. Ask now and then instead: `poll_after` says when.";
        Problem::new(Code::TooManyStreams, detail).retry_after(LATEST)
    })
}

struct Watched {
    portal: Arc<Portal>,
    caller: Caller,
    watcher: Watcher,
    /// The tag of the last state that was sent.
    seen: Option<String>,
}

fn show(portal: &Portal, caller: &Caller, record: Record) -> Export {
    Export::of(record, caller, portal.settings.admin_downloads, Utc::now())
}

/// The tag of what lasts, without quotes: the id of an event.
fn tag(export: &Export) -> String {
    export.state_tag().trim_matches('"').to_owned()
}

fn stream_of(watched: Watched, first: Export) -> impl Stream<Item = Result<Event, Infallible>> {
    let ends = Instant::now() + life(&watched.caller);
    stream::unfold(Some((watched, Some(first))), move |state| async move {
        let (mut watched, first) = state?;
        if let Some(export) = first {
            return Some((event(&mut watched, &export), after(watched, &export)));
        }
        tokio::select! {
            biased;
            changed = watched.watcher.next() => match changed {
                Some(record) => {
                    if !is_alive(&watched).await {
                        return Some((farewell(), None));
                    }
                    let export = show(&watched.portal, &watched.caller, (*record).clone());
                    Some((event(&mut watched, &export), after(watched, &export)))
                }
                None => Some((farewell(), None)),
            },
            () = tokio::time::sleep_until(ends) => Some((farewell(), None)),
        }
    })
    .map(Ok)
}

/// A session that was ended sees nothing more.
async fn is_alive(watched: &Watched) -> bool {
    match &watched.caller.session {
        None => true,
        Some(session) => {
            sessions::is_alive(&watched.portal.settings.database, session).await.unwrap_or(false)
        }
    }
}

/// The state for the next event; none after the last change.
fn after(watched: Watched, export: &Export) -> Option<(Watched, Option<Export>)> {
    (!export.has_ended()).then_some((watched, None))
}

fn event(watched: &mut Watched, export: &Export) -> Event {
    let tag = tag(export);
    let event = Event::default().event("export");
    let event = if watched.seen.as_ref() == Some(&tag) { event } else { event.id(&tag) };
    watched.seen = Some(tag);
    match event.json_data(export) {
        Ok(event) => event,
        Err(_) => Event::default().comment("not written"),
    }
}

/// Tells the caller when to come back: not all at once.
fn farewell() -> Event {
    Event::default().retry(Duration::from_millis(1000 + random(LATEST * 1000 - 1000))).comment("come back")
}

/// A stream ends with the session or the token.
fn life(caller: &Caller) -> Duration {
    let life = LIFE - Duration::from_secs(SPREAD) + Duration::from_secs(random(2 * SPREAD));
    let rest = caller.expires_at.map(|ends| ends - Utc::now());
    rest.map_or(life, |rest| rest.to_std().unwrap_or_default().min(life))
}

fn random(below: u64) -> u64 {
    // A random id has a random lower half.
    uuid::Uuid::new_v4().as_u64_pair().1 % below.max(1)
}

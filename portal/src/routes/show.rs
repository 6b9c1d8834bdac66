//! `GET /v1/exports/{id}`: one export.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::Utc;

use super::{Id, events::watch, names, seen};
use crate::{
    Portal,
    caller::Caller,
    export::Export,
    problem::{Document, Problem},
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Under the time limit of a call, and under the minute after which proxies give up.
const LONGEST: u64 = 30;

/// Shows an export. With `If-None-Match`, answers 304 while nothing has changed, and with `Prefer: wait=30` waits up to
/// that many seconds for a change first.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}",
    tag = "exports",
    params(
        ("id" = uuid::Uuid, Path, description = "The export"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer."),
        ("Prefer" = Option<String>, Header, description = "`wait=N`, 1 to 30 seconds, together with `If-None-Match`."),
    ),
    responses(
        (status = 200, description = "The export", body = Export, headers(("ETag" = String))),
        (status = 304, description = "It has not changed"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it belongs to another person", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, `too_many_streams`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut record = seen(&portal, &caller, id).await?;
    let show = |record| Export::of(record, &caller, portal.settings.admin_downloads, Utc::now());
    let knows = |export: &Export| names(&headers, header::IF_NONE_MATCH, &export.etag());
    let wait = wait(&headers);
    if let Some(wait) = wait
        && knows(&show(record.clone()))
    {
        let mut watcher = watch(&portal, &caller, id)?;
        let changed = async {
            // Again: it may have changed before it was watched.
            record = seen(&portal, &caller, id).await?;
            while knows(&show(record.clone())) {
                let Some(next) = watcher.next().await else { break };
                record = (*next).clone();
            }
            Ok::<_, Problem>(())
        };
        tokio::time::timeout(wait, changed).await.unwrap_or(Ok(()))?;
    }
    let export = show(record);
    let etag = export.etag();
    let mut answer = if names(&headers, header::IF_NONE_MATCH, &etag) {
        (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response()
    } else {
        ([(header::ETAG, etag)], axum::Json(export)).into_response()
    };
    if let Some(applied) = wait.and_then(|wait| format!("wait={}", wait.as_secs()).try_into().ok()) {
        answer.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(answer)
}

/// Returns how long the caller is willing to wait.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
    let mut preferences = preferences.flat_map(|value| value.split(',')).map(str::trim);
    let seconds: u64 = preferences.find_map(|preference| preference.strip_prefix("wait=")?.parse().ok())?;
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

//! `GET /v1/exports/{id}`: one export.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::Utc;

use super::{names, seen};
use crate::{
    Portal,
    caller::Caller,
    export::Export,
    problem::{Document, Problem},
};

/// Shows an export. With `If-None-Match`, answers 304 while nothing has changed.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}",
    tag = "exports",
    params(
        ("id" = uuid::Uuid, Path, description = "The export"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer."),
    ),
    responses(
        (status = 200, description = "The export", body = Export, headers(("ETag" = String))),
        (status = 304, description = "It has not changed"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it is somebody else's", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = seen(&portal, &caller, &id).await?;
    let export = Export::of(record, &caller, portal.settings.admin_downloads, Utc::now());
    let etag = export.etag();
    if names(&headers, header::IF_NONE_MATCH, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    Ok(([(header::ETAG, etag)], axum::Json(export)).into_response())
}

//! `POST /v1/exports/{id}/withdraw`: takes an export back. A pending one is never made; the archive of a ready one is deleted.
//!
//! It is not `DELETE`, because the export stays to be read, as one that was withdrawn.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use chrono::Utc;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Id, actor, allowed, empty, names, seen};
use crate::{
    Portal,
    body::Json,
    caller::Caller,
    export::Export,
    problem::{Code, Document, Problem},
    records,
    rights::Act,
};

/// Why an export is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Why, when it is another person's.
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    why: Option<String>,
}

/// Takes an export back. Also answers 204 when it has ended already.
#[utoipa::path(
    post,
    path = "/v1/exports/{id}/withdraw",
    tag = "exports",
    params(
        ("id" = uuid::Uuid, Path, description = "The export"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer: refuses when it has changed since."),
    ),
    request_body(content = Option<Reason>, description = "Only needed for another person's export"),
    responses(
        (status = 204, description = "It is taken back, or has ended"),
        (status = 400, description = "`malformed`", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`impersonated`, `not_allowed`, `cross_origin`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it belongs to another person", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "`request_timeout`", body = Document, content_type = "application/problem+json"),
        (status = 412, description = "`precondition_failed`", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn withdraw(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
    headers: HeaderMap,
    Json(reason): Json<Reason>,
) -> Result<Response, Problem> {
    let record = seen(&portal, &caller, id).await?;
    let allowed = allowed(&portal, &caller, Act::Withdraw, &record)?;
    let actor = actor(&caller, allowed, reason.why.as_deref(), "/why")?;
    let id = record.id;
    if headers.contains_key(header::IF_MATCH) {
        let export = Export::of(record, &caller, portal.settings.admin_downloads, Utc::now());
        if !names(&headers, header::IF_MATCH, &export.etag()) {
            return Err(Problem::new(
                Code::PreconditionFailed,
                "The export has changed. Read it again, then decide.",
            ));
        }
    }
    records::withdraw(&portal.settings.database, id, actor).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

//! `GET /v1/register.csv`: until when the law wants an answer to each request, and when that came.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use chrono::NaiveDate;
use export_activities::requests::register::{self, Period};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::refused;
use crate::{
    Portal,
    body::Query,
    caller::{Caller, Subject},
    problem::{Document, Problem},
    rights::Refused,
};

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    /// Made on this day or later, such as `2026-11-01`, in UTC.
    from: Option<NaiveDate>,
    /// Made on this day or earlier.
    to: Option<NaiveDate>,
}

/// Shows every request with the days that are left of the month that the law allows. For operators and service keys.
///
/// A request is `open` until its archive is ready or, after a failure of the processor, until the archive of a later
/// request of the same person is. `closed`: it was taken back, or the account is gone. `days_left` is negative after the month.
#[utoipa::path(
    get,
    path = "/v1/register.csv",
    tag = "register",
    params(Days),
    responses(
        (status = 200, description = "The register, the oldest request first", body = String, content_type = "text/csv"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`impersonated`, `not_allowed`", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn register(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Query(Days { from, to }): Query<Days>,
) -> Result<Response, Problem> {
    if caller.acting.is_some() {
        return Err(refused(Refused::Impersonated));
    }
    if !caller.roles.operator && !matches!(caller.subject, Subject::Service(_)) {
        return Err(refused(Refused::NotAllowed));
    }
    let mut chunks = Box::pin(register::csv(portal.settings.database.clone(), Period { from, to }));
    // What cannot be read at all is a problem document; what fails later cuts the connection.
    let first = chunks.try_next().await?;
    let chunks = stream::iter(first.map(Ok)).chain(chunks);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"data-export-register.csv\""),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

//! `GET /v1/exports/{id}/receipt`: the signed statement of what was delivered.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};

use super::{Id, seen};
use crate::{
    Portal,
    caller::Caller,
    problem::{Code, Document, Problem},
    records,
};

/// Shows the receipt of an archive: a JWS, signed with Ed25519 when the export became ready.
///
/// It stays after the archive has expired. `export-worker verify --receipt` verifies it, offline. For everyone who may see
/// the export.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/receipt",
    tag = "exports",
    params(("id" = uuid::Uuid, Path, description = "The export")),
    responses(
        (status = 200, description = "The receipt", body = String, content_type = "application/jose"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it belongs to another person; `no_receipt`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn receipt(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
) -> Result<Response, Problem> {
    seen(&portal, &caller, id).await?;
    let receipt = records::receipt(&portal.settings.database, id).await?.ok_or_else(|| {
        Problem::new(
            Code::NoReceipt,
            "There is none: nothing was delivered, or this installation signs no receipts.",
        )
    })?;
    let headers = [
        (header::CONTENT_TYPE, "application/jose".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"data-export-receipt-{id}.jws\"")),
    ];
    Ok((headers, receipt).into_response())
}

//! `GET` and `HEAD /v1/exports/{id}/download`: leads the person to the archive.
//!
//! The link to the store is made for one click, after the rights, the state and the object were checked. A mail or a page
//! leads here, so a link that is scanned or forwarded opens nothing.

mod stream;
mod ticket;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use export_activities::{
    fulfil::presign::presign_for_click,
    requests::state::Status,
    store::{Store, object_key::ObjectKey},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use self::{stream::Downloader, ticket::Ticket};
use super::{Id, accepts, actor, allowed, empty, refused, seen};
use crate::{
    Downloads, Portal,
    body::Query,
    caller::{Caller, slow_down},
    export::filename,
    problem::{Code, Document, Problem},
    records::{self, Access, Actor, Record},
    rights::{Act, Allowed, Refused},
};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const PURPOSE: [&str; 3] = ["purpose", "sec-purpose", "x-moz"];

/// The shortest and the longest life of a link, and the slowest line for which it is made, in bytes a second.
const SHORTEST: u64 = 600;
const LONGEST: u64 = 6 * 3600;
const SLOWEST: u64 = 1_000_000;

/// Why, when it is another person's.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Reason {
    /// Why, when it is another person's.
    #[param(max_length = 500, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    why: Option<String>,
}

/// The link of one click.
#[derive(Serialize, ToSchema)]
pub(super) struct Link<'a> {
    /// To the archive in the store.
    url: &'a str,
}

/// An archive that the caller may download, and that is there.
struct Found {
    record: Record,
    store: Store,
    key: ObjectKey,
    bytes: i64,
    sha256: String,
    expires_at: DateTime<Utc>,
}

/// Leads to the archive in the store, or streams it where the store cannot be reached.
///
/// An archive that is streamed can be resumed: `Range` with one range, `If-Range` with its ETag. There the link in JSON leads
/// to the portal.
///
/// The link works for ten minutes and longer for a large archive, and never beyond `expires_at`. Each call makes a new
/// one, so a download that was cut goes on. A script that cannot follow it asks with `Accept: application/json` and gets the
/// link as JSON.
#[utoipa::path(
    get,
    path = "/v1/exports/{id}/download",
    tag = "exports",
    params(("id" = uuid::Uuid, Path, description = "The export"), Reason),
    responses(
        (status = 200, description = "The link, for `Accept: application/json`", body = Link),
        (status = 206, description = "A range of the archive, where it is streamed", content_type = "application/zip"),
        (status = 302, description = "To the archive in the store", headers(("Location" = String))),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`impersonated`, `not_allowed`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it belongs to another person", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "`not_ready`", body = Document, content_type = "application/problem+json"),
        (status = 410, description = "`expired`, `withdrawn`, `failed`", body = Document, content_type = "application/problem+json"),
        (status = 416, description = "`range_not_satisfiable`, where it is streamed", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, `store_unavailable`, `too_many_downloads`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn download(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
    headers: HeaderMap,
    Query(reason): Query<Reason>,
) -> Result<Response, Problem> {
    // A browser that loads a page ahead has not clicked.
    let ahead = |name: &str| headers.get(name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch"));
    if PURPOSE.into_iter().any(ahead) {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let (found, actor) = find(&portal, &caller, id, reason.why.as_deref(), Try::Click).await?;
    let life = life(found.bytes, found.expires_at - Utc::now());
    let as_json = accepts(&headers, "application/json");
    if portal.settings.downloads == Downloads::Stream && !as_json {
        return stream::send(&portal, found, &headers, Downloader::of(actor), Some(Access::Linked)).await;
    }
    let link = match portal.settings.downloads {
        Downloads::Redirect => {
            let link = presign_for_click(&found.store, &found.key, &filename(id), life).await;
            link.map_err(|error| Problem::store(&error))?.reveal().to_owned()
        }
        Downloads::Stream => link(&portal, id, life, actor).await?,
    };
    records::log(&portal.settings.database, id, Access::Linked, actor, Some(found.bytes)).await?;
    if as_json {
        return Ok(([(header::VARY, "accept")], axum::Json(Link { url: &link })).into_response());
    }
    Ok((StatusCode::FOUND, [(header::LOCATION, link)]).into_response())
}

/// Makes a link to the archive at the portal itself.
async fn link(portal: &Portal, id: Uuid, life: Duration, actor: Actor<'_>) -> Result<String, Problem> {
    let Downloader { role, name, why } = Downloader::of(actor);
    let ticket = Ticket { id, until: Utc::now() + life, role, name, why };
    let signed = ticket.sign(portal.cursor_key().await?).context("a link cannot be signed")?;
    Ok(format!("{}d/{signed}", portal.settings.url))
}

/// `GET` and `HEAD /d/{ticket}`: the archive of a link that [`download`] gave. The link is the right to it.
pub(super) async fn by_link(
    State(portal): State<Arc<Portal>>,
    Id(ticket): Id<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ticket = match portal.settings.downloads {
        Downloads::Stream => Ticket::read(&ticket, portal.cursor_key().await?, Utc::now()),
        Downloads::Redirect => None,
    };
    let ticket = ticket.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            "The link has ended, or was never one. Open the page and download from there.",
        )
    })?;
    portal.floodgate.take(&format!("link {}", ticket.id), Instant::now()).map_err(slow_down)?;
    let record = records::read(&portal.settings.database, ticket.id).await?.ok_or_else(Problem::not_found)?;
    let found = archive_of(&portal, record).await?;
    if method == Method::HEAD {
        return Ok(
            (StatusCode::OK, described(&found), [(header::CONTENT_LENGTH, found.bytes)]).into_response()
        );
    }
    let Ticket { role, name, why, .. } = ticket;
    stream::send(&portal, found, &headers, Downloader { role, name, why }, None).await
}

/// Says what `GET` would lead to. Counts as nothing, and makes no link.
#[utoipa::path(
    head,
    path = "/v1/exports/{id}/download",
    tag = "exports",
    params(("id" = uuid::Uuid, Path, description = "The export"), Reason),
    responses(
        (status = 200, description = "It is there", headers(("ETag" = String), ("Repr-Digest" = String), ("Content-Disposition" = String))),
        (status = 401, description = "`unauthenticated`"),
        (status = 403, description = "`impersonated`, `not_allowed`"),
        (status = 404, description = "`not_found`, also when it belongs to another person"),
        (status = 409, description = "`not_ready`"),
        (status = 410, description = "`expired`, `withdrawn`, `failed`"),
        (status = 422, description = "`invalid`"),
        (status = 429, description = "`slow_down`, with `Retry-After`"),
        (status = 500, description = "`internal`"),
        (status = 503, description = "`unavailable`, `store_unavailable`, with `Retry-After`"),
    )
)]
pub(super) async fn head(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
    Query(reason): Query<Reason>,
) -> Result<Response, Problem> {
    let (found, _) = find(&portal, &caller, id, reason.why.as_deref(), Try::Look).await?;
    Ok((StatusCode::OK, described(&found), [(header::CONTENT_LENGTH, found.bytes)]).into_response())
}

/// Describes an archive in headers.
fn described(found: &Found) -> HeaderMap {
    let digest = hex::decode(&found.sha256).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, format!("\"{}\"", found.sha256)),
        (REPR_DIGEST, format!("sha-256=:{}:", BASE64_STANDARD.encode(digest))),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}\"", filename(found.record.id))),
    ];
    let headers =
        headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
    headers.collect()
}

/// How a caller comes to an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    /// To get it.
    Click,
    /// To know of it; counts as nothing.
    Look,
}

/// Checks the rights, then the state, then the object.
async fn find<'c>(
    portal: &Portal,
    caller: &'c Caller,
    id: Uuid,
    why: Option<&'c str>,
    how: Try,
) -> Result<(Found, Actor<'c>), Problem> {
    let record = seen(portal, caller, id).await?;
    let actor = actor(caller, may(portal, caller, &record, how).await?, why, "?why")?;
    Ok((archive_of(portal, record).await?, actor))
}

/// Checks the state of an export, then the object.
async fn archive_of(portal: &Portal, record: Record) -> Result<Found, Problem> {
    let gone = match (record.status, record.reason.as_deref()) {
        (Status::Pending, _) => return Err(Problem::new(Code::NotReady, "The export is not ready yet.")),
        (Status::Ready, _) => None,
        (Status::Failed, Some("expired")) => Some((Code::Expired, "Its days are over. Ask for a new one.")),
        (Status::Failed, Some("withdrawn" | "revoked" | "account_deleted")) => {
            Some((Code::Withdrawn, "It was taken back, and its archive is deleted."))
        }
        (Status::Failed, _) => {
            Some((Code::Failed, "It could not be made, so there is no archive. Ask again."))
        }
    };
    if let Some((code, detail)) = gone {
        return Err(Problem::new(code, detail));
    }
    let (Some(key), Some(bytes), Some(sha256), Some(expires_at)) = (
        record.object_key.as_deref().and_then(ObjectKey::parse),
        record.archive_bytes,
        record.archive_sha256.clone(),
        record.expires_at,
    ) else {
        return Err(anyhow::anyhow!("a ready request names no archive").into());
    };
    let store = store_of(portal, &record).await?;
    let head = store.head(&key).await.map_err(|error| Problem::store(&error))?;
    if head.is_none_or(|head| i64::try_from(head.bytes) != Ok(bytes)) {
        return Err(lost(record.id));
    }
    Ok(Found { record, store, key, bytes, sha256, expires_at })
}

fn lost(id: Uuid) -> Problem {
    tracing::error!(reference = crate::layers::request_id(), request.id = %id, "The archive of request {id} is not in the store as it was delivered: a person clicked and got nothing");
    let detail =
        "The archive is not where it should be. Quote the reference to the support, or ask for a new export.";
    Problem::new(Code::StoreUnavailable, detail).retry_after(3600)
}

/// Returns in which role the caller may download it. A refusal of a click is logged: it was an attempt to download.
async fn may(portal: &Portal, caller: &Caller, record: &Record, how: Try) -> Result<Allowed, Problem> {
    match allowed(portal, caller, Act::Download, record) {
        Ok(allowed) => Ok(allowed),
        Err(problem) if how == Try::Look => Err(problem),
        Err(problem) => {
            let role = allowed_role(portal, caller, record)?;
            let name = (!caller.is(&record.user_id) || caller.acting.is_some())
                .then(|| caller.acting.as_deref().unwrap_or_else(|| caller.name()));
            let actor = Actor { role, name, why: None };
            records::log(&portal.settings.database, record.id, Access::Refused, actor, None).await?;
            Err(problem)
        }
    }
}

/// Returns the role in which the caller sees it.
fn allowed_role(portal: &Portal, caller: &Caller, record: &Record) -> Result<crate::rights::Role, Problem> {
    allowed(portal, caller, Act::See, record)
        .map(|allowed| allowed.role)
        .map_err(|_| refused(Refused::Unseen))
}

/// Returns the store of the archive: after the bucket was changed, older ones are where they were.
async fn store_of(portal: &Portal, record: &Record) -> Result<Store, Problem> {
    let store = &portal.settings.store;
    let location = match &record.object_location {
        Some(location) => Some(location.clone()),
        None => records::installation(&portal.settings.database).await?.location,
    };
    match location {
        Some(location) if location != store.location() => Ok(store.at(&location)?),
        _ => Ok(store.clone()),
    }
}

/// Returns how long a link works: long enough for the archive on a slow line, never beyond its end.
fn life(bytes: i64, rest: chrono::TimeDelta) -> Duration {
    let needed = SHORTEST + u64::try_from(bytes).unwrap_or_default() / SLOWEST;
    let rest = u64::try_from(rest.num_seconds()).unwrap_or_default().max(1);
    Duration::from_secs(needed.clamp(SHORTEST, LONGEST).min(rest))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_link_lives_long_enough_for_its_archive_and_never_beyond_its_end() {
        let seconds = |bytes, rest| life(bytes, TimeDelta::seconds(rest)).as_secs();
        assert_eq!(seconds(1_000, 86_400), 600);
        assert_eq!(seconds(3_000_000_000, 86_400), 3600);
        assert_eq!(seconds(1_000_000_000_000, 86_400), 6 * 3600);
        assert_eq!(seconds(1_000, 60), 60);
        assert_eq!(seconds(1_000, -1), 1);
    }
}

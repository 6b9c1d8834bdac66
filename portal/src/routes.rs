//! The routes of the API, one file each. A route without a description cannot be mounted.

mod absent;
mod ask;
mod download;
mod events;
mod list;
mod page;
mod policy;
mod receipt;
mod register;
mod sessions;
mod show;
mod withdraw;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Path},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::IntoResponse,
    routing::get,
};
use serde::de::DeserializeOwned;
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        OpenApi,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use self::absent::Absent;
use crate::{
    Portal,
    caller::{Caller, sessions::COOKIE},
    problem::{Code, Document, Problem},
    records::{self, Actor, Record},
    rights::{self, Act, Allowed, Refused, Role, Target},
};

/// Exports of people's data: ask, watch, download, take back.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Data exports", version = "1", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(Document)),
    modifiers(&Security),
    security(("key" = []), ("session" = []), ("access_token" = []), ("cookie" = []))
)]
struct Api;

struct Security;

impl Modify for Security {
    fn modify(&self, api: &mut OpenApi) {
        let Some(components) = &mut api.components else { return };
        let bearer = |about: &str| {
            SecurityScheme::Http(
                Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(about)).build(),
            )
        };
        components
            .add_security_scheme("key", bearer("A service key, `exk_...`, of a backend of the platform."));
        components.add_security_scheme("session", bearer("The token of a session."));
        let access_token = Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(
            Some("An access token of the platform's identity provider (RFC 9068), if the portal takes them."),
        );
        components.add_security_scheme("access_token", SecurityScheme::Http(access_token.build()));
        let cookie = ApiKeyValue::with_description(COOKIE, "The session of our own page.");
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

fn described() -> OpenApiRouter<Arc<Portal>> {
    let mut router = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(ask::ask, list::list))
        .routes(routes!(show::show))
        .routes(routes!(withdraw::withdraw))
        .routes(routes!(ask::retry))
        .routes(routes!(events::events))
        .routes(routes!(download::download, download::head))
        .routes(routes!(receipt::receipt))
        .routes(routes!(sessions::make, sessions::end_all))
        .routes(routes!(sessions::end))
        .routes(routes!(policy::policy))
        .routes(routes!(register::register));
    Absent.modify(router.get_openapi_mut());
    router
}

/// Returns the description of the API.
pub(crate) fn openapi() -> OpenApi {
    described().into_openapi()
}

/// Returns all routes.
pub(crate) fn router() -> Router<Arc<Portal>> {
    let (router, api) = described().split_for_parts();
    // As bytes that all share: each connection has a copy of every handler, and the description is large.
    let api = Bytes::from(api.to_json().unwrap_or_default());
    let element = page::Element::new();
    router
        .route("/", get(page::page))
        .route("/data-export.js", get(async |headers: HeaderMap| element.show(&headers)))
        .route("/v1/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], api)))
        // Without HEAD: a scanner of links must not use up the code.
        .route("/s/{code}", get(sessions::sign_in).head(only_get))
        .route("/d/{ticket}", get(download::by_link))
        .route("/livez", get(async || "The portal serves\n"))
        .route("/readyz", get(policy::readyz))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "This path has other methods: see /v1/openapi.json.")
        })
}

async fn only_get() -> Problem {
    Problem::new(Code::MethodNotAllowed, "This address works once, and only with GET.")
}

/// The id in a path. What cannot be read does not exist.
struct Id<T = Uuid>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|_| Problem::not_found())
    }
}

/// Reads an export that the caller may see. What does not exist and what they may not see give the same answer.
async fn seen(portal: &Portal, caller: &Caller, id: Uuid) -> Result<Record, Problem> {
    let record = records::read(&portal.settings.database, id).await?.ok_or_else(Problem::not_found)?;
    allowed(portal, caller, Act::See, &record)?;
    Ok(record)
}

/// Returns in which role the caller may do this with an export.
fn allowed(portal: &Portal, caller: &Caller, act: Act, record: &Record) -> Result<Allowed, Problem> {
    let target = Target { user: &record.user_id, org: record.org_id.as_deref() };
    rights::may(caller, act, target, portal.settings.admin_downloads).map_err(refused)
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Unseen => Problem::not_found(),
        Refused::Impersonated => Problem::new(
            Code::Impersonated,
            "You act as another person. You may look, and nothing else: only the person decides about their data.",
        ),
        Refused::NotAllowed => Problem::new(Code::NotAllowed, "Your roles do not allow this."),
    }
}

/// Names the caller for the log, and checks that they say why where they must.
fn actor<'a>(
    caller: &'a Caller,
    allowed: Allowed,
    why: Option<&'a str>,
    pointer: &str,
) -> Result<Actor<'a>, Problem> {
    let why = why.map(str::trim).filter(|why| !why.is_empty());
    if allowed.needs_why && why.is_none() {
        return Err(Problem::invalid(
            pointer,
            "Say why: it is about another person's data, and the reason is logged.",
        ));
    }
    if why.is_some_and(|why| why.chars().count() > 500 || why.contains(char::is_control)) {
        return Err(Problem::invalid(pointer, "At most 500 characters in one line."));
    }
    let name = (allowed.role != Role::Owner).then(|| caller.name());
    Ok(Actor { role: allowed.role, name, why })
}

/// Returns whether a header with entity tags names this one.
fn names(headers: &HeaderMap, name: axum::http::HeaderName, etag: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Returns whether the caller names this media type as one that it reads; `*/*` names none.
fn accepts(headers: &HeaderMap, media: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut medias = values.flat_map(|value| value.split(',')).filter_map(|value| value.split(';').next());
    medias.any(|one| one.trim().eq_ignore_ascii_case(media))
}

/// An answer without a body.
fn empty(status: StatusCode) -> axum::response::Response {
    status.into_response()
}

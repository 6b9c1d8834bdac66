//! `POST /v1/sessions`, `DELETE /v1/sessions/current` and `/s/{code}`: how a person is signed in by the platform.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use export_activities::user_id::UserId;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::{Id, accepts, empty};
use crate::{
    Portal,
    body::{Json, Query},
    caller::{
        Caller, MOST_MEMBERS, Subject, digest, is_id, let_in_unknown,
        sessions::{self, Kind, Wanted},
    },
    export::UserIdWord,
    problem::{Code, Document, Problem},
};

/// Where a browser is led that the platform does not lead elsewhere.
const OUR_PAGE: &str = "/";

/// Who signs in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The person.
    #[schema(value_type = UserIdWord)]
    user_id: UserId,
    /// The organisation in whose name they act. It is fixed on every export that they ask for.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    org_id: Option<String>,
    /// Their roles in it; `operator` is staff of the platform.
    #[serde(default)]
    roles: Vec<RoleName>,
    /// The members of the organisation for whom they may ask as its admin; at most 50.
    #[serde(default)]
    #[schema(value_type = Vec<UserIdWord>, max_items = 50)]
    members: Vec<UserId>,
    /// The member of your staff who acts as the person, if one does. They may look, and nothing else.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    acting: Option<String>,
    /// Where the browser is led after the sign-in; without it, to our own page.
    #[schema(max_length = 2000, pattern = "^https?://[a-z0-9.-]+(:[0-9]{1,4})?(/[A-Za-z0-9/_-]*)?$")]
    return_url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RoleName {
    Manager,
    Admin,
    Operator,
}

impl RoleName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

/// Two ways in: a page, and a token.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedIn {
    /// Leads the person's browser to our page. Works once, within a minute.
    url: String,
    /// For the element in a page of the platform, and for calls in the person's name.
    token: String,
    /// When the token ends.
    expires_at: DateTime<Utc>,
}

/// Signs a person in, for a backend of the platform.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    tag = "sessions",
    security(("key" = [])),
    request_body = SignIn,
    responses(
        (status = 201, description = "Signed in", body = SignedIn),
        (status = 400, description = "`malformed`", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`not_allowed`: a person may not sign people in", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "`request_timeout`", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn make(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Json(wanted): Json<SignIn>,
) -> Result<Response, Problem> {
    let Subject::Service(key) = &caller.subject else {
        return Err(Problem::new(
            Code::NotAllowed,
            "Only a backend of the platform, with a service key, signs people in.",
        ));
    };
    let wanted = checked(wanted)?;
    let database = &portal.settings.database;
    let code = sessions::make(database, &wanted, Kind::Code, key).await?;
    let token = sessions::make(database, &wanted, Kind::Token, key).await?;
    let url = portal.settings.url.join(&format!("s/{}", code.token)).map_err(anyhow::Error::from)?;
    let signed_in = SignedIn { url: url.into(), token: token.token, expires_at: token.expires_at };
    Ok((StatusCode::CREATED, axum::Json(signed_in)).into_response())
}

/// Whose sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    #[param(value_type = UserIdWord)]
    user_id: UserId,
}

/// Ends all sessions of a person, for a backend of the platform: after a change of their roles, or when they sign out.
#[utoipa::path(
    delete,
    path = "/v1/sessions",
    tag = "sessions",
    security(("key" = [])),
    params(Whose),
    responses(
        (status = 204, description = "They have ended"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`not_allowed`: only with a service key", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn end_all(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let Subject::Service(_) = &caller.subject else {
        return Err(Problem::new(
            Code::NotAllowed,
            "Only a backend of the platform, with a service key, ends them.",
        ));
    };
    sessions::end_all(&portal.settings.database, &whose.user_id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Ends the session that calls. Of our own page, it also removes the cookie.
#[utoipa::path(
    delete,
    path = "/v1/sessions/current",
    tag = "sessions",
    security(("session" = []), ("cookie" = [])),
    responses(
        (status = 204, description = "It has ended"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`not_allowed`: a service key or an access token is no session; `cross_origin`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn end(caller: Caller, State(portal): State<Arc<Portal>>) -> Result<Response, Problem> {
    let Some(session) = &caller.session else {
        let detail = match &caller.subject {
            Subject::Service(_) => "A service key is no session: remove its line from the file of keys.",
            Subject::Person(_) => {
                "An access token is no session: it ends by itself, and the identity provider ends others."
            }
        };
        return Err(Problem::new(Code::NotAllowed, detail));
    };
    sessions::end(&portal.settings.database, session).await?;
    let mut answer = empty(StatusCode::NO_CONTENT);
    if let Some(cookie) = sessions::set_cookie(None) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// Exchanges a code for the cookie, and leads back to the platform's page, or to our own. A browser whose code no longer
/// works is led to our page, too: it shows the exports of a session that is still there, or how to get in.
pub(super) async fn sign_in(
    State(portal): State<Arc<Portal>>,
    Id(code): Id<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let_in_unknown(&portal, &digest(&code))?;
    let Some((token, return_url)) = sessions::sign_in(&portal.settings.database, &code).await? else {
        if accepts(&headers, "text/html") {
            return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, OUR_PAGE)]).into_response());
        }
        return Err(Problem::unauthenticated(
            "This address works once, within a minute. Open the page from the platform again.",
            Some("unknown or used code"),
        ));
    };
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, return_url.as_deref().unwrap_or(OUR_PAGE))])
        .into_response();
    if let Some(cookie) = sessions::set_cookie(Some(&token)) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}

fn checked(wanted: SignIn) -> Result<Wanted, Problem> {
    if wanted.org_id.as_deref().is_some_and(|org| !is_id(org)) {
        return Err(Problem::invalid("/org_id", "1 to 255 bytes without control characters."));
    }
    if wanted.acting.as_deref().is_some_and(|acting| !is_id(acting)) {
        return Err(Problem::invalid("/acting", "1 to 255 bytes without control characters."));
    }
    if wanted.org_id.is_none() && wanted.roles.iter().any(|role| *role != RoleName::Operator) {
        return Err(Problem::invalid("/org_id", "A manager or an admin is one of an organisation: name it."));
    }
    if wanted.members.len() > MOST_MEMBERS {
        return Err(Problem::invalid("/members", format!("At most {MOST_MEMBERS}.")));
    }
    if !wanted.members.is_empty() && !wanted.roles.contains(&RoleName::Admin) {
        return Err(Problem::invalid("/members", "Only for an admin, who may ask for them."));
    }
    // A page follows it, so it must not be a script.
    let is_web = |text: &str| {
        text.len() <= 2000 && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    };
    if wanted.return_url.as_deref().is_some_and(|url| !is_web(url)) {
        return Err(Problem::invalid("/return_url", "An address that begins with https:// or http://."));
    }
    let mut roles: Vec<_> = wanted.roles.iter().map(|role| role.as_str().to_owned()).collect();
    roles.dedup();
    Ok(Wanted {
        user: wanted.user_id,
        org: wanted.org_id,
        roles,
        members: wanted.members,
        acting: wanted.acting,
        return_url: wanted.return_url,
    })
}

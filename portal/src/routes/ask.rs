//! `POST /v1/exports` and `POST /v1/exports/{id}/retry`: asks for an export, within the limits of the policy.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use export_activities::{
    scope::{Filters, Scope, Unfit},
    serialise::formats::{FormatName, Formats},
    user_id::UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Id, actor, refused, seen};
use crate::{
    Portal,
    body::Json,
    caller::{Caller, Subject, is_id},
    export::{Export, FormatWord, StartWord, UserIdWord, next_night},
    problem::{Code, Document, Mistake, Problem},
    records::{self, Actor, Answer, Asked, Outcome},
    rights::{self, org_of_ask},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LONGEST_KEY: usize = 255;

/// For whom, and when. A person who asks for themselves sends nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The person; without it, the one who is signed in.
    #[schema(value_type = Option<UserIdWord>)]
    user_id: Option<UserId>,
    /// Only with a service key: in the name of which organisation. A session has its own.
    #[schema(min_length = 1, max_length = 255, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    org_id: Option<String>,
    /// When it is made, if the policy lets the caller choose.
    #[schema(value_type = Option<StartWord>)]
    start: Option<Start>,
    /// Why, when it is for another person.
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    why: Option<String>,
    /// Only these entities, as `/v1/policy` names them, with those that they refer to and with the account.
    #[schema(min_items = 1, max_items = 500)]
    entities: Option<Vec<String>>,
    /// No row before this moment, of entities with `has_time`.
    since: Option<DateTime<Utc>>,
    /// No row at or after this moment, of the same entities.
    until: Option<DateTime<Utc>>,
    /// Only rows with one of these values, by entity and column.
    #[schema(value_type = Option<Filters>)]
    filters: Option<Filters>,
    /// The formats; `json` and `csv` are in every archive, named or not.
    #[schema(value_type = Option<Vec<FormatWord>>, min_items = 1)]
    formats: Option<Vec<FormatName>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    Night,
    AtOnce,
}

impl Start {
    fn as_str(self) -> &'static str {
        match self {
            Self::Night => "night",
            Self::AtOnce => "at_once",
        }
    }
}

/// Asks for an export.
///
/// Answers 202 with a new export, and 200 with one of the person that is pending already. A second call with the same
/// `Idempotency-Key` and the same body makes no second export and gets the same answer.
#[utoipa::path(
    post,
    path = "/v1/exports",
    tag = "exports",
    params(("Idempotency-Key" = Option<String>, Header, description = "Any text of at most 255 characters, new for each export that is wanted.")),
    request_body(content = Option<Ask>, description = "May be left out by a person who asks for themselves."),
    responses(
        (status = 202, description = "Asked for", body = Export, headers(("Location" = String), ("RateLimit" = String), ("RateLimit-Policy" = String))),
        (status = 200, description = "One is pending already", body = Export, headers(("Location" = String))),
        (status = 400, description = "`malformed`", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`impersonated`, `not_allowed`, `cross_origin`", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "`request_timeout`", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`, `key_reused`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`too_soon`, `too_many`, `organisation_full`, `slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn ask(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    headers: HeaderMap,
    Json(ask): Json<Ask>,
) -> Result<Response, Problem> {
    let user = match (&ask.user_id, &caller.subject) {
        (Some(user), _) => user,
        (None, Subject::Person(own)) => own,
        (None, Subject::Service(_)) => {
            return Err(Problem::invalid("/user_id", "Name the person: a service key asks for others."));
        }
    };
    let allowed = rights::may_ask(&caller, user).map_err(refused)?;
    let org = match (&ask.org_id, &caller.subject) {
        (None, _) => org_of_ask(&caller, allowed),
        (Some(org), Subject::Service(_)) if is_id(org) => Some(org.as_str()),
        (Some(_), Subject::Service(_)) => {
            return Err(Problem::invalid("/org_id", "1 to 255 bytes without control characters."));
        }
        (Some(_), Subject::Person(_)) => {
            return Err(Problem::invalid(
                "/org_id",
                "The organisation comes from the session or the token: leave it out.",
            ));
        }
    };
    let actor = actor(&caller, allowed, ask.why.as_deref(), "/why")?;
    let start = ask.start.map(Start::as_str);
    let scope = Scope {
        entities: ask.entities,
        since: ask.since,
        until: ask.until,
        filters: ask.filters.unwrap_or_default(),
    };
    let part = scope.part(&portal.settings.offer).map_err(|unfit| {
        let mistakes =
            unfit.into_iter().map(|Unfit { pointer, sentence }| Mistake { pointer, detail: sentence });
        Problem::mistakes(mistakes.collect())
    })?;
    // Everything, in whatever words, is the whole.
    let scope = part.scope.unwrap_or_default();
    let formats = match ask.formats {
        Some(formats) if formats.is_empty() => {
            return Err(Problem::invalid("/formats", "Names no format: leave it out to get JSON and CSV."));
        }
        formats => formats.map(Formats::with),
    };
    let asked = Asked { user, org, start, key: key(&headers)?, retry_of: None, scope, formats };
    made(&portal, &caller, &asked, actor).await
}

/// When to make it again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// When it is made, if the policy lets the caller choose.
    #[schema(value_type = Option<StartWord>)]
    start: Option<Start>,
    /// Why, when it is for another person.
    #[schema(max_length = 500, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    why: Option<String>,
}

/// Asks again for an export that has failed.
///
/// Answers like `POST /v1/exports`.
#[utoipa::path(
    post,
    path = "/v1/exports/{id}/retry",
    tag = "exports",
    params(
        ("id" = uuid::Uuid, Path, description = "The failed export"),
        ("Idempotency-Key" = Option<String>, Header, description = "As for `POST /v1/exports`."),
    ),
    request_body(content = Option<Retry>, description = "May be left out."),
    responses(
        (status = 202, description = "Asked for again", body = Export, headers(("Location" = String), ("RateLimit" = String), ("RateLimit-Policy" = String))),
        (status = 200, description = "One is pending already", body = Export, headers(("Location" = String))),
        (status = 400, description = "`malformed`", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 403, description = "`impersonated`, `not_allowed`, `cross_origin`", body = Document, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`, also when it belongs to another person", body = Document, content_type = "application/problem+json"),
        (status = 408, description = "`request_timeout`", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "`not_failed`", body = Document, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = Document, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`, `key_reused`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`too_soon`, `too_many`, `organisation_full`, `slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    Id(id): Id,
    headers: HeaderMap,
    Json(retry): Json<Retry>,
) -> Result<Response, Problem> {
    let failed = seen(&portal, &caller, id).await?;
    let allowed = rights::may_ask(&caller, &failed.user_id).map_err(refused)?;
    let org = match caller.subject {
        Subject::Service(_) => failed.org_id.as_deref(),
        Subject::Person(_) => org_of_ask(&caller, allowed),
    };
    let actor = actor(&caller, allowed, retry.why.as_deref(), "/why")?;
    let asked = Asked {
        user: &failed.user_id,
        org,
        start: retry.start.map(Start::as_str),
        key: key(&headers)?,
        retry_of: Some(failed.id),
        scope: Scope::default(),
        formats: None,
    };
    made(&portal, &caller, &asked, actor).await
}

/// Asks the database, and answers with the export that was made or is in the way.
async fn made(
    portal: &Portal,
    caller: &Caller,
    asked: &Asked<'_>,
    actor: Actor<'_>,
) -> Result<Response, Problem> {
    let database = &portal.settings.database;
    let Answer { outcome, id, seconds } = records::ask(database, asked, actor).await?;
    let status = match outcome {
        Outcome::Created | Outcome::Replayed => StatusCode::ACCEPTED,
        Outcome::Waiting => StatusCode::OK,
        Outcome::KeyReused => {
            let detail = "This Idempotency-Key was used with another body. Use a new key for each export that is wanted.";
            return Err(Problem::new(Code::KeyReused, detail));
        }
        Outcome::TooSoon => {
            let detail = "The last export of this person was asked for a short while ago.";
            return Err(Problem::new(Code::TooSoon, detail).retry_after(seconds.unwrap_or(1)));
        }
        Outcome::TooMany => return Err(waiting("This person has as many pending exports as they may have.")),
        Outcome::OrgFull => {
            let detail = "This organisation has as many pending exports as it may have. Ask again after the next night.";
            return Err(Problem::new(Code::OrganisationFull, detail).retry_after(until_night()));
        }
        Outcome::StartRefused => {
            return Err(Problem::invalid(
                "/start",
                "The policy decides when exports are made: leave it out.",
            ));
        }
        Outcome::NotFailed => {
            return Err(Problem::new(
                Code::NotFailed,
                "Only an export that has failed can be asked for again.",
            ));
        }
        Outcome::Unknown => return Err(Problem::not_found()),
    };
    let id = id.ok_or_else(Problem::not_found)?;
    let record = match seen(portal, caller, id).await {
        Ok(record) => record,
        // An admin asks for a member whose export was asked for elsewhere.
        Err(_) if outcome == Outcome::Waiting => {
            return Err(waiting("This person has a pending export already."));
        }
        Err(problem) => return Err(problem),
    };
    let export = Export::of(record, caller, portal.settings.admin_downloads, Utc::now());
    let location = format!("/v1/exports/{}", export.id());
    let mut answer =
        (status, [(header::LOCATION, location), (header::ETAG, export.etag())], axum::Json(export))
            .into_response();
    let is_only = outcome == Outcome::Created && records::installation(database).await?.pending_per_user == 1;
    if let Some(seconds) = seconds.filter(|_| is_only) {
        let limits = [
            (POLICY, format!("\"exports\";q=1;w={seconds}")),
            (LIMIT, format!("\"exports\";r=0;t={seconds}")),
        ];
        for (name, value) in limits {
            if let Ok(value) = value.try_into() {
                answer.headers_mut().insert(name, value);
            }
        }
    }
    Ok(answer)
}

fn waiting(detail: &str) -> Problem {
    Problem::new(Code::TooMany, detail).retry_after(until_night())
}

fn until_night() -> u64 {
    let now = Utc::now();
    u64::try_from((next_night(now) - now).num_seconds()).unwrap_or_default()
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => Err(Problem::new(Code::Malformed, "The Idempotency-Key has 1 to 255 characters of ASCII.")),
    }
}

//! `GET /v1/policy`: what a person may expect. `GET /readyz`: whether the portal can answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use export_activities::{
    fulfil::presign::LINK_LIFE, scope::OfferedEntity, serialise::formats::FormatName, user_id::UserId,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Portal,
    caller::{Caller, Subject, tokens::Tokens},
    export::{FormatWord, UserIdWord, next_night},
    problem::{Document, Problem},
    records,
};

/// Time limit of the question whether the database answers.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What a person may expect.
#[derive(Serialize, ToSchema)]
pub(super) struct Policy {
    /// `night`, `at_once`, or `choose`: the caller decides, and `night` holds when they do not.
    start: String,
    /// When the next night begins.
    next_night: DateTime<Utc>,
    /// How often a person may ask within `ask_every_seconds`, and how many of their exports may be pending.
    pending_per_user: i32,
    /// How many exports of an organisation may be pending.
    pending_per_org: i32,
    ask_every_seconds: u64,
    /// How long an archive is kept.
    kept_seconds: u64,
    /// The formats that can be asked for. `json` and `csv` are in every archive.
    #[schema(value_type = Vec<FormatWord>)]
    formats: [FormatName; FormatName::ALL.len()],
    /// What an archive holds, and which part of it can be asked for.
    entities: Vec<Entity>,
    /// The person who is signed in; null for a service key.
    #[schema(value_type = Option<UserIdWord>)]
    user_id: Option<UserId>,
    /// A member of the staff acts as the person, and may only look.
    acting: bool,
}

/// An entity of the catalogue, which an archive has as one file in each format.
#[derive(Serialize, ToSchema)]
struct Entity {
    /// The name of its files.
    name: String,
    /// What it is, in the words of the catalogue.
    about: String,
    /// It is in every export: the account.
    always: bool,
    /// `since` and `until` leave rows of it out.
    has_time: bool,
    /// The columns whose values can be asked for.
    filters: Vec<String>,
    /// The entities that come along when this one is asked for.
    refers_to: Vec<String>,
}

impl From<&OfferedEntity> for Entity {
    fn from(offered: &OfferedEntity) -> Self {
        let OfferedEntity { name, about, always, has_time, filters, refers_to } = offered.clone();
        Self { name, about, always, has_time, filters, refers_to }
    }
}

/// Shows what a person may expect: when exports are made, how often one may ask, how long archives are kept.
#[utoipa::path(
    get,
    path = "/v1/policy",
    tag = "policy",
    responses(
        (status = 200, description = "The policy", body = Policy),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn policy(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
) -> Result<Json<Policy>, Problem> {
    let policy = records::installation(&portal.settings.database).await?;
    let every = &policy.ask_every;
    let seconds = every.microseconds / 1_000_000
        + i64::from(every.days) * 86_400
        + i64::from(every.months) * 30 * 86_400;
    Ok(Json(Policy {
        start: policy.start,
        next_night: next_night(Utc::now()),
        pending_per_user: policy.pending_per_user,
        pending_per_org: policy.pending_per_org,
        ask_every_seconds: u64::try_from(seconds).unwrap_or_default(),
        kept_seconds: LINK_LIFE.as_secs(),
        formats: FormatName::ALL,
        entities: portal.settings.offer.entities.iter().map(Entity::from).collect(),
        acting: caller.acting.is_some(),
        user_id: match caller.subject {
            Subject::Person(id) => Some(id),
            Subject::Service(_) => None,
        },
    }))
}

/// Answers 200 while the portal can serve a caller. A balancer then sends calls here.
///
/// Without the keys of the identity provider, it still serves backends and sessions, if there are service keys.
pub(super) async fn readyz(State(portal): State<Arc<Portal>>) -> Response {
    let asked = tokio::time::timeout(READY_WITHIN, records::installation(&portal.settings.database)).await;
    if !matches!(asked, Ok(Ok(_))) {
        return (StatusCode::SERVICE_UNAVAILABLE, "The database does not answer\n").into_response();
    }
    if portal.tokens.as_ref().is_none_or(Tokens::is_ready) {
        return "The portal serves\n".into_response();
    }
    let missing = "There are no keys of the identity provider yet";
    if portal.settings.keys.is_empty() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response();
    }
    format!("The portal serves, without access tokens: {missing}\n").into_response()
}

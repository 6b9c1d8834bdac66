//! `GET /v1/exports`: the exports that the caller may see, the newest first, in pages.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use export_activities::user_id::UserId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Portal,
    body::Query,
    caller::{Caller, Subject, is_id},
    cursor::Cursor,
    export::{Export, ReasonWord, UserIdWord},
    problem::{Code, Document, Problem},
    records::{self, Filters, Whose},
};

const LARGEST_PAGE: u32 = 100;

/// Which exports.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// `pending`, `ready` or `failed`.
    status: Option<Status>,
    /// Why they failed.
    #[param(value_type = Option<ReasonWord>)]
    reason: Option<Reason>,
    /// Of this person.
    #[param(value_type = Option<UserIdWord>)]
    user_id: Option<UserId>,
    /// Asked for in the name of this organisation.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    org_id: Option<String>,
    requested_after: Option<DateTime<Utc>>,
    requested_before: Option<DateTime<Utc>>,
    /// Exports in a page, 1 to 100; 20 if it is left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(max_length = 200)]
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pending,
    Ready,
    Failed,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    Expired,
    AccountDeleted,
    Revoked,
    Withdrawn,
    UnreadableValue,
    ScopeRefused,
    AttemptsExhausted,
}

/// A page of exports.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    items: Vec<Export>,
    /// The cursor of the next page; null on the last one.
    next: Option<String>,
}

/// Lists exports: one's own; of the organisation, for its managers and admins; all, for operators and service keys.
#[utoipa::path(
    get,
    path = "/v1/exports",
    tag = "exports",
    params(Which),
    responses(
        (status = 200, description = "A page", body = Page, headers(("Link" = String))),
        (status = 400, description = "`invalid_cursor`", body = Document, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Document, content_type = "application/problem+json"),
        (status = 422, description = "`invalid`", body = Document, content_type = "application/problem+json"),
        (status = 429, description = "`slow_down`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
        (status = 500, description = "`internal`", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`, with `Retry-After`", body = Document, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    caller: Caller,
    State(portal): State<Arc<Portal>>,
    uri: axum::http::Uri,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let limit = which.limit.unwrap_or(20);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("?limit", format!("1 to {LARGEST_PAGE}.")));
    }
    if which.org_id.as_deref().is_some_and(|org| !is_id(org)) {
        return Err(Problem::invalid("?org_id", "1 to 255 bytes without control characters."));
    }
    let filters = Filters {
        status: which.status.and_then(|status| word(&status)),
        reason: which.reason.and_then(|reason| word(&reason)),
        after: which.requested_after,
        before: which.requested_before,
    };
    let whose = whose(&caller, which.user_id, which.org_id);
    let key = portal.cursor_key().await?;
    // What the cursor is signed for: everything that decides which exports are in the list.
    let list = format!("{:?} {whose:?} {filters:?}", caller.name());
    let cursor = match &which.cursor {
        Some(text) => Some(Cursor::read(text, key, &list).ok_or_else(|| {
            Problem::new(
                Code::InvalidCursor,
                "The cursor is from another list or was changed. Begin without one.",
            )
        })?),
        None => None,
    };
    let Some(whose) = whose else { return Ok(page(Vec::new(), None, &uri)) };
    let mut records =
        records::list(&portal.settings.database, &whose, &filters, cursor, i64::from(limit) + 1).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let last = records.last().filter(|_| more);
    let next = last.map(|last| Cursor { requested_at: last.requested_at, id: last.id }.sign(key, &list));
    let now = Utc::now();
    let admins = portal.settings.admin_downloads;
    let items = records.into_iter().map(|record| Export::of(record, &caller, admins, now)).collect();
    Ok(page(items, next, &uri))
}

/// Returns whose exports the list has; `None` when the caller asks for some that they may not see.
fn whose(caller: &Caller, user: Option<UserId>, org: Option<String>) -> Option<Whose> {
    let sees_all = caller.roles.operator || matches!(caller.subject, Subject::Service(_));
    let sees_org = caller.roles.manager || caller.roles.admin;
    let own_org = caller.org.clone().filter(|_| sees_org);
    match (user, org) {
        (None, None) if sees_all => Some(Whose::All),
        (None, None) => match own_org {
            Some(org) => Some(Whose::Org(org)),
            None => own(caller).map(|own| Whose::User(own, None)),
        },
        (None, Some(org)) if sees_all || own_org.as_ref() == Some(&org) => Some(Whose::Org(org)),
        // In the name of an organisation whose others they may not see.
        (None, Some(org)) => own(caller).map(|own| Whose::User(own, Some(org))),
        (Some(user), org) if sees_all || caller.is(&user) => Some(Whose::User(user, org)),
        (Some(user), None) => own_org.map(|org| Whose::User(user, Some(org))),
        (Some(user), Some(org)) => own_org.filter(|own| *own == org).map(|org| Whose::User(user, Some(org))),
    }
}

fn own(caller: &Caller) -> Option<UserId> {
    match &caller.subject {
        Subject::Person(id) => Some(id.clone()),
        Subject::Service(_) => None,
    }
}

fn word(of: &impl Serialize) -> Option<String> {
    serde_json::to_value(of).ok()?.as_str().map(str::to_owned)
}

/// Answers with a page, and links to the first and the next one.
fn page(items: Vec<Export>, next: Option<String>, uri: &axum::http::Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let others: Vec<_> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor=")).collect();
    let link = |cursor: Option<&str>, rel: &str| {
        let cursor = cursor.map(|cursor| format!("cursor={cursor}"));
        let pairs: Vec<_> = others.iter().map(|pair| (*pair).to_owned()).chain(cursor).collect();
        let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
        format!("<{}{query}>; rel=\"{rel}\"", uri.path())
    };
    let mut links = vec![link(None, "first")];
    links.extend(next.as_deref().map(|next| link(Some(next), "next")));
    let mut answer = axum::Json(Page { items, next }).into_response();
    if let Ok(links) = HeaderValue::try_from(links.join(", ")) {
        answer.headers_mut().insert(header::LINK, links);
    }
    answer
}

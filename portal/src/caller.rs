//! Who calls: a backend of the platform with a service key, or a person with a session or an access token.

pub mod keys;
pub(crate) mod sessions;
pub mod tokens;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, header, request::Parts},
};
use chrono::{DateTime, Utc};
use export_activities::user_id::UserId;
use sha2::{Digest as _, Sha256};

use self::{
    sessions::{COOKIE, Kind},
    tokens::Tokens,
};
use crate::{
    Portal,
    problem::{Code, Problem},
};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A backend of the platform, by the name of its key.
    Service(String),
    /// A person.
    Person(UserId),
}

/// Maximum number of members for whom an admin may ask.
pub(crate) const MOST_MEMBERS: usize = 50;

/// The roles of a person, as the platform's backend set them for the session, or as their token has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// A manager of the organisation.
    pub manager: bool,
    /// An admin of the organisation.
    pub admin: bool,
    /// Staff of the platform.
    pub operator: bool,
}

/// A caller, with everything that decides about their rights.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub subject: Subject,
    /// In the name of which organisation they act.
    pub org: Option<String>,
    /// Their roles.
    pub roles: Roles,
    /// The members of the organisation for whom an admin may ask.
    pub members: Vec<UserId>,
    /// The member of the staff who acts as the person, if one does.
    pub acting: Option<String>,
    /// The session, if it is one.
    pub session: Option<Session>,
    /// When the session or the token ends at the latest. A service key does not end.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The session of a person.
#[derive(Clone, Debug)]
pub struct Session {
    /// SHA-256 of its token.
    pub digest: [u8; 32],
}

impl Caller {
    /// Returns whether the caller is this person.
    pub fn is(&self, user: &UserId) -> bool {
        matches!(&self.subject, Subject::Person(own) if own == user)
    }

    /// Returns the name of a caller who is not the person: the id of an admin or operator, or the name of a service key.
    pub(crate) fn name(&self) -> &str {
        match &self.subject {
            Subject::Service(name) => name,
            Subject::Person(id) => id.as_str(),
        }
    }

    /// Names the caller for limits.
    pub(crate) fn bucket(&self) -> String {
        match &self.subject {
            Subject::Service(name) => format!("key {name}"),
            Subject::Person(id) => format!("person {id}"),
        }
    }
}

impl FromRequestParts<Arc<Portal>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, portal: &Arc<Portal>) -> Result<Self, Problem> {
        identify(&parts.method, &parts.headers, portal).await
    }
}

async fn identify(method: &Method, headers: &HeaderMap, portal: &Portal) -> Result<Caller, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(bearer).ok_or_else(|| {
            Problem::unauthenticated("Send `Authorization: Bearer` with a service key or a token.", None)
        })?;
        if token.starts_with(keys::PREFIX) {
            let name = portal.settings.keys.name_of(token).ok_or_else(|| {
                Problem::unauthenticated(
                    "This service key is not known. Is it in EXPORT_PORTAL_KEY_FILE?",
                    Some("unknown key"),
                )
            })?;
            let caller = service(name);
            portal.floodgate.take(&caller.bucket(), Instant::now()).map_err(slow_down)?;
            return Ok(caller);
        }
        // A session token has no dot, and a JWT has two.
        if let Some(tokens) = portal.tokens.as_ref().filter(|_| token.contains('.')) {
            return by_access_token(portal, tokens, token).await;
        }
        return found(portal, token, Kind::Token).await?.ok_or_else(|| {
            Problem::unauthenticated(
                "The session has ended or was never there. Ask the platform for a new one.",
                Some("unknown or expired token"),
            )
        });
    }
    let Some(token) = cookie(headers) else {
        return Err(Problem::unauthenticated(
            "You are not signed in. Open the page from the platform.",
            None,
        ));
    };
    let caller = found(portal, token, Kind::Cookie).await?.ok_or_else(|| {
        Problem::unauthenticated(
            "The session has ended. Open the page from the platform again.",
            Some("unknown or expired session"),
        )
    })?;
    // A browser sends the cookie with the form of any page; only our own may change something.
    if !method.is_safe() && !is_same_origin(headers, portal) {
        return Err(Problem::new(
            Code::CrossOrigin,
            "With the cookie, only our own page may change something.",
        ));
    }
    Ok(caller)
}

/// Finds the person of a session. That costs a query, so the limit comes first.
async fn found(portal: &Portal, token: &str, kind: Kind) -> Result<Option<Caller>, Problem> {
    let digest = digest(token);
    let_in(portal, &digest)?;
    let caller = sessions::find(&portal.settings.database, &digest, kind).await?;
    if let Some(caller) = &caller {
        portal.known.add(digest, caller.bucket());
    }
    Ok(caller)
}

/// Checks an access token. That costs a signature, and may wait for a key, so the limit comes first.
async fn by_access_token(portal: &Portal, tokens: &Tokens, token: &str) -> Result<Caller, Problem> {
    let digest = digest(token);
    let_in(portal, &digest)?;
    let caller = tokens.caller(token).await?;
    portal.known.add(digest, caller.bucket());
    Ok(caller)
}

/// Limits the calls of a person whose token was found before, and the calls of all others together.
fn let_in(portal: &Portal, digest: &[u8; 32]) -> Result<(), Problem> {
    match portal.known.bucket_of(digest) {
        Some(bucket) => portal.floodgate.take(&bucket, Instant::now()).map_err(slow_down),
        None => let_in_unknown(portal, digest),
    }
}

/// Limits the calls whose token, or code, was not found before.
pub(crate) fn let_in_unknown(portal: &Portal, digest: &[u8; 32]) -> Result<(), Problem> {
    portal.floodgate.take_unknown(digest, Instant::now()).map_err(|seconds| {
        Problem::new(Code::SlowDown, "Too many calls from unknown callers arrive at the moment.")
            .retry_after(seconds)
    })
}

/// Refuses a call that is one too many.
pub(crate) fn slow_down(seconds: u64) -> Problem {
    Problem::new(Code::SlowDown, "This caller calls more often than 20 times a second.").retry_after(seconds)
}

/// The tokens that were found, by their digests, each with the bucket of its caller. A flood of unknown tokens does not
/// slow down these callers.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<[u8; 32], String>>);

impl Known {
    /// Maximum number of tokens; then all are forgotten, and found again.
    const MOST: usize = 50_000;

    fn bucket_of(&self, digest: &[u8; 32]) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn add(&self, digest: [u8; 32], bucket: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(digest, bucket);
    }
}

fn service(name: &str) -> Caller {
    Caller {
        subject: Subject::Service(name.to_owned()),
        org: None,
        roles: Roles::default(),
        members: Vec::new(),
        acting: None,
        session: None,
        expires_at: None,
    }
}

/// Returns whether a text may be an id of the platform: PostgreSQL takes no NUL, and a log no line break.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.contains(char::is_control)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn is_same_origin(headers: &HeaderMap, portal: &Portal) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => text("origin") == Some(&portal.settings.url.origin().ascii_serialization()),
    }
}

/// Returns the digest under which a token is stored and compared, so that the time of a comparison says nothing.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

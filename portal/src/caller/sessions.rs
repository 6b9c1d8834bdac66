//! Sessions of people: made by a backend of the platform, found by the digest of their token.

use std::time::Duration;

use axum::http::HeaderValue;
use chrono::{DateTime, Utc};
use export_activities::{database::pool::Pool, user_id::UserId};

use super::{Caller, Roles, Session, Subject, digest, keys::random};
use crate::problem::Problem;

/// The cookie of our own page. With this prefix, a browser takes it only from us, over TLS and for all paths.
pub(crate) const COOKIE: &str = "__Host-export";

/// A cookie that was not used for longer has ended.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Works once, and opens our own page.
    Code,
    /// Of our own page.
    Cookie,
    /// Of the element in a page of the platform.
    Token,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Cookie => "cookie",
            Self::Token => "token",
        }
    }

    /// How long it works at most.
    pub(crate) fn life(self) -> Duration {
        match self {
            Self::Code => Duration::from_secs(60),
            Self::Cookie => Duration::from_secs(8 * 3600),
            Self::Token => Duration::from_secs(15 * 60),
        }
    }
}

/// A session that a backend wants.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) user: UserId,
    pub(crate) org: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) members: Vec<UserId>,
    pub(crate) acting: Option<String>,
    pub(crate) return_url: Option<String>,
}

/// A token that was made, and when it ends.
pub(crate) struct Made {
    pub(crate) token: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Makes a session, and removes those that have ended.
pub(crate) async fn make(
    database: &Pool,
    wanted: &Wanted,
    kind: Kind,
    made_by: &str,
) -> Result<Made, Problem> {
    let token = random()?;
    let members: Vec<String> = wanted.members.iter().map(ToString::to_string).collect();
    sqlx::query!("delete from public.data_export_sessions where expires_at < now()")
        .execute(database)
        .await?;
    let expires_at = sqlx::query_scalar!(
        "insert into public.data_export_sessions
             (token_hash, kind, user_id, org_id, roles, members, acting, return_url, made_by, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))
         returning expires_at",
        &digest(&token),
        kind.as_str(),
        wanted.user.as_str(),
        wanted.org,
        &wanted.roles,
        &members,
        wanted.acting,
        wanted.return_url,
        made_by,
        kind.life().as_secs_f64(),
    )
    .fetch_one(database)
    .await?;
    Ok(Made { token, expires_at })
}

/// Exchanges a code, which then no longer works, for the token of a cookie and the address to lead to. Returns `None` if the
/// code is unknown or has ended.
pub(crate) async fn sign_in(
    database: &Pool,
    code: &str,
) -> Result<Option<(String, Option<String>)>, Problem> {
    let token = random()?;
    let made = sqlx::query_scalar!(
        "with used as (
             delete from public.data_export_sessions where token_hash = $1 and kind = 'code' returning *
         )
         insert into public.data_export_sessions
             (token_hash, kind, user_id, org_id, roles, members, acting, return_url, made_by, expires_at)
         select $2, 'cookie', user_id, org_id, roles, members, acting, return_url, made_by,
             now() + make_interval(secs => $3)
         from used where expires_at > now()
         returning return_url",
        &digest(code),
        &digest(&token),
        Kind::Cookie.life().as_secs_f64(),
    )
    .fetch_optional(database)
    .await?;
    Ok(made.map(|return_url| (token, return_url)))
}

/// Finds the person of a token.
pub(crate) async fn find(database: &Pool, digest: &[u8; 32], kind: Kind) -> Result<Option<Caller>, Problem> {
    let found = sqlx::query!(
        r#"select user_id as "user_id: UserId", org_id, roles, members, acting, expires_at,
               used_at < now() - interval '1 minute' as "is_stale!"
           from public.data_export_sessions
           where token_hash = $1 and kind = $2 and expires_at > now()
               and (kind <> 'cookie' or used_at > now() - make_interval(secs => $3))"#,
        digest,
        kind.as_str(),
        IDLE.as_secs_f64(),
    )
    .fetch_optional(database)
    .await?;
    let Some(found) = found else { return Ok(None) };
    if kind == Kind::Cookie && found.is_stale {
        sqlx::query!("update public.data_export_sessions set used_at = now() where token_hash = $1", digest)
            .execute(database)
            .await?;
    }
    let has = |role: &str| found.roles.iter().any(|other| other == role);
    let roles = Roles { manager: has("manager"), admin: has("admin"), operator: has("operator") };
    let members = found.members.iter().filter_map(|member| member.parse().ok()).collect();
    Ok(Some(Caller {
        subject: Subject::Person(found.user_id),
        org: found.org_id,
        roles,
        members,
        acting: found.acting,
        session: Some(Session { digest: *digest }),
        expires_at: Some(found.expires_at),
    }))
}

/// Returns whether a session has not been ended.
pub(crate) async fn is_alive(database: &Pool, session: &Session) -> Result<bool, Problem> {
    let alive = sqlx::query_scalar!(
        r#"select exists (select from public.data_export_sessions where token_hash = $1 and expires_at > now()) as "is_alive!""#,
        &session.digest,
    );
    Ok(alive.fetch_one(database).await?)
}

/// Ends all sessions of a person.
pub(crate) async fn end_all(database: &Pool, user: &UserId) -> Result<(), Problem> {
    sqlx::query!("delete from public.data_export_sessions where user_id = $1", user.as_str())
        .execute(database)
        .await?;
    Ok(())
}

/// Ends a session.
pub(crate) async fn end(database: &Pool, session: &Session) -> Result<(), Problem> {
    sqlx::query!("delete from public.data_export_sessions where token_hash = $1", &session.digest)
        .execute(database)
        .await?;
    Ok(())
}

/// Returns the header that sets the cookie; without a token, the one that removes it.
pub(crate) fn set_cookie(token: Option<&str>) -> Option<HeaderValue> {
    let (token, age) = token.map_or(("", 0), |token| (token, Kind::Cookie.life().as_secs()));
    let text = format!("{COOKIE}={token}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(text).ok()
}

//! Every statement of the portal on requests: the view `data_export_portal`, and the two functions that change something.

use chrono::{DateTime, Utc};
use export_activities::{
    database::pool::Pool, requests::state::Status, scope::Scope, serialise::formats::Formats, user_id::UserId,
};
use serde_json::Value;
use sqlx::{postgres::types::PgInterval, types::Json};
use uuid::Uuid;

use crate::{cursor::Cursor, problem::Problem, rights::Role};

/// An export, as the view has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) user_id: UserId,
    pub(crate) org_id: Option<String>,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    pub(crate) start: String,
    pub(crate) requested_at: DateTime<Utc>,
    pub(crate) asked_as: String,
    pub(crate) fulfilled_at: Option<DateTime<Utc>>,
    pub(crate) snapshot_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) object_deleted_at: Option<DateTime<Utc>>,
    pub(crate) object_key: Option<String>,
    pub(crate) object_location: Option<String>,
    pub(crate) archive_bytes: Option<i64>,
    pub(crate) archive_sha256: Option<String>,
    pub(crate) row_counts: Option<Value>,
    pub(crate) retry_of: Option<Uuid>,
    pub(crate) is_running: bool,
    pub(crate) attempt: Option<i32>,
    pub(crate) phase: Option<String>,
    pub(crate) done: Option<i64>,
    pub(crate) total: Option<i64>,
    pub(crate) entities: Option<Value>,
    pub(crate) progress_at: Option<DateTime<Utc>>,
    pub(crate) waits_for_night: bool,
    pub(crate) has_receipt: bool,
    pub(crate) scope: Option<Json<Scope>>,
    pub(crate) formats: Vec<String>,
}

/// The columns of a [`Record`], once for all statements.
macro_rules! records {
    ($rest:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            Record,
            r#"select id as "id!", user_id as "user_id!: UserId", org_id, status as "status!: Status", reason, start as "start!",
                   requested_at as "requested_at!", asked_as as "asked_as!", fulfilled_at, snapshot_at, expires_at,
                   object_deleted_at, object_key, object_location, archive_bytes, archive_sha256, row_counts, retry_of,
                   is_running as "is_running!", attempt, phase, done, total, entities, progress_at,
                   waits_for_night as "waits_for_night!", receipt is not null as "has_receipt!", scope as "scope: Json<Scope>",
                   formats as "formats!"
               from public.data_export_portal "# + $rest
            $(, $argument)*
        )
    };
}

/// Reads one export.
pub(crate) async fn read(database: &Pool, id: Uuid) -> Result<Option<Record>, Problem> {
    Ok(records!("where id = $1", id).fetch_optional(database).await?)
}

/// Reads the receipt of an export.
pub(crate) async fn receipt(database: &Pool, id: Uuid) -> Result<Option<String>, Problem> {
    let receipt = sqlx::query_scalar!("select receipt from public.data_export_portal where id = $1", id);
    Ok(receipt.fetch_optional(database).await?.flatten())
}

/// Reads several exports; those that do not exist are left out.
pub(crate) async fn read_all(database: &Pool, ids: &[Uuid]) -> sqlx::Result<Vec<Record>> {
    records!("where id = any($1)", ids).fetch_all(database).await
}

/// Returns the exports that have reported progress within the last seconds.
pub(crate) async fn reporting(database: &Pool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "select request_id from public.data_export_progress where at > statement_timestamp() - interval '10 seconds'"
    )
    .fetch_all(database)
    .await
}

/// Whose exports a list has. Each one has an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of a person, in the name of one organisation or of any.
    User(UserId, Option<String>),
    /// Those that were asked for in the name of an organisation.
    Org(String),
    /// All.
    All,
}

/// Which of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) status: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) after: Option<DateTime<Utc>>,
    pub(crate) before: Option<DateTime<Utc>>,
}

/// Lists exports, the newest first, from the one after `cursor`.
pub(crate) async fn list(
    database: &Pool,
    whose: &Whose,
    filters: &Filters,
    cursor: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Record>, Problem> {
    let Filters { status, reason, after, before } = filters;
    let (at, id) = cursor.map(|cursor| (cursor.requested_at, cursor.id)).unzip();
    let listed = match whose {
        Whose::User(user, org) => {
            records!(
                "where user_id = $1 and ($2::text is null or org_id = $2)
                     and ($3::timestamptz is null or (requested_at, id) < ($3, $4::uuid))
                     and ($5::text is null or status = $5) and ($6::text is null or reason = $6)
                     and ($7::timestamptz is null or requested_at > $7) and ($8::timestamptz is null or requested_at < $8)
                 order by requested_at desc, id desc limit $9",
                user.as_str(),
                org.as_deref(),
                at,
                id,
                status.as_deref(),
                reason.as_deref(),
                *after,
                *before,
                limit
            )
            .fetch_all(database)
            .await?
        }
        Whose::Org(org) => {
            records!(
                "where org_id = $1
                     and ($2::timestamptz is null or (requested_at, id) < ($2, $3::uuid))
                     and ($4::text is null or status = $4) and ($5::text is null or reason = $5)
                     and ($6::timestamptz is null or requested_at > $6) and ($7::timestamptz is null or requested_at < $7)
                 order by requested_at desc, id desc limit $8",
                org,
                at,
                id,
                status.as_deref(),
                reason.as_deref(),
                *after,
                *before,
                limit
            )
            .fetch_all(database)
            .await?
        }
        Whose::All => {
            records!(
                "where ($1::timestamptz is null or (requested_at, id) < ($1, $2::uuid))
                     and ($3::text is null or status = $3) and ($4::text is null or reason = $4)
                     and ($5::timestamptz is null or requested_at > $5) and ($6::timestamptz is null or requested_at < $6)
                 order by requested_at desc, id desc limit $7",
                at,
                id,
                status.as_deref(),
                reason.as_deref(),
                *after,
                *before,
                limit
            )
            .fetch_all(database)
            .await?
        }
    };
    Ok(listed)
}

/// Who does something, for the log of accesses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor<'a> {
    pub(crate) role: Role,
    /// None when it is the person whose data it is.
    pub(crate) name: Option<&'a str>,
    pub(crate) why: Option<&'a str>,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) org: Option<&'a str>,
    pub(crate) start: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) retry_of: Option<Uuid>,
    /// Which part of the data; of a retry, the part that failed.
    pub(crate) scope: Scope,
    /// The formats; `None` for the usual ones, or of a retry those of the request that failed.
    pub(crate) formats: Option<Formats>,
}

/// How the database answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// The request that was made, or is in the way.
    pub(crate) id: Option<Uuid>,
    /// When to ask again.
    pub(crate) seconds: Option<u64>,
}

/// The outcomes of `data_export_ask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(crate) enum Outcome {
    Created,
    Replayed,
    Waiting,
    KeyReused,
    TooMany,
    OrgFull,
    TooSoon,
    StartRefused,
    NotFailed,
    Unknown,
}

/// Asks for an export, within the limits of the policy.
pub(crate) async fn ask(database: &Pool, asked: &Asked<'_>, actor: Actor<'_>) -> Result<Answer, Problem> {
    let filters = Some(&asked.scope.filters).filter(|filters| !filters.is_empty());
    let row = sqlx::query!(
        r#"select outcome as "outcome!: Outcome", request_id, extract(epoch from retry_after)::float8 as seconds
           from public.data_export_ask($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"#,
        asked.user.as_str(),
        asked.org,
        asked.start,
        asked.key,
        asked.retry_of,
        actor.role.as_str(),
        actor.name,
        actor.why,
        asked.scope.entities.as_deref(),
        asked.scope.since,
        asked.scope.until,
        filters.map(Json) as _,
        asked.formats.as_ref().map(Formats::names) as _,
    )
    .fetch_one(database)
    .await?;
    let seconds = row.seconds.map(|seconds| seconds.ceil().max(1.0) as u64);
    Ok(Answer { outcome: row.outcome, id: row.request_id, seconds })
}

/// Takes an export back. One that has ended stays as it is.
pub(crate) async fn withdraw(database: &Pool, id: Uuid, actor: Actor<'_>) -> Result<(), Problem> {
    sqlx::query_scalar!(
        "select public.data_export_withdraw($1, $2, $3, $4)",
        id,
        actor.role.as_str(),
        actor.name,
        actor.why
    )
    .fetch_one(database)
    .await?;
    Ok(())
}

/// An access that does not change the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The caller got a link to the archive, or began to download it.
    Linked,
    /// The whole archive was sent, to its last byte.
    Delivered,
    /// The caller may not download it.
    Refused,
}

impl Access {
    fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }
}

/// Writes a line of the log of accesses.
pub(crate) async fn log(
    database: &Pool,
    id: Uuid,
    access: Access,
    actor: Actor<'_>,
    bytes: Option<i64>,
) -> Result<(), Problem> {
    sqlx::query!(
        "insert into public.data_export_accesses (request_id, action, actor_as, actor, why, bytes)
         values ($1, $2, $3, $4, $5, $6)",
        id,
        access.as_str(),
        actor.role.as_str(),
        actor.name,
        actor.why,
        bytes,
    )
    .execute(database)
    .await?;
    Ok(())
}

/// What the database says of the whole installation.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) start: String,
    pub(crate) pending_per_user: i32,
    pub(crate) pending_per_org: i32,
    pub(crate) ask_every: PgInterval,
    pub(crate) cursor_key: Vec<u8>,
    pub(crate) location: Option<String>,
}

/// Reads the policy, the key of cursors and the bucket of new archives.
pub(crate) async fn installation(database: &Pool) -> Result<Installation, Problem> {
    let read = sqlx::query_as!(
        Installation,
        "select p.start, p.pending_per_user, p.pending_per_org, p.ask_every, p.cursor_key, i.location
         from public.data_export_policy p, public.data_export_installation i"
    );
    Ok(read.fetch_one(database).await?)
}

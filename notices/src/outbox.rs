//! The outbox: taking notices that are due, marking what became of them, and what an operator does with them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use export_activities::{database::pool::Pool, user_id::UserId};
use serde::Serialize;
use sqlx::PgExecutor;
use uuid::Uuid;

/// A way in which notices go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Channel {
    /// To the person.
    Mail,
    /// To the platform.
    Webhook,
}

impl Channel {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mail, Self::Webhook];

    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }
}

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Topic {
    /// An export was asked for.
    Requested,
    /// It can be downloaded.
    Ready,
    /// It can be downloaded for one more day.
    Reminder,
    /// It failed, was taken back or ran out.
    Failed,
    /// Its archive is deleted.
    ObjectDeleted,
}

impl Topic {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Ready => "ready",
            Self::Reminder => "reminder",
            Self::Failed => "failed",
            Self::ObjectDeleted => "object_deleted",
        }
    }
}

/// A notice that was taken to be sent, and what is known of its request.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its id, the same in each try.
    pub id: Uuid,
    /// How it goes out.
    pub channel: Channel,
    /// What it tells.
    pub topic: Topic,
    /// Tries so far, with this one.
    pub tries: i32,
    /// When it was to go out at first, or since when its channel is no longer paused.
    pub first_due_at: DateTime<Utc>,
    /// When that happened of which it tells.
    pub at: DateTime<Utc>,
    /// Why the export failed, with topic `failed`.
    pub reason: Option<String>,
    /// Size of the archive in bytes, with topic `ready`.
    pub archive_bytes: Option<i64>,
    /// SHA-256 of the archive, with topic `ready`.
    pub archive_sha256: Option<String>,
    /// Rows by entity, with topic `ready`.
    pub row_counts: Option<serde_json::Value>,
    /// Which part of the data it is, with topic `ready`: of filters the columns, and not the values. `None` for the whole.
    pub scope: Option<serde_json::Value>,
    /// Whether only a part of the data was asked for.
    pub is_part: bool,
    /// The request.
    pub request_id: Uuid,
    /// Whose data.
    pub user_id: UserId,
    /// In the name of which organisation it was asked for.
    pub org_id: Option<String>,
    /// In which role it was asked for.
    pub asked_as: String,
    /// `night` or `at_once`.
    pub start: String,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// Until when it can be downloaded.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether it can be downloaded now.
    pub is_ready: bool,
    /// Whether it was downloaded, or a link to it was given.
    pub is_collected: bool,
}

/// How long others leave a notice alone that was taken. Longer than any try.
const LEASE: Duration = Duration::from_secs(120);

/// Takes notices of a channel that are due, the oldest first. Takes none while the channel is off or paused.
pub(crate) async fn take(state: &Pool, channel: Channel, most: i64) -> Result<Vec<Notice>> {
    sqlx::query_as!(
        Notice,
        r#"with due as (
               select n.id from public.data_export_notices n
               where n.state = 'due' and n.due_at <= now() and n.channel = $1
                   and exists (select from public.data_export_channels c
                               where c.channel = $1 and c.is_on and c.paused_at is null)
               order by n.due_at limit $2 for update skip locked
           )
           update public.data_export_notices n
           set due_at = now() + make_interval(secs => $3::double precision), tries = n.tries + 1
           from due, public.data_export_events e, public.data_export_requests r
           where n.id = due.id and e.id = n.event_id and r.id = e.request_id
           returning n.id, n.channel as "channel: Channel", n.topic as "topic: Topic", n.tries, n.first_due_at, e.at, e.reason,
               e.archive_bytes, e.archive_sha256, e.row_counts, e.scope,
               num_nonnulls(r.entities, r.since, r.until, r.filters) > 0 as "is_part!", r.id as request_id, r.user_id as "user_id: UserId",
               r.org_id, r.asked_as, r.start, r.requested_at, r.expires_at,
               r.status = 'ready' and r.expires_at > now() as "is_ready!",
               exists (select from public.data_export_accesses a
                       where a.request_id = r.id and a.action in ('linked', 'delivered')) as "is_collected!""#,
        channel.as_str(),
        most,
        LEASE.as_secs_f64(),
    )
    .fetch_all(state)
    .await
    .context("failed to take notices that are due")
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was accepted.
    Sent,
    /// There is no reason to send it any more, or no address.
    Dropped(&'static str),
    /// It was refused, and is tried again after this time.
    Again(String, Duration),
    /// It is given up.
    Dead(String),
    /// The server could not be reached. That was no try, and all others wait, too.
    Away(&'static str),
    /// A person has to fix something before anything is sent.
    Pause(String),
}

/// After this time a notice is given up although its server was never reached.
const LONGEST_AWAY: TimeDelta = TimeDelta::days(4);

/// Marks what became of a try, unless another worker has taken the notice since. `rest` is when it is due again after it
/// was no try.
pub(crate) async fn mark(state: &Pool, notice: &Notice, outcome: &Outcome, rest: Duration) -> Result<()> {
    let is_too_old = Utc::now() - notice.first_due_at > LONGEST_AWAY;
    let (next, code, wait) = match outcome {
        Outcome::Sent => ("sent", None, Duration::ZERO),
        Outcome::Dropped(code) => ("dropped", Some(*code), Duration::ZERO),
        Outcome::Again(code, wait) => ("due", Some(code.as_str()), *wait),
        Outcome::Dead(code) => ("dead", Some(code.as_str()), Duration::ZERO),
        Outcome::Away(code) if is_too_old => ("dead", Some(*code), Duration::ZERO),
        Outcome::Away(code) => ("due", Some(*code), rest),
        Outcome::Pause(_) => ("due", Some("paused"), Duration::ZERO),
    };
    let counts = !matches!(outcome, Outcome::Away(_) | Outcome::Pause(_));
    sqlx::query!(
        "update public.data_export_notices
         set state = $3, code = $4, due_at = now() + make_interval(secs => $5::double precision),
             tries = case when $6 then tries else tries - 1 end,
             ended_at = case when $3 <> 'due' then clock_timestamp() end
         where id = $1 and tries = $2 and state = 'due'",
        notice.id,
        notice.tries,
        next,
        code,
        wait.as_secs_f64(),
        counts,
    )
    .execute(state)
    .await
    .context("failed to mark a notice")?;
    Ok(())
}

/// Pauses a channel until an operator resumes it; it stays paused for the first cause.
pub(crate) async fn pause(state: &Pool, channel: Channel, because: &str) -> Result<()> {
    sqlx::query!(
        "update public.data_export_channels set paused_at = now(), paused_because = $2
         where channel = $1 and paused_at is null",
        channel.as_str(),
        because,
    )
    .execute(state)
    .await
    .context("failed to pause a channel")?;
    Ok(())
}

/// A channel, and what waits in it.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelStatus {
    /// The channel.
    pub channel: Channel,
    /// Whether notices are written for it.
    pub is_on: bool,
    /// Since when nothing is sent.
    pub paused_at: Option<DateTime<Utc>>,
    /// The cause that a person has to fix.
    pub paused_because: Option<String>,
    /// Notices that are due now.
    pub due: i64,
    /// For how long the oldest of them has been due, in seconds.
    pub oldest_due_seconds: i64,
    /// Notices that were given up.
    pub dead: i64,
}

/// Returns both channels.
pub async fn channels(database: impl PgExecutor<'_>) -> Result<Vec<ChannelStatus>> {
    sqlx::query_as!(
        ChannelStatus,
        r#"select c.channel as "channel: Channel", c.is_on, c.paused_at, c.paused_because, n.due as "due!",
               n.oldest as "oldest_due_seconds!", d.dead as "dead!"
           from public.data_export_channels c,
               lateral (select count(*) as due,
                            coalesce(extract(epoch from now() - min(m.first_due_at)), 0)::bigint as oldest
                        from public.data_export_notices m
                        where m.channel = c.channel and m.state = 'due' and m.first_due_at <= now()) n,
               lateral (select count(*) as dead from public.data_export_notices m
                        where m.channel = c.channel and m.state = 'dead') d
           order by c.channel"#,
    )
    .fetch_all(database)
    .await
    .context("failed to read the channels of notices")
}

/// Turns a channel on or off. What was due in one that is turned off is dropped, and counted.
pub async fn switch(state: &Pool, channel: Channel, is_on: bool) -> Result<u64> {
    sqlx::query!(
        "update public.data_export_channels set is_on = $2, paused_at = null, paused_because = null where channel = $1",
        channel.as_str(),
        is_on,
    )
    .execute(state)
    .await
    .context("failed to turn a channel on or off")?;
    if is_on {
        return Ok(0);
    }
    let dropped = sqlx::query!(
        "update public.data_export_notices set state = 'dropped', code = 'off', ended_at = clock_timestamp()
         where channel = $1 and state = 'due'",
        channel.as_str(),
    )
    .execute(state)
    .await
    .context("failed to drop what was due")?;
    Ok(dropped.rows_affected())
}

/// Sends again through a channel that was paused. Returns how many notices are due in it. They count as due from now on: the
/// time of the pause gives none of them up.
pub async fn resume(state: &Pool, channel: Channel) -> Result<u64> {
    let due = sqlx::query!(
        "with resumed as (
             update public.data_export_channels set paused_at = null, paused_because = null
             where channel = $1 and paused_at is not null returning channel
         )
         update public.data_export_notices n set first_due_at = now(), due_at = now()
         from resumed where n.channel = resumed.channel and n.state = 'due' and n.due_at <= now()",
        channel.as_str(),
    )
    .execute(state)
    .await
    .context("failed to resume a channel")?;
    Ok(due.rows_affected())
}

/// The state of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum NoticeState {
    /// It waits to be sent.
    Due,
    /// It was accepted.
    Sent,
    /// There was no reason to send it any more.
    Dropped,
    /// It was given up.
    Dead,
}

impl NoticeState {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Dead => "dead",
        }
    }
}

/// A notice as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its id, which a receiver has seen as `webhook-id` or in `Message-ID`.
    pub id: Uuid,
    /// The request.
    pub request_id: Uuid,
    /// How it goes out.
    pub channel: Channel,
    /// What it tells.
    pub topic: Topic,
    /// Its state.
    pub state: NoticeState,
    /// When it is tried next, if it is due.
    pub due_at: DateTime<Utc>,
    /// How often it was tried and answered.
    pub tries: i32,
    /// What the last try came to.
    pub code: Option<String>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Lists notices of a state, or of one request, or all; the newest first.
pub async fn list(
    state: &Pool,
    only: Option<NoticeState>,
    request_id: Option<Uuid>,
    most: i64,
) -> Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select n.id, e.request_id, n.channel as "channel: Channel", n.topic as "topic: Topic",
               n.state as "state: NoticeState", n.due_at, n.tries, n.code, n.ended_at
           from public.data_export_notices n join public.data_export_events e on e.id = n.event_id
           where ($1::text is null or n.state = $1) and ($2::uuid is null or e.request_id = $2)
           order by n.first_due_at desc, n.id limit $3"#,
        only.map(NoticeState::as_str),
        request_id,
        most,
    )
    .fetch_all(state)
    .await
    .context("failed to list notices")
}

/// Makes dead notices due again. Returns how many; `id` names one, which may also have been sent or dropped.
pub async fn again(state: &Pool, channel: Option<Channel>, id: Option<Uuid>) -> Result<u64> {
    let again = sqlx::query!(
        "update public.data_export_notices
         set state = 'due', due_at = now(), first_due_at = now(), tries = 0, code = null, ended_at = null
         where ($1::text is null or channel = $1)
             and case when $2::uuid is null then state = 'dead' else id = $2 and state <> 'due' end",
        channel.map(Channel::as_str),
        id,
    )
    .execute(state)
    .await
    .context("failed to make notices due again")?;
    Ok(again.rows_affected())
}

/// Sends again what ended since the given time: for a receiver that lost what it had accepted.
pub async fn replay(state: &Pool, channel: Channel, since: DateTime<Utc>) -> Result<u64> {
    let again = sqlx::query!(
        "update public.data_export_notices
         set state = 'due', due_at = now(), first_due_at = now(), tries = 0, code = null, ended_at = null
         where channel = $1 and state = 'sent' and ended_at >= $2",
        channel.as_str(),
        since,
    )
    .execute(state)
    .await
    .context("failed to make sent notices due again")?;
    Ok(again.rows_affected())
}

/// Drops dead notices, or the one with this id that is dead or due. Returns how many.
pub async fn drop_dead(state: &Pool, channel: Option<Channel>, id: Option<Uuid>) -> Result<u64> {
    let dropped = sqlx::query!(
        "update public.data_export_notices set state = 'dropped', code = 'by_hand', ended_at = clock_timestamp()
         where ($1::text is null or channel = $1)
             and case when $2::uuid is null then state = 'dead' else id = $2 and state in ('dead', 'due') end",
        channel.map(Channel::as_str),
        id,
    )
    .execute(state)
    .await
    .context("failed to drop notices")?;
    Ok(dropped.rows_affected())
}

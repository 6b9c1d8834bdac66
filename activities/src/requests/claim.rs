//! Claims a request for one attempt, renews the claim and releases it. The row stays `pending`.
//!
//! A claim is a random token on the row. It keeps two attempts apart (a zombie after a timeout, the old attempt of a
//! reset run, a second run started by hand): only the holder of the token can finish the request. The token is part of
//! the object's key, so no attempt overwrites the archive of another. The lease only says when *others* may take over:
//! the holder keeps the row until its token is replaced.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{postgres::types::PgInterval, types::Json};
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    scope::{Filters, Scope},
    user_id::UserId,
};

/// Names one attempt of one activity of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Workflow id, run id and activity id.
    pub name: String,
    /// Temporal's attempt number, from 1.
    pub attempt: i32,
    /// Earlier attempts that did not end by themselves: their worker was killed.
    pub killed: Vec<i32>,
}

impl Owner {
    /// Names the activity `activity_id` of one run.
    pub fn new(workflow_id: &str, run_id: &str, activity_id: &str, attempt: u32) -> Self {
        Self {
            name: format!("{workflow_id} {run_id} {activity_id}"),
            attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
            killed: Vec::new(),
        }
    }
}

/// A granted claim, and the columns of the row that the attempt needs.
pub struct Claim {
    /// The request.
    pub request_id: Uuid,
    /// The token that this attempt holds.
    pub token: Uuid,
    /// The user whose data is exported.
    pub user_id: UserId,
    /// When the user asked.
    pub requested_at: DateTime<Utc>,
    /// Which part of the data is asked for.
    pub scope: Scope,
    /// The names of the formats that are asked for.
    pub formats: Vec<String>,
    /// In which role it was asked for.
    pub asked_as: String,
    /// Key of the archive's pseudonyms.
    pub pseudonym_salt: Vec<u8>,
    /// Failures of our own code so far.
    pub attempts: u32,
    /// Workers that died while they held the request, this claim's predecessor included.
    pub lost: u32,
    /// The bucket of new archives, as the database records it.
    pub location: Option<String>,
    /// The database's time at the grant, and the local instant at which it arrived.
    pub granted: (DateTime<Utc>, Instant),
}

impl Claim {
    /// Returns the time of the database's clock, without another query.
    pub fn now(&self) -> DateTime<Utc> {
        let (at, heard) = self.granted;
        at + heard.elapsed()
    }
}

/// The result of asking for a claim.
pub enum Claimed {
    /// This attempt holds the request.
    Granted(Box<Claim>),
    /// It is no longer `pending`, or there is no such request.
    NotPending,
    /// Another attempt holds it for this long at most.
    Held(Duration),
}

/// Claims a request under a new `token`, in one statement.
///
/// Granted if the row is `pending` and one of three holds: no attempt holds it, its lease has expired, or an older
/// attempt of the same activity holds it, which Temporal has given up. A replaced claim counts as a lost worker. The exception is an
/// attempt that is known to have ended by itself: the database was away when its claim was to be released.
pub async fn claim(
    state: &Pool,
    request_id: Uuid,
    token: Uuid,
    owner: &Owner,
    lease: Duration,
) -> Result<Claimed> {
    let granted = sqlx::query!(
        r#"update public.data_export_requests
           set claims = claims + 1, held_back = null,
               lost = lost + (claim_token is not null
                              and not (claim_owner = $3 and claim_try <> all ($6::int[])))::int,
               claim_token = $2, claim_owner = $3, claim_try = $4, lease_until = clock_timestamp() + $5
           where id = $1 and status = 'pending'
               and (claim_token is null or lease_until <= clock_timestamp()
                    or (claim_owner = $3 and claim_try < $4))
           returning user_id as "user_id: UserId", requested_at, entities, since, until, filters as "filters: Json<Filters>", formats, asked_as, pseudonym_salt as "pseudonym_salt!", attempts, lost,
               (select i.location from public.data_export_installation i) as location,
               clock_timestamp() as "now!""#,
        request_id,
        token,
        owner.name,
        owner.attempt,
        interval(lease),
        &owner.killed,
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to claim request `{request_id}`"))?;
    if let Some(row) = granted {
        return Ok(Claimed::Granted(Box::new(Claim {
            request_id,
            token,
            user_id: row.user_id,
            requested_at: row.requested_at,
            scope: Scope::of_columns(row.entities, row.since, row.until, row.filters),
            formats: row.formats,
            asked_as: row.asked_as,
            pseudonym_salt: row.pseudonym_salt,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            lost: u32::try_from(row.lost).unwrap_or(0),
            location: row.location,
            granted: (row.now, Instant::now()),
        })));
    }
    let rest = sqlx::query_scalar!(
        r#"select extract(epoch from coalesce(lease_until, clock_timestamp()) - clock_timestamp())::float8 as "rest!"
           from public.data_export_requests where id = $1 and status = 'pending' for key share"#,
        request_id,
    )
    .fetch_optional(state)
    .await
    .with_context(|| format!("failed to read the claim on request `{request_id}`"))?;
    // Another attempt may have released the claim between the two statements: the caller then retries after one second.
    Ok(match rest {
        Some(seconds) => Claimed::Held(Duration::from_secs_f64(seconds.clamp(1.0, 3600.0))),
        None => Claimed::NotPending,
    })
}

/// Renews the lease. Returns false when the request is no longer this attempt's.
pub async fn renew(state: &Pool, request_id: Uuid, token: Uuid, lease: Duration) -> Result<bool> {
    let renewed = sqlx::query!(
        "update public.data_export_requests set lease_until = clock_timestamp() + $3
         where id = $1 and claim_token = $2 and status = 'pending'",
        request_id,
        token,
        interval(lease),
    )
    .execute(state)
    .await
    .with_context(|| format!("failed to renew the claim on request `{request_id}`"))?;
    Ok(renewed.rows_affected() == 1)
}

/// The effect of a failed attempt on the counters of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Nothing but the reason: the failure was not the request's.
    Nothing,
    /// One more of `attempts`: a failure of our own code.
    Attempt,
    /// The same, and the request rests until the next night.
    AttemptAndRest,
    /// The night in which a fault of the system lasted too long.
    Deferral(NaiveDate),
}

/// How the release of a claim ended.
#[derive(Debug)]
pub enum Released {
    /// The request is free. No commit can name the key of this attempt any more, so its object may be deleted.
    Released,
    /// It was no longer this attempt's.
    Lost,
    /// The database failed, or did not answer: the claim may be released or not.
    Unknown(anyhow::Error),
}

/// Releases the claim and records the reason.
pub async fn release(
    state: &Pool,
    request_id: Uuid,
    token: Uuid,
    last_error: &str,
    count: Count,
) -> Released {
    let released = sqlx::query!(
        "update public.data_export_requests
         set claim_token = null, claim_owner = null, claim_try = null, lease_until = null,
             last_error = $3, attempts = attempts + $4,
             given_up_at = case when $5 then clock_timestamp() else given_up_at end,
             deferred_nights = deferred_nights + ($6::date is not null and deferred_night is distinct from $6)::int,
             deferred_night = coalesce($6, deferred_night)
         where id = $1 and claim_token = $2 and status = 'pending'",
        request_id,
        token,
        last_error,
        i32::from(matches!(count, Count::Attempt | Count::AttemptAndRest)),
        count == Count::AttemptAndRest,
        if let Count::Deferral(night) = count { Some(night) } else { None },
    )
    .execute(state)
    .await
    .with_context(|| format!("failed to release the claim on request `{request_id}`"));
    match released {
        Ok(released) if released.rows_affected() == 1 => Released::Released,
        Ok(_) => Released::Lost,
        Err(error) => Released::Unknown(error),
    }
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

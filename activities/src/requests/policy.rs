//! How often people may ask for an export, and when it is made: one row, which the database enforces for every caller.
//!
//! Only the owner of the tables changes it, so neither the portal nor the worker can lift its own limits.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};

/// The hour (UTC) at which the schedule starts a night.
pub const NIGHT_HOUR: u32 = 1;

/// When an export is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum StartPolicy {
    /// In the night.
    Night,
    /// At once.
    AtOnce,
    /// As the caller chooses; in the night unless they do.
    Choose,
}

impl StartPolicy {
    /// Returns the text in the row.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Night => "night",
            Self::AtOnce => "at_once",
            Self::Choose => "choose",
        }
    }
}

/// The policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// When an export is made.
    pub start: StartPolicy,
    /// Maximum number of requests of one user that are pending, and of those made within `ask_every_seconds`.
    pub pending_per_user: i32,
    /// Maximum number of pending requests of one organisation.
    pub pending_per_org: i32,
    /// In which time a user may ask that often, in seconds.
    pub ask_every_seconds: i64,
}

/// A change of the policy; what is not set stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// See [`Policy::start`].
    pub start: Option<StartPolicy>,
    /// See [`Policy::pending_per_user`].
    pub pending_per_user: Option<i32>,
    /// See [`Policy::pending_per_org`].
    pub pending_per_org: Option<i32>,
    /// See [`Policy::ask_every_seconds`].
    pub ask_every: Option<Duration>,
}

/// Reads the policy.
pub async fn read(database: impl PgExecutor<'_>) -> Result<Policy> {
    sqlx::query_as!(
        Policy,
        r#"select start as "start: StartPolicy", pending_per_user, pending_per_org,
               extract(epoch from ask_every)::bigint as "ask_every_seconds!"
           from public.data_export_policy"#
    )
    .fetch_one(database)
    .await
    .context("failed to read the policy")
}

/// Changes the policy, as the owner of the tables, and returns it.
pub async fn change(owner: &mut PgConnection, change: &Change) -> Result<Policy> {
    let seconds = change.ask_every.map(|every| every.as_secs_f64());
    sqlx::query!(
        "update public.data_export_policy
         set start = coalesce($1, start), pending_per_user = coalesce($2, pending_per_user),
             pending_per_org = coalesce($3, pending_per_org),
             ask_every = coalesce(make_interval(secs => $4::double precision), ask_every)",
        change.start.map(StartPolicy::as_str),
        change.pending_per_user,
        change.pending_per_org,
        seconds,
    )
    .execute(&mut *owner)
    .await
    .context("failed to change the policy")?;
    read(owner).await
}

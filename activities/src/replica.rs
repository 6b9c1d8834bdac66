//! Chooses a replica of the source to read an account from; leaves nothing behind.
//!
//! The source, which is the primary, is asked whether the account exists and how far it has written; it alone
//! decides that an account is gone. The replica will do when it has replayed all that was written until then. Whatever
//! keeps it from that, the account is read on the source: a replica spares the source and is never waited for long.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use uuid::Uuid;

use crate::{
    catalogue::Catalogue,
    collect::{self, Account, Cut, Snapshot, while_alive},
    failure::{Failure, judge},
    pulse::Pulse,
};

/// How long an export waits for the replica to come as far as the source.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long it waits when another has just waited in vain: a night of small accounts must not stand still because the
/// replica does.
const SHORT_WAIT: Duration = Duration::from_millis(250);
/// For how long one wait in vain makes the others short.
const IMPATIENCE: Duration = Duration::from_secs(60);
/// From the first pause between two looks to the longest; each is twice the one before.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// How far the source has written, and what a server must be to be its replica. The timeline tells a server that
/// follows the source from one that follows what was the source before a failover.
const POSITION: &str = "
    select pg_catalog.pg_current_wal_lsn()::pg_catalog.text as reached,
        (select system_identifier from pg_catalog.pg_control_system()) as cluster,
        ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer as timeline,
        (select oid::bigint from pg_catalog.pg_database where datname = pg_catalog.current_database()) as database";

/// How a server stands to a position of the source. A replica's own timeline is that of its last restartpoint.
const STANDING: &str = "
    select pg_catalog.pg_is_in_recovery() as recovers,
        (select system_identifier from pg_catalog.pg_control_system()) as cluster,
        (select timeline_id from pg_catalog.pg_control_checkpoint()) as timeline,
        (select oid::bigint from pg_catalog.pg_database where datname = pg_catalog.current_database()) as database,
        pg_catalog.pg_wal_lsn_diff($1::pg_catalog.text::pg_catalog.pg_lsn,
            pg_catalog.pg_last_wal_replay_lsn())::bigint as behind";

/// Where the source was when it was asked.
#[derive(Debug, sqlx::FromRow)]
pub struct Position {
    reached: String,
    cluster: i64,
    timeline: i32,
    database: i64,
}

#[derive(sqlx::FromRow)]
struct Standing {
    recovers: bool,
    cluster: i64,
    timeline: i32,
    database: i64,
    behind: Option<i64>,
}

/// How a server stands to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It has replayed everything.
    Reached,
    /// It has so many bytes to replay.
    Behind(i64),
    /// It does not follow the source now.
    Astray,
    /// It never did: another cluster, or another database.
    Stranger,
}

/// Why an account is read on the source in spite of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The replica did not come far enough in time.
    Lag,
    /// It does not answer, or failed before the first row, with this code.
    Away(String),
    /// It does not follow the source now.
    Astray,
    /// It is no replica of the source.
    Stranger,
    /// Replaying cancelled the read, and would do so again.
    Conflict,
    /// It does not have the account, which the source has.
    Account,
}

impl Passed {
    /// All the texts of [`as_str`](Self::as_str).
    pub const ALL: [&str; 6] = ["lag", "away", "astray", "stranger", "conflict", "account"];

    /// Gives the reason as a label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Away(_) => "away",
            Self::Astray => "astray",
            Self::Stranger => "stranger",
            Self::Conflict => "conflict",
            Self::Account => "account",
        }
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag => f.write_str("the replica is behind"),
            Self::Away(code) => write!(f, "the replica failed with {code}"),
            Self::Astray => f.write_str("the replica does not follow the source now"),
            Self::Stranger => f.write_str("EXPORT_REPLICA_URL is no replica of the source"),
            Self::Conflict => f.write_str("replaying cancelled the read on the replica"),
            Self::Account => f.write_str("the replica does not have the account"),
        }
    }
}

/// A replica of the source, and how patient one is with it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Replica {
    pool: PgPool,
    wait: Duration,
    turns: Arc<Semaphore>,
    impatient_until: Arc<Mutex<Option<Instant>>>,
}

impl Replica {
    /// Takes the replica behind `pool`, for which an export waits for `wait` at most.
    ///
    /// `most` exports read at a time, on the replica and on the source together.
    pub fn new(pool: PgPool, wait: Duration, most: u32) -> Self {
        let turns = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX)));
        Self { pool, wait, turns, impatient_until: Arc::default() }
    }

    /// Gives the pool that reads on it.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Waits for a turn to read, here or on the source; it lasts until it is dropped.
    pub async fn turn(&self, pulse: &Pulse) -> anyhow::Result<OwnedSemaphorePermit> {
        let patience = self.pool.options().get_acquire_timeout();
        let turn = tokio::time::timeout(patience, Arc::clone(&self.turns).acquire_owned());
        let turn = while_alive(turn, pulse).await?.map_err(|_| sqlx::Error::PoolTimedOut);
        turn.context("failed to get a turn to read")?.context("the turns to read are over")
    }

    fn patience(&self) -> Duration {
        let until = *self.impatient_until.lock().unwrap_or_else(PoisonError::into_inner);
        let impatient = until.is_some_and(|until| Instant::now() < until);
        if impatient { self.wait.min(SHORT_WAIT) } else { self.wait }
    }

    fn waited_in_vain(&self) {
        let until = Instant::now() + IMPATIENCE;
        *self.impatient_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// How the opening of a snapshot on the replica ended.
pub enum Opened {
    /// The account is read here.
    Here(Snapshot),
    /// The account is read on the source.
    Passed(Passed),
}

/// Opens the snapshot of an account on the replica, or says why it is to be read on the source.
///
/// The account must have a row on the source.
pub async fn open(
    replica: &Replica,
    source: &PgPool,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> anyhow::Result<Opened> {
    let position = while_alive(ask(source, catalogue, account.user_id), pulse).await??;
    let connection = match while_alive(reach(replica, &position), pulse).await? {
        Ok(connection) => connection,
        Err(passed) => return Ok(Opened::Passed(passed)),
    };
    match collect::open_over(connection, catalogue, account, pulse).await {
        Ok(snapshot) => Ok(Opened::Here(snapshot)),
        Err(error) => passed(&error).map(Opened::Passed).ok_or(error),
    }
}

/// Asks the source, in this order, whether it has the account and how far it is: what it has then is what the replica
/// has there. What is committed asynchronously is ahead of that by a moment, which [`Passed::Account`] covers.
async fn ask(source: &PgPool, catalogue: &Catalogue, user: Uuid) -> anyhow::Result<Position> {
    if collect::existing_accounts(source, catalogue, &[user]).await?.is_empty() {
        return Err(Failure::AccountDeleted { relation: catalogue.account().relation.clone() }.into());
    }
    let mut connection = source.acquire().await.context("failed to connect to the source database")?;
    position(&mut connection).await.context("failed to ask the source database how far it is")
}

/// Reads where the source is; it must be a primary.
pub async fn position(source: &mut PgConnection) -> sqlx::Result<Position> {
    sqlx::query_as(POSITION).fetch_one(source).await
}

/// Looks how a server stands to a position of the source.
pub async fn look(replica: &mut PgConnection, position: &Position) -> sqlx::Result<Fit> {
    let found: Standing = sqlx::query_as(STANDING).bind(&position.reached).fetch_one(replica).await?;
    if (found.cluster, found.database) != (position.cluster, position.database) {
        return Ok(Fit::Stranger);
    }
    if !found.recovers || found.timeline != position.timeline {
        return Ok(Fit::Astray);
    }
    // Before anything was replayed there is no position.
    let behind = found.behind.unwrap_or(i64::MAX);
    Ok(if behind <= 0 { Fit::Reached } else { Fit::Behind(behind) })
}

/// Connects to the replica and waits until it has come to the position. That is looked at before the transaction: its
/// snapshot is taken with its first statement, and would be older than what that statement finds.
async fn reach(replica: &Replica, position: &Position) -> Result<Cut, Passed> {
    let deadline = Instant::now() + replica.patience();
    let [mut pause, longest] = PAUSES;
    let in_vain = |passed| {
        replica.waited_in_vain();
        passed
    };
    let away = |error: sqlx::Error| in_vain(Passed::Away(judge(&error.into()).code));
    let silent = |_| in_vain(Passed::Away("no answer".to_owned()));
    let connected = timeout_at(deadline, replica.pool.acquire()).await.map_err(silent)?;
    let mut connection = Cut::new(connected.map_err(away)?);
    loop {
        let Ok(session) = connection.get() else { return Err(Passed::Away("no connection".to_owned())) };
        match timeout_at(deadline, look(session, position)).await.map_err(silent)?.map_err(away)? {
            Fit::Reached => return Ok(connection),
            Fit::Behind(_) if Instant::now() + pause < deadline => sleep(pause).await,
            Fit::Behind(_) => {
                connection.keep();
                return Err(in_vain(Passed::Lag));
            }
            Fit::Astray => return Err(Passed::Astray),
            Fit::Stranger => return Err(Passed::Stranger),
        }
        pause = (pause * 2).min(longest);
    }
}

/// Tells whether an error that was met on the replica is a reason to read on the source instead.
///
/// What replaying has cancelled it would cancel again, the longer the account is read the surer. Other faults in the
/// midst of a read are tried again in their time: a DBA who stops a read does not ask for it on the source at once.
pub fn passed(error: &anyhow::Error) -> Option<Passed> {
    for cause in error.chain() {
        if let Some(Failure::AccountDeleted { .. }) = cause.downcast_ref() {
            return Some(Passed::Account);
        }
        if let Some(sqlx::Error::Database(database)) = cause.downcast_ref() {
            let replaying = matches!(database.code().as_deref(), Some("40001" | "40P01"));
            return replaying.then_some(Passed::Conflict);
        }
    }
    None
}

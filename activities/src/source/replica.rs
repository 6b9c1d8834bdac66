//! Chooses a replica of the source to read an account from; leaves nothing behind.
//!
//! The step asks the source, which is the primary, whether the account exists and how far the source has written. The
//! source alone decides that an account is gone. The replica is suitable when it has replayed everything that was
//! written until then. Otherwise the account is read on the source, whatever the reason: a replica spares the source,
//! and no export waits long for it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use sqlx::{PgConnection, PgExecutor};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    catalogue::Catalogue,
    database::pool::{Pool, Session},
    failure::{Failure, judge},
    pulse::Pulse,
    source::snapshot::{self, Account, Snapshot, while_alive},
    user_id::UserId,
};

/// How long an export waits for the replica to catch up with the source.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long an export waits when another has just waited without success: a replica that stalls must not stall a night
/// of small accounts.
const SHORT_WAIT: Duration = Duration::from_millis(250);
/// How long one wait without success makes the others short.
const IMPATIENCE: Duration = Duration::from_secs(60);
/// The first and the longest pause between two checks. Each pause is twice the one before.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

/// Reads how far the source has written, and what a replica of it must match. The timeline distinguishes a server that
/// follows the source from one that follows the former source after a failover.
const POSITION: &str = "
    select pg_catalog.pg_current_wal_lsn()::pg_catalog.text as reached,
        (select system_identifier from pg_catalog.pg_control_system()) as cluster,
        ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer as timeline,
        (select oid::bigint from pg_catalog.pg_database where datname = pg_catalog.current_database()) as database";

/// Reads the state of a server relative to a position of the source. A replica reports the timeline of its last
/// restartpoint.
const STATE: &str = "
    select pg_catalog.pg_is_in_recovery() as recovers,
        (select system_identifier from pg_catalog.pg_control_system()) as cluster,
        (select timeline_id from pg_catalog.pg_control_checkpoint()) as timeline,
        (select oid::bigint from pg_catalog.pg_database where datname = pg_catalog.current_database()) as database,
        pg_catalog.pg_wal_lsn_diff($1::pg_catalog.text::pg_catalog.pg_lsn,
            pg_catalog.pg_last_wal_replay_lsn())::bigint as behind";

/// The position of the source when it was asked.
#[derive(Debug, sqlx::FromRow)]
pub struct WalPosition {
    reached: String,
    cluster: i64,
    timeline: i32,
    database: i64,
}

#[derive(sqlx::FromRow)]
struct ReplicaState {
    recovers: bool,
    cluster: i64,
    timeline: i32,
    database: i64,
    behind: Option<i64>,
}

/// The state of a server relative to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It has replayed everything.
    Reached,
    /// It has this number of bytes to replay.
    Lagging(i64),
    /// It does not follow the source now.
    Diverged,
    /// It never followed the source: another cluster, or another database.
    Unrelated,
}

/// Why an account is read on the source although there is a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The replica did not catch up in time.
    Lag,
    /// It does not answer, or failed before the first row, with this code.
    Away(String),
    /// It does not follow the source now.
    Diverged,
    /// It is no replica of the source.
    Unrelated,
    /// Replaying cancelled the read, and would do so again.
    Conflict,
    /// It does not have the account, which the source has.
    Account,
}

impl Passed {
    /// All the texts of [`as_str`](Self::as_str).
    pub const ALL: [&str; 6] = ["lag", "away", "diverged", "unrelated", "conflict", "account"];

    /// Returns the reason as a label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Away(_) => "away",
            Self::Diverged => "diverged",
            Self::Unrelated => "unrelated",
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
            Self::Diverged => f.write_str("the replica does not follow the source now"),
            Self::Unrelated => f.write_str("EXPORT_REPLICA_URL is no replica of the source"),
            Self::Conflict => f.write_str("replaying cancelled the read on the replica"),
            Self::Account => f.write_str("the replica does not have the account"),
        }
    }
}

/// A replica of the source, and how long exports wait for it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Replica {
    pool: Pool,
    wait: Duration,
    turns: Arc<Semaphore>,
    impatient_until: Arc<Mutex<Option<Instant>>>,
}

impl Replica {
    /// Makes the replica behind `pool`. An export waits for it for `wait` at most.
    ///
    /// `most` is the maximum number of exports that read at a time, on the replica and on the source together.
    pub fn new(pool: Pool, wait: Duration, most: u32) -> Self {
        let turns = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX)));
        Self { pool, wait, turns, impatient_until: Arc::default() }
    }

    /// Returns the pool that reads on it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Waits for a turn to read, here or on the source. The turn lasts until it is dropped.
    pub async fn turn(&self, pulse: &Pulse) -> anyhow::Result<OwnedSemaphorePermit> {
        let patience = self.pool.acquire_timeout();
        let turn = tokio::time::timeout(patience, Arc::clone(&self.turns).acquire_owned());
        let turn = while_alive(turn, pulse).await?.map_err(|_| sqlx::Error::PoolTimedOut);
        turn.context("failed to get a turn to read")?.context("the turns to read are over")
    }

    fn patience(&self) -> Duration {
        let until = *self.impatient_until.lock().unwrap_or_else(PoisonError::into_inner);
        let impatient = until.is_some_and(|until| Instant::now() < until);
        if impatient { self.wait.min(SHORT_WAIT) } else { self.wait }
    }

    fn waited_without_success(&self) {
        let until = Instant::now() + IMPATIENCE;
        *self.impatient_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

/// The result of opening a snapshot on the replica.
pub enum Opened {
    /// The account is read on the replica.
    Here(Box<Snapshot>),
    /// The account is read on the source.
    Passed(Passed),
}

/// Opens the snapshot of an account on the replica, or returns why it must be read on the source.
///
/// The account must have a row on the source.
pub async fn open(
    replica: &Replica,
    source: &Pool,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> anyhow::Result<Opened> {
    let position = while_alive(ask(source, catalogue, &account.user_id), pulse).await??;
    let connection = match while_alive(reach(replica, &position), pulse).await? {
        Ok(connection) => connection,
        Err(passed) => return Ok(Opened::Passed(passed)),
    };
    match snapshot::open_over(connection, catalogue, account, pulse).await {
        Ok(snapshot) => Ok(Opened::Here(Box::new(snapshot))),
        Err(error) => passed(&error).map(Opened::Passed).ok_or(error),
    }
}

/// Asks the source, in this order, whether it has the account and how far it has written: a replica at that position
/// has the account too. An asynchronous commit is visible a moment before it is written, which [`Passed::Account`]
/// covers.
async fn ask(source: &Pool, catalogue: &Catalogue, user: &UserId) -> anyhow::Result<WalPosition> {
    if snapshot::existing_accounts(source, catalogue, [user]).await?.is_empty() {
        return Err(Failure::AccountDeleted { relation: catalogue.account().relation.clone() }.into());
    }
    position(source).await.context("failed to ask the source database how far it is")
}

/// Reads the position of the source, which must be a primary.
pub async fn position(source: impl PgExecutor<'_>) -> sqlx::Result<WalPosition> {
    sqlx::query_as(POSITION).fetch_one(source).await
}

/// Reads the state of a server relative to a position of the source.
pub async fn compare(replica: &mut PgConnection, position: &WalPosition) -> sqlx::Result<Fit> {
    let found: ReplicaState = sqlx::query_as(STATE).bind(&position.reached).fetch_one(replica).await?;
    if (found.cluster, found.database) != (position.cluster, position.database) {
        return Ok(Fit::Unrelated);
    }
    if !found.recovers || found.timeline != position.timeline {
        return Ok(Fit::Diverged);
    }
    // Before anything was replayed there is no position.
    let behind = found.behind.unwrap_or(i64::MAX);
    Ok(if behind <= 0 { Fit::Reached } else { Fit::Lagging(behind) })
}

/// Connects to the replica and waits until it has reached the position. Checks this before the transaction: the
/// snapshot is taken with the first statement, and would be older than the position that this statement finds.
async fn reach(replica: &Replica, position: &WalPosition) -> Result<Session, Passed> {
    let deadline = Instant::now() + replica.patience();
    let [mut pause, longest] = PAUSES;
    let without_success = |passed| {
        replica.waited_without_success();
        passed
    };
    let away = |error: sqlx::Error| without_success(Passed::Away(judge(&error.into()).code));
    let silent = |_| without_success(Passed::Away("no answer".to_owned()));
    let connected = timeout_at(deadline, replica.pool.acquire()).await.map_err(silent)?;
    let mut session = connected.map_err(away)?;
    loop {
        match timeout_at(deadline, compare(&mut session, position)).await.map_err(silent)?.map_err(away)? {
            Fit::Reached => return Ok(session),
            Fit::Lagging(_) if Instant::now() + pause < deadline => sleep(pause).await,
            Fit::Lagging(_) => {
                session.keep();
                return Err(without_success(Passed::Lag));
            }
            Fit::Diverged => return Err(Passed::Diverged),
            Fit::Unrelated => return Err(Passed::Unrelated),
        }
        pause = (pause * 2).min(longest);
    }
}

/// Returns why an error on the replica is a reason to read on the source instead; `None` if it is no reason.
///
/// Replaying would cancel the read again, more surely the longer the read takes. Other faults during a read are retried
/// later: a DBA who stops a read does not want it on the source at once.
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

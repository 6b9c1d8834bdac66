//! Reads one account: step one of an export, `pending` and claimed as it was before.
//!
//! One `REPEATABLE READ READ ONLY` transaction covers all entities, so that they fit together. It leaves
//! nothing behind: a connection whose transaction did not end well is closed and never used again. Which columns and
//! whose rows is the catalogue's business, what becomes of a row the caller's.

use std::{
    collections::HashSet,
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, Fuse},
    stream::BoxStream,
};
use sqlx::{Either, PgConnection, PgPool, Postgres, Row as _, pool::PoolConnection, postgres::PgRow};
use uuid::Uuid;

use crate::{
    catalogue::{
        Catalogue, Plan,
        sql::{Part, statement},
    },
    failure::{
        Failure, Reading,
        sqlstate::{self, Asked, Fault},
    },
    pulse::Pulse,
    session,
};

/// While a query has not answered yet, this often is said that it runs.
const STILL_RUNNING: Duration = Duration::from_secs(1);
/// For so long a query may compute before its first row. After that it no longer counts as running: it waits for a
/// lock that nobody gives back, or its server vanished without a word, and the attempt stalls.
const LONGEST_COMPUTATION: Duration = Duration::from_secs(30 * 60);

/// So many rows pass between two looks at the cancellation, which costs a lock.
const ROWS_PER_LOOK: u64 = 256;

/// Whose data, on which request.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The request.
    pub request_id: Uuid,
    /// The user.
    pub user_id: Uuid,
}

/// One account at one moment, open to be read. Dropped before [`close`](Self::close), its connection is cut.
pub struct Snapshot {
    /// The moment as of which all rows are.
    pub snapshot_at: DateTime<Utc>,
    /// The server's version.
    pub server_version: String,
    /// What there is to read.
    pub plan: Plan,
    connection: Cut,
    keys: Vec<KeySet>,
    reading: bool,
}

/// The keys of one kind, sorted, and beside them their computed columns.
struct KeySet {
    keys: Vec<String>,
    computed: Vec<Vec<Option<String>>>,
}

/// Opens the snapshot of an account in three round trips; the account must have a row.
pub async fn open(
    source: &PgPool,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> anyhow::Result<Snapshot> {
    let connection = while_alive(source.acquire(), pulse).await?;
    let connection = Cut::new(connection.context("failed to connect to the source database")?);
    open_over(connection, catalogue, account, pulse).await
}

/// As [`open`], over a connection that was chosen before.
pub(crate) async fn open_over(
    mut connection: Cut,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> anyhow::Result<Snapshot> {
    let begun = begin(connection.get()?, catalogue, account.request_id);
    let (snapshot_at, server_version, plan) = while_alive(begun, pulse).await??;
    let read = read_keys(connection.get()?, catalogue, account.user_id);
    let keys = while_alive(read, pulse).await??;
    Ok(Snapshot { snapshot_at, server_version, plan, connection, keys, reading: false })
}

/// Gives those of the users that still have a row; a soft-deleted one counts.
pub async fn existing_accounts(
    source: &PgPool,
    catalogue: &Catalogue,
    users: &[Uuid],
) -> anyhow::Result<HashSet<Uuid>> {
    let rows = sqlx::query_scalar(catalogue.accounts_statement()).bind(users).fetch_all(source).await;
    let relation = &catalogue.account().relation;
    Ok(rows.with_context(|| format!("failed to look for accounts in `{relation}`"))?.into_iter().collect())
}

impl Snapshot {
    /// Starts to read the rows of an entity, given by its index in the plan.
    pub fn rows<'s>(&'s mut self, entity: usize, pulse: &'s Pulse) -> anyhow::Result<Rows<'s>> {
        if self.reading {
            bail!("the rows of an earlier entity were not read to their end");
        }
        let plan = self.plan.entities.get(entity).context("there is no such entity")?;
        let set = self.keys.get(plan.keys).context("an entity's keys were not read")?;
        let stream = if set.keys.is_empty() {
            futures::stream::empty().boxed()
        } else {
            let mut query = sqlx::query(plan.statement.clone()).bind(&set.keys);
            for computed in &plan.computed {
                query = query.bind(set.computed.get(*computed).context("a computed column was not read")?);
            }
            query.fetch(self.connection.get()?)
        };
        self.reading = true;
        Ok(Rows {
            relation: &plan.relation,
            stream,
            cancelled: pulse.cancelled().boxed().fuse(),
            pulse,
            count: 0,
            reading: &mut self.reading,
        })
    }

    /// Finds out whether an error that was met while an entity was read is the fault of the account's values, as it
    /// seems, or of the keys, whose cast every account would fail at. The snapshot is of no further use.
    pub async fn blame(mut self, entity: usize, error: anyhow::Error, pulse: &Pulse) -> anyhow::Error {
        let undeliverable = matches!(error.downcast_ref(), Some(Failure::UndeliverableValue { .. }));
        let plan = self.plan.entities.get(entity);
        let set = plan.and_then(|plan| self.keys.get(plan.keys));
        let (true, Some(plan), Some(set), Ok(connection)) = (undeliverable, plan, set, self.connection.get())
        else {
            return error;
        };
        let cast = async {
            sqlx::raw_sql("rollback").execute(&mut *connection).await?;
            let mut query = sqlx::query(plan.cast.clone()).bind(&set.keys);
            for computed in plan.computed.iter().filter_map(|computed| set.computed.get(*computed)) {
                query = query.bind(computed);
            }
            query.execute(connection).await
        };
        let Ok(Err(cast)) = while_alive(cast, pulse).await else { return error };
        let sqlstate = sqlstate::of(&cast);
        if sqlstate::fault(Asked::Cast, &sqlstate) != Fault::Catalogue {
            return error;
        }
        let what = format!("the keys of entity `{}` do not fit its column, SQLSTATE {sqlstate}", plan.name);
        Failure::CatalogueDrift(vec![what]).into()
    }

    /// Ends the transaction and gives the connection back for the next export.
    pub async fn close(mut self) -> anyhow::Result<()> {
        if self.reading {
            bail!("the rows of an entity were not read to their end");
        }
        let committed = sqlx::raw_sql("commit").execute(self.connection.get()?).await;
        committed.context("failed to end the read transaction")?;
        self.connection.keep();
        Ok(())
    }
}

/// The rows of one entity as they come from the server.
pub struct Rows<'s> {
    relation: &'s str,
    stream: BoxStream<'s, sqlx::Result<PgRow>>,
    cancelled: Fuse<BoxFuture<'s, ()>>,
    pulse: &'s Pulse,
    count: u64,
    reading: &'s mut bool,
}

impl Rows<'_> {
    /// Gives the next row. Waiting for the first one counts as movement, waiting for a later one does not.
    pub async fn next(&mut self) -> anyhow::Result<Option<PgRow>> {
        if self.count.is_multiple_of(ROWS_PER_LOOK) && self.pulse.is_cancelled() {
            return Err(Failure::Interrupted.into());
        }
        let row = if self.count == 0 {
            while_alive(self.stream.next(), self.pulse).await?
        } else {
            tokio::select! {
                biased;
                row = self.stream.next() => row,
                () = &mut self.cancelled => return Err(Failure::Interrupted.into()),
            }
        };
        let row = row.transpose().map_err(|error| blame_rows(self.relation, self.count, error));
        match row.with_context(|| Reading(format!("`{}`", self.relation)))? {
            Some(row) => {
                self.count += 1;
                self.pulse.beat(1);
                Ok(Some(row))
            }
            None => {
                *self.reading = false;
                Ok(None)
            }
        }
    }

    /// Gives the number of rows so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Begins the transaction and reads clock, version and system catalogs, all in one message.
async fn begin(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    request: Uuid,
) -> anyhow::Result<(DateTime<Utc>, String, Plan)> {
    let name = format!("export-worker {request}");
    let check = catalogue.check_statement();
    let message = statement(&[
        Part::Sql("begin isolation level repeatable read read only; "),
        Part::Trusted(session::in_transaction()),
        Part::Sql("set local application_name = "),
        Part::Literal(&name),
        Part::Sql("; select now(), pg_catalog.current_setting('server_version'); "),
        Part::Trusted(check.as_str()),
    ]);
    let mut answers = sqlx::raw_sql(message).fetch_many(connection);
    let mut clock = None;
    let mut rows = Vec::new();
    while let Some(answer) = answers.try_next().await.context("failed to begin the read transaction")? {
        match answer {
            Either::Left(_) => {}
            Either::Right(row) if clock.is_none() => {
                let now = row.try_get(0).context("failed to read the clock of the source database")?;
                clock =
                    Some((now, row.try_get(1).context("failed to read the version of the source database")?));
            }
            Either::Right(row) => rows.push(row),
        }
    }
    drop(answers);
    let (now, version) = clock.context("the source database did not say its time")?;
    Ok((now, version, catalogue.plan(&rows)?))
}

/// Reads whose rows: each set of keys once, sorted.
async fn read_keys(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    user: Uuid,
) -> anyhow::Result<Vec<KeySet>> {
    let answer = sqlx::query(catalogue.keys_statement()).bind(user).fetch_one(connection).await;
    let row = answer.map_err(blame_keys_query).context(Reading("the keys of the account".to_owned()))?;
    let exists: bool = row.try_get(1).context("failed to read whether the account exists")?;
    if !exists {
        return Err(Failure::AccountDeleted { relation: catalogue.account().relation.clone() }.into());
    }
    let mut sets = Vec::new();
    let mut column = 2;
    for (name, computed) in catalogue.key_sets() {
        let mut next = || {
            column += 1;
            column - 1
        };
        let keys: Vec<String> =
            row.try_get(next()).with_context(|| format!("failed to read the keys `{name}`"))?;
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            // Its rows would be exported twice.
            return Err(Failure::CatalogueDrift(vec![format!(
                "the query of keys `{name}` gives a key twice"
            )])
            .into());
        }
        let computed = (0..computed).map(|_| row.try_get(next())).collect::<sqlx::Result<_>>();
        sets.push(KeySet {
            keys,
            computed: computed.with_context(|| format!("failed to read the keys `{name}`"))?,
        });
    }
    Ok(sets)
}

/// A keys query that no longer fits the database is no fault of the account whose turn it is, nor does it heal by itself.
fn blame_keys_query(error: sqlx::Error) -> anyhow::Error {
    let sqlstate = sqlstate::of(&error);
    match sqlstate::fault(Asked::Keys, &sqlstate) {
        Fault::Value => {
            let what = "the keys of the account".to_owned();
            Failure::UndeliverableValue { what, sqlstate }.into()
        }
        Fault::Catalogue => {
            Failure::CatalogueDrift(vec![format!("a keys query failed with SQLSTATE {sqlstate}")]).into()
        }
        Fault::System => error.into(),
    }
}

/// An error in the midst of rows may be about a value that is there: another attempt would meet it again.
///
/// Which value, PostgreSQL does not say; all rows before it have arrived.
fn blame_rows(relation: &str, rows: u64, error: sqlx::Error) -> anyhow::Error {
    let sqlstate = sqlstate::of(&error);
    match sqlstate::fault(Asked::Rows, &sqlstate) {
        Fault::Value => {
            let what = format!("`{relation}` after {rows} rows");
            Failure::UndeliverableValue { what, sqlstate }.into()
        }
        Fault::Catalogue | Fault::System => error.into(),
    }
}

/// Waits for a query, says that it runs, and stops when the attempt is to stop.
pub(crate) async fn while_alive<T>(work: impl Future<Output = T>, pulse: &Pulse) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work.fuse());
    let mut cancelled = std::pin::pin!(pulse.cancelled());
    let began = Instant::now();
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = &mut cancelled => return Err(Failure::Interrupted),
            () = tokio::time::sleep(STILL_RUNNING) => {
                if began.elapsed() < LONGEST_COMPUTATION {
                    pulse.beat(1);
                }
            }
        }
    }
}

/// A connection that is cut when it is dropped: a half-read answer or an open transaction must not go back to
/// the pool, which would first drain it.
pub(crate) struct Cut(Option<PoolConnection<Postgres>>);

impl Cut {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self(Some(connection))
    }

    pub(crate) fn get(&mut self) -> anyhow::Result<&mut PgConnection> {
        self.0.as_deref_mut().context("the read connection is already given back")
    }

    /// Gives the connection back to its pool.
    pub(crate) fn keep(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // Detached, it is closed with its socket at once, without a word to a server that may not listen.
            drop(connection.detach());
        }
    }
}

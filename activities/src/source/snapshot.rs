//! Reads one account, the first step of an export. The row stays `pending` and claimed.
//!
//! One `REPEATABLE READ READ ONLY` transaction covers all entities, so that they are consistent. It leaves nothing
//! behind: a connection whose transaction did not end well is closed and never reused. The catalogue decides which
//! columns and whose rows are read. The caller decides what happens to a row.

mod preview;

use std::{
    collections::HashSet,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, Fuse},
    stream::BoxStream,
};
use sqlx::{Either, PgConnection, Row as _, postgres::PgRow};
use uuid::Uuid;

pub use self::preview::Previewed;
use crate::{
    catalogue::{
        Catalogue, EntityPlan, Plan,
        sql::{SqlPart, statement},
    },
    database::{
        pool::{Pool, Session},
        session,
    },
    failure::{
        Failure, Reading,
        sqlstate::{self, Asked, Blame},
    },
    pulse::Pulse,
    scope::Scope,
    user_id::UserId,
};

/// How often a query that has not answered yet is counted as movement.
const STILL_RUNNING: Duration = Duration::from_secs(1);
/// How long a query may compute before its first row. After that it no longer counts as movement, and the attempt
/// stalls: the query waits for a lock that is never released, or its server vanished silently.
const LONGEST_COMPUTATION: Duration = Duration::from_secs(30 * 60);

/// Number of rows between two checks for cancellation. A check costs a lock.
const ROWS_PER_CHECK: u64 = 256;

/// Finds the tables of which the transaction sees no rows, because they were rewritten, emptied or replaced after its
/// snapshot was taken: a migration that changes a type, `truncate`, or a drop and a create. PostgreSQL shows such a table
/// as empty. Then ends the transaction.
///
/// The transaction has locked everything that it has read, partitions and tables behind views, so nothing can change
/// any more. The row of `pg_class` is that of the snapshot, the function returns the file of today. A relation that the
/// snapshot does not know is new; if it is an index, that is harmless.
const CHANGED_AND_COMMIT: &str = "\
    select coalesce(c.oid, l.relation)::pg_catalog.regclass::pg_catalog.text
    from pg_catalog.pg_locks l left join pg_catalog.pg_class c on c.oid = l.relation
    where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation'
        and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        and case when c.oid is null then pg_catalog.pg_get_indexdef(l.relation) is null
            else c.relkind in ('r', 'm') and c.relfilenode <> 0
                and c.relfilenode is distinct from pg_catalog.pg_relation_filenode(c.oid) end
    order by 1;
    commit";

/// The account to read, and the request that asks for it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The request.
    pub request_id: Uuid,
    /// The user.
    pub user_id: UserId,
}

/// One account at one moment, open for reading. A drop before [`close`](Self::close) closes the session.
pub struct Snapshot {
    /// The moment that all rows show.
    pub snapshot_at: DateTime<Utc>,
    /// The server's version.
    pub server_version: String,
    /// The entities to read, and how.
    pub plan: Arc<Plan>,
    session: Session,
    keys: Vec<KeySet>,
    /// Whether each entity has rows; empty if all may have some.
    filled: Vec<bool>,
    reading: bool,
}

/// The sorted keys of one kind, and their computed columns.
struct KeySet {
    /// Each column of the keys, one text for each key.
    columns: Vec<Vec<String>>,
    computed: Vec<Vec<Option<String>>>,
}

/// Opens the snapshot of an account in two round trips, or three if there are many entities; one more after the schema
/// has changed. The account must have a row.
pub async fn open(
    source: &Pool,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> anyhow::Result<Snapshot> {
    let session = while_alive(source.acquire(), pulse).await?;
    let session = session.context("failed to connect to the source database")?;
    open_over(session, catalogue, account, pulse).await
}

/// Like [`open`], in a session that the caller has chosen.
pub(crate) async fn open_over(
    mut session: Session,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> anyhow::Result<Snapshot> {
    let begun = begin(&mut session, catalogue, account.request_id);
    let (snapshot_at, server_version, plan) = while_alive(begun, pulse).await??;
    let read = read_keys(&mut session, catalogue, &plan, &account.user_id);
    let keys = while_alive(read, pulse).await??;
    let filled = while_alive(find_filled(&mut session, &plan, &keys), pulse).await??;
    Ok(Snapshot { snapshot_at, server_version, plan, session, keys, filled, reading: false })
}

/// Returns the users that still have a row. A soft-deleted row counts.
pub async fn existing_accounts(
    source: &Pool,
    catalogue: &Catalogue,
    users: impl IntoIterator<Item = &UserId>,
) -> anyhow::Result<HashSet<String>> {
    let users: Vec<&str> = users.into_iter().map(UserId::as_str).collect();
    let mut session = source.acquire().await.context("failed to connect to the source database")?;
    let statement = catalogue.accounts_statement(&mut session).await?;
    let rows = sqlx::query_scalar(statement).bind(users).fetch_all(&mut *session).await;
    let relation = &catalogue.account().relation;
    let rows = rows.with_context(|| format!("failed to look for accounts in `{relation}`"))?;
    session.keep();
    Ok(rows.into_iter().collect())
}

impl Snapshot {
    /// Starts to read the rows of an entity, given by its index in the plan: all, or those of a scope.
    pub fn rows<'s>(
        &'s mut self,
        entity: usize,
        scope: Option<&Scope>,
        pulse: &'s Pulse,
    ) -> anyhow::Result<Rows<'s>> {
        let plan = self.plan.entities.get(entity).context("there is no such entity")?;
        let is_empty = self.filled.get(entity) == Some(&false);
        let Self { session, keys, reading, .. } = self;
        read(session, plan, scope, is_empty, keys, reading, pulse)
    }

    /// Starts to list the files of a set, given by its index in the plan: all, or those of a scope.
    pub fn files<'s>(
        &'s mut self,
        set: usize,
        scope: Option<&Scope>,
        pulse: &'s Pulse,
    ) -> anyhow::Result<Rows<'s>> {
        let plan = self.plan.files.get(set).context("there is no such set of files")?;
        let Self { session, keys, reading, .. } = self;
        read(session, plan, scope, false, keys, reading, pulse)
    }

    /// Finds the cause of an error in the rows of an entity: a value of the account, as it seems, or the keys, whose
    /// cast would fail for every account. The snapshot cannot be used afterwards.
    pub async fn blame(mut self, entity: usize, error: anyhow::Error, pulse: &Pulse) -> anyhow::Error {
        let undeliverable = matches!(error.downcast_ref(), Some(Failure::UndeliverableValue { .. }));
        let plan = self.plan.entities.get(entity);
        let set = plan.and_then(|plan| self.keys.get(plan.keys));
        let (true, Some(plan), Some(set)) = (undeliverable, plan, set) else { return error };
        let connection = &mut *self.session;
        let cast = async {
            sqlx::raw_sql("rollback").execute(&mut *connection).await?;
            let mut query = sqlx::query(plan.cast.clone());
            for column in &set.columns {
                query = query.bind(column);
            }
            for computed in plan.computed.iter().filter_map(|computed| set.computed.get(*computed)) {
                query = query.bind(computed);
            }
            query.execute(connection).await
        };
        let Ok(Err(cast)) = while_alive(cast, pulse).await else { return error };
        let sqlstate = sqlstate::of(&cast);
        if sqlstate::fault(Asked::Cast, &sqlstate) != Blame::Catalogue {
            return error;
        }
        let what = format!("the keys of entity `{}` do not fit its column, SQLSTATE {sqlstate}", plan.name);
        Failure::CatalogueDrift(vec![what]).into()
    }

    /// Ends the transaction and returns the connection to its pool for the next export.
    ///
    /// # Errors
    /// [`Failure::SourceChanged`] when the rows of a table may be missing.
    pub async fn close(mut self) -> anyhow::Result<()> {
        if self.reading {
            bail!("the rows of an entity were not read to their end");
        }
        let changed = sqlx::raw_sql(CHANGED_AND_COMMIT).fetch_all(&mut *self.session).await;
        let changed = changed.context("failed to end the read transaction")?;
        self.session.keep();
        if changed.is_empty() {
            return Ok(());
        }
        let names = changed.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>();
        Err(Failure::SourceChanged(names.context("failed to read which tables changed")?).into())
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
    /// Returns the next row. Waiting for the first row counts as movement; waiting for a later row does not.
    pub async fn next(&mut self) -> anyhow::Result<Option<PgRow>> {
        if self.count.is_multiple_of(ROWS_PER_CHECK) {
            self.pulse.check()?;
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

    /// Returns the number of rows so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Starts a statement over its keys.
fn read<'s>(
    session: &'s mut Session,
    plan: &'s EntityPlan,
    scope: Option<&Scope>,
    is_empty: bool,
    keys: &'s [KeySet],
    reading: &'s mut bool,
    pulse: &'s Pulse,
) -> anyhow::Result<Rows<'s>> {
    if *reading {
        bail!("the rows of an earlier entity were not read to their end");
    }
    let set = keys.get(plan.keys).context("an entity's keys were not read")?;
    let stream = if is_empty || set.columns.first().is_none_or(Vec::is_empty) {
        futures::stream::empty().boxed()
    } else {
        let cut = scope.zip(plan.scoped.as_ref());
        let mut query = sqlx::query(cut.map_or(&plan.statement, |(_, scoped)| scoped).clone());
        for column in &set.columns {
            query = query.bind(column);
        }
        for computed in &plan.computed {
            query = query.bind(set.computed.get(*computed).context("a computed column was not read")?);
        }
        if let Some((scope, _)) = cut {
            if plan.has_time {
                query = query.bind(scope.since).bind(scope.until);
            }
            let filters = scope.filters.get(&plan.name);
            for column in &plan.filter {
                query = query.bind(filters.and_then(|filters| filters.get(column)).cloned());
            }
        }
        query.fetch(&mut **session)
    };
    *reading = true;
    Ok(Rows {
        relation: &plan.relation,
        stream,
        cancelled: pulse.cancelled().boxed().fuse(),
        pulse,
        count: 0,
        reading,
    })
}

/// Begins the transaction and reads clock, version and system catalogs in one message, or in two after the schema has
/// changed.
async fn begin(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    request: Uuid,
) -> anyhow::Result<(DateTime<Utc>, String, Arc<Plan>)> {
    let name = format!("export-worker {request}");
    let known = catalogue.known_plan();
    let (fingerprint, check) = (catalogue.fingerprint_statement(), catalogue.check_statement());
    let message = statement(&[
        SqlPart::Sql("begin isolation level repeatable read read only; "),
        SqlPart::Trusted(session::in_transaction()),
        SqlPart::Sql("set local application_name = "),
        SqlPart::Literal(&name),
        SqlPart::Sql("; select now(), pg_catalog.current_setting('server_version'), ("),
        SqlPart::Trusted(fingerprint.as_str()),
        SqlPart::Sql("); "),
        SqlPart::Trusted(if known.is_none() { check.as_str() } else { "" }),
    ]);
    let mut answers = sqlx::raw_sql(message).fetch_many(&mut *connection);
    let mut first = None;
    let mut found = Vec::new();
    while let Some(answer) = answers.try_next().await.context("failed to begin the read transaction")? {
        match answer {
            Either::Left(_) => {}
            Either::Right(row) if first.is_none() => first = Some(row),
            Either::Right(row) => found.push(row),
        }
    }
    drop(answers);
    let first = first.context("the source database did not say its time")?;
    let now = first.try_get(0).context("failed to read the clock of the source database")?;
    let version = first.try_get(1).context("failed to read the version of the source database")?;
    // NULL if there is none of the relations.
    let fingerprint: Option<String> = first.try_get(2).context("failed to read the schema's fingerprint")?;
    let fingerprint = fingerprint.unwrap_or_default();
    let plan = match known {
        Some(known) if known.fingerprint == fingerprint => known.plan,
        Some(_) => {
            let found = sqlx::raw_sql(check).fetch_all(connection).await;
            catalogue.learn_plan(fingerprint, &found.context("failed to read the system catalogs")?)?
        }
        None => catalogue.learn_plan(fingerprint, &found)?,
    };
    Ok((now, version, plan))
}

/// Reads the keys of the account: each set once, sorted.
async fn read_keys(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    plan: &Plan,
    user: &UserId,
) -> anyhow::Result<Vec<KeySet>> {
    let deleted = || Failure::AccountDeleted { relation: catalogue.account().relation.clone() };
    let answer = sqlx::query(plan.keys.clone()).bind(user.as_str()).fetch_one(&mut *connection).await;
    let row = match answer {
        Err(error) if cannot_be_a_user(connection, plan, user, &error).await => return Err(deleted().into()),
        answer => answer.map_err(blame_keys_query).context(Reading("the keys of the account".to_owned()))?,
    };
    let exists: bool = row.try_get(1).context("failed to read whether the account exists")?;
    if !exists {
        return Err(deleted().into());
    }
    let mut sets = Vec::new();
    let mut column = 2;
    for (name, columns, computed) in catalogue.key_sets() {
        let mut next = || {
            column += 1;
            column - 1
        };
        let context = || format!("failed to read the keys `{name}`");
        let columns: Vec<Vec<String>> =
            (0..columns).map(|_| row.try_get(next())).collect::<sqlx::Result<_>>().with_context(context)?;
        let count = columns.first().map_or(0, Vec::len);
        if (1..count).any(|key| columns.iter().all(|column| column[key - 1] == column[key])) {
            // Its rows would be exported twice.
            return Err(Failure::CatalogueDrift(vec![format!(
                "the query of keys `{name}` gives a key twice, with different computed columns"
            )])
            .into());
        }
        let computed = (0..computed).map(|_| row.try_get(next())).collect::<sqlx::Result<_>>();
        sets.push(KeySet { columns, computed: computed.with_context(context)? });
    }
    Ok(sets)
}

/// Finds which entities have rows, so that the others cost no round trip.
async fn find_filled(
    connection: &mut PgConnection,
    plan: &Plan,
    keys: &[KeySet],
) -> anyhow::Result<Vec<bool>> {
    let Some(statement) = &plan.filled else { return Ok(Vec::new()) };
    let mut query = sqlx::query_scalar(statement.clone());
    for column in keys.iter().flat_map(|set| &set.columns) {
        query = query.bind(column);
    }
    match query.fetch_one(connection).await {
        Ok(filled) => Ok(filled),
        Err(error) => {
            let sqlstate = sqlstate::of(&error);
            match sqlstate::fault(Asked::Cast, &sqlstate) {
                Blame::Catalogue => {
                    let what = format!(
                        "keys do not fit the column that they are compared with, SQLSTATE {sqlstate}"
                    );
                    Err(Failure::CatalogueDrift(vec![what]).into())
                }
                Blame::Value | Blame::System => {
                    Err(anyhow::Error::new(error).context("failed to look for rows of the account"))
                }
            }
        }
    }
}

/// Returns whether the keys could not be read because no account can have this id, such as a text where ids are numbers.
async fn cannot_be_a_user(
    connection: &mut PgConnection,
    plan: &Plan,
    user: &UserId,
    error: &sqlx::Error,
) -> bool {
    if !sqlstate::of(error).starts_with("22") {
        return false;
    }
    let cast = async {
        sqlx::raw_sql("rollback").execute(&mut *connection).await?;
        sqlx::query(plan.cast_user.clone()).bind(user.as_str()).execute(&mut *connection).await
    };
    matches!(cast.await, Err(error) if sqlstate::of(&error).starts_with("22"))
}

/// Classifies an error of the keys query. A query that no longer fits the database is not the account's fault, and a
/// retry does not fix it.
fn blame_keys_query(error: sqlx::Error) -> anyhow::Error {
    let sqlstate = sqlstate::of(&error);
    match sqlstate::fault(Asked::Keys, &sqlstate) {
        Blame::Value => {
            let what = "the keys of the account".to_owned();
            Failure::UndeliverableValue { what, sqlstate }.into()
        }
        Blame::Catalogue => {
            Failure::CatalogueDrift(vec![format!("a keys query failed with SQLSTATE {sqlstate}")]).into()
        }
        Blame::System => error.into(),
    }
}

/// Classifies an error among the rows. It may be about a stored value: then another attempt fails at it again.
///
/// PostgreSQL does not report which value. All rows before it have arrived.
fn blame_rows(relation: &str, rows: u64, error: sqlx::Error) -> anyhow::Error {
    let sqlstate = sqlstate::of(&error);
    match sqlstate::fault(Asked::Rows, &sqlstate) {
        Blame::Value => {
            let what = format!("`{relation}` after {rows} rows");
            Failure::UndeliverableValue { what, sqlstate }.into()
        }
        Blame::Catalogue | Blame::System => error.into(),
    }
}

/// Waits for a query, counts it as movement, and stops when the attempt is cancelled.
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

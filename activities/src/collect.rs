//! Reads the rows of one account: one snapshot, the keys once, then one streamed statement per entity.
//!
//! Everything happens in one `REPEATABLE READ READ ONLY` transaction, which ends before the upload begins. A snapshot
//! that is not closed in good order takes its connection with it: a half-read one never returns to the pool.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::BoxStream};
use indexmap::IndexMap;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Postgres, Row,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use uuid::Uuid;

use crate::{
    catalogue::{Catalogue, Plan, generated, ident, relation},
    failure::Failure,
    pulse::Pulse,
};

/// While a statement has not given its first row, this often says that something moves: the server is at work.
const WAITING: Duration = Duration::from_secs(2);

/// Whose data is read, for which request.
#[derive(Clone, Debug)]
pub struct Account {
    /// The request; it stands in `application_name`, so that a DBA sees what runs.
    pub request_id: Uuid,
    /// The user.
    pub user_id: Uuid,
}

/// One account as of one moment.
pub struct Snapshot {
    /// `now()` of the transaction.
    pub snapshot_at: DateTime<Utc>,
    /// The server's version.
    pub server_version: String,
    /// How the entities are read.
    pub plan: Plan,
    keys: IndexMap<String, Keys>,
    connection: Connection,
}

/// The keys of one set, sorted, with the computed columns beside them; all as text.
struct Keys {
    keys: Vec<String>,
    computed: IndexMap<String, Vec<Option<String>>>,
}

/// A pooled connection that is closed, not returned, unless it is given back on purpose.
struct Connection(Option<PoolConnection<Postgres>>);

impl Connection {
    fn get(&mut self) -> Result<&mut PgConnection> {
        Ok(self.0.as_mut().context("the snapshot was closed")?)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // Dropping a detached connection closes its socket at once, whatever is still on its way.
            drop(connection.detach());
        }
    }
}

/// Opens the snapshot: fits the catalogue, makes sure that the account exists, reads its keys.
///
/// # Errors
/// [`Failure::AccountDeleted`] when the account has no row, [`Failure::CatalogueDrift`] and [`Failure::RowSecurity`] when
/// the catalogue does not fit, or the database's error.
pub async fn open(
    source: &PgPool,
    catalogue: &Catalogue,
    account: &Account,
    pulse: &Pulse,
) -> Result<Snapshot> {
    tokio::select! {
        snapshot = read_head(source, catalogue, account) => snapshot,
        () = pulse.cancelled() => Err(Failure::Interrupted.into()),
    }
}

async fn read_head(source: &PgPool, catalogue: &Catalogue, account: &Account) -> Result<Snapshot> {
    let pooled = source.acquire().await.context("failed to get a connection to the source database")?;
    let mut connection = Connection(Some(pooled));
    let conn = connection.get()?;
    sqlx::raw_sql("begin isolation level repeatable read read only")
        .execute(&mut *conn)
        .await
        .context("failed to begin the read transaction")?;
    let users = catalogue.account();
    let head = format!(
        "select now() as at, pg_catalog.current_setting('server_version') as version,
             pg_catalog.set_config('application_name', $2, true), pg_catalog.set_config('enable_sort', 'off', true),
             exists (select from {} t where t.{} = $1) as account",
        relation(&users.relation),
        ident(&users.by),
    );
    // The catalogue is fitted first: a vanished relation is drift, not a database error.
    let plan = catalogue.resolve(conn).await?;
    let head = generated(&head)
        .bind(account.user_id)
        .bind(format!("export {}", account.request_id))
        .fetch_one(&mut *conn)
        .await
        .with_context(|| format!("failed to look for the account in `{}`", users.relation))?;
    if !head.try_get::<bool, _>("account")? {
        return Err(Failure::AccountDeleted { relation: users.relation.clone() }.into());
    }
    let mut keys = IndexMap::new();
    for set in catalogue.keys() {
        let computed: Vec<&String> =
            plan.entities.iter().filter(|entity| entity.keys == set.name).flat_map(|e| &e.computed).collect();
        keys.insert(
            set.name.clone(),
            read_keys(conn, &set.name, &set.query, &computed, account.user_id).await?,
        );
    }
    Ok(Snapshot {
        snapshot_at: head.try_get("at")?,
        server_version: head.try_get("version")?,
        plan,
        keys,
        connection,
    })
}

async fn read_keys(
    conn: &mut PgConnection,
    name: &str,
    query: &str,
    computed: &[&String],
    user_id: Uuid,
) -> Result<Keys> {
    let columns: String = computed.iter().map(|column| format!(", k.{}::text", ident(column))).collect();
    let sql = format!("select k.key::text{columns} from ({query}\n) k order by k.key");
    let rows = generated(&sql)
        .bind(user_id)
        .fetch_all(conn)
        .await
        .with_context(|| format!("failed to run the query of [keys.{name}]"))?;
    let mut keys = Keys { keys: Vec::with_capacity(rows.len()), computed: IndexMap::new() };
    for row in &rows {
        keys.keys.push(row.try_get(0).with_context(|| format!("[keys.{name}] gave a NULL key"))?);
        for (index, column) in computed.iter().enumerate() {
            let values: &mut Vec<Option<String>> = keys.computed.entry((*column).clone()).or_default();
            values.push(row.try_get(index + 1)?);
        }
    }
    Ok(keys)
}

impl Snapshot {
    /// Starts reading one entity of the plan; the rows come as the server finds them.
    pub fn rows<'s>(&'s mut self, entity: usize, pulse: &'s Pulse) -> Result<Rows<'s>> {
        let plan = self.plan.entities.get(entity).with_context(|| format!("there is no entity {entity}"))?;
        let keys = self.keys.get(&plan.keys).with_context(|| format!("[keys.{}] was not read", plan.keys))?;
        // Not `generated`: the statement must live as long as the rows, and is kept by the plan.
        let mut query: Query<'_, Postgres, PgArguments> =
            sqlx::query(AssertSqlSafe(plan.statement.clone())).bind(&keys.keys);
        let none = Vec::new();
        for column in &plan.computed {
            query = query.bind(keys.computed.get(column).unwrap_or(&none).clone());
        }
        let stream = query.fetch(self.connection.get()?);
        Ok(Rows { stream, relation: &plan.relation, pulse, flowing: false })
    }

    /// Ends the transaction and gives the connection back.
    pub async fn close(mut self) -> Result<()> {
        sqlx::raw_sql("commit")
            .execute(self.connection.get()?)
            .await
            .context("failed to end the read transaction")?;
        drop(self.connection.0.take());
        Ok(())
    }
}

/// The rows of one entity.
pub struct Rows<'s> {
    stream: BoxStream<'s, sqlx::Result<PgRow>>,
    relation: &'s str,
    pulse: &'s Pulse,
    flowing: bool,
}

impl Rows<'_> {
    /// Gives the next row, or nothing after the last.
    pub async fn next(&mut self) -> Result<Option<PgRow>> {
        let row = loop {
            tokio::select! {
                biased;
                row = self.stream.next() => break row,
                () = self.pulse.cancelled() => return Err(Failure::Interrupted.into()),
                () = tokio::time::sleep(WAITING), if !self.flowing => self.pulse.beat(1),
            }
        };
        self.flowing = true;
        self.pulse.beat(1);
        row.transpose().with_context(|| format!("failed to read `{}`", self.relation))
    }
}

/// Gives those of the users who have no row in the source any more.
pub async fn missing_accounts(
    source: &PgPool,
    catalogue: &Catalogue,
    users: &[Uuid],
) -> Result<HashSet<Uuid>> {
    let account = catalogue.account();
    let sql = format!(
        "select u.id from unnest($1::uuid[]) u(id) where not exists (select from {} t where t.{} = u.id)",
        relation(&account.relation),
        ident(&account.by),
    );
    let rows = generated(&sql)
        .bind(users)
        .fetch_all(source)
        .await
        .with_context(|| format!("failed to look for accounts in `{}`", account.relation))?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

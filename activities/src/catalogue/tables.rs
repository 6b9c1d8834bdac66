//! Reads tables of the platform from its system catalogs: columns, indexes and foreign keys.

use anyhow::Context as _;
use sqlx::{PgConnection, Row as _};

use super::{sql::halves, system_catalogs};

/// Our own tables in schema `public`. A platform may have others whose names begin in the same way.
const OURS: [&str; 12] = [
    "data_export_requests",
    "data_export_events",
    "data_export_installation",
    "data_export_brakes",
    "data_export_migrations",
    "data_export_policy",
    "data_export_sessions",
    "data_export_accesses",
    "data_export_progress",
    "data_export_channels",
    "data_export_notices",
    "data_export_checks",
];

/// A table or view of the platform.
#[derive(Clone)]
pub(super) struct Table {
    /// Its name, `schema.name`.
    pub(super) relation: String,
    pub(super) comment: Option<String>,
    pub(super) columns: Vec<TableColumn>,
    /// The columns of each index that gives an order.
    pub(super) indexes: Vec<Vec<String>>,
    pub(super) foreign_keys: Vec<ForeignKey>,
}

/// A column of a table.
#[derive(Clone, sqlx::FromRow)]
pub(super) struct TableColumn {
    pub(super) name: String,
    /// Its type as `format_type()` writes it.
    pub(super) pg_type: String,
    /// The same without a length, for a cast.
    pub(super) cast: String,
    pub(super) comment: Option<String>,
    pub(super) key_position: Option<i32>,
}

/// A foreign key to another table.
#[derive(Clone)]
pub(super) struct ForeignKey {
    pub(super) columns: Vec<String>,
    /// The table that it refers to, and its columns.
    pub(super) to: String,
    pub(super) to_columns: Vec<String>,
}

impl Table {
    /// Returns the columns of the primary key, in its order.
    pub(super) fn primary_key(&self) -> Vec<String> {
        let mut key: Vec<&TableColumn> =
            self.columns.iter().filter(|column| column.key_position.is_some()).collect();
        key.sort_by_key(|column| column.key_position);
        key.into_iter().map(|column| column.name.clone()).collect()
    }

    pub(super) fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A table that there is.
#[derive(sqlx::FromRow)]
pub(super) struct Listed {
    pub(super) relation: String,
    /// Whether foreign keys lead from it to one of the roots.
    pub(super) leads: bool,
}

/// Lists all tables in the schemas of some relations, and in every other schema those from which foreign keys lead to
/// one of the roots. Tables of ours do not count.
pub(super) async fn list(
    connection: &mut PgConnection,
    beside: &[&str],
    roots: &[&str],
) -> anyhow::Result<Vec<Listed>> {
    let mut schemas: Vec<&str> = beside.iter().map(|relation| halves(relation).0).collect();
    schemas.sort_unstable();
    schemas.dedup();
    sqlx::query_as(
        "with recursive leads(oid) as (
            select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname || '.' || c.relname = any($2)
            union
            select f.conrelid from pg_catalog.pg_constraint f join leads l on f.confrelid = l.oid
            where f.contype = 'f'
        )
        select n.nspname || '.' || c.relname as relation, c.oid in (select l.oid from leads l) as leads
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where (n.nspname = any($1) or c.oid in (select l.oid from leads l))
            and c.relkind in ('r', 'p') and not c.relispartition
            and not (n.nspname = 'public' and c.relname = any($3))
        order by 1",
    )
    .bind(schemas)
    .bind(roots)
    .bind(OURS)
    .fetch_all(connection)
    .await
    .context("failed to list the tables of the platform")
}

/// Reads the relations that exist, in the given order.
pub(super) async fn read(connection: &mut PgConnection, relations: &[String]) -> anyhow::Result<Vec<Table>> {
    let mut tables = Vec::new();
    for relation in relations {
        let columns = read_columns(connection, relation).await?;
        if columns.is_empty() {
            continue;
        }
        let (comment, foreign_keys) = read_links(connection, relation).await?;
        let indexes = sqlx::raw_sql(system_catalogs::indexes([relation.as_str()].into_iter()))
            .fetch_all(&mut *connection)
            .await;
        let indexes = indexes.with_context(|| format!("failed to read the indexes of `{relation}`"))?;
        let indexes = indexes.iter().map(|row| row.try_get(1)).collect::<sqlx::Result<_>>()?;
        tables.push(Table { relation: relation.clone(), comment, columns, indexes, foreign_keys });
    }
    Ok(tables)
}

async fn read_columns(connection: &mut PgConnection, relation: &str) -> anyhow::Result<Vec<TableColumn>> {
    let (schema, name) = halves(relation);
    sqlx::query_as(
        "select a.attname::pg_catalog.text as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as pg_type,
            pg_catalog.format_type(a.atttypid, -1) as cast,
            pg_catalog.col_description(c.oid, a.attnum) as comment,
            pg_catalog.array_position(i.indkey::pg_catalog.int2[], a.attnum) as key_position
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
        where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')
        order by a.attnum",
    )
    .bind(schema)
    .bind(name)
    .fetch_all(connection)
    .await
    .with_context(|| format!("failed to read the columns of `{relation}`"))
}

/// Reads comment and foreign keys of a relation.
async fn read_links(
    connection: &mut PgConnection,
    relation: &str,
) -> anyhow::Result<(Option<String>, Vec<ForeignKey>)> {
    type Link = (Option<String>, Option<Vec<String>>, Option<String>, Option<Vec<String>>);
    let (schema, name) = halves(relation);
    let links: Vec<Link> = sqlx::query_as(
        "select pg_catalog.obj_description(c.oid, 'pg_class'),
            (select pg_catalog.array_agg(a.attname::pg_catalog.text order by k.at)
             from pg_catalog.unnest(f.conkey) with ordinality k(attnum, at)
             join pg_catalog.pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum),
            m.nspname || '.' || t.relname,
            (select pg_catalog.array_agg(a.attname::pg_catalog.text order by k.at)
             from pg_catalog.unnest(f.confkey) with ordinality k(attnum, at)
             join pg_catalog.pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.attnum)
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        left join pg_catalog.pg_constraint f on f.conrelid = c.oid and f.contype = 'f' and f.conparentid = 0
        left join pg_catalog.pg_class t on t.oid = f.confrelid
        left join pg_catalog.pg_namespace m on m.oid = t.relnamespace
        where n.nspname = $1 and c.relname = $2
        order by f.conname",
    )
    .bind(schema)
    .bind(name)
    .fetch_all(connection)
    .await
    .with_context(|| format!("failed to read the foreign keys of `{relation}`"))?;
    let comment = links.first().and_then(|(comment, ..)| comment.clone());
    let keys = links.into_iter().filter_map(|(_, columns, to, to_columns)| {
        Some(ForeignKey { columns: columns?, to: to?, to_columns: to_columns? })
    });
    Ok((comment, keys.collect()))
}

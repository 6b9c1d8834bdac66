//! What the export of an account would hold, counted in the source and not sent.

use anyhow::Context as _;
use serde::Serialize;
use sqlx::{Postgres, postgres::PgArguments, query::QueryAs};

use super::{KeySet, Snapshot};
use crate::catalogue::{
    EntityPlan,
    sql::{SqlPart, statement},
};

/// What an export would hold of one entity.
#[derive(Clone, Debug, Serialize)]
pub struct Previewed {
    /// The entity.
    pub entity: String,
    /// Its rows.
    pub rows: i64,
    /// Their size in the database. Texts in the archive are larger, and compressed.
    pub bytes: i64,
    /// How the source reads them, as `explain` writes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<String>,
}

impl Snapshot {
    /// Counts the rows of each entity in the source, and sends none of them.
    pub async fn preview(&mut self) -> anyhow::Result<Vec<Previewed>> {
        let mut previewed = Vec::new();
        for plan in &self.plan.entities {
            let set = self.keys.get(plan.keys).context("an entity's keys were not read")?;
            let counted = statement(&[
                SqlPart::Sql(
                    "select pg_catalog.count(*), coalesce(pg_catalog.sum(pg_catalog.pg_column_size(e)), 0)::pg_catalog.int8 from (",
                ),
                SqlPart::Trusted(plan.statement.as_str()),
                SqlPart::Sql(") e"),
            ]);
            let explained =
                statement(&[SqlPart::Sql("explain (costs off) "), SqlPart::Trusted(plan.statement.as_str())]);
            let context = || format!("failed to count the rows of `{}`", plan.relation);
            let (rows, bytes) = bind_as(sqlx::query_as(counted), set, plan)
                .fetch_one(&mut *self.session)
                .await
                .with_context(context)?;
            let lines: Vec<(String,)> = bind_as(sqlx::query_as(explained), set, plan)
                .fetch_all(&mut *self.session)
                .await
                .with_context(context)?;
            let plan = Previewed {
                entity: plan.name.clone(),
                rows,
                bytes,
                plan: lines.into_iter().map(|(line,)| line).collect(),
            };
            previewed.push(plan);
        }
        Ok(previewed)
    }
}

/// Binds the keys of an entity, and then its computed columns.
fn bind_as<'q, T>(
    mut query: QueryAs<'q, Postgres, T, PgArguments>,
    set: &'q KeySet,
    plan: &EntityPlan,
) -> QueryAs<'q, Postgres, T, PgArguments> {
    for column in set.columns.iter() {
        query = query.bind(column);
    }
    for column in plan.computed.iter().filter_map(|computed| set.computed.get(*computed)) {
        query = query.bind(column);
    }
    query
}

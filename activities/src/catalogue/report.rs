//! The drift report: everything in which catalogue and database differ, and what is slow.

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::{PgConnection, Row};

use super::{
    Catalogue,
    quote::{generated, split},
};

/// What `catalogue check` and `doctor` show.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Columns and relations that vanished or changed their type: the night stops.
    pub drift: Vec<String>,
    /// Relations under row-level security: the night stops.
    pub row_security: Vec<String>,
    /// Columns that the catalogue does not know: not exported until somebody decides.
    pub unclassified: Vec<String>,
    /// Entities without an index on their key column: slow.
    pub without_index: Vec<String>,
}

impl Report {
    /// Tells whether a night could run.
    pub fn is_runnable(&self) -> bool {
        self.drift.is_empty() && self.row_security.is_empty()
    }

    /// Tells whether nothing needs a decision.
    pub fn is_clean(&self) -> bool {
        self.is_runnable() && self.unclassified.is_empty()
    }
}

impl Catalogue {
    /// Compares catalogue and database in full.
    pub async fn report(&self, conn: &mut PgConnection) -> Result<Report> {
        let found = self.find_columns(conn).await?;
        let unclassified = found.iter().filter_map(|f| {
            let entity = self.entities().get(f.entity)?;
            let known = entity.columns.iter().any(|column| column.name == f.name && !column.computed);
            (!known).then(|| {
                let base =
                    if f.base_name() == f.pg_type { String::new() } else { format!(", a {}", f.base_name()) };
                format!("`{}`.`{}` of type {}{base}", entity.relation, f.name, f.pg_type)
            })
        });
        Ok(Report {
            drift: self.drift(&found),
            row_security: self.secured(&found),
            unclassified: unclassified.collect(),
            without_index: self.without_index(conn).await?,
        })
    }

    async fn without_index(&self, conn: &mut PgConnection) -> Result<Vec<String>> {
        let mut without = Vec::new();
        for entity in self.entities() {
            let (schema, relation) = split(&entity.relation);
            let indexed: bool = generated(
                "select exists (
                     select from pg_catalog.pg_index i
                     join pg_catalog.pg_class c on c.oid = i.indrelid
                     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                     join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
                     where n.nspname = $1 and c.relname = $2 and a.attname = $3 and i.indisvalid and i.indpred is null
                 )",
            )
            .bind(schema)
            .bind(relation)
            .bind(&entity.by)
            .fetch_one(&mut *conn)
            .await
            .with_context(|| format!("failed to read the indexes of `{}`", entity.relation))?
            .try_get(0)?;
            if !indexed {
                without.push(format!("`{}` has no index that begins with `{}`", entity.relation, entity.by));
            }
        }
        Ok(without)
    }
}

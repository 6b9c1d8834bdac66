//! The full drift report of `catalogue check` and `doctor`.

use anyhow::Context as _;
use serde::Serialize;
use sqlx::PgConnection;

use super::{Catalogue, Finding, FindingKind, check, sql::halves};

/// All differences between catalogue and database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CatalogueReport {
    /// The differences in the order of the catalogue, missing indexes last.
    pub findings: Vec<Finding>,
}

impl CatalogueReport {
    /// Returns whether there are only findings that make exports slow, or none.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind.is_warning())
    }

    /// Returns whether a finding stops all exports until it is fixed.
    pub fn stops_exports(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.stops_exports())
    }
}

pub(super) async fn report(
    catalogue: &Catalogue,
    connection: &mut PgConnection,
) -> anyhow::Result<CatalogueReport> {
    let rows = sqlx::raw_sql(catalogue.check.clone()).fetch_all(&mut *connection).await;
    let found = check::read(&rows.context("failed to read the system catalogs")?)?;
    let mut findings = check::compare(catalogue, &found);
    let is_gone = |relation: &str, findings: &[Finding]| {
        findings
            .iter()
            .any(|finding| finding.relation == relation && finding.kind == FindingKind::MissingRelation)
    };
    for entity in &catalogue.entities {
        if !is_gone(&entity.relation, &findings)
            && !has_index(connection, &entity.relation, &entity.by).await?
        {
            findings.push(Finding {
                kind: FindingKind::NoIndex,
                relation: entity.relation.clone(),
                column: Some(entity.by.clone()),
                found: None,
                expected: None,
            });
        }
    }
    Ok(CatalogueReport { findings })
}

/// Returns whether a valid, non-partial index begins with the column. A view or foreign table always passes.
async fn has_index(connection: &mut PgConnection, relation: &str, column: &str) -> anyhow::Result<bool> {
    let (schema, name) = halves(relation);
    let found: Option<bool> = sqlx::query_scalar(
        "select c.relkind not in ('r', 'p', 'm') or exists (
            select
            from pg_catalog.pg_index i
            join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
            where i.indrelid = c.oid and a.attname = $3 and i.indisvalid and i.indpred is null
        )
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .bind(column)
    .fetch_optional(connection)
    .await
    .with_context(|| format!("failed to look for an index of `{relation}`"))?;
    Ok(found.unwrap_or_default())
}

//! Quotes identifiers, and vouches for generated SQL: the only place that does either.

use sqlx::{AssertSqlSafe, Postgres, query::Query};

/// Quotes an identifier as PostgreSQL's `quote_ident` does, but always.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a schema-qualified relation name.
pub(crate) fn relation(name: &str) -> String {
    let (schema, relation) = split(name);
    format!("{}.{}", ident(schema), ident(relation))
}

/// Splits a schema-qualified relation name; `file::parse` has refused every other.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or(("public", name))
}

/// Makes a query of SQL that was generated from the catalogue: identifiers quoted above, values bound, and key queries
/// that are files of the operator, run by a role that may read their columns and nothing else.
pub(crate) fn generated<'q>(sql: &str) -> Query<'q, Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
}

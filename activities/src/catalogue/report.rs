//! The full report of `catalogue check` and `doctor`: what a night would run, tried and judged.

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection as _, Encode, Executor as _, PgConnection, Postgres, Row as _, SqlSafeStr as _,
    Type,
};

use super::{
    Catalogue, Entity, Finding, FindingKind, Plan, check,
    sql::{SqlPart, statement},
    statements, tables,
};
use crate::failure::sqlstate;

/// A column of keys.
type Texts = Vec<Option<String>>;

/// All differences between catalogue and database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CatalogueReport {
    /// The differences in the order of the catalogue, then what cannot be run, then what is slow, then other tables.
    pub findings: Vec<Finding>,
}

impl CatalogueReport {
    /// Returns whether there are only findings that make exports slow or that need no decision, or none.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind.is_warning())
    }

    /// Returns whether a finding stops all exports until it is fixed.
    pub fn stops_exports(&self) -> bool {
        self.findings.iter().any(|finding| finding.kind.stops_exports())
    }
}

/// Compares the catalogue with a database, and tries every statement that a night would run. Writes nothing.
pub(super) async fn report(
    catalogue: &Catalogue,
    connection: &mut PgConnection,
) -> anyhow::Result<CatalogueReport> {
    let rows = sqlx::raw_sql(catalogue.check.clone()).fetch_all(&mut *connection).await;
    let rows = rows.context("failed to read the system catalogs")?;
    let mut findings = check::compare(catalogue, &check::read(&rows)?);
    // A statement over a missing column would only fail again.
    if !findings.iter().any(|finding| finding.kind.stops_exports()) {
        match catalogue.plan(&rows) {
            Ok(plan) => try_statements(catalogue, &plan, connection, &mut findings).await?,
            Err(error) => {
                let account = &catalogue.account().relation;
                findings.push(Finding::of(FindingKind::Unreadable, account).found(error.to_string()));
            }
        }
    }
    findings.extend(unlisted(catalogue, connection).await?);
    Ok(CatalogueReport { findings })
}

/// Runs the keys queries for one account, prepares each entity's statement, and reads its plan.
async fn try_statements(
    catalogue: &Catalogue,
    plan: &Plan,
    connection: &mut PgConnection,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<()> {
    let user = sample_user(catalogue, connection).await;
    let mut sampled = Vec::new();
    for set in &catalogue.keys {
        let tried =
            sqlx::query(statements::key_set(set)).bind(user.as_deref()).fetch_one(&mut *connection).await;
        sampled.push(match tried {
            Ok(row) => {
                let keys = statements::key_set(set);
                // One that cannot be explained was run a moment ago.
                let whole =
                    read_whole(keys.as_str(), vec![user.clone()], connection).await.unwrap_or_default();
                let name = format!("keys.{}", set.name);
                findings.extend(
                    whole.into_iter().map(|table| Finding::of(FindingKind::SlowKeys, &name).found(table)),
                );
                (0..row.len()).map(|column| row.try_get(column)).collect::<sqlx::Result<Vec<Texts>>>()?
            }
            Err(error) => {
                findings.push(refused(FindingKind::KeysQuery, &format!("keys.{}", set.name), &error));
                Vec::new()
            }
        });
    }
    let listings = catalogue.files.iter().map(|files| &files.listing).zip(&plan.files);
    for (entity, planned) in catalogue.entities.iter().zip(&plan.entities).chain(listings) {
        let (keys, computed) = match sampled.get(planned.keys) {
            Some(columns) if columns.len() >= entity.by.len() => columns.split_at(entity.by.len()),
            _ => continue,
        };
        let mut cast = sqlx::query(planned.cast.clone());
        for texts in keys.iter().chain(planned.computed.iter().filter_map(|column| computed.get(*column))) {
            cast = cast.bind(texts);
        }
        if let Err(error) = cast.execute(&mut *connection).await {
            let said = format!(
                "its values do not fit `{}` of `{}`: {}",
                entity.by.join(", "),
                entity.relation,
                said(&error)
            );
            findings.push(Finding::of(FindingKind::KeysQuery, &format!("keys.{}", entity.keys)).found(said));
        }
        let parameters = vec![vec![None::<String>]; entity.by.len() + planned.computed.len()];
        match read_whole(planned.statement.as_str(), parameters, connection).await {
            Ok(tables) => {
                for table in tables {
                    let finding = Finding {
                        column: Some(entity.by.join(", ")),
                        expected: Some(index(&table, entity)),
                        ..Finding::of(FindingKind::NoIndex, &entity.relation).found(table)
                    };
                    // The rows of an entity may also list files.
                    if !findings.contains(&finding) {
                        findings.push(finding);
                    }
                }
            }
            Err(error) => findings.push(refused(FindingKind::Unreadable, &entity.relation, &error)),
        }
        // Its conditions come after the key, so it reads no more.
        if let Some(scoped) = &planned.scoped
            && let Err(error) = connection.prepare(scoped.clone()).await
        {
            findings.push(refused(FindingKind::Unreadable, &entity.relation, &error));
        }
    }
    if let (Some(contact), Some(statement)) =
        (&catalogue.contact, catalogue.contact_statement(connection).await?)
        && let Err(error) = read_whole(statement.as_str(), vec![user], connection).await
    {
        findings.push(refused(FindingKind::Unreadable, &contact.listing.relation, &error));
    }
    Ok(())
}

/// What a statement that the server refuses means.
fn refused(kind: FindingKind, relation: &str, error: &sqlx::Error) -> Finding {
    const NO_RIGHT: &str = "42501";
    match sqlstate::of(error).as_str() {
        NO_RIGHT => Finding::of(FindingKind::NoRight, relation),
        _ => Finding::of(kind, relation).found(said(error)),
    }
}

/// The text of the id of some account; `None` if there is none or it cannot be read, which is found later.
async fn sample_user(catalogue: &Catalogue, connection: &mut PgConnection) -> Option<String> {
    let account = catalogue.account();
    let sample = statement(&[
        SqlPart::Sql("select t."),
        SqlPart::Name(account.by.first()?),
        SqlPart::Sql("::pg_catalog.text from "),
        SqlPart::Relation(&account.relation),
        SqlPart::Sql(" t limit 1"),
    ]);
    sqlx::query_scalar(sample).fetch_optional(connection).await.ok().flatten()
}

/// Returns the tables of which a statement reads everything, for each key. The parameters decide nothing: NULL will do.
///
/// Judged by the plan, so that views, partitions and every kind of index count. Without sequential scans the planner
/// takes an index wherever one can be used, however few rows there are for now.
async fn read_whole<T>(
    statement: &str,
    parameters: Vec<T>,
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<String>>
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres> + Send,
{
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("set local enable_seqscan = off; set local enable_sort = off")
        .execute(&mut *transaction)
        .await?;
    let explain = format!("explain (format json, verbose) {statement}");
    let mut query = sqlx::query(AssertSqlSafe(explain).into_sql_str());
    for parameter in parameters {
        query = query.bind(parameter);
    }
    let explained: Value = query.fetch_one(&mut *transaction).await?.try_get(0)?;
    let mut tables = Vec::new();
    for scan in scans(&explained[0]["Plan"]) {
        let is_whole = match &scan.index {
            None => true,
            Some((index, condition)) => match first_column(scan.schema, index, &mut transaction).await? {
                Some(column) => !names(condition, &column),
                None => false,
            },
        };
        let table = format!("{}.{}", scan.schema, scan.table);
        if is_whole && !tables.contains(&table) {
            tables.push(table);
        }
    }
    transaction.rollback().await?;
    Ok(tables)
}

/// A read of one table in a plan.
#[derive(Debug, PartialEq, Eq)]
struct Scan<'p> {
    schema: &'p str,
    table: &'p str,
    /// The index that is searched, and by which condition; `None` if everything is read.
    index: Option<(&'p str, &'p str)>,
}

/// Returns the reads of tables in a plan.
fn scans(plan: &Value) -> Vec<Scan<'_>> {
    let mut scans = Vec::new();
    let mut open = vec![(plan, None)];
    while let Some((node, above)) = open.pop() {
        let name =
            node["Relation Name"].as_str().map(|table| (node["Schema"].as_str().unwrap_or_default(), table));
        // The search of a bitmap does not name the table, but the read above it does.
        let relation = name.or(above);
        let index = match node["Node Type"].as_str().unwrap_or_default() {
            "Seq Scan" => Some(None),
            "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => {
                Some(node["Index Name"].as_str().zip(node["Index Cond"].as_str()))
            }
            _ => None,
        };
        if let (Some(index), Some((schema, table))) = (index, relation) {
            scans.push(Scan { schema, table, index });
        }
        open.extend(node["Plans"].as_array().into_iter().flatten().map(|inner| (inner, relation)));
    }
    scans
}

/// Returns the first column of a B-tree, as a condition writes it; `None` if it is an expression, or another kind of index.
///
/// A B-tree is also searched by its later columns alone, which reads all of it.
async fn first_column(
    schema: &str,
    index: &str,
    connection: &mut PgConnection,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select pg_catalog.quote_ident(a.attname) from pg_catalog.pg_index i
         join pg_catalog.pg_class c on c.oid = i.indexrelid
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
         join pg_catalog.pg_am m on m.oid = c.relam and m.amname = 'btree'
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where c.relname = $2",
    )
    .bind(schema)
    .bind(index)
    .fetch_optional(connection)
    .await
}

/// Returns whether a condition of a plan names a column. It writes the column behind the name of its table and a dot.
fn names(condition: &str, column: &str) -> bool {
    let is_part = |next: char| next.is_alphanumeric() || matches!(next, '_' | '$' | '"');
    condition.split(&format!(".{column}")).skip(1).any(|rest| !rest.starts_with(is_part))
}

/// Finds the tables that the catalogue does not name: those of its schemas, and those from which foreign keys lead to the
/// account.
async fn unlisted(catalogue: &Catalogue, connection: &mut PgConnection) -> anyhow::Result<Vec<Finding>> {
    let relations = catalogue.relations();
    let beside: Vec<&str> = relations.iter().map(String::as_str).collect();
    let tables = tables::list(connection, &beside, &[&catalogue.account().relation]).await?;
    let is_new = |table: &tables::Listed| {
        !relations.contains(&table.relation) && !catalogue.leaves_out(&table.relation)
    };
    let finding = |table: tables::Listed| {
        let unlisted = FindingKind::UnlistedRelation;
        Finding::of(if table.leads { unlisted } else { FindingKind::UnrelatedRelation }, &table.relation)
    };
    Ok(tables.into_iter().filter(is_new).map(finding).collect())
}

/// The index by which the rows of an entity are found, in order.
fn index(table: &str, entity: &Entity) -> String {
    let mut parts =
        vec![SqlPart::Sql("create index concurrently on "), SqlPart::Relation(table), SqlPart::Sql(" (")];
    for (at, column) in entity.by.iter().chain(&entity.order).enumerate() {
        parts.extend([SqlPart::Sql(if at == 0 { "" } else { ", " }), SqlPart::Name(column)]);
    }
    parts.push(SqlPart::Sql(")"));
    statement(&parts).as_str().to_owned()
}

/// What the server said, and its code. It is about a statement that reads no row, or a keys query of the operator's own.
fn said(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(database) if sqlstate::of(error).starts_with("22") => {
            // The message may quote a value.
            format!("a value cannot be cast, SQLSTATE {}", database.code().unwrap_or_default())
        }
        Some(database) => {
            format!("{}, SQLSTATE {}", database.message(), database.code().unwrap_or_default())
        }
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_read_of_a_table_is_found_with_its_index() {
        let scan =
            |kind: &str, table: &str| json!({"Node Type": kind, "Schema": "public", "Relation Name": table});
        let mut by_key = scan("Index Scan", "b");
        (by_key["Index Name"], by_key["Index Cond"]) = (json!("b_key"), json!("(t.id = k.k0)"));
        let search =
            json!({"Node Type": "Bitmap Index Scan", "Index Name": "e_key", "Index Cond": "(t.e = 1)"});
        let mut bitmap = scan("Bitmap Heap Scan", "e");
        bitmap["Plans"] = json!([search]);
        let plan = json!({"Node Type": "Nested Loop", "Plans": [
            {"Node Type": "Function Scan"}, scan("Seq Scan", "a"), by_key, scan("Index Scan", "c"),
            {"Node Type": "Append", "Plans": [scan("Index Only Scan", "d"), bitmap]},
        ]});
        let mut found: Vec<_> = scans(&plan).into_iter().map(|scan| (scan.table, scan.index)).collect();
        found.sort_unstable();
        let (b, e) = (Some(("b_key", "(t.id = k.k0)")), Some(("e_key", "(t.e = 1)")));
        assert_eq!(found, [("a", None), ("b", b), ("c", None), ("d", None), ("e", e)]);
    }

    #[test]
    fn a_condition_names_a_column_only_by_its_whole_name() {
        for (condition, column, is_named) in [
            ("(t.user_id = k.k0)", "user_id", true),
            ("((t.tenant = 1) AND (t.user_id = k.k0))", "tenant", true),
            ("(t.user_id_2 = k.k0)", "user_id", false),
            ("(t.\"userId\" = k.k0)", "\"userId\"", true),
            ("(t.id = k.k0)", "user_id", false),
        ] {
            assert_eq!(names(condition, column), is_named, "{condition}");
        }
    }
}

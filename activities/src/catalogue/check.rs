//! Compares the catalogue with what the [queries](super::system_catalogs) found in a database.

use std::fmt;

use anyhow::Context as _;
use serde::Serialize;
use sqlx::{Row as _, postgres::PgRow};

use super::{Catalogue, CatalogueColumn, Entity, Is, kinds};
use crate::failure::Failure;

/// The relations and columns that a database has.
pub(super) struct FoundSchema {
    relations: Vec<FoundRelation>,
}

struct FoundRelation {
    index: usize,
    row_security: bool,
    columns: Vec<FoundColumn>,
    indexes: Vec<FoundIndex>,
}

/// An index that gives an order.
struct FoundIndex {
    columns: Vec<String>,
    is_primary_key: bool,
}

/// A column that a database has.
pub(super) struct FoundColumn {
    name: String,
    /// Its type as `format_type()` writes it.
    pub(super) pg_type: String,
    pub(super) found: kinds::FoundType,
    /// How a text is cast to its type, without a length. Only of a column that is compared with keys or constants.
    cast: Option<String>,
    /// The schema of its type's `=`, if the type has its own.
    equals: Option<String>,
}

impl FoundColumn {
    /// Returns the name of its type in a cast, without a length.
    pub(super) fn cast(&self) -> &str {
        self.cast.as_deref().unwrap_or(&self.pg_type)
    }

    /// Returns the schema of the operator `=` that compares its values.
    pub(super) fn equals(&self) -> &str {
        self.equals.as_deref().unwrap_or("pg_catalog")
    }
}

impl FoundSchema {
    fn relation(&self, catalogue: &Catalogue, relation: &str) -> Option<&FoundRelation> {
        let index = catalogue.relations().get_index_of(relation)?;
        // They come in this order.
        let at = self.relations.binary_search_by_key(&index, |found| found.index).ok()?;
        self.relations.get(at)
    }

    /// Returns a column of an entity. The comparison has already shown that it exists.
    pub(super) fn column(
        &self,
        catalogue: &Catalogue,
        entity: &Entity,
        name: &str,
    ) -> anyhow::Result<&FoundColumn> {
        let column = self.relation(catalogue, &entity.relation).and_then(|relation| relation.column(name));
        column.with_context(|| format!("`{}.{name}` is not in the database", entity.relation))
    }
}

impl FoundSchema {
    /// Returns whether an index gives the rows of one key in order, so that nothing has to be sorted, or little.
    pub(super) fn is_ordered_by_an_index(&self, catalogue: &Catalogue, entity: &Entity) -> bool {
        let is_constant = |column: &str| {
            let mut conditions = entity.conditions.iter().filter(|condition| condition.column == column);
            entity.by.iter().any(|by| by == column)
                || conditions.any(|condition| match &condition.is {
                    Is::OneOf(constants) => constants.len() == 1,
                    Is::Null => true,
                    Is::NotNull | Is::NoneOf(_) => false,
                })
        };
        let Some(first) = entity.order.iter().find(|column| !is_constant(column)) else { return true };
        let Some(relation) = self.relation(catalogue, &entity.relation) else { return false };
        relation.indexes.iter().any(|index| {
            let columns = &index.columns;
            let leading = columns.iter().take_while(|column| is_constant(column)).count();
            columns.get(leading) == Some(first) && entity.by.iter().all(|by| columns[..leading].contains(by))
        })
    }

    /// Returns the columns of the primary key of an entity's table; none if it has no such key.
    pub(super) fn primary_key(&self, catalogue: &Catalogue, entity: &Entity) -> &[String] {
        let relation = self.relation(catalogue, &entity.relation);
        let mut indexes = relation.into_iter().flat_map(|relation| &relation.indexes);
        indexes.find(|index| index.is_primary_key).map_or(&[], |index| &index.columns)
    }
}

impl FoundRelation {
    fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// Reads the answer to [`statement`](super::system_catalogs::statement), which comes in text or binary form.
pub(super) fn read(rows: &[PgRow]) -> anyhow::Result<FoundSchema> {
    let mut relations: Vec<FoundRelation> = Vec::new();
    for row in rows {
        read_row(row, &mut relations).context("failed to read the answer of the system catalogs")?;
    }
    Ok(FoundSchema { relations })
}

fn read_row(row: &PgRow, relations: &mut Vec<FoundRelation>) -> anyhow::Result<()> {
    let index = usize::try_from(row.try_get::<i32, _>(0)?)?;
    if row.len() == 3 {
        if let Ok(at) = relations.binary_search_by_key(&index, |relation| relation.index) {
            relations[at]
                .indexes
                .push(FoundIndex { columns: row.try_get(1)?, is_primary_key: row.try_get(2)? });
        }
        return Ok(());
    }
    if relations.last().is_none_or(|last| last.index != index) {
        relations.push(FoundRelation {
            index,
            row_security: row.try_get(1)?,
            columns: Vec::new(),
            indexes: Vec::new(),
        });
    }
    // A relation may have no columns.
    let Some(name) = row.try_get::<Option<String>, _>(2)? else { return Ok(()) };
    let found = kinds::FoundType {
        oid: row.try_get(4)?,
        base: row.try_get(5)?,
        form: kinds::Form::of(row.try_get(6)?),
        arrays: row.try_get(7)?,
    };
    if let Some(relation) = relations.last_mut() {
        relation.columns.push(FoundColumn {
            name,
            pg_type: row.try_get(3)?,
            found,
            cast: row.try_get(8)?,
            equals: row.try_get(9)?,
        });
    }
    Ok(())
}

/// A difference between catalogue and database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of difference.
    pub kind: FindingKind,
    /// The relation, `schema.name`.
    pub relation: String,
    /// The column; none if the finding is about the whole relation.
    pub column: Option<String>,
    /// The type that the database has.
    pub found: Option<String>,
    /// The type that the catalogue expects.
    pub expected: Option<String>,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The relation is gone.
    MissingRelation,
    /// The column is gone.
    MissingColumn,
    /// The column has another type.
    RetypedColumn,
    /// Row-level security of the relation applies to the role.
    RowSecurity,
    /// The catalogue does not list this column of the database. It is not exported.
    UnclassifiedColumn,
    /// The database has a column with the name of a computed one. It is not exported and the catalogue cannot list it.
    HiddenColumn,
    /// A keys query cannot be run; `relation` is its name.
    KeysQuery,
    /// The role lacks a right that the statement of an entity or a keys query needs.
    NoRight,
    /// The statement of an entity cannot be prepared.
    Unreadable,
    /// No index finds the rows of a key: every export reads the whole table.
    NoIndex,
    /// A keys query reads a whole table for each account; `relation` is its name.
    SlowKeys,
    /// The catalogue does not name this table, from which foreign keys lead to the account.
    UnlistedRelation,
    /// The catalogue does not name this table, from which no foreign key leads to the account.
    UnrelatedRelation,
}

impl Finding {
    /// Makes a finding about a whole relation.
    pub(super) fn of(kind: FindingKind, relation: &str) -> Self {
        Self { kind, relation: relation.to_owned(), column: None, found: None, expected: None }
    }

    pub(super) fn found(self, found: String) -> Self {
        Self { found: Some(found), ..self }
    }
}

impl FindingKind {
    /// Returns whether it stops all exports until it is fixed.
    pub fn stops_exports(self) -> bool {
        !matches!(self, Self::UnclassifiedColumn | Self::HiddenColumn | Self::UnlistedRelation)
            && !self.is_warning()
    }

    /// Returns whether it needs no decision: it makes exports slow, or a person should look at it once.
    pub fn is_warning(self) -> bool {
        matches!(self, Self::NoIndex | Self::SlowKeys | Self::UnrelatedRelation)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = &self.relation;
        let column = self.column.as_deref().unwrap_or_default();
        let found = self.found.as_deref().unwrap_or_default();
        let expected = self.expected.as_deref().unwrap_or_default();
        match self.kind {
            FindingKind::MissingRelation => write!(f, "`{relation}` does not exist"),
            FindingKind::MissingColumn => write!(f, "column `{relation}.{column}` does not exist"),
            FindingKind::RetypedColumn => {
                write!(
                    f,
                    "column `{relation}.{column}` is of type `{found}`, the catalogue says `{expected}`"
                )
            }
            FindingKind::RowSecurity => {
                write!(
                    f,
                    "row-level security of `{relation}` applies to export_read and would hide rows: run `alter role export_read \
                     bypassrls` as a superuser, or leave it out"
                )
            }
            FindingKind::UnclassifiedColumn => {
                write!(
                    f,
                    "column `{relation}.{column}` of type `{found}` is not in the catalogue and not exported"
                )
            }
            FindingKind::HiddenColumn => {
                write!(
                    f,
                    "column `{relation}.{column}` is hidden by the computed column of the same name and not exported: \
                     rename the computed one"
                )
            }
            FindingKind::KeysQuery => write!(f, "the query of `{relation}` cannot be run: {found}"),
            FindingKind::NoRight => {
                write!(
                    f,
                    "export_read lacks a right on what `{relation}` reads: run the SQL of `export-worker grants`"
                )
            }
            FindingKind::Unreadable => write!(f, "`{relation}` cannot be read: {found}"),
            FindingKind::NoIndex => {
                write!(
                    f,
                    "no index finds the rows of `{relation}` by `{column}`: every export reads all of `{found}`; \
                     `{expected}`"
                )
            }
            FindingKind::SlowKeys => write!(
                f,
                "the query of `{relation}` reads all of `{found}` for every account: create an index for its condition"
            ),
            FindingKind::UnlistedRelation => {
                write!(
                    f,
                    "table `{relation}` is not in the catalogue, and foreign keys lead from it to the account: is it data \
                     of users? Add an entity, or name it in [left_out]"
                )
            }
            FindingKind::UnrelatedRelation => {
                write!(
                    f,
                    "table `{relation}` is not in the catalogue: name it in [left_out] if it holds no data of users"
                )
            }
        }
    }
}

/// Finds the differences in columns and row security.
pub(super) fn compare(catalogue: &Catalogue, found: &FoundSchema) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in catalogue.relations() {
        let finding = |kind, column: Option<&str>, found: Option<&str>, expected: Option<&str>| Finding {
            kind,
            relation: name.to_owned(),
            column: column.map(str::to_owned),
            found: found.map(str::to_owned),
            expected: expected.map(str::to_owned),
        };
        let Some(relation) = found.relation(catalogue, name) else {
            findings.push(finding(FindingKind::MissingRelation, None, None, None));
            continue;
        };
        if relation.row_security {
            findings.push(finding(FindingKind::RowSecurity, None, None, None));
        }
        for (column, expected) in expected_columns(catalogue, name) {
            match (relation.column(column), expected) {
                (None, _) => findings.push(finding(FindingKind::MissingColumn, Some(column), None, expected)),
                (Some(found), Some(_)) if Some(found.pg_type.as_str()) != expected => {
                    let kind = FindingKind::RetypedColumn;
                    findings.push(finding(kind, Some(column), Some(&found.pg_type), expected));
                }
                (Some(_), _) => {}
            }
        }
        let mut entities = catalogue.entities.iter().filter(|entity| entity.relation == *name).peekable();
        // A relation that only a keys query reads needs no decision about its other columns.
        if entities.peek().is_some() {
            let (computed, classified): (Vec<_>, Vec<_>) =
                entities.flat_map(|entity| &entity.columns).partition(|column| column.computed);
            let named = |columns: &[&CatalogueColumn], name: &str| columns.iter().any(|c| c.name == name);
            for column in relation.columns.iter().filter(|column| !named(&classified, &column.name)) {
                let kind = if named(&computed, &column.name) {
                    FindingKind::HiddenColumn
                } else {
                    FindingKind::UnclassifiedColumn
                };
                findings.push(finding(kind, Some(&column.name), Some(&column.pg_type), None));
            }
        }
    }
    findings
}

/// Returns the columns that must exist, with the type where it matters.
fn expected_columns<'a>(catalogue: &'a Catalogue, relation: &'a str) -> Vec<(&'a str, Option<&'a str>)> {
    let mut expected: Vec<(&str, Option<&str>)> = Vec::new();
    for entity in catalogue.entities.iter().filter(|entity| entity.relation == relation) {
        let columns = entity.columns.iter().filter(|column| !column.computed);
        expected.extend(columns.map(|column| (column.name.as_str(), Some(column.pg_type.as_str()))));
    }
    let reads = catalogue.keys.iter().flat_map(|keys| &keys.reads).filter(|(name, _)| name == relation);
    for column in reads.flat_map(|(_, columns)| columns) {
        if !expected.iter().any(|(name, _)| name == column) {
            expected.push((column, None));
        }
    }
    expected
}

/// Returns the failure for findings that stop exports, otherwise the new columns.
pub(super) fn refuse_drift(findings: Vec<Finding>) -> Result<Vec<String>, Failure> {
    let secured: Vec<String> = findings
        .iter()
        .filter(|finding| finding.kind == FindingKind::RowSecurity)
        .map(|finding| format!("`{}`", finding.relation))
        .collect();
    if !secured.is_empty() {
        return Err(Failure::RowSecurity(secured));
    }
    let (drift, new): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.kind.stops_exports());
    if !drift.is_empty() {
        return Err(Failure::CatalogueDrift(drift.iter().map(Finding::to_string).collect()));
    }
    Ok(new.into_iter().map(|new| format!("{}.{}", new.relation, new.column.unwrap_or_default())).collect())
}

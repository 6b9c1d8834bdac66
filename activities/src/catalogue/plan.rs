//! Fits the catalogue to the database as it is now: one look at `pg_catalog`, one statement per entity.

use anyhow::{Context, Result};
use sqlx::{PgConnection, Row};

use super::{
    Catalogue, CatalogueColumn, Entity, Use,
    quote::{generated, ident, relation, split},
};
use crate::{
    failure::Failure,
    serialise::{Column, Treatment, ValueKind},
};

/// Every column of the given relations, with its type down to the base type of domains and array elements.
/// `pg_catalog` only: `information_schema` hides columns that the role may not read, and with them the drift.
const COLUMNS: &str = include_str!("columns.sql");

/// What is read for one account: the entities in the order of the archive.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One per entity of the catalogue, in its order.
    pub entities: Vec<EntityPlan>,
}

/// How one entity is read.
#[derive(Clone, Debug)]
pub struct EntityPlan {
    /// The name of its files.
    pub name: String,
    /// Schema-qualified relation, for errors.
    pub relation: String,
    /// Name of the key set.
    pub keys: String,
    /// The computed columns that the statement takes as further arrays, in order.
    pub computed: Vec<String>,
    /// The statement; `$1` are the keys, `$2` and on the computed columns, all as `text[]`.
    pub statement: String,
    /// The selected columns, in order.
    pub columns: Vec<Column>,
    /// Indexes of the columns that name a row in an error.
    pub order: Vec<usize>,
}

/// A column as `pg_catalog` has it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub entity: usize,
    pub name: String,
    pub pg_type: String,
    pub row_security: bool,
    base: u32,
    base_name: String,
    base_is_enum: bool,
    element: u32,
    element_name: String,
    element_is_enum: bool,
}

impl Catalogue {
    /// Fits the catalogue to the database.
    ///
    /// # Errors
    /// [`Failure::CatalogueDrift`] with every column that vanished or changed its type, [`Failure::RowSecurity`] with
    /// every relation under row-level security, or the database's own error.
    pub async fn resolve(&self, conn: &mut PgConnection) -> Result<Plan> {
        let found = self.find_columns(conn).await?;
        let drift: Vec<String> = self.drift(&found);
        if !drift.is_empty() {
            return Err(Failure::CatalogueDrift(drift).into());
        }
        let secured = self.secured(&found);
        if !secured.is_empty() {
            return Err(Failure::RowSecurity(secured).into());
        }
        let plan = |(index, entity)| plan(index, entity, &found);
        Ok(Plan { entities: self.entities().iter().enumerate().map(plan).collect::<Result<_>>()? })
    }

    pub(super) async fn find_columns(&self, conn: &mut PgConnection) -> Result<Vec<Found>> {
        let (schemas, relations): (Vec<&str>, Vec<&str>) =
            self.entities().iter().map(|entity| split(&entity.relation)).unzip();
        let rows = generated(COLUMNS)
            .bind(&schemas)
            .bind(&relations)
            .fetch_all(conn)
            .await
            .context("failed to read the columns of the catalogue's relations")?;
        rows.iter()
            .map(|row| {
                let oid = |name| row.try_get::<i64, _>(name).map(|oid| u32::try_from(oid).unwrap_or(0));
                Ok(Found {
                    entity: usize::try_from(row.try_get::<i64, _>("entity")?).unwrap_or(0).saturating_sub(1),
                    name: row.try_get("name")?,
                    pg_type: row.try_get("type")?,
                    row_security: row.try_get("row_security")?,
                    base: oid("base")?,
                    base_name: row.try_get("base_name")?,
                    base_is_enum: row.try_get("base_is_enum")?,
                    element: oid("element")?,
                    element_name: row.try_get("element_name")?,
                    element_is_enum: row.try_get("element_is_enum")?,
                })
            })
            .collect()
    }

    /// Lists what the catalogue names and the database no longer has so.
    pub(super) fn drift(&self, found: &[Found]) -> Vec<String> {
        let mut drift = Vec::new();
        for (index, entity) in self.entities().iter().enumerate() {
            let of = |name: &str| found.iter().find(|f| f.entity == index && f.name == name);
            if !found.iter().any(|f| f.entity == index) {
                drift.push(format!("there is no relation `{}`", entity.relation));
                continue;
            }
            if of(&entity.by).is_none() {
                drift.push(format!("`{}` has no column `{}`", entity.relation, entity.by));
            }
            for column in entity.columns.iter().filter(|c| c.use_ != Use::Omit && !c.computed) {
                match of(&column.name) {
                    None => drift.push(format!("`{}` has no column `{}`", entity.relation, column.name)),
                    Some(f) if f.pg_type != column.pg_type => drift.push(format!(
                        "`{}`.`{}` is of type {}, the catalogue says {}",
                        entity.relation, column.name, f.pg_type, column.pg_type
                    )),
                    Some(_) => {}
                }
            }
        }
        drift.sort();
        drift.dedup();
        drift
    }

    /// Lists the relations under row-level security.
    pub(super) fn secured(&self, found: &[Found]) -> Vec<String> {
        let mut secured: Vec<String> = found
            .iter()
            .filter(|f| f.row_security)
            .filter_map(|f| self.entities().get(f.entity).map(|entity| format!("`{}`", entity.relation)))
            .collect();
        secured.sort();
        secured.dedup();
        secured
    }
}

fn plan(index: usize, entity: &Entity, found: &[Found]) -> Result<EntityPlan> {
    let of = |name: &str| {
        found
            .iter()
            .find(|f| f.entity == index && f.name == name)
            .with_context(|| format!("`{}` has no column `{name}`", entity.relation))
    };
    let exported: Vec<&CatalogueColumn> = entity.columns.iter().filter(|c| c.use_ != Use::Omit).collect();
    let mut columns = Vec::new();
    let mut inner = Vec::new();
    let mut outer = Vec::new();
    let mut computed = Vec::new();
    for column in exported {
        let kind = if column.computed {
            computed.push(column.name.clone());
            outer.push(format!("k.{}", ident(&column.name)));
            ValueKind::Text
        } else {
            let (kind, cast) = of(&column.name)?.kind();
            let name = ident(&column.name);
            inner.push(format!("t.{name}{cast} as {name}"));
            outer.push(format!("t.{name}"));
            kind
        };
        let treatment = if column.use_ == Use::Pseudonym { Treatment::Pseudonym } else { Treatment::Export };
        columns.push(Column { name: column.name.clone(), kind, treatment });
    }
    let order = entity
        .order
        .iter()
        .map(|name| columns.iter().position(|column| column.name == *name))
        .collect::<Option<Vec<usize>>>()
        .with_context(|| format!("the order of `{}` names a column that is not exported", entity.name))?;
    let order_by =
        entity.order.iter().map(|name| format!("t.{}", ident(name))).collect::<Vec<_>>().join(", ");
    let key_type = &of(&entity.by)?.pg_type;
    let arrays: String = (0..computed.len()).map(|n| format!(", ${}::text[]", n + 2)).collect();
    let names: String = computed.iter().map(|name| format!(", {}", ident(name))).collect();
    // One ordered index walk per key, in the order of the keys: no row outside them can come, rows flow at once
    // and nothing sorts the account on the source.
    let statement = format!(
        "select {} from unnest($1::text[]::{key_type}[]{arrays}) k(key{names}) \
         cross join lateral (select {} from {} t where t.{} = k.key order by {order_by}) t",
        outer.join(", "),
        inner.join(", "),
        relation(&entity.relation),
        ident(&entity.by),
    );
    Ok(EntityPlan {
        name: entity.name.clone(),
        relation: entity.relation.clone(),
        keys: entity.keys.clone(),
        computed,
        statement,
        columns,
        order,
    })
}

impl Found {
    /// Chooses the encoder, and the cast that brings the value into a form that it reads.
    fn kind(&self) -> (ValueKind, String) {
        if self.base_is_enum {
            return (ValueKind::Text, "::text".to_owned());
        }
        if let Some(kind) = base_kind(self.base) {
            // `"char"` has no text form of its own on the wire for its zero byte.
            let cast = if self.base == oid::CHAR { "::text" } else { "" };
            return (kind, cast.to_owned());
        }
        if self.element_is_enum {
            return (ValueKind::Array(Box::new(ValueKind::Text)), "::text[]".to_owned());
        }
        match base_kind(self.element) {
            Some(_) if self.element == oid::CHAR => {
                (ValueKind::Array(Box::new(ValueKind::Text)), "::text[]".to_owned())
            }
            // A domain's elements come as those of its base type.
            Some(kind) => (ValueKind::Array(Box::new(kind)), format!("::{}[]", self.element_name)),
            None => (ValueKind::Text, "::text".to_owned()),
        }
    }

    /// Names the base type, for the report.
    pub(super) fn base_name(&self) -> &str {
        &self.base_name
    }
}

/// The fixed object ids of PostgreSQL's own types (`pg_type.dat`).
mod oid {
    pub(super) const CHAR: u32 = 18;
}

fn base_kind(oid: u32) -> Option<ValueKind> {
    Some(match oid {
        16 => ValueKind::Bool,
        17 => ValueKind::Bytea,
        oid::CHAR | 19 | 25 | 1042 | 1043 => ValueKind::Text,
        20 => ValueKind::Int8,
        21 => ValueKind::Int2,
        23 => ValueKind::Int4,
        114 => ValueKind::Json,
        650 | 869 => ValueKind::Inet,
        700 => ValueKind::Float4,
        701 => ValueKind::Float8,
        1082 => ValueKind::Date,
        1083 => ValueKind::Time,
        1114 => ValueKind::Timestamp,
        1184 => ValueKind::Timestamptz,
        1186 => ValueKind::Interval,
        1700 => ValueKind::Numeric,
        2950 => ValueKind::Uuid,
        3802 => ValueKind::Jsonb,
        _ => return None,
    })
}

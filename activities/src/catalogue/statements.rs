//! Generates the statements of an export from the catalogue.
//!
//! The keys come first, sorted. Each entity is then read key by key through a lateral join. So no row outside the keys
//! can appear, the first rows arrive at once, and the source never sorts a whole account.

use anyhow::Context as _;
use sqlx::SqlStr;

use super::{
    Catalogue, Entity, EntityPlan, Keys, Use,
    check::FoundSchema,
    kinds,
    sql::{SqlPart, statement},
};
use crate::serialise::{Column, Treatment};

/// Returns the statement of all keys. Its one row holds whether the account exists, then for each set of keys an array
/// of the keys and an array of each computed column.
///
/// The statement also turns `enable_sort` off for the rest of the transaction, which saves a round trip.
pub(super) fn keys(keys: &[Keys], account: &Entity) -> SqlStr {
    let mut parts = vec![
        SqlPart::Sql("select pg_catalog.set_config('enable_sort', 'off', true), exists (select from "),
        SqlPart::Relation(&account.relation),
        SqlPart::Sql(" t where t."),
        SqlPart::Name(&account.by),
        SqlPart::Sql(" = $1::pg_catalog.uuid)"),
    ];
    for (index, set) in keys.iter().enumerate() {
        for column in 0..=set.computed.len() {
            parts.extend([
                SqlPart::Sql(", k"),
                SqlPart::Number(index),
                SqlPart::Sql(".c"),
                SqlPart::Number(column),
            ]);
        }
    }
    for (index, set) in keys.iter().enumerate() {
        parts.push(SqlPart::Sql(if index == 0 { " from (select " } else { " cross join (select " }));
        let columns = std::iter::once("key").chain(set.computed.iter().map(String::as_str));
        for (column, name) in columns.enumerate() {
            parts.extend([
                SqlPart::Sql(if column == 0 { "" } else { ", " }),
                SqlPart::Sql("coalesce(array_agg(q."),
                SqlPart::Name(name),
                SqlPart::Sql(
                    "::pg_catalog.text order by q.key) filter (where q.key is not null), '{}') as c",
                ),
                SqlPart::Number(column),
            ]);
        }
        // The query may end in a comment, hence the line feed.
        parts.extend([
            SqlPart::Sql(" from (\n"),
            SqlPart::Trusted(&set.query),
            SqlPart::Sql("\n) q) k"),
            SqlPart::Number(index),
        ]);
    }
    statement(&parts)
}

/// Returns the statement that finds which of the users in `$1` have a row.
pub(super) fn accounts(account: &Entity) -> SqlStr {
    statement(&[
        SqlPart::Sql("select t."),
        SqlPart::Name(&account.by),
        SqlPart::Sql(" from "),
        SqlPart::Relation(&account.relation),
        SqlPart::Sql(" t where t."),
        SqlPart::Name(&account.by),
        SqlPart::Sql(" = any($1::pg_catalog.uuid[])"),
    ])
}

/// Plans how one entity is read from this database.
pub(super) fn entity(
    catalogue: &Catalogue,
    entity: &Entity,
    found: &FoundSchema,
) -> anyhow::Result<EntityPlan> {
    let keys = catalogue.keys.iter().position(|keys| keys.name == entity.keys);
    let keys = keys.with_context(|| format!("entity `{}` has no keys", entity.name))?;
    let key_type = found.column(catalogue, entity, &entity.by)?.pg_type.as_str();

    let (mut columns, mut outer, mut inner) = (Vec::new(), Vec::new(), Vec::new());
    let (mut arrays, mut names) = (Vec::new(), Vec::new());
    let mut computed = Vec::new();
    let mut casts = Vec::new();
    let exported: Vec<_> = entity.columns.iter().filter(|column| column.use_ != Use::Omit).collect();
    for column in exported.iter().filter(|column| !column.computed) {
        casts.push(kinds::encoder(&found.column(catalogue, entity, &column.name)?.found));
    }
    let mut encoders = casts.iter();
    for (index, column) in exported.iter().enumerate() {
        let comma = SqlPart::Sql(if index == 0 { "" } else { ", " });
        let treatment = if column.use_ == Use::Pseudonym { Treatment::Pseudonym } else { Treatment::Export };
        let kind = if column.computed {
            let base = kinds::named(&column.pg_type).context("a computed column has no base type")?;
            let position = catalogue.keys[keys].computed.iter().position(|name| name == &column.name);
            computed.push(position.context("a computed column is not among its keys'")?);
            arrays.extend([
                SqlPart::Sql(", $"),
                SqlPart::Number(computed.len() + 1),
                SqlPart::Sql("::pg_catalog.text[]::"),
                SqlPart::Sql(base.cast),
                SqlPart::Sql("[]"),
            ]);
            names.extend([SqlPart::Sql(", c"), SqlPart::Number(index)]);
            outer.extend([comma, SqlPart::Sql("k.c"), SqlPart::Number(index)]);
            base.kind()
        } else {
            let encoder = encoders.next().context("a column has no encoder")?;
            let comma = SqlPart::Sql(if inner.is_empty() { "" } else { ", " });
            inner.extend([
                comma,
                SqlPart::Sql(encoder.before),
                SqlPart::Sql("t."),
                SqlPart::Name(&column.name),
                SqlPart::Trusted(&encoder.after),
                SqlPart::Sql(" as c"),
                SqlPart::Number(index),
            ]);
            outer.extend([
                SqlPart::Sql(if index == 0 { "" } else { ", " }),
                SqlPart::Sql("t.c"),
                SqlPart::Number(index),
            ]);
            encoder.kind.clone()
        };
        columns.push(Column {
            name: column.name.clone(),
            kind,
            treatment,
            pg_type: column.pg_type.clone(),
            about: column.about.clone().unwrap_or_default(),
        });
    }

    // The casts of the keys and of their computed columns alone. They tell a fault of the keys from a fault of a row.
    let mut cast =
        vec![SqlPart::Sql("select $1::pg_catalog.text[]::"), SqlPart::Trusted(key_type), SqlPart::Sql("[]")];
    cast.extend(&arrays);

    let mut parts = vec![SqlPart::Sql("select ")];
    parts.append(&mut outer);
    parts.extend([
        SqlPart::Sql(" from unnest($1::pg_catalog.text[]::"),
        SqlPart::Trusted(key_type),
        SqlPart::Sql("[]"),
    ]);
    parts.append(&mut arrays);
    parts.push(SqlPart::Sql(") k(key"));
    parts.append(&mut names);
    parts.push(SqlPart::Sql(") cross join lateral (select "));
    parts.append(&mut inner);
    parts.extend([
        SqlPart::Sql(" from "),
        SqlPart::Relation(&entity.relation),
        SqlPart::Sql(" t where t."),
        SqlPart::Name(&entity.by),
        SqlPart::Sql(" = k.key order by "),
    ]);
    for (index, name) in entity.order.iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { "t." } else { ", t." }), SqlPart::Name(name)]);
    }
    parts.push(SqlPart::Sql(") t"));

    let position = |name: &String| columns.iter().position(|column: &Column| &column.name == name);
    Ok(EntityPlan {
        name: entity.name.clone(),
        relation: entity.relation.clone(),
        statement: statement(&parts),
        cast: statement(&cast),
        order: entity.order.iter().filter_map(position).collect(),
        columns,
        keys,
        computed,
    })
}

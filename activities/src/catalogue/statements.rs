//! Generates the statements of an export from the catalogue.
//!
//! The keys come first, sorted. Each entity is then read key by key through a lateral join. So no row outside the keys
//! can appear, the first rows arrive at once, and the source never sorts a whole account.

use std::sync::Arc;

use anyhow::Context as _;
use sqlx::SqlStr;

use super::{
    Catalogue, CatalogueColumn, Entity, EntityPlan, Is, Keys, Use,
    check::{FoundColumn, FoundSchema},
    contact::Contact,
    kinds, options,
    sql::{SqlPart, statement},
};
use crate::{
    failure::Failure,
    serialise::{Column, Treatment, ValueKind},
};

/// With more entities than this, one statement first finds those that have rows.
const FEW_ENTITIES: usize = 16;

/// Returns the statement of all keys. Its one row holds whether the account exists, then for each key set an array of
/// each column of the keys, and an array of each computed column.
///
/// The statement also turns `enable_sort` off for the rest of the transaction, which saves a round trip.
pub(super) fn keys(catalogue: &Catalogue, found: &FoundSchema) -> anyhow::Result<SqlStr> {
    let account = catalogue.account();
    let mut parts =
        vec![SqlPart::Sql("select pg_catalog.set_config('enable_sort', 'off', true), exists (select from ")];
    parts.extend([SqlPart::Relation(&account.relation), SqlPart::Sql(" t where ")]);
    push_matching(&mut parts, catalogue, account, found, |_, cast| {
        vec![SqlPart::Sql("$1::"), SqlPart::Trusted(cast)]
    })?;
    parts.push(SqlPart::Sql(")"));
    for (index, set) in catalogue.keys.iter().enumerate() {
        for column in 0..set.columns.len() + set.computed.len() {
            parts.extend([
                SqlPart::Sql(", k"),
                SqlPart::Number(index),
                SqlPart::Sql(".c"),
                SqlPart::Number(column),
            ]);
        }
    }
    for (index, set) in catalogue.keys.iter().enumerate() {
        parts.push(SqlPart::Sql(if index == 0 { " from " } else { " cross join " }));
        push_key_set(&mut parts, set);
        parts.extend([SqlPart::Sql(" k"), SqlPart::Number(index)]);
    }
    Ok(statement(&parts))
}

/// Returns the statement that reads one key set.
pub(super) fn key_set(set: &Keys) -> SqlStr {
    let mut parts = vec![SqlPart::Sql("select k.* from ")];
    push_key_set(&mut parts, set);
    // Names the type of the parameter, which the query may not use.
    parts.push(SqlPart::Sql(" k where $1::pg_catalog.text is null or true"));
    statement(&parts)
}

/// Selects the arrays of one key set: each key once, in the order of its own type. A key with NULL fits no row.
fn push_key_set<'a>(parts: &mut Vec<SqlPart<'a>>, set: &'a Keys) {
    let keys = set.columns.len();
    parts.push(SqlPart::Sql("(select "));
    for column in 0..keys + set.computed.len() {
        parts.extend([
            SqlPart::Sql(if column == 0 { "" } else { ", " }),
            SqlPart::Sql("coalesce(pg_catalog.array_agg(g.c"),
            SqlPart::Number(column),
            SqlPart::Sql(" order by "),
        ]);
        for key in 0..keys {
            parts.extend([SqlPart::Sql(if key == 0 { "g.k" } else { ", g.k" }), SqlPart::Number(key)]);
        }
        parts.extend([SqlPart::Sql("), '{}') as c"), SqlPart::Number(column)]);
    }
    parts.push(SqlPart::Sql(" from (select "));
    for (key, name) in set.columns.iter().enumerate() {
        parts.extend([
            SqlPart::Sql(if key == 0 { "q." } else { ", q." }),
            SqlPart::Name(name),
            SqlPart::Sql(" as k"),
            SqlPart::Number(key),
            SqlPart::Sql(", pg_catalog.min(q."),
            SqlPart::Name(name),
            SqlPart::Sql("::pg_catalog.text) as c"),
            SqlPart::Number(key),
        ]);
    }
    for (column, name) in set.computed.iter().enumerate() {
        parts.extend([
            SqlPart::Sql(", q."),
            SqlPart::Name(name),
            SqlPart::Sql("::pg_catalog.text as c"),
            SqlPart::Number(keys + column),
        ]);
    }
    // The query may end in a comment, hence the line feed.
    parts.extend([SqlPart::Sql(" from (\n"), SqlPart::Trusted(&set.query), SqlPart::Sql("\n) q where ")]);
    for (key, name) in set.columns.iter().enumerate() {
        parts.extend([
            SqlPart::Sql(if key == 0 { "q." } else { " and q." }),
            SqlPart::Name(name),
            SqlPart::Sql(" is not null"),
        ]);
    }
    parts.push(SqlPart::Sql(" group by "));
    for (index, name) in set.columns.iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { "q." } else { ", q." }), SqlPart::Name(name)]);
    }
    for name in &set.computed {
        parts.extend([SqlPart::Sql(", q."), SqlPart::Name(name), SqlPart::Sql("::pg_catalog.text")]);
    }
    parts.push(SqlPart::Sql(") g)"));
}

/// Returns the statement that finds which of the users in `$1` have an account. The answer holds the given texts.
pub(super) fn accounts(catalogue: &Catalogue, found: &FoundSchema) -> anyhow::Result<SqlStr> {
    let account = catalogue.account();
    let mut parts = vec![
        SqlPart::Sql("select u.id from unnest($1::pg_catalog.text[]) u(id) where exists (select from "),
        SqlPart::Relation(&account.relation),
        SqlPart::Sql(" t where "),
    ];
    push_matching(&mut parts, catalogue, account, found, |_, cast| {
        vec![SqlPart::Sql("u.id::"), SqlPart::Trusted(cast)]
    })?;
    parts.push(SqlPart::Sql(")"));
    Ok(statement(&parts))
}

/// Returns the statement that finds which entities have rows; its parameters are the columns of all key sets, in order.
/// `None` for a small catalogue: there the statement costs more than it saves.
pub(super) fn filled(catalogue: &Catalogue, found: &FoundSchema) -> anyhow::Result<Option<SqlStr>> {
    if catalogue.entities.len() <= FEW_ENTITIES {
        return Ok(None);
    }
    let mut parts = vec![SqlPart::Sql("select array[")];
    for (index, entity) in catalogue.entities.iter().enumerate() {
        let before = catalogue.keys.iter().take_while(|set| set.name != entity.keys);
        let first = before.map(|set| set.columns.len()).sum::<usize>() + 1;
        parts.push(SqlPart::Sql(if index == 0 { "" } else { ", " }));
        parts.push(SqlPart::Sql("exists (select from unnest("));
        push_keys(&mut parts, catalogue, entity, found, first)?;
        parts.push(SqlPart::Sql(") k("));
        push_key_names(&mut parts, entity);
        parts.extend([
            SqlPart::Sql(") cross join lateral (select from "),
            SqlPart::Relation(&entity.relation),
            SqlPart::Sql(" t where "),
        ]);
        push_matching(&mut parts, catalogue, entity, found, |number, _| {
            vec![SqlPart::Sql("k.k"), SqlPart::Number(number)]
        })?;
        parts.push(SqlPart::Sql(" limit 1) t)"));
    }
    parts.push(SqlPart::Sql("]"));
    Ok(Some(statement(&parts)))
}

/// The columns of the keys as parameters from `$first` on.
fn push_keys<'a>(
    parts: &mut Vec<SqlPart<'a>>,
    catalogue: &Catalogue,
    entity: &'a Entity,
    found: &'a FoundSchema,
    first: usize,
) -> anyhow::Result<()> {
    for (number, name) in entity.by.iter().enumerate() {
        parts.extend([
            SqlPart::Sql(if number == 0 { "$" } else { ", $" }),
            SqlPart::Number(first + number),
            SqlPart::Sql("::pg_catalog.text[]::"),
            SqlPart::Trusted(found.column(catalogue, entity, name)?.cast()),
            SqlPart::Sql("[]"),
        ]);
    }
    Ok(())
}

fn push_key_names(parts: &mut Vec<SqlPart<'_>>, entity: &Entity) {
    for number in 0..entity.by.len() {
        parts.extend([SqlPart::Sql(if number == 0 { "k" } else { ", k" }), SqlPart::Number(number)]);
    }
}

/// Returns the statement that reads where the user `$1` gets mail: at most one row with address and locale.
pub(super) fn contact(
    catalogue: &Catalogue,
    contact: &Contact,
    found: &FoundSchema,
) -> anyhow::Result<SqlStr> {
    let entity = &contact.listing;
    let mut parts =
        vec![SqlPart::Sql("select t."), SqlPart::Name(&contact.email), SqlPart::Sql("::pg_catalog.text, ")];
    match &contact.locale {
        Some(locale) => {
            parts.extend([SqlPart::Sql("t."), SqlPart::Name(locale), SqlPart::Sql("::pg_catalog.text")])
        }
        None => parts.push(SqlPart::Sql("null::pg_catalog.text")),
    }
    parts.extend([SqlPart::Sql(" from "), SqlPart::Relation(&entity.relation), SqlPart::Sql(" t where ")]);
    push_matching(&mut parts, catalogue, entity, found, |_, cast| {
        vec![SqlPart::Sql("$1::pg_catalog.text::"), SqlPart::Trusted(cast)]
    })?;
    parts.extend([SqlPart::Sql(" and t."), SqlPart::Name(&contact.email), SqlPart::Sql(" is not null")]);
    if let Some(verified) = &contact.verified {
        // A time, or a boolean.
        parts.extend([
            SqlPart::Sql(" and t."),
            SqlPart::Name(verified),
            SqlPart::Sql("::pg_catalog.text <> 'false'"),
        ]);
    }
    for (index, name) in entity.order.iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { " order by t." } else { ", t." }), SqlPart::Name(name)]);
    }
    parts.push(SqlPart::Sql(" limit 1"));
    Ok(statement(&parts))
}

/// Returns the statement that only casts the id of a user to the type of the account's column.
pub(super) fn cast_user(catalogue: &Catalogue, found: &FoundSchema) -> anyhow::Result<SqlStr> {
    let account = catalogue.account();
    let column = account.by.first().context("the account has no key")?;
    let cast = found.column(catalogue, account, column)?.cast();
    Ok(statement(&[SqlPart::Sql("select $1::pg_catalog.text::"), SqlPart::Trusted(cast)]))
}

/// The condition that selects rows of an entity as `t`: its key, and what its conditions say. `key` writes the part of
/// the key for a column of `by`, which is given by its index and the name of its type in a cast.
fn push_matching<'a>(
    parts: &mut Vec<SqlPart<'a>>,
    catalogue: &Catalogue,
    entity: &'a Entity,
    found: &'a FoundSchema,
    key: impl Fn(usize, &'a str) -> Vec<SqlPart<'a>>,
) -> anyhow::Result<()> {
    for (index, name) in entity.by.iter().enumerate() {
        let column = found.column(catalogue, entity, name)?;
        parts.push(SqlPart::Sql(if index == 0 { "" } else { " and " }));
        push_equals(parts, name, column);
        parts.extend(key(index, column.cast()));
    }
    for condition in &entity.conditions {
        let column = found.column(catalogue, entity, &condition.column)?;
        parts.push(SqlPart::Sql(" and "));
        match &condition.is {
            Is::Null => {
                parts.extend([SqlPart::Sql("t."), SqlPart::Name(&condition.column), SqlPart::Sql(" is null")])
            }
            Is::NotNull => parts.extend([
                SqlPart::Sql("t."),
                SqlPart::Name(&condition.column),
                SqlPart::Sql(" is not null"),
            ]),
            Is::OneOf(constants) | Is::NoneOf(constants) => {
                parts.push(SqlPart::Sql("("));
                for (index, constant) in constants.iter().enumerate() {
                    parts.push(SqlPart::Sql(if index == 0 { "" } else { " or " }));
                    push_equals(parts, &condition.column, column);
                    parts.extend([
                        SqlPart::Literal(constant),
                        SqlPart::Sql("::"),
                        SqlPart::Trusted(column.cast()),
                    ]);
                }
                let is_any = matches!(condition.is, Is::OneOf(_));
                parts.push(SqlPart::Sql(if is_any { ")" } else { ") is not true" }));
            }
        }
    }
    Ok(())
}

/// Compares by the operator of the type: without a `search_path`, `=` alone would compare a `citext` as `text`.
fn push_equals<'a>(parts: &mut Vec<SqlPart<'a>>, name: &'a str, column: &'a FoundColumn) {
    parts.extend([
        SqlPart::Sql("t."),
        SqlPart::Name(name),
        SqlPart::Sql(" operator("),
        SqlPart::Name(column.equals()),
        SqlPart::Sql(".=) "),
    ]);
}

/// The select lists of an entity's statement.
#[derive(Default)]
struct Selected<'a> {
    /// What the archive gets.
    columns: Vec<Column>,
    /// The outer select list: columns of the row `t` and of the key `k`, by their position.
    outer: Vec<SqlPart<'a>>,
    /// The columns of the relation, each in the form in which it is sent.
    inner: Vec<SqlPart<'a>>,
    /// The casts of the computed columns, which are parameters.
    arrays: Vec<SqlPart<'a>>,
    /// The names of the same, as columns of the key.
    names: Vec<SqlPart<'a>>,
    /// Their indexes among the computed columns of the keys.
    computed: Vec<usize>,
}

/// Plans how one entity is read from this database.
pub(super) fn entity(
    catalogue: &Catalogue,
    entity: &Entity,
    found: &FoundSchema,
) -> anyhow::Result<EntityPlan> {
    let index = catalogue.keys.iter().position(|keys| keys.name == entity.keys);
    let index = index.with_context(|| format!("entity `{}` has no keys", entity.name))?;
    let set = &catalogue.keys[index];

    let exported: Vec<_> = entity.columns.iter().filter(|column| column.use_ != Use::Omit).collect();
    let mut encoders = Vec::new();
    for column in exported.iter().filter(|column| !column.computed) {
        encoders.push(kinds::encoder(&found.column(catalogue, entity, &column.name)?.found));
    }
    let selected = select(entity, set, &exported, &encoders)?;

    // The columns of the keys, and then the computed columns, are the parameters.
    let mut parameters = Vec::new();
    push_keys(&mut parameters, catalogue, entity, found, 1)?;
    parameters.extend(&selected.arrays);

    let compared = options::compared(entity, entity.by.len() + selected.computed.len() + 1, |name| {
        found.column(catalogue, entity, name)
    })?;
    let rows = |scope: &[SqlPart<'_>]| -> anyhow::Result<SqlStr> {
        let mut parts = vec![SqlPart::Sql("select ")];
        parts.extend(&selected.outer);
        parts.push(SqlPart::Sql(" from unnest("));
        parts.extend(&parameters);
        parts.push(SqlPart::Sql(") k("));
        push_key_names(&mut parts, entity);
        parts.extend(&selected.names);
        parts.push(SqlPart::Sql(") cross join lateral (select "));
        parts.extend(&selected.inner);
        parts.push(SqlPart::Sql(" from "));
        push_rows(&mut parts, catalogue, entity, found, &exported, scope)?;
        parts.push(SqlPart::Sql(" order by "));
        for (index, name) in entity.order.iter().enumerate() {
            parts.extend([SqlPart::Sql(if index == 0 { "t." } else { ", t." }), SqlPart::Name(name)]);
        }
        parts.push(SqlPart::Sql(") t"));
        Ok(statement(&parts))
    };
    let scoped = (!compared.is_empty()).then(|| rows(&options::conditions(&compared))).transpose()?;

    // The casts of the parameters alone. They tell a fault of the keys from a fault of a row.
    let mut cast = vec![SqlPart::Sql("select ")];
    cast.extend(&parameters);

    let position = |name: &String| selected.columns.iter().position(|column| &column.name == name);
    Ok(EntityPlan {
        name: entity.name.clone(),
        relation: entity.relation.clone(),
        statement: rows(&[])?,
        scoped,
        has_time: entity.options.time.is_some(),
        filter: entity.options.filter.clone(),
        cast: statement(&cast),
        order: entity.order.iter().filter_map(position).collect(),
        primary_key: found
            .primary_key(catalogue, entity)
            .iter()
            .map(position)
            .collect::<Option<Vec<_>>>()
            .unwrap_or_default(),
        keys: index,
        computed: selected.computed,
        columns: selected.columns,
    })
}

/// Selects the exported columns; `encoders` are those of the columns that are not computed.
fn select<'a>(
    entity: &'a Entity,
    set: &Keys,
    exported: &[&'a CatalogueColumn],
    encoders: &'a [kinds::Encoder],
) -> anyhow::Result<Selected<'a>> {
    let mut selected = Selected::default();
    let mut encoders = encoders.iter();
    for (index, column) in exported.iter().enumerate() {
        selected.outer.push(SqlPart::Sql(if index == 0 { "" } else { ", " }));
        let kind = if column.computed {
            let base = kinds::named(&column.pg_type).context("a computed column has no base type")?;
            let position = set.computed.iter().position(|name| name == &column.name);
            selected.computed.push(position.context("a computed column is not among its keys'")?);
            selected.arrays.extend([
                SqlPart::Sql(", $"),
                SqlPart::Number(entity.by.len() + selected.computed.len()),
                SqlPart::Sql("::pg_catalog.text[]::"),
                SqlPart::Sql(base.cast),
                SqlPart::Sql("[]"),
            ]);
            selected.names.extend([SqlPart::Sql(", c"), SqlPart::Number(index)]);
            selected.outer.extend([SqlPart::Sql("k.c"), SqlPart::Number(index)]);
            base.kind()
        } else {
            let encoder = encoders.next().context("a column has no encoder")?;
            selected.inner.extend([
                SqlPart::Sql(if selected.inner.is_empty() { "" } else { ", " }),
                SqlPart::Sql(encoder.before),
                SqlPart::Sql("t."),
                SqlPart::Name(&column.name),
                SqlPart::Trusted(&encoder.after),
                SqlPart::Sql(" as c"),
                SqlPart::Number(index),
            ]);
            selected.outer.extend([SqlPart::Sql("t.c"), SqlPart::Number(index)]);
            encoder.kind.clone()
        };
        selected.columns.push(described(entity, column, kind)?);
    }
    Ok(selected)
}

/// Describes an exported column.
///
/// # Errors
/// [`Failure::CatalogueDrift`] when the values of a pseudonymised column cannot be ids, or those of a column with paths
/// are no JSON.
fn described(entity: &Entity, column: &CatalogueColumn, kind: ValueKind) -> anyhow::Result<Column> {
    let treatment = match &column.parts {
        Some(parts) => Treatment::Parts(Arc::clone(parts)),
        None if column.use_ == Use::Pseudonym => Treatment::Pseudonym,
        None => Treatment::Export,
    };
    let unfit = match treatment {
        Treatment::Pseudonym if !kinds::is_id(&kind) => {
            "cannot become a pseudonym: give it `use = \"omit\"` in the catalogue"
        }
        Treatment::Parts(_) if !kinds::is_json(&kind) => "is no JSON: take `paths` away in the catalogue",
        _ => "",
    };
    if !unfit.is_empty() {
        let what =
            format!("column `{}.{}` of type `{}` {unfit}", entity.relation, column.name, column.pg_type);
        return Err(Failure::CatalogueDrift(vec![what]).into());
    }
    Ok(Column {
        name: column.name.clone(),
        kind,
        treatment,
        pg_type: column.pg_type.clone(),
        about: column.about.clone().unwrap_or_default(),
        why: column.why.clone().unwrap_or_default(),
    })
}

/// The rows of one key, as `t`.
///
/// Where no index gives them in order, they are selected first and then sorted. Otherwise the planner, whose sort is
/// off, would walk another index in that order, once for each key: the whole table. `scope` is added to the conditions.
fn push_rows<'a>(
    parts: &mut Vec<SqlPart<'a>>,
    catalogue: &Catalogue,
    entity: &'a Entity,
    found: &'a FoundSchema,
    exported: &[&'a CatalogueColumn],
    scope: &[SqlPart<'a>],
) -> anyhow::Result<()> {
    let key = |number: usize, _: &'a str| vec![SqlPart::Sql("k.k"), SqlPart::Number(number)];
    if found.is_ordered_by_an_index(catalogue, entity) {
        parts.extend([SqlPart::Relation(&entity.relation), SqlPart::Sql(" t where ")]);
        push_matching(parts, catalogue, entity, found, key)?;
        parts.extend(scope);
        return Ok(());
    }
    let mut needed: Vec<&str> =
        exported.iter().filter(|column| !column.computed).map(|column| column.name.as_str()).collect();
    needed.extend(
        entity.order.iter().map(String::as_str).filter(|name| !exported.iter().any(|c| c.name == *name)),
    );
    parts.push(SqlPart::Sql("(select "));
    for (index, name) in needed.into_iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { "t." } else { ", t." }), SqlPart::Name(name)]);
    }
    parts.extend([SqlPart::Sql(" from "), SqlPart::Relation(&entity.relation), SqlPart::Sql(" t where ")]);
    push_matching(parts, catalogue, entity, found, key)?;
    parts.extend(scope);
    // A fence for the planner.
    parts.push(SqlPart::Sql(" offset 0) t"));
    Ok(())
}

//! What a request may ask for of an entity: rows of a time span, rows with certain values, and what they refer to.
//!
//! An entity that others refer to has neither `time` nor `filter`, so a part of the data never refers to a row that is
//! left out.

use super::{
    Catalogue, CatalogueColumn, Entity, EntityPlan, Use,
    check::FoundColumn,
    document::{Table, Value},
    kinds,
    sql::SqlPart,
};
use crate::{
    failure::Failure,
    scope::{Offer, OfferedEntity},
    serialise::{Column, Treatment, ValueKind},
};

/// The keys of an entity that are read here.
pub(super) const KEYS: [&str; 3] = ["time", "filter", "references"];

/// What the catalogue says of an entity's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The column that says when a row is from.
    pub time: Option<String>,
    /// The columns whose values a request may name.
    pub filter: Vec<String>,
    /// The columns that refer to a row of an entity, each with that entity.
    pub references: Vec<(String, String)>,
}

impl Options {
    /// Returns whether a request may leave rows out.
    pub(super) fn can_cut(&self) -> bool {
        self.time.is_some() || !self.filter.is_empty()
    }
}

/// Returns what a request may ask for, in the order of the entities.
pub(super) fn offer(entities: &[Entity], account: usize) -> Offer {
    let offered = entities.iter().enumerate().map(|(index, entity)| {
        let Options { time, filter, references } = &entity.options;
        let mut refers_to: Vec<String> = references.iter().map(|(_, target)| target.clone()).collect();
        refers_to.sort_unstable();
        refers_to.dedup();
        OfferedEntity {
            name: entity.name.clone(),
            about: entity.about.clone(),
            always: index == account,
            has_time: time.is_some(),
            filters: filter.clone(),
            refers_to,
        }
    });
    Offer { entities: offered.collect() }
}

/// Parses the options of an entity. [`refuse`] checks them against the other entities.
pub(super) fn parse(table: &Table<'_>, columns: &[CatalogueColumn]) -> anyhow::Result<Options> {
    let time = match table.optional("time") {
        Some(place) => {
            let name = place.text()?;
            let column = exported(columns, &name, &place)?;
            if kinds::is_known_to_be(&column.pg_type, |kind| !is_time(kind)) {
                return Err(place.error(format_args!(
                    "`{name}` is of type `{}`, which is no date and no time",
                    column.pg_type
                )));
            }
            Some(name)
        }
        None => None,
    };
    let filter = match table.optional("filter") {
        Some(place) => place.one_or_more()?,
        None => Vec::new(),
    };
    for (index, name) in filter.iter().enumerate() {
        let place = table.required("filter")?;
        let column = exported(columns, name, &place)?;
        if kinds::is_known_to_be(&column.pg_type, |kind| !is_named_by_value(kind))
            || is_padded(&column.pg_type)
        {
            return Err(
                place.error(format_args!("values of type `{}` cannot be filtered: `{name}`", column.pg_type))
            );
        }
        if filter[..index].contains(name) {
            return Err(place.error(format_args!("names `{name}` twice")));
        }
    }
    let mut references = Vec::new();
    if let Some(value) = table.optional("references") {
        for (column, target) in value.table()?.iter() {
            exported(columns, column, &target)?;
            references.push((column.to_owned(), target.text()?));
        }
    }
    Ok(Options { time, filter, references })
}

/// Refuses references that lead nowhere, and options of an entity that must always be whole.
pub(super) fn refuse(
    table: &Table<'_>,
    index: usize,
    entities: &[Entity],
    account: Option<usize>,
) -> anyhow::Result<()> {
    let entity = &entities[index];
    for (column, target) in &entity.options.references {
        if !entities.iter().any(|other| other.name == *target) {
            let place = table.required("references")?;
            return Err(place
                .error(format_args!("`{column}` refers to `{target}`, and there is no [entity.{target}]")));
        }
    }
    if !entity.options.can_cut() {
        return Ok(());
    }
    let key = if entity.options.time.is_some() { "time" } else { "filter" };
    let place = table.required(key)?;
    if account == Some(index) {
        return Err(place.error("the account's own entity is always exported whole: take this away"));
    }
    let refers = |other: &&Entity| other.options.references.iter().any(|(_, target)| *target == entity.name);
    if let Some(other) = entities.iter().find(refers) {
        return Err(place.error(format_args!(
            "[entity.{}] refers to its rows, so it is always exported whole: take this away, or the reference",
            other.name
        )));
    }
    Ok(())
}

/// Finds a column whose values are in the archive as they are.
fn exported<'c>(
    columns: &'c [CatalogueColumn],
    name: &str,
    place: &Value<'_>,
) -> anyhow::Result<&'c CatalogueColumn> {
    let column = columns.iter().find(|column| column.name == name && !column.computed);
    let column =
        column.ok_or_else(|| place.error(format_args!("`{name}` is not one of the entity's columns")))?;
    if column.use_ != Use::Export || column.parts.is_some() {
        return Err(
            place.error(format_args!("`{name}` is not exported as it is, so an archive could not prove it"))
        );
    }
    Ok(column)
}

fn is_time(kind: &ValueKind) -> bool {
    matches!(kind, ValueKind::Date | ValueKind::Timestamp | ValueKind::Timestamptz)
}

/// Returns whether a person can name a value of this kind.
fn is_named_by_value(kind: &ValueKind) -> bool {
    matches!(
        kind,
        ValueKind::Bool
            | ValueKind::Int2
            | ValueKind::Int4
            | ValueKind::Int8
            | ValueKind::Text
            | ValueKind::Uuid
    )
}

/// Returns whether a cast to text would cut the values' trailing blanks.
fn is_padded(pg_type: &str) -> bool {
    pg_type == "character" || pg_type.starts_with("character(")
}

/// A column that a scope compares, and how.
pub(super) struct Compared<'a> {
    name: &'a str,
    encoder: kinds::Encoder,
    is_time: bool,
    /// Its first parameter.
    number: usize,
}

/// Returns the columns that a scope compares. Their parameters begin with `$first`: two moments for the time, and an array
/// of texts for each filter.
///
/// # Errors
/// [`Failure::CatalogueDrift`] when the database has a type that cannot be compared so.
pub(super) fn compared<'a>(
    entity: &'a Entity,
    first: usize,
    column: impl Fn(&str) -> anyhow::Result<&'a FoundColumn>,
) -> anyhow::Result<Vec<Compared<'a>>> {
    let Options { time, filter, .. } = &entity.options;
    let mut compared = Vec::new();
    let mut number = first;
    let names = time.iter().map(|name| (name, true)).chain(filter.iter().map(|name| (name, false)));
    for (name, is_a_time) in names {
        let found = column(name)?;
        let encoder = kinds::encoder(&found.found);
        let fits = if is_a_time {
            is_time(&encoder.kind)
        } else {
            is_named_by_value(&encoder.kind) && !found.found.is_padded()
        };
        if !fits {
            let key = if is_a_time { "time" } else { "filter" };
            let what = format!(
                "`{key}` of entity `{}` names `{name}`, and a request cannot name values of type `{}`",
                entity.name, found.pg_type
            );
            return Err(Failure::CatalogueDrift(vec![what]).into());
        }
        compared.push(Compared { name, encoder, is_time: is_a_time, number });
        number += if is_a_time { 2 } else { 1 };
    }
    Ok(compared)
}

/// Returns the conditions of a scope on a row `t`, each after an `and`. A parameter that is NULL asks for nothing.
pub(super) fn conditions<'a>(compared: &'a [Compared<'a>]) -> Vec<SqlPart<'a>> {
    let mut parts = Vec::new();
    for Compared { name, encoder, is_time, number } in compared {
        if !is_time {
            parts.extend([
                SqlPart::Sql(" and ($"),
                SqlPart::Number(*number),
                SqlPart::Sql("::pg_catalog.text[] is null or ("),
                SqlPart::Sql(encoder.before),
                SqlPart::Sql("t."),
                SqlPart::Name(name),
                SqlPart::Trusted(&encoder.after),
                SqlPart::Sql(")::pg_catalog.text collate pg_catalog.\"C\" operator(pg_catalog.=) any ($"),
                SqlPart::Number(*number),
                SqlPart::Sql("::pg_catalog.text[]))"),
            ]);
            continue;
        }
        for (number, operator) in [(*number, ">="), (number + 1, "<")] {
            parts.extend([
                SqlPart::Sql(" and ($"),
                SqlPart::Number(number),
                SqlPart::Sql("::pg_catalog.timestamptz is null or t."),
                SqlPart::Name(name),
                SqlPart::Sql(" operator(pg_catalog."),
                SqlPart::Sql(operator),
                SqlPart::Sql(") $"),
                SqlPart::Number(number),
                // A date, and a time without a zone, are taken as UTC.
                SqlPart::Sql(match encoder.kind {
                    ValueKind::Timestamptz => "::pg_catalog.timestamptz)",
                    _ => "::pg_catalog.timestamptz at time zone 'UTC')",
                }),
            ]);
        }
    }
    parts
}

/// Refuses a reference that an archive could not prove: to an entity without one key that is exported as it is, or between
/// types whose equal values are written in different ways, such as `citext` and `numeric`.
pub(super) fn refuse_unfit_references(catalogue: &Catalogue, plans: &[EntityPlan]) -> anyhow::Result<()> {
    let mut unfit = Vec::new();
    for (entity, plan) in catalogue.entities.iter().zip(plans) {
        for (name, target) in &entity.options.references {
            let key =
                plans.iter().find(|plan| plan.name == *target).and_then(|plan| match plan.primary_key[..] {
                    [key] => plan.columns.get(key),
                    _ => None,
                });
            let column = plan.columns.iter().find(|column| column.name == *name);
            let Some(key) = key.filter(|key| matches!(key.treatment, Treatment::Export)) else {
                unfit.push(format!(
                    "`{name}` of entity `{}` refers to `{target}`, whose table has no primary key of one column that is \
                     exported as it is",
                    entity.name
                ));
                continue;
            };
            let written = column.and_then(written_alike);
            if written.is_none() || written != written_alike(key) {
                unfit.push(format!(
                    "`{name}` of entity `{}` refers to `{target}`: only whole numbers, uuids and texts can be compared",
                    entity.name
                ));
            }
        }
    }
    if unfit.is_empty() { Ok(()) } else { Err(Failure::CatalogueDrift(unfit).into()) }
}

/// Names the group of types in which equal values are written alike; `None` if they may not be.
fn written_alike(column: &Column) -> Option<&'static str> {
    let is_plain = column.pg_type == "text" || column.pg_type.starts_with("character varying");
    match column.kind {
        ValueKind::Int2 | ValueKind::Int4 | ValueKind::Int8 => Some("whole number"),
        ValueKind::Uuid => Some("uuid"),
        ValueKind::Text if is_plain => Some("text"),
        _ => None,
    }
}

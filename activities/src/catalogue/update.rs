//! Brings a catalogue file up to date after a release of the platform: keeps every decision, comment and order in it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, anyhow};
use sqlx::PgConnection;
use toml_edit::{DocumentMut, InlineTable, Item, Table as Section, TableLike, Value};

use super::{
    FILE, UNDECIDED,
    defaults::Defaults,
    follow::{KeySet, Link, Proposal, add_links, kinds, write_keys},
    init::{Owned, entity_name, write_entity},
    matches_pattern,
    sql::{SqlPart, statement},
    tables::{self, Table},
};

/// A catalogue file that was brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its new text.
    pub text: String,
    /// What was changed, one sentence each.
    pub changes: Vec<String>,
}

/// Returns the text of `catalogue.toml` in a folder with what is new in the database, and without what is gone.
///
/// Whether a new column is exported, and whose rows a new table has, is left to a person, unless a pattern decides the
/// column. What is gone becomes a comment. Writes nothing.
pub async fn update(connection: &mut PgConnection, folder: &Path, links: &[Link]) -> anyhow::Result<Update> {
    let path = folder.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
    let mut file: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| anyhow!("{}: {error}", path.display()))?;
    let mut changes = Vec::new();

    let listed = relations(&file);
    let roots: Vec<&str> = listed.iter().map(String::as_str).collect();
    let names = tables::list(connection, &roots, &roots).await?.into_iter().map(|table| table.relation);
    let mut names: Vec<String> = names.collect();
    // Views are in no list.
    names.extend(listed.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
    let mut tables = tables::read(connection, &names).await?;
    add_links(&mut tables, links)?;

    let defaults = Defaults::of_text(&path.display().to_string(), &text)?;
    update_entities(&mut file, &tables, &defaults, &mut changes);
    let added = add_tables(&mut file, folder, &tables, &defaults, &mut changes)?;
    Ok(Update { text: format!("{file}{added}"), changes })
}

fn entities(file: &DocumentMut) -> impl Iterator<Item = (&str, &dyn TableLike)> {
    let entities = file.get("entity").and_then(Item::as_table_like).into_iter().flat_map(TableLike::iter);
    entities.filter_map(|(name, entity)| Some((name, entity.as_table_like()?)))
}

fn text_of<'a>(table: &'a dyn TableLike, key: &str) -> Option<&'a str> {
    table.get(key).and_then(Item::as_str)
}

/// Returns the texts of a list, or the one text.
fn texts_of(table: &dyn TableLike, key: &str) -> Vec<String> {
    match table.get(key) {
        Some(Item::Value(Value::Array(items))) => {
            items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        Some(item) => item.as_str().map(str::to_owned).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Returns the relations that entities are read from.
fn relations(file: &DocumentMut) -> Vec<String> {
    entities(file).filter_map(|(_, entity)| text_of(entity, "relation")).map(str::to_owned).collect()
}

/// Brings the columns of each entity up to date.
fn update_entities(file: &mut DocumentMut, tables: &[Table], defaults: &Defaults, changes: &mut Vec<String>) {
    let Some(entities) = file.get_mut("entity").and_then(Item::as_table_like_mut) else { return };
    let mut gone = Vec::new();
    for (name, entity) in entities.iter_mut() {
        let Some(entity) = entity.as_table_like_mut() else { continue };
        let Some(relation) = text_of(entity, "relation").map(str::to_owned) else { continue };
        let Some(table) = tables.iter().find(|table| table.relation == relation) else {
            changes.push(format!("entity `{}` is a comment now: `{relation}` does not exist", name.get()));
            gone.push(name.get().to_owned());
            continue;
        };
        if let Some(columns) = entity.get_mut("columns").and_then(Item::as_table_like_mut) {
            update_columns(columns, table, defaults, changes);
        }
    }
    let mut comments = String::new();
    for name in gone {
        let Some(entity) = entities.remove(&name) else { continue };
        let mut alone = DocumentMut::new();
        let mut around = Section::new();
        around.set_implicit(true);
        around.insert(&name, entity);
        alone.insert("entity", Item::Table(around));
        comments.push_str("\n# Gone from the database:\n");
        comments.extend(alone.to_string().trim().lines().map(|line| format!("# {line}\n")));
    }
    if !comments.is_empty() {
        let before = file.trailing().as_str().unwrap_or_default().to_owned();
        file.set_trailing(before + &comments);
    }
}

fn update_columns(
    columns: &mut dyn TableLike,
    table: &Table,
    defaults: &Defaults,
    changes: &mut Vec<String>,
) {
    let relation = &table.relation;
    for column in &table.columns {
        let Some(listed) = columns.get_mut(&column.name).and_then(Item::as_table_like_mut) else {
            let mut line = InlineTable::new();
            line.insert("type", column.pg_type.as_str().into());
            if !defaults.decide(&column.name) {
                line.insert("use", UNDECIDED.into());
            }
            if let Some(comment) = &column.comment {
                line.insert("about", comment.as_str().into());
            }
            columns.insert(&column.name, Item::Value(Value::InlineTable(line)));
            changes.push(format!("column `{relation}.{}` is new", column.name));
            continue;
        };
        let before = text_of(listed, "type").unwrap_or_default().to_owned();
        if before != column.pg_type && !is_computed(listed) {
            if let Some(Item::Value(value)) = listed.get_mut("type") {
                let decor = value.decor().clone();
                *value = column.pg_type.as_str().into();
                *value.decor_mut() = decor;
            }
            changes.push(format!(
                "column `{relation}.{}` is of type `{}`, no longer `{before}`",
                column.name, column.pg_type
            ));
        }
    }
    let is_gone = |(name, column): &(&str, &Item)| {
        table.column(name).is_none() && !column.as_table_like().is_some_and(is_computed)
    };
    let gone: Vec<String> = columns.iter().filter(is_gone).map(|(name, _)| name.to_owned()).collect();
    for name in gone {
        comment_out(columns, &name);
        changes.push(format!("column `{relation}.{name}` is a comment now: it does not exist"));
    }
}

fn is_computed(column: &dyn TableLike) -> bool {
    column.get("computed").and_then(Item::as_bool) == Some(true)
}

/// Replaces an entry by a comment at the same place.
fn comment_out(columns: &mut dyn TableLike, name: &str) {
    let names: Vec<String> = columns.iter().map(|(name, _)| name.to_owned()).collect();
    let at = names.iter().position(|listed| listed == name).unwrap_or_default();
    let above = columns.key(name).and_then(|key| key.leaf_decor().prefix()?.as_str()).unwrap_or_default();
    let above = above.trim_start_matches(['\n', ' ']).to_owned();
    let key = columns.key(name).map(|key| key.display_repr().into_owned()).unwrap_or_default();
    let Some(item) = columns.remove(name) else { return };
    // A table of its own cannot become one line of a comment.
    let line = item.as_value().map(|value| value.to_string()).unwrap_or_default();
    let gone = format!("{above}# gone: {key} = {}", line.trim());
    let before = at.checked_sub(1).and_then(|before| names.get(before));
    if let Some(Item::Value(value)) = before.and_then(|before| columns.get_mut(before)) {
        let suffix = value.decor().suffix().and_then(|suffix| suffix.as_str()).unwrap_or_default().to_owned();
        value.decor_mut().set_suffix(format!("{suffix}\n{gone}"));
    } else if let Some(mut next) = names.get(at + 1).and_then(|next| columns.key_mut(next)) {
        let prefix =
            next.leaf_decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
        next.leaf_decor_mut().set_prefix(format!("{gone}\n{prefix}"));
    }
}

/// Proposes the tables that the file does not name. Returns the text to append to it.
fn add_tables(
    file: &mut DocumentMut,
    folder: &Path,
    tables: &[Table],
    defaults: &Defaults,
    changes: &mut Vec<String>,
) -> anyhow::Result<String> {
    let read: Vec<String> = file
        .get("keys")
        .and_then(Item::as_table_like)
        .into_iter()
        .flat_map(TableLike::iter)
        .filter_map(|(_, keys)| keys.as_table_like()?.get("reads")?.as_table_like())
        .flat_map(TableLike::iter)
        .map(|(relation, _)| relation.to_owned())
        .collect();
    let left_out = file.get("left_out").and_then(Item::as_table_like);
    let left_out: Vec<String> =
        left_out.into_iter().flat_map(TableLike::iter).map(|(name, _)| name.to_owned()).collect();
    let is_left_out = |table: &Table| left_out.iter().any(|name| matches_pattern(name, &table.relation));

    let candidates: Vec<Table> = tables.iter().filter(|table| !is_left_out(table)).cloned().collect();
    let mut proposal = proposal(file, folder, &candidates)?;
    let (entities, sets) = (proposal.entities.len(), proposal.sets.len());
    proposal.follow();
    proposal.add_polymorphic();
    let (known, new) = proposal.entities.split_at(entities);
    let new: Vec<_> = new.iter().filter(|(table, _)| !read.contains(&table.relation)).collect();
    let used = proposal.sets[sets..].iter().filter(|set| new.iter().any(|(_, owned)| owned.keys == set.name));
    let mut text = write_keys(&used.cloned().collect::<Vec<_>>());
    let mut names = self::entities(file).map(|(name, _)| name.to_owned()).collect();
    for (table, owned) in &new {
        let (relation, keys) = (&table.relation, &owned.keys);
        changes.push(format!("table `{relation}` is new: decide whose rows it has"));
        // Columns lead to the keys, but a person says whose rows they are.
        if keys != UNDECIDED {
            text.push_str(&format!("\n# keys = \"{keys}\", if all these rows are theirs"));
        }
        let open = Owned { keys: UNDECIDED.to_owned(), ..owned.clone() };
        write_entity(&mut text, &entity_name(relation, &mut names)?, table, Some(&open), defaults)?;
    }

    let is_known = |table: &&Table| {
        known.iter().chain(new.iter().copied()).any(|(other, _)| other.relation == table.relation)
            || read.contains(&table.relation)
    };
    let rest: Vec<String> =
        candidates.iter().filter(|table| !is_known(table)).map(|table| table.relation.clone()).collect();
    if !rest.is_empty() {
        let section = file.entry("left_out").or_insert_with(|| Item::Table(Section::new()));
        let section = section.as_table_like_mut().context("`left_out` is not a table")?;
        for relation in rest {
            section.insert(&relation, UNDECIDED.into());
            changes.push(format!("table `{relation}` is new: nothing leads from it to the account"));
        }
    }
    Ok(text)
}

/// The proposal that the file already is.
fn proposal<'t>(file: &DocumentMut, folder: &Path, tables: &'t [Table]) -> anyhow::Result<Proposal<'t>> {
    let mut sets = Vec::new();
    let keys = file.get("keys").and_then(Item::as_table_like).into_iter().flat_map(TableLike::iter);
    for (name, keys) in keys {
        let Some(keys) = keys.as_table_like() else { continue };
        let mut query = text_of(keys, "query").unwrap_or_default().to_owned();
        if query.ends_with(".sql") {
            let path = folder.join(&query);
            query =
                fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        }
        let mut columns = texts_of(keys, "key");
        if columns.is_empty() {
            columns.push("key".to_owned());
        }
        let reads = keys.get("reads").and_then(Item::as_table_like);
        let reads = reads.into_iter().flat_map(|reads| {
            reads.iter().map(|(relation, _)| (relation.to_owned(), texts_of(reads, relation)))
        });
        sets.push(KeySet {
            name: name.to_owned(),
            of: String::new(),
            query: keys_alone(query.trim().trim_end_matches(';'), &columns),
            columns,
            reads: reads.collect::<BTreeMap<_, _>>(),
        });
    }
    let mut known = Vec::new();
    for (_, entity) in entities(file) {
        let table = tables.iter().find(|table| Some(table.relation.as_str()) == text_of(entity, "relation"));
        let (Some(table), Some(keys)) = (table, text_of(entity, "keys")) else { continue };
        let by = texts_of(entity, "by");
        let narrowed = match entity.get("where").and_then(Item::as_table_like) {
            Some(conditions) => conditions.iter().map(|(column, _)| column.to_owned()).collect(),
            None => kinds(table, &by),
        };
        let owned = Owned { keys: keys.to_owned(), by, narrowed, others: Vec::new() };
        known.push((table, owned));
    }
    let account = known.iter().find(|(_, owned)| owned.keys == "account").map(|(table, _)| *table);
    let account =
        account.context("no entity has `keys = \"account\"`: decide the account's own entity first")?;
    Ok(Proposal { tables, account, sets, entities: known })
}

/// Selects the columns of the keys alone: a query may give computed columns, too.
fn keys_alone(query: &str, columns: &[String]) -> String {
    if let Some(cast) = query.strip_prefix("select $1::").and_then(|rest| rest.strip_suffix(" as key"))
        && !cast.contains(char::is_whitespace)
    {
        return format!("select $1::{cast}");
    }
    let mut parts = vec![SqlPart::Sql("select ")];
    for (index, column) in columns.iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { "q." } else { ", q." }), SqlPart::Name(column)]);
    }
    parts.extend([SqlPart::Sql(" from (\n"), SqlPart::Trusted(query), SqlPart::Sql("\n) q")]);
    statement(&parts).as_str().to_owned()
}

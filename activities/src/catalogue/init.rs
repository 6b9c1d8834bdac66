//! Writes a first catalogue for the given relations. All facts are filled in; all decisions are left to a person.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use sqlx::PgConnection;

use super::{UNDECIDED, parse::is_entity_name, sql::halves};

const HEAD: &str = "\
# Written by `export-worker catalogue init`. Every UNDECIDED is a decision of yours; until the last one is made the
# file is refused.
#
#   keys      whose rows: `account` (the column in `by` holds the user's id) or keys of your own, [keys.<name>]
#   use       export, pseudonym (a uuid of another user), or omit with why = \"...\"
#   about     what it is, in words for the person whose data it is

[keys.account]
query = \"select $1::uuid as key\"
";

/// Writes the text of a catalogue for the given relations, each named `schema.name`.
///
/// The connection must come from [`source::pool`](crate::source::pool), because the names of types depend on its
/// `search_path`.
pub async fn init(connection: &mut PgConnection, relations: &[String]) -> anyhow::Result<String> {
    let mut text = HEAD.to_owned();
    let mut names: Vec<String> = Vec::new();
    for relation in relations {
        let name = entity_name(relation);
        if !is_entity_name(&name) || names.contains(&name) {
            bail!(
                "`{relation}` gives no name for an entity that is free: write its part of the catalogue by hand"
            );
        }
        write_entity(&mut text, &name, relation, &columns(connection, relation).await?)?;
        names.push(name);
    }
    Ok(text)
}

#[derive(sqlx::FromRow)]
struct NewColumn {
    name: String,
    pg_type: String,
    comment: Option<String>,
    key_position: Option<i32>,
}

async fn columns(connection: &mut PgConnection, relation: &str) -> anyhow::Result<Vec<NewColumn>> {
    let (schema, name) = halves(relation);
    let columns: Vec<NewColumn> = sqlx::query_as(
        "select a.attname::pg_catalog.text as name, pg_catalog.format_type(a.atttypid, a.atttypmod) as pg_type,
            pg_catalog.col_description(c.oid, a.attnum) as comment,
            pg_catalog.array_position(i.indkey::pg_catalog.int2[], a.attnum) as key_position
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
        where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')
        order by a.attnum",
    )
    .bind(schema)
    .bind(name)
    .fetch_all(connection)
    .await
    .with_context(|| format!("failed to read the columns of `{relation}`"))?;
    if columns.is_empty() {
        bail!("there is no relation `{relation}`; give it as `schema.name`");
    }
    Ok(columns)
}

fn write_entity(text: &mut String, name: &str, relation: &str, columns: &[NewColumn]) -> std::fmt::Result {
    let mut key: Vec<&NewColumn> = columns.iter().filter(|column| column.key_position.is_some()).collect();
    key.sort_by_key(|column| column.key_position);
    let mut order = key.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
    if order.is_empty() {
        order = quoted(UNDECIDED);
    }
    writeln!(text, "\n[entity.{name}]\nrelation = {}", quoted(relation))?;
    writeln!(text, "keys     = \"{UNDECIDED}\"\nby       = \"{UNDECIDED}\"\norder    = [{order}]")?;
    writeln!(text, "about    = \"{UNDECIDED}\"\n[entity.{name}.columns]")?;
    let width = columns.iter().map(|column| bare_or_quoted(&column.name).len()).max().unwrap_or_default();
    for column in columns {
        let about = column.comment.as_deref().unwrap_or(UNDECIDED);
        writeln!(
            text,
            "{:width$} = {{ type = {}, use = \"{UNDECIDED}\", about = {} }}",
            bare_or_quoted(&column.name),
            quoted(&column.pg_type),
            quoted(about),
        )?;
    }
    Ok(())
}

fn entity_name(relation: &str) -> String {
    let (_, name) = halves(relation);
    let is_plain = |character: char| character.is_ascii_alphanumeric();
    name.chars().map(|c| if is_plain(c) { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn bare_or_quoted(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

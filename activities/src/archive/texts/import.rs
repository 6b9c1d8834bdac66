//! `import/postgresql.sql`: loads the JSON files into a PostgreSQL database.
//!
//! Each line of a JSON file is one field for `\copy`: JSON escapes the two characters that separate and quote fields.

use std::fmt::Write as _;

use crate::archive::manifest::{Column, Entity, Manifest};

const HEAD: &str = r"-- Loads this export into a PostgreSQL database (14 or later), as the tables of a new schema data_export.
-- Unpack the archive, and in its folder run:
--
--     psql --set ON_ERROR_STOP=1 --file import/postgresql.sql postgresql://USER@HOST/DATABASE
--
-- Columns whose types only the service has, such as its enums, become columns of text. Foreign keys are made last and
-- not checked.

\encoding UTF8
set standard_conforming_strings = on;
begin;
create schema data_export;
create temporary table line (row text) on commit drop;
";

/// Returns `import/postgresql.sql`.
pub(in crate::archive) fn import(manifest: &Manifest) -> Vec<u8> {
    let mut sql = HEAD.to_owned();
    for entity in &manifest.entities {
        push_table(entity, &mut sql);
    }
    for entity in &manifest.entities {
        for (column, target, key) in entity.foreign_keys(&manifest.entities) {
            let _ = writeln!(
                sql,
                "\nalter table data_export.{} add foreign key ({}) references data_export.{} ({}) not valid;",
                quoted(&entity.name),
                quoted(column),
                quoted(target),
                quoted(key)
            );
        }
    }
    sql.push_str("\ncommit;\n");
    sql.into_bytes()
}

fn push_table(entity: &Entity, sql: &mut String) {
    let table = format!("data_export.{}", quoted(&entity.name));
    let mut lines: Vec<String> = entity.columns.iter().map(definition).collect();
    if !entity.primary_key.is_empty() {
        let names: Vec<_> = entity.primary_key.iter().map(|name| quoted(name)).collect();
        lines.push(format!("    primary key ({})", names.join(", ")));
    }
    // Writing to a string cannot fail.
    let _ = writeln!(sql, "\ncreate table {table} (\n{}\n);", lines.join(",\n"));
    let _ = writeln!(sql, "comment on table {table} is {};", literal(&entity.about));
    for column in entity.columns.iter().filter(|column| !column.about.is_empty()) {
        let _ = writeln!(
            sql,
            "comment on column {table}.{} is {};",
            quoted(&column.name),
            literal(&column.about)
        );
    }
    let has_json = entity.columns.iter().any(|column| is_json(column.written_type.as_deref()));
    let row = if has_json { WITHOUT_NUL } else { "row" };
    let _ = writeln!(
        sql,
        "\\copy line from 'json/{}.json' with (format csv, delimiter E'\\x02', quote E'\\x01')\n\
         insert into {table} select r.* from line, json_populate_record(null::{table}, rtrim({row}, ',')::json) r \
         where row like '{{%';",
        entity.name
    );
    if has_json {
        let _ = writeln!(
            sql,
            "select count(*) as \"rows of {} in which \\u0000 became \\ufffd\" from line where {row} <> row \
             having count(*) > 0;",
            entity.name
        );
    }
    sql.push_str("truncate line;\n");
}

/// A row whose JSON has no `\u0000`, which PostgreSQL stores in a `json` and cannot read there. A backslash before it may
/// itself be escaped.
const WITHOUT_NUL: &str = r"case when strpos(row, '\u0000') > 0 then regexp_replace(row, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufffd', 'g') else row end";

fn is_json(written_type: Option<&str>) -> bool {
    matches!(written_type, Some("json" | "json[]"))
}

fn definition(column: &Column) -> String {
    format!("    {} {}", quoted(&column.name), column.written_type.as_deref().unwrap_or("text"))
}

/// Writes a name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a text as a literal on one line.
fn literal(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("'{}'", text.replace('\'', "''"))
}

//! `datapackage.json`: the CSV files for programs that read a Data Package.
//!
//! It follows the Data Package Standard 2 (datapackage.org): one resource for each entity, with a Table Schema.

use serde_json::{Value, json};

use crate::archive::manifest::{Column, CsvCells, Entity, File, Manifest};

/// Texts that stand for no value in a column of numbers or dates, beside the empty one. The signs are marked in CSV.
const NO_DIGITS: [&str; 3] = ["NaN", "Infinity", "'-Infinity"];
const NO_END: [&str; 2] = ["infinity", "'-infinity"];

/// Returns `datapackage.json`.
pub(in crate::archive) fn data_package(manifest: &Manifest) -> serde_json::Result<Vec<u8>> {
    let resources = manifest.entities.iter().filter_map(|entity| {
        let name = format!("csv/{}.csv", entity.name);
        let file = manifest.files.iter().find(|file| file.name == name)?;
        Some(resource(entity, file, &manifest.entities))
    });
    let package = json!({
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": format!("data-export-{}", manifest.request_id),
        "id": manifest.request_id,
        "title": "Your data export",
        "created": manifest.snapshot_at,
        "resources": resources.collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_vec(&package)?;
    text.push(b'\n');
    Ok(text)
}

fn resource(entity: &Entity, file: &File, entities: &[Entity]) -> Value {
    let mut schema = json!({
        "$schema": "https://datapackage.org/profiles/2.0/tableschema.json",
        "fields": entity.columns.iter().map(field).collect::<Vec<_>>(),
        "missingValues": [""],
    });
    if !entity.primary_key.is_empty() {
        schema["primaryKey"] = json!(entity.primary_key);
    }
    let keys = entity.foreign_keys(entities).map(|(column, target, key)| {
        // The standard writes a reference to the resource itself as an empty name.
        let resource = if target == entity.name { "" } else { target };
        json!({ "fields": [column], "reference": { "resource": resource, "fields": [key] } })
    });
    let keys: Vec<_> = keys.collect();
    if !keys.is_empty() {
        schema["foreignKeys"] = keys.into();
    }
    json!({
        "name": entity.name,
        "title": entity.about,
        "path": file.name,
        "type": "table",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": file.bytes,
        "hash": format!("sha256:{}", file.sha256),
        "dialect": { "delimiter": ",", "lineTerminator": "\r\n", "quoteChar": "\"", "doubleQuote": true, "header": true },
        "schema": schema,
    })
}

fn field(column: &Column) -> Value {
    let (kind, missing) = kind(column);
    let mut field = json!({ "name": column.name, "type": kind, "description": column.about });
    if !missing.is_empty() {
        field["missingValues"] = [&[""], missing].concat().into();
    }
    if column.written_type.as_deref() == Some("uuid") {
        field["format"] = "uuid".into();
    }
    field
}

/// Returns the type of a column in a Table Schema, and the texts that stand for no value of it.
fn kind(column: &Column) -> (&'static str, &'static [&'static str]) {
    if column.csv == CsvCells::Json {
        let is_array = column.written_type.as_deref().is_some_and(|name| name.ends_with("[]"));
        return (if is_array { "array" } else { "any" }, &[]);
    }
    let is_readable = column.cells_outside_years_1_to_9999 == Some(0);
    match column.written_type.as_deref() {
        Some("boolean") => ("boolean", &[]),
        Some("smallint" | "integer" | "bigint") => ("integer", &[]),
        Some("numeric" | "real" | "double precision") => ("number", &NO_DIGITS),
        Some("date") if is_readable => ("date", &NO_END),
        Some("timestamp with time zone" | "timestamp without time zone") if is_readable => {
            ("datetime", &NO_END)
        }
        // Times may be 24:00:00, and intervals are no ISO durations.
        _ => ("string", &[]),
    }
}

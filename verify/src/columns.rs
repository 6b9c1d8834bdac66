//! Compares the Parquet files with the JSON files: each is made again from them, and every byte of it must be the same.
//!
//! So it can hold nothing else, and no byte of it is decoded: a program that reads Parquet trusts the counts and sizes in the
//! file. Memory holds one row group, which is bounded as in an export.

use anyhow::{Context as _, anyhow, ensure};
pub(crate) use export_activities::archive::columns::file_name;
use export_activities::{
    archive::{
        columns::about,
        manifest::{Column, Entity, Manifest},
    },
    serialise::formats::{
        Parquet,
        parquet::{Kind, ParquetFile, VALUE_BYTES, schema},
    },
};
use parquet::errors::ParquetError;

use crate::{
    entry::{self, EntryContents, Expected, Section},
    json::JsonRows,
    structure::{self, Entry},
};

/// Of a longer value no more is taken: it is null. A `bytea` has two digits for each byte.
const TAKEN_BYTES: usize = 2 * VALUE_BYTES + 8;

/// Checks that all columns count what Parquet cannot hold, or none.
pub(crate) fn check_manifest(manifest: &Manifest) -> anyhow::Result<()> {
    let is_wanted = has_files(manifest);
    for entity in &manifest.entities {
        for column in &entity.columns {
            ensure!(
                column.nulls_in_parquet.is_some() == is_wanted,
                "`{}`, column `{}` has a count of Parquet where there is none, or lacks it",
                entity.name,
                column.name
            );
        }
    }
    Ok(())
}

/// Returns whether an archive has Parquet files.
pub(crate) fn has_files(manifest: &Manifest) -> bool {
    let mut columns = manifest.entities.iter().flat_map(|entity| &entity.columns);
    columns.any(|column| column.nulls_in_parquet.is_some())
}

/// Checks the files of a manifest that lists them. Their names have been checked before.
pub(crate) fn check(archive: Section<'_>, manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<()> {
    if !has_files(manifest) {
        return Ok(());
    }
    let (mut zip, mut json_zip) = (entry::open(archive)?, entry::open(archive)?);
    let places = structure::places(entries);
    let find = |name: &str| {
        let place = places.get(name).map(|place| (*place, &entries[*place]));
        place.with_context(|| format!("`{name}` is missing"))
    };
    for entity in &manifest.entities {
        let name = file_name(&entity.name);
        let (place, held) = find(&name)?;
        ensure!(held.is_stored, "`{name}` is compressed, as in no export");
        let expected = Expected(EntryContents::open(&mut zip, place, held, held.size)?);
        let json_name = format!("json/{}.json", entity.name);
        let (place, held) = find(&json_name)?;
        let json = EntryContents::open(&mut json_zip, place, held, held.size)?;
        let columns = entity.columns.iter().map(|column| column.name.as_str());
        let json = JsonRows::begin(json, columns).with_context(|| format!("`{json_name}`"))?;
        check_file(manifest, entity, expected, json).with_context(|| format!("`{name}`"))?;
    }
    Ok(())
}

fn check_file(
    manifest: &Manifest,
    entity: &Entity,
    mut expected: Expected<'_, '_>,
    mut json: JsonRows<'_, '_>,
) -> anyhow::Result<()> {
    let kind =
        |column: &Column| Kind::of(column.written_type.as_deref().unwrap_or_default(), &column.pg_type);
    let kinds: Vec<_> = entity.columns.iter().map(kind).collect();
    let names = entity.columns.iter().map(|column| column.name.as_str());
    let schema = schema(names.zip(kinds.iter().copied())).map_err(cause)?;
    let columns = entity.columns.iter().map(|column| {
        (column.name.as_str(), column.pg_type.as_str(), column.treatment, column.about.as_str())
    });
    let about = about(manifest.request_id, manifest.snapshot_at, &entity.name, &entity.about, columns);
    let mut file = ParquetFile::begin(&mut expected, schema, about).map_err(cause)?;
    let mut rows = Parquet::new(kinds);
    let mut row = 0;
    loop {
        let has_row = json.next_row()?;
        if has_row {
            for (index, column) in entity.columns.iter().enumerate() {
                json.with_cell(index, column.csv, TAKEN_BYTES, |cell| rows.cell(index, cell))?;
            }
            json.end_row()?;
            rows.end_row();
        }
        if (!has_row || rows.is_full())
            && let Some(group) = rows.take()
        {
            let (first, last) = (row + 1, row + group.rows);
            file.write(group).map_err(cause).with_context(|| format!("rows {first} to {last}"))?;
            row = last;
        }
        if !has_row {
            break;
        }
    }
    file.end().map_err(cause).with_context(|| format!("its end, after {row} rows"))?;
    ensure!(expected.0.peek()?.is_none(), "it has more than the rows");
    for (column, tally) in entity.columns.iter().zip(rows.tallies()) {
        ensure!(
            column.nulls_in_parquet == Some(tally.left_null),
            "column `{}` has {} values that Parquet cannot hold, and the manifest says otherwise",
            column.name,
            tally.left_null
        );
    }
    Ok(())
}

/// Returns what [`Expected`] says, without the words of the library around it.
fn cause(error: ParquetError) -> anyhow::Error {
    match error {
        ParquetError::External(inner) => anyhow!("{inner}"),
        other => other.into(),
    }
}

//! Compares the workbook with the JSON files: it is made again from them, and every byte must be the same.
//!
//! So it can hold nothing else: no formula, no macro, no link, no hidden sheet. No sheet is ever held in memory.

use std::io::{self, Write};

use anyhow::{Context as _, ensure};
pub(crate) use export_activities::archive::workbook::NAME;
use export_activities::{
    archive::{
        manifest::{Column, CsvCells, Entity, Manifest},
        workbook::{Part, parts_after, parts_before, sheet_file, sheet_names},
    },
    serialise::{
        Cell,
        formats::{EXCEL_CELL_CHARACTERS, Format as _, Xlsx, xlsx::SHEET_ROWS},
    },
};

use crate::{
    entry::{self, EntryContents, Section},
    json::{JsonRows, Start},
    structure::{self, Entry},
};

/// Of a longer value no more is taken: its cell is cut.
const TAKEN_BYTES: usize = 4 * EXCEL_CELL_CHARACTERS;

/// Checks the workbook of a manifest that lists one.
pub(crate) fn check(archive: Section<'_>, manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<()> {
    let entry = entries.iter().find(|entry| entry.name == NAME);
    let book = archive.of_stored(entry.with_context(|| format!("`{NAME}` is missing"))?)?;
    check_sheets(manifest)?;
    check_book(archive, book, manifest, entries).with_context(|| format!("`{NAME}`"))
}

/// Checks that the sheets of the manifest are those that its entities have.
fn check_sheets(manifest: &Manifest) -> anyhow::Result<()> {
    let sheets = manifest.workbook.as_ref().map_or(&[][..], |workbook| &workbook.sheets);
    let mut order: Vec<&str> = sheets.iter().map(|sheet| sheet.entity.as_str()).collect();
    let names = sheet_names(order.iter().copied());
    ensure!(
        sheets.iter().map(|sheet| &sheet.name).eq(&names),
        "the manifest names the sheets of `{NAME}` otherwise than an export does"
    );
    order.dedup();
    ensure!(
        manifest.entities.iter().map(|entity| entity.name.as_str()).eq(order),
        "the manifest does not have the sheets of `{NAME}` in the order of the entities"
    );
    for entity in &manifest.entities {
        let rows = || sheets.iter().filter(|sheet| sheet.entity == entity.name).map(|sheet| sheet.rows);
        ensure!(
            rows().all(|rows| rows <= SHEET_ROWS) && rows().sum::<u64>() == entity.rows,
            "the manifest does not have all rows of `{}` in the sheets of `{NAME}`",
            entity.name
        );
    }
    Ok(())
}

fn check_book(
    archive: Section<'_>,
    book: Section<'_>,
    manifest: &Manifest,
    entries: &[Entry],
) -> anyhow::Result<()> {
    let held = structure::entries(&book)?;
    let sheets = manifest.workbook.as_ref().map_or(&[][..], |workbook| &workbook.sheets);
    let (before, after) = (parts_before(), parts_after(manifest));
    let names = before.iter().map(|part| part.name.clone());
    let names =
        names.chain((0..sheets.len()).map(sheet_file)).chain(after.iter().map(|part| part.name.clone()));
    ensure!(held.iter().map(|entry| entry.name.clone()).eq(names), "it has other entries than in an export");
    let mut zip = entry::open(book)?;
    let first_after = before.len() + sheets.len();
    let parts = before.iter().enumerate().chain((first_after..).zip(&after));
    for (index, Part { name, text }) in parts {
        let mut contents = EntryContents::open(&mut zip, index, &held[index], held[index].size)?;
        let is_same = contents.take(text.as_bytes())? && contents.peek()?.is_none();
        ensure!(is_same, "`{name}` differs from the one of an export");
    }
    let mut json_zip = entry::open(archive)?;
    let mut index = before.len();
    for entity in &manifest.entities {
        let name = format!("json/{}.json", entity.name);
        let place = entries.iter().position(|entry| entry.name == name);
        let place = place.with_context(|| format!("`{name}` is missing"))?;
        let json = EntryContents::open(&mut json_zip, place, &entries[place], entries[place].size)?;
        let columns = entity.columns.iter().map(|column| column.name.as_str());
        let mut json = JsonRows::begin(json, columns).with_context(|| format!("`{name}`"))?;
        let mut xlsx = Xlsx::of_types(
            entity
                .columns
                .iter()
                .map(|column| (column.name.as_str(), column.written_type.clone().unwrap_or_default())),
        );
        let mut row = 0;
        for sheet in sheets.iter().filter(|sheet| sheet.entity == entity.name) {
            let contents = EntryContents::open(&mut zip, index, &held[index], held[index].size)?;
            let mut expected = Expected(contents);
            let told = |row: u64| format!("sheet `{}`, row {row} of `{}`", sheet.name, entity.name);
            xlsx.begin(&mut expected).with_context(|| format!("the header of sheet `{}`", sheet.name))?;
            for _ in 0..sheet.rows {
                row += 1;
                ensure!(json.next_row()?, "`{name}` has fewer rows than the sheets");
                xlsx.begin_row(&mut expected).with_context(|| told(row))?;
                for (index, column) in entity.columns.iter().enumerate() {
                    cell(&mut json, &mut xlsx, index, column, &mut expected)
                        .with_context(|| format!("{}, column `{}`", told(row), column.name))?;
                }
                json.end_row()?;
                xlsx.end_row(&mut expected).with_context(|| told(row))?;
            }
            xlsx.end(&mut expected).with_context(|| format!("the end of sheet `{}`", sheet.name))?;
            ensure!(expected.0.peek()?.is_none(), "sheet `{}` has more than the rows", sheet.name);
            index += 1;
        }
        check_counts(entity, xlsx)?;
    }
    Ok(())
}

fn check_counts(entity: &Entity, xlsx: Xlsx) -> anyhow::Result<()> {
    for (column, tally) in entity.columns.iter().zip(xlsx.tallies()) {
        let pairs = [
            ("cut texts", tally.cut_texts, column.texts_cut_in_xlsx),
            ("times that were cut", tally.cut_times, column.times_cut_to_milliseconds_in_xlsx.or(Some(0))),
        ];
        for (what, counted, said) in pairs {
            ensure!(
                said == Some(counted),
                "`{}`, column `{}` has {counted} {what}, and the manifest says otherwise",
                entity.name,
                column.name
            );
        }
    }
    Ok(())
}

/// Makes a cell again from its value in JSON.
fn cell(
    json: &mut JsonRows<'_, '_>,
    xlsx: &mut Xlsx,
    index: usize,
    column: &Column,
    expected: &mut Expected<'_, '_>,
) -> anyhow::Result<()> {
    let mut text = Vec::new();
    let mut take = |bytes: &[u8]| {
        if text.len() < TAKEN_BYTES {
            text.extend_from_slice(bytes);
        }
        Ok(())
    };
    let start = json.begin_cell(index)?;
    match (start, column.csv) {
        (Start::Null, _) => {}
        (Start::String, CsvCells::Value) => {
            json.string(|character| take(character.encode_utf8(&mut [0; 4]).as_bytes()))?;
        }
        (Start::Other, CsvCells::Value) | (_, CsvCells::Json) => json.token(|byte| take(&[byte]))?,
    }
    let text = String::from_utf8_lossy(&text);
    let cell = match (start, column.csv) {
        (Start::Null, _) => Cell::Null,
        (_, CsvCells::Json) => Cell::Token(&text),
        (Start::Other, CsvCells::Value) => Cell::Bare(&text),
        // Only days and moments are written otherwise than other texts.
        (Start::String, CsvCells::Value) => Cell::Plain(&text),
    };
    Ok(xlsx.cell(index, cell, expected)?)
}

/// Compares what is written to it with an entry.
struct Expected<'a, 'f>(EntryContents<'a, 'f>);

impl Write for Expected<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.take(bytes) {
            Ok(true) => Ok(bytes.len()),
            Ok(false) => Err(io::Error::other("it differs from JSON")),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

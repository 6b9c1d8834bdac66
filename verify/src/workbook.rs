//! Compares the workbook with the JSON files: each entry is made again from them, and every byte of it must be the same.
//!
//! So it can hold nothing else: no formula, no macro, no link, no hidden sheet. No sheet with rows is held in memory, and no
//! more of a value than a cell holds.

use anyhow::{Context as _, ensure};
pub(crate) use export_activities::archive::workbook::NAME;
use export_activities::{
    archive::{
        manifest::{Entity, Manifest, Sheet},
        workbook::{AFTER, BEFORE, SHEET_BYTES, parts_after, parts_before, sheet_file, sheet_names},
    },
    serialise::formats::{EXCEL_CELL_CHARACTERS, Format as _, Xlsx, xlsx::SHEET_ROWS},
};

use crate::{
    entry::{self, EntryContents, Expected, Section},
    json::JsonRows,
    structure::{self, Entry},
};

/// Of a longer value no more is taken: its cell is cut.
const TAKEN_BYTES: usize = 4 * EXCEL_CELL_CHARACTERS;

/// Checks that the counts of a workbook are where a workbook is, and nowhere else.
pub(crate) fn check_manifest(manifest: &Manifest) -> anyhow::Result<()> {
    for entity in &manifest.entities {
        for column in &entity.columns {
            let has_times = column.written_type.as_deref().is_some_and(|name| {
                matches!(name, "date" | "timestamp with time zone" | "timestamp without time zone")
            });
            let said = [column.texts_cut_in_xlsx, column.times_cut_to_milliseconds_in_xlsx];
            let wanted = [manifest.workbook.is_some(), manifest.workbook.is_some() && has_times];
            ensure!(
                said.map(|count| count.is_some()) == wanted,
                "`{}`, column `{}` has counts of a workbook where there are none, or lacks them",
                entity.name,
                column.name
            );
        }
    }
    Ok(())
}

/// Checks the workbook of a manifest that lists one. The names of the entities have been checked before.
pub(crate) fn check(archive: Section<'_>, manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<()> {
    let Some(workbook) = &manifest.workbook else { return Ok(()) };
    let entry = entries.iter().find(|entry| entry.name == NAME);
    let book = archive.of_stored(entry.with_context(|| format!("`{NAME}` is missing"))?)?;
    check_book(archive, book, manifest, &workbook.sheets, entries).with_context(|| format!("`{NAME}`"))
}

fn check_book(
    archive: Section<'_>,
    book: Section<'_>,
    manifest: &Manifest,
    sheets: &[Sheet],
    entries: &[Entry],
) -> anyhow::Result<()> {
    let held = structure::entries(&book)?;
    let names = BEFORE.iter().map(|name| (*name).to_owned());
    let names =
        names.chain((0..sheets.len()).map(sheet_file)).chain(AFTER.iter().map(|name| (*name).to_owned()));
    ensure!(held.iter().map(|entry| entry.name.clone()).eq(names), "it has other entries than in an export");
    let of_rows = &held[BEFORE.len()..BEFORE.len() + sheets.len()];
    let split = split(&manifest.entities, sheets, of_rows)?;
    ensure!(
        sheets
            .iter()
            .map(|sheet| &sheet.name)
            .eq(&sheet_names(sheets.iter().map(|sheet| sheet.entity.as_str()))),
        "the manifest names its sheets otherwise than an export does"
    );
    let mut zip = entry::open(book)?;
    let (before, after) = (parts_before(), parts_after(manifest));
    let first_after = BEFORE.len() + sheets.len();
    for (index, text) in before.iter().enumerate().chain((first_after..).zip(&after)) {
        let mut contents = EntryContents::open(&mut zip, index, &held[index], held[index].size)?;
        let is_same = contents.take(text.as_bytes())? && contents.peek()?.is_none();
        ensure!(is_same, "`{}` differs from the one of an export", held[index].name);
    }
    let places = structure::places(entries);
    let mut json_zip = entry::open(archive)?;
    let mut index = BEFORE.len();
    for (entity, sheets) in manifest.entities.iter().zip(split) {
        let name = format!("json/{}.json", entity.name);
        let place = *places.get(name.as_str()).with_context(|| format!("`{name}` is missing"))?;
        let json = EntryContents::open(&mut json_zip, place, &entries[place], entries[place].size)?;
        let columns = entity.columns.iter().map(|column| column.name.as_str());
        let mut json = JsonRows::begin(json, columns).with_context(|| format!("`{name}`"))?;
        let types = entity.columns.iter().map(|column| column.written_type.clone().unwrap_or_default());
        let mut xlsx = Xlsx::of_types(entity.columns.iter().map(|column| column.name.as_str()).zip(types));
        let mut row = 0;
        for sheet in sheets {
            let contents = EntryContents::open(&mut zip, index, &held[index], held[index].size)?;
            let mut expected = Expected(contents);
            let place = |row: u64| format!("sheet `{}`, row {row} of `{}`", sheet.name, entity.name);
            xlsx.begin(&mut expected).with_context(|| format!("the header of sheet `{}`", sheet.name))?;
            for _ in 0..sheet.rows {
                row += 1;
                ensure!(json.next_row()?, "`{name}` has fewer rows than the sheets");
                xlsx.begin_row(&mut expected).with_context(|| place(row))?;
                for (index, column) in entity.columns.iter().enumerate() {
                    json.with_cell(index, column.csv, TAKEN_BYTES, |cell| {
                        xlsx.cell(index, cell, &mut expected)
                    })
                    .and_then(|same| Ok(same?))
                    .with_context(|| format!("{}, column `{}`", place(row), column.name))?;
                }
                json.end_row()?;
                xlsx.end_row(&mut expected).with_context(|| place(row))?;
            }
            xlsx.end(&mut expected).with_context(|| format!("the end of sheet `{}`", sheet.name))?;
            ensure!(expected.0.peek()?.is_none(), "sheet `{}` has more than the rows", sheet.name);
            index += 1;
        }
        check_counts(entity, xlsx)?;
    }
    Ok(())
}

/// Returns the sheets of each entity. All but the last of an entity must be full.
fn split<'s>(
    entities: &[Entity],
    mut sheets: &'s [Sheet],
    mut held: &[Entry],
) -> anyhow::Result<Vec<&'s [Sheet]>> {
    let mut split = Vec::new();
    for entity in entities {
        let count = sheets.iter().take_while(|sheet| sheet.entity == entity.name).count();
        let (of_entity, rest) = sheets.split_at(count);
        let (entries, others) = held.split_at(count);
        let is_full = |(sheet, entry): (&Sheet, &Entry)| {
            sheet.rows == SHEET_ROWS || (sheet.rows < SHEET_ROWS && entry.size >= SHEET_BYTES)
        };
        let are_full = of_entity.iter().zip(entries).rev().skip(1).all(is_full);
        let last = of_entity.last().map(|sheet| sheet.rows);
        let has_last = last.is_some_and(|rows| rows <= SHEET_ROWS && (rows > 0 || count == 1));
        let rows = of_entity.iter().try_fold(0_u64, |sum, sheet| sum.checked_add(sheet.rows));
        ensure!(
            are_full && has_last && rows == Some(entity.rows),
            "the manifest does not have the rows of `{}` in sheets as an export has them",
            entity.name
        );
        split.push(of_entity);
        (sheets, held) = (rest, others);
    }
    ensure!(sheets.is_empty(), "the manifest has sheets of no entity");
    Ok(split)
}

fn check_counts(entity: &Entity, xlsx: Xlsx) -> anyhow::Result<()> {
    for (column, tally) in entity.columns.iter().zip(xlsx.tallies()) {
        let pairs = [
            ("cut texts", tally.cut_texts, column.texts_cut_in_xlsx),
            ("times that were cut", tally.cut_times, column.times_cut_to_milliseconds_in_xlsx),
        ];
        for (what, counted, said) in pairs {
            ensure!(
                said.unwrap_or_default() == counted,
                "`{}`, column `{}` has {counted} {what}, and the manifest says otherwise",
                entity.name,
                column.name
            );
        }
    }
    Ok(())
}

//! Compares the two files of an entity cell by cell, and checks the counts of the manifest.

use anyhow::{Context as _, bail, ensure};
use export_activities::{
    archive::manifest::{Column, CsvCells, EXCEL_ROWS, Entity},
    serialise::{
        Halves, Marks,
        formats::{ESCAPED_SEMICOLON, EXCEL_CELL_CHARACTERS},
        is_outside_years,
    },
};

use crate::{
    csv::CsvRows,
    entry::EntryContents,
    json::{JsonRows, Start},
    scope::{Keys, Taken, Wanted},
};

/// Counts of one column.
#[derive(Clone, Copy, Default)]
struct Counts {
    neutralised: u64,
    long_cells: u64,
    escaped: u64,
    outside_years: u64,
}

/// The longest text of a date or timestamp has fewer bytes.
const DATE_BYTES: usize = 64;

/// Compares both files to their ends and returns them, to be digested.
pub(crate) fn compare<'a, 'f>(
    entity: &Entity,
    wanted: &[Wanted<'_>],
    keys: &Keys,
    json: EntryContents<'a, 'f>,
    csv: EntryContents<'a, 'f>,
) -> anyhow::Result<[EntryContents<'a, 'f>; 2]> {
    let (json_name, csv_name) = (format!("json/{}.json", entity.name), format!("csv/{}.csv", entity.name));
    let names = || entity.columns.iter().map(|column| column.name.as_str());
    let mut json = JsonRows::begin(json, names()).with_context(|| format!("`{json_name}`"))?;
    let mut csv = CsvRows::begin(csv, names()).with_context(|| format!("`{csv_name}`"))?;
    let mut counts = vec![Counts::default(); entity.columns.len()];
    let mut rows = 0;
    loop {
        let in_json = json.next_row().with_context(|| format!("`{json_name}`, row {}", rows + 1))?;
        let in_csv = csv.has_row()?;
        if !in_json || !in_csv {
            ensure!(
                in_json == in_csv,
                "`{json_name}` and `{csv_name}` differ in their number of rows after {rows}"
            );
            break;
        }
        rows += 1;
        for (index, (column, wanted)) in entity.columns.iter().zip(wanted).enumerate() {
            let is_last = index + 1 == entity.columns.len();
            let mut taken = wanted.take(keys);
            cell(&mut json, &mut csv, index, column, is_last, &mut counts[index], taken.as_mut())
                .and_then(|has_value| match &taken {
                    Some(taken) if has_value => wanted.check(taken, keys),
                    Some(_) => wanted.check_null(),
                    None => Ok(()),
                })
                .with_context(|| format!("`{}`, row {rows}, column `{}`", entity.name, column.name))?;
        }
        json.end_row().with_context(|| format!("`{json_name}`, row {rows}"))?;
    }
    recount(entity, rows, &counts)?;
    Ok([json.into_inner(), csv.into_inner()])
}

fn recount(entity: &Entity, rows: u64, counts: &[Counts]) -> anyhow::Result<()> {
    let name = &entity.name;
    ensure!(rows == entity.rows, "`{name}` has {rows} rows, the manifest says {}", entity.rows);
    ensure!(
        entity.exceeds_excel_rows == (rows >= EXCEL_ROWS),
        "the manifest is wrong on whether Excel shows all rows of `{name}`"
    );
    for (column, counts) in entity.columns.iter().zip(counts) {
        let pairs = [
            // Cells of other columns may look escaped although they are not.
            (
                "cells with escaped halves",
                counts.escaped,
                column.cells_with_escaped_halves.unwrap_or(counts.escaped),
            ),
            (
                "cells outside the years 1 to 9999",
                counts.outside_years,
                column.cells_outside_years_1_to_9999.unwrap_or(counts.outside_years),
            ),
            ("neutralised cells", counts.neutralised, column.neutralised),
            ("cells too long for Excel", counts.long_cells, column.cells_over_32767_characters),
        ];
        for (what, counted, said) in pairs {
            ensure!(
                counted == said,
                "`{name}`, column `{}` has {counted} {what}, the manifest says {said}",
                column.name
            );
        }
    }
    Ok(())
}

fn cell(
    json: &mut JsonRows<'_, '_>,
    csv: &mut CsvRows<'_, '_>,
    index: usize,
    column: &Column,
    is_last: bool,
    counts: &mut Counts,
    mut taken: Option<&mut Taken>,
) -> anyhow::Result<bool> {
    let start = json.begin_cell(index)?;
    let has_value = csv.begin_field()?;
    ensure!(has_value == (start != Start::Null), "one of JSON and CSV has no value");
    let mut field = Field { csv, characters: 0 };
    match (start, column.csv) {
        (Start::Null, _) => {}
        (Start::String, CsvCells::Value) => {
            let mut marks = Marks::default();
            let mut marked = false;
            let mut date = column.cells_outside_years_1_to_9999.map(|_| String::new());
            json.string(|character| {
                if let Some(date) = &mut date
                    && date.len() < DATE_BYTES
                {
                    date.push(character);
                }
                if marks.before(character) {
                    marked = true;
                    field.same(b'\'').context("the CSV cell should be neutralised")?;
                }
                let mut utf8 = [0; 4];
                let utf8 = character.encode_utf8(&mut utf8);
                if let Some(taken) = &mut taken {
                    taken.push(utf8.as_bytes());
                }
                utf8.bytes().try_for_each(|byte| field.same(byte))
            })?;
            counts.neutralised += u64::from(marked);
            counts.outside_years += u64::from(date.is_some_and(|date| is_outside_years(&date)));
        }
        (Start::Other, CsvCells::Value) => json.token(|byte| {
            if matches!(byte, b'{' | b'[') {
                bail!("a value that is said to be plain is nested");
            }
            if let Some(taken) = &mut taken {
                taken.push(&[byte]);
            }
            field.same(byte)
        })?,
        (Start::String | Start::Other, CsvCells::Json) => {
            let mut halves = Halves::default();
            let mut escaped = false;
            json.token(|byte| {
                escaped |= halves.ends_with(byte);
                match byte {
                    b';' => ESCAPED_SEMICOLON.bytes().try_for_each(|byte| field.same(byte)),
                    byte => field.same(byte),
                }
            })?;
            counts.escaped += u64::from(escaped);
        }
    }
    let Field { csv, characters } = field;
    if has_value {
        ensure!(csv.next()?.is_none(), "JSON and CSV differ");
    }
    counts.long_cells += u64::from(characters > EXCEL_CELL_CHARACTERS);
    ensure!(csv.end_field(is_last)?, "the CSV row has more or fewer fields than the manifest");
    Ok(has_value)
}

/// A CSV field that is compared byte by byte.
struct Field<'c, 'a, 'f> {
    csv: &'c mut CsvRows<'a, 'f>,
    /// Number of its characters so far, in UTF-16 units.
    characters: usize,
}

impl Field<'_, '_, '_> {
    #[inline]
    fn same(&mut self, byte: u8) -> anyhow::Result<()> {
        // One for each character, two for one beyond the basic plane.
        self.characters += usize::from(byte & 0xC0 != 0x80) + usize::from(byte >= 0xF0);
        match self.csv.next()? {
            Some(found) if found == byte => Ok(()),
            Some(b'\'') => bail!("JSON and CSV differ: the CSV cell need not be neutralised here"),
            _ => bail!("JSON and CSV differ"),
        }
    }
}

//! `export.xlsx`: all rows as a workbook, a sheet for each entity, and a first sheet that explains it.
//!
//! Everything in it follows from the rows and the manifest, so `verify` makes it again and compares every byte. Nothing in
//! it depends on a clock.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Seek, Write},
};

use super::{
    compressor::write_whole,
    container::Zip,
    contents::Contents,
    manifest::{Manifest, Sheet, Workbook},
    texts,
};
use crate::serialise::formats::xlsx::sheet::{self, style};

/// The name of its entry in an archive.
pub const NAME: &str = "export.xlsx";

/// The name of the first sheet. No entity has a name with spaces.
const ABOUT: &str = "About this file";

/// Spreadsheets allow no longer name of a sheet.
const SHEET_NAME_CHARACTERS: usize = 31;

/// The names of the entries before the sheets.
pub const BEFORE: [&str; 2] = ["_rels/.rels", "xl/styles.xml"];

/// The names of the entries after the sheets. The first of them is the first sheet.
pub const AFTER: [&str; 4] =
    ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "[Content_Types].xml"];

/// A sheet is ended at this size, so that none has 4 GiB: some programs cannot open such a workbook.
pub const SHEET_BYTES: u64 = 2 << 30;

/// The widths of the columns of the first sheet.
const ABOUT_WIDTHS: [usize; 4] = [34, 34, 14, 80];

const RELATIONSHIPS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const SPREADSHEET: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const CONTENT: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

/// Returns the name of the entry of the sheet with this index among those with rows. The first sheet is before them.
pub fn sheet_file(index: usize) -> String {
    format!("xl/worksheets/sheet{}.xml", index + 2)
}

/// Returns the texts of the entries [`BEFORE`] the sheets.
pub fn parts_before() -> [String; BEFORE.len()] {
    let start = format!(
        "{XML}<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"rId1\" Type=\"{RELATIONSHIPS}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
    );
    [start, styles()]
}

/// Returns the texts of the entries [`AFTER`] the sheets.
pub fn parts_after(manifest: &Manifest) -> [String; AFTER.len()] {
    let sheets = manifest.workbook.as_ref().map_or(&[][..], |workbook| &workbook.sheets);
    let names = std::iter::once(ABOUT).chain(sheets.iter().map(|sheet| sheet.name.as_str()));
    let (mut list, mut targets, mut types) = (String::new(), String::new(), String::new());
    for (index, name) in names.enumerate() {
        let number = index + 1;
        list.push_str(&format!("<sheet name=\"{name}\" sheetId=\"{number}\" r:id=\"rId{number}\"/>"));
        targets.push_str(&format!(
            "<Relationship Id=\"rId{number}\" Type=\"{RELATIONSHIPS}/worksheet\" Target=\"worksheets/sheet{number}.xml\"/>"
        ));
        types.push_str(&format!(
            "<Override PartName=\"/xl/worksheets/sheet{number}.xml\" ContentType=\"{CONTENT}.worksheet+xml\"/>"
        ));
    }
    let styles = sheets.len() + 2;
    let workbook = format!(
        "{XML}<workbook xmlns=\"{SPREADSHEET}\" xmlns:r=\"{RELATIONSHIPS}\"><bookViews><workbookView xWindow=\"240\" yWindow=\"15\" windowWidth=\"16095\" windowHeight=\"9660\"/></bookViews><sheets>{list}</sheets></workbook>"
    );
    let relationships = format!(
        "{XML}<Relationships xmlns=\"{PACKAGE}/relationships\">{targets}<Relationship Id=\"rId{styles}\" Type=\"{RELATIONSHIPS}/styles\" Target=\"styles.xml\"/></Relationships>"
    );
    let content_types = format!(
        "{XML}<Types xmlns=\"{PACKAGE}/content-types\"><Default Extension=\"rels\" ContentType=\"application/vnd.openxmlformats-package.relationships+xml\"/><Default Extension=\"xml\" ContentType=\"application/xml\"/><Override PartName=\"/xl/workbook.xml\" ContentType=\"{CONTENT}.sheet.main+xml\"/>{types}<Override PartName=\"/xl/styles.xml\" ContentType=\"{CONTENT}.styles+xml\"/></Types>"
    );
    [about(manifest), workbook, relationships, content_types]
}

/// Describes the sheets: the entity and the rows of each.
pub(super) fn describe(contents: &Contents, sheets: &[(usize, u64)]) -> Workbook {
    let entities = sheets.iter().map(|(entity, _)| contents.entities[*entity].name.as_str());
    let names = sheet_names(entities);
    let sheets = sheets.iter().zip(names).map(|((entity, rows), name)| Sheet {
        name,
        entity: contents.entities[*entity].name.clone(),
        rows: *rows,
    });
    Workbook { name: NAME.to_owned(), sheets: sheets.collect() }
}

/// Returns the names of the sheets of these entities. An entity comes several times if it has several sheets.
pub fn sheet_names<'e>(entities: impl Iterator<Item = &'e str>) -> Vec<String> {
    // Excel keeps this name for itself.
    let mut taken = HashSet::from(["history".to_owned()]);
    // The next mark of each name that was cut to the same.
    let mut next = HashMap::new();
    let (mut before, mut number) = ("", 1);
    let name = |entity: &'e str| {
        number = if entity == before { number + 1 } else { 1 };
        before = entity;
        let part = if number > 1 { format!(" ({number})") } else { String::new() };
        let with = |mark: String| {
            let room = SHEET_NAME_CHARACTERS - part.len() - mark.len();
            format!("{}{mark}{part}", &entity[..entity.len().min(room)])
        };
        let mark = next.entry(with(String::new())).or_insert(1);
        loop {
            let name = with(if *mark == 1 { String::new() } else { format!("~{mark}") });
            *mark += 1;
            if taken.insert(name.clone()) {
                break name;
            }
        }
    };
    entities.map(name).collect()
}

/// Starts a workbook in an empty zip.
pub(super) fn begin<W: Read + Write + Seek>(mut zip: Zip<W>) -> anyhow::Result<Zip<W>> {
    write(&mut zip, &BEFORE, &parts_before())?;
    Ok(zip)
}

/// Ends a workbook whose sheets are written.
pub(super) fn finish<W: Read + Write + Seek>(mut zip: Zip<W>, manifest: &Manifest) -> anyhow::Result<W> {
    write(&mut zip, &AFTER, &parts_after(manifest))?;
    Ok(zip.finish()?)
}

fn write<W: Read + Write + Seek>(zip: &mut Zip<W>, names: &[&str], texts: &[String]) -> anyhow::Result<()> {
    names.iter().zip(texts).try_for_each(|(name, text)| write_whole(zip, name, text.as_bytes()).map(drop))
}

/// The formats of cells, in the order of [`style`].
fn styles() -> String {
    // Built in.
    const WHOLE_FORMAT: usize = 1;
    const TEXT_FORMAT: usize = 49;
    const FIRST_FORMAT: usize = 164;
    let mut formats = vec!["yyyy\\-mm\\-dd".to_owned(), "yyyy\\-mm\\-dd\\ hh:mm:ss.000".to_owned()];
    formats.extend((1..=style::PLACES).map(|places| format!("0.{}", "0".repeat(places))));
    let cell = |format: usize, font: usize, more: &str| {
        let number = if format == 0 { "" } else { " applyNumberFormat=\"1\"" };
        format!(
            "<xf numFmtId=\"{format}\" fontId=\"{font}\" fillId=\"0\" borderId=\"0\" xfId=\"0\"{number}{more}/>"
        )
    };
    let mut cells = vec![
        cell(0, 0, ""),
        // The format of texts, and the mark that a cell gets by typing an apostrophe before a text: a program that does not
        // know one of them knows the other.
        cell(TEXT_FORMAT, 1, " quotePrefix=\"1\" applyFont=\"1\""),
        cell(TEXT_FORMAT, 0, " quotePrefix=\"1\""),
        cell(FIRST_FORMAT, 0, ""),
        cell(FIRST_FORMAT + 1, 0, ""),
        cell(WHOLE_FORMAT, 0, ""),
    ];
    cells.extend((1..=style::PLACES).map(|places| cell(FIRST_FORMAT + 1 + places, 0, "")));
    let count = formats.len();
    let formats: String = formats
        .iter()
        .enumerate()
        .map(|(index, code)| format!("<numFmt numFmtId=\"{}\" formatCode=\"{code}\"/>", FIRST_FORMAT + index))
        .collect();
    let font =
        |bold: &str| format!("<font>{bold}<sz val=\"11\"/><name val=\"Calibri\"/><family val=\"2\"/></font>");
    let fonts = font("") + &font("<b/>");
    format!(
        "{XML}<styleSheet xmlns=\"{SPREADSHEET}\"><numFmts count=\"{count}\">{formats}</numFmts><fonts count=\"2\">{fonts}</fonts><fills count=\"2\"><fill><patternFill patternType=\"none\"/></fill><fill><patternFill patternType=\"gray125\"/></fill></fills><borders count=\"1\"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count=\"1\"><xf numFmtId=\"0\" fontId=\"0\" fillId=\"0\" borderId=\"0\"/></cellStyleXfs><cellXfs count=\"{}\">{}</cellXfs><cellStyles count=\"1\"><cellStyle name=\"Normal\" xfId=\"0\" builtinId=\"0\"/></cellStyles></styleSheet>",
        cells.len(),
        cells.concat()
    )
}

/// A cell of the first sheet.
enum AboutCell {
    Text(String),
    Bold(String),
    Number(u64),
}

/// The first sheet: what the workbook holds, and what it cannot hold.
fn about(manifest: &Manifest) -> String {
    let mut text = Vec::new();
    // Writing to memory cannot fail.
    let _ = sheet::begin_sheet(ABOUT_WIDTHS.into_iter(), false, &mut text);
    for (index, cells) in about_rows(manifest).into_iter().enumerate() {
        let row = (index + 1).to_string();
        text.extend(format!("<row r=\"{row}\">").into_bytes());
        for (column, cell) in cells.into_iter().enumerate() {
            let place = format!("<c r=\"{}", sheet::letters(column));
            let _ = match cell {
                AboutCell::Text(value) => sheet::write_text(&place, &row, style::TEXT, &value, &mut text),
                AboutCell::Bold(value) => sheet::write_text(&place, &row, style::HEADER, &value, &mut text),
                AboutCell::Number(number) => {
                    write!(text, "{place}{row}\" s=\"{}\"><v>{number}</v></c>", style::NUMBER)
                }
            };
        }
        text.extend(b"</row>");
    }
    let _ = sheet::end_sheet(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn about_rows(manifest: &Manifest) -> Vec<Vec<AboutCell>> {
    use AboutCell::{Bold, Number, Text};
    let text = |text: &str| vec![Text(text.to_owned())];
    let bold = |texts: &[&str]| texts.iter().map(|text| Bold((*text).to_owned())).collect::<Vec<_>>();
    let fact = |name: &str, value: String| vec![Bold(name.to_owned()), Text(value)];
    let title = if manifest.scope.is_some() { "This is a part of your data" } else { "A copy of your data" };
    let mut rows = vec![
        bold(&[title]),
        fact("Account", manifest.user_id.to_string()),
        fact("Request", manifest.request_id.to_string()),
        fact("As it was at (UTC)", texts::moment(manifest.snapshot_at)),
        Vec::new(),
    ];
    if let Some(part) = &manifest.scope {
        let timed = manifest.entities.iter().filter_map(|entity| Some((&entity.name, entity.time.as_ref()?)));
        rows.push(bold(&["Only this was asked for"]));
        rows.extend(texts::asked(&part.scope(), timed).iter().map(|one| text(one)));
        rows.push(Vec::new());
    }
    rows.push(bold(&["Sheet", "Data set", "Rows", "What it is"]));
    let mut entities = manifest.entities.iter().peekable();
    for sheet in manifest.workbook.iter().flat_map(|workbook| &workbook.sheets) {
        // Once, where the first sheet of an entity is.
        let entity = entities.next_if(|entity| entity.name == sheet.entity);
        let about = entity.map(|entity| entity.about.as_str()).unwrap_or_default();
        rows.push(vec![
            Text(sheet.name.clone()),
            Text(sheet.entity.clone()),
            Number(sheet.rows),
            Text(about.to_owned()),
        ]);
    }
    rows.push(Vec::new());
    rows.extend([
        bold(&["How to read it"]),
        text("A cell is empty if there is no value, or if it is a text of length zero."),
        text("A time in a column with (UTC) in its header is UTC. The others are as the service stored them."),
        text("A day before March 1900 is a text, and so is each other value that a spreadsheet has no date for."),
        text("A whole or decimal number with more than 15 digits is a text: a spreadsheet would round it."),
        text("A floating point number has all its digits, but a spreadsheet shows 15 of them."),
        text("Lists and nested values are written as JSON."),
        text("A text is never a formula, whatever it begins with."),
        text("README.txt, beside this file, says what is left out and whose ids are replaced."),
        Vec::new(),
    ]);
    let cut = manifest.entities.iter().flat_map(|entity| {
        entity.columns.iter().flat_map(move |column| {
            let counts = [
                (
                    column.texts_cut_in_xlsx,
                    "texts are longer than a cell (32,767 characters). They end in \"...\" here.",
                ),
                (
                    column.times_cut_to_milliseconds_in_xlsx,
                    "times are exact to more than a millisecond. The rest is cut here.",
                ),
            ];
            counts.into_iter().filter_map(move |(count, what)| {
                let count = count.filter(|count| *count > 0)?;
                Some(vec![
                    Text(entity.name.clone()),
                    Text(column.name.clone()),
                    Number(count),
                    Text(what.to_owned()),
                ])
            })
        })
    });
    let cut: Vec<_> = cut.collect();
    rows.push(bold(&["What is cut"]));
    if cut.is_empty() {
        rows.push(text("Nothing. Each value in the files of the folder json is whole here."));
    } else {
        rows.push(text("The files in the folder json have these values whole."));
        rows.push(bold(&["Data set", "Column", "Values", "What is cut"]));
        rows.extend(cut);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sheet_has_a_name_that_every_spreadsheet_takes() {
        let long = "a_very_long_name_of_an_entity_that_goes_on";
        let other = "a_very_long_name_of_an_entity_that_goes_wrong";
        let names = sheet_names(["users", "history", long, long, other, "runs", "runs", "runs"].into_iter());
        assert_eq!(
            names,
            [
                "users",
                "history~2",
                "a_very_long_name_of_an_entity_t",
                "a_very_long_name_of_an_enti (2)",
                "a_very_long_name_of_an_entity~2",
                "runs",
                "runs (2)",
                "runs (3)"
            ]
        );
        assert!(names.iter().all(|name| name.len() <= SHEET_NAME_CHARACTERS));
    }
}

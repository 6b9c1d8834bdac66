//! `export.xlsx`: all rows as a workbook, a sheet for each entity, and a first sheet that explains it.
//!
//! Everything in it follows from the rows and the manifest, so `verify` makes it again and compares every byte. Nothing in
//! it depends on a clock.

use std::{
    collections::HashSet,
    io::{Read, Seek, Write},
};

use super::{
    compressor::write_whole,
    container::Zip,
    contents::Contents,
    manifest::{Manifest, Sheet, Workbook},
    texts,
};
use crate::serialise::formats::xlsx::{self, style};

/// The name of its entry in an archive.
pub const NAME: &str = "export.xlsx";

/// The name of the first sheet. No entity has a name with spaces.
const ABOUT: &str = "About this file";

/// Spreadsheets allow no longer name of a sheet.
const SHEET_NAME_CHARACTERS: usize = 31;

/// The widths of the columns of the first sheet.
const ABOUT_WIDTHS: [usize; 4] = [34, 34, 14, 80];

const RELATIONSHIPS: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE: &str = "http://schemas.openxmlformats.org/package/2006";
const SPREADSHEET: &str = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const CONTENT: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml";
const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

/// An entry of a workbook.
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Returns the name of the entry of the sheet with this index among those with rows. The first sheet is before them.
pub fn sheet_file(index: usize) -> String {
    format!("xl/worksheets/sheet{}.xml", index + 2)
}

/// Returns the entries before the sheets.
pub fn parts_before() -> Vec<Part> {
    let start = format!(
        "{XML}<Relationships xmlns=\"{PACKAGE}/relationships\"><Relationship Id=\"rId1\" Type=\"{RELATIONSHIPS}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
    );
    vec![part("_rels/.rels", start), part("xl/styles.xml", styles())]
}

/// Returns the entries after the sheets.
pub fn parts_after(manifest: &Manifest) -> Vec<Part> {
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
    vec![
        part("xl/worksheets/sheet1.xml", about(manifest)),
        part("xl/workbook.xml", workbook),
        part("xl/_rels/workbook.xml.rels", relationships),
        part("[Content_Types].xml", content_types),
    ]
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
    let (mut before, mut number) = ("", 1);
    let name = |entity: &'e str| {
        number = if entity == before { number + 1 } else { 1 };
        before = entity;
        let part = if number > 1 { format!(" ({number})") } else { String::new() };
        let with = |mark: String| {
            let room = SHEET_NAME_CHARACTERS - part.len() - mark.len();
            format!("{}{mark}{part}", &entity[..entity.len().min(room)])
        };
        let marks = std::iter::once(String::new()).chain((2..=usize::MAX).map(|mark| format!("~{mark}")));
        marks.map(with).find(|name| taken.insert(name.clone())).unwrap_or_default()
    };
    entities.map(name).collect()
}

/// Starts a workbook in an empty zip.
pub(super) fn begin<W: Read + Write + Seek>(mut zip: Zip<W>) -> anyhow::Result<Zip<W>> {
    write(&mut zip, parts_before())?;
    Ok(zip)
}

/// Ends a workbook whose sheets are written.
pub(super) fn finish<W: Read + Write + Seek>(mut zip: Zip<W>, manifest: &Manifest) -> anyhow::Result<W> {
    write(&mut zip, parts_after(manifest))?;
    Ok(zip.finish()?)
}

fn write<W: Read + Write + Seek>(zip: &mut Zip<W>, parts: Vec<Part>) -> anyhow::Result<()> {
    parts.iter().try_for_each(|part| write_whole(zip, &part.name, part.text.as_bytes()).map(drop))
}

fn part(name: &str, text: String) -> Part {
    Part { name: name.to_owned(), text }
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
    let mut sheet = Vec::new();
    // Writing to memory cannot fail.
    let _ = xlsx::begin_sheet(ABOUT_WIDTHS.into_iter(), false, &mut sheet);
    for (index, cells) in about_rows(manifest).into_iter().enumerate() {
        let row = (index + 1).to_string();
        sheet.extend(format!("<row r=\"{row}\">").into_bytes());
        for (column, cell) in cells.into_iter().enumerate() {
            let place = format!("<c r=\"{}", xlsx::letters(column));
            let _ = match cell {
                AboutCell::Text(text) => xlsx::write_text(&place, &row, style::TEXT, &text, &mut sheet),
                AboutCell::Bold(text) => xlsx::write_text(&place, &row, style::HEADER, &text, &mut sheet),
                AboutCell::Number(number) => {
                    write!(sheet, "{place}{row}\" s=\"{}\"><v>{number}</v></c>", style::NUMBER)
                }
            };
        }
        sheet.extend(b"</row>");
    }
    let _ = xlsx::end_sheet(&mut sheet);
    String::from_utf8_lossy(&sheet).into_owned()
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
    for sheet in manifest.workbook.iter().flat_map(|workbook| &workbook.sheets) {
        let entity = manifest.entities.iter().find(|entity| entity.name == sheet.entity);
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
        text("All times are UTC. A day before March 1900, and a day or time that is no date of a spreadsheet, is a text."),
        text("A number with more than 15 digits is a text, because a spreadsheet would round it."),
        text("Lists and nested values are written as JSON."),
        text("A text is never a formula, whatever it begins with."),
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
    rows.push(bold(&["What is not whole here"]));
    if cut.is_empty() {
        rows.push(text("Nothing. Every value is here."));
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

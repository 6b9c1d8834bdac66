//! The workbook: what spreadsheets and libraries read in it is what JSON has, and `verify` proves it.

use std::{fs::File, path::Path, process::Command};

use export_activities::{
    archive::manifest::Manifest,
    serialise::{
        ValueKind,
        formats::{EXCEL_CELL_CHARACTERS, FormatName, Formats, xlsx::SHEET_ROWS},
    },
};
use export_verify::verify;
use serde_json::{Value, json};

use crate::{
    support::{
        hostile::tables,
        read_session::connect,
        sample::{contents, entity, row, write},
    },
    values::verify::{Parts, join, parts, redigested, refused},
};

/// Further values of each type beside its edges.
const VALUES: usize = 250;

/// Values at the limits of a cell, by their type.
fn edges() -> Vec<(&'static str, ValueKind, Vec<String>)> {
    let limit = EXCEL_CELL_CHARACTERS;
    let texts = vec![
        "_x000D_".to_owned(),
        "_x005F_x000D_".to_owned(),
        "__x0041_ _x004".to_owned(),
        "a\r\nb\rc".to_owned(),
        " outer space\t".to_owned(),
        "x".repeat(limit),
        "x".repeat(limit + 1),
        "é".repeat(limit),
        // The cut is within the two units of its last character.
        format!("{}😀😀", "x".repeat(limit - 3)),
        "TRUE".to_owned(),
        "00123".to_owned(),
        "1E5".to_owned(),
        "2026-11-28".to_owned(),
    ];
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    vec![
        ("text", ValueKind::Text, texts),
        (
            "numeric",
            ValueKind::Numeric,
            owned(&[
                "999999999999999",
                "1000000000000000",
                "-0.10",
                "1.500",
                "0.000000000000001",
                "12345678901234.5",
                "123456789012345.6",
            ]),
        ),
        (
            "date",
            ValueKind::Date,
            owned(&["1900-02-28", "1900-03-01", "9999-12-31", "10000-01-01", "0044-03-15 BC"]),
        ),
        (
            "timestamptz",
            ValueKind::Timestamptz,
            owned(&[
                "1900-02-28 23:59:59.999999Z",
                "1900-03-01Z",
                "9999-12-31 23:59:59.999999Z",
                "2026-11-28 23:59:59.999999Z",
                "2026-11-28 12:00:00.25Z",
                "infinity",
            ]),
        ),
        ("timestamp", ValueKind::Timestamp, owned(&["2026-11-28 00:00:00.001", "2026-11-28 00:00:00.0001"])),
    ]
}

/// Runs a reader on a file, and returns what it says.
pub(crate) fn read(reader: &mut Command) -> String {
    let name = reader.get_program().to_owned();
    let output = reader.output().unwrap_or_else(|error| panic!("{name:?} is missing: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

pub(crate) fn script(name: &str) -> String {
    format!("{}/it/readers/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn tool(name: &str) -> String {
    format!("{}/../.tools/bench/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// LibreOffice, which compares the workbook of an archive with its JSON files, and enters texts again.
fn libreoffice(archive: &Path) -> Command {
    let mut command = Command::new(tool("../bin/python-uno"));
    command.arg(script("libreoffice.py")).arg(archive);
    command
}

/// openpyxl, pandas and calamine, which compare it, too.
fn libraries(archive: &Path) -> Command {
    let mut command = Command::new(tool("venv/bin/python"));
    command.arg(script("workbook.py")).arg(archive);
    command
}

/// Returns the number with which a text begins.
fn number(text: &str) -> u64 {
    text.split_once(' ').unwrap().0.parse().unwrap()
}

/// Writes an archive with a workbook to `path`.
async fn sound(path: &Path) -> Vec<u8> {
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text), ("at", ValueKind::Timestamptz)];
    let entities = vec![entity("users", columns.clone()), entity("projects", columns)];
    let long = "x".repeat(40_000);
    let users = [row(1, Some("=1+1")), row(2, Some("plain")), row(3, None), row(4, Some(&long))];
    // Microseconds since 2000: the last one has more than milliseconds.
    let users = users.into_iter().zip([0_i64, 1_000, 86_400_000_000, 1_001]).map(|(mut row, at)| {
        row.push(Some(at.to_be_bytes().to_vec()));
        row
    });
    let users = users.collect();
    let mut contents = contents(entities);
    contents.formats = Formats::with([FormatName::Xlsx]);
    write(contents, vec![users, Vec::new()], path).await;
    std::fs::read(path).unwrap()
}

/// Changes the entries of the workbook of an archive.
fn rebuilt(archive: &[u8], change: impl Fn(&mut Parts)) -> Vec<u8> {
    let mut outer = parts(archive);
    let (_, book) = outer.iter_mut().find(|(name, _)| name == "export.xlsx").unwrap();
    let mut inner = parts(book);
    change(&mut inner);
    *book = join(inner);
    join(redigested(outer))
}

/// Replaces a text in an entry.
fn edit(name: &'static str, from: &'static str, to: &'static str) -> impl Fn(&mut Parts) {
    move |parts: &mut Parts| {
        let (_, text) = parts.iter_mut().find(|(entry, _)| entry == name).unwrap();
        let old = String::from_utf8(text.clone()).unwrap();
        assert!(old.contains(from), "{old}");
        *text = old.replace(from, to).into_bytes();
    }
}

#[tokio::test]
async fn hostile_values_of_every_type_are_read_alike_and_never_a_formula() {
    let (entities, rows) = tables(&mut connect().await, VALUES, edges()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut contents = contents(entities);
    contents.formats = Formats::with([FormatName::Xlsx]);
    write(contents, rows, &path).await;
    verify(&path, None).unwrap();
    let said = read(&mut libraries(&path));
    assert!(number(&said) > 20_000, "{said}");
    let said = read(&mut libreoffice(&path));
    let edited = said.split_once("which ").unwrap().1;
    assert!(number(&said) > 20_000 && number(edited) > 2_000, "{said}");
}

#[tokio::test]
async fn without_the_format_of_texts_an_edited_cell_becomes_a_formula() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let archive = sound(&path).await;
    read(&mut libreoffice(&path));
    let styles = edit("xl/styles.xml", "numFmtId=\"49\"", "numFmtId=\"0\"");
    std::fs::write(&path, rebuilt(&archive, styles)).unwrap();
    let output = libreoffice(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("after editing"), "{said}");
}

#[tokio::test]
async fn a_workbook_of_other_contents_is_refused_even_with_right_digests() {
    const SHEET: &str = "xl/worksheets/sheet2.xml";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let archive = sound(&path).await;
    assert_eq!(verify(&path, None).unwrap().files, 13);
    std::fs::write(&path, rebuilt(&archive, |_| ())).unwrap();
    verify(&path, None).unwrap();
    let place = "sheet `users`, row 2 of `users`, column `text`: it differs from JSON";
    let refuse = |change: &dyn Fn(&mut Parts), expected| refused(&path, &rebuilt(&archive, change), expected);
    refuse(&edit(SHEET, "<t>plain</t>", "<t>plaim</t>"), place);
    refuse(&edit(SHEET, "<t>plain</t></is>", "<t>plain</t></is><f>1+1</f>"), place);
    refuse(&edit(SHEET, "<c r=\"B3\" s=\"2\"", "<c r=\"B3\""), place);
    refuse(&edit(SHEET, "<t>text</t>", "<t>txet</t>"), "the header of sheet `users`");
    refuse(&edit(SHEET, "</sheetData>", "<row r=\"6\"></row></sheetData>"), "the end of sheet `users`");
    refuse(&edit(SHEET, "</worksheet>", "</worksheet> "), "sheet `users` has more than the rows");
    refuse(&edit("xl/styles.xml", "49", "0"), "`xl/styles.xml` differs from the one of an export");
    refuse(&edit("xl/workbook.xml", "\"users\"", "\"losers\""), "`xl/workbook.xml` differs");
    refuse(&edit("xl/worksheets/sheet1.xml", "<v>1</v>", "<v>0</v>"), "`xl/worksheets/sheet1.xml` differs");
    let macros = |parts: &mut Parts| parts.push(("xl/vbaProject.bin".to_owned(), b"x".to_vec()));
    refuse(&macros, "it has other entries than in an export");
    refuse(&|parts: &mut Parts| parts.swap(2, 3), "it has other entries than in an export");

    let manifest = |pointer: &'static str, value: Value| {
        let mut outer = parts(&archive);
        let (_, text) = outer.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        *manifest.pointer_mut(pointer).unwrap() = value;
        *text = serde_json::to_vec(&manifest).unwrap();
        join(redigested(outer))
    };
    let sheets = "does not have the rows of `users` in sheets as an export has them";
    refused(&path, &manifest("/workbook/sheets/0/rows", json!(3)), sheets);
    refused(&path, &manifest("/workbook/sheets/0/rows", json!(u64::MAX)), sheets);
    refused(&path, &manifest("/workbook/sheets/0/entity", json!("é".repeat(20))), sheets);
    refused(&path, &manifest("/workbook/sheets", json!([])), "it has other entries than in an export");
    refused(
        &path,
        &manifest("/workbook/sheets/0/name", json!("Users")),
        "names its sheets otherwise than an export does",
    );
    refused(&path, &manifest("/workbook/name", json!("other.xlsx")), "is not the name of a workbook");
    refused(&path, &manifest("/workbook", json!(null)), "`export.xlsx` belongs to no entity");
    let cut = "/entities/0/columns/1/texts_cut_in_xlsx";
    refused(&path, &manifest(cut, json!(2)), "`xl/worksheets/sheet1.xml` differs");
    let none = "/entities/0/columns/0/texts_cut_in_xlsx";
    let counts = "`users`, column `id` has counts of a workbook where there are none, or lacks them";
    refused(&path, &manifest(none, json!(null)), counts);

    let mut without = parts(&archive);
    without.retain(|(name, _)| name != "export.xlsx");
    refused(&path, &join(without), "`export.xlsx` is in the manifest, but not in the archive");
    let compressed = join(redigested(parts(&archive)).into_iter().map(renamed).collect());
    let compressed = replaced(compressed, b"Export.xlsx", b"export.xlsx");
    refused(&path, &compressed, "`export.xlsx` is compressed, as in no export");
}

/// An entity continues on another sheet only when one is full, however many sheets a manifest claims.
#[tokio::test]
async fn a_manifest_with_other_sheets_than_an_export_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let archive = sound(&path).await;
    let with_sheets = |entities: &[&str], rows: &[u64]| {
        let mut outer = parts(&archive);
        let (_, book) = outer.iter_mut().find(|(name, _)| name == "export.xlsx").unwrap();
        let mut inner = parts(book);
        let first = inner.iter().position(|(name, _)| name == "xl/worksheets/sheet2.xml").unwrap();
        let last = inner.iter().position(|(name, _)| name == "xl/worksheets/sheet1.xml").unwrap();
        let sheet = inner[first].1.clone();
        let named = |index: usize| (format!("xl/worksheets/sheet{}.xml", index + 2), sheet.clone());
        inner.splice(first..last, (0..entities.len()).map(named));
        *book = join(inner);
        let (_, text) = outer.last_mut().unwrap();
        let mut manifest: Value = serde_json::from_slice(text).unwrap();
        let sheets = entities.iter().zip(rows.iter().cycle());
        let sheets = sheets.map(|(entity, rows)| json!({"name": entity, "entity": entity, "rows": rows}));
        manifest["workbook"]["sheets"] = sheets.collect();
        *text = serde_json::to_vec(&manifest).unwrap();
        join(redigested(outer))
    };
    let users = "does not have the rows of `users` in sheets as an export has them";
    refused(&path, &with_sheets(&["users", "users", "projects"], &[1, 3, 0]), users);
    refused(&path, &with_sheets(&["users", "users", "projects"], &[4, 0, 0]), users);
    refused(&path, &with_sheets(&["projects", "users"], &[0, 4]), users);
    refused(&path, &with_sheets(&["users"], &[4]), "rows of `projects` in sheets");
    let alternating: Vec<_> = ["users", "projects"].into_iter().cycle().take(20_000).collect();
    refused(&path, &with_sheets(&alternating, &[4, 0]), "the manifest has sheets of no entity");
}

/// Hides the name of the workbook from [`join`], which would store it.
fn renamed((name, contents): (String, Vec<u8>)) -> (String, Vec<u8>) {
    (if name == "export.xlsx" { "Export.xlsx".to_owned() } else { name }, contents)
}

/// Replaces bytes wherever they stand.
fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

/// Rows beyond those of one sheet go on in another, and nothing is lost between them.
#[tokio::test]
async fn more_rows_than_a_sheet_holds_go_on_in_the_next() {
    let rows = i32::try_from(SHEET_ROWS).unwrap() + 2;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut contents = contents(vec![entity("runs", vec![("id", ValueKind::Int4)])]);
    contents.formats = Formats::with([FormatName::Xlsx]);
    let values = (1..=rows).map(|id: i32| vec![Some(id.to_be_bytes().to_vec())]).collect();
    write(contents, vec![values], &path).await;
    verify(&path, None).unwrap();
    let mut zip = zip::ZipArchive::new(File::open(&path).unwrap()).unwrap();
    let manifest: Manifest = serde_json::from_reader(zip.by_name("manifest.json").unwrap()).unwrap();
    let sheets: Vec<_> =
        manifest.workbook.unwrap().sheets.into_iter().map(|sheet| (sheet.name, sheet.rows)).collect();
    assert_eq!(sheets, [("runs".to_owned(), SHEET_ROWS), ("runs (2)".to_owned(), 2)]);
    let said = read(Command::new(tool("venv/bin/python")).arg(script("long_sheets.py")).arg(&path));
    assert_eq!(said, format!("{rows} rows in 2 sheets, the last in row 3 of `runs (2)`\n"));
}

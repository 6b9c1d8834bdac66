//! CSV for spreadsheets: RFC 4180 with a byte order mark, safe to open, and reversible.
//!
//! NULL is an empty field and the empty string is `""`, as PostgreSQL's own COPY has it; no CSV library
//! writes that difference, so fields are written here by hand.

use std::io::{Result, Write};

use super::{
    Cell, Column,
    json::compacted,
    value::{hex_length, write_hex},
};

/// Excel cuts longer cells; it counts as UTF-16 does.
pub const EXCEL_CELL_CHARACTERS: usize = 32_767;

/// Excel takes a file for UTF-8 only with it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Bytes that are looked through for quotes at a time.
const DOUBLED_BYTES: usize = 512;

/// Writes rows as CSV and counts, for each column, what a reader should know.
#[derive(Debug)]
pub struct Csv {
    header: Vec<String>,
    /// Cells that got a leading `'`, by column.
    pub neutralised: Vec<u64>,
    /// Cells longer than [`EXCEL_CELL_CHARACTERS`], by column.
    pub long_cells: Vec<u64>,
}

impl Csv {
    /// Makes a writer of these columns.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            header: columns.iter().map(|column| column.name.clone()).collect(),
            neutralised: vec![0; columns.len()],
            long_cells: vec![0; columns.len()],
        }
    }

    /// Writes the header.
    pub fn begin(&self, out: &mut impl Write) -> Result<()> {
        out.write_all(BYTE_ORDER_MARK.as_bytes())?;
        write_text_record(&self.header, out)
    }

    /// Writes one cell.
    pub fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> Result<()> {
        if column > 0 {
            out.write_all(b",")?;
        }
        match cell {
            Cell::Null => {}
            // A number may be long, but holds nothing to quote, and is never neutralised.
            Cell::Bare(text) => {
                self.long_cells[column] += u64::from(text.len() > EXCEL_CELL_CHARACTERS);
                out.write_all(text.as_bytes())?;
            }
            // Short, and of all that a spreadsheet takes for a formula it can only begin with a sign.
            Cell::Plain(text) => {
                if text.starts_with(['-', '+']) {
                    self.neutralised[column] += 1;
                    out.write_all(b"'")?;
                }
                out.write_all(text.as_bytes())?;
            }
            Cell::Text(text) => {
                let mark = if neutralised(text) { "'" } else { "" };
                self.neutralised[column] += mark.len() as u64;
                self.long_cells[column] += u64::from(is_long(text, mark.len()));
                write_field(mark, text, out)?;
            }
            Cell::Token(token) => {
                self.long_cells[column] += u64::from(is_long(token, 0));
                write_field("", token, out)?;
            }
            Cell::LargeToken(token) => {
                let mut characters = 0;
                out.write_all(b"\"")?;
                compacted(token, |piece| {
                    characters += piece.encode_utf16().count();
                    write_doubled(piece, out)
                })?;
                self.long_cells[column] += u64::from(characters > EXCEL_CELL_CHARACTERS);
                out.write_all(b"\"")?;
            }
            Cell::Hex(bytes) => {
                self.long_cells[column] += u64::from(hex_length(bytes) > EXCEL_CELL_CHARACTERS);
                out.write_all(b"\\x")?;
                write_hex(bytes, out)?;
            }
        }
        Ok(())
    }

    /// Writes what stands after the last cell of a row.
    pub fn end_row(&self, out: &mut impl Write) -> Result<()> {
        out.write_all(b"\r\n")
    }
}

/// Tells whether Excel would cut the cell.
fn is_long(text: &str, before: usize) -> bool {
    // A text has at least as many bytes as Excel counts characters.
    before + text.len() > EXCEL_CELL_CHARACTERS
        && before + text.encode_utf16().count() > EXCEL_CELL_CHARACTERS
}

/// Tells whether a spreadsheet could take the text for a formula, or the text begins with the mark itself.
pub fn neutralised(text: &str) -> bool {
    if text.starts_with(['\'', '\t', '\r', '\n']) {
        return true;
    }
    let first = text.chars().find(|c| !c.is_whitespace() && !c.is_control());
    matches!(first, Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠'))
}

/// Writes a record of plain texts, such as a header.
pub fn write_text_record<S: AsRef<str>>(fields: &[S], out: &mut impl Write) -> Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write_field("", field.as_ref(), out)?;
    }
    out.write_all(b"\r\n")
}

fn write_field(mark: &str, text: &str, out: &mut impl Write) -> Result<()> {
    // Looked at as a whole and without a way out, which the compiler turns into a few wide instructions.
    let is_special = |any, &byte: &u8| any | matches!(byte, b'"' | b',' | b'\r' | b'\n');
    if !text.is_empty() && !text.as_bytes().iter().fold(false, is_special) {
        out.write_all(mark.as_bytes())?;
        return out.write_all(text.as_bytes());
    }
    out.write_all(b"\"")?;
    out.write_all(mark.as_bytes())?;
    write_doubled(text, out)?;
    out.write_all(b"\"")
}

/// Writes a text with its quotes doubled; JSON has one every few bytes, too near for a search from one to the next.
fn write_doubled(text: &str, out: &mut impl Write) -> Result<()> {
    let mut doubled = [0; 2 * DOUBLED_BYTES];
    for piece in text.as_bytes().chunks(DOUBLED_BYTES) {
        let mut length = 0;
        for &byte in piece {
            doubled[length] = byte;
            doubled[length + 1] = byte;
            length += 1 + usize::from(byte == b'"');
        }
        out.write_all(&doubled[..length])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialise::{Treatment, ValueKind};

    fn cell(cell: Cell<'_>) -> (String, u64, u64) {
        let columns = [Column { name: "c".to_owned(), kind: ValueKind::Text, treatment: Treatment::Export }];
        let mut csv = Csv::new(&columns);
        let mut out = Vec::new();
        csv.cell(0, cell, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), csv.neutralised[0], csv.long_cells[0])
    }

    #[test]
    fn what_a_spreadsheet_could_run_gets_a_quote_in_front() {
        for text in [
            "=1",
            "+1",
            "-1",
            "@x",
            " \u{7}\u{a0}=1",
            "＝1",
            "＋",
            "－",
            "＠",
            "'",
            "'=1",
            "\tx",
            "\u{feff}x=1",
        ] {
            let (written, count, _) = cell(Cell::Text(text));
            let expected = !text.starts_with('\u{feff}');
            assert_eq!(written.starts_with('\''), expected, "{text:?}");
            assert_eq!(count, u64::from(expected), "{text:?}");
        }
        for text in ["a=1", "1-1", "\"=1\"", "a", "日本", " "] {
            assert_eq!(cell(Cell::Text(text)).1, 0, "{text:?}");
        }
        assert_eq!(cell(Cell::Text("\rx")).0, "\"'\rx\"");
    }

    #[test]
    fn numbers_and_json_are_never_neutralised() {
        assert_eq!(cell(Cell::Bare("-1")), ("-1".to_owned(), 0, 0));
        assert_eq!(cell(Cell::Token("-1")), ("-1".to_owned(), 0, 0));
        assert_eq!(cell(Cell::Token("[1]")).0, "[1]");
        for token in [Cell::Token("{\"=\":1}"), Cell::LargeToken("{\"=\": 1}")] {
            assert_eq!(cell(token).0, "\"{\"\"=\"\":1}\"");
        }
        assert_eq!(cell(Cell::Plain("-1 days")), ("'-1 days".to_owned(), 1, 0));
        assert_eq!(cell(Cell::Text("-Infinity")), ("'-Infinity".to_owned(), 1, 0));
    }

    #[test]
    fn cells_longer_than_excel_takes_are_counted_as_it_counts() {
        assert_eq!(cell(Cell::Text(&"a".repeat(32_767))).2, 0);
        assert_eq!(cell(Cell::Text(&"a".repeat(32_768))).2, 1);
        assert_eq!(cell(Cell::Text(&format!("={}", "a".repeat(32_766)))).2, 1);
        assert_eq!(cell(Cell::Text(&"é".repeat(32_767))).2, 0);
        assert_eq!(cell(Cell::Text(&"😀".repeat(16_384))).2, 1);
        let (space, string) = (format!("[{}]", " ".repeat(40_000)), format!("\"{}\"", " ".repeat(40_000)));
        assert_eq!(cell(Cell::LargeToken(&space)).2, 0);
        assert_eq!(cell(Cell::LargeToken(&string)).2, 1);
        assert_eq!(cell(Cell::Token(&string)).2, 1);
    }
}

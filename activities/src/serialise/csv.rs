//! CSV for spreadsheets: RFC 4180 with a byte order mark, safe to open, and reversible.
//!
//! NULL is an empty field and the empty string is `""`, as PostgreSQL's own COPY has it; no CSV library
//! writes that difference, so fields are written here by hand.

use std::io::Write;

use super::{
    Cell, Column, Format,
    json::{Emit, compacted},
    value::{hex_length, write_hex},
};

/// Excel cuts longer cells; it counts as UTF-16 does.
pub const EXCEL_CELL_CHARACTERS: usize = 32_767;

/// Excel takes a file for UTF-8 only with it.
const BYTE_ORDER_MARK: &str = "\u{feff}";

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
}

impl Format for Csv {
    fn begin(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(BYTE_ORDER_MARK.as_bytes())?;
        write_text_record(&self.header, out)
    }

    fn begin_row(&mut self, _out: &mut impl Write) -> std::io::Result<()> {
        Ok(())
    }

    fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> std::io::Result<()> {
        if column > 0 {
            out.write_all(b",")?;
        }
        match cell {
            Cell::Null => Ok(()),
            // A number or a boolean is short and holds nothing to quote or to neutralise.
            Cell::Bare(text) => {
                if text.len() > EXCEL_CELL_CHARACTERS {
                    self.long_cells[column] += 1;
                }
                out.write_all(text.as_bytes())
            }
            Cell::Text(text) => {
                let mark = if neutralised(text) { "'" } else { "" };
                self.neutralised[column] += mark.len() as u64;
                if text.len() >= EXCEL_CELL_CHARACTERS
                    && mark.len() + text.encode_utf16().count() > EXCEL_CELL_CHARACTERS
                {
                    self.long_cells[column] += 1;
                }
                write_field(mark, text, out)
            }
            Cell::Hex(bytes) => {
                if hex_length(bytes) > EXCEL_CELL_CHARACTERS {
                    self.long_cells[column] += 1;
                }
                out.write_all(b"\\x")?;
                write_hex(bytes, out)
            }
            Cell::Token(token) => {
                let mut characters = 0;
                let count = token.len() > EXCEL_CELL_CHARACTERS;
                let is_quoted = memchr::memchr2(b'"', b',', token.as_bytes()).is_some();
                if is_quoted {
                    out.write_all(b"\"")?;
                }
                compacted(token, &mut |piece| {
                    if count {
                        characters += piece.encode_utf16().count();
                    }
                    doubled(piece, &mut |piece| out.write_all(piece.as_bytes()))
                })?;
                if characters > EXCEL_CELL_CHARACTERS {
                    self.long_cells[column] += 1;
                }
                if is_quoted { out.write_all(b"\"") } else { Ok(()) }
            }
        }
    }

    fn end_row(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(b"\r\n")
    }

    fn end(&mut self, _out: &mut impl Write) -> std::io::Result<()> {
        Ok(())
    }
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
pub fn write_text_record<S: AsRef<str>>(fields: &[S], out: &mut impl Write) -> std::io::Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write_field("", field.as_ref(), out)?;
    }
    out.write_all(b"\r\n")
}

fn write_field(mark: &str, text: &str, out: &mut impl Write) -> std::io::Result<()> {
    let bytes = text.as_bytes();
    let is_special =
        memchr::memchr3(b'"', b',', b'\r', bytes).is_some() || memchr::memchr(b'\n', bytes).is_some();
    if !text.is_empty() && !is_special {
        out.write_all(mark.as_bytes())?;
        return out.write_all(text.as_bytes());
    }
    out.write_all(b"\"")?;
    out.write_all(mark.as_bytes())?;
    doubled(text, &mut |piece| out.write_all(piece.as_bytes()))?;
    out.write_all(b"\"")
}

/// Emits a text with its quotes doubled.
fn doubled<E>(text: &str, emit: Emit<'_, E>) -> Result<(), E> {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'"', rest.as_bytes()) {
        let (head, tail) = rest.split_at(at + 1);
        emit(head)?;
        emit("\"")?;
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { emit(rest) }
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
        assert_eq!(cell(Cell::Token("[ 1 ]")).0, "[1]");
        assert_eq!(cell(Cell::Token("{\"=\": 1}")).0, "\"{\"\"=\"\":1}\"");
        assert_eq!(cell(Cell::Text("-Infinity")), ("'-Infinity".to_owned(), 1, 0));
    }

    #[test]
    fn cells_longer_than_excel_takes_are_counted_as_it_counts() {
        assert_eq!(cell(Cell::Text(&"a".repeat(32_767))).2, 0);
        assert_eq!(cell(Cell::Text(&"a".repeat(32_768))).2, 1);
        assert_eq!(cell(Cell::Text(&format!("={}", "a".repeat(32_766)))).2, 1);
        assert_eq!(cell(Cell::Text(&"é".repeat(32_767))).2, 0);
        assert_eq!(cell(Cell::Text(&"😀".repeat(16_384))).2, 1);
        assert_eq!(cell(Cell::Token(&format!("[{}]", " ".repeat(40_000)))).2, 0);
        assert_eq!(cell(Cell::Token(&format!("\"{}\"", " ".repeat(40_000)))).2, 1);
    }
}

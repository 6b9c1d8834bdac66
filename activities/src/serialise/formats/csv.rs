//! CSV for spreadsheets: RFC 4180 with a byte order mark, safe to open, and reversible.
//!
//! Many spreadsheets separate at `;` or TAB, and then do not see the quotes of a field that follows a comma. So a text
//! is marked after these too ([`Marks`](crate::serialise::Marks)), and a `;` in JSON is written as its escape, which means the
//! same. NULL is an empty field and the empty string is `""`, as in PostgreSQL's COPY. No CSV library writes this
//! difference, so the fields are written by hand.

use std::io::{Result, Write};

use super::{Format, Tally};
use crate::serialise::{
    Cell, Column, is_outside_years,
    json_token::compacted,
    mark::{is_quoted, only_mark, split_at_marks},
    value::{hex_length, write_hex},
};

/// Excel cuts longer cells. It counts UTF-16 code units.
pub const EXCEL_CELL_CHARACTERS: usize = 32_767;

/// Excel reads a file as UTF-8 only with this mark.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The escape of a `;` inside JSON.
pub const ESCAPED_SEMICOLON: &str = "\\u003b";

/// Number of bytes that are searched for quotes at a time.
const DOUBLED_BYTES: usize = 512;

/// Writes rows as CSV.
#[derive(Debug)]
pub struct Csv {
    header: Vec<String>,
    have_years: Vec<bool>,
    tallies: Vec<Tally>,
}

impl Csv {
    /// Makes a writer of these columns.
    pub fn new(columns: &[Column]) -> Self {
        let header = columns.iter().map(|column| column.name.clone());
        Self {
            header: header.collect(),
            have_years: columns.iter().map(Column::has_years).collect(),
            tallies: vec![Tally::default(); columns.len()],
        }
    }
}

impl Format for Csv {
    fn begin(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(BYTE_ORDER_MARK.as_bytes())?;
        write_text_record(&self.header, out)
    }

    fn begin_row(&mut self, _: &mut impl Write) -> Result<()> {
        Ok(())
    }

    fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> Result<()> {
        let tally = &mut self.tallies[column];
        if column > 0 {
            out.write_all(b",")?;
        }
        match cell {
            Cell::Null => {}
            // A number may be long, but needs no quotes and is never neutralised.
            Cell::Bare(text) => {
                tally.long_cells += u64::from(text.len() > EXCEL_CELL_CHARACTERS);
                out.write_all(text.as_bytes())?;
            }
            // These are short. The only formula characters that they can begin with are the signs.
            Cell::Plain(text) => {
                if text.starts_with(['-', '+']) {
                    tally.neutralised += 1;
                    out.write_all(b"'")?;
                }
                tally.outside_years += u64::from(self.have_years[column] && is_outside_years(text));
                out.write_all(text.as_bytes())?;
            }
            Cell::Text(text) => {
                let marks = write_marked(text, out)?;
                tally.neutralised += u64::from(marks > 0);
                tally.long_cells += u64::from(is_long(text, marks));
            }
            Cell::Token(token) | Cell::EscapedToken(token) => {
                let semicolons = memchr::memchr_iter(b';', token.as_bytes()).count();
                let added = semicolons * (ESCAPED_SEMICOLON.len() - 1);
                tally.long_cells += u64::from(is_long(token, added));
                if semicolons == 0 {
                    write_field(token, out)?;
                } else {
                    out.write_all(b"\"")?;
                    write_token(token, out)?;
                    out.write_all(b"\"")?;
                }
            }
            Cell::LargeToken(token) => {
                let mut characters = 0;
                out.write_all(b"\"")?;
                compacted(token, |piece| {
                    characters += piece.encode_utf16().count();
                    characters +=
                        memchr::memchr_iter(b';', piece.as_bytes()).count() * (ESCAPED_SEMICOLON.len() - 1);
                    write_token(piece, out)
                })?;
                tally.long_cells += u64::from(characters > EXCEL_CELL_CHARACTERS);
                out.write_all(b"\"")?;
            }
            Cell::Hex(bytes) => {
                tally.long_cells += u64::from(hex_length(bytes) > EXCEL_CELL_CHARACTERS);
                out.write_all(b"\\x")?;
                write_hex(bytes, out)?;
            }
        }
        Ok(())
    }

    fn end_row(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(b"\r\n")
    }

    fn end(&mut self, _: &mut impl Write) -> Result<()> {
        Ok(())
    }

    fn tallies(self) -> Vec<Tally> {
        self.tallies
    }
}

/// Returns whether Excel would cut the cell. It has the given number of characters more than the text.
fn is_long(text: &str, added: usize) -> bool {
    // A text has at least as many bytes as Excel counts characters.
    added + text.len() > EXCEL_CELL_CHARACTERS && added + text.encode_utf16().count() > EXCEL_CELL_CHARACTERS
}

/// Writes a record of plain texts, such as a header.
pub fn write_text_record<S: AsRef<str>>(fields: &[S], out: &mut impl Write) -> Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        write_field(field.as_ref(), out)?;
    }
    out.write_all(b"\r\n")
}

fn write_field(text: &str, out: &mut impl Write) -> Result<()> {
    if !text.is_empty() && !has_quoted(text) {
        return out.write_all(text.as_bytes());
    }
    out.write_all(b"\"")?;
    write_doubled(text, out)?;
    out.write_all(b"\"")
}

/// Writes a field with its marks and returns their number.
fn write_marked(text: &str, out: &mut impl Write) -> Result<usize> {
    if !text.is_empty() && !has_quoted(text) {
        // The text has no separator.
        let Some(at) = only_mark(text) else {
            out.write_all(text.as_bytes())?;
            return Ok(0);
        };
        out.write_all(&text.as_bytes()[..at])?;
        out.write_all(b"'")?;
        out.write_all(&text.as_bytes()[at..])?;
        return Ok(1);
    }
    out.write_all(b"\"")?;
    let mut pieces = 0;
    split_at_marks(text, |piece| {
        if pieces > 0 {
            out.write_all(b"'")?;
        }
        pieces += 1;
        // Unlike JSON, a text has few quotes or none.
        let mut from = 0;
        for at in memchr::memchr_iter(b'"', piece.as_bytes()) {
            out.write_all(&piece.as_bytes()[from..=at])?;
            from = at;
        }
        out.write_all(&piece.as_bytes()[from..])
    })?;
    out.write_all(b"\"")?;
    Ok(pieces - 1)
}

fn has_quoted(text: &str) -> bool {
    // Without an early exit, the compiler uses a few wide instructions.
    text.as_bytes().iter().fold(false, |any, &byte| any | is_quoted(byte))
}

/// Writes a JSON token or a part of one. Doubles its quotes and escapes each `;`, which JSON has only inside strings.
fn write_token(token: &str, out: &mut impl Write) -> Result<()> {
    for (index, piece) in token.split(';').enumerate() {
        if index > 0 {
            out.write_all(ESCAPED_SEMICOLON.as_bytes())?;
        }
        write_doubled(piece, out)?;
    }
    Ok(())
}

/// Writes a text with its quotes doubled. JSON has one every few bytes, so a search for each would be slower.
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
        let columns = [Column {
            name: "c".to_owned(),
            kind: ValueKind::Text,
            treatment: Treatment::Export,
            pg_type: "text".to_owned(),
            about: String::new(),
            why: String::new(),
        }];
        let mut csv = Csv::new(&columns);
        let mut out = Vec::new();
        csv.cell(0, cell, &mut out).unwrap();
        csv.end(&mut out).unwrap();
        let tally = csv.tallies()[0];
        (String::from_utf8(out).unwrap(), tally.neutralised, tally.long_cells)
    }

    #[test]
    fn what_a_spreadsheet_could_run_gets_a_mark_before_it() {
        for (text, expected, cells) in [
            ("=1", "'=1", 1),
            (" \u{7}\u{a0}=1", " \u{7}\u{a0}'=1", 1),
            ("＝1", "'＝1", 1),
            ("'", "''", 1),
            ("a;=1;@b", "\"a;'=1;'@b\"", 1),
            ("a\t-1", "\"a\t'-1\"", 1),
            ("a\r\n+\"1\"", "\"a\r\n'+\"\"1\"\"\"", 1),
            ("\rx", "\"\rx\"", 0),
            ("a=1", "a=1", 0),
            ("a,=1", "\"a,=1\"", 0),
            ("日本", "日本", 0),
            (" ", " ", 0),
            ("", "\"\"", 0),
        ] {
            let (written, count, _) = cell(Cell::Text(text));
            assert_eq!((written.as_str(), count), (expected, cells), "{text:?}");
        }
    }

    #[test]
    fn fields_that_any_locale_would_split_are_quoted() {
        for text in ["a;b", "a\tb", "a,b", "a\rb", "a\nb"] {
            assert_eq!(cell(Cell::Text(text)).0, format!("\"{text}\""));
        }
        let mut header = Vec::new();
        write_text_record(&["a;b", "c"], &mut header).unwrap();
        assert_eq!(header, b"\"a;b\",c\r\n");
    }

    #[test]
    fn a_semicolon_in_json_cannot_begin_a_cell_and_means_the_same() {
        let token = "{\"a;\":\";=1+1;\"}";
        for token in [Cell::Token(token), Cell::LargeToken(token)] {
            let (written, marked, _) = cell(token);
            assert_eq!(written, "\"{\"\"a\\u003b\"\":\"\"\\u003b=1+1\\u003b\"\"}\"");
            assert_eq!(marked, 0);
        }
        let written = cell(Cell::Token(token)).0;
        let token_again = written[1..written.len() - 1].replace("\"\"", "\"");
        let value = |token: &str| serde_json::from_str::<serde_json::Value>(token).unwrap();
        assert_eq!(value(&token_again), value(token));
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
        // Marks and escapes count as characters of the cell too.
        assert_eq!(cell(Cell::Text(&format!("a;={}", "a".repeat(32_764)))).2, 1);
        assert_eq!(cell(Cell::Text(&format!("a;={}", "a".repeat(32_763)))).2, 0);
        let semicolons = format!("\"{}\"", ";".repeat(5461));
        for token in [Cell::Token(&semicolons), Cell::LargeToken(&semicolons)] {
            assert_eq!(cell(token).2, 1);
        }
    }
}

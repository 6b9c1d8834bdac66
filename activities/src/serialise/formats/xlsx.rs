//! XLSX: the rows of one entity as a sheet of a workbook.
//!
//! A cell has a type only if it holds the same value as JSON; else it is a text. So an id with more than 15 digits is a
//! text. Two things are lost, each counted by column: the end of a text that is too long for a cell, and the part of a
//! time beyond the millisecond. No value and a text of length zero look alike. A text never becomes a formula, not even
//! when a person edits its cell.

pub mod sheet;
mod value;

use std::{
    fmt::Write as _,
    io::{Result, Write},
};

use self::{
    sheet::{
        KEPT_CHARACTERS, begin_cell, begin_sheet, begin_text, end_sheet, end_text, has_outer_space, kept,
        letters, style, write_escaped, write_text,
    },
    value::{Serial, decimal_places, is_float},
};
use super::{EXCEL_CELL_CHARACTERS, Format, Tally};
use crate::serialise::{
    Cell, Column,
    json_token::compacted,
    value::{hex_length, write_hex},
};

/// A sheet has no more rows than this, beside its header.
pub const SHEET_ROWS: u64 = 1_048_575;

/// A text of this length, in bytes, has to be cut: no character takes more than four.
const ENOUGH_BYTES: usize = 4 * EXCEL_CELL_CHARACTERS;

/// How the values of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    /// Whole and decimal numbers.
    Number,
    Float,
    Date,
    Timestamp,
    Text,
}

impl Kind {
    /// Returns the kind and the width of a column by the PostgreSQL type that holds its written values.
    fn of(written_type: &str) -> (Self, usize) {
        match written_type {
            "boolean" => (Self::Boolean, 8),
            "smallint" | "integer" | "bigint" | "numeric" => (Self::Number, 20),
            "real" | "double precision" => (Self::Float, 20),
            "date" => (Self::Date, 12),
            "timestamp with time zone" | "timestamp without time zone" => (Self::Timestamp, 24),
            "uuid" => (Self::Text, 38),
            _ => (Self::Text, 30),
        }
    }
}

#[derive(Debug)]
struct SheetColumn {
    kind: Kind,
    width: usize,
    header: String,
    /// The text before the number of the row: `<c r="A`.
    cell: String,
}

/// Writes rows as a sheet. It can be begun and ended several times, a sheet each.
#[derive(Debug)]
pub struct Xlsx {
    columns: Vec<SheetColumn>,
    /// The rows of the sheet so far, with the header.
    rows: u64,
    /// Their number as a text.
    row: String,
    scratch: String,
    tallies: Vec<Tally>,
}

impl Xlsx {
    /// Makes a writer of these columns.
    pub fn new(columns: &[Column]) -> Self {
        Self::of_types(columns.iter().map(|column| (column.name.as_str(), column.written_type())))
    }

    /// Makes a writer of columns with these names and [written types](Column::written_type).
    pub fn of_types<'c>(columns: impl Iterator<Item = (&'c str, String)>) -> Self {
        let column = |(index, (name, written_type)): (usize, (&str, String))| {
            let (kind, width) = Kind::of(&written_type);
            let is_utc = written_type == "timestamp with time zone";
            SheetColumn {
                kind,
                width,
                header: if is_utc { format!("{name} (UTC)") } else { name.to_owned() },
                cell: format!("<c r=\"{}", letters(index)),
            }
        };
        let columns: Vec<_> = columns.enumerate().map(column).collect();
        let tallies = vec![Tally::default(); columns.len()];
        Self { columns, rows: 0, row: String::new(), scratch: String::new(), tallies }
    }

    /// Returns whether the sheet has no room for another row.
    pub fn is_full(&self) -> bool {
        self.rows > SHEET_ROWS
    }

    fn next_row(&mut self) {
        self.rows += 1;
        self.row.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.row, "{}", self.rows);
    }

    fn typed(
        &self,
        column: usize,
        style: usize,
        kind: &str,
        value: &str,
        out: &mut impl Write,
    ) -> Result<()> {
        begin_cell(&self.columns[column].cell, &self.row, style, out)?;
        for part in [kind, "><v>", value, "</v></c>"] {
            out.write_all(part.as_bytes())?;
        }
        Ok(())
    }

    fn text(&mut self, column: usize, text: &str, out: &mut impl Write) -> Result<()> {
        let kept = kept(text);
        let is_cut = kept.len() < text.len();
        self.tallies[column].cut_texts += u64::from(is_cut);
        begin_text(&self.columns[column].cell, &self.row, style::TEXT, has_outer_space(kept), out)?;
        write_escaped(kept, out)?;
        end_text(is_cut, out)
    }
}

impl Format for Xlsx {
    fn begin(&mut self, out: &mut impl Write) -> Result<()> {
        self.rows = 0;
        begin_sheet(self.columns.iter().map(|column| column.width), true, out)?;
        self.begin_row(out)?;
        for column in &self.columns {
            write_text(&column.cell, &self.row, style::HEADER, &column.header, out)?;
        }
        self.end_row(out)
    }

    fn begin_row(&mut self, out: &mut impl Write) -> Result<()> {
        self.next_row();
        out.write_all(b"<row r=\"")?;
        out.write_all(self.row.as_bytes())?;
        out.write_all(b"\">")
    }

    fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> Result<()> {
        match (cell, self.columns[column].kind) {
            (Cell::Null, _) => Ok(()),
            (Cell::Bare(text @ ("true" | "false")), Kind::Boolean) => {
                self.typed(column, style::GENERAL, " t=\"b\"", if text == "true" { "1" } else { "0" }, out)
            }
            (Cell::Bare(text), Kind::Number) => match decimal_places(text) {
                Some(places) => self.typed(column, style::NUMBER + places, "", text, out),
                None => self.text(column, text, out),
            },
            (Cell::Bare(text), Kind::Float) if is_float(text) => {
                self.typed(column, style::GENERAL, "", text, out)
            }
            (Cell::Plain(text), Kind::Date | Kind::Timestamp) => match Serial::of(text) {
                Some(serial) => {
                    self.tallies[column].cut_times += u64::from(serial.is_cut);
                    let mut days = std::mem::take(&mut self.scratch);
                    days.clear();
                    let _ = write!(days, "{}", serial.days);
                    let style = if serial.is_day { style::DATE } else { style::TIMESTAMP };
                    self.typed(column, style, "", &days, out)?;
                    self.scratch = days;
                    Ok(())
                }
                None => self.text(column, text, out),
            },
            (
                Cell::Bare(text)
                | Cell::Plain(text)
                | Cell::Text(text)
                | Cell::Token(text)
                | Cell::EscapedToken(text),
                _,
            ) => self.text(column, text, out),
            (Cell::LargeToken(token), _) => {
                let mut text = String::new();
                compacted(token, |piece| {
                    let room = ENOUGH_BYTES.saturating_sub(text.len());
                    text.push_str(&piece[..piece.floor_char_boundary(room)]);
                    Result::Ok(())
                })?;
                self.text(column, &text, out)
            }
            (Cell::Hex(bytes), _) => {
                debug_assert!(
                    hex_length(bytes) > EXCEL_CELL_CHARACTERS,
                    "a large value is longer than a cell"
                );
                self.tallies[column].cut_texts += 1;
                begin_text(&self.columns[column].cell, &self.row, style::TEXT, false, out)?;
                out.write_all(b"\\x")?;
                write_hex(&bytes[..KEPT_CHARACTERS / 2 - 1], out)?;
                end_text(true, out)
            }
        }
    }

    fn end_row(&mut self, out: &mut impl Write) -> Result<()> {
        out.write_all(b"</row>")
    }

    fn end(&mut self, out: &mut impl Write) -> Result<()> {
        end_sheet(out)
    }

    fn tallies(self) -> Vec<Tally> {
        self.tallies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes one cell, and returns what is in its `<c>` and what was counted.
    fn cell(written_type: &str, cell: Cell<'_>) -> (String, Tally) {
        let mut xlsx = Xlsx::of_types([("c", written_type.to_owned())].into_iter());
        xlsx.begin(&mut Vec::new()).unwrap();
        let mut out = Vec::new();
        xlsx.begin_row(&mut Vec::new()).unwrap();
        xlsx.cell(0, cell, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        (out.replace("<c r=\"A2\"", "").replace("</c>", ""), xlsx.tallies()[0])
    }

    fn written(written_type: &str, value: Cell<'_>) -> String {
        cell(written_type, value).0
    }

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        write_escaped(text, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_number_is_one_only_if_no_digit_is_lost() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-12", Some(0)),
            ("1.50", Some(2)),
            ("0.00", Some(2)),
            ("999999999999999", Some(0)),
            ("1000000000000000", None),
            ("12345678901234.5", Some(1)),
            ("12345678901234.56", None),
            ("0.000000000000001", Some(15)),
            ("0.0000000000000001", None),
            ("-0.0", None),
            ("1e5", None),
        ] {
            assert_eq!(decimal_places(text), expected, "{text}");
        }
        assert_eq!(written("numeric", Cell::Bare("1.50")), " s=\"7\"><v>1.50</v>");
        let long = written("bigint", Cell::Bare("9007199254740993"));
        assert_eq!(long, " s=\"2\" t=\"inlineStr\"><is><t>9007199254740993</t></is>");
        assert_eq!(written("numeric", Cell::Plain("NaN")), " s=\"2\" t=\"inlineStr\"><is><t>NaN</t></is>");
        for (text, is_number) in [
            ("0.1", true),
            ("1e+300", true),
            ("0", true),
            ("-0", false),
            ("1e-400", false),
            ("9.99e+307", true),
            ("1e+308", false),
            ("2.3e-308", true),
            ("5e-324", false),
        ] {
            let written = written("double precision", Cell::Bare(text));
            assert_eq!(written.contains(&format!("<v>{text}</v>")), is_number, "{text}");
            assert_eq!(written.contains("inlineStr"), !is_number, "{text}");
        }
        assert_eq!(written("boolean", Cell::Bare("true")), " t=\"b\"><v>1</v>");
        assert_eq!(written("boolean", Cell::Bare("false")), " t=\"b\"><v>0</v>");
        assert!(written("boolean", Cell::Bare("42")).contains("inlineStr"), "no boolean");
        assert_eq!(written("integer", Cell::Null), "");
    }

    #[test]
    fn a_day_or_moment_is_one_from_march_1900_to_9999_and_to_the_millisecond() {
        let date = |text: &str| written("date", Cell::Plain(text));
        assert_eq!(date("1900-03-01"), " s=\"3\"><v>61</v>");
        assert_eq!(date("2026-11-28"), " s=\"3\"><v>46354</v>");
        assert_eq!(date("9999-12-31"), " s=\"3\"><v>2958465</v>");
        for text in [
            "1900-02-28",
            "0044-03-15 BC",
            "10000-01-01",
            "infinity",
            "-infinity",
            "2026-02-30",
            "+026-01-01",
            "2026-01-31+00:00",
            "2026-01-31T12x30y00",
        ] {
            assert!(date(text).ends_with(&format!("<t>{text}</t></is>")), "{text}");
        }
        let (noon, tally) = cell("timestamp with time zone", Cell::Plain("2026-11-28T12:00:00+00:00"));
        assert_eq!((noon.as_str(), tally.cut_times), (" s=\"4\"><v>46354.5</v>", 0));
        let whole = cell("timestamp without time zone", Cell::Plain("2026-11-28T18:00:00.25"));
        assert_eq!((whole.0.as_str(), whole.1.cut_times), (" s=\"4\"><v>46354.75000289352</v>", 0));
        // Never to the next day.
        let last = cell("timestamp without time zone", Cell::Plain("2026-11-28T23:59:59.999999"));
        assert_eq!((last.0.as_str(), last.1.cut_times), (" s=\"4\"><v>46354.999999988424</v>", 1));
        let early = cell("timestamp without time zone", Cell::Plain("1899-12-31T23:59:59.999999"));
        assert_eq!((early.0.contains("inlineStr"), early.1.cut_times), (true, 0));
        assert!(written("text", Cell::Text("2026-11-28")).contains("inlineStr"), "a text stays one");
    }

    #[test]
    fn a_text_keeps_each_character_and_its_outer_space() {
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;\"c'");
        assert_eq!(escaped("\u{0}\u{1f}\t\n\r\n"), "_x0000__x001F_\t\n_x000D_\n");
        assert_eq!(
            escaped("_x000D_ _xZZZZ_ _x12 _x12345_ __x00aF_"),
            "_x005F_x000D_ _xZZZZ_ _x12 _x12345_ __x005F_x00aF_"
        );
        assert_eq!(escaped("\u{fffe}\u{ffff}\u{fffd}\u{feff}ïé😀"), "_xFFFE__xFFFF_\u{fffd}\u{feff}ïé😀");
        for (text, keeps) in [(" a", true), ("a\n", true), ("a b", false), ("", false), ("\u{a0}a", false)] {
            assert_eq!(written("text", Cell::Text(text)).contains("preserve"), keeps, "{text:?}");
        }
    }

    #[test]
    fn a_text_is_cut_at_the_end_of_a_cell_and_counted() {
        let limit = EXCEL_CELL_CHARACTERS;
        let text = |written: &str| written.split_once("<t>").unwrap().1.replace("</t></is>", "");
        for (value, kept) in [
            ("x".repeat(limit), limit),
            ("x".repeat(limit + 1), limit - 3),
            ("é".repeat(limit), limit),
            ("é".repeat(limit + 1), limit - 3),
            // Two units each; none is ever halved.
            ("😀".repeat(limit / 2), limit / 2),
            ("😀".repeat(limit / 2 + 1), (limit - 3) / 2),
        ] {
            let (written, tally) = cell("text", Cell::Text(&value));
            let shown = text(&written);
            let is_cut = kept < value.chars().count();
            assert_eq!((tally.cut_texts, shown.ends_with("...")), (u64::from(is_cut), is_cut), "{kept}");
            assert_eq!(shown.trim_end_matches('.').chars().count(), kept);
            assert!(shown.encode_utf16().count() <= limit);
        }
        let bytes = vec![0xAB; 1 << 20];
        let (large, tally) = cell("bytea", Cell::Hex(&bytes));
        let hex = format!("\\x{}", "ab".repeat(1 << 20));
        assert_eq!((large, tally), cell("bytea", Cell::Text(&hex)), "as if its text had been made");
        let token = format!("[{}1]", "1, ".repeat(500_000));
        let compact = token.replace(' ', "");
        assert_eq!(cell("jsonb", Cell::LargeToken(&token)), cell("jsonb", Cell::Token(&compact)));
    }

    #[test]
    fn columns_have_the_names_of_a_spreadsheet() {
        for (index, name) in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")] {
            assert_eq!(letters(index), name);
        }
    }

    #[test]
    fn a_sheet_is_full_after_its_last_row_and_a_further_one_begins_anew() {
        let mut xlsx = Xlsx::of_types(std::iter::empty());
        let mut out = std::io::sink();
        for _ in 0..2 {
            xlsx.begin(&mut out).unwrap();
            for _ in 0..SHEET_ROWS {
                assert!(!xlsx.is_full());
                xlsx.begin_row(&mut out).unwrap();
            }
            assert!(xlsx.is_full());
            assert_eq!(xlsx.row, "1048576");
        }
    }
}

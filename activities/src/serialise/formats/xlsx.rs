//! XLSX: the rows of one entity as a sheet of a workbook.
//!
//! A cell has a type only if a spreadsheet gives back the same value as JSON has; else it is a text. So numbers keep up
//! to 15 digits, and longer ids are texts. Three things are lost, each counted by column: the end of a text that is too
//! long for a cell, parts of a second beyond the millisecond, and nothing else. A text never becomes a formula, not even
//! when a person edits its cell.

use std::{
    fmt::Write as _,
    io::{Result, Write},
};

use chrono::{Datelike as _, NaiveDate};

use super::{EXCEL_CELL_CHARACTERS, Format, Tally};
use crate::serialise::{
    Cell, Column,
    json_token::compacted,
    value::{hex_length, write_hex},
};

/// A sheet has no more rows than this, beside its header.
pub const SHEET_ROWS: u64 = 1_048_575;

/// Follows a text that was cut.
const CUT: &str = "...";

/// A cell holds this much of a text that is cut.
const KEPT_CHARACTERS: usize = EXCEL_CELL_CHARACTERS - CUT.len();

/// A text with so many bytes has to be cut, whatever its characters are.
const ENOUGH_BYTES: usize = 4 * EXCEL_CELL_CHARACTERS;

/// A spreadsheet keeps this many digits of a number.
const DIGITS: usize = 15;

/// Spreadsheets read finite numbers of this size, and zero.
const FLOATS: std::ops::RangeInclusive<f64> = 2.3e-308..=9.99e307;

/// Spreadsheets of all makers count these days alike: Excel has a 29 February 1900.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1900, 3, 1).unwrap();

/// The day that is number 0, counted back from [`FIRST_DAY`].
const DAY_0: NaiveDate = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap();

const DAY_MILLISECONDS: f64 = 86_400_000.0;

/// The styles of cells: their indexes in `xl/styles.xml`.
pub mod style {
    /// A number or a boolean, as the spreadsheet shows it.
    pub const GENERAL: usize = 0;
    /// A header.
    pub const HEADER: usize = 1;
    /// A text, which stays one when it is edited.
    pub const TEXT: usize = 2;
    /// A day.
    pub const DATE: usize = 3;
    /// A day and a time, to the millisecond.
    pub const TIMESTAMP: usize = 4;
    /// A number with all its digits. With one more decimal place for each further index, up to [`PLACES`].
    pub const NUMBER: usize = 5;
    /// The most decimal places.
    pub const PLACES: usize = 15;
}

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
            "smallint" | "integer" | "bigint" | "numeric" => (Self::Number, 16),
            "real" | "double precision" => (Self::Float, 16),
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
            (Cell::Bare(text), Kind::Boolean) => {
                self.typed(column, style::GENERAL, " t=\"b\"", if text == "true" { "1" } else { "0" }, out)
            }
            (Cell::Bare(text), Kind::Number) => match decimal_places(text) {
                Some(places) => self.typed(column, style::NUMBER + places, "", text, out),
                None => self.text(column, text, out),
            },
            (Cell::Bare(text), Kind::Float) if is_float(text) => {
                self.typed(column, style::GENERAL, "", text, out)
            }
            (Cell::Plain(text), Kind::Date | Kind::Timestamp) => match Moment::of(text) {
                Some(moment) => {
                    self.tallies[column].cut_times += u64::from(moment.is_cut);
                    let mut serial = std::mem::take(&mut self.scratch);
                    serial.clear();
                    let _ = write!(serial, "{}", moment.serial);
                    let style = if moment.is_day { style::DATE } else { style::TIMESTAMP };
                    self.typed(column, style, "", &serial, out)?;
                    self.scratch = serial;
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

/// Writes what comes before the first row of a sheet with columns of these widths, in characters.
pub fn begin_sheet(
    widths: impl Iterator<Item = usize>,
    has_header: bool,
    out: &mut impl Write,
) -> Result<()> {
    out.write_all(b"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n")?;
    out.write_all(
        b"<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetViews>",
    )?;
    out.write_all(if has_header {
        // The header stays in sight.
        b"<sheetView workbookViewId=\"0\"><pane ySplit=\"1\" topLeftCell=\"A2\" activePane=\"bottomLeft\" state=\"frozen\"/><selection pane=\"bottomLeft\"/></sheetView>"
    } else {
        b"<sheetView showGridLines=\"0\" tabSelected=\"1\" workbookViewId=\"0\"/>"
    })?;
    out.write_all(b"</sheetViews><sheetFormatPr defaultRowHeight=\"15\"/>")?;
    let mut number = 0;
    for width in widths {
        number += 1;
        out.write_all(if number == 1 { b"<cols>" } else { b"" })?;
        write!(out, "<col min=\"{number}\" max=\"{number}\" width=\"{width}.7109375\" customWidth=\"1\"/>")?;
    }
    out.write_all(if number == 0 { b"" } else { b"</cols>" })?;
    out.write_all(b"<sheetData>")
}

/// Writes what comes after the last row of a sheet.
pub fn end_sheet(out: &mut impl Write) -> Result<()> {
    out.write_all(b"</sheetData><pageMargins left=\"0.7\" right=\"0.7\" top=\"0.75\" bottom=\"0.75\" header=\"0.3\" footer=\"0.3\"/></worksheet>")
}

/// Writes a cell with a text that is short enough. `cell` is `<c r="` and the letters of its column.
pub fn write_text(cell: &str, row: &str, style: usize, text: &str, out: &mut impl Write) -> Result<()> {
    begin_text(cell, row, style, has_outer_space(text), out)?;
    write_escaped(text, out)?;
    end_text(false, out)
}

fn begin_cell(cell: &str, row: &str, style: usize, out: &mut impl Write) -> Result<()> {
    out.write_all(cell.as_bytes())?;
    out.write_all(row.as_bytes())?;
    if style == style::GENERAL { out.write_all(b"\"") } else { write!(out, "\" s=\"{style}\"") }
}

fn begin_text(cell: &str, row: &str, style: usize, keeps_space: bool, out: &mut impl Write) -> Result<()> {
    begin_cell(cell, row, style, out)?;
    out.write_all(b" t=\"inlineStr\"><is>")?;
    out.write_all(if keeps_space { b"<t xml:space=\"preserve\">" } else { b"<t>" })
}

fn end_text(is_cut: bool, out: &mut impl Write) -> Result<()> {
    out.write_all(if is_cut { CUT.as_bytes() } else { b"" })?;
    out.write_all(b"</t></is></c>")
}

/// Returns as much of a text as its cell holds.
fn kept(text: &str) -> &str {
    // A text has at least as many bytes as characters are counted, in UTF-16 units.
    if text.len() <= EXCEL_CELL_CHARACTERS {
        return text;
    }
    let (mut units, mut kept) = (0, 0);
    for (at, character) in text.char_indices() {
        if units <= KEPT_CHARACTERS {
            kept = at;
        }
        units += character.len_utf16();
        if units > EXCEL_CELL_CHARACTERS {
            return &text[..kept];
        }
    }
    text
}

/// Returns whether a reader of XML would drop white space of a text.
fn has_outer_space(text: &str) -> bool {
    let is_space = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    is_space(text.as_bytes().first()) || is_space(text.as_bytes().last())
}

/// Writes a text as XML. Characters that XML cannot hold, and texts that look like their escape, are escaped as Excel does:
/// `_x0000_`. So is a carriage return, which a reader of XML would take for a line feed.
pub fn write_escaped(text: &str, out: &mut impl Write) -> Result<()> {
    let bytes = text.as_bytes();
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| MAY_NEED_ESCAPE[usize::from(*byte)]) {
        at += found;
        let mut escape = [0; 7];
        let (escape, length): (&[u8], _) = match bytes[at] {
            b'&' => (b"&amp;", 1),
            b'<' => (b"&lt;", 1),
            b'>' => (b"&gt;", 1),
            // The last two characters of the plane.
            0xEF if bytes[at..].starts_with(b"\xEF\xBF\xBE") => (b"_xFFFE_", 3),
            0xEF if bytes[at..].starts_with(b"\xEF\xBF\xBF") => (b"_xFFFF_", 3),
            // The underscore of a text that would be taken for an escape.
            b'_' if is_escape(&bytes[at..]) => (b"_x005F_", 1),
            b'_' | 0xEF => {
                at += 1;
                continue;
            }
            control => {
                write!(&mut escape[..], "_x{control:04X}_")?;
                (&escape, 1)
            }
        };
        out.write_all(&bytes[from..at])?;
        out.write_all(escape)?;
        at += length;
        from = at;
    }
    out.write_all(&bytes[from..])
}

/// Returns whether this begins like the escape of a character.
fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'_', b'x', digits @ .., ] if digits.len() > 4 && digits[4] == b'_'
        && digits[..4].iter().all(u8::is_ascii_hexdigit))
}

/// The bytes that [`write_escaped`] looks at.
const MAY_NEED_ESCAPE: [bool; 256] = {
    let mut marked = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        marked[byte] = byte != b'\t' as usize && byte != b'\n' as usize;
        byte += 1;
    }
    marked[b'&' as usize] = true;
    marked[b'<' as usize] = true;
    marked[b'>' as usize] = true;
    marked[b'_' as usize] = true;
    marked[0xEF] = true;
    marked
};

/// Returns the name of a column: A to Z, then AA and so on.
pub fn letters(index: usize) -> String {
    let mut letters = Vec::new();
    let mut left = index + 1;
    while left > 0 {
        letters.push(char::from(b'A' + u8::try_from((left - 1) % 26).unwrap_or_default()));
        left = (left - 1) / 26;
    }
    letters.iter().rev().collect()
}

/// Returns the decimal places of a number that a spreadsheet holds as it is.
fn decimal_places(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let zeros = whole.bytes().chain(fraction.bytes()).take_while(|byte| *byte == b'0').count();
    let significant = whole.len() + fraction.len() - zeros;
    // A spreadsheet has no negative zero.
    let is_negative_zero = significant == 0 && digits.len() < text.len();
    (is_plain && significant <= DIGITS && fraction.len() <= style::PLACES && !is_negative_zero)
        .then_some(fraction.len())
}

fn is_float(text: &str) -> bool {
    text.parse::<f64>()
        .is_ok_and(|number| FLOATS.contains(&number.abs()) || (number == 0.0 && number.is_sign_positive()))
}

/// A day or a moment as a spreadsheet counts it: days since the end of 1899, without a time zone.
struct Moment {
    serial: f64,
    is_day: bool,
    /// It had a part beyond the millisecond.
    is_cut: bool,
}

impl Moment {
    /// Reads `2026-01-31`, or `2026-01-31T23:59:59.999999`, with or without `+00:00`. `None` if it has another form, such as
    /// one before Christ, or if spreadsheets do not have that day.
    fn of(text: &str) -> Option<Self> {
        let text = text.strip_suffix("+00:00").unwrap_or(text);
        let (day, clock) = text.split_at_checked(10)?;
        let number = |part: &str| -> Option<u32> {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let field = |text: &str, from: usize, to: usize| number(text.get(from..to)?);
        let is_day = day.as_bytes()[4] == b'-' && day.as_bytes()[7] == b'-';
        let year = i32::try_from(field(day, 0, 4).filter(|_| is_day)?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, field(day, 5, 7)?, field(day, 8, 10)?)?;
        if date < FIRST_DAY {
            return None;
        }
        let days = f64::from(date.num_days_from_ce() - DAY_0.num_days_from_ce());
        if clock.is_empty() {
            return Some(Self { serial: days, is_day: true, is_cut: false });
        }
        let (clock, fraction) = clock.strip_prefix('T')?.split_at_checked(8)?;
        let seconds = (field(clock, 0, 2)? * 60 + field(clock, 3, 5)?) * 60 + field(clock, 6, 8)?;
        let fraction = if fraction.is_empty() { "" } else { fraction.strip_prefix('.')? };
        if fraction.len() > 6 {
            return None;
        }
        let microseconds = if fraction.is_empty() {
            0
        } else {
            number(fraction)? * 10_u32.pow(6 - u32::try_from(fraction.len()).ok()?)
        };
        let milliseconds = f64::from(seconds * 1000 + microseconds / 1000);
        Some(Self {
            serial: days + milliseconds / DAY_MILLISECONDS,
            is_day: false,
            is_cut: microseconds % 1000 != 0,
        })
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

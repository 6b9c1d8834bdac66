//! The XML of a sheet: what is around the rows, cells with texts, and the escapes of Excel.

use std::io::{Result, Write};

use crate::serialise::formats::EXCEL_CELL_CHARACTERS;

/// Follows a text that was cut.
const CUT: &str = "...";

/// A cell holds this much of a text that is cut.
pub(super) const KEPT_CHARACTERS: usize = EXCEL_CELL_CHARACTERS - CUT.len();

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

/// Writes a cell with a text. `cell` is `<c r="` and the letters of its column.
pub fn write_text(cell: &str, row: &str, style: usize, text: &str, out: &mut impl Write) -> Result<()> {
    let kept = kept(text);
    begin_text(cell, row, style, has_outer_space(kept), out)?;
    write_escaped(kept, out)?;
    end_text(kept.len() < text.len(), out)
}

pub(super) fn begin_cell(cell: &str, row: &str, style: usize, out: &mut impl Write) -> Result<()> {
    out.write_all(cell.as_bytes())?;
    out.write_all(row.as_bytes())?;
    if style == style::GENERAL { out.write_all(b"\"") } else { write!(out, "\" s=\"{style}\"") }
}

pub(super) fn begin_text(
    cell: &str,
    row: &str,
    style: usize,
    keeps_space: bool,
    out: &mut impl Write,
) -> Result<()> {
    begin_cell(cell, row, style, out)?;
    out.write_all(b" t=\"inlineStr\"><is>")?;
    out.write_all(if keeps_space { b"<t xml:space=\"preserve\">" } else { b"<t>" })
}

pub(super) fn end_text(is_cut: bool, out: &mut impl Write) -> Result<()> {
    out.write_all(if is_cut { CUT.as_bytes() } else { b"" })?;
    out.write_all(b"</t></is></c>")
}

/// Returns as much of a text as its cell holds.
pub(super) fn kept(text: &str) -> &str {
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
pub(super) fn has_outer_space(text: &str) -> bool {
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

//! The formats. Each writes the cells of one entity as the text of one file, and knows no other format.

mod csv;
mod json;

use std::io::{Result, Write};

pub use self::{
    csv::{Csv, ESCAPED_SEMICOLON, EXCEL_CELL_CHARACTERS, write_text_record},
    json::Json,
};
use super::Cell;

/// Writes the rows of one entity in one format to `out`.
///
/// The calls come in this order: `begin`, then for each row `begin_row`, `cell` for each column and `end_row`, then
/// `end`. A value is decoded once, before the first format sees it.
pub trait Format {
    /// Writes the text before the first row.
    fn begin(&mut self, out: &mut impl Write) -> Result<()>;

    /// Writes the text before the first cell of a row.
    fn begin_row(&mut self, out: &mut impl Write) -> Result<()>;

    /// Writes one cell.
    fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> Result<()>;

    /// Writes the text after the last cell of a row.
    fn end_row(&mut self, out: &mut impl Write) -> Result<()>;

    /// Writes the text after the last row, and returns the counts of each column.
    fn end(self, out: &mut impl Write) -> Result<Vec<Tally>>;
}

/// One thing for each format, such as its file.
#[derive(Debug, Default)]
pub struct PerFormat<T> {
    /// Of the JSON file.
    pub json: T,
    /// Of the CSV file.
    pub csv: T,
}

/// The cells of one column that a format had to change, or that a reader may not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cells that got a `'` in one place or more.
    pub neutralised: u64,
    /// Cells longer than [`EXCEL_CELL_CHARACTERS`].
    pub long_cells: u64,
    /// Cells with an escaped half character.
    pub escaped: u64,
    /// Dates and timestamps with a year before 1 or after 9999.
    pub outside_years: u64,
}

//! The formats. Each writes the cells of one entity as the text of one file, and knows no other format.

mod csv;
mod json;
mod moment;
pub mod parquet;
pub mod xlsx;

use std::{
    collections::BTreeSet,
    fmt,
    io::{Result, Write},
};

use serde::{Deserialize, Serialize};

pub use self::{
    csv::{Csv, ESCAPED_SEMICOLON, EXCEL_CELL_CHARACTERS, write_text_record},
    json::Json,
    parquet::Parquet,
    xlsx::Xlsx,
};
use super::Cell;

/// Writes the rows of one entity in one format that is text to `out`. [`Parquet`] is none.
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

    /// Writes the text after the last row.
    fn end(&mut self, out: &mut impl Write) -> Result<()>;

    /// Returns the counts of each column.
    fn tallies(self) -> Vec<Tally>;
}

/// The name of a format, as a request has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatName {
    /// In every archive: all others are compared with it.
    Json,
    /// In every archive.
    Csv,
    /// A workbook, if it is asked for.
    Xlsx,
    /// Columns for programs that analyse data, if it is asked for.
    Parquet,
}

impl FormatName {
    /// All of them, in the order of an archive.
    pub const ALL: [Self; 4] = [Self::Json, Self::Csv, Self::Xlsx, Self::Parquet];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for FormatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for FormatName {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> std::result::Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// The formats of one archive: JSON, CSV, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formats(BTreeSet<FormatName>);

impl Default for Formats {
    fn default() -> Self {
        Self::with([])
    }
}

impl Formats {
    /// Returns the formats of an archive for which these are asked for.
    pub fn with(asked: impl IntoIterator<Item = FormatName>) -> Self {
        Self(asked.into_iter().chain([FormatName::Json, FormatName::Csv]).collect())
    }

    /// Reads the column of a request.
    ///
    /// # Errors
    /// When it has the name of a format that only a later version knows.
    pub fn of_column(names: &[String]) -> std::result::Result<Self, UnknownFormat> {
        names.iter().map(|name| name.parse()).collect::<std::result::Result<Vec<_>, _>>().map(Self::with)
    }

    /// Returns the formats of an archive by the column of its request. One that only a later version knows is among them.
    pub fn shown(names: Vec<String>) -> Vec<String> {
        Self::of_column(&names).map_or(names, |formats| formats.names())
    }

    /// Returns whether a format is among them.
    pub fn has(&self, format: FormatName) -> bool {
        self.0.contains(&format)
    }

    /// Returns their names, in the order of an archive.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

/// There is no such format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no format `{0}`: there are json, csv, xlsx and parquet")]
pub struct UnknownFormat(String);

/// One thing for each format that is text, such as its file.
#[derive(Debug, Default)]
pub struct PerFormat<T> {
    /// Of the JSON file.
    pub json: T,
    /// Of the CSV file.
    pub csv: T,
    /// Of the workbook, if there is one.
    pub xlsx: Option<T>,
}

/// What the formats counted in one entity, by column.
#[derive(Debug)]
pub struct Tallies {
    /// In the JSON file.
    pub json: Vec<Tally>,
    /// In the CSV file.
    pub csv: Vec<Tally>,
    /// In the workbook, if there is one.
    pub xlsx: Option<Vec<Tally>>,
    /// In the Parquet file, if there is one.
    pub parquet: Option<Vec<Tally>>,
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
    /// Texts whose end is missing, because a cell holds no more.
    pub cut_texts: u64,
    /// Timestamps whose part beyond the millisecond is missing.
    pub cut_times: u64,
    /// Values that are missing, because the format cannot hold them.
    pub left_null: u64,
}

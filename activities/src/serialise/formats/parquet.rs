//! Parquet: the rows of one entity in columns, for programs that analyse data.
//!
//! Every column may be null, and each has the type that holds the values of its PostgreSQL type: booleans, whole numbers,
//! floating point numbers, decimals, dates, times and bytes. All others are texts, as JSON has them. What a type cannot
//! hold is null, and is counted. Rows are collected in memory, as columns, until they are enough for a row group.

mod file;
mod value;

use super::Tally;
use crate::serialise::{
    Cell, Column,
    json_token::compacted,
    value::{hex_length, write_hex},
};

pub use self::file::{ParquetFile, schema};
use self::value::{days_since_1970, decimal, decimal_type, microseconds_since_1970};
use super::moment;

/// A row group is complete with this many bytes. Readers hold one in memory, and so do we.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// A row group is complete with this many rows.
pub const ROW_GROUP_ROWS: usize = 131_072;

/// A longer value is null, and so is one with which the values of its row would be longer than this: memory holds a whole
/// row group, which ends with a row.
pub const VALUE_BYTES: usize = ROW_GROUP_BYTES / 2;

/// What says whether a value is there.
const LEVEL_BYTES: usize = size_of::<i16>();

/// The bytes of a decimal that is too large for a number of 64 bits.
const DECIMAL_BYTES: usize = size_of::<i128>();

/// How the values of a column are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `boolean`
    Boolean,
    /// `smallint`
    Int16,
    /// `integer`
    Int32,
    /// `bigint`
    Int64,
    /// `real`
    Float,
    /// `double precision`
    Double,
    /// `numeric(precision, scale)` of up to 38 digits
    Decimal {
        /// Its digits.
        precision: u32,
        /// Those after the point.
        scale: u32,
    },
    /// `date`
    Date,
    /// `time without time zone`, in microseconds
    Time,
    /// `timestamp`, in microseconds, in UTC or without a time zone
    Timestamp {
        /// It is `timestamp with time zone`.
        is_utc: bool,
    },
    /// `bytea`
    Bytes,
    /// Everything else, as JSON has it.
    String,
}

impl Kind {
    /// Returns the kind of a column.
    pub fn of_column(column: &Column) -> Self {
        Self::of(&column.written_type(), &column.pg_type)
    }

    /// Returns the kind of a column with this [written type](Column::written_type) and this type in PostgreSQL.
    pub fn of(written_type: &str, pg_type: &str) -> Self {
        match written_type {
            "boolean" => Self::Boolean,
            "smallint" => Self::Int16,
            "integer" => Self::Int32,
            "bigint" => Self::Int64,
            "real" => Self::Float,
            "double precision" => Self::Double,
            "numeric" => decimal_type(pg_type)
                .map_or(Self::String, |(precision, scale)| Self::Decimal { precision, scale }),
            "date" => Self::Date,
            "time without time zone" => Self::Time,
            "timestamp with time zone" => Self::Timestamp { is_utc: true },
            "timestamp without time zone" => Self::Timestamp { is_utc: false },
            "bytea" => Self::Bytes,
            _ => Self::String,
        }
    }

    fn values(self) -> Values {
        match self {
            Self::Boolean => Values::Booleans(Vec::new()),
            Self::Int16 | Self::Int32 | Self::Date | Self::Decimal { precision: ..=9, .. } => {
                Values::Int32(Vec::new())
            }
            Self::Int64 | Self::Time | Self::Timestamp { .. } | Self::Decimal { precision: 10..=18, .. } => {
                Values::Int64(Vec::new())
            }
            Self::Float => Values::Floats(Vec::new()),
            Self::Double => Values::Doubles(Vec::new()),
            Self::Decimal { .. } | Self::Bytes | Self::String => {
                Values::Bytes { bytes: Vec::new(), ends: Vec::new() }
            }
        }
    }
}

/// The values of a column in a row group, without the nulls.
#[derive(Debug)]
pub(super) enum Values {
    /// `BOOLEAN`
    Booleans(Vec<bool>),
    /// `INT32`
    Int32(Vec<i32>),
    /// `INT64`
    Int64(Vec<i64>),
    /// `FLOAT`
    Floats(Vec<f32>),
    /// `DOUBLE`
    Doubles(Vec<f64>),
    /// `BYTE_ARRAY`, or `FIXED_LEN_BYTE_ARRAY` for a decimal
    Bytes {
        /// All values, one after the other.
        bytes: Vec<u8>,
        /// Where each ends.
        ends: Vec<usize>,
    },
}

/// A column of a row group.
#[derive(Debug)]
pub(super) struct ColumnRows {
    /// For each row, 1 if there is a value, and 0 if it is null.
    levels: Vec<i16>,
    /// The values.
    values: Values,
}

/// The rows that are encoded together.
#[derive(Debug)]
pub struct RowGroup {
    /// Their number.
    pub rows: usize,
    /// Their columns.
    columns: Vec<ColumnRows>,
}

impl RowGroup {
    fn of(kinds: &[Kind]) -> Self {
        let column = |kind: &Kind| ColumnRows { levels: Vec::new(), values: kind.values() };
        Self { rows: 0, columns: kinds.iter().map(column).collect() }
    }
}

/// Collects rows as columns.
#[derive(Debug)]
pub struct Parquet {
    kinds: Vec<Kind>,
    group: RowGroup,
    /// The bytes of the row group.
    bytes: usize,
    /// Those of the texts and bytes in its last row.
    row_bytes: usize,
    tallies: Vec<Tally>,
}

impl Parquet {
    /// Begins with the first row group.
    pub fn new(kinds: Vec<Kind>) -> Self {
        let (group, tallies) = (RowGroup::of(&kinds), vec![Tally::default(); kinds.len()]);
        Self { kinds, group, bytes: 0, row_bytes: 0, tallies }
    }

    /// Adds one cell to the row.
    pub fn cell(&mut self, column: usize, cell: Cell<'_>) {
        let ColumnRows { levels, values } = &mut self.group.columns[column];
        self.bytes += LEVEL_BYTES;
        if cell == Cell::Null {
            levels.push(0);
            return;
        }
        let added = push(self.kinds[column], cell, VALUE_BYTES.saturating_sub(self.row_bytes), values);
        levels.push(i16::from(added.is_some()));
        if let Some(added) = added {
            self.bytes += added;
            if matches!(values, Values::Bytes { .. }) {
                self.bytes += size_of::<usize>();
                self.row_bytes += added;
            }
        }
        self.tallies[column].left_null += u64::from(added.is_none());
    }

    /// Ends a row.
    pub fn end_row(&mut self) {
        self.group.rows += 1;
        self.row_bytes = 0;
    }

    /// Returns whether the row group is complete.
    pub fn is_full(&self) -> bool {
        self.bytes >= ROW_GROUP_BYTES || self.group.rows >= ROW_GROUP_ROWS
    }

    /// Returns the rows so far, and begins the next row group. `None` if there are no rows.
    pub fn take(&mut self) -> Option<RowGroup> {
        self.bytes = 0;
        (self.group.rows > 0).then(|| std::mem::replace(&mut self.group, RowGroup::of(&self.kinds)))
    }

    /// Returns the counts of each column.
    pub fn tallies(self) -> Vec<Tally> {
        self.tallies
    }
}

/// Adds a value, and returns the bytes that it takes. `None` if the column cannot hold it, or it is longer than `room`.
fn push(kind: Kind, cell: Cell<'_>, room: usize, values: &mut Values) -> Option<usize> {
    match (values, kind) {
        (Values::Booleans(values), _) => add(values, cell.text()? == "true"),
        (Values::Int32(values), Kind::Date) => add(values, days_since_1970(cell.text()?)?),
        (Values::Int32(values), Kind::Decimal { precision, scale }) => {
            add(values, i32::try_from(decimal(cell.text()?, precision, scale)?).ok()?)
        }
        (Values::Int32(values), _) => add(values, cell.text()?.parse().ok()?),
        (Values::Int64(values), Kind::Time) => add(values, moment::microseconds(cell.text()?)?.cast_signed()),
        (Values::Int64(values), Kind::Timestamp { .. }) => {
            add(values, microseconds_since_1970(cell.text()?)?)
        }
        (Values::Int64(values), Kind::Decimal { precision, scale }) => {
            add(values, i64::try_from(decimal(cell.text()?, precision, scale)?).ok()?)
        }
        (Values::Int64(values), _) => add(values, cell.text()?.parse().ok()?),
        (Values::Floats(values), _) => add(values, cell.text()?.parse().ok()?),
        (Values::Doubles(values), _) => add(values, cell.text()?.parse().ok()?),
        (Values::Bytes { bytes, ends }, kind) => {
            let start = bytes.len();
            let end = match kind {
                Kind::Decimal { precision, scale } => {
                    bytes.extend(decimal(cell.text()?, precision, scale)?.to_be_bytes());
                    Some(bytes.len())
                }
                Kind::Bytes => push_bytes(cell, room, bytes),
                _ => push_text(cell, room, bytes),
            };
            let Some(end) = end else {
                bytes.truncate(start);
                return None;
            };
            ends.push(end);
            Some(end - start)
        }
    }
}

fn add<T>(values: &mut Vec<T>, value: T) -> Option<usize> {
    values.push(value);
    Some(size_of::<T>())
}

/// Adds a value of `bytea`. Returns where it ends.
fn push_bytes(cell: Cell<'_>, room: usize, out: &mut Vec<u8>) -> Option<usize> {
    let start = out.len();
    if let Cell::Hex(bytes) = cell {
        if bytes.len() > room {
            return None;
        }
        out.extend_from_slice(bytes);
    } else {
        let digits = cell.text()?.strip_prefix("\\x").filter(|digits| digits.len() / 2 <= room)?;
        out.resize(start + digits.len() / 2, 0);
        hex::decode_to_slice(digits, &mut out[start..]).ok()?;
    }
    Some(out.len())
}

/// Adds the text of a value. Returns where it ends.
fn push_text(cell: Cell<'_>, room: usize, out: &mut Vec<u8>) -> Option<usize> {
    let start = out.len();
    match cell {
        Cell::Null => return None,
        Cell::Hex(bytes) if hex_length(bytes) > room => return None,
        Cell::Hex(bytes) => {
            out.extend_from_slice(b"\\x");
            write_hex(bytes, out).ok()?;
        }
        Cell::LargeToken(token) => compacted(token, |piece| {
            if out.len() - start <= room {
                out.extend_from_slice(piece.as_bytes());
            }
            std::io::Result::Ok(())
        })
        .ok()?,
        Cell::Bare(text)
        | Cell::Plain(text)
        | Cell::Text(text)
        | Cell::Token(text)
        | Cell::EscapedToken(text) => {
            if text.len() > room {
                return None;
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
    (out.len() - start <= room).then_some(out.len())
}

//! Turns rows as PostgreSQL sends them, in its binary format, into JSON and CSV.
//!
//! A value is what `to_json(value)` gives in a read session (time zone UTC, ISO dates, shortest floats),
//! decoded here so that the server does no text work. Both formats are written from the same [`Cell`],
//! which is why `verify` can compare them cell by cell. Nothing here knows of files, archives or queries.

mod array;
mod csv;
mod json;
mod network;
mod number;
mod time;
mod value;

use std::io::Write;

use sqlx::{Row as _, ValueRef as _, postgres::PgRow, postgres::PgValueFormat};

pub use self::{
    csv::{Csv, EXCEL_CELL_CHARACTERS, neutralised, write_text_record},
    json::Json,
    value::{Cell, Unreadable, decode},
};
use crate::{failure::Failure, pseudonym::Pseudonyms};

/// The scratch buffer is given back above this size, so that one huge value does not stay in memory.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

/// A longer key of an unreadable row is cut: it goes into the row's `last_error`.
const KEY_CHARACTERS: usize = 200;

/// How a value comes over the wire; domains are resolved to their base type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, of any precision
    Numeric,
    /// Character types, enum labels, and every type that is selected as `::text`.
    Text,
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    Timestamptz,
    /// `interval`
    Interval,
    /// `bytea`
    Bytea,
    /// `inet` and `cidr`
    Inet,
    /// `json`
    Json,
    /// `jsonb`
    Jsonb,
    /// An array of one of these.
    Array(Box<ValueKind>),
}

impl ValueKind {
    /// Tells whether both formats hold the JSON token itself.
    pub fn is_json_class(&self) -> bool {
        matches!(self, Self::Json | Self::Jsonb | Self::Array(_))
    }
}

/// What happens to the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// They are exported as they are.
    Export,
    /// Ids of other people are replaced by a pseudonym.
    Pseudonym,
}

/// One exported column of a statement, in the order of its select list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in both formats.
    pub name: String,
    /// How it comes over the wire.
    pub kind: ValueKind,
    /// What happens to its values.
    pub treatment: Treatment,
}

impl Column {
    /// Tells whether cells of this column hold JSON tokens, which CSV never neutralises.
    ///
    /// A pseudonymised value is a string whatever its column was.
    pub fn is_json_class(&self) -> bool {
        self.kind.is_json_class() && self.treatment == Treatment::Export
    }
}

/// A row in PostgreSQL's binary format.
pub trait Row {
    /// Gives the bytes of a value, or nothing for NULL.
    fn value(&self, column: usize) -> anyhow::Result<Option<&[u8]>>;
}

impl Row for PgRow {
    fn value(&self, column: usize) -> anyhow::Result<Option<&[u8]>> {
        let value = self.try_get_raw(column)?;
        if value.is_null() {
            return Ok(None);
        }
        anyhow::ensure!(value.format() == PgValueFormat::Binary, "column {column} was not sent as binary");
        match value.as_bytes() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(_) => anyhow::bail!("column {column} has no bytes"),
        }
    }
}

/// Rows that no server sent.
impl Row for Vec<Option<Vec<u8>>> {
    fn value(&self, column: usize) -> anyhow::Result<Option<&[u8]>> {
        match self.get(column) {
            Some(value) => Ok(value.as_deref()),
            None => anyhow::bail!("the row has no column {column}"),
        }
    }
}

/// A buffer that holds a value of this size or more grows by what is needed, not to twice its size.
const LARGE_VALUE_BYTES: usize = 1 << 20;

/// Rows of one statement, their values copied one behind the other.
///
/// Both formats read each value, and finding it in a row of the driver costs as much as copying it: once is enough.
#[derive(Debug, Default)]
pub struct PackedRows {
    bytes: Vec<u8>,
    /// Where each value ends; beside it, whether it is NULL.
    ends: Vec<(usize, bool)>,
    columns: usize,
    count: usize,
}

impl PackedRows {
    /// Makes room for rows of so many columns.
    pub fn new(columns: usize) -> Self {
        Self { columns, ..Self::default() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &impl Row) -> anyhow::Result<()> {
        for column in 0..self.columns {
            let value = row.value(column)?;
            let bytes = value.unwrap_or_default();
            if bytes.len() >= LARGE_VALUE_BYTES {
                self.bytes.reserve_exact(bytes.len() + LARGE_VALUE_BYTES);
            }
            self.bytes.extend_from_slice(bytes);
            self.ends.push((self.bytes.len(), value.is_none()));
        }
        self.count += 1;
        Ok(())
    }

    /// Gives the number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives the bytes of all values together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the rows in their order.
    pub fn iter(&self) -> impl Iterator<Item = PackedRow<'_>> {
        (0..self.count).map(|index| PackedRow { rows: self, first: index * self.columns })
    }
}

/// One of [`PackedRows`].
#[derive(Clone, Copy, Debug)]
pub struct PackedRow<'r> {
    rows: &'r PackedRows,
    /// The place of its first value.
    first: usize,
}

impl Row for PackedRow<'_> {
    fn value(&self, column: usize) -> anyhow::Result<Option<&[u8]>> {
        let place = self.first + column;
        let end = self.rows.ends.get(place).filter(|_| column < self.rows.columns);
        let Some(&(end, is_null)) = end else {
            anyhow::bail!("the row has no column {column}");
        };
        let start = place.checked_sub(1).map_or(0, |before| self.rows.ends[before].0);
        Ok((!is_null).then(|| &self.rows.bytes[start..end]))
    }
}

/// How rows stand in a file.
pub trait Format: Send {
    /// Writes what stands before the first row.
    fn begin(&mut self, out: &mut impl Write) -> std::io::Result<()>;
    /// Writes what stands before the first cell of a row.
    fn begin_row(&mut self, out: &mut impl Write) -> std::io::Result<()>;
    /// Writes one cell.
    fn cell(&mut self, column: usize, cell: Cell<'_>, out: &mut impl Write) -> std::io::Result<()>;
    /// Writes what stands after the last cell of a row.
    fn end_row(&mut self, out: &mut impl Write) -> std::io::Result<()>;
    /// Writes what stands after the last row.
    fn end(&mut self, out: &mut impl Write) -> std::io::Result<()>;
}

/// Writes the rows of one statement in one format; reuses its buffers from value to value.
pub struct Serialiser<F> {
    relation: String,
    columns: Vec<Column>,
    order: Vec<usize>,
    pseudonyms: Pseudonyms,
    format: F,
    scratch: String,
    pseudonym: String,
}

impl<F: Format> Serialiser<F> {
    /// Makes a serialiser; `order` gives the columns that name a row when one of its values is unreadable.
    pub fn new(
        relation: impl Into<String>,
        columns: Vec<Column>,
        order: Vec<usize>,
        pseudonyms: Pseudonyms,
        format: F,
    ) -> Self {
        Self {
            relation: relation.into(),
            columns,
            order,
            pseudonyms,
            format,
            scratch: String::new(),
            pseudonym: String::new(),
        }
    }

    /// Writes what stands before the first row.
    pub fn begin(&mut self, out: &mut impl Write) -> anyhow::Result<()> {
        Ok(self.format.begin(out)?)
    }

    /// Writes one row.
    ///
    /// A value that cannot be represented is [`Failure::UnreadableValue`] and names its row, never itself.
    pub fn row(&mut self, row: &impl Row, out: &mut impl Write) -> anyhow::Result<()> {
        self.format.begin_row(out)?;
        for index in 0..self.columns.len() {
            let Some(bytes) = row.value(index)? else {
                self.format.cell(index, Cell::Null, out)?;
                continue;
            };
            let column = &self.columns[index];
            let scratch = &mut self.scratch;
            scratch.clear();
            let cell = match column.treatment {
                Treatment::Export => decode(&column.kind, bytes, scratch),
                Treatment::Pseudonym => {
                    let pseudonym = &mut self.pseudonym;
                    decode(&column.kind, bytes, scratch).map(|cell| self.pseudonyms.apply(cell, pseudonym))
                }
            };
            match cell {
                Ok(cell) => self.format.cell(index, cell, out)?,
                Err(Unreadable) => return Err(self.unreadable(row, index).into()),
            }
            if self.scratch.capacity() > SCRATCH_KEPT_BYTES {
                self.scratch = String::new();
            }
        }
        Ok(self.format.end_row(out)?)
    }

    /// Writes what stands after the last row and gives the format back, for its counts.
    pub fn end(mut self, out: &mut impl Write) -> anyhow::Result<F> {
        self.format.end(out)?;
        Ok(self.format)
    }

    fn unreadable(&mut self, row: &impl Row, column: usize) -> Failure {
        let mut key = String::new();
        for &index in &self.order {
            if !key.is_empty() {
                key.push_str(", ");
            }
            let mut scratch = String::new();
            let mut pseudonym = String::new();
            let cell = match (self.columns.get(index), row.value(index)) {
                (Some(column), Ok(Some(bytes))) => {
                    decode(&column.kind, bytes, &mut scratch).ok().map(|cell| match column.treatment {
                        Treatment::Export => cell,
                        Treatment::Pseudonym => self.pseudonyms.apply(cell, &mut pseudonym),
                    })
                }
                _ => None,
            };
            key.push_str(cell.and_then(|cell| cell.text()).unwrap_or("?"));
        }
        if let Some((end, _)) = key.char_indices().nth(KEY_CHARACTERS) {
            key.truncate(end);
        }
        Failure::UnreadableValue {
            relation: self.relation.clone(),
            column: self.columns[column].name.clone(),
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn column(name: &str, kind: ValueKind, treatment: Treatment) -> Column {
        Column { name: name.to_owned(), kind, treatment }
    }

    fn write<F: Format>(
        columns: &[Column],
        rows: &[Vec<Option<Vec<u8>>>],
        format: F,
    ) -> anyhow::Result<String> {
        let pseudonyms = Pseudonyms::new(b"salt", Uuid::nil())?;
        let mut serialiser = Serialiser::new("public.things", columns.to_vec(), vec![0], pseudonyms, format);
        let mut out = Vec::new();
        serialiser.begin(&mut out)?;
        for row in rows {
            serialiser.row(row, &mut out)?;
        }
        serialiser.end(&mut out)?;
        Ok(String::from_utf8(out)?)
    }

    fn things() -> Vec<Column> {
        vec![
            column("id", ValueKind::Int4, Treatment::Export),
            column("na\"me", ValueKind::Text, Treatment::Export),
            column("by", ValueKind::Uuid, Treatment::Pseudonym),
        ]
    }

    #[test]
    fn rows_stand_one_a_line_in_json_and_null_differs_from_the_empty_string_in_csv() {
        let rows = [
            vec![Some(1i32.to_be_bytes().to_vec()), Some(b"=1\n".to_vec()), Some(vec![0; 16])],
            vec![Some((-2i32).to_be_bytes().to_vec()), Some(Vec::new()), Some(vec![1; 16])],
            vec![None, None, None],
        ];
        let columns = things();
        let json = write(&columns, &rows, Json::new(&columns)).unwrap();
        let csv = write(&columns, &rows, Csv::new(&columns)).unwrap();
        let pseudonym = json.split("member-").nth(1).unwrap()[..16].to_owned();
        assert_eq!(
            json,
            format!(
                "[\n{{\"id\":1,\"na\\\"me\":\"=1\\n\",\"by\":\"00000000-0000-0000-0000-000000000000\"}},\n\
                 {{\"id\":-2,\"na\\\"me\":\"\",\"by\":\"member-{pseudonym}\"}},\n\
                 {{\"id\":null,\"na\\\"me\":null,\"by\":null}}\n]\n"
            )
        );
        assert_eq!(
            csv,
            format!(
                "\u{feff}id,\"na\"\"me\",by\r\n1,\"'=1\n\",00000000-0000-0000-0000-000000000000\r\n\
                 -2,\"\",member-{pseudonym}\r\n,,\r\n"
            )
        );
    }

    #[test]
    fn packed_rows_give_back_what_was_put_in() {
        let rows = [
            vec![Some(b"one".to_vec()), None, Some(Vec::new())],
            vec![None, Some(vec![7; LARGE_VALUE_BYTES]), Some(b"x".to_vec())],
        ];
        let mut packed = PackedRows::new(3);
        assert!(packed.is_empty());
        for row in &rows {
            packed.push(row).unwrap();
        }
        assert_eq!((packed.len(), packed.bytes()), (2, 4 + LARGE_VALUE_BYTES));
        for (packed, row) in packed.iter().zip(&rows) {
            for (column, value) in row.iter().enumerate() {
                assert_eq!(packed.value(column).unwrap(), value.as_deref());
            }
            packed.value(3).unwrap_err();
        }
        PackedRows::new(4).push(&rows[0]).unwrap_err();
    }

    #[test]
    fn no_rows_are_an_empty_array_and_a_header() {
        let columns = things();
        assert_eq!(write(&columns, &[], Json::new(&columns)).unwrap(), "[]\n");
        assert_eq!(write(&columns, &[], Csv::new(&columns)).unwrap(), "\u{feff}id,\"na\"\"me\",by\r\n");
    }

    #[test]
    fn an_unreadable_value_names_relation_column_and_key_and_not_itself() {
        let columns = things();
        let rows = [vec![Some(7i32.to_be_bytes().to_vec()), Some(b"secret\xff".to_vec()), None]];
        let error = write(&columns, &rows, Json::new(&columns)).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot read the value in column `na\"me` of `public.things`, row with key `7`"
        );
        assert!(matches!(error.downcast_ref(), Some(Failure::UnreadableValue { .. })));
    }
}

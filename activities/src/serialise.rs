//! Turns rows as PostgreSQL sends them, in its binary format, into JSON, CSV and, if they are asked for, XLSX
//! and Parquet.
//!
//! A value equals the result of `to_json(value)` in a read session (time zone UTC, ISO dates, shortest floats). It is
//! decoded here, once, so that the server does no text work. All formats are written from the same [`Cell`], so that
//! `verify` can compare them cell by cell. Nothing here knows of archives or queries.

mod array;
mod column;
pub mod formats;
mod half;
mod json_token;
mod mark;
mod network;
mod number;
pub mod parts;
pub mod pseudonym;
mod time;
mod value;

use std::io::Write;

use sqlx::{Row as _, ValueRef as _, postgres::PgRow, postgres::PgValueFormat};

use self::formats::{
    Csv, Format as _, Json, Parquet, PerFormat, Tallies, Xlsx,
    parquet::{Kind, RowGroup},
};
pub(crate) use self::mark::marked;
pub use self::{
    column::{Column, Treatment, ValueKind},
    half::Halves,
    mark::Marks,
    time::is_outside_years,
    value::{Cell, Unreadable, decode},
};
use crate::{
    failure::Failure,
    serialise::{parts::Parts, pseudonym::Pseudonyms},
};

/// The scratch buffer is released above this size, so that one huge value does not stay in memory.
const SCRATCH_KEPT_BYTES: usize = 1 << 20;

/// A row in PostgreSQL's binary format.
pub trait Row: Send + 'static {
    /// Returns the bytes of a value, or `None` for NULL.
    fn value(&self, column: usize) -> anyhow::Result<Option<&[u8]>>;
}

impl Row for PgRow {
    fn value(&self, column: usize) -> anyhow::Result<Option<&[u8]>> {
        // Match on the reference: moving the value out first stalls on pending stores, at every value.
        match self.try_get_raw(column) {
            Ok(ref value) if value.is_null() => Ok(None),
            Ok(ref value) => {
                let format = value.format();
                anyhow::ensure!(format == PgValueFormat::Binary, "column {column} was not sent as binary");
                value.as_bytes().map(Some).map_err(|_| anyhow::anyhow!("column {column} has no bytes"))
            }
            Err(error) => Err(error.into()),
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

/// Writes the rows of one statement in all formats. Decodes each value once, and reuses its buffers for all values.
pub struct Serialiser {
    relation: String,
    columns: Vec<Column>,
    order: Vec<usize>,
    pseudonyms: Pseudonyms,
    rows: u64,
    json: Json,
    csv: Csv,
    xlsx: Option<Xlsx>,
    parquet: Option<Parquet>,
    scratch: String,
    /// The text of a value that is not exported as it is.
    treated: String,
}

impl Serialiser {
    /// Makes a serialiser; `order` lists the columns that name a row when one of its values is unreadable.
    pub fn new(
        relation: impl Into<String>,
        columns: Vec<Column>,
        order: Vec<usize>,
        pseudonyms: Pseudonyms,
    ) -> Self {
        Self {
            relation: relation.into(),
            order,
            pseudonyms,
            rows: 0,
            json: Json::new(&columns),
            csv: Csv::new(&columns),
            xlsx: None,
            parquet: None,
            columns,
            scratch: String::new(),
            treated: String::new(),
        }
    }

    /// Collects the rows for a Parquet file, too.
    pub fn with_row_groups(mut self) -> Self {
        self.parquet = Some(Parquet::new(self.columns.iter().map(Kind::of_column).collect()));
        self
    }

    /// Returns a row group once it is complete.
    pub fn full_row_group(&mut self) -> Option<RowGroup> {
        self.parquet.as_mut().filter(|parquet| parquet.is_full())?.take()
    }

    /// Returns the rows since the last row group that was complete.
    pub fn last_row_group(&mut self) -> Option<RowGroup> {
        self.parquet.as_mut()?.take()
    }

    /// Writes what comes before the first row. It also writes a sheet if there is a file for it.
    pub fn begin(&mut self, files: &mut PerFormat<impl Write>) -> anyhow::Result<()> {
        self.json.begin(&mut files.json)?;
        self.csv.begin(&mut files.csv)?;
        self.xlsx = files.xlsx.is_some().then(|| Xlsx::new(&self.columns));
        self.begin_sheet(files)
    }

    /// Writes what comes before the first row of a further sheet.
    pub fn begin_sheet(&mut self, files: &mut PerFormat<impl Write>) -> anyhow::Result<()> {
        match (&mut self.xlsx, &mut files.xlsx) {
            (Some(xlsx), Some(file)) => Ok(xlsx.begin(file)?),
            _ => Ok(()),
        }
    }

    /// Returns whether the next row needs a further sheet.
    pub fn is_sheet_full(&self) -> bool {
        self.xlsx.as_ref().is_some_and(Xlsx::is_full)
    }

    /// Writes what comes after the last row of a sheet.
    pub fn end_sheet(&mut self, files: &mut PerFormat<impl Write>) -> anyhow::Result<()> {
        match (&mut self.xlsx, &mut files.xlsx) {
            (Some(xlsx), Some(file)) => Ok(xlsx.end(file)?),
            _ => Ok(()),
        }
    }

    /// Writes one row.
    ///
    /// A value that cannot be represented is [`Failure::UnreadableValue`], which names its row and never the value.
    pub fn row(&mut self, row: &impl Row, files: &mut PerFormat<impl Write>) -> anyhow::Result<()> {
        self.rows += 1;
        self.json.begin_row(&mut files.json)?;
        self.csv.begin_row(&mut files.csv)?;
        let mut sheet = self.xlsx.as_mut().zip(files.xlsx.as_mut());
        if let Some((xlsx, file)) = &mut sheet {
            xlsx.begin_row(*file)?;
        }
        for (index, column) in self.columns.iter().enumerate() {
            let scratch = &mut self.scratch;
            scratch.clear();
            let treated = &mut self.treated;
            let cell = match (row.value(index)?, &column.treatment) {
                (None, _) => Ok(Cell::Null),
                (Some(bytes), Treatment::Export) => decode(&column.kind, bytes, scratch),
                (Some(bytes), Treatment::Pseudonym) => {
                    decode(&column.kind, bytes, scratch).and_then(|cell| self.pseudonyms.apply(cell, treated))
                }
                (Some(bytes), Treatment::Parts(parts)) => decode(&column.kind, bytes, scratch)
                    .and_then(|cell| keep_parts(cell, parts, &self.pseudonyms, treated)),
            };
            let Ok(cell) = cell else { return Err(self.unreadable(row, index).into()) };
            self.json.cell(index, cell, &mut files.json)?;
            self.csv.cell(index, cell, &mut files.csv)?;
            if let Some((xlsx, file)) = &mut sheet {
                xlsx.cell(index, cell, *file)?;
            }
            if let Some(parquet) = &mut self.parquet {
                parquet.cell(index, cell);
            }
            for buffer in [&mut self.scratch, &mut self.treated] {
                if buffer.capacity() > SCRATCH_KEPT_BYTES {
                    *buffer = String::new();
                }
            }
        }
        if let Some((xlsx, file)) = &mut sheet {
            xlsx.end_row(*file)?;
        }
        if let Some(parquet) = &mut self.parquet {
            parquet.end_row();
        }
        self.json.end_row(&mut files.json)?;
        Ok(self.csv.end_row(&mut files.csv)?)
    }

    /// Writes what comes after the last row, and returns what each format counted, by column.
    pub fn end(mut self, files: &mut PerFormat<impl Write>) -> anyhow::Result<Tallies> {
        self.json.end(&mut files.json)?;
        self.csv.end(&mut files.csv)?;
        self.end_sheet(files)?;
        let (json, csv) = (self.json.tallies(), self.csv.tallies());
        let (xlsx, parquet) = (self.xlsx.map(Xlsx::tallies), self.parquet.map(Parquet::tallies));
        Ok(Tallies { json, csv, xlsx, parquet })
    }

    /// Names the current row, by its key as far as the key may be reported, else by its number.
    fn unreadable(&self, row: &impl Row, column: usize) -> Failure {
        let named = self.order.iter().filter_map(|&index| {
            let column = self.columns.get(index).filter(|column| column.kind.is_identifier())?;
            let (mut scratch, mut pseudonym) = (String::new(), String::new());
            let cell = decode(&column.kind, row.value(index).ok()??, &mut scratch).ok()?;
            let cell = match column.treatment {
                Treatment::Export | Treatment::Parts(_) => cell,
                Treatment::Pseudonym => self.pseudonyms.apply(cell, &mut pseudonym).ok()?,
            };
            cell.text().map(str::to_owned)
        });
        let key = named.collect::<Vec<_>>().join(", ");
        Failure::UnreadableValue {
            relation: self.relation.clone(),
            column: self.columns[column].name.clone(),
            row: if key.is_empty() {
                format!("row number {} of the account", self.rows)
            } else {
                format!("row with key `{key}`")
            },
        }
    }
}

/// Returns a JSON value without the parts that are left out. Writes it to `scratch`.
fn keep_parts<'v>(
    cell: Cell<'v>,
    parts: &Parts,
    pseudonyms: &Pseudonyms,
    scratch: &'v mut String,
) -> Result<Cell<'v>, Unreadable> {
    scratch.clear();
    let is_escaped = matches!(cell, Cell::EscapedToken(_));
    let (Cell::Token(token) | Cell::EscapedToken(token) | Cell::LargeToken(token)) = cell else {
        return if cell == Cell::Null { Ok(cell) } else { Err(Unreadable) };
    };
    parts.apply(token, pseudonyms, scratch)?;
    if scratch.is_empty() {
        return Ok(Cell::Null);
    }
    // What was escaped may be in a part that is gone.
    let mut halves = Halves::default();
    let is_escaped = is_escaped && scratch.bytes().fold(false, |any, byte| any | halves.ends_with(byte));
    Ok(if is_escaped { Cell::EscapedToken(scratch) } else { Cell::Token(scratch) })
}

#[cfg(test)]
mod tests {
    use crate::user_id::UserId;

    use super::*;

    fn column(name: &str, kind: ValueKind, treatment: Treatment) -> Column {
        let (name, pg_type) = (name.to_owned(), "a type".to_owned());
        Column { name, kind, treatment, pg_type, about: String::new(), why: String::new() }
    }

    fn write(columns: &[Column], rows: &[Vec<Option<Vec<u8>>>]) -> anyhow::Result<(String, String)> {
        let pseudonyms = Pseudonyms::new(b"salt", &UserId::forgotten())?;
        let mut serialiser = Serialiser::new("public.things", columns.to_vec(), vec![0], pseudonyms);
        let mut files = PerFormat::<Vec<u8>>::default();
        serialiser.begin(&mut files)?;
        for row in rows {
            serialiser.row(row, &mut files)?;
        }
        serialiser.end(&mut files)?;
        Ok((String::from_utf8(files.json)?, String::from_utf8(files.csv)?))
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
        let (json, csv) = write(&things(), &rows).unwrap();
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
    fn a_row_allocates_nothing_once_the_buffers_have_grown() {
        let halves = |halves: &[i16]| halves.iter().copied().flat_map(i16::to_be_bytes).collect::<Vec<_>>();
        let words = |words: &[i32]| words.iter().copied().flat_map(i32::to_be_bytes).collect::<Vec<_>>();
        let values = [
            (ValueKind::Bool, vec![1]),
            (ValueKind::Int8, 7_i64.to_be_bytes().to_vec()),
            (ValueKind::Float8, 0.1_f64.to_be_bytes().to_vec()),
            (ValueKind::Numeric, halves(&[2, 0, 0, 2, 12, 5000])),
            (ValueKind::Text, b"a \"line\",\nand another".to_vec()),
            (ValueKind::Uuid, vec![1; 16]),
            (ValueKind::Date, words(&[9000])),
            (ValueKind::Timestamptz, 800_000_000_000_001_i64.to_be_bytes().to_vec()),
            (ValueKind::Interval, words(&[0, 1_000_001, 2, 3])),
            (ValueKind::Bytea, vec![0xff; 32]),
            (ValueKind::Inet, vec![2, 32, 0, 4, 10, 1, 0, 7]),
            (ValueKind::Jsonb, b"\x01{\"a\": [1, \"b c\"]}".to_vec()),
            (ValueKind::Array(Box::new(ValueKind::Int4)), words(&[1, 0, 23, 2, 1, 4, -1, 4, 12])),
            (ValueKind::Text, b"somebody else".to_vec()),
        ];
        let mut columns: Vec<_> =
            values.iter().map(|(kind, _)| column("c", kind.clone(), Treatment::Export)).collect();
        columns[values.len() - 1].treatment = Treatment::Pseudonym;
        let row: Vec<_> = values.into_iter().map(|(_, bytes)| Some(bytes)).collect();
        let pseudonyms = Pseudonyms::new(b"salt", &UserId::forgotten()).unwrap();
        let mut serialiser = Serialiser::new("public.things", columns, vec![0], pseudonyms);
        let mut files = PerFormat { json: std::io::sink(), csv: std::io::sink(), xlsx: None };
        serialiser.row(&row, &mut files).unwrap();
        let allocations = |work: &mut dyn FnMut()| allocation_counter::measure(work).count_total;
        assert_eq!(allocations(&mut || serialiser.row(&row, &mut files).unwrap()), 0);
        assert!(allocations(&mut || drop(row.clone())) > 0, "nothing is counted");
    }

    #[test]
    fn no_rows_are_an_empty_array_and_a_header() {
        let (json, csv) = write(&things(), &[]).unwrap();
        assert_eq!(json, "[]\n");
        assert_eq!(csv, "\u{feff}id,\"na\"\"me\",by\r\n");
    }

    #[test]
    fn an_unreadable_value_names_relation_column_and_key_and_not_itself() {
        let rows = [vec![Some(7i32.to_be_bytes().to_vec()), Some(b"secret\xff".to_vec()), None]];
        let error = write(&things(), &rows).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot read the value in column `na\"me` of `public.things`, row with key `7`"
        );
        assert!(matches!(error.downcast_ref(), Some(Failure::UnreadableValue { .. })));
    }

    #[test]
    fn an_unreadable_row_is_named_by_its_number_where_its_key_is_no_identifier() {
        let columns = [
            column("email", ValueKind::Text, Treatment::Export),
            column("born", ValueKind::Date, Treatment::Export),
            column("text", ValueKind::Text, Treatment::Export),
        ];
        let row = |text: &[u8]| {
            let born = 9000i32.to_be_bytes().to_vec();
            vec![Some(b"alice@example.org".to_vec()), Some(born), Some(text.to_vec())]
        };
        let pseudonyms = Pseudonyms::new(b"salt", &UserId::forgotten()).unwrap();
        let mut serialiser = Serialiser::new("public.things", columns.to_vec(), vec![0, 1], pseudonyms);
        let mut files = PerFormat::<Vec<u8>>::default();
        serialiser.row(&row(b"text"), &mut files).unwrap();
        let error = serialiser.row(&row(b"secret\xff"), &mut files).unwrap_err();
        assert_eq!(
            format!("{error:#} {error:?}")
                .matches("column `text` of `public.things`, row number 2 of the account")
                .count(),
            2
        );
        for named in ["alice", "1994", "2024", "secret"] {
            assert!(!format!("{error:?}").contains(named), "{error:?}");
        }
    }
}

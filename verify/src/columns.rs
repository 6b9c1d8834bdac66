//! Compares the Parquet files with the JSON files, value by value.
//!
//! The rows are collected again from JSON, as a row group of an export has them, and each column of it is read and
//! compared. So memory holds one row group and one page, whatever the file claims to contain. A file is its row groups and
//! a footer: it has no bytes that belong to neither.

use std::{io, sync::Arc};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
pub(crate) use export_activities::archive::columns::file_name;
use export_activities::{
    archive::{
        columns::about,
        manifest::{Column, Entity, Manifest},
    },
    serialise::formats::{
        Parquet,
        parquet::{ColumnRows, Kind, ROW_GROUP_BYTES, RowGroup, VALUE_BYTES, Values, schema},
    },
};
use parquet::{
    basic::Encoding,
    column::{
        page::{Page, PageMetadata, PageReader},
        reader::{ColumnReader, ColumnReaderImpl, get_column_reader},
    },
    data_type::DataType,
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};

use crate::{
    entry::{self, EntryContents, OwnedSection, Section},
    json::JsonRows,
    structure::Entry,
};

/// What a file begins and ends with.
const MAGIC: &[u8] = b"PAR1";

/// The length of the footer, and [`MAGIC`].
const END_BYTES: u64 = 8;

/// The footer of the largest file that a store takes has fewer bytes.
const MAX_FOOTER_BYTES: u64 = 64 << 20;

/// A page holds the values of one column of a row group.
const MAX_PAGE_BYTES: u64 = 2 * ROW_GROUP_BYTES as u64;

/// Of a longer value no more is taken: it is null. A `bytea` has two digits for each byte.
const TAKEN_BYTES: usize = 2 * VALUE_BYTES + 8;

/// The header of a page has fewer bytes.
const HEADER_BYTES: u64 = 1024;

/// Values are compared in batches of this many rows.
const BATCH_ROWS: usize = 1024;

/// Checks that all columns count what Parquet cannot hold, or none.
pub(crate) fn check_manifest(manifest: &Manifest) -> anyhow::Result<()> {
    let is_wanted = has_files(manifest);
    for entity in &manifest.entities {
        for column in &entity.columns {
            ensure!(
                column.nulls_in_parquet.is_some() == is_wanted,
                "`{}`, column `{}` has a count of Parquet where there is none, or lacks it",
                entity.name,
                column.name
            );
        }
    }
    Ok(())
}

/// Returns whether an archive has Parquet files.
pub(crate) fn has_files(manifest: &Manifest) -> bool {
    let mut columns = manifest.entities.iter().flat_map(|entity| &entity.columns);
    columns.any(|column| column.nulls_in_parquet.is_some())
}

/// Checks the files of a manifest that lists them. Their names and digests have been checked before.
pub(crate) fn check(archive: Section<'_>, manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<()> {
    if !has_files(manifest) {
        return Ok(());
    }
    let mut zip = entry::open(archive)?;
    for entity in &manifest.entities {
        let find = |name: &str| {
            let place = entries.iter().position(|entry| entry.name == name);
            place.with_context(|| format!("`{name}` is missing"))
        };
        let name = file_name(&entity.name);
        let file = archive.of_stored(&entries[find(&name)?])?;
        let json_name = format!("json/{}.json", entity.name);
        let place = find(&json_name)?;
        let json = EntryContents::open(&mut zip, place, &entries[place], entries[place].size)?;
        let columns = entity.columns.iter().map(|column| column.name.as_str());
        let json = JsonRows::begin(json, columns).with_context(|| format!("`{json_name}`"))?;
        check_file(manifest, entity, file, json).with_context(|| format!("`{name}`"))?;
    }
    Ok(())
}

fn check_file(
    manifest: &Manifest,
    entity: &Entity,
    file: Section<'_>,
    mut json: JsonRows<'_, '_>,
) -> anyhow::Result<()> {
    let footer_start = footer_start(&file)?;
    let footer = file.read(footer_start, file.length - END_BYTES - footer_start)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).context("its footer is not readable")?;
    let file = Arc::new(Chunks(file.to_owned()?));
    let kind =
        |column: &Column| Kind::of(column.written_type.as_deref().unwrap_or_default(), &column.pg_type);
    let kinds: Vec<_> = entity.columns.iter().map(kind).collect();
    check_footer(manifest, entity, &kinds, &metadata, footer_start)?;
    let mut rows = Parquet::new(kinds);
    let mut row = 0;
    let mut groups = metadata.row_groups().iter();
    loop {
        let has_row = json.next_row()?;
        if has_row {
            for (index, column) in entity.columns.iter().enumerate() {
                json.with_cell(index, column.csv, TAKEN_BYTES, |cell| rows.cell(index, cell))?;
            }
            json.end_row()?;
            rows.end_row();
        }
        if (!has_row || rows.is_full())
            && let Some(wanted) = rows.take()
        {
            let group = groups.next().context("it has fewer rows than JSON")?;
            check_group(&file, group, &wanted, entity, row)?;
            row += wanted.rows;
        }
        if !has_row {
            break;
        }
    }
    ensure!(groups.next().is_none(), "it has more rows than JSON");
    for (column, tally) in entity.columns.iter().zip(rows.tallies()) {
        ensure!(
            column.nulls_in_parquet == Some(tally.left_null),
            "column `{}` has {} values that Parquet cannot hold, and the manifest says otherwise",
            column.name,
            tally.left_null
        );
    }
    Ok(())
}

/// Returns where the footer begins. It is the only part that is read as a whole.
fn footer_start(file: &Section<'_>) -> anyhow::Result<u64> {
    let begins = file.read(0, MAGIC.len() as u64).is_ok_and(|bytes| bytes == MAGIC);
    let end = file.length.checked_sub(END_BYTES).map(|at| file.read(at, END_BYTES)).transpose()?;
    let Some(([length @ .., _, _, _, _], true)) =
        end.as_deref().map(|end| (end, begins && end.ends_with(MAGIC)))
    else {
        bail!("it is no Parquet file");
    };
    let length = u64::from(u32::from_le_bytes(length.try_into()?));
    ensure!(length <= MAX_FOOTER_BYTES, "its footer has {length} bytes, more than {MAX_FOOTER_BYTES}");
    (file.length - END_BYTES).checked_sub(length).context("its footer is longer than the file")
}

/// Compares the footer with the manifest. The columns must follow each other without a gap, up to the footer.
fn check_footer(
    manifest: &Manifest,
    entity: &Entity,
    kinds: &[Kind],
    metadata: &ParquetMetaData,
    footer_start: u64,
) -> anyhow::Result<()> {
    let names = entity.columns.iter().map(|column| column.name.as_str());
    let file = metadata.file_metadata();
    let schema = schema(names.zip(kinds.iter().copied()))?;
    ensure!(*file.schema_descr().root_schema() == *schema, "its columns are not those of the manifest");
    let columns = entity.columns.iter().map(|column| {
        (column.name.as_str(), column.pg_type.as_str(), column.treatment, column.about.as_str())
    });
    let about = about(manifest.request_id, manifest.snapshot_at, &entity.name, &entity.about, columns);
    let about = about.into_iter().map(|(key, value)| KeyValue::new(key, value));
    let held = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
    ensure!(held.iter().cloned().eq(about), "it says something else of its contents than the manifest");
    let rows = u64::try_from(file.num_rows())?;
    ensure!(rows == entity.rows, "it says that it has {rows} rows, the manifest says {}", entity.rows);
    let mut at = MAGIC.len() as u64;
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let (start, length) = (u64::try_from(start)?, u64::try_from(column.compressed_size())?);
        ensure!(start == at && length > 0, "its columns do not follow each other");
        at = at.checked_add(length).filter(|end| *end <= footer_start).context("a column leaves the file")?;
    }
    ensure!(at == footer_start, "it has bytes between its columns and its footer");
    Ok(())
}

/// Compares a row group. `first` is the number of rows before it.
fn check_group(
    file: &Arc<Chunks>,
    group: &RowGroupMetaData,
    wanted: &RowGroup,
    entity: &Entity,
    first: usize,
) -> anyhow::Result<()> {
    let rows = usize::try_from(group.num_rows())?;
    ensure!(rows == wanted.rows, "the row group after {first} rows has {rows} rows, and not {}", wanted.rows);
    for (index, (column, wanted)) in entity.columns.iter().zip(&wanted.columns).enumerate() {
        let chunk = group.column(index);
        ensure!(chunk.column_path().parts() == [column.name.as_str()], "its columns are in another order");
        let pages = SerializedPageReader::new(Arc::clone(file), chunk, rows, None)?;
        let reader = get_column_reader(chunk.column_descr_ptr(), Box::new(Pages(pages)));
        check_column(reader, wanted, first).with_context(|| format!("column `{}`", column.name))?;
    }
    Ok(())
}

fn check_column(reader: ColumnReader, wanted: &ColumnRows, first: usize) -> anyhow::Result<()> {
    let levels = &wanted.levels;
    match (reader, &wanted.values) {
        (ColumnReader::BoolColumnReader(reader), Values::Booleans(values)) => {
            check_values(reader, levels, first, |index, value| values.get(index) == Some(value))
        }
        (ColumnReader::Int32ColumnReader(reader), Values::Int32(values)) => {
            check_values(reader, levels, first, |index, value| values.get(index) == Some(value))
        }
        (ColumnReader::Int64ColumnReader(reader), Values::Int64(values)) => {
            check_values(reader, levels, first, |index, value| values.get(index) == Some(value))
        }
        // By their bits: NaN is the same as NaN, and a zero has a sign.
        (ColumnReader::FloatColumnReader(reader), Values::Floats(values)) => {
            let bits = |value: &f32| value.to_bits();
            check_values(reader, levels, first, |index, value| {
                values.get(index).map(bits) == Some(bits(value))
            })
        }
        (ColumnReader::DoubleColumnReader(reader), Values::Doubles(values)) => {
            let bits = |value: &f64| value.to_bits();
            check_values(reader, levels, first, |index, value| {
                values.get(index).map(bits) == Some(bits(value))
            })
        }
        (ColumnReader::ByteArrayColumnReader(reader), Values::Bytes { bytes, ends }) => {
            check_values(reader, levels, first, |index, value| nth(bytes, ends, index) == Some(value.data()))
        }
        (ColumnReader::FixedLenByteArrayColumnReader(reader), Values::Bytes { bytes, ends }) => {
            check_values(reader, levels, first, |index, value| nth(bytes, ends, index) == Some(value.data()))
        }
        _ => bail!("it has another type"),
    }
}

fn nth<'b>(bytes: &'b [u8], ends: &[usize], index: usize) -> Option<&'b [u8]> {
    let start = index.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
    bytes.get(start..*ends.get(index)?)
}

/// Compares all rows of a column. `is_same` gets the number of the value, without the nulls, and what the file has.
fn check_values<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    levels: &[i16],
    first: usize,
    is_same: impl Fn(usize, &T::T) -> bool,
) -> anyhow::Result<()> {
    let (mut row, mut value) = (0, 0);
    let (mut held_levels, mut held) = (Vec::new(), Vec::new());
    for wanted in levels.chunks(BATCH_ROWS) {
        held_levels.clear();
        held.clear();
        let mut missing = wanted.len();
        while missing > 0 {
            let (read, _, _) = reader.read_records(missing, Some(&mut held_levels), None, &mut held)?;
            ensure!(read > 0, "it ends after {} rows", first + row + wanted.len() - missing);
            missing = missing.checked_sub(read).context("it has too many rows")?;
        }
        let mut values = held.iter();
        for (wanted, level) in wanted.iter().zip(&held_levels) {
            row += 1;
            let is_same =
                wanted == level && (*wanted == 0 || values.next().is_some_and(|found| is_same(value, found)));
            ensure!(is_same, "row {} differs from JSON", first + row);
            value += usize::from(*wanted > 0);
        }
    }
    let (more, _, _) = reader.read_records(1, Some(&mut held_levels), None, &mut held)?;
    ensure!(more == 0, "it has more rows than its row group");
    Ok(())
}

/// The file, from which pages are read.
struct Chunks(OwnedSection);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for Chunks {
    type T = io::Cursor<Vec<u8>>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let left = self.0.length.saturating_sub(start);
        let header = self.0.read(start, left.min(HEADER_BYTES)).map_err(external)?;
        check_page_header(&header).map_err(external)?;
        Ok(io::Cursor::new(header))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        Ok(self.0.read(start, length as u64).map_err(external)?.into())
    }
}

fn external(error: anyhow::Error) -> ParquetError {
    ParquetError::External(error.into())
}

/// Refuses a page that would be larger in memory than an export makes one, before it is.
///
/// A header begins with three numbers, each after the byte of its field: the kind of page, and its sizes, uncompressed and
/// compressed.
fn check_page_header(header: &[u8]) -> anyhow::Result<()> {
    const NEXT_FIELD_I32: u8 = 0x15;
    let mut bytes = header.iter().copied();
    for limit in [u64::from(u8::MAX), MAX_PAGE_BYTES, MAX_PAGE_BYTES] {
        ensure!(bytes.next() == Some(NEXT_FIELD_I32), "a page has no header as in an export");
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = bytes.next().filter(|_| shift < 35).context("the header of a page has no end")?;
            number |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        // The sign is the last bit, and no size has one.
        ensure!(number % 2 == 0 && number / 2 <= limit, "a page is larger than in an export");
    }
    Ok(())
}

/// The pages of a column: only those of the kinds that an export has.
struct Pages(SerializedPageReader<Chunks>);

impl Iterator for Pages {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let page = self.0.get_next_page()?;
        let is_known = match &page {
            None => true,
            Some(Page::DataPage { encoding, def_level_encoding, .. }) => {
                matches!(encoding, Encoding::PLAIN | Encoding::RLE | Encoding::RLE_DICTIONARY)
                    && *def_level_encoding == Encoding::RLE
            }
            // A reader takes memory for as many values as it claims to have.
            Some(Page::DictionaryPage { buf, num_values, encoding, .. }) => {
                matches!(encoding, Encoding::PLAIN) && u64::from(*num_values) <= buf.len() as u64
            }
            Some(Page::DataPageV2 { .. }) => false,
        };
        if is_known {
            Ok(page)
        } else {
            Err(ParquetError::General("a page is not one of an export".to_owned()))
        }
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.0.skip_next_page()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_would_fill_the_memory_is_refused_by_its_header() {
        let header = |sizes: &[u64]| {
            let mut bytes = vec![0x15, 0x00];
            for size in sizes {
                bytes.push(0x15);
                let mut left = size * 2;
                while left >= 0x80 {
                    bytes.push((left & 0x7F) as u8 | 0x80);
                    left >>= 7;
                }
                bytes.push(left as u8);
            }
            bytes
        };
        check_page_header(&header(&[100, 50])).unwrap();
        check_page_header(&header(&[MAX_PAGE_BYTES, MAX_PAGE_BYTES])).unwrap();
        let refused = |bytes: &[u8]| check_page_header(bytes).unwrap_err().to_string();
        assert!(refused(&header(&[MAX_PAGE_BYTES + 1, 50])).contains("larger than in an export"));
        assert!(refused(&header(&[100, i32::MAX as u64])).contains("larger than in an export"));
        assert!(refused(&header(&[100])).contains("no header"));
        assert!(refused(&[0x15, 0x00, 0x15, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).contains("no end"));
        assert!(refused(&[]).contains("no header"));
        // A negative size.
        assert!(refused(&[0x15, 0x00, 0x15, 0x01, 0x15, 0x00]).contains("larger than in an export"));
    }
}

//! A file of Parquet: its schema, and its row groups.

use std::{io::Write, sync::Arc};

use ::parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType,
        FloatType, Int32Type, Int64Type,
    },
    errors::Result,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};
use bytes::Bytes;

use super::{ColumnRows, DECIMAL_BYTES, Kind, RowGroup, Values};

/// The name of a schema has no meaning.
const SCHEMA: &str = "rows";

/// The fastest one compresses well enough.
const ZSTD_LEVEL: i32 = 1;

/// Texts are handed to the encoder in batches of this many rows.
const BATCH_ROWS: usize = 4096;

/// Returns the schema of columns with these names.
pub fn schema<'c>(columns: impl Iterator<Item = (&'c str, Kind)>) -> Result<TypePtr> {
    let column = |(name, kind): (&str, Kind)| -> Result<TypePtr> {
        use PhysicalType::{BOOLEAN, BYTE_ARRAY, DOUBLE, FIXED_LEN_BYTE_ARRAY, FLOAT, INT32, INT64};
        let (physical, logical) = match kind {
            Kind::Boolean => (BOOLEAN, None),
            Kind::Int16 => (INT32, Some(LogicalType::integer(16, true))),
            Kind::Int32 => (INT32, None),
            Kind::Int64 => (INT64, None),
            Kind::Float => (FLOAT, None),
            Kind::Double => (DOUBLE, None),
            Kind::Decimal { precision, scale } => {
                let physical = match precision {
                    ..=9 => INT32,
                    10..=18 => INT64,
                    _ => FIXED_LEN_BYTE_ARRAY,
                };
                (physical, Some(LogicalType::decimal(scale.try_into()?, precision.try_into()?)))
            }
            Kind::Date => (INT32, Some(LogicalType::Date)),
            Kind::Time => (INT64, Some(LogicalType::time(false, TimeUnit::MICROS))),
            Kind::Timestamp { is_utc } => (INT64, Some(LogicalType::timestamp(is_utc, TimeUnit::MICROS))),
            Kind::Bytes => (BYTE_ARRAY, None),
            Kind::String => (BYTE_ARRAY, Some(LogicalType::String)),
        };
        let mut column = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        if let Kind::Decimal { precision, scale } = kind {
            column = column.with_precision(precision.try_into()?).with_scale(scale.try_into()?);
        }
        if physical == FIXED_LEN_BYTE_ARRAY {
            column = column.with_length(DECIMAL_BYTES.try_into()?);
        }
        Ok(Arc::new(column.build()?))
    };
    let columns = columns.map(column).collect::<Result<_>>()?;
    Ok(Arc::new(Type::group_type_builder(SCHEMA).with_fields(columns).build()?))
}

/// A file that is being written.
pub struct ParquetFile<W: Write + Send>(SerializedFileWriter<W>);

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file. `about` says what is in it.
    pub fn begin(out: W, schema: TypePtr, about: Vec<(String, String)>) -> Result<Self> {
        let about = about.into_iter().map(|(key, value)| KeyValue::new(key, value));
        // Without the index of pages, a file is row groups and a footer, and nothing between them.
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(about.collect()))
            .build();
        SerializedFileWriter::new(out, schema, Arc::new(properties)).map(Self)
    }

    /// Writes a row group.
    pub fn write(&mut self, group: RowGroup) -> Result<()> {
        let mut writer = self.0.next_row_group()?;
        for column in group.columns {
            let Some(mut out) = writer.next_column()? else { break };
            write_column(column, &mut out)?;
            out.close()?;
        }
        writer.close().map(drop)
    }

    /// Writes the footer.
    pub fn end(self) -> Result<()> {
        self.0.close().map(drop)
    }
}

fn write_column(column: ColumnRows, out: &mut SerializedColumnWriter<'_>) -> Result<()> {
    let ColumnRows { levels, values } = column;
    match values {
        Values::Booleans(values) => write_values::<BoolType>(&values, &levels, out),
        Values::Int32(values) => write_values::<Int32Type>(&values, &levels, out),
        Values::Int64(values) => write_values::<Int64Type>(&values, &levels, out),
        Values::Floats(values) => write_values::<FloatType>(&values, &levels, out),
        Values::Doubles(values) => write_values::<DoubleType>(&values, &levels, out),
        Values::Bytes { bytes, ends } => {
            let is_fixed = matches!(out.untyped(), ColumnWriter::FixedLenByteArrayColumnWriter(_));
            let bytes = Bytes::from(bytes);
            let mut start = 0;
            let mut ends = ends.into_iter();
            for levels in levels.chunks(BATCH_ROWS) {
                let values = levels.iter().filter(|level| **level > 0).zip(&mut ends).map(|(_, end)| {
                    let value = bytes.slice(start..end);
                    start = end;
                    ByteArray::from(value)
                });
                if is_fixed {
                    let values: Vec<_> = values.map(FixedLenByteArray::from).collect();
                    write_values::<FixedLenByteArrayType>(&values, levels, out)?;
                } else {
                    let values: Vec<_> = values.collect();
                    write_values::<ByteArrayType>(&values, levels, out)?;
                }
            }
            Ok(())
        }
    }
}

fn write_values<T: DataType>(
    values: &[T::T],
    levels: &[i16],
    out: &mut SerializedColumnWriter<'_>,
) -> Result<()> {
    out.typed::<T>().write_batch(values, Some(levels), None).map(drop)
}

//! Compares the rows of archives. A peer with different rows has not done the same work.

use std::{collections::BTreeMap, fmt, fs::File, io::BufReader, path::Path};

use anyhow::{Context as _, ensure};
use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

/// The properties of a file that must be equal. Formats and peers write many values in different ways.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows {
    count: u64,
    /// The digest of the first value of each row, in order.
    first_values: String,
    /// Each column by its name, with the number of filled cells.
    filled: Vec<(String, u64)>,
}

#[derive(Default)]
struct Gathered {
    count: u64,
    digest: Sha256,
    filled: Vec<(String, u64)>,
}

impl Gathered {
    fn begin_row(&mut self, first: &[u8]) {
        self.count += 1;
        self.digest.update(first);
        self.digest.update(b"\n");
    }

    fn cell(&mut self, index: usize, name: &str, is_filled: bool) {
        if self.filled.len() <= index {
            self.filled.push((name.to_owned(), 0));
        }
        self.filled[index].1 += u64::from(is_filled);
    }

    fn rows(mut self) -> Rows {
        // A file without rows has a header in one format and nothing in the other.
        self.filled.retain(|_| self.count > 0);
        Rows { count: self.count, first_values: hex::encode(self.digest.finalize()), filled: self.filled }
    }
}

/// The rows of every file of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holdings(BTreeMap<String, Rows>);

impl Holdings {
    /// Reads `json/<entity>.json` and `csv/<entity>.csv` of each of the entities.
    pub(crate) fn read<'e>(path: &Path, entities: impl Iterator<Item = &'e str>) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
        let mut zip =
            ZipArchive::new(file).with_context(|| format!("failed to read `{}`", path.display()))?;
        let mut files = BTreeMap::new();
        for entity in entities {
            let from_json = from_json(&mut zip, &format!("json/{entity}.json"))?;
            let from_csv = from_csv(&mut zip, &format!("csv/{entity}.csv"))?;
            ensure!(from_json == from_csv, "the two files of `{entity}` hold different rows");
            files.insert(entity.to_owned(), from_json);
        }
        Ok(Self(files))
    }
}

fn from_json(zip: &mut ZipArchive<File>, name: &str) -> anyhow::Result<Rows> {
    let entry = zip.by_name(name).with_context(|| format!("the archive has no `{name}`"))?;
    let mut gathered = Gathered::default();
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 20, entry));
    let read = deserializer.deserialize_seq(Array(&mut gathered));
    read.with_context(|| format!("`{name}` is not an array of objects"))?;
    Ok(gathered.rows())
}

fn from_csv(zip: &mut ZipArchive<File>, name: &str) -> anyhow::Result<Rows> {
    let entry = zip.by_name(name).with_context(|| format!("the archive has no `{name}`"))?;
    let mut gathered = Gathered::default();
    let mut reader = csv::Reader::from_reader(BufReader::with_capacity(1 << 20, entry));
    let header = reader.headers().with_context(|| format!("`{name}` has no header"))?.clone();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).with_context(|| format!("`{name}` is not CSV"))? {
        gathered.begin_row(record.get(0).unwrap_or_default());
        for (index, (column, cell)) in header.iter().zip(&record).enumerate() {
            gathered.cell(index, column.trim_start_matches('\u{feff}'), is_filled(cell));
        }
    }
    Ok(gathered.rows())
}

struct Array<'g>(&'g mut Gathered);

impl<'de> Visitor<'de> for Array<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Row(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

struct Row<'g>(&'g mut Gathered);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let Some(first_name) = row.next_key::<String>()? else { return Ok(()) };
        let first = row.next_value::<String>()?;
        self.0.begin_row(first.as_bytes());
        self.0.cell(0, &first_name, is_filled(first.as_bytes()));
        let mut index = 1;
        while let Some((name, value)) = row.next_entry::<String, Box<RawValue>>()? {
            self.0.cell(index, &name, is_filled(value.get().trim_matches('"').as_bytes()));
            index += 1;
        }
        Ok(())
    }
}

/// Returns whether a text is a value. Some peers write JSON's null as NULL, others as a text.
fn is_filled(text: &[u8]) -> bool {
    !matches!(text, b"" | b"null")
}

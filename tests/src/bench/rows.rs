//! Which rows an archive holds: a peer whose rows are not ours has not done the same work.

use std::{collections::BTreeMap, fmt, fs::File, io::BufReader, path::Path};

use anyhow::{Context as _, ensure};
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

/// Rows of a file and the digest of their first values, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows {
    count: u64,
    first_values: String,
}

/// Digests the first value of each row.
#[derive(Default)]
struct Gathered {
    count: u64,
    digest: Sha256,
}

impl Gathered {
    fn add(&mut self, first: &[u8]) {
        self.count += 1;
        self.digest.update(first);
        self.digest.update(b"\n");
    }

    fn rows(self) -> Rows {
        Rows { count: self.count, first_values: hex::encode(self.digest.finalize()) }
    }
}

/// The rows of every file of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holdings(BTreeMap<String, Rows>);

impl Holdings {
    /// Reads `json/<entity>.json` and `csv/<entity>.csv` of each of the entities.
    pub(super) fn read<'e>(path: &Path, entities: impl Iterator<Item = &'e str>) -> anyhow::Result<Self> {
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
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).with_context(|| format!("`{name}` is not CSV"))? {
        gathered.add(record.get(0).unwrap_or_default());
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
        if row.next_key::<IgnoredAny>()?.is_some() {
            self.0.add(row.next_value::<String>()?.as_bytes());
        }
        while row.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

//! The contents of `manifest.json`: what is in the archive, how it was treated, and what is not in it and why.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    catalogue::Facts,
    scope::{Filters, Scope},
    serialise::{
        self,
        parts::{Parts, Use},
    },
    user_id::UserId,
};

/// The name of the last entry of an archive.
pub const MANIFEST_NAME: &str = "manifest.json";

/// The format that this program writes.
pub const FORMAT: &str = "data-export/2";

/// The first format. It has no files for other programs, and its manifest says less of columns and entities.
pub const FORMAT_1: &str = "data-export/1";

/// Excel shows no more rows than this, the header included.
pub const EXCEL_ROWS: u64 = 1_048_576;

/// The manifest of one archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`], or [`FORMAT_1`] in an older archive.
    pub format: String,
    /// Name and version of the program that wrote the archive.
    pub generator: String,
    /// The request that was fulfilled.
    pub request_id: Uuid,
    /// Whose data it is.
    #[cfg_attr(test, schemars(with = "String"))]
    pub user_id: UserId,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// The moment that all entities show.
    pub snapshot_at: DateTime<Utc>,
    /// The server's version.
    pub database_version: String,
    /// Digest of the catalogue that decided what is exported.
    pub catalogue_sha256: String,
    /// Its version, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue_version: Option<u64>,
    /// Which part of the data it is; missing if it is the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<PartOfData>,
    /// All other entries, in their order in the archive.
    pub files: Vec<File>,
    /// What the json and csv entries hold, and the others of the same rows.
    pub entities: Vec<Entity>,
    /// The workbook of the same rows, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workbook: Option<Workbook>,
    /// The user's files from object storage, if the catalogue names any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_sets: Vec<FileSet>,
    /// Tables of the platform that are not exported.
    pub left_out: Vec<LeftOut>,
}

/// Which part of a person's data an archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PartOfData {
    /// Always false: it is not the whole.
    pub complete: bool,
    /// Only these entities were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<String>>,
    /// No row before this moment, of the entities that have a `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// No row at or after this moment, of the same entities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Only rows with one of these values, by entity and column.
    #[serde(default, skip_serializing_if = "Filters::is_empty")]
    pub filters: Filters,
}

impl From<Scope> for PartOfData {
    fn from(scope: Scope) -> Self {
        let Scope { entities, since, until, filters } = scope;
        Self { complete: false, entities, since, until, filters }
    }
}

impl PartOfData {
    /// Returns what was asked for.
    pub fn scope(&self) -> Scope {
        let Self { entities, since, until, filters, .. } = self.clone();
        Scope { entities, since, until, filters }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name in the archive.
    pub name: String,
    /// Its rows, if it holds an entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Its size, uncompressed.
    pub bytes: u64,
    /// Its digest, uncompressed, in hex.
    pub sha256: String,
}

/// A workbook with all rows, for spreadsheets. Its first sheet explains it, and is not listed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Workbook {
    /// The name of its entry.
    pub name: String,
    /// The sheets with rows, in their order. An entity has more than one if its rows do not fit into one.
    pub sheets: Vec<Sheet>,
}

/// One sheet of a workbook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// Its name.
    pub name: String,
    /// The entity whose rows it holds.
    pub entity: String,
    /// Its rows, without the header.
    pub rows: u64,
}

/// Files from object storage whose keys are in an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FileSet {
    /// Its name, which its folder below `files/` has too.
    pub name: String,
    /// The entity whose rows name them.
    pub entity: String,
    /// What they are.
    pub about: String,
    /// The files that are in the archive.
    pub files: Vec<AttachedFile>,
    /// The files that are not, and why.
    pub missing: Vec<MissingFile>,
    /// Further files that were not even fetched, because an archive holds no more.
    pub too_many: u64,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AttachedFile {
    /// The name of its entry.
    pub name: String,
    /// The values that name its row.
    pub row: String,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

/// One file that is not in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MissingFile {
    /// The values that name its row.
    pub row: String,
    /// Its name, as a plain file name.
    pub name: String,
    /// Why it is missing.
    pub why: Missing,
}

/// Why a file is not in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The store does not have it.
    NotFound,
    /// It is larger than the catalogue allows.
    TooLarge,
    /// Its address is not one of this bucket.
    Elsewhere,
}

/// One entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Its name, which its files have too.
    pub name: String,
    /// The relation it was read from.
    pub relation: String,
    /// What it is.
    pub about: String,
    /// Its rows.
    pub rows: u64,
    /// The columns of its primary key, if all of them are exported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary_key: Vec<String>,
    /// The columns that refer to a row of another entity, each with that entity, by its primary key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, String>,
    /// The column that says when a row is from, if only rows of a time span were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What else the person has a right to know about it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub facts: Facts,
    /// Whether Excel shows only a part of them.
    pub exceeds_excel_rows: bool,
    /// The exported columns, in the order of all files.
    pub columns: Vec<Column>,
    /// The columns that are not exported.
    pub omitted: Vec<Omitted>,
}

impl Entity {
    /// Returns the columns that refer to a row of one of `entities`, with that entity and its key, of the same type.
    pub fn foreign_keys<'e>(
        &'e self,
        entities: &'e [Self],
    ) -> impl Iterator<Item = (&'e str, &'e str, &'e str)> {
        self.references.iter().filter_map(|(column, target)| {
            let target = entities.iter().find(|entity| entity.name == *target)?;
            let [key] = target.primary_key.as_slice() else { return None };
            let written = |entity: &Self, name: &str| {
                entity
                    .columns
                    .iter()
                    .find(|column| column.name == name)
                    .and_then(|column| column.written_type.clone())
            };
            (written(self, column)? == written(target, key)?).then_some(())?;
            Some((column.as_str(), target.name.as_str(), key.as_str()))
        })
    }
}

/// One exported column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it.
    #[serde(rename = "type")]
    pub pg_type: String,
    /// The PostgreSQL type that holds the written values again, such as `text` for those of a domain or an enum. Since
    /// format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_type: Option<String>,
    /// What it holds.
    pub about: String,
    /// What happened to its values.
    pub treatment: Treatment,
    /// What happened to parts of its values, which are JSON, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, Treatment>,
    /// What its CSV cells hold.
    pub csv: CsvCells,
    /// Cells that got a `'` in CSV, in one place or more.
    pub neutralised: u64,
    /// CSV cells that are too long for Excel.
    pub cells_over_32767_characters: u64,
    /// Cells in which half characters are escaped, for the columns that may hold any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells_with_escaped_halves: Option<u64>,
    /// Cells with a year before 1 or after 9999, which many programs cannot read, for dates and timestamps. Since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells_outside_years_1_to_9999: Option<u64>,
    /// Texts whose end is missing in the workbook, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts_cut_in_xlsx: Option<u64>,
    /// Times that the workbook, if there is one, has only to the millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times_cut_to_milliseconds_in_xlsx: Option<u64>,
    /// Values that are missing in the Parquet file, if there is one, because it cannot hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls_in_parquet: Option<u64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What happened to the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// Nothing.
    Exported,
    /// Ids of other people were replaced.
    Pseudonym,
    /// They were left out. Only of a part of a value: a whole column is among the omitted ones.
    Omitted,
}

impl From<&serialise::Treatment> for Treatment {
    fn from(treatment: &serialise::Treatment) -> Self {
        match treatment {
            serialise::Treatment::Export | serialise::Treatment::Parts(_) => Self::Exported,
            serialise::Treatment::Pseudonym => Self::Pseudonym,
        }
    }
}

/// Returns what happens to parts of a value, by path.
pub(super) fn paths(parts: &Parts) -> BTreeMap<String, Treatment> {
    let treatments = [
        (Use::Export, Treatment::Exported),
        (Use::Pseudonym, Treatment::Pseudonym),
        (Use::Omit, Treatment::Omitted),
    ];
    let with = |(use_, treatment)| parts.with(use_).map(move |path| (path.to_owned(), treatment));
    treatments.into_iter().flat_map(with).collect()
}

/// What the CSV cells of a column hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CsvCells {
    /// Texts, numbers or booleans.
    Value,
    /// JSON.
    Json,
}

/// A column that is not exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Omitted {
    /// Its name.
    pub name: String,
    /// Its type, as PostgreSQL writes it.
    #[serde(rename = "type")]
    pub pg_type: String,
    /// The reason.
    pub why: String,
}

/// A table that is not exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The table.
    pub relation: String,
    /// The reason.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_schema_of_the_manifest_is_the_one_in_the_documents() {
        let mut schema = serde_json::to_value(schemars::schema_for!(Manifest)).unwrap();
        schema["title"] = format!("manifest.json of {FORMAT} and {FORMAT_1}").into();
        let schema = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let (documented, now) =
            (root.join("docs/manifest.schema.json"), root.join("target/manifest.schema.json"));
        fs::create_dir_all(root.join("target")).unwrap();
        fs::write(&now, &schema).unwrap();
        let is_equal = fs::read_to_string(&documented).is_ok_and(|text| text == schema);
        assert!(is_equal, "copy `{}` over `{}`", now.display(), documented.display());
    }
}

//! The description of an archive, made before the first row is read.

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use crate::archive::manifest::{LeftOut, Omitted};
use crate::{
    catalogue::{Facts, Options},
    scope::Scope,
    serialise::{Column, formats::Formats},
    store::Checksum,
    user_id::UserId,
};

/// The description of one archive. Two archives of equal contents and equal rows have equal bytes.
#[derive(Clone)]
pub struct Contents {
    /// The request that is fulfilled.
    pub request_id: Uuid,
    /// Whose data it is.
    pub user_id: UserId,
    /// When it was requested.
    pub requested_at: DateTime<Utc>,
    /// The time of the snapshot that all rows come from; also the time of every entry.
    pub snapshot_at: DateTime<Utc>,
    /// The server's version.
    pub database_version: String,
    /// Digest of the catalogue, in hex.
    pub catalogue_sha256: String,
    /// The version that the catalogue gives itself.
    pub catalogue_version: Option<u64>,
    /// The key of the pseudonyms; it never reaches the archive.
    pub pseudonym_salt: Vec<u8>,
    /// The controller's own text, for `NOTICE.txt`.
    pub notice: Option<Vec<u8>>,
    /// From 1 (fastest) to 9; 0 stores without compression.
    pub deflate_level: u32,
    /// The checksum over the whole archive that is computed for the store; it is not part of the archive.
    pub checksum: Checksum,
    /// The entities, in catalogue order.
    pub entities: Vec<EntityContents>,
    /// Index of the entity that holds the account's own row.
    pub account: usize,
    /// The formats of its files.
    pub formats: Formats,
    /// Which part of the data it is; `None` if it is the whole.
    pub scope: Option<Scope>,
    /// Name and description of each set of files from object storage.
    pub file_sets: Vec<(String, String)>,
    /// Tables that are not exported.
    pub left_out: Vec<LeftOut>,
}

/// The description of one entity.
#[derive(Clone, Debug)]
pub struct EntityContents {
    /// Its name, also the name of its files.
    pub name: String,
    /// The relation it is read from.
    pub relation: String,
    /// A description of it.
    pub about: String,
    /// The exported columns, in the order of the statement.
    pub columns: Vec<Column>,
    /// The columns that are not exported.
    pub omitted: Vec<Omitted>,
    /// Indexes of the columns that identify a row.
    pub order: Vec<usize>,
    /// Indexes of the columns of its table's primary key; empty if not all of it is exported.
    pub primary_key: Vec<usize>,
    /// What else the person has a right to know about it.
    pub facts: Facts,
    /// What a request may ask for of it.
    pub options: Options,
}

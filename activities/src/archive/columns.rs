//! The Parquet files: encodes row groups and writes them, on a separate blocking thread.

use std::sync::mpsc::{self, Receiver, SyncSender};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    compressor::{Compressor, Digested},
    contents::Contents,
    manifest::{FORMAT, Treatment},
    texts::moment,
};
use crate::{
    failure::Failure,
    serialise::formats::parquet::{Kind, ParquetFile, RowGroup, schema},
    spool,
};

/// A message to the thread.
pub(super) enum Piece {
    /// The rows that follow belong to the entity with this index.
    Begin(usize),
    /// Some of its rows.
    Rows(RowGroup),
    /// The entity has no more rows, and has the given number.
    End(u64),
    /// All files are written. A queue that closes without it was abandoned.
    Finish,
}

/// The sender's end of the queue. Waits until the thread has taken what was sent: memory holds the row group that is
/// encoded, and the next one.
pub(super) struct ToColumns(SyncSender<Piece>);

impl ToColumns {
    pub(super) fn send(&self, piece: Piece) -> anyhow::Result<()> {
        Ok(self.0.send(piece).map_err(|_| spool::interrupted())?)
    }
}

/// Makes both ends of the queue.
pub(super) fn queue() -> (ToColumns, Receiver<Piece>) {
    let (queue, pieces) = mpsc::sync_channel(0);
    (ToColumns(queue), pieces)
}

/// Returns the name of the entry of an entity.
pub fn file_name(entity: &str) -> String {
    format!("parquet/{entity}.parquet")
}

/// Returns what a file says of itself, by key. `columns` has name, type, treatment and description of each.
pub fn about<'c>(
    request_id: Uuid,
    snapshot_at: DateTime<Utc>,
    entity: &str,
    about: &str,
    columns: impl Iterator<Item = (&'c str, &'c str, Treatment, &'c str)>,
) -> Vec<(String, String)> {
    let columns = columns.map(|(name, pg_type, treatment, about)| {
        json!({ "name": name, "type": pg_type, "treatment": treatment, "about": about })
    });
    let about = [
        ("format", FORMAT.to_owned()),
        ("request_id", request_id.to_string()),
        ("snapshot_at", moment(snapshot_at)),
        ("entity", entity.to_owned()),
        ("about", about.to_owned()),
        ("columns", Value::Array(columns.collect()).to_string()),
    ];
    about.into_iter().map(|(key, value)| (format!("data_export.{key}"), value)).collect()
}

/// Writes the files of the entities as they come, each into a separate entry. Its pages are compressed already.
pub(super) fn write_columns(
    mut compressor: Compressor,
    contents: &Contents,
    queue: &Receiver<Piece>,
) -> anyhow::Result<Compressor> {
    let next = || queue.recv().map_err(|_| Failure::Interrupted);
    loop {
        let entity = match next()? {
            Piece::Begin(entity) => &contents.entities[entity],
            Piece::Finish => return Ok(compressor),
            Piece::Rows(_) | Piece::End(_) => return Err(anyhow!("rows came outside of a file")),
        };
        let name = file_name(&entity.name);
        let mut out = Digested::new(compressor.zip.begin_stored(&name)?);
        let columns = entity.columns.iter().map(|column| (column.name.as_str(), Kind::of_column(column)));
        let described = entity.columns.iter().map(|column| {
            (
                column.name.as_str(),
                column.pg_type.as_str(),
                Treatment::from(&column.treatment),
                column.about.as_str(),
            )
        });
        let about = about(contents.request_id, contents.snapshot_at, &entity.name, &entity.about, described);
        let mut file = ParquetFile::begin(&mut out, schema(columns)?, about)?;
        let rows = loop {
            match next()? {
                Piece::Rows(group) => file.write(group)?,
                Piece::End(rows) => break rows,
                Piece::Begin(_) | Piece::Finish => return Err(anyhow!("a file was left open")),
            }
        };
        file.end()?;
        let file = out.end(name, Some(rows))?;
        compressor.files.push(file);
    }
}

//! One format's way into its spool file, on a blocking thread of its own beside the read.

use std::{
    io::{self, BufWriter, Seek, Write},
    sync::Arc,
};

use anyhow::{Context as _, anyhow};
use scopeguard::ScopeGuard;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::contents::Contents;
use crate::{
    failure::Failure,
    manifest,
    pseudonym::Pseudonyms,
    serialise::{Column, Format, PackedRows, Serialiser},
    spool::{Share, SpoolFile},
};

/// Cells are gathered to pieces of this size before they are hashed and compressed: large enough that
/// the call for each piece costs nothing, small enough to stay in the processor's cache.
const PIECE_BYTES: usize = 64 << 10;

/// What a lane is told; both lanes are told the same.
pub(super) enum Work {
    /// The rows that follow are of this entity.
    Begin(usize),
    /// Rows, shared by both lanes.
    Rows(Arc<Batch>),
    /// The entity has no more rows.
    End,
    /// All entities are written. A queue that ends without it was given up.
    Finish,
}

/// Rows and the part of the queue that they take, given back when both lanes are done with them.
pub(super) struct Batch {
    pub(super) rows: PackedRows,
    pub(super) _room: OwnedSemaphorePermit,
}

/// What a lane leaves behind.
pub(super) struct Lane<F> {
    pub(super) zip: ZipWriter<SpoolFile>,
    pub(super) files: Vec<manifest::File>,
    /// The format writers of the entities, for their counts.
    pub(super) formats: Vec<F>,
}

/// Writes the entities as they come, each into an entry of its own.
pub(super) fn write_entities<F: Format>(
    contents: &Contents,
    mut lane: Lane<F>,
    share: &Share,
    folder: &str,
    format: fn(&[Column]) -> F,
    mut queue: mpsc::Receiver<Work>,
) -> anyhow::Result<Lane<F>> {
    // Dropped before the lane, whose zip writer would otherwise try to finish a lost archive.
    let unless_done = scopeguard::guard(share, Share::give_up);
    let pseudonyms = Pseudonyms::new(&contents.pseudonym_salt, contents.user_id)?;
    loop {
        let entity = match queue.blocking_recv() {
            Some(Work::Begin(index)) => {
                contents.entities.get(index).with_context(|| format!("there is no entity {index}"))?
            }
            Some(Work::Finish) => {
                ScopeGuard::into_inner(unless_done);
                return Ok(lane);
            }
            Some(Work::Rows(_) | Work::End) => return Err(anyhow!("rows came outside of an entity")),
            None => return Err(Failure::Interrupted.into()),
        };
        let name = format!("{folder}/{0}.{folder}", entity.name);
        let columns = entity.serialised();
        let writer = format(&columns);
        let order = entity.order.clone();
        let mut serialiser =
            Serialiser::new(entity.relation.clone(), columns, order, pseudonyms.clone(), writer);
        // Its size is not known beforehand, and may be over 4 GiB.
        lane.zip.start_file(name.as_str(), options(contents)?.large_file(true))?;
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Digested::new(&mut lane.zip));
        serialiser.begin(&mut out)?;
        let mut rows = 0;
        loop {
            match queue.blocking_recv() {
                Some(Work::Rows(batch)) => {
                    for row in batch.rows.iter() {
                        serialiser.row(&row, &mut out)?;
                    }
                    rows += batch.rows.len() as u64;
                }
                Some(Work::End) => break,
                Some(Work::Begin(_) | Work::Finish) => return Err(anyhow!("an entity was left open")),
                None => return Err(Failure::Interrupted.into()),
            }
        }
        lane.formats.push(serialiser.end(&mut out)?);
        out.flush()?;
        lane.files.push(out.get_ref().file(name, Some(rows)));
    }
}

/// Writes an entry whose bytes are at hand.
pub(super) fn write_whole<W: Write + Seek>(
    zip: &mut ZipWriter<W>,
    contents: &Contents,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<manifest::File> {
    zip.start_file(name, options(contents)?)?;
    let mut out = Digested::new(zip);
    out.write_all(bytes)?;
    Ok(out.file(name.to_owned(), None))
}

/// The options of every entry: nothing in them depends on the clock, the machine or the user.
fn options(contents: &Contents) -> anyhow::Result<SimpleFileOptions> {
    use chrono::{Datelike as _, Timelike as _};
    let at = contents.snapshot_at;
    let byte = |part: u32| u8::try_from(part).unwrap_or_default();
    // The format knows the years from 1980 to 2107.
    let time = zip::DateTime::from_date_and_time(
        u16::try_from(at.year()).unwrap_or_default(),
        byte(at.month()),
        byte(at.day()),
        byte(at.hour()),
        byte(at.minute()),
        byte(at.second()),
    )
    .unwrap_or_default();
    Ok(SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(contents.deflate_level.into()))
        .last_modified_time(time)
        .unix_permissions(0o644))
}

/// Counts and hashes what goes through it.
struct Digested<W> {
    inner: W,
    bytes: u64,
    sha256: Sha256,
}

impl<W: Write> Digested<W> {
    fn new(inner: W) -> Self {
        Self { inner, bytes: 0, sha256: Sha256::new() }
    }

    fn file(&self, name: String, rows: Option<u64>) -> manifest::File {
        let sha256 = hex::encode(self.sha256.clone().finalize());
        manifest::File { name, rows, bytes: self.bytes, sha256 }
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        // Flushing the compressor would end a block early; only the end of the entry does that.
        Ok(())
    }
}

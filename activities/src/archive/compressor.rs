//! Hashes, compresses and writes the text of one format into its spool file, on a separate blocking thread. Sheets of a
//! workbook are not hashed: the digest is of the whole workbook.

use std::{
    io::{self, Read, Seek, Write},
    sync::mpsc::{self, Receiver, Sender, SyncSender},
};

use anyhow::anyhow;
use sha2::{Digest as _, Sha256};

use super::container::{Writing, Zip};
use crate::{
    archive::manifest,
    failure::Failure,
    spool::{self, SpoolFile},
};

/// Text is handed over in pieces of this size. Waking the other thread then costs little, and a piece stays in the
/// processor's cache.
const PIECE_BYTES: usize = 64 << 10;

/// Maximum number of pieces that wait for a compressor: half a megabyte. More does not save time.
const PIECES: usize = 8;

/// A message to a compressor.
pub(super) enum Piece {
    /// The text that follows belongs to the file with this name.
    Begin(String),
    /// A part of its text.
    Text(Vec<u8>),
    /// The file has no more text and has the given number of rows.
    End(u64),
    /// All files are written. A queue that closes without it was abandoned.
    Finish,
}

/// Makes both ends of a compressor's queue.
pub(super) fn queue() -> (ToCompressor, PieceQueue) {
    let (queue, pieces) = mpsc::sync_channel(PIECES);
    let (spent, again) = mpsc::channel();
    (ToCompressor { piece: Vec::new(), sent: 0, queue, again }, PieceQueue { pieces, spent })
}

/// The compressor's end of its queue. It receives pieces and returns their memory for reuse.
pub(super) struct PieceQueue {
    pieces: Receiver<Piece>,
    spent: Sender<Vec<u8>>,
}

/// The zip of a compressor and the files in it.
pub(super) struct Compressor {
    pub(super) zip: Zip<SpoolFile>,
    pub(super) files: Vec<manifest::File>,
}

/// Writes the files of the entities as they come, each into a separate entry.
pub(super) fn write_files(mut compressor: Compressor, queue: &PieceQueue) -> anyhow::Result<Compressor> {
    while let Some(name) = queue.next_file()? {
        let mut out = Digested::new(compressor.zip.begin(&name)?);
        let rows = queue.copy_text(&mut out)?;
        let file = out.end(name, Some(rows))?;
        compressor.files.push(file);
    }
    Ok(compressor)
}

/// Writes the sheets of a workbook as they come, each into a separate entry.
pub(super) fn write_sheets(mut zip: Zip<SpoolFile>, queue: &PieceQueue) -> anyhow::Result<Zip<SpoolFile>> {
    while let Some(name) = queue.next_file()? {
        let mut out = zip.begin(&name)?;
        queue.copy_text(&mut out)?;
        out.end()?;
    }
    Ok(zip)
}

impl PieceQueue {
    /// Returns the name of the next file, or `None` after the last one.
    fn next_file(&self) -> anyhow::Result<Option<String>> {
        match self.pieces.recv() {
            Ok(Piece::Begin(name)) => Ok(Some(name)),
            Ok(Piece::Finish) => Ok(None),
            Ok(Piece::Text(_) | Piece::End(_)) => Err(anyhow!("text came outside of a file")),
            Err(_) => Err(Failure::Interrupted.into()),
        }
    }

    /// Writes the text of a file as it comes. Returns its rows.
    fn copy_text(&self, out: &mut impl Write) -> anyhow::Result<u64> {
        loop {
            match self.pieces.recv() {
                Ok(Piece::Text(mut text)) => {
                    out.write_all(&text)?;
                    text.clear();
                    // The receiver is gone after the last row.
                    let _ = self.spent.send(text);
                }
                Ok(Piece::End(rows)) => return Ok(rows),
                Ok(Piece::Begin(_) | Piece::Finish) => return Err(anyhow!("a file was left open")),
                Err(_) => return Err(Failure::Interrupted.into()),
            }
        }
    }
}

/// Collects text and hands it to a compressor. Waits while the queue is full.
pub(super) struct ToCompressor {
    piece: Vec<u8>,
    /// The bytes of the file that were handed over.
    sent: u64,
    queue: SyncSender<Piece>,
    again: Receiver<Vec<u8>>,
}

impl ToCompressor {
    /// Sends a piece after the text that was written so far.
    pub(super) fn send(&mut self, piece: Piece) -> io::Result<()> {
        self.flush()?;
        self.sent = 0;
        self.queue.send(piece).map_err(|_| spool::interrupted())
    }

    /// Returns about how many bytes the file has so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

impl Write for ToCompressor {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        if self.piece.capacity() == 0 {
            self.piece = self.again.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE_BYTES));
        }
        let taken = text.len().min(PIECE_BYTES - self.piece.len());
        self.piece.extend_from_slice(&text[..taken]);
        Ok(taken)
    }

    fn write_all(&mut self, mut text: &[u8]) -> io::Result<()> {
        // Most texts are a few bytes and fit.
        if text.len() <= self.piece.capacity() - self.piece.len() {
            self.piece.extend_from_slice(text);
            return Ok(());
        }
        while !text.is_empty() {
            let taken = self.write(text)?;
            text = &text[taken..];
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        self.sent += self.piece.len() as u64;
        let text = Piece::Text(std::mem::take(&mut self.piece));
        self.queue.send(text).map_err(|_| spool::interrupted())
    }
}

/// Writes an entry whose bytes are all in memory.
pub(super) fn write_whole<W: Read + Write + Seek>(
    zip: &mut Zip<W>,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<manifest::File> {
    let mut out = Digested::new(zip.begin(name)?);
    out.write_all(bytes)?;
    Ok(out.end(name.to_owned(), None)?)
}

/// Writes an entry from a reader.
pub(super) fn write_from<W: Read + Write + Seek>(
    zip: &mut Zip<W>,
    name: &str,
    from: impl Read,
) -> anyhow::Result<manifest::File> {
    copy(zip.begin(name)?, name, from)
}

/// Like [`write_from`], of bytes that are compressed already.
pub(super) fn store_from<W: Read + Write + Seek>(
    zip: &mut Zip<W>,
    name: &str,
    from: impl Read,
) -> anyhow::Result<manifest::File> {
    copy(zip.begin_stored(name)?, name, from)
}

fn copy<W: Read + Write + Seek>(
    entry: Writing<'_, W>,
    name: &str,
    mut from: impl Read,
) -> anyhow::Result<manifest::File> {
    let mut out = Digested::new(entry);
    io::copy(&mut from, &mut out)?;
    Ok(out.end(name.to_owned(), None)?)
}

/// Counts and hashes the bytes of an entry.
pub(super) struct Digested<'z, W: Write> {
    inner: Writing<'z, W>,
    bytes: u64,
    sha256: Sha256,
}

impl<'z, W: Read + Write + Seek> Digested<'z, W> {
    pub(super) fn new(inner: Writing<'z, W>) -> Self {
        Self { inner, bytes: 0, sha256: Sha256::new() }
    }

    pub(super) fn end(self, name: String, rows: Option<u64>) -> io::Result<manifest::File> {
        self.inner.end()?;
        Ok(manifest::File { name, rows, bytes: self.bytes, sha256: hex::encode(self.sha256.finalize()) })
    }
}

impl<W: Write> Write for Digested<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

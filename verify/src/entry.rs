//! Reads the contents of an entry byte by byte, in a fixed buffer, and digests them on the way.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt as _,
};

use anyhow::{Context as _, ensure};
use export_activities::archive::manifest;
use flate2::{Crc, read::DeflateDecoder};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipArchive, read::ZipFile};

use crate::structure::Entry;

/// Large enough that the call for a block costs little compared to its inflation.
const BLOCK_BYTES: usize = 64 << 10;

/// A part of a file that is an archive by itself: the whole file, or the data of a stored entry.
#[derive(Clone, Copy)]
pub(crate) struct Section<'f> {
    file: &'f File,
    start: u64,
    pub(crate) length: u64,
}

impl<'f> Section<'f> {
    /// Returns the whole file.
    pub(crate) fn whole(file: &'f File) -> anyhow::Result<Self> {
        let length = file.metadata().context("failed to read the archive")?.len();
        Ok(Self { file, start: 0, length })
    }

    /// Returns the data of an entry, which is stored as it is.
    pub(crate) fn of_stored(&self, entry: &Entry) -> anyhow::Result<Self> {
        ensure!(entry.is_stored, "`{}` is compressed, as in no export", entry.name);
        Ok(Self { start: self.start + entry.data_start, length: entry.compressed, ..*self })
    }

    /// Reads bytes of it.
    pub(crate) fn read(&self, at: u64, length: u64) -> anyhow::Result<Vec<u8>> {
        let is_inside = at.checked_add(length).is_some_and(|end| end <= self.length);
        ensure!(is_inside, "the archive has no {length} bytes from byte {at} on");
        let mut block = vec![0; usize::try_from(length)?];
        self.file.read_exact_at(&mut block, self.start + at).context("failed to read the archive")?;
        Ok(block)
    }
}

/// A reader with a separate position, so that two entries of one file can be read side by side.
#[derive(Clone)]
pub(crate) struct At<'f> {
    section: Section<'f>,
    position: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.section.length.saturating_sub(self.position);
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.section.file.read_at(&mut buffer[..room], self.section.start + self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(offset) => self.section.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// Opens the archive for inflating; its structure has been checked before.
pub(crate) fn open(section: Section<'_>) -> anyhow::Result<ZipArchive<At<'_>>> {
    ZipArchive::new(At { section, position: 0 }).context("failed to open the archive")
}

/// Stored data of one entry. Inflated here and not by the library, which does not report where in the data the deflate
/// stream ended.
enum Data<'a, 'f> {
    Stored(ZipFile<'a, At<'f>>),
    Deflated(DeflateDecoder<ZipFile<'a, At<'f>>>),
}

/// The contents of one entry.
pub(crate) struct EntryContents<'a, 'f> {
    name: String,
    data: Data<'a, 'f>,
    compressed: u64,
    crc32: u32,
    limit: u64,
    total: u64,
    crc: Crc,
    sha256: Sha256,
    block: Vec<u8>,
    at: usize,
    filled: usize,
}

impl<'a, 'f> EntryContents<'a, 'f> {
    /// Opens an entry that may inflate to `limit` bytes.
    pub(crate) fn open(
        zip: &'a mut ZipArchive<At<'f>>,
        index: usize,
        entry: &Entry,
        limit: u64,
    ) -> anyhow::Result<Self> {
        let name = entry.name.clone();
        let raw = zip.by_index_raw(index).with_context(|| format!("failed to open the entry `{name}`"))?;
        // The library parsed the archive separately; its result must equal ours.
        let seen = (raw.data_start(), raw.compressed_size(), raw.size());
        ensure!(
            raw.name_raw() == name.as_bytes()
                && seen == (Some(entry.data_start), entry.compressed, entry.size),
            "the entry `{name}` can be read in two ways"
        );
        let crc32 = raw.crc32();
        let data = match raw.compression() {
            CompressionMethod::Stored => Data::Stored(raw),
            _ => Data::Deflated(DeflateDecoder::new(raw)),
        };
        Ok(Self {
            name,
            data,
            compressed: entry.compressed,
            crc32,
            limit,
            total: 0,
            crc: Crc::new(),
            sha256: Sha256::new(),
            block: vec![0; BLOCK_BYTES],
            at: 0,
            filled: 0,
        })
    }

    /// Returns the next byte without consuming it, or `None` at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> anyhow::Result<Option<u8>> {
        if self.at == self.filled && !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.block[self.at]))
    }

    /// Consumes the next byte.
    #[inline]
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<u8>> {
        let byte = self.peek()?;
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// Consumes the expected bytes. Returns whether they were there.
    pub(crate) fn take(&mut self, expected: &[u8]) -> anyhow::Result<bool> {
        for &byte in expected {
            if self.next()? != Some(byte) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the remaining contents, up to the limit.
    pub(crate) fn read_rest(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut rest = Vec::new();
        while self.peek()?.is_some() {
            rest.extend_from_slice(&self.block[self.at..self.filled]);
            self.at = self.filled;
        }
        Ok(rest)
    }

    /// Reads to the end and compares size and digest with the manifest.
    pub(crate) fn finish(mut self, expected: &manifest::File) -> anyhow::Result<()> {
        while self.peek()?.is_some() {
            self.at = self.filled;
        }
        let name = &self.name;
        ensure!(
            self.total == expected.bytes,
            "`{name}` has {} bytes, the manifest says {}",
            self.total,
            expected.bytes
        );
        ensure!(
            hex::encode(self.sha256.finalize()) == expected.sha256,
            "the SHA-256 of `{name}` differs from the manifest"
        );
        Ok(())
    }

    fn fill(&mut self) -> anyhow::Result<bool> {
        self.at = 0;
        // Leave no stale bytes to read if the next block fails.
        self.filled = 0;
        let read = match &mut self.data {
            Data::Stored(raw) => raw.read(&mut self.block),
            Data::Deflated(inflating) => inflating.read(&mut self.block),
        };
        let filled = read.with_context(|| format!("failed to inflate `{}`", self.name))?;
        self.filled = filled;
        self.total += filled as u64;
        ensure!(
            self.total <= self.limit,
            "`{}` inflates past the {} bytes it may have",
            self.name,
            self.limit
        );
        self.sha256.update(&self.block[..filled]);
        self.crc.update(&self.block[..filled]);
        if filled == 0 {
            self.check_end()?;
        }
        Ok(filled > 0)
    }

    fn check_end(&self) -> anyhow::Result<()> {
        let name = &self.name;
        if let Data::Deflated(inflating) = &self.data {
            let unused = self.compressed - inflating.total_in().min(self.compressed);
            ensure!(unused == 0, "`{name}` has {unused} bytes behind the end of its deflate stream");
        }
        ensure!(self.crc.sum() == self.crc32, "the CRC-32 of `{name}` differs from its header");
        Ok(())
    }
}

/// Compares what is written to it with an entry.
pub(crate) struct Expected<'a, 'f>(pub(crate) EntryContents<'a, 'f>);

impl Write for Expected<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.take(bytes) {
            Ok(true) => Ok(bytes.len()),
            Ok(false) => Err(io::Error::other("it differs from JSON")),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

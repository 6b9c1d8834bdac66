//! The zip file: entries one after the other, each with the smallest headers that can hold its numbers.
//!
//! The size of an entry is known only after it is written, so its local header is written last, into reserved space.
//! Only an entry of 4 GiB or more needs a zip64 field there; its data is then moved by the twenty bytes of that field.
//! The file has no unnecessary field, no data descriptor and no comment.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use flate2::{Compress, Compression, Crc, FlushCompress, read::DeflateDecoder};

/// From this value on, a 32-bit field only says that the number is in the zip64 field.
const ZIP64_FROM: u64 = 0xFFFF_FFFF;
/// The same limit for the number of entries.
const ZIP64_FROM_ENTRIES: usize = 0xFFFF;
const ZIP64_FIELD: u16 = 1;

const LOCAL_BYTES: usize = 30;
const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END_64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR_64_SIGNATURE: u32 = 0x0706_4b50;
/// Length of the zip64 end record after its length field.
const END_64_BYTES: u64 = 44;

/// The version that a reader must support: deflate, or zip64 too.
const VERSION: u16 = 20;
const VERSION_64: u16 = 45;
const MADE_ON_UNIX: u16 = 3 << 8;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// A regular file that its owner may change and everyone may read.
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// Entries are copied and moved in blocks of this size.
const BLOCK_BYTES: usize = 256 << 10;

/// Compressed bytes are written in pieces of up to this size.
const DEFLATED_BYTES: usize = 32 << 10;

/// A zip file that is being written.
pub(super) struct Zip<W> {
    out: W,
    deflate: Deflate,
    /// Where the next entry begins.
    end: u64,
    entries: Vec<EntryHeader>,
    moment: [u16; 2],
}

/// The compressor of all entries. Each begins anew in the same memory, which is large compared to a small entry.
struct Deflate {
    state: Compress,
    compressed: Vec<u8>,
}

/// The values of an entry's headers.
struct EntryHeader {
    name: String,
    method: u16,
    offset: u64,
    crc32: u32,
    size: u64,
    compressed: u64,
}

impl<W> Zip<W> {
    /// Starts a zip file at the beginning of `out`. All its entries have the same time.
    pub(super) fn new(out: W, moment: DateTime<Utc>, deflate_level: u32) -> Self {
        let state = Compress::new(Compression::new(deflate_level), false);
        let deflate = Deflate { state, compressed: Vec::with_capacity(DEFLATED_BYTES) };
        Self { out, deflate, end: 0, entries: Vec::new(), moment: dos_moment(moment) }
    }
}

impl<W: Read + Write + Seek> Zip<W> {
    /// Starts an entry. The caller must [end](Writing::end) it.
    pub(super) fn begin(&mut self, name: &str) -> io::Result<Writing<'_, W>> {
        self.begin_with(name, DEFLATED)
    }

    /// Starts an entry whose bytes are compressed already, and are stored as they are.
    pub(super) fn begin_stored(&mut self, name: &str) -> io::Result<Writing<'_, W>> {
        self.begin_with(name, STORED)
    }

    fn begin_with(&mut self, name: &str, method: u16) -> io::Result<Writing<'_, W>> {
        let name = name.to_owned();
        let entry = EntryHeader { name, method, offset: self.end, crc32: 0, size: 0, compressed: 0 };
        self.out.write_all(&vec![0; entry.room()])?;
        self.deflate.state.reset();
        let Self { out, deflate, end, entries, moment } = self;
        Ok(Writing { out, deflate, crc: Crc::new(), entry, moment: *moment, end, entries })
    }

    /// Copies all entries of another file to the end of this one, without compressing them again.
    pub(super) fn append<R: Read + Seek>(&mut self, other: &mut Zip<R>) -> io::Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        for copied in std::mem::take(&mut other.entries) {
            let entry = EntryHeader { offset: self.end, ..copied };
            let header = entry.local(self.moment)?;
            self.out.write_all(&header)?;
            other.out.seek(SeekFrom::Start(copied.offset + header.len() as u64))?;
            let mut left = entry.compressed;
            while left > 0 {
                let block = block_of(&mut block, left);
                other.out.read_exact(block)?;
                self.out.write_all(block)?;
                left -= block.len() as u64;
            }
            self.end += header.len() as u64 + entry.compressed;
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Reads the contents of an entry back, as far as `read` wants to. The default if there is no such entry.
    pub(super) fn read_back<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn BufRead) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else {
            return Ok(T::default());
        };
        let data = entry.offset + entry.local(self.moment)?.len() as u64;
        self.out.seek(SeekFrom::Start(data))?;
        let mut contents = BufReader::new(DeflateDecoder::new((&mut self.out).take(entry.compressed)));
        let read = read(&mut contents)?;
        self.out.seek(SeekFrom::Start(self.end))?;
        Ok(read)
    }

    /// Writes the central directory and returns the file.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let mut directory = Vec::new();
        for entry in &self.entries {
            entry.push_central(self.moment, &mut directory)?;
        }
        push_end(self.entries.len(), self.end, &mut directory)?;
        self.out.write_all(&directory)?;
        Ok(self.out)
    }
}

/// An entry that is being written. It compresses the bytes written to it, unless they are stored.
pub(super) struct Writing<'z, W> {
    out: &'z mut W,
    deflate: &'z mut Deflate,
    crc: Crc,
    entry: EntryHeader,
    moment: [u16; 2],
    end: &'z mut u64,
    entries: &'z mut Vec<EntryHeader>,
}

impl<W: Write> Write for Writing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.entry.method == STORED {
            self.out.write_all(bytes)?;
            self.entry.size += bytes.len() as u64;
            self.entry.compressed += bytes.len() as u64;
        } else {
            let mut left = bytes;
            while !left.is_empty() {
                let taken = self.deflate.run(left, FlushCompress::None, self.out)?;
                left = &left[taken..];
            }
        }
        self.crc.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Flushing the compressor would end a block early, so only the end of the entry flushes it.
        Ok(())
    }
}

impl<W: Read + Write + Seek> Writing<'_, W> {
    /// Ends the entry and writes its header.
    pub(super) fn end(self) -> io::Result<()> {
        let Self { out, deflate, crc, mut entry, .. } = self;
        if entry.method == DEFLATED {
            let mut before = None;
            while before != Some(deflate.state.total_out()) {
                before = Some(deflate.state.total_out());
                deflate.run(&[], FlushCompress::Finish, out)?;
            }
            entry.size += deflate.state.total_in();
            entry.compressed = deflate.state.total_out();
        }
        entry.crc32 = crc.sum();
        let header = entry.local(self.moment)?;
        let data = entry.offset + entry.room() as u64;
        let missing = (header.len() - entry.room()) as u64;
        if missing > 0 {
            move_on(out, data, entry.compressed, missing)?;
        }
        out.seek(SeekFrom::Start(entry.offset))?;
        out.write_all(&header)?;
        *self.end = entry.offset + header.len() as u64 + entry.compressed;
        out.seek(SeekFrom::Start(*self.end))?;
        self.entries.push(entry);
        Ok(())
    }
}

impl Deflate {
    /// Compresses some of the bytes and writes what comes out. Returns how many it took.
    fn run(&mut self, bytes: &[u8], flush: FlushCompress, out: &mut impl Write) -> io::Result<usize> {
        let before = self.state.total_in();
        self.state.compress_vec(bytes, &mut self.compressed, flush).map_err(io::Error::other)?;
        out.write_all(&self.compressed)?;
        self.compressed.clear();
        usize::try_from(self.state.total_in() - before).map_err(io::Error::other)
    }
}

impl EntryHeader {
    /// Returns the length of the local header without a zip64 field.
    fn room(&self) -> usize {
        LOCAL_BYTES + self.name.len()
    }

    fn is_large(&self) -> bool {
        self.size >= ZIP64_FROM || self.compressed >= ZIP64_FROM
    }

    fn local(&self, moment: [u16; 2]) -> io::Result<Vec<u8>> {
        let mut header = Vec::with_capacity(self.room() + 20);
        let zip64 = self.zip64([]);
        push_32([LOCAL_SIGNATURE], &mut header);
        self.push_shared(moment, &zip64, &mut header)?;
        header.extend(self.name.as_bytes());
        header.extend(zip64);
        Ok(header)
    }

    fn push_central(&self, moment: [u16; 2], out: &mut Vec<u8>) -> io::Result<()> {
        let zip64 = if self.offset >= ZIP64_FROM { self.zip64([self.offset]) } else { self.zip64([]) };
        push_32([CENTRAL_SIGNATURE], out);
        push_16([MADE_ON_UNIX | version(&zip64)], out);
        self.push_shared(moment, &zip64, out)?;
        // No comment, first disk, unknown kind of contents.
        push_16([0, 0, 0], out);
        push_32([ATTRIBUTES], out);
        push_32([small(self.offset)], out);
        out.extend(self.name.as_bytes());
        out.extend(zip64);
        Ok(())
    }

    /// Appends the fields that both headers have in the same order.
    fn push_shared(&self, moment: [u16; 2], zip64: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        push_16([version(zip64)], out);
        push_16([0], out);
        push_16([self.method], out);
        push_16(moment, out);
        push_32([self.crc32], out);
        // Both sizes go into the zip64 field together, because the local header requires both.
        let sizes = if self.is_large() { [u64::MAX; 2] } else { [self.compressed, self.size] };
        push_32(sizes.map(small), out);
        for length in [self.name.len(), zip64.len()] {
            push_16([u16::try_from(length).map_err(io::Error::other)?], out);
        }
        Ok(())
    }

    /// Returns the zip64 field of a header with these further numbers; empty if it is not needed.
    fn zip64<const N: usize>(&self, further: [u64; N]) -> Vec<u8> {
        let sizes = if self.is_large() { vec![self.size, self.compressed] } else { Vec::new() };
        let numbers: Vec<u8> = sizes.into_iter().chain(further).flat_map(u64::to_le_bytes).collect();
        let mut field = Vec::new();
        if let (1.., Ok(length)) = (numbers.len(), u16::try_from(numbers.len())) {
            push_16([ZIP64_FIELD], &mut field);
            push_16([length], &mut field);
            field.extend(numbers);
        }
        field
    }
}

/// Appends the end records of a file. Its central directory begins at `start` and is in `out`.
fn push_end(entries: usize, start: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let bytes = out.len() as u64;
    let is_large = entries >= ZIP64_FROM_ENTRIES || bytes >= ZIP64_FROM || start >= ZIP64_FROM;
    if is_large {
        push_32([END_64_SIGNATURE], out);
        push_64([END_64_BYTES], out);
        push_16([MADE_ON_UNIX | VERSION_64], out);
        push_16([VERSION_64], out);
        push_64([0], out);
        push_64([entries as u64, entries as u64, bytes, start], out);
        push_32([LOCATOR_64_SIGNATURE], out);
        push_32([0], out);
        push_64([start + bytes], out);
        push_32([1], out);
    }
    push_32([END_SIGNATURE], out);
    push_32([0], out);
    let entries = u16::try_from(entries).unwrap_or(u16::MAX);
    push_16([entries, entries], out);
    push_32([bytes, start].map(small), out);
    push_16([0], out);
    Ok(())
}

/// Moves `length` bytes at `start` forward by `by` bytes, the last block first.
fn move_on(out: &mut (impl Read + Write + Seek), start: u64, length: u64, by: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = length;
    while left > 0 {
        let block = block_of(&mut block, left);
        left -= block.len() as u64;
        out.seek(SeekFrom::Start(start + left))?;
        out.read_exact(block)?;
        out.seek(SeekFrom::Start(start + left + by))?;
        out.write_all(block)?;
    }
    Ok(())
}

/// Returns the part of a block that the given number of bytes fills.
fn block_of(block: &mut [u8], left: u64) -> &mut [u8] {
    let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
    &mut block[..length]
}

fn version(zip64: &[u8]) -> u16 {
    if zip64.is_empty() { VERSION } else { VERSION_64 }
}

/// Returns the value of a 32-bit field for a number.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn push_16<const N: usize>(numbers: [u16; N], out: &mut Vec<u8>) {
    out.extend(numbers.into_iter().flat_map(u16::to_le_bytes));
}

fn push_32<const N: usize>(numbers: [u32; N], out: &mut Vec<u8>) {
    out.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
}

fn push_64<const N: usize>(numbers: [u64; N], out: &mut Vec<u8>) {
    out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
}

/// Returns time and date in the format of the headers, which supports the years 1980 to 2107.
fn dos_moment(at: DateTime<Utc>) -> [u16; 2] {
    let (time, date) = match u32::try_from(at.year() - 1980) {
        Ok(year @ 0..=127) => {
            (at.hour() << 11 | at.minute() << 5 | (at.second() / 2), year << 9 | at.month() << 5 | at.day())
        }
        _ => (0, 1 << 5 | 1),
    };
    [time, date].map(|half| u16::try_from(half).unwrap_or_default())
}

#[cfg(test)]
mod tests;

//! Reads the structure of a zip archive and refuses everything that our archives never contain.
//!
//! Readers interpret an irregular archive differently. Here, the end record, the central directory and the local
//! headers must agree, and entries must follow each other without overlap and without a gap.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, bail, ensure};

use crate::entry::Section;

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END_64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR_64_SIGNATURE: u32 = 0x0706_4b50;

const LOCAL_BYTES: u64 = 30;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: u64 = 22;
const END_64_BYTES: u64 = 56;
const LOCATOR_64_BYTES: u64 = 20;

/// Room for tens of thousands of entries. Our archives have two entries for each entity and a few more.
const MAX_CENTRAL_BYTES: u64 = 16 << 20;

/// The only extra field that our archives have: sizes and offsets that need more than 32 bits.
const EXTRA_ZIP64: u16 = 1;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_STREAMED: u16 = 1 << 3;
const FLAG_STRONGLY_ENCRYPTED: u16 = 1 << 6;
const FLAG_MASKED: u16 = 1 << 13;
/// Bits for the compression level, and for a name in UTF-8.
const FLAGS_ALLOWED: u16 = (1 << 1) | (1 << 2) | (1 << 11);

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// One entry, on which its two headers agree.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) data_start: u64,
    pub(crate) compressed: u64,
    /// Its data is not compressed.
    pub(crate) is_stored: bool,
}

/// Returns the entries in the order of the central directory, which must equal the order in the file.
pub(crate) fn entries(file: &Section<'_>) -> anyhow::Result<Vec<Entry>> {
    let end = read_end(file)?;
    ensure!(
        end.central_bytes <= MAX_CENTRAL_BYTES,
        "the central directory has {} bytes, more than {MAX_CENTRAL_BYTES}",
        end.central_bytes
    );
    let central =
        file.read(end.central_start, end.central_bytes).context("the central directory is cut off")?;
    let mut rest = Bytes(&central);
    let mut entries = Vec::new();
    let mut names = HashSet::new();
    let mut next = 0;
    while !rest.0.is_empty() {
        let header = read_central(&mut rest)?;
        let name = &header.name;
        ensure!(names.insert(name.clone()), "the name `{name}` is in the archive twice");
        refuse_strange(&header)?;
        ensure!(header.offset >= next, "the entry `{name}` overlaps the one before it");
        ensure!(header.offset == next, "bytes before the entry `{name}` belong to no entry");
        let data_start = check_local(file, &header)?;
        next = data_start.checked_add(header.compressed).context("an entry is too large")?;
        ensure!(next <= end.central_start, "the entry `{name}` overlaps the central directory");
        entries.push(Entry {
            name: header.name,
            size: header.size,
            data_start,
            compressed: header.compressed,
            is_stored: header.method == STORED,
        });
    }
    ensure!(next == end.central_start, "bytes before the central directory belong to no entry");
    ensure!(
        entries.len() as u64 == end.entries,
        "the archive says that it has {} entries, but has {}",
        end.entries,
        entries.len()
    );
    Ok(entries)
}

/// Returns the place of each entry, by its name.
pub(crate) fn places(entries: &[Entry]) -> HashMap<&str, usize> {
    entries.iter().enumerate().map(|(place, entry)| (entry.name.as_str(), place)).collect()
}

struct End {
    entries: u64,
    central_start: u64,
    central_bytes: u64,
}

/// Reads the end record. Nothing may follow it, not even a comment.
fn read_end(file: &Section<'_>) -> anyhow::Result<End> {
    let not_a_zip = "it does not end as a zip archive does: it is cut off, or no zip archive";
    let start = file.length.checked_sub(END_BYTES).context(not_a_zip)?;
    let block = file.read(start, END_BYTES)?;
    let mut bytes = Bytes(&block);
    ensure!(bytes.u32()? == END_SIGNATURE, not_a_zip);
    let disks = [bytes.u16()?, bytes.u16()?];
    let counts = [bytes.u16()?, bytes.u16()?];
    let (central_bytes, central_start) = (bytes.u32()?, bytes.u32()?);
    ensure!(bytes.u16()? == 0, "the archive has a comment");
    ensure!(disks == [0, 0] && counts[0] == counts[1], "the archive is one of several disks");
    let small = End {
        entries: counts[0].into(),
        central_start: central_start.into(),
        central_bytes: central_bytes.into(),
    };
    let is_large = counts[0] == u16::MAX || central_bytes == u32::MAX || central_start == u32::MAX;
    let (end, follows) = if is_large { read_end_64(file, start)? } else { (small, start) };
    ensure!(
        !is_large
            || end.entries >= u16::MAX.into()
            || [end.central_bytes, end.central_start].iter().any(|number| *number >= u32::MAX.into()),
        "the archive ends as a large one and is none"
    );
    ensure!(
        end.central_start.checked_add(end.central_bytes) == Some(follows),
        "the central directory does not end where the archive says"
    );
    Ok(end)
}

fn read_end_64(file: &Section<'_>, end_start: u64) -> anyhow::Result<(End, u64)> {
    let start = end_start
        .checked_sub(LOCATOR_64_BYTES + END_64_BYTES)
        .context("the end of the large archive is cut off")?;
    let block = file.read(start, END_64_BYTES + LOCATOR_64_BYTES)?;
    let mut bytes = Bytes(&block);
    ensure!(bytes.u32()? == END_64_SIGNATURE, "the end of the large archive is not where it should be");
    ensure!(bytes.u64()? == END_64_BYTES - 12, "the end of the large archive has a strange size");
    let _versions = bytes.u32()?;
    ensure!([bytes.u32()?, bytes.u32()?] == [0, 0], "the archive is one of several disks");
    let counts = [bytes.u64()?, bytes.u64()?];
    let (central_bytes, central_start) = (bytes.u64()?, bytes.u64()?);
    ensure!(bytes.u32()? == LOCATOR_64_SIGNATURE, "the end of the large archive is not where it should be");
    let disk = bytes.u32()?;
    let points_here = bytes.u64()? == start;
    let disks = bytes.u32()?;
    ensure!(points_here && disk == 0 && disks <= 1, "the end of the large archive is not where it should be");
    ensure!(counts[0] == counts[1], "the archive is one of several disks");
    Ok((End { entries: counts[0], central_start, central_bytes }, start))
}

/// Fields that both headers of an entry contain.
struct Header {
    name: String,
    flags: u16,
    method: u16,
    /// Time and date, compared but not interpreted.
    modified: u32,
    crc32: u32,
    compressed: u64,
    size: u64,
    offset: u64,
}

fn read_central(bytes: &mut Bytes<'_>) -> anyhow::Result<Header> {
    ensure!(bytes.0.len() >= CENTRAL_BYTES, "the central directory is cut off");
    ensure!(bytes.u32()? == CENTRAL_SIGNATURE, "the central directory is damaged");
    let _versions = bytes.u32()?;
    let (flags, method, modified, crc32) = (bytes.u16()?, bytes.u16()?, bytes.u32()?, bytes.u32()?);
    let (compressed, size) = (bytes.u32()?, bytes.u32()?);
    let (name, extra, comment) = (bytes.u16()?, bytes.u16()?, bytes.u16()?);
    let disk = bytes.u16()?;
    let _attributes = bytes.take(6)?;
    let offset = bytes.u32()?;
    let name = String::from_utf8(bytes.take(name.into())?.to_vec()).context("a name is not UTF-8")?;
    let extra = bytes.take(extra.into())?;
    ensure!(comment == 0 && disk == 0, "the entry `{name}` has a comment or is on another disk");
    let [size, compressed, offset] = resolve(extra, [size, compressed, offset], &name)?;
    Ok(Header { name, flags, method, modified, crc32, compressed, size, offset })
}

fn refuse_strange(header: &Header) -> anyhow::Result<()> {
    let name = &header.name;
    let encrypted = FLAG_ENCRYPTED | FLAG_STRONGLY_ENCRYPTED | FLAG_MASKED;
    ensure!(header.flags & encrypted == 0, "the entry `{name}` is encrypted");
    ensure!(header.flags & FLAG_STREAMED == 0, "the entry `{name}` was streamed, as our entries never are");
    ensure!(header.flags & !FLAGS_ALLOWED == 0, "the entry `{name}` has unknown flags");
    let method = header.method;
    ensure!(
        method == STORED || method == DEFLATED,
        "the entry `{name}` has the method {method}, neither stored nor deflate"
    );
    ensure!(method == DEFLATED || header.compressed == header.size, "the entry `{name}` has two sizes");
    Ok(())
}

/// Compares the local header with the central one. Returns the offset of the data.
fn check_local(file: &Section<'_>, header: &Header) -> anyhow::Result<u64> {
    let name = &header.name;
    let cut_off = || format!("the entry `{name}` is cut off");
    let block = file.read(header.offset, LOCAL_BYTES).with_context(cut_off)?;
    let mut bytes = Bytes(&block);
    ensure!(bytes.u32()? == LOCAL_SIGNATURE, "the entry `{name}` has no local header");
    let _version = bytes.u16()?;
    let (flags, method, modified, crc32) = (bytes.u16()?, bytes.u16()?, bytes.u32()?, bytes.u32()?);
    let (compressed, size) = (bytes.u32()?, bytes.u32()?);
    let (name_bytes, extra_bytes) = (bytes.u16()?, bytes.u16()?);
    let variable = u64::from(name_bytes) + u64::from(extra_bytes);
    let block = file.read(header.offset + LOCAL_BYTES, variable).with_context(cut_off)?;
    let mut bytes = Bytes(&block);
    let local_name = bytes.take(name_bytes.into())?;
    let [size, compressed] = resolve(bytes.0, [size, compressed], name)?;
    let local = (local_name, flags, method, modified, crc32, compressed, size);
    let central = (
        name.as_bytes(),
        header.flags,
        header.method,
        header.modified,
        header.crc32,
        header.compressed,
        header.size,
    );
    ensure!(local == central, "the two headers of the entry `{name}` differ");
    Ok(header.offset + LOCAL_BYTES + variable)
}

/// Returns the numbers of a header, both sizes first. Numbers that the header marks as large are in its zip64 field,
/// which has no others.
fn resolve<const N: usize>(extra: &[u8], fields: [u32; N], name: &str) -> anyhow::Result<[u64; N]> {
    let mut bytes = Bytes(extra);
    let mut large = Bytes(&[]);
    if !extra.is_empty() {
        let (kind, length) = (bytes.u16()?, bytes.u16()?);
        ensure!(kind == EXTRA_ZIP64, "the entry `{name}` has the unknown extra field {kind:#06x}");
        large = Bytes(bytes.take(length.into())?);
        ensure!(bytes.0.is_empty(), "the entry `{name}` has a second extra field");
    }
    let mut numbers = [0; N];
    for (number, field) in numbers.iter_mut().zip(fields) {
        *number = if field == u32::MAX { large.u64()? } else { field.into() };
    }
    // If one size is large, both are in the zip64 field.
    let needs = |number: &u64| *number >= u32::MAX.into();
    let needed = [numbers[..2].iter().any(needs), numbers[2..].iter().any(needs)];
    let marked = [fields[..2].contains(&u32::MAX), fields[2..].contains(&u32::MAX)];
    let is_tight = large.0.is_empty() && (extra.is_empty() || marked.contains(&true));
    ensure!(is_tight && needed == marked, "the entry `{name}` has a zip64 field that it does not need");
    Ok(numbers)
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, length: usize) -> anyhow::Result<&'b [u8]> {
        let Some((head, rest)) = self.0.split_at_checked(length) else { bail!("a header is cut off") };
        self.0 = rest;
        Ok(head)
    }

    fn u16(&mut self) -> anyhow::Result<u16> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into()?))
    }

    fn u32(&mut self) -> anyhow::Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into()?))
    }

    fn u64(&mut self) -> anyhow::Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into()?))
    }
}

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use zip::ZipArchive;

use super::*;

fn new<W>(out: W) -> Zip<W> {
    Zip::new(out, DateTime::from_timestamp(1_700_000_061, 0).unwrap(), 1)
}

fn write(zip: &mut Zip<impl Read + Write + Seek>, name: &str, contents: &[u8]) {
    let mut entry = zip.begin(name).unwrap();
    entry.write_all(contents).unwrap();
    entry.end().unwrap();
}

fn read(archive: &mut ZipArchive<impl Read + Seek>, name: &str) -> Vec<u8> {
    let mut contents = Vec::new();
    archive.by_name(name).unwrap().read_to_end(&mut contents).unwrap();
    contents
}

/// Returns contents that deflate can hardly compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(step).collect()
}

/// A file whose zeros take no memory.
#[derive(Default)]
struct Sparse {
    blocks: BTreeMap<u64, Vec<u8>>,
    length: u64,
    at: u64,
}

const PAGE: u64 = 1 << 16;

impl Sparse {
    fn place(&self, length: usize) -> (u64, usize, usize) {
        let from = usize::try_from(self.at % PAGE).unwrap();
        (self.at / PAGE, from, (from + length).min(PAGE as usize))
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (page, from, to) = self.place(bytes.len());
        let bytes = &bytes[..to - from];
        if self.blocks.contains_key(&page) || bytes.iter().fold(0, |any, byte| any | byte) != 0 {
            self.blocks.entry(page).or_insert_with(|| vec![0; PAGE as usize])[from..to]
                .copy_from_slice(bytes);
        }
        self.at += bytes.len() as u64;
        self.length = self.length.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length - self.at.min(self.length)).unwrap();
        let (page, from, to) = self.place(buffer.len().min(left));
        match self.blocks.get(&page) {
            Some(block) => buffer[..to - from].copy_from_slice(&block[from..to]),
            None => buffer[..to - from].fill(0),
        }
        self.at += (to - from) as u64;
        Ok(to - from)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(place) => place,
            SeekFrom::End(offset) => self.length.checked_add_signed(offset).unwrap(),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset).unwrap(),
        };
        Ok(self.at)
    }
}

#[test]
fn small_entries_have_no_extra_field_and_the_headers_of_any_zip() {
    let mut zip = new(Cursor::new(Vec::new()));
    write(&mut zip, "a.txt", b"one one one");
    write(&mut zip, "empty", b"");
    let mut other = new(Cursor::new(Vec::new()));
    write(&mut other, "b.txt", &noise(1 << 20));
    zip.append(&mut other).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    assert!(!bytes.windows(4).any(|four| four == b"PK\x06\x06" || four == b"PK\x06\x07"));
    let mut archive = ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(archive.len(), 3);
    for index in 0..3 {
        let entry = archive.by_index(index).unwrap();
        assert_eq!(entry.extra_data(), None, "{:?}", entry.name());
        assert_eq!(entry.last_modified().unwrap().to_string(), "2023-11-14 22:14:20");
        assert_eq!(entry.unix_mode(), Some(0o100_644));
        let local = usize::try_from(entry.header_start()).unwrap();
        assert_eq!(&bytes[local + 28..local + 30], [0, 0], "the length of the local extra field");
        assert_eq!(&bytes[local + 4..local + 8], [20, 0, 0, 0], "version and flags");
    }
    assert_eq!(read(&mut archive, "a.txt"), b"one one one");
    assert_eq!(read(&mut archive, "empty"), b"");
    assert_eq!(read(&mut archive, "b.txt"), noise(1 << 20));
}

#[test]
fn a_stored_entry_holds_its_bytes_as_they_are_between_others() {
    let contents = noise(100_000);
    let mut zip = new(Cursor::new(Vec::new()));
    write(&mut zip, "before", b"before");
    let mut entry = zip.begin_stored("stored").unwrap();
    for piece in contents.chunks(7_777) {
        entry.write_all(piece).unwrap();
    }
    entry.end().unwrap();
    write(&mut zip, "after", b"after");
    let bytes = zip.finish().unwrap().into_inner();
    assert!(bytes.windows(contents.len()).any(|window| window == contents));
    let mut archive = ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(archive.by_name("stored").unwrap().compression(), zip::CompressionMethod::Stored);
    for (name, expected) in [("before", &b"before"[..]), ("stored", &contents), ("after", b"after")] {
        assert_eq!(read(&mut archive, name), expected);
    }
}

#[test]
fn every_level_gives_an_entry_that_opens() {
    for level in 0..=9 {
        let mut zip = Zip::new(Cursor::new(Vec::new()), DateTime::UNIX_EPOCH, level);
        write(&mut zip, "a", &[b'a'; 100_000]);
        let mut archive = ZipArchive::new(zip.finish().unwrap()).unwrap();
        assert_eq!(read(&mut archive, "a"), [b'a'; 100_000]);
        // Before the first year that the format supports.
        assert_eq!(archive.by_index(0).unwrap().last_modified().unwrap().to_string(), "1980-01-01 00:00:00");
    }
}

#[test]
fn an_entry_that_turns_out_larger_than_4_gib_gets_its_field_and_its_data_is_moved() {
    for length in [0, 1, 19, 21, BLOCK_BYTES - 20, BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
        let contents = noise(length);
        let mut zip = new(Cursor::new(Vec::new()));
        write(&mut zip, "before", b"before");
        let mut entry = zip.begin("large").unwrap();
        entry.write_all(&contents).unwrap();
        // Pretend that 4 GiB were written before and compressed to nothing.
        entry.entry.size = 1 << 32;
        entry.end().unwrap();
        write(&mut zip, "after", b"after");
        let bytes = zip.finish().unwrap().into_inner();
        let mut archive = ZipArchive::new(Cursor::new(&bytes)).unwrap();
        assert_eq!(read(&mut archive, "before"), b"before");
        assert_eq!(read(&mut archive, "after"), b"after");
        let (start, data, compressed) = {
            let entry = archive.by_name("large").unwrap();
            assert_eq!(entry.size(), (1 << 32) + length as u64);
            (entry.header_start(), entry.data_start().unwrap(), entry.compressed_size())
        };
        let place = |at: u64| usize::try_from(at).unwrap();
        let field = &bytes[place(start) + LOCAL_BYTES + 5..place(data)];
        let mut expected = vec![1, 0, 16, 0];
        expected.extend(((1 << 32) + length as u64).to_le_bytes());
        expected.extend(compressed.to_le_bytes());
        assert_eq!(field, expected, "one zip64 field and nothing else");
        let mut inflated = Vec::new();
        let deflated = &bytes[place(data)..place(data + compressed)];
        flate2::read::DeflateDecoder::new(deflated).read_to_end(&mut inflated).unwrap();
        assert_eq!(inflated, contents);
        assert_eq!(archive.by_name("after").unwrap().extra_data(), None);
    }
}

#[test]
fn entries_of_and_beyond_4_gib_are_found_where_they_are() {
    const LARGE: u64 = (4 << 30) + 12_345;
    // A file whose only entry claims this size. It holds zeros and takes no memory.
    let name = "csv/large.csv".to_owned();
    let entry =
        EntryHeader { name, method: DEFLATED, offset: 0, crc32: 0, size: 2 * LARGE, compressed: LARGE };
    let mut other = new(Sparse::default());
    let header = entry.local(other.moment).unwrap().len() as u64;
    other.out.length = header + LARGE;
    other.entries.push(entry);
    let mut zip = new(Sparse::default());
    write(&mut zip, "json/small.json", b"[]\n");
    zip.append(&mut other).unwrap();
    write(&mut zip, "manifest.json", &noise(1000));
    let mut archive = ZipArchive::new(zip.finish().unwrap()).unwrap();
    let large = archive.by_name_raw(b"csv/large.csv").unwrap();
    assert_eq!((large.size(), large.compressed_size()), (2 * LARGE, LARGE));
    drop(large);
    assert_eq!(read(&mut archive, "json/small.json"), b"[]\n");
    assert_eq!(read(&mut archive, "manifest.json"), noise(1000));
    let beyond = archive.by_name("manifest.json").unwrap();
    assert!(beyond.header_start() > LARGE);
    // Only the offset in the directory needs the field: an identifier, a length, and one number.
    let expected = [&[1, 0, 8, 0][..], &beyond.header_start().to_le_bytes()].concat();
    let place = beyond.central_header_start() + 46 + "manifest.json".len() as u64;
    drop(beyond);
    let mut file = archive.into_inner();
    file.seek(SeekFrom::Start(place)).unwrap();
    let mut field = vec![0; expected.len()];
    file.read_exact(&mut field).unwrap();
    assert_eq!(field, expected);
}

//! Bytes that an archive carries behind the end of an entry's data are seen, though no reader would show them.

use std::io::{Cursor, Read as _};

use export_activities::serialise::ValueKind;
use export_verify::verify;
use zip::ZipArchive;

use crate::support::sample::{contents, entity, row, write};

const JUNK: &[u8] = b"another file";

#[tokio::test]
async fn bytes_behind_the_end_of_a_deflate_stream_are_refused_in_every_kind_of_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text)];
    let rows = vec![row(1, Some("plain")), row(2, None)];
    write(contents(vec![entity("users", columns)]), vec![rows], &path).await;
    let sound = std::fs::read(&path).unwrap();
    verify(&path, None).unwrap();
    for name in ["README.txt", "data-dictionary.csv", "json/users.json", "csv/users.csv", "manifest.json"] {
        let changed = with_junk(&sound, name);
        // An ordinary reader returns the same contents as before.
        assert_eq!(read(&changed, name), read(&sound, name));
        std::fs::write(&path, &changed).unwrap();
        let error = format!("{:#}", verify(&path, None).unwrap_err());
        let expected = format!("`{name}` has {} bytes behind the end of its deflate stream", JUNK.len());
        assert!(error.contains(&expected), "{error}");
    }
}

fn read(archive: &[u8], name: &str) -> Vec<u8> {
    let mut zip = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut contents = Vec::new();
    zip.by_name(name).unwrap().read_to_end(&mut contents).unwrap();
    contents
}

/// Puts the junk behind the data of an entry and mends everything that counts bytes.
fn with_junk(archive: &[u8], name: &str) -> Vec<u8> {
    let mut zip = ZipArchive::new(Cursor::new(archive)).unwrap();
    let directory = usize::try_from(zip.central_directory_start()).unwrap();
    let (local, end) = {
        let entry = zip.by_name(name).unwrap();
        let end = entry.data_start().unwrap() + entry.compressed_size();
        (usize::try_from(entry.header_start()).unwrap(), usize::try_from(end).unwrap())
    };
    let mut bytes = archive.to_vec();
    let add = |bytes: &mut [u8], place: usize| {
        let field = &mut bytes[place..place + 4];
        let value = u32::from_le_bytes(field.try_into().unwrap()) + u32::try_from(JUNK.len()).unwrap();
        field.copy_from_slice(&value.to_le_bytes());
    };
    // A header may have the size in an extra field, behind the size before compression.
    let add_to_size = |bytes: &mut [u8], small: usize, name_at: usize| {
        let is_large = bytes[small..small + 4] == [0xFF; 4];
        add(bytes, if is_large { name_at + name.len() + 4 + 8 } else { small });
    };
    add_to_size(&mut bytes, local + 18, local + 30);
    // In the central directory, the size of this entry and the places of those behind it.
    let mut place = directory;
    while bytes[place..place + 4] == *b"PK\x01\x02" {
        let length = |at: usize| usize::from(u16::from_le_bytes([bytes[place + at], bytes[place + at + 1]]));
        let next = place + 46 + length(28) + length(30) + length(32);
        let offset = u32::from_le_bytes(bytes[place + 42..place + 46].try_into().unwrap());
        match (offset as usize).cmp(&local) {
            std::cmp::Ordering::Equal => add_to_size(&mut bytes, place + 20, place + 46),
            std::cmp::Ordering::Greater => add(&mut bytes, place + 42),
            std::cmp::Ordering::Less => {}
        }
        place = next;
    }
    add(&mut bytes, archive.len() - 22 + 16);
    bytes.splice(end..end, JUNK.iter().copied());
    bytes
}

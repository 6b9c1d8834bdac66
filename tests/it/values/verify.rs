//! `verify` accepts what the engine writes and names the first difference in everything else.

use std::{
    io::{Cursor, Read as _, Write as _},
    path::Path,
};

use export_activities::serialise::ValueKind;
use export_verify::verify;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::support::sample::{contents, entity, row, write};

/// The entries of an archive, to be changed and put together again.
pub(super) type Parts = Vec<(String, Vec<u8>)>;

/// Breaks one promise.
type Change = Box<dyn Fn(&mut Parts)>;

#[tokio::test]
async fn a_sound_archive_is_accepted_and_a_rebuilt_one_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    let report = verify(&path, None).unwrap();
    assert_eq!(report.entities.iter().map(|entity| entity.rows).collect::<Vec<_>>(), [3, 0]);
    assert_eq!(report.files, 12);
    assert_eq!(report.sha256, hex::encode(Sha256::digest(&bytes)));
    verify(&path, Some(&report.sha256.to_uppercase())).unwrap();
    // What the controls below are built with leaves nothing behind that is refused by itself.
    std::fs::write(&path, join(redigested(parts(&bytes)))).unwrap();
    verify(&path, None).unwrap();
}

#[tokio::test]
async fn another_archive_than_the_delivered_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    sound(&path).await;
    let error = |sha256: &str| format!("{:#}", verify(&path, Some(sha256)).unwrap_err());
    assert!(error(&"0".repeat(64)).contains("not the expected one"));
    assert!(error("12").contains("not 64 hexadecimal digits"));
}

#[tokio::test]
async fn contents_that_do_not_agree_are_refused_even_with_right_digests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    let edit = |name: &'static str, from: &'static str, to: &'static str| {
        move |parts: &mut Parts| {
            let (_, text) = parts.iter_mut().find(|(entry, _)| entry == name).unwrap();
            let old = String::from_utf8(text.clone()).unwrap();
            assert!(old.contains(from), "{old}");
            *text = old.replacen(from, to, 1).into_bytes();
        }
    };
    let manifest = |pointer: &'static str, value: Value| {
        move |parts: &mut Parts| {
            let (_, text) = parts.last_mut().unwrap();
            let mut manifest: Value = serde_json::from_slice(text).unwrap();
            *manifest.pointer_mut(pointer).unwrap() = value.clone();
            *text = serde_json::to_vec(&manifest).unwrap();
        }
    };
    let controls: Vec<(Change, &str)> = vec![
        (
            Box::new(edit("csv/users.csv", "plain", "plaim")),
            "`users`, row 2, column `text`: JSON and CSV differ",
        ),
        (Box::new(edit("csv/users.csv", "plain", "plain ")), "JSON and CSV differ"),
        (Box::new(edit("csv/users.csv", "plain", "plai")), "JSON and CSV differ"),
        (Box::new(edit("csv/users.csv", "plain", "'plain")), "need not be neutralised"),
        (Box::new(edit("csv/users.csv", "\"'=1,", "\"=1,")), "should be neutralised"),
        (Box::new(edit("csv/users.csv", ";'@3", ";@3")), "should be neutralised"),
        (Box::new(edit("csv/users.csv", "2,plain", "2,plai;n")), "has to be quoted is not"),
        (Box::new(edit("csv/users.csv", "2,plain", "2,plai\tn")), "has to be quoted is not"),
        (Box::new(edit("csv/users.csv", "3,\r\n", "3,\"\"\r\n")), "one of JSON and CSV has no value"),
        (Box::new(edit("csv/users.csv", "3,\r\n", "")), "differ in their number of rows after 2"),
        (Box::new(edit("csv/users.csv", "3,\r\n", "3,\r\n4,\r\n")), "differ in their number of rows after 3"),
        (Box::new(edit("csv/users.csv", "2,plain\r\n", "2,plain\n")), "has to be quoted is not"),
        (Box::new(edit("csv/users.csv", "2,plain\r\n", "2,plain,\r\n")), "more or fewer fields"),
        (Box::new(edit("csv/users.csv", "\u{feff}", "")), "byte order mark"),
        (Box::new(edit("csv/users.csv", "id,text", "id,txet")), "header does not name the column `text`"),
        (
            Box::new(edit("json/users.json", "{\"id\":2", "{\"ID\":2")),
            "`users`, row 2, column `id`: the JSON key",
        ),
        (Box::new(edit("json/users.json", "\"id\":2", "\"id\": 2")), "white space"),
        (Box::new(edit("json/users.json", ",\n{\"id\":2", ",{\"id\":2")), "on a separate line"),
        (Box::new(edit("json/users.json", "\n]\n", "\n]")), "does not end well"),
        (Box::new(edit("json/users.json", "\"plain\"", "[\"plain\"]")), "nested"),
        (Box::new(edit("json/projects.json", "[]", "{}")), "no JSON array"),
        (Box::new(manifest("/files/3/rows", json!(4))), "two row counts"),
        // Only files with rows are digested while they are compared.
        (
            Box::new(manifest(
                "/files/0",
                json!({"name": "README.txt", "rows": 1, "bytes": 0, "sha256": ""}),
            )),
            "says that `README.txt` has rows",
        ),
        (
            Box::new(manifest("/entities/0/columns/1/neutralised", json!(2))),
            "1 neutralised cells, the manifest says 2",
        ),
        (
            Box::new(manifest("/entities/0/columns/1/cells_over_32767_characters", json!(1))),
            "0 cells too long for Excel, the manifest says 1",
        ),
        (Box::new(manifest("/entities/0/exceeds_excel_rows", json!(true))), "whether Excel shows"),
        (
            Box::new(manifest("/entities/0/columns/0/written_type", Value::Null)),
            "in which type each column is written",
        ),
        (
            Box::new(manifest(
                "/entities/0/columns/1",
                json!({"name": "text", "type": "date", "written_type": "date", "about": "", "treatment": "exported",
                    "csv": "value", "neutralised": 1, "cells_over_32767_characters": 0,
                    "cells_outside_years_1_to_9999": 7}),
            )),
            "cells outside the years 1 to 9999, the manifest says 7",
        ),
        (Box::new(manifest("/entities/0/name", json!("../users"))), "not the name of an entity"),
        (Box::new(manifest("/format", json!("other/1"))), "format `other/1`"),
        (Box::new(manifest("/files/0/name", json!("README.md"))), "`README.txt` is not in the manifest"),
        (
            Box::new(|parts| parts.insert(1, ("evil.exe".to_owned(), vec![0]))),
            "`evil.exe` is not in the manifest",
        ),
        (
            Box::new(|parts| drop(parts.remove(3))),
            "`json/users.json` is in the manifest, but not in the archive",
        ),
        (Box::new(|parts| parts.swap(0, 1)), "another order"),
        (Box::new(|parts| parts.rotate_right(1)), "last entry is not `manifest.json`"),
    ];
    for (change, expected) in controls {
        let mut changed = parts(&bytes);
        change(&mut changed);
        refused(&path, &join(redigested(changed)), expected);
    }
}

#[tokio::test]
async fn wrong_digests_and_sizes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    for (index, name) in ["README.txt", "NOTICE.txt", "data-dictionary.csv"].into_iter().enumerate() {
        let mut changed = parts(&bytes);
        changed[index].1[0] ^= 1;
        refused(&path, &join(changed), &format!("the SHA-256 of `{name}`"));
        let mut changed = parts(&bytes);
        changed[index].1.push(b' ');
        refused(&path, &join(changed), &format!("`{name}` has "));
    }
    // Both formats changed alike: they agree, but not with the manifest.
    let mut changed = parts(&bytes);
    for (name, text) in &mut changed {
        if name.ends_with("users.json") || name.ends_with("users.csv") {
            *text = String::from_utf8(text.clone()).unwrap().replace("plain", "plaim").into_bytes();
        }
    }
    refused(&path, &join(changed), "the SHA-256 of `json/users.json`");
}

#[tokio::test]
async fn strange_zip_structures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    // Places in both headers of the first entry, whose local header stands at 0.
    let central = find(&bytes, b"PK\x01\x02");
    let patched = |places: &[(usize, u8)]| {
        let mut bytes = bytes.clone();
        for &(place, value) in places {
            bytes[place] = value;
        }
        bytes
    };
    refused(&path, &patched(&[(6, 1), (central + 8, 1)]), "`README.txt` is encrypted");
    refused(&path, &patched(&[(6, 8), (central + 8, 8)]), "`README.txt` was streamed");
    refused(&path, &patched(&[(8, 12), (central + 10, 12)]), "method 12");
    refused(&path, &patched(&[(30, b'X')]), "the two headers of the entry `README.txt` differ");
    refused(&path, &patched(&[(10, 0xFF)]), "the two headers of the entry `README.txt` differ");
    refused(&path, &patched(&[(central + 16, !bytes[central + 16])]), "the two headers");
    refused(
        &path,
        &patched(&[(14, 0), (central + 16, 0)]),
        "the CRC-32 of `README.txt` differs from its header",
    );
    refused(&path, &patched(&[(central + 42, 1)]), "bytes before the entry");
    let second = central + 1 + find(&bytes[central + 1..], b"PK\x01\x02");
    let overlapping = [0, 1, 2, 3].map(|byte| (second + 42 + byte, 0));
    refused(&path, &patched(&overlapping), "overlaps the one before it");
    // A second README.txt instead of NOTICE.txt, in both of its headers.
    let mut doubled = bytes.clone();
    for place in positions(&bytes, b"NOTICE.txt") {
        doubled[place..place + 10].copy_from_slice(b"README.txt");
    }
    refused(&path, &doubled, "the name `README.txt` is in the archive twice");
    refused(&path, &[&bytes[..], b"tail"].concat(), "does not end as a zip archive does");
    refused(&path, &[b"head", &bytes[..]].concat(), "the central directory");
    refused(&path, b"", "does not end as a zip archive does");
    refused(&path, b"%PDF-1.7 and more bytes than the end of an archive has", "does not end as a zip");
    for length in [1, 100, bytes.len() / 2, bytes.len() - 23, bytes.len() - 1] {
        refused(&path, &bytes[..length], "does not end as a zip archive does");
    }
    let mut wrong_count = bytes.clone();
    let end = bytes.len() - 22;
    wrong_count[end + 8] += 1;
    wrong_count[end + 10] += 1;
    refused(&path, &wrong_count, "says that it has 13 entries, but has 12");
}

#[tokio::test]
async fn a_zip64_field_that_is_not_needed_or_doubled_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    let needless = "the entry `README.txt` has a zip64 field that it does not need";
    // As the zip crate writes an entry that may be large.
    let large = join_with(parts(&bytes), SimpleFileOptions::default().large_file(true));
    refused(&path, &large, needless);
    // The same in the local header alone, then in the central one alone, then an empty field, then two of them.
    let central = find(&bytes, b"PK\x01\x02");
    let field = |numbers: &[u64]| {
        let contents: Vec<u8> = numbers.iter().copied().flat_map(u64::to_le_bytes).collect();
        [&[1, 0][..], &u16::try_from(contents.len()).unwrap().to_le_bytes(), &contents].concat()
    };
    let number = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    let (compressed, size) = (number(18), number(22));
    let with_field =
        |header: usize, sizes: usize, length: usize, name: usize, field: &[u8], is_marked: bool| {
            let mut changed = bytes.clone();
            if is_marked {
                changed[header + sizes..header + sizes + 8].fill(0xFF);
            }
            changed[header + length] = u8::try_from(field.len()).unwrap();
            let place = header + name + "README.txt".len();
            changed.splice(place..place, field.iter().copied());
            changed
        };
    let in_local = |field: &[u8], is_marked| {
        let mut changed = with_field(0, 18, 28, 30, field, is_marked);
        // Everything behind it lies further on.
        let end = changed.len() - 22;
        let mut place = central + field.len();
        add(&mut changed, end + 16, field.len());
        let mut is_first = true;
        while changed[place..place + 4] == *b"PK\x01\x02" {
            if !std::mem::take(&mut is_first) {
                add(&mut changed, place + 42, field.len());
            }
            place += 46 + usize::from(changed[place + 28]) + usize::from(changed[place + 30]);
        }
        changed
    };
    let in_central = |field: &[u8], is_marked| {
        let mut changed = with_field(central, 20, 30, 46, field, is_marked);
        let end = changed.len() - 22;
        add(&mut changed, end + 12, field.len());
        changed
    };
    for change in [&in_local as &dyn Fn(&[u8], bool) -> Vec<u8>, &in_central] {
        refused(&path, &change(&field(&[size, compressed]), true), needless);
        refused(&path, &change(&field(&[size, compressed]), false), needless);
        refused(&path, &change(&field(&[]), false), needless);
        let doubled = field(&[size, compressed]).repeat(2);
        refused(&path, &change(&doubled, true), "the entry `README.txt` has a second extra field");
    }
}

#[tokio::test]
async fn a_value_that_no_strict_reader_takes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let columns = vec![("id", ValueKind::Int4), ("doc", ValueKind::Json), ("list", ValueKind::Jsonb)];
    let half = r#"{"a":["\ud800",-1.5e+3,true,{}],"b;":null}"#;
    let cells = |id: i32, doc: &str| {
        vec![Some(id.to_be_bytes().to_vec()), Some(doc.as_bytes().to_vec()), Some(b"\x01[]".to_vec())]
    };
    let rows = vec![cells(1, half), cells(2, r#""\\ud800""#), cells(3, "0")];
    write(contents(vec![entity("users", columns)]), vec![rows], &path).await;
    let bytes = std::fs::read(&path).unwrap();
    verify(&path, None).unwrap();
    let json = String::from_utf8(parts(&bytes)[3].1.clone()).unwrap();
    let written = r#"{"a":["\\ud800",-1.5e+3,true,{}],"b;":null}"#;
    assert!(json.contains(written), "{json}");
    // Both files with another token in the first row, so that they agree.
    let with = |token: &[u8]| {
        let mut changed = parts(&bytes);
        let quoted: Vec<u8> =
            token.iter().flat_map(|&byte| vec![byte; 1 + usize::from(byte == b'"')]).collect();
        let quoted: Vec<u8> = quoted.split(|&byte| byte == b';').collect::<Vec<_>>().join(&b"\\u003b"[..]);
        let field = format!("\"{}\"", written.replace('"', "\"\"").replace(';', "\\u003b"));
        for (index, from, to) in
            [(3, written.to_owned(), token.to_vec()), (4, field, [b"\"", &quoted[..], b"\""].concat())]
        {
            let text = &mut changed[index].1;
            let place = find(text, from.as_bytes());
            text.splice(place..place + from.len(), to);
        }
        changed
    };
    let alone = "there is a lone half of a character";
    let unreadable = "the JSON value is not readable";
    for (token, expected) in [
        (half, alone),
        (r#"{"a":"\udc00"}"#, alone),
        (r#"{"a":"\ud800\u0041"}"#, alone),
        (r#"{"a":01}"#, "starts with a zero"),
        (r#"{"a":1.}"#, "lacks digits"),
        (r#"{"a":-}"#, "lacks digits"),
        (r#"{"a":1e}"#, "lacks digits"),
        (r#"{"a":nul}"#, unreadable),
        (r#"{"a":NaN}"#, unreadable),
        (r#"{"a"}"#, unreadable),
        (r#"{a:1}"#, unreadable),
        (r#"{"a":1,}"#, unreadable),
        (r#"[1,]"#, unreadable),
        (r#"[1}"#, unreadable),
        (r#"[1 ]"#, "white space"),
        ("\"a\u{1}\"", "control character"),
        (r#""\x""#, "escape is unknown"),
        (r#""\u12g4""#, "escape is unknown"),
    ] {
        refused(&path, &join(redigested(with(token.as_bytes()))), expected);
    }
    refused(&path, &join(redigested(with(b"\"\xffabc\""))), "the JSON string is not UTF-8");
    // What looks like an escaped half in the file was there before, and is escaped too: two cells.
    let mut changed = parts(&bytes);
    let manifest = String::from_utf8(changed.last().unwrap().1.clone()).unwrap();
    let fewer = manifest.replace("\"cells_with_escaped_halves\": 2", "\"cells_with_escaped_halves\": 1");
    assert_ne!(manifest, fewer);
    changed.last_mut().unwrap().1 = fewer.into_bytes();
    refused(&path, &join(redigested(changed)), "2 cells with escaped halves, the manifest says 1");
}

#[tokio::test]
async fn a_name_in_an_error_cannot_write_to_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut changed = parts(&sound(&path).await);
    changed.insert(1, (format!("\u{1b}[2J\u{202e}{}", "x".repeat(5000)), vec![0]));
    std::fs::write(&path, join(redigested(changed))).unwrap();
    let error = format!("{:#}", verify(&path, None).unwrap_err());
    assert!(error.contains(r"the entry `\u{1b}[2J\u{202e}xxx"), "{error}");
    assert!(!error.contains('\u{1b}') && error.len() < 1000, "{error:?}");
}

#[tokio::test]
async fn no_truncation_and_no_flipped_bit_changes_the_contents_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let bytes = sound(&path).await;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    let contents = parts(&bytes);
    let mut harmless = 0;
    // A prime step meets every field of the headers in one entry or another, in a fraction of the time.
    for place in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        std::fs::write(&path, &changed).unwrap();
        // Versions, attributes and the compressor's choice between equal repetitions say nothing of the contents.
        if verify(&path, None).is_ok() {
            assert_eq!(parts(&changed), contents, "byte {place} of {} is not looked at", bytes.len());
            assert!(verify(&path, Some(&sha256)).is_err());
            harmless += 1;
        }
    }
    assert!(harmless < bytes.len() / 140, "{harmless} bytes mean nothing");
    for length in (0..bytes.len()).step_by(7) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(verify(&path, None).is_err(), "cut to {length}");
    }
}

#[tokio::test]
async fn a_list_of_digests_that_differs_from_the_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut changed = parts(&sound(&path).await);
    let (_, sums) = changed.iter_mut().find(|(name, _)| name == "SHA256SUMS").unwrap();
    sums[0] = if sums[0] == b'0' { b'1' } else { b'0' };
    let digest = hex::encode(Sha256::digest(&sums));
    let mut manifest: Value = serde_json::from_slice(&changed.last().unwrap().1).unwrap();
    manifest["files"].as_array_mut().unwrap().last_mut().unwrap()["sha256"] = json!(digest);
    changed.last_mut().unwrap().1 = serde_json::to_vec(&manifest).unwrap();
    refused(&path, &join(changed), "`SHA256SUMS` differs from the manifest");
}

#[test]
fn an_archive_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    refused(
        &path,
        &join(vec![("hello.txt".to_owned(), b"hello".to_vec())]),
        "last entry is not `manifest.json`",
    );
    let foreign = vec![("manifest.json".to_owned(), b"{\"version\": 3}".to_vec())];
    refused(&path, &join(foreign), "`manifest.json` is not readable");
    refused(&path, &join(Vec::new()), "last entry is not `manifest.json`");
    let error = verify(&folder.path().join("nowhere.zip"), None).unwrap_err();
    assert!(format!("{error:#}").contains("failed to open it"), "{error:#}");
}

pub(crate) async fn sound(path: &Path) -> Vec<u8> {
    let columns = vec![("id", ValueKind::Int4), ("text", ValueKind::Text)];
    let entities = vec![entity("users", columns.clone()), entity("projects", columns)];
    let users = vec![row(1, Some("=1,\"2\";@3")), row(2, Some("plain")), row(3, None)];
    write(contents(entities), vec![users, Vec::new()], path).await;
    std::fs::read(path).unwrap()
}

pub(crate) fn refused(path: &Path, bytes: &[u8], expected: &str) {
    std::fs::write(path, bytes).unwrap();
    let error = format!("{:#}", verify(path, None).expect_err(expected));
    assert!(error.contains(expected), "{error}\ndoes not say: {expected}");
}

pub(crate) fn parts(bytes: &[u8]) -> Parts {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut parts = Parts::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).unwrap();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        parts.push((entry.name().unwrap().into_owned(), contents));
    }
    parts
}

/// Adds to a number of 32 bits.
fn add(bytes: &mut [u8], place: usize, by: usize) {
    let field = &mut bytes[place..place + 4];
    let value = u32::from_le_bytes(field.try_into().unwrap()) + u32::try_from(by).unwrap();
    field.copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn join(parts: Parts) -> Vec<u8> {
    join_with(parts, SimpleFileOptions::default())
}

fn join_with(parts: Parts, options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in parts {
        // These are compressed already.
        let is_stored = name == "export.xlsx" || name.starts_with("parquet/");
        let method = if is_stored { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let options = options.compression_method(method);
        zip.start_file(name, options).unwrap();
        zip.write_all(&contents).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Puts the right sizes and digests into the manifest.
pub(crate) fn redigested(mut parts: Parts) -> Parts {
    let place = parts.iter().position(|(name, _)| name == "manifest.json").unwrap();
    let mut manifest: Value = serde_json::from_slice(&parts[place].1).unwrap();
    for file in manifest["files"].as_array_mut().unwrap() {
        if let Some((_, contents)) = parts.iter().find(|(name, _)| file["name"] == json!(name)) {
            file["bytes"] = json!(contents.len());
            file["sha256"] = json!(hex::encode(Sha256::digest(contents)));
        }
    }
    let files = manifest["files"].as_array_mut().unwrap();
    let sums = parts.iter_mut().find(|(name, _)| name == "SHA256SUMS");
    if let (Some((_, sums)), Some((last, others))) = (sums, files.split_last_mut()) {
        let lines = others.iter().map(|file| {
            format!("{}  {}\n", file["sha256"].as_str().unwrap(), file["name"].as_str().unwrap())
        });
        *sums = lines.collect::<String>().into_bytes();
        last["bytes"] = json!(sums.len());
        last["sha256"] = json!(hex::encode(Sha256::digest(&sums)));
    }
    parts[place].1 = serde_json::to_vec(&manifest).unwrap();
    parts
}

fn positions(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    bytes
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| at)
        .collect()
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    positions(bytes, wanted)[0]
}

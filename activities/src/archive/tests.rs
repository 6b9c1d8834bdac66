//! Archives of rows that no server sent.

use std::{
    io::Read as _,
    sync::atomic::{AtomicBool, Ordering},
};

use uuid::Uuid;

use super::*;
use crate::{
    catalogue::{Facts, Options},
    serialise::{
        Column, Treatment as Treat, ValueKind,
        formats::{FormatName, Formats},
        parts::{Parts, Use},
    },
    store::Checksum,
};

type Values = Vec<Option<Vec<u8>>>;

fn contents() -> Contents {
    let column = |name: &str, kind, treatment| Column {
        name: name.to_owned(),
        kind,
        treatment,
        pg_type: "some type".to_owned(),
        about: "something, \"quoted\"".to_owned(),
        why: String::new(),
    };
    let entity = |name: &str| EntityContents {
        name: name.to_owned(),
        relation: format!("public.{name}"),
        about: format!("Your {name}."),
        columns: vec![
            column("id", ValueKind::Int4, Treat::Export),
            column("text", ValueKind::Text, Treat::Export),
        ],
        omitted: vec![Omitted {
            name: "secret".to_owned(),
            pg_type: "text".to_owned(),
            why: "It is a secret.".to_owned(),
        }],
        order: vec![0],
        primary_key: vec![0],
        facts: Facts { purpose: Some("To show it.".to_owned()), ..Facts::default() },
        options: Options::default(),
    };
    Contents {
        request_id: Uuid::from_u128(1),
        user_id: Uuid::from_u128(2).into(),
        requested_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        snapshot_at: DateTime::from_timestamp(1_700_000_060, 123_456_000).unwrap(),
        database_version: "15.0".to_owned(),
        catalogue_sha256: "00".to_owned(),
        catalogue_version: None,
        pseudonym_salt: b"salt".to_vec(),
        notice: Some(b"Notice.\r\n".to_vec()),
        deflate_level: 1,
        checksum: Checksum::Crc64Nvme,
        entities: vec![entity("users"), entity("projects")],
        account: 0,
        scope: None,
        formats: Formats::default(),
        file_sets: Vec::new(),
        left_out: vec![LeftOut {
            relation: "public.invoices".to_owned(),
            why: "They are elsewhere.".to_owned(),
        }],
    }
}

fn row(id: i32, text: &str) -> Values {
    vec![Some(id.to_be_bytes().to_vec()), Some(text.as_bytes().to_vec())]
}

fn spool(quota: u64) -> (tempfile::TempDir, Spool) {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::new(&directory.path().join("spool"), quota).unwrap();
    (directory, spool)
}

async fn write(spool: &Spool, pulse: &Pulse, rows: impl Iterator<Item = Values>) -> anyhow::Result<Archive> {
    write_as(contents(), spool, pulse, rows).await
}

fn with(format: FormatName) -> Contents {
    Contents { formats: Formats::with([format]), ..contents() }
}

async fn write_as(
    contents: Contents,
    spool: &Spool,
    pulse: &Pulse,
    rows: impl Iterator<Item = Values>,
) -> anyhow::Result<Archive> {
    let mut writer = ArchiveWriter::create(contents, spool, pulse)?;
    for row in rows {
        writer.row(0, row).await?;
    }
    writer.finish().await
}

/// Bytes that compress badly, so that the spool really grows.
fn noise(length: usize) -> String {
    noise_of(1, length)
}

/// Text that no compression makes much smaller, another one for each seed.
fn noise_of(seed: i32, length: usize) -> String {
    let mut state = u64::from(seed.unsigned_abs());
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 90)
    };
    (0..length).map(|_| letter()).collect()
}

#[tokio::test]
async fn entries_stand_in_their_order_and_the_manifest_tells_all_of_them() {
    let (_directory, spool) = spool(1 << 20);
    let rows = [row(1, "=1"), row(2, &"x".repeat(40_000))];
    let archive = write(&spool, &Pulse::default(), rows.into_iter()).await.unwrap();
    assert_eq!(archive.row_counts, BTreeMap::from([("users".to_owned(), 2), ("projects".to_owned(), 0)]));
    let mut zip = zip::ZipArchive::new(archive.file).unwrap();
    let names = [
        "README.txt",
        "NOTICE.txt",
        "data-dictionary.csv",
        "json/users.json",
        "json/projects.json",
        "csv/users.csv",
        "csv/projects.csv",
        "index.html",
        "datapackage.json",
        "import/postgresql.sql",
        "SHA256SUMS",
        "manifest.json",
    ];
    assert_eq!(zip.file_names().map(Result::unwrap).collect::<Vec<_>>(), names);
    let mut text = |name: &str| {
        let mut text = String::new();
        let mut entry = zip.by_name(name).unwrap();
        assert_eq!(entry.last_modified().unwrap().to_string(), "2023-11-14 22:14:20", "{name}");
        entry.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(text("json/projects.json"), "[]\n");
    assert_eq!(text("csv/projects.csv"), "\u{feff}id,text\r\n");
    assert!(text("json/users.json").starts_with("[\n{\"id\":1,\"text\":\"=1\"},\n{\"id\":2,\"text\":\"xxx"));
    assert!(text("csv/users.csv").starts_with("\u{feff}id,text\r\n1,'=1\r\n2,xxx"));
    let readme = text("README.txt");
    assert_eq!(readme.matches('\n').count(), readme.matches("\r\n").count());
    assert!(readme.contains("2023-11-14T22:14:20.123456Z (UTC)") && !readme.contains('{'), "{readme}");
    assert!(readme.contains("WHAT IT IS USED FOR\r\n\r\n- users. Used for: To show it.\r\n"), "{readme}");
    assert!(readme.contains("- public.invoices: They are elsewhere."), "{readme}");
    assert!(
        text("data-dictionary.csv").contains("users,id,some type,exported,\"something, \"\"quoted\"\"\"\r\n")
    );
    let manifest: Manifest = serde_json::from_str(&text("manifest.json")).unwrap();
    assert_eq!(
        manifest.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        names[..names.len() - 1]
    );
    let counted = &manifest.entities[0].columns[1];
    assert_eq!((counted.neutralised, counted.cells_over_32767_characters), (1, 1));
    assert_eq!(manifest.entities[0].rows, 2);
}

#[test]
fn the_readme_promises_only_what_the_catalogue_does() {
    let readme =
        |contents: &Contents| String::from_utf8(texts::readme(contents)).unwrap().replace("\r\n", "\n");
    let plain = readme(&contents());
    for word in ["pseudonym", "member-", "half a character", "addresses and the like", "{"] {
        assert!(!plain.contains(word), "`{word}` in {plain}");
    }
    assert!(plain.contains("\n\nOTHER PEOPLE\n\nTexts that other people wrote, such as"), "{plain}");
    let mut contents = contents();
    let mut by = contents.entities[1].columns[0].clone();
    (by.name, by.kind, by.treatment) = ("by".to_owned(), ValueKind::Uuid, Treat::Pseudonym);
    let mut odd = by.clone();
    (odd.name, odd.treatment) = ("odd".to_owned(), Treat::Export);
    odd.kind = ValueKind::Array(Box::new(ValueKind::Json));
    contents.entities[1].columns.extend([by, odd]);
    let readme = readme(&contents);
    assert!(readme.contains("replaced by a pseudonym such as member-0123456789abcdef in\nthese columns:\n\n- projects, column by\n\nThe same person"), "{readme}");
    assert!(readme.contains("half a character, \\ud800 to \\udfff,"), "{readme}");
}

#[tokio::test]
async fn the_same_rows_give_the_same_bytes_whatever_the_batches() {
    let (_directory, spool) = spool(8 << 20);
    let rows = || (0..5000).map(|id| row(id, &noise(id as usize % 700)));
    let first = write(&spool, &Pulse::default(), rows()).await.unwrap();
    let second = write(&spool, &Pulse::default(), rows()).await.unwrap();
    assert_eq!(first.sha256, second.sha256);
    assert_eq!(first.sum, second.sum);
    let other = write(&spool, &Pulse::default(), rows().skip(1)).await.unwrap();
    assert_ne!(first.sha256, other.sha256);
    assert_eq!(spool.used(), first.bytes + second.bytes + other.bytes);
    drop((first, second, other));
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn an_unreadable_value_ends_the_archive_and_names_its_row() {
    let (_directory, spool) = spool(1 << 20);
    let rows = (0..100_000).map(|id| {
        let mut row = row(id, "text");
        if id == 1234 {
            row[1] = Some(b"\xff".to_vec());
        }
        row
    });
    let error = write(&spool, &Pulse::default(), rows).await.unwrap_err();
    let verdict = crate::failure::judge(&error);
    assert_eq!(verdict.code, "unreadable_value");
    assert!(verdict.detail.contains("`text` of `public.users`, row with key `1234`"), "{verdict}");
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn the_page_shows_the_account_however_long_its_row_is() {
    let (_directory, spool) = spool(64 << 20);
    let long = "ü".repeat(300_000);
    let archive =
        write(&spool, &Pulse::default(), [row(7, &long), row(8, "later")].into_iter()).await.unwrap();
    let mut zip = zip::ZipArchive::new(archive.file).unwrap();
    let mut page = String::new();
    zip.by_name("index.html").unwrap().read_to_string(&mut page).unwrap();
    assert!(page.contains("Your account") && page.contains(">7</td>"), "{page}");
    assert!(page.contains(&format!("{}<span class=\"cut\">", "ü".repeat(120))), "{page}");
    // One row was read for the page, and the second was not.
    assert!(!page.contains("later"));
}

#[tokio::test]
async fn the_csv_part_takes_of_the_quota_too_until_the_archive_is_complete() {
    let rows = || (0..4000).map(|id| row(id, &noise(2000)));
    let (_directory, roomy) = spool(64 << 20);
    let archive = write(&roomy, &Pulse::default(), rows()).await.unwrap();
    assert_eq!(roomy.used(), archive.bytes);
    // Half of the archive is CSV, which is in the spool twice at the end.
    let (_directory, tight) = spool(archive.bytes + archive.bytes / 4);
    let error = write(&tight, &Pulse::default(), rows()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Failure::SpoolQuotaExceeded { .. })), "{error:?}");
    let (_directory, enough) = spool(archive.bytes + archive.bytes * 3 / 5);
    write(&enough, &Pulse::default(), rows()).await.unwrap();
}

#[tokio::test]
async fn a_further_format_takes_of_the_quota_too_and_is_always_the_same() {
    for format in [FormatName::Xlsx, FormatName::Parquet] {
        let rows = || (0..2000).map(|id| row(id, &noise_of(id, 2000)));
        let (_directory, roomy) = spool(64 << 20);
        let without = write(&roomy, &Pulse::default(), rows()).await.unwrap().bytes;
        let archive = write_as(with(format), &roomy, &Pulse::default(), rows()).await.unwrap();
        let again = write_as(with(format), &roomy, &Pulse::default(), rows()).await.unwrap();
        assert_eq!(archive.sha256, again.sha256);
        assert!(archive.bytes > without * 5 / 4, "{} and {without}", archive.bytes);
        drop(again);
        assert_eq!(roomy.used(), archive.bytes);
        // Without the format, this is enough.
        let (_directory, tight) = spool(without * 8 / 5);
        write(&tight, &Pulse::default(), rows()).await.unwrap();
        let error = write_as(with(format), &tight, &Pulse::default(), rows()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::SpoolQuotaExceeded { .. })), "{error:?}");
        assert_eq!(tight.used(), 0);
    }
}

#[tokio::test]
async fn an_unreadable_value_ends_an_archive_with_a_further_format_too() {
    for format in [FormatName::Xlsx, FormatName::Parquet] {
        let (_directory, spool) = spool(1 << 20);
        let rows = (0..100_000).map(|id| vec![row(id, "")[0].clone(), Some(b"\xff".to_vec())]);
        let error = write_as(with(format), &spool, &Pulse::default(), rows).await.unwrap_err();
        assert_eq!(crate::failure::judge(&error).code, "unreadable_value", "{error:#}");
        assert_eq!(spool.used(), 0);
    }
}

#[tokio::test]
async fn an_archive_over_the_quota_ends_as_such() {
    let (_directory, spool) = spool(100_000);
    let error =
        write(&spool, &Pulse::default(), (0..1000).map(|id| row(id, &noise(5000)))).await.unwrap_err();
    assert_eq!(crate::failure::judge(&error).code, "spool_quota_exceeded", "{error:#}");
    assert_eq!(spool.used(), 0);
}

#[tokio::test]
async fn a_cancelled_archive_ends_as_interrupted() {
    for contents in [contents(), with(FormatName::Xlsx), with(FormatName::Parquet)] {
        let (_directory, spool) = spool(1 << 20);
        let pulse = Pulse::default();
        let cancelling = pulse.clone();
        let rows = (0..100_000).map(move |id| {
            if id == 1000 {
                cancelling.cancel();
            }
            row(id, &noise(500))
        });
        let error = write_as(contents, &spool, &pulse, rows).await.unwrap_err();
        assert_eq!(crate::failure::judge(&error).code, "interrupted", "{error:#}");
    }
}

#[tokio::test]
async fn a_dropped_writer_gives_the_spool_back() {
    let (_directory, spool) = spool(1 << 20);
    let mut writer = ArchiveWriter::create(contents(), &spool, &Pulse::default()).unwrap();
    writer.row(0, row(1, &noise(100_000))).await.unwrap();
    let until = async |is_used: bool| {
        let changed = async {
            while (spool.used() > 0) != is_used {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), changed).await.unwrap();
    };
    until(true).await;
    drop(writer);
    // The threads end without help. Until then they hold the files of the directory.
    until(false).await;
}

#[tokio::test]
async fn a_row_larger_than_the_queue_passes_alone() {
    let (_directory, spool) = spool(64 << 20);
    let rows = (0..3).map(|id| row(id, &noise(QUEUE_BYTES * 3)));
    let archive = write(&spool, &Pulse::default(), rows).await.unwrap();
    assert_eq!(archive.row_counts["users"], 3);
}

/// A row of eight-byte values that cannot be read before the gate opens.
struct Gated(Arc<AtomicBool>);

impl Row for Gated {
    fn value(&self, _: usize) -> anyhow::Result<Option<&[u8]>> {
        while !self.0.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        Ok(Some(&[0; 8]))
    }
}

#[tokio::test]
async fn rows_of_many_small_values_fill_the_queue_too() {
    const COLUMNS: usize = 500;
    // In the driver's row: a range, a length and the value itself.
    const ROW_BYTES: usize = COLUMNS * (12 + 4 + 8);
    let mut contents = contents();
    let columns = &mut contents.entities[0].columns;
    columns[0].kind = ValueKind::Int8;
    *columns = vec![columns[0].clone(); COLUMNS];
    let (_directory, spool) = spool(64 << 20);
    let mut writer = ArchiveWriter::create(contents, &spool, &Pulse::default()).unwrap();
    let gate = Arc::new(AtomicBool::new(false));
    let mut rows = 0;
    loop {
        rows += 1;
        let taken = std::pin::pin!(writer.row(0, Gated(Arc::clone(&gate))));
        if futures::poll!(taken).is_pending() {
            break;
        }
        assert!(rows * ROW_BYTES < QUEUE_BYTES + 2 * BATCH_BYTES, "{rows} rows wait");
    }
    gate.store(true, Ordering::SeqCst);
    let archive = writer.finish().await.unwrap();
    assert_eq!(archive.row_counts["users"], rows as u64);
}

#[tokio::test]
async fn rows_of_an_entity_that_is_complete_are_refused() {
    let (_directory, spool) = spool(1 << 20);
    let mut writer = ArchiveWriter::create(contents(), &spool, &Pulse::default()).unwrap();
    writer.row(1, row(1, "second")).await.unwrap();
    writer.row(0, row(1, "first")).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert!(format!("{error:#}").contains("rows of entity 0 came too late"), "{error:#}");
}

#[test]
fn the_parts_that_are_left_out_or_replaced_are_told_in_every_description() {
    let parts = [("author.name", Use::Omit), ("author.id", Use::Pseudonym), ("author", Use::Export)];
    let parts = Parts::new(parts.map(|(path, use_)| (path.to_owned(), use_))).unwrap();
    let mut contents = contents();
    contents.entities.truncate(1);
    contents.entities[0].columns.push(Column {
        name: "payload".to_owned(),
        kind: ValueKind::Jsonb,
        treatment: Treat::Parts(Arc::new(parts)),
        pg_type: "jsonb".to_owned(),
        about: "What was sent.".to_owned(),
        why: "Who wrote it is theirs.".to_owned(),
    });
    let name = contents.entities[0].name.clone();
    let readme = String::from_utf8(texts::readme(&contents)).unwrap();
    let is_told = |line: String| readme.lines().any(|told| told.trim_end() == line);
    assert!(
        is_told(format!("- {name}, column payload, at author.name: Who wrote it is theirs.")),
        "{readme}"
    );
    assert!(is_told(format!("- {name}, column payload at author.id")), "{readme}");
    let dictionary = String::from_utf8(texts::dictionary(&contents).unwrap()).unwrap();
    let line = dictionary.lines().find(|line| line.contains("payload")).unwrap();
    let told = "exported; exported at author; ids of other people replaced by a pseudonym at author.id; left out at author.name";
    assert_eq!(line.trim_end(), format!("{name},payload,jsonb,\"{told}\",What was sent."));
    let paths = match &contents.entities[0].columns[2].treatment {
        Treat::Parts(parts) => manifest::paths(parts),
        _ => BTreeMap::new(),
    };
    assert_eq!(
        serde_json::to_string(&paths).unwrap(),
        r#"{"author":"exported","author.id":"pseudonym","author.name":"omitted"}"#
    );
}

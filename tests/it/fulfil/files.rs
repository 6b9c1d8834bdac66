//! Files of the user in object storage come into the archive; what is missing is told and fails nothing.

use std::{collections::BTreeMap, fs::File, io::Read as _, path::Path, sync::Arc};

use export_activities::{
    archive::manifest::{MANIFEST_NAME, Manifest},
    catalogue::Catalogue,
    fulfil::attempt::Unfinished,
    spool::Spool,
    store::StoreConfig,
};
use export_stack::{instruments::faulty_store::Fault, servers::postgres::Role};
use export_verify::verify;
use export_workflows::contract::Outcome;
use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use crate::support::{
    database::run,
    installation_of::{self as given, Given, attempt, download, request, serve},
    night_of::Nights,
    servers::{connect, faulty_store, real_store, sdk_client},
};

const MIB: usize = 1 << 20;

/// Person 1 has files of every kind. A team of the same number has one, too.
const PLATFORM: &str = "
    create schema media;
    create table media.people (id integer primary key, name text, avatar_url text);
    create table media.attachments (
        id bigint primary key, record_type text, record_id integer, blob_id bigint);
    create table media.blobs (id bigint primary key, key text, filename text, content_type text);
    insert into media.people values
        (1, 'one', 'https://cdn.example/people/1/me.png'), (2, 'two', 'https://cdn.example/people/2/other.png'),
        (3, 'three', 'https://elsewhere.example/3.png'), (4, 'four', null);
    insert into media.blobs values
        (1, 'aa', 'Tax 2024.pdf', 'application/pdf'), (2, 'bb', '../../etc/passwd', null), (3, 'gone', 'gone.txt', null),
        (4, 'huge', 'huge.bin', null), (5, 'cc', 'of another.txt', 'text/plain'), (6, 'large', 'large.bin', null),
        (7, null, 'no key', null), (8, 'empty', 'empty.txt', 'text/plain');
    insert into media.attachments
    select id, case id when 5 then 'Team' else 'Person' end, 1, id from media.blobs;
    create index on media.attachments (record_id); alter schema media owner to export_owner;";

const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::integer as key"

[keys.blobs]
query = "select blob_id as key from media.attachments where record_type = 'Person' and record_id = $1::integer"
reads = { "media.attachments" = ["record_type", "record_id", "blob_id"] }

[entity.people]
relation = "media.people"
keys = "account"
by = "id"
order = ["id"]
[entity.people.columns]
id = { type = "integer", use = "export" }
name = { type = "text", use = "export" }
avatar_url = { type = "text", use = "omit", why = "The picture itself is in files/." }

[entity.uploads]
relation = "media.blobs"
keys = "blobs"
by = "id"
order = ["id"]
[entity.uploads.columns]
id = { type = "bigint", use = "export" }
key = { type = "text", use = "omit", why = "Security: it opens the file." }
filename = { type = "text", use = "export" }
content_type = { type = "text", use = "export" }

[files.avatars]
entity = "people"
key = "avatar_url"
strip = "https://cdn.example/"
bucket = "BUCKET"
about = "Your picture."

[files.uploads]
entity = "uploads"
key = "key"
name = "filename"
content_type = "content_type"
bucket = "BUCKET"
max_bytes = 3_000_000
about = "The files that you uploaded."
"#;

/// What the platform's bucket holds. The large file is more than is held in memory.
fn objects() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("people/1/me.png", b"me".to_vec()),
        ("people/2/other.png", b"another".to_vec()),
        ("aa", b"tax".to_vec()),
        ("bb", b"hostile name".to_vec()),
        ("huge", vec![1; 3 * MIB]),
        ("cc", b"of a team".to_vec()),
        ("large", (0..2 * MIB).map(|at| (at % 251) as u8).collect()),
        ("empty", Vec::new()),
    ]
}

/// An installation beside a platform whose files are in a bucket of its own.
async fn platform(files: &StoreConfig) -> Given {
    let mut given = given::installation().await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    run(&superuser, PLATFORM).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), CATALOGUE.replace("BUCKET", &files.bucket)).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    run(&superuser, catalogue.grants()).await;
    let report = catalogue.report(&mut given.steps.source.acquire().await.unwrap()).await.unwrap();
    assert!(report.findings.is_empty(), "{report:#?}");
    let store = connect(files).await;
    given.steps.files = Arc::new([store.clone(), store]);
    given.steps.catalogue = Arc::new(catalogue);
    given
}

async fn fill(files: &StoreConfig, objects: Vec<(&'static str, Vec<u8>)>) {
    let s3 = sdk_client(files);
    for (key, content) in objects {
        s3.put_object().bucket(&files.bucket).key(key).body(content.into()).send().await.unwrap();
    }
}

async fn export(given: &Given, user: i32, path: &Path) -> (Manifest, BTreeMap<String, Vec<u8>>) {
    let request = request(&given.owner, user).await;
    let outcome = serve(&given.steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome:?}");
    std::fs::write(path, download(&given.owner, request).await).unwrap();
    verify(path, None).unwrap();
    let mut zip = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let manifest = serde_json::from_reader(zip.by_name(MANIFEST_NAME).unwrap()).unwrap();
    let mut entries = BTreeMap::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.insert(entry.name().unwrap().into_owned(), bytes);
    }
    (manifest, entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_user_are_in_the_archive_and_those_of_nobody_else() {
    let files = real_store().await;
    fill(&files, objects()).await;
    let given = platform(&files).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let (manifest, entries) = export(&given, 1, &path).await;
    let content: BTreeMap<_, _> = objects().into_iter().collect();
    for (name, key) in [
        ("files/avatars/1-me.png", "people/1/me.png"),
        ("files/uploads/1-Tax_2024.pdf", "aa"),
        ("files/uploads/2-_.._etc_passwd", "bb"),
        ("files/uploads/5-large.bin", "large"),
        ("files/uploads/6-empty.txt", "empty"),
    ] {
        assert!(entries.get(name) == Some(&content[key]), "{name} of {:?}", entries.keys());
        let listed = manifest.files.iter().find(|file| file.name == name).unwrap();
        assert_eq!(listed.bytes, content[key].len() as u64);
        assert_eq!(listed.sha256, hex::encode(Sha256::digest(&content[key])));
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&manifest.file_sets).unwrap(), @r#"
[
  {
    "name": "avatars",
    "entity": "people",
    "about": "Your picture.",
    "files": [
      {
        "name": "files/avatars/1-me.png",
        "row": "1",
        "content_type": "application/octet-stream"
      }
    ],
    "missing": [],
    "too_many": 0
  },
  {
    "name": "uploads",
    "entity": "uploads",
    "about": "The files that you uploaded.",
    "files": [
      {
        "name": "files/uploads/1-Tax_2024.pdf",
        "row": "1",
        "content_type": "application/pdf"
      },
      {
        "name": "files/uploads/2-_.._etc_passwd",
        "row": "2",
        "content_type": "application/octet-stream"
      },
      {
        "name": "files/uploads/5-large.bin",
        "row": "6",
        "content_type": "application/octet-stream"
      },
      {
        "name": "files/uploads/6-empty.txt",
        "row": "8",
        "content_type": "text/plain"
      }
    ],
    "missing": [
      {
        "row": "3",
        "name": "gone.txt",
        "why": "not_found"
      },
      {
        "row": "4",
        "name": "huge.bin",
        "why": "too_large"
      }
    ],
    "too_many": 0
  }
]
"#);
    let text = |name: &str| String::from_utf8(entries[name].clone()).unwrap().replace("\r\n", "\n");
    insta::assert_snapshot!(text("files/MISSING.txt"), @r#"
FILES THAT COULD NOT BE INCLUDED

Ask the service for them, and name this list.

uploads, row 3, gone.txt: it no longer exists
uploads, row 4, huge.bin: it is too large for an export
"#);
    assert!(
        text("README.txt").contains("- files/uploads: The files that you uploaded."),
        "{}",
        text("README.txt")
    );
    let all = entries.values().map(|bytes| String::from_utf8_lossy(bytes)).collect::<String>();
    assert!(
        !all.contains("of a team") && !all.contains("another.txt"),
        "of the same number under another type"
    );
    assert!(!all.contains("cdn.example"), "the address is not exported");

    // A picture of another service is told; a person without files has an archive that is whole.
    let (manifest, _) = export(&given, 3, &path).await;
    let missing = serde_json::to_string(&manifest.file_sets[0].missing).unwrap();
    assert_eq!(missing, r#"[{"row":"3","name":"3.png","why":"elsewhere"}]"#);
    let (manifest, entries) = export(&given, 4, &path).await;
    assert!(manifest.file_sets.iter().all(|set| set.files.is_empty() && set.missing.is_empty()));
    assert!(!entries.contains_key("files/MISSING.txt"));
    given.assert_sound(3).await;
    assert_eq!(given.steps.spool.used(), 0);
}

/// `FILES_MANY=10000 FILES_LARGE=2147483648` are the sizes that were tried by hand.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "figures for a person")]
async fn many_files_and_a_large_one_are_streamed_and_every_byte_counts_as_movement() {
    let size = |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (many, large) = (size("FILES_MANY", 300), size("FILES_LARGE", 20 * MIB));
    let files = real_store().await;
    let s3 = sdk_client(&files);
    let put = |key: String, content: Vec<u8>| {
        s3.put_object().bucket(&files.bucket).key(key).body(content.into()).send()
    };
    let small = stream::iter(0..many).map(|n| put(format!("k{n}"), format!("content of {n}").into_bytes()));
    small.buffer_unordered(8).for_each(async |answer| drop(answer.unwrap())).await;
    let folder = tempfile::tempdir().unwrap();
    let content = folder.path().join("large");
    File::create(&content).unwrap().set_len(large as u64).unwrap();
    let body = aws_sdk_s3::primitives::ByteStream::from_path(&content).await.unwrap();
    s3.put_object().bucket(&files.bucket).key("k-large").body(body).send().await.unwrap();

    let mut given = platform(&files).await;
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    let rows = format!(
        "insert into media.blobs select 1000 + n, 'k' || n, 'f' || n, null from generate_series(0, {many} - 1) n;
         insert into media.blobs values (999, 'k-large', 'large.iso', null);
         insert into media.attachments select 1000 + id, 'Person', 2, id from media.blobs where id >= 999"
    );
    run(&superuser, rows).await;
    let text = CATALOGUE.replace("BUCKET", &files.bucket).replace("3_000_000", "5_000_000_000");
    std::fs::write(folder.path().join("catalogue.toml"), text).unwrap();
    given.steps.catalogue = Arc::new(Catalogue::load(folder.path()).unwrap());
    given.steps.spool = Spool::new(&folder.path().join("spool"), 8 << 30).unwrap();
    given.steps.settings.stall_timeout = std::time::Duration::from_secs(20);
    let began = std::time::Instant::now();
    let request = request(&given.owner, 2).await;
    let outcome = serve(&given.steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome:?}");
    let seconds = began.elapsed().as_secs_f64();
    let path = folder.path().join("export.zip");
    std::fs::write(&path, download(&given.owner, request).await).unwrap();
    let report = verify(&path, None).unwrap();
    println!("{many} files and one of {large} bytes: {seconds:.1} s, archive {} bytes", report.bytes);
    // README, dictionary, two entities twice, the list of what is missing, four files for readers and programs, the
    // manifest; and the files.
    assert_eq!(report.files, 12 + many + 1);
    let mut zip = zip::ZipArchive::new(File::open(&path).unwrap()).unwrap();
    let mut last = String::new();
    zip.by_name(&format!("files/uploads/{}-f{}", many + 1, many - 1))
        .unwrap()
        .read_to_string(&mut last)
        .unwrap();
    assert_eq!(last, format!("content of {}", many - 1));
    assert_eq!(given.steps.spool.used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_files_that_does_not_answer_is_a_fault_of_the_system_and_loses_nothing() {
    let (faulty, mut files, _folder) = faulty_store().await;
    files.attempts = 1;
    fill(&files, objects()).await;
    let given = platform(&files).await;
    let request = request(&given.owner, 1).await;
    let faults = [
        Fault::SlowDown,
        Fault::AccessDenied,
        Fault::Refuse,
        // More is promised than comes.
        Fault::Header("content-length", "4000000".to_owned()),
    ];
    for (number, fault) in (1..).zip(faults) {
        faulty.fail_all("GetObject", fault);
        let ended = serve(&given.steps, &attempt(request, number)).await;
        let Err(unfinished @ Unfinished::Retry(_)) = ended else { panic!("{ended:?}") };
        assert!(unfinished.is_of_the_system(), "{unfinished:?}");
        assert_eq!(given.steps.spool.used(), 0);
        faulty.heal();
    }
    // A bucket that is not there is no user without files.
    let mut wrong = given.steps.clone();
    let nowhere = connect(&StoreConfig { bucket: "nowhere".to_owned(), ..real_store().await }).await;
    wrong.files = Arc::new([nowhere.clone(), nowhere]);
    let ended = serve(&wrong, &attempt(request, 8)).await;
    assert!(matches!(ended, Err(Unfinished::Retry(_))), "{ended:?}");

    let outcome = serve(&given.steps, &attempt(request, 9)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { .. }), "{outcome:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    std::fs::write(&path, download(&given.owner, request).await).unwrap();
    verify(&path, None).unwrap();
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_and_its_files_have_one_quota() {
    let files = real_store().await;
    fill(&files, objects()).await;
    let mut given = platform(&files).await;
    let folder = tempfile::tempdir().unwrap();
    // The large file has two mebibytes: in the spool and in the archive, where it is compressed well.
    given.steps.spool = Spool::new(&folder.path().join("small"), 1 << 20).unwrap();
    let request = request(&given.owner, 1).await;
    let Err(Unfinished::Retry(verdict)) = serve(&given.steps, &attempt(request, 1)).await else { panic!() };
    assert_eq!(verdict.code, "spool_quota_exceeded");
    // Neither the file nor what is written beside it is too large alone.
    given.steps.spool = Spool::new(&folder.path().join("enough"), 2 * MIB as u64 + 4096).unwrap();
    let Err(Unfinished::Retry(verdict)) = serve(&given.steps, &attempt(request, 2)).await else { panic!() };
    assert_eq!(verdict.code, "spool_quota_exceeded");
    assert_eq!(given.steps.spool.used(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_whether_the_files_can_be_read() {
    let store = real_store().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("queries")).unwrap();
    let catalogue = include_str!("../../../activities/catalogue.toml");
    std::fs::write(
        folder.path().join("queries/project_keys.sql"),
        include_str!("../../../activities/queries/project_keys.sql"),
    )
    .unwrap();
    let settings = [("EXPORT_CATALOGUE_DIR".to_owned(), folder.path().display().to_string())];
    let nights = Nights::with(settings.into()).await;
    for (bucket, state) in [(store.bucket.as_str(), "ok"), ("nowhere", "failed")] {
        let files = format!(
            "[files.pictures]\nentity = \"users\"\nkey = \"display_name\"\nbucket = \"{bucket}\"\nabout = \"Yours.\"\n"
        );
        std::fs::write(folder.path().join("catalogue.toml"), format!("{catalogue}\n{files}")).unwrap();
        let (_, line) = nights.doctor("files of users").await;
        assert_eq!(line["state"], state, "{line}");
        assert!(line["found"].as_str().unwrap().contains(bucket), "{line}");
    }
}

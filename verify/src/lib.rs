//! Proves offline that an archive is whole: its structure, every digest and count, and JSON = CSV cell by cell. If it
//! has a workbook or Parquet files, also that they are those of these rows, byte by byte.
//!
//! The verifier never extracts anything. Whatever the archive claims to contain, memory holds the manifest, a block of each
//! file that is compared, of a cell no more than a workbook shows, and with Parquet files one row group. Without
//! `--sha256`, it proves that the archive is consistent, not who wrote it.

mod columns;
mod compare;
mod csv;
mod entry;
mod json;
mod scope;
mod structure;
mod workbook;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, anyhow, ensure};
use chrono::{DateTime, Utc};
use export_activities::{
    archive::{
        SUMS,
        manifest::{self, FORMAT, FORMAT_1, MANIFEST_NAME, Manifest},
        sums,
    },
    receipt::{Receipt, ReceiptArchive},
    scope::Scope,
    user_id::UserId,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use self::{
    compare::compare,
    entry::{EntryContents, Section},
    scope::{Keys, Wanted},
    structure::Entry,
};

/// Maximum size of a manifest, the only file that is held in memory as a whole.
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

/// Maximum length of an error, which may quote the archive, for example a name.
const MAX_SAID_CHARACTERS: usize = 500;

/// Size of the blocks in which the archive is digested.
const BLOCK_BYTES: usize = 256 << 10;

/// Result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The request that the archive was made for.
    pub request_id: Uuid,
    /// The user whose data it is.
    pub user_id: UserId,
    /// Time of the snapshot that holds all rows.
    pub snapshot_at: DateTime<Utc>,
    /// Which part of the data it is; missing if it is the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The archive's size.
    pub bytes: u64,
    /// The archive's digest, in hex.
    pub sha256: String,
    /// Number of its entries, including the manifest.
    pub files: usize,
    /// Row counts of each entity, in the archive's order.
    pub entities: Vec<EntityReport>,
}

/// Result for one entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntityReport {
    /// Its name.
    pub name: String,
    /// Number of its rows.
    pub rows: u64,
}

/// Verifies an archive. The error names the first difference.
pub fn verify(path: &Path, expected_sha256: Option<&str>) -> anyhow::Result<Report> {
    // An error may quote text that the archive's author chose to attack a terminal.
    let verified =
        verify_file(path, expected_sha256).map_err(|error| anyhow!(printable(&format!("{error:#}"))));
    verified.with_context(|| format!("`{}` is not a valid export", path.display()))
}

/// Escapes characters that a terminal would interpret, and shortens a long text.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(MAX_SAID_CHARACTERS) {
        match character {
            '\'' | '"' | '\\' => shown.push(character),
            character => shown.extend(character.escape_debug()),
        }
    }
    if text.chars().nth(MAX_SAID_CHARACTERS).is_some() {
        shown.push_str(" ...");
    }
    shown
}

fn verify_file(path: &Path, expected_sha256: Option<&str>) -> anyhow::Result<Report> {
    let file = File::open(path).context("failed to open it")?;
    let (bytes, sha256) = digest(&file)?;
    if let Some(expected) = expected_sha256 {
        ensure!(
            expected.len() == 64 && expected.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "the expected SHA-256 is not 64 hexadecimal digits"
        );
        ensure!(expected.eq_ignore_ascii_case(&sha256), "its SHA-256 is {sha256}, not the expected one");
    }
    let archive = Section::whole(&file)?;
    let entries = structure::entries(&archive)?;
    let manifest = read_manifest(archive, &entries)?;
    check_names(&manifest, &entries)?;
    scope::check_manifest(&manifest)?;
    workbook::check_manifest(&manifest)?;
    columns::check_manifest(&manifest)?;
    check_contents(archive, &manifest, &entries)?;
    workbook::check(archive, &manifest, &entries)?;
    columns::check(archive, &manifest, &entries)?;
    let entities = manifest.entities.into_iter();
    Ok(Report {
        request_id: manifest.request_id,
        user_id: manifest.user_id,
        snapshot_at: manifest.snapshot_at,
        scope: manifest.scope.map(|part| part.scope()),
        bytes,
        sha256,
        files: entries.len(),
        entities: entities.map(|entity| EntityReport { name: entity.name, rows: entity.rows }).collect(),
    })
}

/// Compares a verified archive with what a receipt states. The error names the first difference.
pub fn compare_with_receipt(report: &Report, receipt: &Receipt) -> anyhow::Result<()> {
    let ReceiptArchive { bytes, sha256 } = &receipt.archive;
    ensure!(
        *sha256 == report.sha256,
        "its SHA-256 is {}, and the receipt says {}",
        report.sha256,
        printable(sha256)
    );
    ensure!(*bytes == report.bytes, "it has {} bytes, and the receipt says {bytes}", report.bytes);
    ensure!(
        receipt.jti == report.request_id,
        "it is of request {}, and the receipt says {}",
        report.request_id,
        receipt.jti
    );
    ensure!(
        receipt.sub == report.user_id,
        "it is of user {}, and the receipt says {}",
        printable(report.user_id.as_str()),
        printable(receipt.sub.as_str())
    );
    ensure!(
        receipt.snapshot_at == report.snapshot_at,
        "its data was read at {}, and the receipt says {}",
        report.snapshot_at,
        receipt.snapshot_at
    );
    let rows: BTreeMap<_, _> =
        report.entities.iter().map(|entity| (entity.name.clone(), entity.rows)).collect();
    ensure!(rows == receipt.rows, "its entities or their rows differ from what the receipt says");
    Ok(())
}

fn digest(file: &File) -> anyhow::Result<(u64, String)> {
    let mut sha256 = Sha256::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read_at(&mut block, bytes).context("failed to read it")?;
        if read == 0 {
            return Ok((bytes, hex::encode(sha256.finalize())));
        }
        sha256.update(&block[..read]);
        bytes += read as u64;
    }
}

fn read_manifest(file: Section<'_>, entries: &[Entry]) -> anyhow::Result<Manifest> {
    let is_last = entries.last().is_some_and(|entry| entry.name == MANIFEST_NAME);
    ensure!(is_last, "its last entry is not `{MANIFEST_NAME}`");
    let index = entries.len() - 1;
    let entry = &entries[index];
    ensure!(
        entry.size <= MAX_MANIFEST_BYTES,
        "`{MANIFEST_NAME}` has {} bytes, more than {MAX_MANIFEST_BYTES}",
        entry.size
    );
    let mut zip = entry::open(file)?;
    let text = EntryContents::open(&mut zip, index, entry, entry.size)?.read_rest()?;
    let manifest: Manifest =
        serde_json::from_slice(&text).with_context(|| format!("`{MANIFEST_NAME}` is not readable"))?;
    ensure!(
        [FORMAT, FORMAT_1].contains(&manifest.format.as_str()),
        "it has the format `{}`, this program knows `{FORMAT}` and `{FORMAT_1}`",
        manifest.format
    );
    let mut columns = manifest.entities.iter().flat_map(|entity| &entity.columns);
    ensure!(
        manifest.format == FORMAT_1 || columns.all(|column| column.written_type.is_some()),
        "the manifest does not say in which type each column is written"
    );
    Ok(manifest)
}

/// Compares three lists of names: expected from the entities, listed in the manifest, present in the archive.
fn check_names(manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<()> {
    let listed: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    let held: Vec<&str> = entries[..entries.len() - 1].iter().map(|entry| entry.name.as_str()).collect();
    if let Some(name) = first_not_in(&held, &listed) {
        anyhow::bail!("the entry `{name}` is not in the manifest");
    }
    if let Some(name) = first_not_in(&listed, &held) {
        anyhow::bail!("`{name}` is in the manifest, but not in the archive");
    }
    ensure!(listed == held, "the manifest lists the files in another order than the archive, or twice");
    let mut wanted = vec!["README.txt".to_owned()];
    if listed.contains(&"NOTICE.txt") {
        wanted.push("NOTICE.txt".to_owned());
    }
    wanted.push("data-dictionary.csv".to_owned());
    for folder in ["json", "csv"] {
        for entity in &manifest.entities {
            ensure!(is_entity_name(&entity.name), "`{}` is not the name of an entity", entity.name);
            wanted.push(format!("{folder}/{}.{folder}", entity.name));
        }
    }
    if columns::has_files(manifest) {
        wanted.extend(manifest.entities.iter().map(|entity| columns::file_name(&entity.name)));
    }
    let mut folders = HashSet::new();
    for set in &manifest.file_sets {
        ensure!(is_entity_name(&set.name), "`{}` is not the name of a set of files", set.name);
        ensure!(folders.insert(&set.name), "the manifest has the files `{}` twice", set.name);
        for file in &set.files {
            let name = file.name.strip_prefix("files/").and_then(|name| name.strip_prefix(set.name.as_str()));
            let is_plain = name.and_then(|name| name.strip_prefix('/')).is_some_and(is_file_name);
            ensure!(is_plain, "`{}` is not the name of a file of `{}`", file.name, set.name);
            wanted.push(file.name.clone());
        }
    }
    if manifest.file_sets.iter().any(|set| !set.missing.is_empty() || set.too_many > 0) {
        wanted.push("files/MISSING.txt".to_owned());
    }
    if let Some(workbook) = &manifest.workbook {
        ensure!(workbook.name == workbook::NAME, "`{}` is not the name of a workbook", workbook.name);
        wanted.push(workbook.name.clone());
    }
    if manifest.format == FORMAT {
        wanted.extend(["index.html", "datapackage.json", "import/postgresql.sql", SUMS].map(str::to_owned));
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    if let Some(name) = first_not_in(&wanted, &listed) {
        anyhow::bail!("`{name}` is missing");
    }
    if let Some(name) = first_not_in(&listed, &wanted) {
        anyhow::bail!("`{name}` belongs to no entity of the manifest");
    }
    ensure!(listed == wanted, "its files are in another order than in an export");
    Ok(())
}

/// Finds the first name that is missing in the other list. The lists may have tens of thousands of names.
fn first_not_in<'n>(names: &[&'n str], others: &[&str]) -> Option<&'n str> {
    let others: HashSet<&str> = others.iter().copied().collect();
    names.iter().copied().find(|name| !others.contains(name))
}

/// Returns whether the catalogue allows this name. Every such name is a valid file name on every system.
fn is_entity_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Returns whether this is a plain name of a file on every system.
fn is_file_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn check_contents(file: Section<'_>, manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<()> {
    let (mut zip, mut other_zip) = (entry::open(file)?, entry::open(file)?);
    let mut places = HashMap::new();
    for (index, (listed, entry)) in manifest.files.iter().zip(entries).enumerate() {
        let name = &listed.name;
        ensure!(
            entry.size == listed.bytes,
            "`{name}` has {} bytes, the manifest says {}",
            entry.size,
            listed.bytes
        );
        places.insert(name.as_str(), (index, listed));
        // The others are digested while their rows are compared.
        if !name.starts_with("json/") && !name.starts_with("csv/") {
            ensure!(
                name.starts_with("parquet/") || listed.rows.is_none(),
                "the manifest says that `{name}` has rows"
            );
            let mut contents = EntryContents::open(&mut zip, index, entry, listed.bytes)?;
            if name == SUMS {
                ensure!(
                    contents.take(&sums(&manifest.files[..index]))? && contents.peek()?.is_none(),
                    "`{SUMS}` differs from the manifest"
                );
            }
            contents.finish(listed)?;
        }
    }
    let place = |name: String| -> anyhow::Result<(usize, &manifest::File)> {
        places.get(name.as_str()).copied().with_context(|| format!("`{name}` is missing"))
    };
    let keys = read_keys(file, manifest, entries)?;
    for entity in &manifest.entities {
        let files =
            [place(format!("json/{}.json", entity.name))?, place(format!("csv/{}.csv", entity.name))?];
        let parquet =
            columns::has_files(manifest).then(|| place(columns::file_name(&entity.name))).transpose()?;
        for (_, listed) in files.into_iter().chain(parquet) {
            ensure!(
                listed.rows == Some(entity.rows),
                "the manifest has two row counts for `{}`",
                listed.name
            );
        }
        let [(json_index, json_told), (csv_index, csv_told)] = files;
        let json = EntryContents::open(&mut zip, json_index, &entries[json_index], json_told.bytes)?;
        let csv = EntryContents::open(&mut other_zip, csv_index, &entries[csv_index], csv_told.bytes)?;
        let [json, csv] = compare(entity, &Wanted::columns(manifest, entity), &keys, json, csv)?;
        json.finish(json_told)?;
        csv.finish(csv_told)?;
    }
    Ok(())
}

/// Reads the keys to which others refer. Their files are read once more, to their ends, with everything else.
fn read_keys(file: Section<'_>, manifest: &Manifest, entries: &[Entry]) -> anyhow::Result<Keys> {
    let mut keys = Keys::default();
    let places = structure::places(entries);
    for entity in manifest.entities.iter().filter(|entity| scope::is_referred_to(manifest, entity)) {
        let name = format!("json/{}.json", entity.name);
        let index = *places.get(name.as_str()).with_context(|| format!("`{name}` is missing"))?;
        let mut zip = entry::open(file)?;
        let contents = EntryContents::open(&mut zip, index, &entries[index], entries[index].size)?;
        keys.read(entity, contents).with_context(|| format!("`{name}`"))?;
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_no_control_character_and_is_not_endless() {
        let said = printable("the entry `\u{1b}[2J\u{202e}gpj.\n'ü'` \"is\" odd");
        assert_eq!(said, "the entry `\\u{1b}[2J\\u{202e}gpj.\\n'ü'` \"is\" odd");
        assert_eq!(printable(&"x".repeat(70_000)).len(), MAX_SAID_CHARACTERS + 4);
    }
}

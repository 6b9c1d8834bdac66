//! Fetches the user's files from object storage into the archive. A file that is not there or too large is listed as
//! missing and never fails the request; a store that does not answer is a fault of the system, as everywhere.
//!
//! Small files are held in memory, a few at a time; a large one goes through the spool. Every byte counts as movement.

use std::io::{self, Seek as _, Write as _};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use tokio::sync::mpsc;

use crate::{
    archive::{
        Attaching,
        attached::{Attached, Bytes, Missing},
    },
    blocking,
    catalogue::{Catalogue, FileSet},
    context::ExportSteps,
    pulse::Pulse,
    scope::Scope,
    serialise::{Row as _, decode},
    source::snapshot::Snapshot,
    spool::{AttemptQuota, named},
    store::{Content, Store},
};

/// An archive holds no more files than this, so that its manifest stays small enough to be read at once.
const MOST_FILES: usize = 50_000;
/// Number of files that are fetched at once. A store answers in milliseconds, whatever the size.
const AT_ONCE: usize = 8;
/// Files up to this size are held in memory until they are written.
const SMALL_BYTES: u64 = 1 << 20;
/// Pieces of a large file that wait for the disk.
const PIECES: usize = 4;

/// A row that names a file.
pub(super) struct Listed {
    /// Index of its set in the listing.
    set: usize,
    /// The value of the column that holds the key.
    value: String,
    name: Option<String>,
    content_type: Option<String>,
    /// What names the row.
    row: String,
}

/// The files of an account, as its rows name them.
#[derive(Default)]
pub(super) struct Listing {
    files: Vec<Listed>,
    /// The sets, by their index in the catalogue, and the files of each beyond the most.
    sets: Vec<(usize, u64)>,
}

/// Lists the files that the rows of the account name, of the given sets.
pub(super) async fn list(
    snapshot: &mut Snapshot,
    catalogue: &Catalogue,
    sets: &[usize],
    scope: Option<&Scope>,
    pulse: &Pulse,
) -> Result<Listing> {
    let mut listing = Listing::default();
    for (position, index) in sets.iter().copied().enumerate() {
        let set = catalogue.files().get(index).context("there is no such set of files")?;
        let mut more = 0;
        let columns =
            snapshot.plan.files.get(index).context("there is no such set of files")?.columns.clone();
        let mut rows = snapshot.files(index, scope, pulse)?;
        while let Some(row) = rows.next().await? {
            let text = |column: usize| -> Result<Option<String>> {
                let Some(bytes) = row.value(column)? else { return Ok(None) };
                let mut scratch = String::new();
                let cell = decode(&columns[column].kind, bytes, &mut scratch);
                // A key that is no text names no file.
                Ok(cell.ok().and_then(|cell| cell.text().map(str::to_owned)))
            };
            let Some(value) = text(FileSet::KEY)?.filter(|value| !value.is_empty()) else { continue };
            if listing.files.len() == MOST_FILES {
                more += 1;
                continue;
            }
            let named = set.row().map(text).collect::<Result<Vec<_>>>()?;
            listing.files.push(Listed {
                set: position,
                value,
                name: set.file_name.map(text).transpose()?.flatten(),
                content_type: set.content_type.map(text).transpose()?.flatten(),
                row: named.into_iter().flatten().collect::<Vec<_>>().join(", "),
            });
        }
        drop(rows);
        listing.sets.push((index, more));
    }
    Ok(listing)
}

/// Fetches the listed files into an archive, in their order.
///
/// A few are fetched at once and then added. A large one waits for its turn, so that no answer of the store is kept
/// waiting while another file is written.
pub(super) async fn attach(
    listing: Listing,
    mut archive: Attaching,
    steps: &ExportSteps,
    pulse: &Pulse,
) -> Result<Attaching> {
    let sets = steps.catalogue.files();
    for (index, more) in &listing.sets {
        let set = &sets[*index];
        archive.begin_set(&set.name, &set.listing.name, &set.about, *more);
    }
    for listed in listing.files.chunks(AT_ONCE) {
        pulse.check()?;
        let fetched = listed.iter().map(async |listed| {
            let (index, _) = listing.sets[listed.set];
            let store = steps.files.get(index).context("a set of files has no store")?;
            let fetched = fetch(listed, &sets[index], store, pulse).await?;
            anyhow::Ok((listed, store, fetched))
        });
        for (listed, store, fetched) in try_join_all(fetched).await? {
            let (content_type, bytes) = match fetched {
                Fetched::Missing(why) => (None, Err(why)),
                Fetched::Small(content_type, bytes) => (content_type, Ok(Bytes::Small(bytes))),
                Fetched::Large(key) => match store.read(key).await? {
                    Some(content) => {
                        let content_type = content.content_type.clone();
                        (content_type, Ok(into_spool(content, archive.quota(), pulse).await?))
                    }
                    None => (None, Err(Missing::NotFound)),
                },
            };
            let content_type = listed.content_type.clone().or(content_type);
            // The last part of a key is the nearest to a name that there is.
            let last = listed.value.rsplit('/').next().unwrap_or_default();
            let name = listed.name.clone().unwrap_or_else(|| last.to_owned());
            let file = Attached { name, row: listed.row.clone(), content_type, bytes };
            archive = archive.add(listed.set, file, pulse).await?;
        }
    }
    Ok(archive)
}

/// What the store has of a file.
enum Fetched<'l> {
    Missing(Missing),
    /// All of it, and its media type.
    Small(Option<String>, Vec<u8>),
    /// It has this key, and is fetched in its turn.
    Large(&'l str),
}

async fn fetch<'l>(listed: &'l Listed, set: &FileSet, store: &Store, pulse: &Pulse) -> Result<Fetched<'l>> {
    let Some(key) = set.key(&listed.value) else { return Ok(Fetched::Missing(Missing::Elsewhere)) };
    let Some(content) = store.read(key).await? else { return Ok(Fetched::Missing(Missing::NotFound)) };
    if content.bytes > set.max_bytes {
        return Ok(Fetched::Missing(Missing::TooLarge));
    }
    if content.bytes > SMALL_BYTES {
        return Ok(Fetched::Large(key));
    }
    Ok(Fetched::Small(content.content_type.clone(), into_memory(content, pulse).await?))
}

async fn into_memory(mut content: Content, pulse: &Pulse) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = content.next().await? {
        pulse.beat(piece.len() as u64);
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Spools a file on one blocking thread, a few pieces behind the store.
async fn into_spool(mut content: Content, quota: &AttemptQuota, pulse: &Pulse) -> Result<Bytes> {
    let (pieces, mut queue) = mpsc::channel::<bytes::Bytes>(PIECES);
    let mut file = quota.file()?;
    let writing = blocking::run("spool a file", move || {
        while let Some(piece) = queue.blocking_recv() {
            // The spool counts the bytes as movement.
            file.write_all(&piece).map_err(|error| named(error.into()))?;
        }
        let (mut file, hold) = file.into_parts()?;
        file.seek(io::SeekFrom::Start(0)).context("failed to go to the beginning of a spooled file")?;
        Ok(Bytes::Spooled(file, hold))
    });
    while let Some(piece) = content.next().await? {
        pulse.check()?;
        if pieces.send(piece).await.is_err() {
            // The writer says why it ended.
            break;
        }
    }
    drop(pieces);
    writing.await
}

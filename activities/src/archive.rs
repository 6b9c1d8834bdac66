//! Builds the archive of one request from its rows. Each row is read once and written to all formats.
//!
//! A first thread turns rows into the text of all formats. JSON goes straight into the archive, CSV into a second
//! archive beside it, and a workbook and Parquet files, if they are asked for, into two more. Each is compressed on a
//! separate thread while the database is read. At the end the entries of the others are copied in as they are, and the
//! manifest closes the archive. The result is one anonymous file, not yet uploaded anywhere.

pub mod attached;
pub mod columns;
mod compressor;
mod container;
mod contents;
pub mod manifest;
mod rows;
mod texts;
pub mod workbook;

use std::{collections::BTreeMap, fs::File, io::Seek as _, os::unix::fs::FileExt as _, pin::Pin, sync::Arc};

use anyhow::{Context as _, anyhow, ensure};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc};

use self::{
    columns::write_columns,
    compressor::{Compressor, store_from, write_files, write_sheets, write_whole},
    container::Zip,
    rows::{Work, Written, write_rows},
};
pub use self::{
    contents::{Contents, EntityContents, LeftOut, Omitted},
    texts::{SUMS, sums},
};
use crate::{
    archive::manifest::{CsvCells, EXCEL_ROWS, FORMAT, MANIFEST_NAME, Manifest, PartOfData, Treatment},
    blocking,
    failure::Failure,
    pulse::Pulse,
    serialise::{
        self, Row,
        formats::{FormatName, PerFormat},
    },
    spool::{AttemptQuota, QuotaGuard, Spool, SpoolFile, named},
    store::{self, Checksum, Sum},
};

/// Rows are handed over in batches of about this size. Smaller batches would wake the threads for every row; larger
/// ones would only delay the start of the compression.
const BATCH_BYTES: usize = 64 << 10;

/// Maximum number of bytes in the queue of rows. The queue has to bridge the moments in which one thread writes and the
/// other reads. Above half a megabyte it makes no difference in time, only in memory.
const QUEUE_BYTES: usize = 1 << 20;

/// Maximum number of messages in the queue, for rows without bytes. Far above what [`QUEUE_BYTES`] lets in.
const QUEUE_MESSAGES: usize = 256;

/// From this size on, a batch is written before the next row is read: reading ahead would cost more memory than it
/// saves time.
const HUGE_BYTES: usize = 8 << 20;

/// Memory that a row takes beside its values.
const ROW_OVERHEAD_BYTES: usize = 128;

/// Memory that a value takes with its place in the row. Only a value that may be large adds its bytes; the others are
/// not worth a look.
const VALUE_BYTES: usize = 32;

/// The finished archive is read back in blocks of this size to be hashed; it is still in the page cache.
const DIGEST_BLOCK_BYTES: usize = 256 << 10;

/// A finished archive in the spool.
#[derive(Debug)]
pub struct Archive {
    /// The file, without a name; its position has no meaning.
    pub file: File,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: [u8; 32],
    /// The checksum that the store will be asked for.
    pub sum: Sum,
    /// The rows of each entity.
    pub row_counts: BTreeMap<String, u64>,
    /// The moment that all rows show.
    pub snapshot_at: DateTime<Utc>,
    _hold: Option<QuotaGuard>,
}

impl Archive {
    /// Digests a file that is already complete.
    pub fn of_file(
        file: File,
        row_counts: BTreeMap<String, u64>,
        snapshot_at: DateTime<Utc>,
        checksum: Checksum,
        pulse: &Pulse,
    ) -> anyhow::Result<Self> {
        let mut sha256 = Sha256::new();
        let mut digest = store::Digest::new(checksum);
        let mut block = vec![0; DIGEST_BLOCK_BYTES];
        let mut bytes = 0;
        loop {
            let read = file.read_at(&mut block, bytes).context("failed to read the archive back")?;
            if read == 0 {
                break;
            }
            pulse.check()?;
            sha256.update(&block[..read]);
            digest.update(&block[..read]);
            bytes += read as u64;
            pulse.beat(read as u64);
        }
        let (sha256, sum) = (sha256.finalize().into(), digest.finish());
        Ok(Self { file, bytes, sha256, sum, row_counts, snapshot_at, _hold: None })
    }
}

type Thread<T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + Send>>;

/// What the threads of an archive end with.
type Ended =
    (Written, Box<Compressor>, Box<Compressor>, Option<Box<Zip<SpoolFile>>>, Option<Box<Compressor>>);

/// An archive that is being written.
///
/// Dropping it ends its threads at their next batch and leaves nothing behind.
pub struct ArchiveWriter<R> {
    contents: Arc<Contents>,
    rows: Thread<Written>,
    json: Thread<Box<Compressor>>,
    csv: Thread<Box<Compressor>>,
    /// The workbook; ends at once if there is none.
    xlsx: Thread<Option<Box<Zip<SpoolFile>>>>,
    /// The Parquet files; ends at once if there are none.
    parquet: Thread<Option<Box<Compressor>>>,
    queue: mpsc::Sender<Work<R>>,
    room: Arc<Semaphore>,
    /// Rows that were not yet handed over, of one entity or of several small ones.
    batch: Vec<(usize, R)>,
    batch_bytes: usize,
    quota: AttemptQuota,
    pulse: Pulse,
}

impl<R: Row> ArchiveWriter<R> {
    /// Starts an archive and its threads. Call it inside a tokio runtime.
    pub fn create(contents: Contents, spool: &Spool, pulse: &Pulse) -> anyhow::Result<Self> {
        let contents = Arc::new(contents);
        let share = spool.share(pulse);
        let (queue, work) = mpsc::channel(QUEUE_MESSAGES);
        let (to_json, json_text) = compressor::queue();
        let (to_csv, csv_text) = compressor::queue();
        let (to_xlsx, xlsx_text) = contents.formats.has(FormatName::Xlsx).then(compressor::queue).unzip();
        let (to_parquet, row_groups) = contents.formats.has(FormatName::Parquet).then(columns::queue).unzip();
        let rows = {
            let contents = Arc::clone(&contents);
            blocking::run("write the rows", move || {
                let files = PerFormat { json: to_json, csv: to_csv, xlsx: to_xlsx };
                write_rows(&contents, work, files, to_parquet).map_err(named)
            })
        };
        let json = {
            let (contents, share) = (Arc::clone(&contents), share.clone());
            blocking::run("write the JSON files", move || {
                let compressor = begin_archive(&contents, &share)?;
                write_files(compressor, &json_text).map(Box::new).map_err(named)
            })
        };
        let csv = {
            let (contents, share) = (Arc::clone(&contents), share.clone());
            blocking::run("write the CSV files", move || {
                let compressor = Compressor { zip: zip(&contents, &share)?, files: Vec::new() };
                write_files(compressor, &csv_text).map(Box::new).map_err(named)
            })
        };
        let xlsx: Thread<_> = match xlsx_text {
            None => Box::pin(std::future::ready(Ok(None))),
            Some(sheets) => {
                let (contents, share) = (Arc::clone(&contents), share.clone());
                Box::pin(blocking::run("write the workbook", move || {
                    let zip = workbook::begin(zip(&contents, &share)?).map_err(named)?;
                    write_sheets(zip, &sheets).map(|zip| Some(Box::new(zip))).map_err(named)
                }))
            }
        };
        let parquet: Thread<_> = match row_groups {
            None => Box::pin(std::future::ready(Ok(None))),
            Some(groups) => {
                let (contents, share) = (Arc::clone(&contents), share.clone());
                Box::pin(blocking::run("write the Parquet files", move || {
                    let compressor = Compressor { zip: zip(&contents, &share)?, files: Vec::new() };
                    let compressor = write_columns(compressor, &contents, &groups).map_err(named)?;
                    Ok(Some(Box::new(compressor)))
                }))
            }
        };
        Ok(Self {
            contents,
            rows: Box::pin(rows),
            json: Box::pin(json),
            csv: Box::pin(csv),
            xlsx,
            parquet,
            queue,
            room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            batch: Vec::new(),
            batch_bytes: 0,
            quota: share,
            pulse: pulse.clone(),
        })
    }

    /// Adds a row to the entity with this index. Waits while the threads have enough to do.
    ///
    /// Entities come in the order of the contents. An entity without rows has empty files.
    pub async fn row(&mut self, entity: usize, row: R) -> anyhow::Result<()> {
        let columns = self.contents.entities.get(entity).map_or(&[][..], |entity| &entity.columns);
        for (index, contents) in columns.iter().enumerate() {
            if contents.kind.may_be_large() {
                self.batch_bytes += row.value(index)?.map_or(0, <[u8]>::len);
            }
        }
        self.batch_bytes += ROW_OVERHEAD_BYTES + VALUE_BYTES * columns.len();
        self.batch.push((entity, row));
        if self.batch_bytes < BATCH_BYTES { Ok(()) } else { self.hand_over().await }
    }

    /// Joins the formats, adds the manifest and digests the archive.
    pub async fn finish(self) -> anyhow::Result<Archive> {
        self.join().await?.finish().await
    }

    /// Joins the formats. Further files may be added before the manifest.
    pub async fn join(mut self) -> anyhow::Result<Attaching> {
        self.hand_over().await?;
        self.send(Work::Finish).await?;
        let (written, json, csv, workbook, parquet) = self.ended().await?;
        let Self { contents, quota, pulse, .. } = self;
        blocking::run("complete the archive", move || {
            let others = std::iter::once(csv).chain(parquet);
            let (zip, files) = join(&contents, &written, *json, others).map_err(named)?;
            Ok(Attaching { contents, written, workbook, zip, files, sets: Vec::new(), quota, pulse })
        })
        .await
    }

    async fn hand_over(&mut self) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.batch_bytes);
        let is_huge = bytes >= HUGE_BYTES;
        let room = u32::try_from(bytes.min(QUEUE_BYTES))?;
        let room = Arc::clone(&self.room).acquire_many_owned(room).await?;
        let rows = std::mem::take(&mut self.batch);
        self.send(Work::Rows(rows, room)).await?;
        if is_huge {
            // Wait until it is written, so that memory holds one huge batch and not a second that waits.
            drop(Arc::clone(&self.room).acquire_many_owned(u32::try_from(QUEUE_BYTES)?).await?);
        }
        Ok(())
    }

    /// Sends work to the first thread. If a thread has ended, returns its error.
    async fn send(&mut self, work: Work<R>) -> anyhow::Result<()> {
        if self.queue.send(work).await.is_ok() {
            return Ok(());
        }
        let error = self.ended().await.err();
        Err(error.unwrap_or_else(|| anyhow!("the threads of the archive ended before its last row")))
    }

    /// Waits until all threads have ended.
    async fn ended(&mut self) -> anyhow::Result<Ended> {
        let Self { rows, json, csv, xlsx, parquet, .. } = self;
        match futures::future::join5(rows, json, csv, xlsx, parquet).await {
            (Ok(rows), Ok(json), Ok(csv), Ok(xlsx), Ok(parquet)) => Ok((rows, json, csv, xlsx, parquet)),
            (rows, json, csv, xlsx, parquet) => {
                Err(reason([rows.err(), json.err(), csv.err(), xlsx.err(), parquet.err()]))
            }
        }
    }
}

/// Finds the error that ended an archive. A thread whose neighbour has ended is interrupted, which is never the reason.
fn reason(errors: [Option<anyhow::Error>; 5]) -> anyhow::Error {
    let is_interrupted = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(Failure::Interrupted));
    let (interrupted, reasons): (Vec<_>, Vec<_>) = errors.into_iter().flatten().partition(is_interrupted);
    let first = reasons.into_iter().chain(interrupted).next();
    first.unwrap_or_else(|| anyhow!("a thread of the archive ended before its last row"))
}

/// Starts a zip in the spool: nothing in it depends on the clock, the machine or the user.
fn zip(contents: &Contents, share: &AttemptQuota) -> anyhow::Result<Zip<SpoolFile>> {
    Ok(Zip::new(share.file()?, contents.snapshot_at, contents.deflate_level))
}

/// Writes the files that come before the entities.
fn begin_archive(contents: &Contents, share: &AttemptQuota) -> anyhow::Result<Compressor> {
    let mut zip = zip(contents, share)?;
    let mut files = vec![write_whole(&mut zip, "README.txt", &texts::readme(contents)).map_err(named)?];
    if let Some(notice) = &contents.notice {
        files.push(write_whole(&mut zip, "NOTICE.txt", notice).map_err(named)?);
    }
    let dictionary = texts::dictionary(contents)?;
    files.push(write_whole(&mut zip, "data-dictionary.csv", &dictionary).map_err(named)?);
    Ok(Compressor { zip, files })
}

/// An archive of all rows. It takes files, and has no manifest yet.
pub struct Attaching {
    contents: Arc<Contents>,
    written: Written,
    workbook: Option<Box<Zip<SpoolFile>>>,
    zip: Zip<SpoolFile>,
    files: Vec<manifest::File>,
    sets: Vec<manifest::FileSet>,
    quota: AttemptQuota,
    pulse: Pulse,
}

impl Attaching {
    /// Returns the part of the spool that the archive holds, for what is added to it.
    pub fn quota(&self) -> &AttemptQuota {
        &self.quota
    }

    /// Adds the manifest and digests the archive.
    pub async fn finish(self) -> anyhow::Result<Archive> {
        blocking::run("complete the archive", move || complete(self).map_err(named)).await
    }
}

/// Copies the entries of the other formats in as they are.
fn join(
    contents: &Contents,
    written: &Written,
    json: Compressor,
    others: impl Iterator<Item = Box<Compressor>>,
) -> anyhow::Result<(Zip<SpoolFile>, Vec<manifest::File>)> {
    ensure!(written.tallies.len() == contents.entities.len(), "not every entity was written");
    let Compressor { mut zip, mut files } = json;
    for mut other in others {
        zip.append(&mut other.zip)?;
        files.extend(other.files);
    }
    Ok((zip, files))
}

fn complete(archive: Attaching) -> anyhow::Result<Archive> {
    let Attaching { contents, written, workbook, mut zip, mut files, sets, pulse, .. } = archive;
    if let Some(text) = texts::missing(&sets) {
        files.push(write_whole(&mut zip, texts::MISSING, &text)?);
    }
    let mut manifest = describe(&contents, files, &written, sets);
    if let Some(book) = workbook {
        let mut book = workbook::finish(*book, &manifest)?;
        book.rewind().context("failed to read the workbook back")?;
        manifest.files.push(store_from(&mut zip, workbook::NAME, book)?);
    }
    let previews = manifest.entities.iter().map(|entity| {
        if entity.rows == 0 {
            return Ok(Vec::new());
        }
        let preview = zip.read_back(&format!("json/{}.json", entity.name), texts::first_rows);
        preview.context("failed to read the archive back")
    });
    let previews = previews.collect::<anyhow::Result<Vec<_>>>()?;
    for (name, text) in [
        ("index.html", texts::page(&contents, &manifest, previews)?),
        ("datapackage.json", texts::data_package(&manifest)?),
        ("import/postgresql.sql", texts::import(&manifest)),
    ] {
        let file = write_whole(&mut zip, name, &text)?;
        manifest.files.push(file);
    }
    let sums = write_whole(&mut zip, texts::SUMS, &texts::sums(&manifest.files))?;
    manifest.files.push(sums);
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    write_whole(&mut zip, MANIFEST_NAME, &text)?;
    let (file, hold) = zip.finish()?.into_parts()?;
    let row_counts = manifest.entities.into_iter().map(|entity| (entity.name, entity.rows)).collect();
    let archive = Archive::of_file(file, row_counts, contents.snapshot_at, contents.checksum, &pulse)?;
    Ok(Archive { _hold: Some(hold), ..archive })
}

fn describe(
    contents: &Contents,
    files: Vec<manifest::File>,
    written: &Written,
    file_sets: Vec<manifest::FileSet>,
) -> Manifest {
    let has_bounds =
        contents.scope.as_ref().is_some_and(|scope| scope.since.is_some() || scope.until.is_some());
    let entities = contents.entities.iter().zip(&written.tallies).map(|(entity, counts)| {
        let name = format!("csv/{}.csv", entity.name);
        let rows = files.iter().find(|file| file.name == name).and_then(|file| file.rows).unwrap_or_default();
        let columns = entity.columns.iter().enumerate().map(|(index, column)| manifest::Column {
            name: column.name.clone(),
            pg_type: column.pg_type.clone(),
            written_type: Some(column.written_type()),
            about: column.about.clone(),
            treatment: Treatment::from(&column.treatment),
            paths: match &column.treatment {
                serialise::Treatment::Parts(parts) => manifest::paths(parts),
                _ => BTreeMap::new(),
            },
            csv: if column.is_json_class() { CsvCells::Json } else { CsvCells::Value },
            neutralised: counts.csv[index].neutralised,
            cells_over_32767_characters: counts.csv[index].long_cells,
            cells_with_escaped_halves: column.may_have_halves().then_some(counts.json[index].escaped),
            cells_outside_years_1_to_9999: column.has_years().then_some(counts.csv[index].outside_years),
            texts_cut_in_xlsx: counts.xlsx.as_ref().map(|xlsx| xlsx[index].cut_texts),
            times_cut_to_milliseconds_in_xlsx: counts
                .xlsx
                .as_ref()
                .filter(|_| column.has_years())
                .map(|xlsx| xlsx[index].cut_times),
            nulls_in_parquet: counts.parquet.as_ref().map(|parquet| parquet[index].left_null),
        });
        manifest::Entity {
            name: entity.name.clone(),
            relation: entity.relation.clone(),
            about: entity.about.clone(),
            rows,
            primary_key: entity.primary_key.iter().map(|&index| entity.columns[index].name.clone()).collect(),
            references: entity.options.references.iter().cloned().collect(),
            time: entity.options.time.clone().filter(|_| has_bounds),
            facts: entity.facts.clone(),
            // The header is a row too.
            exceeds_excel_rows: rows >= EXCEL_ROWS,
            columns: columns.collect(),
            omitted: entity.omitted.clone(),
        }
    });
    Manifest {
        format: FORMAT.to_owned(),
        generator: concat!("export-worker ", env!("CARGO_PKG_VERSION")).to_owned(),
        request_id: contents.request_id,
        user_id: contents.user_id.clone(),
        requested_at: contents.requested_at,
        snapshot_at: contents.snapshot_at,
        database_version: contents.database_version.clone(),
        catalogue_sha256: contents.catalogue_sha256.clone(),
        catalogue_version: contents.catalogue_version,
        scope: contents.scope.clone().map(PartOfData::from),
        entities: entities.collect(),
        left_out: contents.left_out.clone(),
        workbook: contents
            .formats
            .has(FormatName::Xlsx)
            .then(|| workbook::describe(contents, &written.sheets)),
        file_sets,
        files,
    }
}

#[cfg(test)]
mod tests;

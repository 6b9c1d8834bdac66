//! `export-bench measured`: one run in a separate process, so that its time, CPU and memory are separate.
//!
//! It uses the production configuration, pools and steps, and prints its result as one line of JSON.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use export_activities::{
    alone::Alone,
    archive::Archive,
    context::ExportSteps,
    fulfil::{self, attempt::Attempt, lease::Heartbeat, pack},
    metrics::Metrics,
    pulse::Pulse,
    requests::{
        archives::{self, Archives},
        claim::{Claim, Owner},
    },
    source::snapshot::{self, Account},
    spool::Spool,
    store::{
        Checksum,
        installation::{self, MarkWatch},
    },
};
use export_stack::{instruments::round_trips::counting_proxy, processes, terminal::say};
use export_worker::{config::Config, connect, run};
use export_workflows::contract::{FulfilInput, Outcome};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The memory is read after this number of requests, the first time when everything is warm.
const THOUSAND: u64 = 1000;

/// One thing to measure.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Measured {
    /// The engine: accounts from the source to a finished archive in the spool.
    Engine {
        /// The accounts.
        #[arg(required = true)]
        users: Vec<Uuid>,
        /// How many at a time.
        #[arg(long, default_value_t = 1)]
        at_once: usize,
        /// Put the last archive here.
        #[arg(long)]
        keep: Option<PathBuf>,
        /// A format beside JSON and CSV.
        #[arg(long = "format")]
        formats: Vec<String>,
    },
    /// The activity: every pending request from `pending` to `ready`.
    Activity {
        /// How many at a time.
        #[arg(long, default_value_t = 1)]
        at_once: usize,
    },
    /// The queries of the engine alone, rows thrown away.
    Queries {
        /// The accounts, one per line.
        file: PathBuf,
        /// How many at a time.
        #[arg(long, default_value_t = 1)]
        at_once: usize,
    },
    /// The round trips of the activity to the databases and the store, once everything is warm.
    Trips {
        /// Number of pending requests to serve before the count begins.
        #[arg(long, default_value_t = 4)]
        warm: usize,
    },
    /// Deflate alone, by the library that the archive uses.
    Deflate {
        /// The level.
        #[arg(long)]
        level: u32,
        /// The files to deflate.
        files: Vec<PathBuf>,
    },
}

/// The result of a measured run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Did {
    /// Accounts, or files.
    pub count: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Bytes of archives, or of deflated text.
    pub bytes: u64,
    /// Round trips of one request.
    pub round_trips: Option<f64>,
    /// MiB after the first thousand, with others in progress.
    pub early_mebibytes: Option<u64>,
    /// MiB after the last thousand, with others in progress or just done.
    pub late_mebibytes: Option<u64>,
}

/// Runs it and prints the result.
pub(crate) async fn measure(measured: Measured) -> anyhow::Result<()> {
    let did = match measured {
        Measured::Engine { users, at_once, keep, formats } => engine(users, at_once, keep, formats).await?,
        Measured::Activity { at_once } => activity(at_once).await?,
        Measured::Queries { file, at_once } => queries(&file, at_once).await?,
        Measured::Trips { warm } => Box::pin(trips(warm)).await?,
        Measured::Deflate { level, files } => deflate(level, &files)?,
    };
    say(serde_json::to_string(&did).context("failed to write down what was done")?);
    Ok(())
}

async fn engine(
    users: Vec<Uuid>,
    at_once: usize,
    keep: Option<PathBuf>,
    formats: Vec<String>,
) -> anyhow::Result<Did> {
    let steps = steps(&Config::from_env()?).await?;
    let archives = futures::stream::iter(users).map(|user| {
        let (steps, formats) = (steps.clone(), formats.clone());
        spawned(async move {
            let pulse = Pulse::default();
            let account = Account { request_id: Uuid::nil(), user_id: user.into() };
            let snapshot = snapshot::open(&steps.source, &steps.catalogue, &account, &pulse).await?;
            let claim = Claim { formats, ..claim(user) };
            pack::write_archive(snapshot, &claim, &steps, &pulse).await
        })
    });
    let mut archives = archives.buffer_unordered(at_once);
    let mut did = Did::default();
    while let Some(archive) = archives.try_next().await? {
        did.add(archive.row_counts.values().sum(), archive.bytes)?;
        if let Some(path) = &keep {
            copy(&archive, path)?;
        }
    }
    Ok(did)
}

async fn activity(at_once: usize) -> anyhow::Result<Did> {
    let steps = steps(&Config::from_env()?).await?;
    let outcomes = futures::stream::iter(pending(&steps).await?);
    let outcomes = outcomes.map(|request| spawned(serve(steps.clone(), request)));
    let mut outcomes = outcomes.buffer_unordered(at_once);
    let mut did = Did::default();
    while let Some((rows, bytes)) = outcomes.try_next().await? {
        did.add(rows, bytes)?;
    }
    Ok(did)
}

async fn trips(warm: usize) -> anyhow::Result<Did> {
    let mut proxied = BTreeMap::new();
    let mut counts = Vec::new();
    for name in ["EXPORT_DATABASE_URL", "EXPORT_SOURCE_URL", "EXPORT_S3_ENDPOINT"] {
        let url = std::env::var(name).with_context(|| format!("{name} is not set"))?;
        let (url, count) = counting_proxy(&url).await?;
        proxied.insert(name, url);
        counts.push(count);
    }
    let look_up = |name: &str| proxied.get(name).cloned().or_else(|| std::env::var(name).ok());
    let (direct, counting) = (Config::from_env()?, Config::from_lookup(&look_up)?);
    // The database knows the bucket by its address, which is the counting proxy's for now.
    let (here, there) = (connect::store(&direct).await?, connect::store(&counting).await?);
    let state = connect::state(&direct)?;
    archives::move_location(&state, here.location(), there.location(), Archives::Same).await?;
    let steps = steps(&counting).await?;
    let counted = || counts.iter().map(|count| count.load(Ordering::SeqCst)).sum::<u64>();
    let mut did = Did::default();
    let mut before = 0;
    for (number, request) in pending(&steps).await?.into_iter().enumerate() {
        if number == warm {
            before = counted();
        }
        let (rows, bytes) = serve(steps.clone(), request).await?;
        if number >= warm {
            did.add(rows, bytes)?;
        }
    }
    archives::move_location(&state, there.location(), here.location(), Archives::Same).await?;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let round_trips = (counted() - before) as f64 / did.count as f64;
    Ok(Did { round_trips: Some(round_trips), ..did })
}

/// Lists the pending requests.
async fn pending(steps: &ExportSteps) -> anyhow::Result<Vec<Uuid>> {
    let pending = "select id from public.data_export_requests where status = 'pending' order by id";
    sqlx::query_scalar(pending).fetch_all(&steps.state).await.context("failed to list the requests")
}

/// Runs the activity for one request; returns rows and bytes.
async fn serve(steps: ExportSteps, request_id: Uuid) -> anyhow::Result<(u64, u64)> {
    let attempt = Attempt {
        input: FulfilInput { request_id, night: None, accept: Vec::new(), by_day: false },
        owner: Owner { name: format!("bench {request_id}"), attempt: 1, killed: Vec::new() },
        run_id: None,
        before: Default::default(),
    };
    let silent: Heartbeat<'_> = &|_| async {}.boxed();
    match fulfil::fulfil(&steps, &attempt, &Pulse::default(), silent).await {
        Ok(Outcome::Fulfilled { archive_bytes, rows }) => Ok((rows, archive_bytes)),
        ended => bail!("the request {request_id} was not fulfilled: {ended:?}"),
    }
}

async fn queries(file: &Path, at_once: usize) -> anyhow::Result<Did> {
    let steps = steps(&Config::from_env()?).await?;
    let text =
        std::fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    let users: Vec<Uuid> = text.lines().map(str::parse).collect::<Result<_, _>>()?;
    let read = futures::stream::iter(users).map(|user| {
        let steps = steps.clone();
        spawned(async move {
            let pulse = Pulse::default();
            let account = Account { request_id: Uuid::nil(), user_id: user.into() };
            let mut snapshot = snapshot::open(&steps.source, &steps.catalogue, &account, &pulse).await?;
            let mut count = 0;
            for entity in 0..snapshot.plan.entities.len() {
                let mut rows = snapshot.rows(entity, None, &pulse)?;
                while rows.next().await?.is_some() {}
                count += rows.count();
            }
            snapshot.close().await?;
            anyhow::Ok(count)
        })
    });
    let mut read = read.buffer_unordered(at_once);
    let mut did = Did::default();
    while let Some(rows) = read.try_next().await? {
        did.add(rows, 0)?;
    }
    Ok(did)
}

/// Runs it as the SDK runs an activity: as a separate task, on any of the runtime's threads.
async fn spawned<T: Send + 'static>(
    work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::spawn(work).await.context("a measured task ended early")?
}

fn deflate(level: u32, files: &[PathBuf]) -> anyhow::Result<Did> {
    let mut did = Did::default();
    let mut piece = vec![0; 64 << 10];
    for path in files {
        let mut file = File::open(path).with_context(|| format!("failed to open `{}`", path.display()))?;
        let mut out = flate2::write::DeflateEncoder::new(std::io::sink(), flate2::Compression::new(level));
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            out.write_all(&piece[..read])?;
        }
        out.try_finish()?;
        did.add(0, out.total_out())?;
    }
    Ok(did)
}

impl Did {
    fn add(&mut self, rows: u64, bytes: u64) -> anyhow::Result<()> {
        self.count += 1;
        self.rows += rows;
        self.bytes += bytes;
        if self.count.is_multiple_of(THOUSAND) {
            self.late_mebibytes = Some(processes::memory(std::process::id())?.now);
            self.early_mebibytes = self.early_mebibytes.or(self.late_mebibytes);
        }
        Ok(())
    }
}

/// Makes the steps of the worker from the same configuration.
async fn steps(config: &Config) -> anyhow::Result<ExportSteps> {
    let state = connect::state(config)?;
    let store = connect::store(config).await?;
    let installation = MarkWatch::new(installation::open_bucket(&state, &store).await?);
    Ok(ExportSteps {
        source: connect::source(config)?,
        replica: None,
        alone: Alone::default(),
        catalogue: Arc::new(connect::catalogue(config)?),
        spool: Spool::new(&config.spool_dir, config.spool_quota)?,
        settings: run::settings(config)?,
        metrics: Metrics::new(&prometheus::Registry::new())?,
        state,
        store,
        files: Arc::new([]),
        checksum: Checksum::Crc64Nvme,
        installation,
    })
}

/// Makes a claim without a request. The engine needs only the user.
fn claim(user: Uuid) -> Claim {
    Claim {
        request_id: Uuid::nil(),
        token: Uuid::nil(),
        user_id: user.into(),
        requested_at: chrono::DateTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        scope: export_activities::scope::Scope::default(),
        formats: Vec::new(),
        asked_as: "platform".to_owned(),
        pseudonym_salt: b"bench".to_vec(),
        attempts: 0,
        lost: 0,
        location: None,
        granted: (chrono::DateTime::UNIX_EPOCH, Instant::now()),
    }
}

fn copy(archive: &Archive, path: &Path) -> anyhow::Result<()> {
    let mut from = &archive.file;
    std::io::Seek::rewind(&mut from)?;
    let mut to = File::create(path).with_context(|| format!("failed to make `{}`", path.display()))?;
    let copied = std::io::copy(&mut from, &mut to)?;
    ensure!(copied == archive.bytes, "the archive was not copied whole");
    Ok(())
}

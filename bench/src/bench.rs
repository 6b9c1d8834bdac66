//! `make bench`: the cost of an export, compared with the database's own `COPY` of the same rows and with other tools.
//!
//! Every figure is measured for a whole process. Contenders take turns, and only ratios within one run mean anything.
//! The summary compares the figures with the goals of docs/PERFORMANCE.md. There is no other pass or fail.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use export_activities::catalogue::Catalogue;
use sqlx::PgConnection;
use tokio::process::Command;
use uuid::Uuid;

use crate::{
    contender::{self, Cost, command},
    goals, measured, plot,
    rows::Holdings,
    scale::{self, Size},
    schemas,
    subject::{self, Accounts, Job, SESSION},
    table::Table,
};
use export_stack::{
    development::{installation, start},
    platform::SeedOptions,
    servers::postgres::Role,
    stack::{Installation, Lifetime, Stack},
    terminal::{grouped, say, step},
    tools,
};

/// A contender that takes longer runs only once.
pub(crate) const SLOW_SECONDS: f64 = 30.0;
/// The same limit for the heavy account with a million runs.
const SLOW_HEAVY_SECONDS: f64 = 60.0;

/// The levels at which the engine is measured.
const LEVELS: [u32; 4] = [1, 3, 6, 9];

/// Programs that make the same archive, in `bench/peers`.
pub(crate) const PEERS: [(&str, &str); 5] = [
    ("copy_zip", "Python, two COPY into zipfile"),
    ("psql_zip", "psql \\copy, then zip"),
    ("duckdb_zip", "DuckDB's postgres extension, zipfile"),
    ("node_cursor", "Node.js, cursor, archiver"),
    ("node_keyset", "Node.js, pages of 500, archiver"),
];

/// The level at which all peers run.
pub(crate) const PEER_LEVEL: u32 = 1;

/// Rows of the table with an ordinary index, at most: this many times the runs of the heavy account.
const LARGE_TIMES: u32 = 50;
const LARGE_ROWS: u32 = 5_000_000;

/// How often the heavy bench requests all of them, to check that memory does not grow with their number.
const MANY_TIMES: usize = 50;

/// Names of contenders that a goal uses.
pub(crate) const ACTIVITY: &str = "activity to the store, level 1";
pub(crate) const QUERIES: &str = "queries alone";
pub(crate) const HUNDREDS: &str = "those of about 100 rows";
pub(crate) const MANY: &str = "each of them fifty times";

pub(crate) const FEW_ENTITIES: &str = "11 entities";
pub(crate) const MANY_ENTITIES: &str = "120 entities";
pub(crate) const BY_HAND: &str = "the statement that a person would write";
pub(crate) const BY_KEY: &str = "ours";

/// The enormous account, whose memory is measured, has this many times the runs of the heavy one.
const ENORMOUS: u8 = 10;

/// Spare disk for the enormous account, beside its rows and its archive.
const SPARE_DISK_BYTES: u64 = 5 << 30;

/// Number of small requests served at a time, the default of `EXPORT_SLOTS`.
const SLOTS: usize = 8;

/// The size of the bench.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// A heavy account of a million runs instead of a hundred thousand, and one of ten millions for its memory.
    #[arg(long)]
    heavy: bool,
    /// Pipeline runs of the heavy account.
    #[arg(long)]
    runs: Option<u32>,
    /// Number of runs of each contender.
    #[arg(long)]
    repeats: Option<usize>,
    /// Small accounts, served without Temporal and in a night.
    #[arg(long, default_value_t = 2000)]
    small: u32,
}

/// The servers, accounts and files of the bench.
pub(crate) struct Bench {
    stack: Stack,
    owner: PgConnection,
    environment: BTreeMap<String, String>,
    pub(crate) folder: PathBuf,
    pub(crate) repeats: usize,
    pub(crate) accounts: Accounts,
}

/// Runs the bench and prints its tables. The summary is in `target/bench`.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let runs = options.runs.unwrap_or(if options.heavy { 1_000_000 } else { 100_000 });
    let mut bench = Box::pin(prepare(&options, runs)).await?;
    let mut goals = goals::Goals::default();
    let heavy = Box::pin(bench.heavy(&options, runs, &mut goals)).await?;
    say(&heavy);
    plot::write(&heavy, &bench.folder.join("plot.svg"))?;
    say(Box::pin(bench.formats(&mut goals)).await?);
    for table in Box::pin(bench.sizes()).await? {
        say(&table);
    }
    say(Box::pin(bench.cells(&mut goals)).await?);
    say(Box::pin(bench.small(&options, &mut goals)).await?);
    for table in Box::pin(bench.other_schemas(runs, &mut goals)).await? {
        say(&table);
    }
    if options.heavy {
        say(Box::pin(bench.enormous(&heavy, &mut goals)).await?);
    }
    let path = bench.folder.join("summary.json");
    goals.write(&path)?;
    say(&goals);
    say(format_args!("\nThe summary is in {}.", path.display()));
    bench.stack.stop()
}

async fn prepare(options: &Options, runs: u32) -> anyhow::Result<Bench> {
    let users = options.small + 100;
    let seed = SeedOptions { seed: 1, users, heavy_runs: runs, markers: false };
    let stack = Box::pin(start(&tools::root().join(".stack-bench"), Lifetime::Demo, &seed)).await?;
    let Installation { database, .. } = installation();
    let mut owner = stack.servers().postgres.connect(Role::Superuser, &database).await?;
    let accounts =
        step("Making the accounts of the bench", subject::accounts(&mut owner, options.small)).await?;
    let folder = stack_target()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make `{}`", folder.display()))?;
    let mut environment = stack.servers().environment(&installation());
    environment.insert("EXPORT_SLOTS".to_owned(), SLOTS.to_string());
    environment
        .insert("EXPORT_SPOOL_DIR".to_owned(), stack.folder().join("data/spool").display().to_string());
    environment.insert("EXPORT_SPOOL_QUOTA".to_owned(), "100GiB".to_owned());
    let repeats = options.repeats.unwrap_or(if options.heavy { 3 } else { 5 });
    Ok(Bench { stack, owner, environment, folder, repeats, accounts })
}

impl Bench {
    /// Measures the heavy account: the engine at every level, the activity, the floor and the peers, in turn.
    async fn heavy(
        &mut self,
        options: &Options,
        runs: u32,
        goals: &mut goals::Goals,
    ) -> anyhow::Result<Table> {
        let user = self.accounts.heavy;
        let mut job = self.job(user).await?;
        let kept = self.folder.join("ours.zip");
        let ours = self.engine(1, &[user], 1, Some(&kept));
        let ours = step("Warming up", self.cost(ours)).await?.did;
        let holdings = Holdings::read(&kept, job.names())?;
        let texts = self.unpack(&kept)?;
        let text_bytes: u64 =
            texts.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len())).sum();
        let title = format!(
            "An account of {} pipeline runs: {} rows, {} MB of JSON and CSV",
            grouped(runs.into()),
            grouped(i64::try_from(ours.rows)?),
            text_bytes / 1_000_000
        );
        let mut table = Table::new(&title, "COPY, binary");

        let (binary, csv) = (self.folder.join("binary.sql"), self.folder.join("csv.sql"));
        fs::write(&binary, job.copies("binary"))?;
        fs::write(&csv, job.copies("csv"))?;
        let job_path = self.folder.join("job.json");
        job.write(PEER_LEVEL, &job_path)?;
        let out = self.folder.join("peer.zip");
        let slow = if options.heavy { SLOW_HEAVY_SECONDS } else { SLOW_SECONDS };
        for repeat in 0..self.repeats {
            say(format_args!("Repeat {} of {}", repeat + 1, self.repeats));
            table.add("COPY, binary", self.cost(self.psql(&binary)?).await?);
            table.add("COPY, csv", self.cost(self.psql(&csv)?).await?);
            for level in LEVELS {
                let name = format!("engine to spool, level {level}");
                if !table.is_slow(&name, slow) {
                    table.add(&name, self.cost(self.engine(level, &[user], 1, None)).await?);
                }
            }
            table.add("two engines at once, level 1", self.cost(self.engine(1, &[user; 2], 2, None)).await?);
            self.request(&[user]).await?;
            table.add(ACTIVITY, self.cost(self.activity(1)).await?);
            for (peer, what) in PEERS {
                if table.is_slow(what, slow) {
                    continue;
                }
                match Box::pin(self.peer(peer, &job_path, &out)).await? {
                    Some(cost) => {
                        ensure!(
                            Holdings::read(&out, job.names())
                                .with_context(|| format!("the archive of {peer}"))?
                                == holdings,
                            "{peer} exported other rows than the engine"
                        );
                        let bytes = out.metadata()?.len();
                        table.add(what, Cost { did: measured::Did { bytes, ..cost.did }, ..cost });
                    }
                    None => table.absent(what),
                }
                let _ = fs::remove_file(&out);
            }
            for level in LEVELS {
                let name = format!("deflate alone, level {level}");
                table.add(&name, self.cost(self.deflate(level, &texts)).await?);
            }
        }
        let zipped = self.info_zip(&texts).await?;
        goals.heavy(&table, zipped);
        fs::remove_dir_all(self.folder.join("texts")).context("failed to remove the unpacked texts")?;
        fs::remove_file(&kept).context("failed to remove the unpacked archive")?;
        Ok(table)
    }

    /// Measures accounts of other sizes, compared with the floor.
    async fn sizes(&self) -> anyhow::Result<Vec<Table>> {
        let mut tables = Vec::new();
        let sizes = [
            ("0", self.accounts.empty),
            ("100", self.accounts.hundred),
            ("10,000", self.accounts.ten_thousand),
        ];
        for (size, user) in sizes {
            let mut table = Table::new(&format!("An account of {size} rows"), "COPY, binary");
            let job = self.job(user).await?;
            let script = self.folder.join("binary.sql");
            fs::write(&script, job.copies("binary"))?;
            for _ in 0..self.repeats {
                table.add("COPY, binary", self.cost(self.psql(&script)?).await?);
                table.add("engine to spool, level 1", self.cost(self.engine(1, &[user], 1, None)).await?);
            }
            tables.push(table);
        }
        Ok(tables)
    }

    /// Measures cells of 1 MB and one of 64 MB, to check the memory formula.
    async fn cells(&mut self, goals: &mut goals::Goals) -> anyhow::Result<Table> {
        let mut table = Table::new("Memory: the activity at level 1, to the store", "");
        let Accounts { cells, large_cell, heavy, .. } = self.accounts;
        for (name, user, exports) in [
            ("200 cells of 1 MB", cells, 1),
            ("eight such accounts at once", cells, SLOTS),
            ("one cell of 64 MB", large_cell, 1),
            ("four such accounts at once", large_cell, 4),
            ("eight heavy accounts at once", heavy, SLOTS),
        ] {
            self.request(&vec![user; exports]).await?;
            table.add(name, self.cost(self.activity(exports)).await?);
        }
        goals.cells(&table);
        Ok(table)
    }

    /// Measures small accounts: the activity compared with its queries alone, and a night.
    async fn small(&mut self, options: &Options, goals: &mut goals::Goals) -> anyhow::Result<Table> {
        let Accounts { small, small_rows, hundreds, .. } = &self.accounts;
        let requests = options.small;
        let (small, rows, hundreds) = (small.clone(), *small_rows, hundreds.clone());
        ensure!(small.len() == requests as usize, "there are only {} small accounts", small.len());
        let title = format!(
            "{} small accounts of {rows:.0} rows on average, {SLOTS} at a time",
            grouped(requests.into())
        );
        let mut table = Table::new(&title, QUERIES);
        let list = self.folder.join("users");
        let lines: String = small.iter().map(|user| format!("{user}\n")).collect();
        fs::write(&list, lines).context("failed to write the list of accounts")?;
        let (list, slots) = (list.display().to_string(), SLOTS.to_string());
        for _ in 0..self.repeats.min(3) {
            table.add(QUERIES, self.cost(self.ours(1, &["queries", &list, "--at-once", &slots])).await?);
            self.request(&small).await?;
            table.add(ACTIVITY, self.cost(self.activity(SLOTS)).await?);
        }
        self.request(&hundreds).await?;
        table.add(HUNDREDS, self.cost(self.activity(SLOTS)).await?);
        self.request(&hundreds[..24.min(hundreds.len())]).await?;
        let trips = self.cost(self.ours(1, &["trips"])).await?.did.round_trips;
        self.request(&small).await?;
        let size =
            Size { requests, workers: 1, slots: u32::try_from(SLOTS)?, recycle_after: None, unknown: false };
        let night = Box::pin(scale::night(&self.stack, &size, &mut self.owner)).await?;
        table.note(&format!(
            "A night of them through Temporal: {:.1} s, {:.0} a second; CPU ms a request: {}",
            night.seconds,
            f64::from(size.requests) / night.seconds,
            night
                .cpu
                .iter()
                .map(|(what, cpu)| format!("{what} {:.2}", cpu * 1000.0 / f64::from(size.requests)))
                .collect::<Vec<_>>()
                .join(", ")
        ));
        // Last, because the sweep of a night would have to list all their archives.
        if options.heavy {
            for _ in 0..MANY_TIMES {
                self.request(&small).await?;
            }
            table.add(MANY, self.cost(self.activity(SLOTS)).await?);
        }
        goals.small(&table, trips, &night, requests);
        Ok(table)
    }

    /// Measures empty accounts with few and many entities, and a large table without an index in the order of the rows.
    async fn other_schemas(&mut self, runs: u32, goals: &mut goals::Goals) -> anyhow::Result<[Table; 2]> {
        let rows = LARGE_ROWS.min(runs * LARGE_TIMES);
        let folder = self.folder.join("schemas");
        let made = schemas::make(&mut self.owner, rows, &folder);
        let accounts = step("Making the tables of other schemas", made).await?;
        let title = format!("{} accounts without rows, {SLOTS} at a time: the engine", accounts.len());
        let mut entities = Table::new(&title, FEW_ENTITIES);
        let mut large = Table::new(
            &format!("Ten keys of a table of {} rows with an index on the key", grouped(rows.into())),
            BY_HAND,
        );
        let mut source = self.source().await?;
        let [ours, by_hand] = schemas::scripts(&mut source, &folder).await?;
        for _ in 0..self.repeats {
            for (name, catalogue) in [(FEW_ENTITIES, "few"), (MANY_ENTITIES, "many")] {
                let mut engine = self.engine(1, &accounts, SLOTS, None);
                engine.env("EXPORT_CATALOGUE_DIR", folder.join(catalogue));
                entities.add(name, self.cost(engine).await?);
            }
            for (name, script) in [(BY_HAND, &by_hand), (BY_KEY, &ours)] {
                let path = folder.join("large.sql");
                fs::write(&path, script).context("failed to write a script")?;
                large.add(name, self.cost(self.psql(&path)?).await?);
            }
        }
        goals.other_schemas(&entities, &large);
        Ok([entities, large])
    }

    /// Measures the memory of one export of an account ten times as heavy, if the disk has enough space.
    async fn enormous(&mut self, heavy: &Table, goals: &mut goals::Goals) -> anyhow::Result<Table> {
        let mut table = Table::new("An account with ten times the runs: the activity at level 1", "");
        let relation: i64 = sqlx::query_scalar("select pg_total_relation_size('public.pipeline_runs')")
            .fetch_one(&mut self.owner)
            .await
            .context("failed to size a relation")?;
        // When the archive is completed, the CSV files are in the spool twice. Then the archive is in the store too.
        let archive = 3 * heavy.bytes(ACTIVITY).unwrap_or(0);
        let needed = u64::from(ENORMOUS) * (u64::try_from(relation)? + archive) + SPARE_DISK_BYTES;
        let disk = rustix::fs::statvfs(self.stack.folder()).context("failed to ask for free disk")?;
        let free = disk.f_bavail * disk.f_frsize;
        if free < needed {
            let gigabytes = |bytes: u64| bytes / 1_000_000_000;
            let (needed, free) = (gigabytes(needed), gigabytes(free));
            table.note(&format!("Not run: it needs {needed} GB of free disk, and there are {free}."));
            return Ok(table);
        }
        let made = subject::enormous(&mut self.owner, self.accounts.heavy, ENORMOUS);
        let user = step("Making the enormous account", made).await?;
        self.request(&[user]).await?;
        table.add(ACTIVITY, self.cost(self.activity(1)).await?);
        goals.enormous(&table);
        Ok(table)
    }

    /// Connects as the engine reads.
    async fn source(&self) -> anyhow::Result<PgConnection> {
        let postgres = &self.stack.servers().postgres;
        let mut source = postgres.connect(Role::Read, &installation().database).await?;
        // With an empty path, PostgreSQL writes types as the catalogue does.
        sqlx::raw_sql("set search_path = ''")
            .execute(&mut source)
            .await
            .context("failed to set a session")?;
        Ok(source)
    }

    pub(crate) async fn job(&self, user: Uuid) -> anyhow::Result<Job> {
        let mut source = self.source().await?;
        Job::of(&mut source, &Catalogue::builtin()?, user).await
    }

    /// Inserts a pending request for each of the users.
    async fn request(&mut self, users: &[Uuid]) -> anyhow::Result<()> {
        sqlx::query("insert into public.data_export_requests (user_id) select unnest($1::uuid[])")
            .bind(users)
            .execute(&mut self.owner)
            .await
            .context("failed to insert requests")
            .map(drop)
    }

    pub(crate) async fn cost(&self, command: Command) -> anyhow::Result<Cost> {
        contender::run(&self.stack, command).await?.context("a program of the bench is not installed")
    }

    /// Returns the command that runs our own code in a separate process.
    fn ours(&self, level: u32, arguments: &[&str]) -> Command {
        let mut command = command(std::env::current_exe().unwrap_or_default());
        command
            .arg("measured")
            .args(arguments)
            .envs(&self.environment)
            .env("EXPORT_DEFLATE_LEVEL", level.to_string());
        command
    }

    pub(crate) fn engine(&self, level: u32, users: &[Uuid], at_once: usize, keep: Option<&Path>) -> Command {
        let mut command = self.ours(level, &["engine", "--at-once", &at_once.to_string()]);
        if let Some(path) = keep {
            command.arg("--keep").arg(path);
        }
        command.args(users.iter().map(Uuid::to_string));
        command
    }

    fn deflate(&self, level: u32, texts: &[PathBuf]) -> Command {
        let mut command = self.ours(level, &["deflate", "--level", &level.to_string()]);
        command.args(texts);
        command
    }

    fn activity(&self, at_once: usize) -> Command {
        self.ours(1, &["activity", "--at-once", &at_once.to_string()])
    }

    fn psql(&self, script: &Path) -> anyhow::Result<Command> {
        // Not `psql` on the path, because Debian's is a script in another language that finds the program.
        let mut command = command(tools::postgresql()?.join("psql"));
        command
            .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--output", "/dev/null", "--file"])
            .arg(script);
        self.libpq(&mut command);
        Ok(command)
    }

    fn libpq(&self, command: &mut Command) {
        command
            .envs(self.stack.servers().postgres.libpq(Role::Read, &installation().database))
            .env("PGOPTIONS", SESSION);
    }

    pub(crate) async fn peer(&self, name: &str, job: &Path, out: &Path) -> anyhow::Result<Option<Cost>> {
        let mut command = command(tools::root().join("bench/peers/peer"));
        command.arg(name).arg(job).arg(out);
        self.libpq(&mut command);
        contender::run(&self.stack, command).await
    }

    /// Unpacks the JSON and CSV files of an archive.
    fn unpack(&self, archive: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let folder = self.folder.join("texts");
        fs::create_dir_all(&folder)?;
        let mut zip = zip::ZipArchive::new(fs::File::open(archive)?).context("failed to read our archive")?;
        let mut paths = Vec::new();
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index)?;
            let path = folder.join(entry.name()?.replace('/', "-"));
            let mut to = std::io::BufWriter::new(fs::File::create(&path)?);
            std::io::copy(&mut entry, &mut to).context("failed to unpack our archive")?;
            to.flush()?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Returns the size of `zip -6` of the same files, if it is installed.
    async fn info_zip(&self, files: &[PathBuf]) -> anyhow::Result<Option<u64>> {
        let Some(program) = tools::on_path("zip") else { return Ok(None) };
        let out = self.folder.join("zip-6.zip");
        let _ = fs::remove_file(&out);
        let mut zip = command(program);
        zip.args(["-6", "-q", "-j"]).arg(&out).args(files);
        self.cost(zip).await?;
        let bytes = out.metadata()?.len();
        fs::remove_file(&out)?;
        Ok(Some(bytes))
    }
}

/// Returns Cargo's target folder of this program, two levels above it.
fn stack_target() -> anyhow::Result<PathBuf> {
    let program = tools::stack_program()?;
    program.ancestors().nth(2).map(Path::to_owned).context("this program is in no target folder")
}

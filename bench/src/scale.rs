//! `make scale`: one night of many small accounts, and the cost of each request.
//!
//! There is no pass or fail: the figures are for docs/SCALE.md, and a person compares them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::process::Command;

use export_stack::{
    demo::request_all,
    development::{installation, start},
    platform::SeedOptions,
    processes::{self, Memory},
    servers::{postgres::Role, worker},
    stack::{Lifetime, Stack},
    supervisor::{Process, protocol::Signal},
    terminal::{say, step},
    tools,
};

/// How often the state of the night is read: rarely enough to cost nothing.
const LOOK: Duration = Duration::from_secs(2);

/// The size of the night.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Size {
    /// Pending requests, each of a separate account.
    #[arg(long, default_value_t = 20_000)]
    pub(crate) requests: u32,
    /// Worker processes.
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u32,
    /// Exports that each worker runs at a time.
    #[arg(long, default_value_t = 8)]
    pub(crate) slots: u32,
    /// The workers' `EXPORT_RECYCLE_AFTER`.
    #[arg(long)]
    pub(crate) recycle_after: Option<u64>,
    /// Ask for users who do not exist: the cheapest activity there is.
    #[arg(long)]
    pub(crate) unknown: bool,
}

/// The cost of a night.
pub(crate) struct Cost {
    /// Seconds from the trigger to the end.
    pub(crate) seconds: f64,
    /// CPU seconds of the workers together, then of each server.
    pub(crate) cpu: Vec<(String, f64)>,
    /// The memory of each worker: after the first thousand requests, and at the end.
    pub(crate) memory: Vec<(Memory, Memory)>,
}

/// Runs the night and prints its figures.
pub(crate) async fn run(size: Size) -> anyhow::Result<()> {
    let users = if size.unknown { 36 } else { size.requests };
    let seed = SeedOptions { seed: 1, users, heavy_runs: 0, markers: false };
    let stack = Box::pin(start(&tools::root().join(".stack-scale"), Lifetime::Demo, &seed)).await?;
    let mut database = stack.servers().postgres.connect(Role::Owner, &installation().database).await?;
    step("Asking for the data of every user", request(&mut database, &size)).await?;
    let Cost { seconds, cpu, memory } = Box::pin(night(&stack, &size, &mut database)).await?;
    let (pending, ready, failed) = counts(&mut database).await?;
    let requests = f64::from(size.requests);
    say(format_args!("\n  requests  {ready} ready, {failed} failed, {pending} pending"));
    say(format_args!("  seconds   {seconds:.1}: {:.1} requests a second", requests / seconds));
    say("  CPU milliseconds a request");
    for (what, seconds) in cpu {
        say(format_args!("    {what:<12}{:>6.2}", seconds * 1000.0 / requests));
    }
    for (number, (early, late)) in memory.iter().enumerate() {
        say(format_args!(
            "  memory    worker {}: {} MiB after 1,000 requests, {} MiB at the end, {} MiB at most",
            number + 1,
            early.now,
            late.now,
            late.peak
        ));
    }
    runs(&stack).await?;
    stack.stop()
}

/// Runs a night over the pending requests, with separate workers.
pub(crate) async fn night(stack: &Stack, size: &Size, database: &mut PgConnection) -> anyhow::Result<Cost> {
    let workers = step("Starting the workers", start_workers(stack, size)).await?;
    let before = cpu(stack, &workers)?;
    let began = Instant::now();
    let mut environment = stack.servers().environment(&installation());
    environment.insert("EXPORT_SPOOL_DIR".to_owned(), stack.folder().join("unused").display().to_string());
    let night = stack.start_worker("night", &["night", "trigger", "--wait"], environment)?;
    let (early, ended) = Box::pin(watch(stack, &workers, &night, database, began)).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = cpu(stack, &workers)?;
    // The brake holds back this many failures, so the night ends as failed.
    ensure!(ended || size.unknown, "the night did not end well; {}", night.last_words());
    let cpu = before.into_iter().zip(after).map(|((what, before), (_, after))| (what, after - before));
    let late =
        workers.iter().map(|worker| processes::memory(worker.pid())).collect::<anyhow::Result<Vec<_>>>()?;
    for worker in workers {
        worker.stop(Signal::Terminate).await?;
    }
    Ok(Cost { seconds, cpu: cpu.collect(), memory: early.into_iter().zip(late).collect() })
}

async fn request(database: &mut PgConnection, size: &Size) -> anyhow::Result<()> {
    if !size.unknown {
        return request_all(database).await.map(drop);
    }
    let sql = "insert into public.data_export_requests (user_id)
               select gen_random_uuid() from generate_series(1, $1::bigint)";
    let inserted = sqlx::query(sql).bind(i64::from(size.requests)).execute(database).await;
    inserted.context("failed to insert the requests").map(drop)
}

async fn start_workers(stack: &Stack, size: &Size) -> anyhow::Result<Vec<Process>> {
    let mut environment = stack.servers().environment(&installation());
    worker::command(&environment, &["schedule", "apply"]).await?;
    environment.insert("EXPORT_SLOTS".to_owned(), size.slots.to_string());
    if let Some(activities) = size.recycle_after {
        environment.insert("EXPORT_RECYCLE_AFTER".to_owned(), activities.to_string());
    }
    let start = |number| stack.start_worker(&format!("worker-{number}"), &["run"], environment.clone());
    (1..=size.workers).map(start).collect()
}

/// Prints the progress at each tenth. Returns the workers' memory after 1,000 requests and whether the night succeeded.
async fn watch(
    stack: &Stack,
    workers: &[Process],
    night: &Process,
    database: &mut PgConnection,
    began: Instant,
) -> anyhow::Result<(Vec<Memory>, bool)> {
    let (pending, ..) = counts(database).await?;
    let (mut early, mut said) = (None, 0);
    loop {
        if let Ok(ending) = night.ended(LOOK).await {
            return Ok((early.unwrap_or_default(), ending.is_success()));
        }
        stack.check_alive()?;
        workers.iter().try_for_each(Process::check_alive)?;
        let (left, ..) = counts(database).await?;
        let done = pending - left;
        let memory: anyhow::Result<Vec<_>> =
            workers.iter().map(|worker| processes::memory(worker.pid())).collect();
        let memory = memory?;
        if done * 10 >= said + pending {
            said = done * 10;
            let held: Vec<_> = memory.iter().map(|memory| memory.now.to_string()).collect();
            say(format_args!(
                "  {done:>8} served  {:>6.0} s  {} MiB",
                began.elapsed().as_secs_f64(),
                held.join(" + ")
            ));
        }
        if done >= 1000 {
            early.get_or_insert(memory);
        }
    }
}

async fn counts(database: &mut PgConnection) -> anyhow::Result<(i64, i64, i64)> {
    sqlx::query_as(
        "select count(*) filter (where status = 'pending'), count(*) filter (where status = 'ready'),
         count(*) filter (where status = 'failed') from public.data_export_requests",
    )
    .fetch_one(database)
    .await
    .context("failed to count the requests")
}

/// Returns the CPU seconds so far, of all workers together and of each server.
fn cpu(stack: &Stack, workers: &[Process]) -> anyhow::Result<Vec<(String, f64)>> {
    let mut all = vec![("workers".to_owned(), 0.0)];
    for worker in workers {
        all[0].1 += processes::cpu_seconds(worker.pid())?;
    }
    for server in stack.processes() {
        all.push((server.name().to_owned(), processes::cpu_seconds(server.pid())?));
    }
    Ok(all)
}

/// Prints the number of runs of the night and the size of the largest.
async fn runs(stack: &Stack) -> anyhow::Result<()> {
    let query = ["workflow", "list", "--query", "WorkflowType = 'nightly_batch'", "--output", "json"];
    let mut command = Command::new(tools::server("temporal")?);
    command.args(query).args(["--address", &stack.servers().temporal.address()]);
    let output = command.output().await.context("failed to list the runs")?;
    ensure!(output.status.success(), "failed to list the runs: {}", String::from_utf8_lossy(&output.stderr));
    let runs: Vec<Value> =
        serde_json::from_slice(&output.stdout).context("failed to read the list of runs")?;
    let largest = |field: &str| {
        let of = |run: &Value| run[field].as_str().and_then(|number| number.parse::<u64>().ok());
        runs.iter().filter_map(of).max().unwrap_or(0)
    };
    say(format_args!(
        "  runs      {}, the largest with {} events and {} bytes of history",
        runs.len(),
        largest("historyLength"),
        largest("historySizeBytes")
    ));
    Ok(())
}

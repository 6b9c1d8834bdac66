//! `make demo`: one real night, from pending rows to a verified download, and one export by day over HTTP. It leaves
//! nothing behind.

mod by_day;
mod download;
mod summary;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use sqlx::PgConnection;

use crate::{
    database::EXAMPLE,
    development::{addresses, installation, mail_settings, start, start_worker},
    servers::{portal::Portal, postgres::Role, worker},
    stack::{Lifetime, Stack},
    supervisor::{Process, record},
    terminal::{Bar, say, step},
    tools,
};

/// The longest time of the night on a slow machine.
const NIGHT_BOUND: Duration = Duration::from_secs(600);

/// Returns the folder of the demo's stack. It differs from the folder of `make up`.
pub fn folder() -> PathBuf {
    tools::root().join(".stack-demo")
}

/// Shows one night. With `keep` everything continues afterwards, until `make down`.
pub async fn run(keep: bool) -> anyhow::Result<()> {
    stop_kept().await?;
    let output = empty_output()?;
    let stack = Box::pin(start(&folder(), Lifetime::Demo, &EXAMPLE)).await?;
    let mut database = stack.servers().postgres.connect(Role::Owner, &installation().database).await?;
    let requests = step("Asking for the data of every user", request_all(&mut database)).await?;
    let portal = step("Starting the portal", Portal::start(&stack, &installation())).await?;
    let mails = mail_settings(&stack, &portal.url);
    let worker = start_worker(&stack, &mails);
    let worker = step("Starting the worker and applying the schedules", worker).await?;
    let night = Instant::now();
    watch_night(&stack, &worker, &mut database, requests).await?;
    let seconds = night.elapsed().as_secs_f64();
    let archive = step("Downloading the largest archive", download::largest(&mut database, &output)).await?;
    step("Verifying it", verify(&archive)).await?;
    let by_day = by_day::export(&stack, portal, &mut database, &output);
    let by_day = step("Asking for one export by day, over HTTP and with mails", by_day).await?;
    summary::print(&mut database, &archive, seconds, &by_day).await?;
    if keep {
        stack.keep()?;
        say("\nEverything keeps running:");
        addresses(stack.servers());
        say(format_args!("  API      {}/v1/openapi.json", by_day.portal.url));
        say(format_args!("  key      {}", by_day.portal.key_path.display()));
        say(format_args!("  mail     {}/view/latest.html", stack.servers().mail.http_url()));
        say(format_args!("  logs     {}", folder().join("logs").display()));
        say("  stop     make down");
        say("\nThe page of the person who asked by day (the address works once, within a minute):");
        say(format_args!("  {}", by_day::page(&by_day).await?));
    } else {
        stack.stop()?;
        say("\n`make demo KEEP=1` leaves everything running, and prints the address of the person's page.");
    }
    Ok(())
}

/// Stops a kept demo. Fails if another demo is running.
async fn stop_kept() -> anyhow::Result<()> {
    let owner = record::owner(&folder()).await?;
    if let Some(owner) = owner.filter(|owner| !owner.kept && !owner.is_abandoned()) {
        bail!("another demo is running here (process {}): wait for it, or run `make down`", owner.supervisor);
    }
    if record::stop(&folder()).await? {
        say("Stopped an earlier demo.");
    }
    Ok(())
}

/// Returns the empty folder that the download goes to.
fn empty_output() -> anyhow::Result<PathBuf> {
    let output = tools::root().join("demo-output");
    record::remove(&output)?;
    std::fs::create_dir(&output)
        .with_context(|| format!("failed to make the folder `{}`", output.display()))?;
    Ok(output)
}

/// Inserts a request for every user, as the platform would.
pub async fn request_all(database: &mut PgConnection) -> anyhow::Result<u64> {
    let inserted =
        sqlx::query("insert into public.data_export_requests (user_id) select id from public.users")
            .execute(database)
            .await
            .context("failed to insert the requests")?;
    ensure!(inserted.rows_affected() > 0, "the reference platform has no users");
    Ok(inserted.rows_affected())
}

/// Triggers the night and shows the counts until it has ended.
async fn watch_night(
    stack: &Stack,
    worker: &Process,
    database: &mut PgConnection,
    requests: u64,
) -> anyhow::Result<()> {
    say(format_args!("Running the night for {requests} requests"));
    let environment = stack.servers().environment(&installation());
    let arguments = ["--output", "json", "night", "trigger", "--wait"];
    let night = stack.start_worker("night", &arguments, environment)?;
    let mut bar = Bar::new(requests);
    let bound = tokio::time::timeout(NIGHT_BOUND, async {
        loop {
            let (done, message) = counts(database).await?;
            bar.show(done, message);
            stack.check_alive()?;
            worker.check_alive()?;
            // This waits up to 200 ms for the end of the night, so the loop needs no sleep.
            if let Ok(ending) = night.ended(Duration::from_millis(200)).await {
                return Ok::<_, anyhow::Error>(ending);
            }
        }
    });
    let ended = bound.await;
    drop(bar);
    let ending = ended.with_context(|| stuck(&night))??;
    ensure!(ending.is_success(), "the night did not end well ({ending}); {}", night.last_words());
    let (done, message) = counts(database).await?;
    ensure!(done == requests, "{} of {requests} requests are still pending: {message}", requests - done);
    say(format_args!("  {message}"));
    Ok(())
}

fn stuck(night: &Process) -> String {
    format!("the night did not end within {} s; {}", NIGHT_BOUND.as_secs(), night.last_words())
}

/// Counts the requests that are no longer pending.
async fn counts(database: &mut PgConnection) -> anyhow::Result<(u64, String)> {
    let (pending, ready, failed): (i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where status = 'pending'), count(*) filter (where status = 'ready'), \
         count(*) filter (where status = 'failed') from public.data_export_requests",
    )
    .fetch_one(database)
    .await
    .context("failed to count the requests")?;
    let done = u64::try_from(ready + failed).unwrap_or_default();
    Ok((done, format!("{ready} ready, {failed} failed, {pending} pending")))
}

/// Runs the production binary's `verify` on the download, offline.
async fn verify(archive: &download::Archive) -> anyhow::Result<()> {
    let path = archive.path.to_str().context("the path of the archive is not text")?;
    let none = std::collections::BTreeMap::new();
    worker::command(&none, &["verify", path, "--sha256", &archive.sha256]).await.map(drop)
}

/// Shows a path as a newcomer would type it.
fn shown(path: &Path) -> String {
    let here = path.strip_prefix(tools::root()).map(|inner| Path::new(".").join(inner));
    here.unwrap_or_else(|_| path.to_owned()).display().to_string()
}

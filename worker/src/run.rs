//! `export-worker run`: waits for its servers, then serves the task queue until a signal.
//!
//! The worker serves nothing before it has checked database, bucket and credentials: on the wrong bucket, it would
//! treat every archive as an orphan. SIGTERM or SIGINT drains; a second signal ends the process immediately.

mod at_once;
mod options;
pub(crate) mod outage;
mod probe;
pub(crate) mod readiness;
mod renewal;

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use export_activities::{
    alone::Alone,
    context::{ExportSteps, Settings},
    database::pool::Pool,
    failure::{Failure, judge},
    fulfil::{
        presign::Links,
        upload::{FoundChecksum, Probe},
    },
    metrics::Metrics,
    source::replica::{Fit, Replica},
    spool::Spool,
    store::{
        Checksum, Store, TemporaryCredentials,
        installation::{self, MarkWatch},
    },
};
use prometheus::Registry;
use sqlx::Connection as _;
use temporalio_client::{Client, NamespacedClient as _};
use temporalio_common::telemetry::TelemetryOptions;
use temporalio_sdk::{Runtime, Worker, error::WorkerRunError, runtime::RuntimeOptions};
use tokio::signal::unix;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::{
    options::{passes_options, worker_options},
    outage::{Outage, Trouble, wait_for, wait_for_upload},
    readiness::Readiness,
    renewal::{Renewal, restart},
};
use crate::{
    codec,
    config::Config,
    connect::{self, clock, explain},
    http,
};

/// Runs the worker until a signal.
///
/// Must be awaited on the main task: the SDK's future is not `Send`.
pub async fn run(config: &Config) -> Result<()> {
    config.require_for_run()?;
    let keys = [&config.codec.key_file, &config.receipt_key_file];
    keys.into_iter().flatten().for_each(|file| codec::warn_if_exposed(file));
    let catalogue = Arc::new(connect::catalogue(config)?);
    let spool = Spool::new(&config.spool_dir, config.spool_quota)
        .map_err(|error| anyhow!("{}", explain::spool(&error)))?;
    let settings = settings(config)?;
    let senders = config.notices.senders()?;
    let readiness = Readiness::default();
    let stop = stop_on_signals(&readiness)?;
    let state = connect::state(config)?;
    let source = connect::source(config)?;
    let replica = connect::replica(config)?;
    let store = connect::store(config).await?;

    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let http = match config.http_addr {
        Some(address) => {
            let (state, source, catalogue) = (state.clone(), source.clone(), Arc::clone(&catalogue));
            let readings = http::Readings::new(state, source, catalogue, config.task_queue.clone());
            let (readiness, spool) = (readiness.clone(), spool.clone());
            let sources = http::Sources { registry, readiness, spool, readings };
            Some(http::Server::start(address, sources).await?)
        }
        None => None,
    };

    if wait_for("the database", &readiness, &stop, async || check_database(&state).await).await?.is_none() {
        return Ok(());
    }
    let reached = async || reach(&source, replica.as_ref()).await;
    if wait_for("the source database", &readiness, &stop, reached).await?.is_none() {
        return Ok(());
    }
    let opened = async || open_bucket(&state, &store, &config.links).await;
    let Some(installation) = wait_for("the store", &readiness, &stop, opened).await? else {
        return Ok(());
    };
    let found = async || find_checksum(&store, &spool).await;
    let Some(checksum) = wait_for_upload("the store", &readiness, &stop, found).await? else {
        return Ok(());
    };
    // Beside everything else: mails and webhooks go out while Temporal is away, too.
    let notices = tokio::spawn(export_notices::run(
        state.clone(),
        connect::addresses(config)?,
        Arc::clone(&catalogue),
        senders,
        stop.child_token(),
    ));
    let installation = MarkWatch::new(installation);
    let steps = ExportSteps {
        state,
        source,
        replica,
        files: connect::files(config, &catalogue).await?,
        store,
        checksum,
        installation,
        alone: Alone::default(),
        catalogue,
        spool,
        settings,
        metrics,
    };
    let served = serve(config, &steps, http.as_ref(), &readiness, &stop).await;
    // What was taken is still sent and marked, unless the worker ends by a failure.
    if served.is_ok() {
        notices.await.context("the delivery of notices ended")?;
    }
    served
}

/// Returns the limits and timeouts of the steps.
pub fn settings(config: &Config) -> Result<Settings> {
    Ok(Settings {
        max_attempts: config.max_attempts,
        max_lost: config.max_lost,
        defer_after: config.defer_after,
        stall_timeout: config.stall_timeout,
        lease: config.lease,
        deflate_level: config.deflate_level,
        sweep_min_age: config.sweep_min_age,
        recheck_bytes: config.recheck_bytes,
        notice: config.notice()?,
        links: config.links.clone(),
        receipts: config.receipt_key()?.map(Arc::new),
    })
}

/// Checks that the database answers and is migrated, that the role may read it, and that its clock is right.
async fn check_database(state: &Pool) -> Result<(), Trouble> {
    let read = async {
        let mut connection = connect::probe(state).await?;
        sqlx::query("select location from public.data_export_installation").execute(&mut connection).await?;
        let ahead = clock::ahead(&mut connection).await?;
        connection.close().await?;
        Ok(ahead)
    };
    let ahead = read.await.map_err(|error| trouble(error, "EXPORT_DATABASE_URL", false))?;
    match clock::judge(ahead) {
        clock::Judged::Agree => Ok(()),
        clock::Judged::Differ(explained) => {
            tracing::error!(
                clock.ahead_seconds = ahead.num_seconds(),
                "The database is reachable, but {explained}"
            );
            Ok(())
        }
        // Once the clock is corrected, the start continues without a restart of the worker.
        clock::Judged::Unusable(explained) => Err(Trouble::Wait(explained)),
    }
}

/// Waits for an unreachable server. Refuses a pooler that changes sessions and a rejected setting: they are permanent.
fn trouble(error: sqlx::Error, variable: &str, has_replica: bool) -> Trouble {
    let error = error.into();
    let explained = match has_replica {
        true => explain::source(&error, has_replica),
        false => explain::database(&error, variable),
    };
    match judge(&error).code.as_str() {
        "session_setting" | "shared_session" => Trouble::Refuse(anyhow!("{variable}: {explained}")),
        _ => Trouble::Wait(explained),
    }
}

/// Checks that the source answers. Refuses a server that is no replica of it; any other fault of a replica may pass.
async fn reach(source: &Pool, replica: Option<&Replica>) -> Result<(), Trouble> {
    let wait = |error| trouble(error, "EXPORT_SOURCE_URL", replica.is_some());
    let reached = async { connect::probe(source).await?.close().await };
    reached.await.map_err(wait)?;
    let Some(replica) = replica else { return Ok(()) };
    let position = connect::source_position(source).await.map_err(wait)?;
    match connect::replica_fit(replica, &position).await {
        Ok(Fit::Unrelated) => Err(Trouble::Refuse(anyhow!("{}", explain::unrelated_replica()))),
        Ok(Fit::Reached | Fit::Lagging(_) | Fit::Diverged) | Err(_) => Ok(()),
    }
}

/// Checks that links would work and that the bucket is ours. Marks an empty bucket. Returns the installation's id.
async fn open_bucket(state: &Pool, store: &Store, links: &Links) -> Result<Uuid, Trouble> {
    let wait = |error: anyhow::Error| Trouble::Wait(explain::store(&error));
    if *links == Links::Presigned
        && let Err(error) = store.check_signing().await
    {
        return Err(match error.downcast_ref::<TemporaryCredentials>() {
            Some(_) => Trouble::Refuse(error),
            None => wait(error),
        });
    }
    installation::open_bucket(state, store).await.map_err(wait)
}

/// Stores two small objects to find the checksum for comparing uploads. The bucket is known to be ours at this point.
///
/// Refuses a store that keeps no checksum: no upload would ever be confirmed. Leaves a probe that cannot be deleted to
/// the sweep: a store that deletes nothing is no reason to stop deliveries.
async fn find_checksum(store: &Store, spool: &Spool) -> Result<Checksum, Trouble> {
    let mut probe = Probe::new(store, spool);
    let found = probe.find().await;
    if let Err(error) = probe.delete().await {
        tracing::warn!(
            error.chain = %judge(&error),
            "Could not delete the probe object; the sweep deletes it"
        );
    }
    match found {
        Ok(FoundChecksum { checksum, .. }) => {
            let compared = explain::compared_by(checksum);
            let encrypted = explain::encrypted(store);
            tracing::info!(store.checksum = %checksum, "The store at `{}` was tried: {compared}{encrypted}", store.location());
            Ok(checksum)
        }
        Err(error)
            if matches!(error.downcast_ref(), Some(Failure::NoChecksum(_) | Failure::NotEncrypted(_))) =>
        {
            Err(Trouble::Refuse(anyhow!("{}", explain::store(&error))))
        }
        Err(error) => Err(Trouble::Wait(explain::store(&error))),
    }
}

/// Serves the task queue. Connects again if Temporal fails while a worker starts.
async fn serve(
    config: &Config,
    steps: &ExportSteps,
    http: Option<&http::Server>,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<()> {
    let telemetry = TelemetryOptions::builder().maybe_metrics(http.map(http::Server::meter)).build();
    let options = RuntimeOptions::builder().telemetry_options(telemetry).build();
    let options = options.map_err(|error| anyhow!(error))?;
    let runtime = Runtime::from_current_tokio(options).context("failed to start the Temporal runtime")?;
    let mut outage = Outage::new("Temporal", readiness);
    while !stop.is_cancelled() {
        let connected = wait_for("Temporal", readiness, stop, async || {
            // A wrong configuration is permanent; an unreachable server may come back.
            connect::temporal_options(config).map_err(Trouble::Refuse)?;
            connect::temporal(config).await.map_err(|error| Trouble::Wait(explain::temporal(&error)))
        });
        let Some(client) = connected.await? else { return Ok(()) };
        if let Some(http) = http {
            http.connected(&client);
        }
        let probe = tokio::spawn(probe::watch(client.clone(), readiness.clone(), stop.child_token()));
        let asked = at_once::watch(steps.state.clone(), client.clone(), config.task_queue.clone());
        let asked = tokio::spawn(asked);
        let ended = serve_over(config, &runtime, &client, steps, readiness, stop, &mut outage).await;
        probe.abort();
        asked.abort();
        ended?;
    }
    tracing::info!("The worker has stopped");
    Ok(())
}

/// Runs a worker over one connection until `stop`, until the process is due for a restart, or until the server refuses
/// the worker.
async fn serve_over(
    config: &Config,
    runtime: &Runtime,
    client: &Client,
    steps: &ExportSteps,
    readiness: &Readiness,
    stop: &CancellationToken,
    outage: &mut Outage,
) -> Result<()> {
    while !stop.is_cancelled() {
        let renewal = Renewal::after(config.recycle_after);
        let options = worker_options(config, steps, renewal.clone())?;
        let mut exports =
            Worker::new(runtime, client.clone(), options).context("failed to make the Temporal worker")?;
        let mut passes = Worker::new(runtime, client.clone(), passes_options(config, steps))
            .context("failed to make the Temporal worker of the passes")?;
        let (stop_exports, stop_passes) = (exports.shutdown_handle(), passes.shutdown_handle());
        let (stopping, due) = (stop.clone(), renewal.clone());
        let drain = tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = due.due.notified() => tracing::info!("Draining before the process restarts (EXPORT_RECYCLE_AFTER)"),
            }
            stop_exports();
            stop_passes();
        });
        tracing::info!(
            slots = config.slots,
            "Polling task queue `{}` of namespace `{}`",
            config.task_queue,
            client.namespace()
        );
        readiness.serves();
        let ended = tokio::try_join!(exports.run(), passes.run());
        drain.abort();
        match ended {
            Ok(((), ())) => {
                outage.over();
                if !stop.is_cancelled() {
                    // Nothing is in flight. If the restart fails, a new SDK worker in this process is enough.
                    let error = restart();
                    tracing::warn!(%error, "Restart failed; continuing in this process");
                }
            }
            // The namespace could not be read: the server is unreachable again, or does not know the namespace.
            Err(error @ WorkerRunError::Validation(_)) => {
                outage.goes_on(&explain::temporal(&error.into()));
                tokio::select! {
                    () = tokio::time::sleep(std::time::Duration::from_secs(5)) => {}
                    () = stop.cancelled() => {}
                }
                return Ok(());
            }
            Err(error) => return Err(error).context("the Temporal worker ended"),
        }
    }
    Ok(())
}

/// Drains at the first SIGTERM or SIGINT, ends the process at the second.
fn stop_on_signals(readiness: &Readiness) -> Result<CancellationToken> {
    let mut terminate =
        unix::signal(unix::SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let stop = CancellationToken::new();
    let (stopping, readiness) = (stop.clone(), readiness.clone());
    tokio::spawn(async move {
        let mut signal = async || {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        };
        signal().await;
        tracing::info!("Stopping: attempts in flight may finish; a second signal ends them at once");
        readiness.stops();
        stopping.cancel();
        signal().await;
        tracing::warn!(
            "Stopped by a second signal; other workers take over the requests in flight when their leases end"
        );
        std::process::exit(1);
    });
    Ok(stop)
}

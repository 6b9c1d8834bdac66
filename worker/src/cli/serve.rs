//! `serve`.

use anyhow::{Context as _, Result};
use axum::http::HeaderValue;
use export_portal::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::ExitStatus;
use crate::{
    config::{Config, ConfigError},
    connect,
};

/// Serves the API and the page until SIGTERM or SIGINT; calls in flight then have `EXPORT_SHUTDOWN_GRACE` to end.
pub(super) async fn run(config: &Config) -> Result<ExitStatus> {
    let portal = &config.portal;
    let address = required(config)?;
    allow_many_connections();
    let origins = portal.origins.iter().map(|origin| HeaderValue::from_str(origin)).collect::<Result<_, _>>();
    let settings = Settings {
        database: connect::portal(config)?,
        store: connect::store_for_command(config).await?,
        keys: portal.keys()?,
        issuer: portal.issuer.clone(),
        url: portal.url()?.clone(),
        origins: origins.context("EXPORT_PORTAL_ORIGINS holds what no browser sends")?,
        admin_downloads: portal.admin_downloads,
        downloads: portal.downloads,
        offer: connect::catalogue(config)?.offer().clone(),
    };
    let stop = CancellationToken::new();
    let (at, serving) = export_portal::listen(address, settings, stop.clone()).await?;
    tracing::info!("Serving the portal at http://{at}");
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => {
            served.context("the portal ended")?;
            return Ok(ExitStatus::Success);
        }
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("Stopping: calls in flight may end");
    stop.cancel();
    if tokio::time::timeout(config.shutdown_grace, serving).await.is_err() {
        tracing::warn!("Some calls were still in flight and were cut off");
    }
    Ok(ExitStatus::Success)
}

/// Lets this process have as many connections as the system allows: each stream is one, and the usual limit is 1024.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "The limit of open files stays as it is: few people can watch at once");
    }
}

/// Checks everything that `serve` needs, so that one start names all missing values.
fn required(config: &Config) -> Result<std::net::SocketAddr, ConfigError> {
    let portal = &config.portal;
    let address = portal.addr();
    let problems: Vec<_> = [
        portal.database_url().err(),
        address.as_ref().err().map(|error| ConfigError { problems: error.problems.clone() }),
        portal.url().err(),
        portal.keys().err(),
        config.bucket().err(),
    ]
    .into_iter()
    .flatten()
    .flat_map(|error| error.problems)
    .collect();
    if problems.is_empty() { address } else { Err(ConfigError { problems }) }
}

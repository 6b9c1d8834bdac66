//! Serves the monitoring of a running worker: `/metrics` for Prometheus, `/livez`, `/readyz`.
//!
//! The server only reads, authenticates no caller, has no other route, and is meant for a private network. The SDK
//! exposes its metrics only over a separate port, which listens on this machine only. We append its text to ours.

mod readings;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use export_activities::{failure::judge, spool::Spool};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use temporalio_client::Client;
use temporalio_common::telemetry::{
    PrometheusExporterOptions, metrics::CoreMeter, start_prometheus_metric_exporter,
};
use tokio::{net::TcpListener, task::AbortHandle};

pub(crate) use self::readings::Readings;
use crate::run::readiness::Readiness;

/// Time limit of the SDK to return the metrics that it holds in memory.
const SDK_WITHIN: Duration = Duration::from_secs(1);

/// Sources of the answers.
pub(crate) struct Sources {
    /// The counters of the steps.
    pub(crate) registry: Registry,
    /// Whether the worker serves.
    pub(crate) readiness: Readiness,
    /// The spool, whose fill is reported.
    pub(crate) spool: Spool,
    /// Values that are read on request.
    pub(crate) readings: Readings,
}

/// The server. It stops when dropped.
pub(crate) struct Server {
    meter: Arc<dyn CoreMeter>,
    sources: Arc<Sources>,
    tasks: [AbortHandle; 2],
}

struct HttpState {
    sources: Arc<Sources>,
    /// Address of the SDK's metrics.
    sdk: String,
    client: reqwest::Client,
}

impl Server {
    /// Answers from now on, so that `/readyz` can report what the start waits for.
    pub(crate) async fn start(address: SocketAddr, sources: Sources) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen at {address}: set EXPORT_HTTP_ADDR to an address of this machine and a free port"
            )
        })?;
        let options = PrometheusExporterOptions::builder()
            .socket_addr((Ipv4Addr::LOCALHOST, 0).into())
            .counters_total_suffix(true)
            .unit_suffix(true)
            .use_seconds_for_durations(true)
            .build();
        let sdk = start_prometheus_metric_exporter(options).context("failed to measure the Temporal SDK")?;
        let sources = Arc::new(sources);
        let state = HttpState {
            sources: Arc::clone(&sources),
            sdk: format!("http://{}/metrics", sdk.bound_addr),
            client: reqwest::Client::builder().no_proxy().timeout(SDK_WITHIN).build()?,
        };
        tracing::info!("Serving /metrics, /livez and /readyz at http://{}", listener.local_addr()?);
        let served = tokio::spawn(async move {
            // Serves until it is aborted. An error of one connection affects only that connection.
            let _ = axum::serve(listener, router(state)).await;
        });
        Ok(Self { meter: sdk.meter, sources, tasks: [served.abort_handle(), sdk.abort_handle] })
    }

    /// Returns the meter for the SDK.
    pub(crate) fn meter(&self) -> Arc<dyn CoreMeter> {
        Arc::clone(&self.meter)
    }

    /// Uses this connection to read schedules and pollers from now on.
    pub(crate) fn connected(&self, client: &Client) {
        self.sources.readings.connected(client);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

fn router(state: HttpState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "The process serves\n"))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(state))
}

async fn readyz(State(state): State<Arc<HttpState>>) -> Response {
    let spool = state.sources.spool.clone();
    let why_not = state.sources.readiness.why_not();
    let why_not = match why_not {
        Some(sentence) => Some(sentence),
        None => match tokio::task::spawn_blocking(move || spool.check()).await {
            Ok(Err(error)) => Some(format!("No archive can be written: {error:#}")),
            Ok(Ok(())) | Err(_) => None,
        },
    };
    match why_not {
        None => "The worker serves\n".into_response(),
        Some(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")).into_response(),
    }
}

async fn metrics(State(state): State<Arc<HttpState>>) -> Response {
    match Box::pin(text(&state)).await {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error.chain = %judge(&error), "The metrics could not be written, and exports continue: report this line");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn text(state: &HttpState) -> Result<String> {
    let (gauges, sdk) = tokio::join!(state.sources.readings.gauges(&state.sources.spool), sdk(state));
    let encoder = TextEncoder::new();
    let mut text = encoder.encode_to_string(&state.sources.registry.gather())?;
    text.push_str(&encoder.encode_to_string(&gauges?.gather())?);
    text.push_str(&sdk);
    Ok(text)
}

/// Returns the SDK's metrics, or an empty text if it does not answer. The other metrics are served anyway.
async fn sdk(state: &HttpState) -> String {
    let answer = async {
        let answer = state.client.get(&state.sdk).send().await?.error_for_status()?;
        answer.text().await
    };
    answer.await.unwrap_or_default()
}

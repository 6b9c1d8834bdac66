//! `codec-server`.

use anyhow::{Context as _, Result};
use axum::http::HeaderValue;

use super::ExitStatus;
use crate::{
    codec::{self, server},
    config::Config,
};

/// Decodes and encodes payloads for the Web UI and the Temporal CLI until SIGTERM or SIGINT.
pub(super) async fn run(config: &Config) -> Result<ExitStatus> {
    let settings = &config.codec;
    let (codec, address) = (settings.needed_codec()?, settings.needed_addr()?);
    settings.key_file.iter().for_each(|file| codec::warn_if_exposed(file));
    let origins =
        settings.origins.iter().map(|origin| HeaderValue::from_str(origin)).collect::<Result<_, _>>();
    let access = server::Access {
        token: settings.token()?.clone(),
        origins: origins.context("EXPORT_CODEC_ORIGINS holds what no browser sends")?,
    };
    let (at, serving) = server::listen(address, codec, access).await?;
    tracing::info!("Decoding payloads at http://{at}");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("failed to listen for SIGTERM")?;
    tokio::select! {
        served = serving => served.context("the codec server ended")?,
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitStatus::Success)
}

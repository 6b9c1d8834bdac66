//! Downloads an archive over its presigned link, as a browser would.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::servers::versitygw;

/// An archive that was downloaded.
pub(super) struct Archive {
    /// Its path.
    pub(super) path: PathBuf,
    /// The digest on the row.
    pub(super) sha256: String,
}

/// Downloads the largest archive that is ready into a folder.
pub(super) async fn largest(database: &mut PgConnection, folder: &Path) -> anyhow::Result<Archive> {
    let (id, url, sha256): (Uuid, String, String) = sqlx::query_as(
        "select id, download_url, archive_sha256 from public.data_export_requests \
         where status = 'ready' order by archive_bytes desc limit 1",
    )
    .fetch_one(database)
    .await
    .context("failed to find an archive that is ready")?;
    let path = folder.join(format!("export-{id}.zip"));
    fetch(&url, &path).await.with_context(|| format!("failed to download the archive of request {id}"))?;
    Ok(Archive { path, sha256 })
}

/// Downloads a link into a file.
pub(super) async fn fetch(url: &str, path: &Path) -> anyhow::Result<()> {
    // The link is a secret, also in an error message.
    let answer = versitygw::http()?.get(url).send().await.map_err(reqwest::Error::without_url)?;
    ensure!(answer.status().is_success(), "the store answered {}", answer.status());
    let mut file =
        std::fs::File::create(path).with_context(|| format!("failed to make `{}`", path.display()))?;
    let mut blocks = answer.bytes_stream();
    while let Some(block) = blocks.try_next().await.map_err(reqwest::Error::without_url)? {
        file.write_all(&block).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(())
}

//! Signs links to one archive: the one of seven days, and those of the portal for one click.
//!
//! The link is a bearer secret: it is all that a download needs. Its type can be neither printed nor serialised. The
//! link of seven days is written to `download_url` and nowhere else. Nothing here writes anything or calls the store.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_s3::presigning::PresigningConfig;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{
    failure::StoreError,
    store::{Store, object_key::ObjectKey},
};

/// How long a link works: seven days, the maximum that S3 signs.
pub const LINK_LIFE: Duration = Duration::from_secs(604_800);

/// A signed link; without `Debug`, `Display` and `Serialize` on purpose.
pub struct PresignedUrl {
    url: SecretString,
    expires_at: DateTime<Utc>,
}

impl PresignedUrl {
    /// Returns the link itself: for `download_url` or the answer to a click, and for nothing else.
    pub fn reveal(&self) -> &str {
        self.url.expose_secret()
    }

    /// Returns the first moment at which the link no longer works.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}

/// Where `download_url` of a delivered request leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// To the archive in the store: each person who has the link can download it.
    Presigned,
    /// To the portal at this address, which makes a link to the store for each click of a person who may download.
    OnClick(Url),
}

/// Makes the link for `download_url`.
///
/// A link to the portal is no secret, and needs no credentials that live for seven days.
pub async fn link(
    store: &Store,
    key: &ObjectKey,
    start: DateTime<Utc>,
    links: &Links,
) -> anyhow::Result<PresignedUrl> {
    let Links::OnClick(portal) = links else { return presign(store, key, start).await };
    let url = portal.join(&format!("v1/exports/{}/download", key.request_id()));
    Ok(PresignedUrl {
        url: String::from(url.context("failed to make the link to the portal")?).into(),
        expires_at: start.trunc_subsecs(0) + TimeDelta::from_std(LINK_LIFE)?,
    })
}

/// Signs a link to `key` that works for [`LINK_LIFE`] from `start`, the database's `now()` cut to the second.
///
/// Refuses temporary credentials, like the start of the worker: the SDK would sign with them without an error.
pub async fn presign(store: &Store, key: &ObjectKey, start: DateTime<Utc>) -> anyhow::Result<PresignedUrl> {
    store.check_signing().await?;
    // S3 signs whole seconds. With a fraction the row would promise more time than the link has.
    let start = start.trunc_subsecs(0);
    let config = PresigningConfig::builder()
        .start_time(start.into())
        .expires_in(LINK_LIFE)
        .build()
        .context("failed to set the life of the link")?;
    let request = store
        .signer()
        .get_object()
        .bucket(store.bucket())
        .key(key.as_str())
        .presigned(config)
        .await
        .map_err(|error| StoreError::new("PresignGetObject", &error))
        .with_context(|| format!("failed to sign the link to `{key}`"))?;
    Ok(PresignedUrl {
        url: request.uri().to_owned().into(),
        expires_at: start + TimeDelta::from_std(LINK_LIFE).context("the life of a link is out of range")?,
    })
}

/// Signs a link to `key` that works for `life` from now, and with which a browser saves the archive as `filename`.
///
/// Temporary credentials will do, because the link is used at once.
pub async fn presign_for_click(
    store: &Store,
    key: &ObjectKey,
    filename: &str,
    life: Duration,
) -> anyhow::Result<PresignedUrl> {
    let config = PresigningConfig::expires_in(life).context("failed to set the life of the link")?;
    let request = store
        .signer()
        .get_object()
        .bucket(store.bucket())
        .key(key.as_str())
        .response_content_disposition(format!("attachment; filename=\"{filename}\""))
        .presigned(config)
        .await
        .map_err(|error| StoreError::new("PresignGetObject", &error))
        .with_context(|| format!("failed to sign the link to `{key}`"))?;
    Ok(PresignedUrl {
        url: request.uri().to_owned().into(),
        expires_at: Utc::now() + TimeDelta::from_std(life).context("the life of a link is out of range")?,
    })
}

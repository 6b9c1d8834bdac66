//! The store: signing key, whose bucket it is, and the whole way of an archive through it with a small object.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use export_activities::{
    archive::Archive,
    installation::{self, Installation, read_installation},
    object_key::ObjectKey,
    presign::presign,
    pulse::Pulse,
    spool::Spool,
    store::{Store, TemporaryCredentials},
    upload::{Upload, upload},
};
use reqwest::{StatusCode, header};
use sqlx::PgPool;
use uuid::Uuid;

use super::Line;
use crate::{
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
};

/// What is stored for a moment; its content does not matter.
const PROBE: &[u8] = b"export-worker doctor stores this and deletes it at once\n";
/// How long the link may take to answer.
const LINK_WITHIN: Duration = Duration::from_secs(10);

/// The store's clock, read once.
pub(super) struct Clock {
    /// What it said.
    pub(super) store: DateTime<Utc>,
    /// What ours said then.
    pub(super) here: DateTime<Utc>,
}

/// Examines the store; gives its clock if it told the time.
pub(super) async fn examine(
    config: &Config,
    state: Option<&PgPool>,
    adopt: bool,
    lines: &mut Vec<Line>,
) -> Option<Clock> {
    let store = match connect::store_for_command(config).await {
        Ok(store) => store,
        Err(error) => {
            let explained =
                Explained::new(format!("{error:#}"), "set EXPORT_BUCKET, EXPORT_S3_ENDPOINT and AWS_*");
            lines.push(Line::failed("store", explained));
            return None;
        }
    };
    let signing = signing(&store).await;
    let may_sign = signing.is_ok();
    lines.push(signing);
    let installation = match state {
        Some(state) => read_installation(state).await.ok().map(|installation| (state, installation)),
        None => None,
    };
    let Some((state, installation)) = installation else {
        lines.push(Line::skipped("installation", "the database does not tell its id"));
        lines.push(Line::skipped("store", "it is not known whose bucket it is"));
        return None;
    };
    let owned = check_installation(state, &store, &installation, adopt).await;
    let ours = owned.is_ok();
    lines.push(owned);
    if !ours || !may_sign {
        lines.push(Line::skipped(
            "store",
            "nothing is stored in a bucket that is not ours, or without a signing key",
        ));
        return None;
    }
    // The key has our form, so that the sweep would take it if the delete failed.
    let key = ObjectKey::new(Uuid::new_v4(), Uuid::new_v4());
    let gone_through = go_through(config, &store, &key).await;
    let deleted = store.delete(&key).await;
    match (gone_through, deleted) {
        (Ok(clock), Ok(())) => {
            let what = format!("`{}`: put, checksum, head, link and delete work", store.bucket());
            lines.push(Line::ok("store", what));
            clock
        }
        (Err(line), _) => {
            lines.push(line);
            None
        }
        (Ok(clock), Err(error)) => {
            lines.push(Line::failed("store", explain::store(&error)));
            clock
        }
    }
}

async fn signing(store: &Store) -> Line {
    const CHECK: &str = "signing credentials";
    match store.check_signing().await {
        Ok(()) => Line::ok(CHECK, "they outlive a link"),
        Err(error) if error.is::<TemporaryCredentials>() => {
            let text = error.to_string();
            let (cause, remedy) =
                text.split_once("; ").unwrap_or((&text, "set EXPORT_SIGNING_ACCESS_KEY_ID"));
            Line::failed(CHECK, Explained::new(cause, remedy))
        }
        Err(error) => Line::failed(CHECK, explain::store(&error)),
    }
}

/// Compares the bucket's mark and its location with the database; writes the mark only to adopt the bucket.
async fn check_installation(state: &PgPool, store: &Store, installation: &Installation, adopt: bool) -> Line {
    const CHECK: &str = "installation";
    let (id, location) = (installation.id, store.location());
    let checked = async {
        if !adopt && !installation.has_archives && installation::look(store, id).await?.is_none() {
            installation::require_location(installation.location.as_deref(), store)?;
            return Ok(false);
        }
        if adopt {
            installation::require_location(installation.location.as_deref(), store)?;
            installation::adopt(store, id).await?;
        }
        installation::check_bucket(state, store).await?;
        anyhow::Ok(true)
    };
    match checked.await {
        Ok(true) => {
            Line::ok(CHECK, format!("{id} in `{location}`, as the bucket's mark and the database say"))
        }
        Ok(false) => Line::ok(CHECK, format!("{id}; `{location}` is empty and `run` will mark it")),
        Err(error) => Line::failed(CHECK, explain::store(&error)),
    }
}

/// Stores the probe as an archive is stored, and reads it over its link as a user would.
async fn go_through(config: &Config, store: &Store, key: &ObjectKey) -> Result<Option<Clock>, Line> {
    const CHECK: &str = "store";
    let pulse = Pulse::default();
    let probe = probe(config, &pulse).map_err(|error| {
        Line::failed(CHECK, Explained::new(format!("{error:#}"), "mend EXPORT_SPOOL_DIR"))
    })?;
    let archive = Upload {
        file: &probe.file,
        bytes: probe.bytes,
        sha256: probe.sha256,
        crc64nvme: probe.crc64nvme,
        snapshot_at: probe.snapshot_at,
    };
    upload(store, key, &archive, &pulse).await.map_err(|error| {
        if error.is::<export_activities::failure::Failure>() {
            let remedy = "use a store that keeps CRC-64/NVME of whole objects, as AWS S3 and versitygw do";
            return Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy));
        }
        Line::failed(CHECK, explain::store(&error))
    })?;
    // A minute ago, so that a store whose clock is a little late does not refuse the link as not yet valid.
    let start = Utc::now() - chrono::TimeDelta::seconds(60);
    let link =
        presign(store, key, start).await.map_err(|error| Line::failed(CHECK, explain::store(&error)))?;
    read_over(link.reveal()).await.map_err(|error| {
        let remedy =
            "mend EXPORT_PUBLIC_ENDPOINT: users reach the store under it, and it is part of the signature";
        Line::failed(CHECK, Explained::new(format!("the link does not work: {error:#}"), remedy))
    })
}

fn probe(config: &Config, pulse: &Pulse) -> Result<Archive> {
    let mut file = Spool::new(&config.spool_dir, config.spool_quota)?.share(pulse).file()?;
    file.write_all(PROBE).context("failed to write to the spool")?;
    let (file, _hold) = file.into_parts()?;
    Archive::of_file(file, BTreeMap::new(), Utc::now(), pulse)
}

/// Asks for the first bytes by plain HTTP. No error of reqwest is shown: it carries the link.
async fn read_over(link: &str) -> Result<Option<Clock>> {
    let client =
        reqwest::Client::builder().timeout(LINK_WITHIN).build().context("failed to make a client")?;
    let answer = client.get(link).header(header::RANGE, "bytes=0-9").send().await;
    let here = Utc::now();
    let answer = answer.map_err(reqwest::Error::without_url).context("nothing answers there")?;
    let status = answer.status();
    ensure!(
        matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::OK),
        "it was answered with HTTP {}",
        status.as_u16()
    );
    let store = answer
        .headers()
        .get(header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let body = answer.bytes().await.map_err(reqwest::Error::without_url).context("the answer broke off")?;
    ensure!(PROBE.starts_with(&body), "it gives other bytes than were stored");
    ensure!(
        status == StatusCode::PARTIAL_CONTENT && body.len() == 10,
        "it ignores the range, so downloads cannot resume"
    );
    Ok(store.map(|store| Clock { store: store.with_timezone(&Utc), here }))
}

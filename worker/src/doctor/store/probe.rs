//! The way of an archive through the store: a small one in one put, a large one in two parts; both are deleted at once.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use anyhow::{Context as _, Result};
use chrono::Utc;
use export_activities::{
    archive::Archive,
    failure::{Failure, StoreError},
    object_key::ObjectKey,
    pulse::Pulse,
    spool::Spool,
    store::Store,
    upload::{PART_BYTES, Upload, upload},
};
use uuid::Uuid;

use super::{Clock, link};
use crate::{
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
    doctor::Line,
};

const CHECK: &str = "store";
/// What is stored for a moment; its content does not matter.
pub(super) const PROBE: &[u8] = b"export-worker doctor stores this and deletes it at once\n";
/// What a person waits for. A line that is slower makes exports slow, and is no fault of the store.
const PARTS_WITHIN: Duration = Duration::from_secs(20);
/// How often it is in the large probe, which is one part and the beginning of a second.
const REPEATS: usize = PART_BYTES as usize / PROBE.len() + 2;

/// Stores both probes, reads the small one over its link, and gives the store's clock if it told the time.
pub(super) async fn go_through(config: &Config, store: &Store, lines: &mut Vec<Line>) -> Option<Clock> {
    // The keys have our form, so that the sweep would take them if the delete failed.
    let small = ObjectKey::new(Uuid::new_v4(), Uuid::new_v4());
    let large = ObjectKey::new(Uuid::new_v4(), Uuid::new_v4());
    let linked = one_put(config, store, &small, lines).await;
    let parted = match &linked {
        Ok(_) => {
            tokio::time::timeout(PARTS_WITHIN, two_parts(config, store, &large)).await.unwrap_or_else(|_| {
                let cause = format!("9 MiB were not stored in parts within {} s", PARTS_WITHIN.as_secs());
                let remedy = "look at the line to the store and at its load: large exports take long";
                Err(Line::warning(CHECK, Explained::new(cause, remedy)))
            })
        }
        Err(_) => Ok(()),
    };
    let deleted = store.delete(&small).await.and(store.delete(&large).await);
    let (clock, failed) = match (linked, parted, deleted) {
        (Ok(clock), Ok(()), Ok(())) => {
            let works = "put, checksum, head, link, upload in parts, lists, abort and delete work";
            lines.push(Line::ok(CHECK, format!("`{}`: {works}", store.bucket())));
            return clock;
        }
        (Err(line), _, _) => (None, line),
        (Ok(clock), Err(line), _) => (clock, line),
        (Ok(clock), Ok(()), Err(error)) => (clock, Line::failed(CHECK, explain::store(&error))),
    };
    lines.push(failed);
    clock
}

async fn one_put(
    config: &Config,
    store: &Store,
    key: &ObjectKey,
    lines: &mut Vec<Line>,
) -> Result<Option<Clock>, Line> {
    stored(config, store, key, 1).await?;
    link::examine(config, store, key, lines).await
}

/// What an archive over `EXPORT_PUT_LIMIT` needs, and the sweep after a killed worker.
async fn two_parts(config: &Config, store: &Store, key: &ObjectKey) -> Result<(), Line> {
    let mut in_parts = config.clone();
    in_parts.put_limit = 0;
    let in_parts = connect::store(&in_parts).await.map_err(|error| failed(&error))?;
    stored(config, &in_parts, key, REPEATS).await?;
    if !store.is_listed(key).await.map_err(|error| failed(&error))? {
        return Err(failed(&anyhow::anyhow!("the store does not list an object that it holds")));
    }
    store.try_uploads(key).await.map_err(|error| failed(&error))
}

/// Stores a probe as an archive is stored.
async fn stored(config: &Config, store: &Store, key: &ObjectKey, repeats: usize) -> Result<(), Line> {
    let pulse = Pulse::default();
    let probe = probe(config, repeats, &pulse).map_err(|error| {
        let remedy = "fix EXPORT_SPOOL_DIR, or raise EXPORT_SPOOL_QUOTA over 9MiB";
        Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy))
    })?;
    let archive = Upload {
        file: &probe.file,
        bytes: probe.bytes,
        sha256: probe.sha256,
        crc64nvme: probe.crc64nvme,
        snapshot_at: probe.snapshot_at,
    };
    upload(store, key, &archive, &pulse).await.map_err(|error| failed(&error))
}

fn probe(config: &Config, repeats: usize, pulse: &Pulse) -> Result<Archive> {
    let mut file = Spool::new(&config.spool_dir, config.spool_quota)?.share(pulse).file()?;
    for _ in 0..repeats {
        file.write_all(PROBE).context("failed to write to the spool")?;
    }
    let (file, _hold) = file.into_parts()?;
    Archive::of_file(file, BTreeMap::new(), Utc::now(), pulse)
}

fn failed(error: &anyhow::Error) -> Line {
    let remedy = if error.is::<Failure>() {
        "use a store that keeps CRC-64/NVME of whole objects, as AWS S3 and versitygw do"
    } else if error.chain().any(|cause| cause.is::<StoreError>()) {
        return Line::failed(CHECK, explain::store(error));
    } else {
        "use a store that lists objects and uploads at once, as AWS S3 and versitygw do"
    };
    Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy))
}

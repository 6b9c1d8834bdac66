//! The path of an archive through the store: a small probe in one put, a large one in two parts. Both are deleted
//! immediately.

use std::time::Duration;

use anyhow::Result;
use export_activities::{
    failure::{Failure, StoreError},
    fulfil::upload::{FoundChecksum, Probe},
    spool::Spool,
    store::{Checksum, Store, object_key::ObjectKey},
};
use uuid::Uuid;

use super::{Clock, link};
use crate::{
    config::Config,
    connect::explain::{self, Explained},
    doctor::{CheckState, Line},
};

const CHECK: &str = "store";
/// Time limit while a person waits. A slower line makes exports slow, but is no fault of the store.
const PARTS_WITHIN: Duration = Duration::from_secs(15);

/// Stores both probes and reads the small one over its link. Returns the store's clock if it reported the time.
pub(super) async fn go_through(config: &Config, store: &Store, lines: &mut Vec<Line>) -> Option<Clock> {
    let spool = match Spool::new(&config.spool_dir, config.spool_quota) {
        Ok(spool) => spool,
        Err(error) => {
            let explained = Explained::new(format!("{error:#}"), "fix EXPORT_SPOOL_DIR");
            lines.push(Line::failed(CHECK, explained));
            return None;
        }
    };
    let mut probe = Probe::new(store, &spool);
    let (clock, line) = match one_put(config, store, &mut probe, lines).await {
        Ok(clock) => (clock, in_parts(store, &mut probe).await),
        Err(line) => (None, line),
    };
    let deleted = probe.delete().await;
    lines.push(match deleted {
        Err(error) if line.state == CheckState::Ok => Line::failed(CHECK, explain::store(&error)),
        _ => line,
    });
    clock
}

async fn one_put(
    config: &Config,
    store: &Store,
    probe: &mut Probe<'_>,
    lines: &mut Vec<Line>,
) -> Result<Option<Clock>, Line> {
    let small = probe.put().await.map_err(|error| failed(&error))?;
    link::examine(config, store, &small, lines).await
}

async fn in_parts(store: &Store, probe: &mut Probe<'_>) -> Line {
    match tokio::time::timeout(PARTS_WITHIN, two_parts(store, probe)).await {
        Ok(Ok(checksum)) => {
            let works = "put, head, link, upload in parts, lists, abort and delete work";
            let compared = explain::compared_by(checksum);
            let encrypted = explain::encrypted(store);
            Line::ok(CHECK, format!("`{}`: {works}; {compared}{encrypted}", store.bucket()))
        }
        Ok(Err(line)) => line,
        Err(_) => {
            let cause = format!("5 MiB were not stored in parts within {} s", PARTS_WITHIN.as_secs());
            let remedy = "check the network to the store and the store's load: large exports take long";
            Line::warning(CHECK, Explained::new(cause, remedy))
        }
    }
}

/// Checks the calls for an archive over `EXPORT_PUT_LIMIT`, and for the sweep after a killed worker. Returns the
/// checksum that `run` would use.
async fn two_parts(store: &Store, probe: &mut Probe<'_>) -> Result<Checksum, Line> {
    let FoundChecksum { checksum, large, .. } = probe.find().await.map_err(|error| failed(&error))?;
    if !store.is_listed(&large).await.map_err(|error| failed(&error))? {
        return Err(failed(&anyhow::anyhow!("the store does not list an object that it holds")));
    }
    let unfinished = ObjectKey::new(Uuid::new_v4(), Uuid::new_v4());
    store.try_uploads(&unfinished).await.map_err(|error| failed(&error))?;
    Ok(checksum)
}

fn failed(error: &anyhow::Error) -> Line {
    let known = error.chain().any(|cause| cause.is::<StoreError>() || cause.is::<Failure>());
    if known {
        return Line::failed(CHECK, explain::store(error));
    }
    let remedy = "use a store that lists objects and uploads at once, as AWS S3 and versitygw do";
    Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy))
}

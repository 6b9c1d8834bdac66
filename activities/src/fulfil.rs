//! Serves one request from `pending` to `ready`: the order of the steps. `outcome.rs` decides what a failed
//! step means for the request.
//!
//! The order of writes makes every crash harmless: claim, read, upload to the attempt's own key, read back, and only
//! then `ready`. An object is deleted only after the row was read, or released, and no commit can name it any more.

pub mod attempt;
mod collect;
mod files;
pub mod handover;
pub mod lease;
mod outcome;
pub mod pack;
pub mod presign;
mod progress;
pub mod ready;
pub mod upload;

use std::time::Duration;

use anyhow::{Context as _, Result};
use export_workflows::contract::Outcome;
use tokio::time::timeout;
use uuid::Uuid;

use self::{
    attempt::{Attempt, Job, Unfinished},
    collect::collect,
    lease::Heartbeat,
    outcome::{discard_object, end, give_up, release_later},
    ready::Race,
    upload::Upload,
};
use crate::{
    alone::{InFlight, SUSPECT},
    context::ExportSteps,
    failure::{Class, Doing, Failure, judge, panic::caught},
    metrics::Step,
    pulse::Pulse,
    receipt::{self, Receipt, ReceiptArchive},
    requests::{
        call::call,
        claim::{self, Claim, Claimed, Count},
        state::{Delivery, Trace},
    },
    store::{installation, object_key::ObjectKey},
};

/// How long a stopped attempt may take to end by itself (abort its upload, close its connection) before it is dropped.
/// With the two bounds in `outcome.rs`, an interrupted attempt ends within ten seconds.
const ENDING: Duration = Duration::from_secs(4);
/// Delay before an attempt asks again whether it may run beside other attempts of this worker, or alone.
const COME_BACK: Duration = Duration::from_secs(5);

/// Serves one request, or returns why it is unfinished.
///
/// `heartbeat` is called every two seconds with the rows and bytes moved so far, from the first step to the last.
pub async fn fulfil(
    steps: &ExportSteps,
    attempt: &Attempt,
    pulse: &Pulse,
    heartbeat: Heartbeat<'_>,
) -> Result<Outcome, Unfinished> {
    let stop = Pulse::child_of(pulse);
    tokio::select! {
        biased;
        ended = serve(steps, attempt, &stop) => ended,
        never = lease::beat(&stop, heartbeat) => match never {},
    }
}

async fn serve(steps: &ExportSteps, attempt: &Attempt, stop: &Pulse) -> Result<Outcome, Unfinished> {
    // A claim costs the row a write and one of `claims`. Do not claim while the store does not answer.
    if attempt.owner.attempt > 1
        && let Err(error) = installation::answers(&steps.store).await
    {
        return attempt.retry_or_defer(steps, judge(&error));
    }
    // Before the claim: an attempt without a claim is not counted as lost when the request that runs alone kills the
    // worker.
    let Some(beside) = steps.alone.beside() else { return come_back(steps, attempt) };
    let claim = match claim(steps, attempt, stop).await? {
        Begun::Claimed(claim) => claim,
        Begun::Ended(outcome) => return Ok(outcome),
    };
    let trace = Trace { night: attempt.input.night, run_id: attempt.run_id.clone() };
    let job = Job { steps, attempt, claim: &claim, trace: &trace };
    let Some(_in_flight) = alone_if_suspect(job, beside) else { return come_back(steps, attempt) };
    if claim.lost >= steps.settings.max_lost {
        return give_up(job, outcome::workers_lost(claim.lost), Count::Nothing).await;
    }
    match deliver_while_held(job, stop).await {
        Ok(outcome) => Ok(outcome),
        Err(error) => end(job, judge(&error)).await,
    }
}

/// Keeps a request that has lost workers apart from others. Returns `None`, and releases the claim, while others are in
/// flight.
fn alone_if_suspect(job: Job<'_>, beside: InFlight) -> Option<InFlight> {
    let Job { steps, claim, .. } = job;
    if claim.lost < SUSPECT {
        return Some(beside);
    }
    drop(beside);
    let alone = steps.alone.alone();
    if alone.is_none() {
        let waits = format!("waits to be tried alone: {} workers died while they held it", claim.lost);
        release_later(steps, claim.request_id, claim.token, waits, Count::Nothing);
    }
    alone
}

/// Delivers, and stops as soon as the attempt is cancelled, loses its claim, or stalls.
async fn deliver_while_held(job: Job<'_>, stop: &Pulse) -> Result<Outcome> {
    let Job { steps, claim, .. } = job;
    let (state, settings) = (&steps.state, &steps.settings);
    // Boxed: the future of a whole export is large.
    let work = caught("deliver", Box::pin(deliver(job, stop)));
    let stopped = async {
        tokio::select! {
            () = stop.cancelled() => Failure::Interrupted,
            why = lease::renew(state, claim.request_id, claim.token, settings.lease) => why,
            why = lease::watch(stop, settings.stall_timeout) => why,
            why = progress::report(job, stop) => why,
        }
    };
    let (mut work, mut stopped) = (std::pin::pin!(work), std::pin::pin!(stopped));
    tokio::select! {
        worked = &mut work => worked,
        reason = &mut stopped => {
            stop.cancel();
            // If it still reached an outcome, return that. Otherwise the error is the reason for the stop.
            match timeout(ENDING, work).await {
                Ok(Ok(outcome)) => Ok(outcome),
                _ => Err(reason.into()),
            }
        }
    }
}

/// Returns the attempt to Temporal, to come back after `COME_BACK`. Defers it to the second round if it has failed for
/// too long.
fn come_back(steps: &ExportSteps, attempt: &Attempt) -> Result<Outcome, Unfinished> {
    if attempt.has_failed_for_too_long(steps) {
        return Ok(Outcome::Deferred { code: "held".to_owned() });
    }
    Err(Unfinished::Held(COME_BACK))
}

/// How the claim of a request ended.
enum Begun {
    /// The attempt holds the request.
    Claimed(Box<Claim>),
    /// The attempt is over.
    Ended(Outcome),
}

/// Claims the request, or returns the outcome with which the attempt ends. A cancelled attempt stops waiting.
async fn claim(steps: &ExportSteps, attempt: &Attempt, stop: &Pulse) -> Result<Begun, Unfinished> {
    let (id, token) = (attempt.input.request_id, Uuid::new_v4());
    let claimed = tokio::select! {
        // First: an attempt that is already cancelled must not make a claim that it would have to release.
        biased;
        () = stop.cancelled() => Err(Failure::Interrupted.into()),
        claimed = call(claim::claim(&steps.state, id, token, &attempt.owner, steps.settings.lease)) => claimed,
    };
    let error = match claimed {
        Ok(Claimed::Granted(claim)) => return Ok(Begun::Claimed(claim)),
        Ok(Claimed::NotPending) => return Ok(Begun::Ended(Outcome::AlreadyDone)),
        Ok(Claimed::Held(_)) if attempt.has_failed_for_too_long(steps) => {
            return Ok(Begun::Ended(Outcome::Deferred { code: "held".to_owned() }));
        }
        Ok(Claimed::Held(rest)) => return Err(Unfinished::Held(rest)),
        Err(error) => judge(&error),
    };
    // The claim may have been granted and its answer lost.
    release_later(steps, id, token, error.to_string(), Count::Nothing);
    if error.class == Class::Interrupted {
        return Err(Unfinished::Interrupted);
    }
    attempt.retry_or_defer(steps, error).map(Begun::Ended)
}

/// Runs the steps, in order.
async fn deliver(job: Job<'_>, pulse: &Pulse) -> Result<Outcome> {
    let Job { steps, claim, trace, .. } = job;
    installation::require_location(claim.location.as_deref(), &steps.store)?;
    steps.installation.confirm(&steps.store).await?;
    let timer = steps.metrics.begin(Step::Archive);
    let archive = collect(steps, claim, pulse).await;
    // The plan may be at fault: not every change of a type shows before.
    let archive = archive.inspect_err(|_| steps.catalogue.forget_plan()).context(Doing("archive"))?;
    timer.end();

    let key = ObjectKey::new(claim.request_id, claim.token);
    let local = Upload {
        file: &archive.file,
        bytes: archive.bytes,
        sha256: archive.sha256,
        sum: archive.sum,
        snapshot_at: archive.snapshot_at,
    };
    pulse.begin_upload(archive.bytes);
    let timer = steps.metrics.begin(Step::Upload);
    upload::upload(&steps.store, &key, &local, pulse).await.context(Doing("upload"))?;
    timer.end();

    let timer = steps.metrics.begin(Step::Ready);
    let url = presign::link(&steps.store, &key, claim.now(), &steps.settings.links);
    let url = url.await.context(Doing("presign"))?;
    let rows = archive.row_counts.values().sum();
    let mut delivery = Delivery {
        object_key: key.as_str().to_owned(),
        object_location: steps.store.location().to_owned(),
        archive_bytes: i64::try_from(archive.bytes).context("the archive is too large for a bigint")?,
        archive_sha256: hex::encode(archive.sha256),
        row_counts: archive.row_counts,
        snapshot_at: archive.snapshot_at,
        expires_at: url.expires_at(),
        receipt: None,
    };
    delivery.receipt = receipt(steps, claim, &delivery)?;
    let race = ready::ready(&steps.state, claim, &delivery, &url, trace).await.context(Doing("ready"))?;
    timer.end();
    Ok(match race {
        Race::Won => Outcome::Fulfilled { archive_bytes: archive.bytes, rows },
        Race::Lost => {
            discard_object(job).await;
            Outcome::Superseded
        }
    })
}

/// Signs what is delivered, if this worker has a key for that.
fn receipt(steps: &ExportSteps, claim: &Claim, delivery: &Delivery) -> anyhow::Result<Option<String>> {
    let Some(key) = &steps.settings.receipts else { return Ok(None) };
    let now = claim.now();
    let receipt = Receipt {
        iss: receipt::issuer(steps.installation.id()),
        sub: claim.user_id.clone(),
        jti: claim.request_id,
        iat: now.timestamp(),
        requested_at: claim.requested_at,
        requested_as: claim.asked_as.clone(),
        scope: claim.scope.part_of_claim(steps.catalogue.offer())?.scope,
        snapshot_at: delivery.snapshot_at,
        ready_at: now,
        expires_at: delivery.expires_at,
        archive: ReceiptArchive {
            bytes: u64::try_from(delivery.archive_bytes).unwrap_or_default(),
            sha256: delivery.archive_sha256.clone(),
        },
        rows: delivery.row_counts.clone(),
        accesses: None,
    };
    key.sign(&receipt).map(Some)
}

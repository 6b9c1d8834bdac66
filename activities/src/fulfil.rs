//! Serves one request from `pending` to `ready`: the order of the steps. `outcome.rs` decides what a failed
//! step means for the request.
//!
//! The order of writes makes every crash harmless: claim, read, upload to the attempt's own key, read back, and only
//! then `ready`. An object is deleted only after the row was read, or released, and no commit can name it any more.

pub mod alone;
pub mod handover;
pub mod lease;
mod outcome;
pub mod pack;
pub mod presign;
pub mod ready;
pub mod upload;

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result};
use export_workflows::contract::{FulfilInput, Outcome};
use futures::FutureExt;
use tokio::time::timeout;
use uuid::Uuid;

use self::{
    alone::SUSPECT,
    handover::Handover,
    lease::Heartbeat,
    outcome::{EXHAUSTED, discard_object, end, give_up, release_later, system_failure, too_long},
    ready::Race,
    upload::Upload,
};
use crate::{
    archive::Archive,
    context::ExportSteps,
    failure::{Class, Doing, Failure, Verdict, judge},
    metrics::Step,
    pulse::Pulse,
    requests::{
        call::call,
        claim::{self, Claim, Claimed, Count, Owner},
        state::{Delivery, Trace},
    },
    source::{
        replica::{self, Opened},
        snapshot::{self, Account},
    },
    store::{installation, object_key::ObjectKey},
};

/// How long a stopped attempt may take to end by itself (abort its upload, close its connection) before it is dropped.
/// With the two bounds in `outcome.rs`, an interrupted attempt ends within ten seconds.
const ENDING: Duration = Duration::from_secs(4);
/// Delay before an attempt asks again whether it may run beside other attempts of this worker, or alone.
const COME_BACK: Duration = Duration::from_secs(5);

/// One attempt at one request.
pub struct Attempt {
    /// The request, and the night that it is served for.
    pub input: FulfilInput,
    /// Who attempts it.
    pub owner: Owner,
    /// The Temporal run.
    pub run_id: Option<String>,
    /// The state that earlier attempts have handed over.
    pub before: Handover,
}

/// Why an attempt ended without an outcome. Temporal retries it.
#[derive(Debug)]
pub enum Unfinished {
    /// Another attempt holds the request for this long at most.
    Held(Duration),
    /// Cancelled, drained, paused or reset.
    Interrupted,
    /// A failure; another attempt may succeed.
    Retry(Verdict),
}

impl Unfinished {
    /// Returns whether it counts towards `EXPORT_DEFER_AFTER`.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Held(_) => true,
            Self::Interrupted => false,
            Self::Retry(verdict) => verdict.class == Class::System,
        }
    }
}

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
    let request_id = attempt.input.request_id;
    // A claim costs the row a write and one of `claims`. Do not claim while the store does not answer.
    if attempt.owner.attempt > 1
        && let Err(error) = installation::answers(&steps.store).await
    {
        return system_failure(steps, attempt, judge(&error));
    }
    // Before the claim: an attempt without a claim is not counted as lost when the request that runs alone kills the
    // worker.
    let Some(beside) = steps.alone.beside() else { return come_back(steps, attempt) };
    let claim = match claim(steps, attempt, stop).await? {
        Begun::Claimed(claim) => claim,
        Begun::Ended(outcome) => return Ok(outcome),
    };
    let _in_flight = if claim.lost < SUSPECT {
        beside
    } else {
        drop(beside);
        match steps.alone.alone() {
            Some(alone) => alone,
            None => {
                let waits =
                    format!("waits to be tried alone: {} workers died while they held it", claim.lost);
                release_later(steps, request_id, claim.token, waits, Count::Nothing);
                return come_back(steps, attempt);
            }
        }
    };
    let trace = Trace { night: attempt.input.night, run_id: attempt.run_id.clone() };
    if claim.lost >= steps.settings.max_lost {
        let verdict = Verdict {
            class: EXHAUSTED,
            code: "workers_lost".to_owned(),
            detail: format!("{} workers died while they held it", claim.lost),
        };
        return give_up(steps, attempt, &claim, &trace, verdict, false).await;
    }

    let delivered = {
        // Boxed: the future of a whole export is large.
        let work = caught("deliver", Box::pin(deliver(steps, &claim, &trace, stop)));
        let (state, settings) = (&steps.state, &steps.settings);
        let stopped = async {
            tokio::select! {
                () = stop.cancelled() => Failure::Interrupted,
                why = lease::renew(state, request_id, claim.token, settings.lease) => why,
                why = lease::watch(stop, settings.stall_timeout) => why,
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
    };
    match delivered {
        Ok(outcome) => Ok(outcome),
        Err(error) => end(steps, attempt, &claim, &trace, judge(&error)).await,
    }
}

/// Returns the attempt to Temporal, to come back after `COME_BACK`. Defers it to the second round if it has failed for
/// too long.
fn come_back(steps: &ExportSteps, attempt: &Attempt) -> Result<Outcome, Unfinished> {
    if too_long(steps, attempt) {
        return Ok(Outcome::Deferred { code: "held".to_owned() });
    }
    Err(Unfinished::Held(COME_BACK))
}

/// How the claim of a request ended.
enum Begun {
    /// The attempt holds the request.
    Claimed(Claim),
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
        Ok(Claimed::Held(_)) if too_long(steps, attempt) => {
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
    system_failure(steps, attempt, error).map(Begun::Ended)
}

/// Turns a panic in `work` into a failure. Drops its message, which the SDK would show: it may hold a row value.
pub(crate) async fn caught<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    // Safe to unwind: the attempt restarts and reads nothing that the panic left half done.
    let worked = AssertUnwindSafe(work).catch_unwind().await;
    worked.unwrap_or_else(|_| Err(Failure::Panic(what.to_owned()).into()))
}

/// Runs the steps, in order.
async fn deliver(steps: &ExportSteps, claim: &Claim, trace: &Trace, pulse: &Pulse) -> Result<Outcome> {
    installation::require_location(claim.location.as_deref(), &steps.store)?;
    steps.installation.confirm(&steps.store).await?;
    let timer = steps.metrics.begin(Step::Archive);
    let archive = read(steps, claim, pulse).await.context(Doing("archive"))?;
    timer.end();

    let key = ObjectKey::new(claim.request_id, claim.token);
    let local = Upload {
        file: &archive.file,
        bytes: archive.bytes,
        sha256: archive.sha256,
        sum: archive.sum,
        snapshot_at: archive.snapshot_at,
    };
    let timer = steps.metrics.begin(Step::Upload);
    upload::upload(&steps.store, &key, &local, pulse).await.context(Doing("upload"))?;
    timer.end();

    let timer = steps.metrics.begin(Step::Ready);
    let url = presign::presign(&steps.store, &key, claim.now()).await.context(Doing("presign"))?;
    let rows = archive.row_counts.values().sum();
    let delivery = Delivery {
        object_key: key.as_str().to_owned(),
        object_location: steps.store.location().to_owned(),
        archive_bytes: i64::try_from(archive.bytes).context("the archive is too large for a bigint")?,
        archive_sha256: hex::encode(archive.sha256),
        row_counts: archive.row_counts,
        snapshot_at: archive.snapshot_at,
        expires_at: url.expires_at(),
    };
    let race = ready::ready(&steps.state, claim, &delivery, &url, trace).await.context(Doing("ready"))?;
    timer.end();
    Ok(match race {
        Race::Won => Outcome::Fulfilled { archive_bytes: archive.bytes, rows },
        Race::Lost => {
            discard_object(steps, claim).await;
            Outcome::Superseded
        }
    })
}

/// Reads the account into an archive: from the replica if a suitable one is there, else from the source.
async fn read(steps: &ExportSteps, claim: &Claim, pulse: &Pulse) -> Result<Archive> {
    let account = Account { request_id: claim.request_id, user_id: claim.user_id };
    let mut turn = None;
    if let Some(replica) = &steps.replica {
        turn = Some(replica.turn(pulse).await?);
        let opened = replica::open(replica, &steps.source, &steps.catalogue, &account, pulse).await?;
        let passed = match opened {
            Opened::Here(snapshot) => match pack::write_archive(snapshot, claim, steps, pulse).await {
                Err(error) => replica::passed(&error).ok_or(error)?,
                archive => {
                    steps.metrics.read(None);
                    return archive;
                }
            },
            Opened::Passed(passed) => passed,
        };
        steps.metrics.read(Some(&passed));
        tracing::warn!("Request {} is read on the source: {passed}", claim.request_id);
    }
    let snapshot = snapshot::open(&steps.source, &steps.catalogue, &account, pulse).await?;
    let archive = pack::write_archive(snapshot, claim, steps, pulse).await;
    drop(turn);
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking;

    #[tokio::test]
    async fn a_panic_is_our_own_fault_and_its_message_is_nowhere_on_whatever_thread_it_was() {
        let value = "alice@example.org";
        let here = caught::<()>("deliver", async move { panic!("the row of {value} was odd") });
        let beside = blocking::run::<(), _>("write", move || panic!("the row of {value} was odd"));
        let beside = caught("deliver", async { beside.await.context("failed to export") });
        for (what, error) in [("deliver", here.await), ("write", beside.await)] {
            let error = error.unwrap_err();
            let verdict = judge(&error);
            assert_eq!((verdict.class, verdict.code.as_str()), (Class::Request, "panic"));
            assert_eq!(verdict.detail, format!("a panic was caught at {what}"));
            assert!(!format!("{error:?} {verdict:?}").contains("alice"), "{error:?} {verdict:?}");
        }
    }

    #[tokio::test]
    async fn what_does_not_panic_is_passed_on_as_it_is() {
        assert_eq!(caught("count", async { Ok(3) }).await.unwrap(), 3);
        let error = caught::<()>("count", async { Err(Failure::SpoolFull.into()) }).await.unwrap_err();
        assert_eq!(judge(&error).code, "spool_full");
    }
}

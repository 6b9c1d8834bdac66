//! Serves one request from `pending` to `ready`: the order of the steps, and the outcome when one fails.
//!
//! The order of writes makes every crash harmless: claim, read, upload to the attempt's own key, read back, and only
//! then `ready`. An object is deleted only after the row was read, or released, and no commit can name it any more.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result};
use chrono::Utc;
use export_workflows::contract::{FailureReason, FulfilInput, Outcome};
use futures::FutureExt;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    alone::SUSPECT,
    archive::Archive,
    call::call,
    claim::{self, Claim, Claimed, Count, Owner},
    collect::{self, Account},
    exports::ExportSteps,
    failure::{Class, Doing, Failure, Verdict, judge},
    handover::Handover,
    installation,
    lease::{self, Heartbeat},
    metrics::Step,
    object_key::ObjectKey,
    pipeline, presign,
    pulse::Pulse,
    ready::{self, Race},
    replica::{self, Opened},
    request::{self, Brake, Delivery, Failed, Trace},
    upload::{self, Upload},
};

/// Failures of our own code after which a request rests until the next night.
const ATTEMPTS_A_NIGHT: u32 = 5;
/// The class of a request that used up its attempts or its workers.
const EXHAUSTED: Class = Class::Permanent(FailureReason::AttemptsExhausted);
/// How long a stopped attempt may take to end by itself (abort its upload, close its connection) before it is dropped.
/// With the two bounds below, an interrupted attempt ends within ten seconds.
const ENDING: Duration = Duration::from_secs(4);
/// How long a failed attempt waits for the release of its claim. The release then continues in the background.
const RELEASING: Duration = Duration::from_secs(3);
/// How long a failed attempt tries to delete its object. After that the object is left to the sweep.
const DISCARDING: Duration = Duration::from_secs(2);
/// Delay before an attempt asks again whether it may run beside other attempts of this worker, or alone.
const COME_BACK: Duration = Duration::from_secs(5);
/// Timeout of one try to release a claim in the background, and the delay before the next.
const RELEASE_AGAIN: Duration = Duration::from_secs(5);
/// Maximum number of these tries, for a quarter of an hour: by then the lease has long expired.
const MOST_RELEASES: u32 = 180;

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
            Opened::Here(snapshot) => match pipeline::write_archive(snapshot, claim, steps, pulse).await {
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
    let snapshot = collect::open(&steps.source, &steps.catalogue, &account, pulse).await?;
    let archive = pipeline::write_archive(snapshot, claim, steps, pulse).await;
    drop(turn);
    archive
}

/// Ends a failed attempt. The class of the failure decides whether the request fails, rests, or is tried again.
async fn end(
    steps: &ExportSteps,
    attempt: &Attempt,
    claim: &Claim,
    trace: &Trace,
    verdict: Verdict,
) -> Result<Outcome, Unfinished> {
    match verdict.class {
        Class::Permanent(_) => give_up(steps, attempt, claim, trace, verdict, false).await,
        Class::Request if claim.attempts + 1 >= steps.settings.max_attempts => {
            give_up(steps, attempt, claim, trace, Verdict { class: EXHAUSTED, ..verdict }, true).await
        }
        Class::Request => {
            let rests = (claim.attempts + 1).is_multiple_of(ATTEMPTS_A_NIGHT);
            let count = if rests { Count::AttemptAndRest } else { Count::Attempt };
            match release(steps, claim, &verdict, count).await {
                Released::Taken => return Ok(Outcome::Superseded),
                Released::Done if rests => {}
                Released::Done | Released::Unknown => return Err(Unfinished::Retry(verdict)),
            }
            tracing::error!(
                error.chain = %verdict,
                "Request {} failed in our own code {} times; it rests until the next night",
                claim.request_id,
                claim.attempts + 1
            );
            Ok(Outcome::GivenUpTonight)
        }
        Class::Interrupted => {
            release(steps, claim, &verdict, Count::Nothing).await;
            Err(Unfinished::Interrupted)
        }
        Class::System => {
            let night = attempt.input.night.filter(|_| too_long(steps, attempt));
            let count = night.map_or(Count::Nothing, Count::Deferral);
            let released = release(steps, claim, &verdict, count).await;
            if released == Released::Taken && verdict.code == Failure::ClaimLost.code() {
                return Ok(Outcome::Superseded);
            }
            system_failure(steps, attempt, verdict)
        }
    }
}

/// Moves the request `pending -> failed`, and deletes the attempt's own object.
async fn give_up(
    steps: &ExportSteps,
    attempt: &Attempt,
    claim: &Claim,
    trace: &Trace,
    verdict: Verdict,
    counted: bool,
) -> Result<Outcome, Unfinished> {
    let Class::Permanent(reason) = verdict.class else { return Err(Unfinished::Retry(verdict)) };
    let text = verdict.to_string();
    let (state, id, token) = (&steps.state, claim.request_id, claim.token);
    let brake = if attempt.input.accept.contains(&reason) { Brake::Off } else { Brake::On };
    match call(request::mark_failed(state, id, token, reason, &text, counted, trace, brake)).await {
        Ok(Failed::Done) => {
            tracing::info!(request.id = %id, failure.reason = reason.as_str(), "Request {id} failed: {text}");
            discard_object(steps, claim).await;
            Ok(Outcome::Failed { reason })
        }
        Ok(Failed::HeldBack) => {
            tracing::warn!(
                request.id = %id,
                failure.reason = reason.as_str(),
                "Request {id} is held back, because too many of the night would fail: {text}"
            );
            discard_object(steps, claim).await;
            Ok(Outcome::HeldBack { reason })
        }
        Ok(Failed::Taken) => {
            discard_if_not_named(steps, claim).await;
            Ok(Outcome::Superseded)
        }
        // The commit may have taken place. The next attempt finds out: it ends as `already_done`, or fails the request
        // again.
        Err(error) => {
            let verdict = judge(&error);
            release(steps, claim, &verdict, Count::Nothing).await;
            system_failure(steps, attempt, verdict)
        }
    }
}

/// How the release of a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Released {
    /// The request is free.
    Done,
    /// It was no longer this attempt's.
    Taken,
    /// The database failed or did not answer in time. The release continues in the background.
    Unknown,
}

/// Releases the claim. If that updated the row, deletes the object: no commit can name the attempt's key any more.
async fn release(steps: &ExportSteps, claim: &Claim, verdict: &Verdict, count: Count) -> Released {
    let (id, token, text) = (claim.request_id, claim.token, verdict.to_string());
    let released = claim::release(&steps.state, id, token, &text, count);
    let error = match timeout(RELEASING, released).await {
        Ok(Ok(true)) => {
            discard_object(steps, claim).await;
            return Released::Done;
        }
        Ok(Ok(false)) => {
            discard_if_not_named(steps, claim).await;
            return Released::Taken;
        }
        Ok(Err(error)) => judge(&error).to_string(),
        Err(_) => format!("no answer within {} s", RELEASING.as_secs()),
    };
    tracing::warn!(
        error.chain = %error,
        "The claim on request {id} could not be released; it is tried again in the background"
    );
    release_later(steps, id, token, text, count);
    Released::Unknown
}

/// Releases a claim in the background. A claim that an ended attempt leaves on the row would count as a killed worker.
///
/// Ignores a first answer of `false`: the call that makes the claim may still be under way.
fn release_later(steps: &ExportSteps, request_id: Uuid, token: Uuid, last_error: String, count: Count) {
    let state = steps.state.clone();
    tokio::spawn(async move {
        for number in 1..=MOST_RELEASES {
            let released = claim::release(&state, request_id, token, &last_error, count);
            match timeout(RELEASE_AGAIN, released).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) if number > 1 => return,
                _ => tokio::time::sleep(RELEASE_AGAIN).await,
            }
        }
    });
}

/// Reads the row, and deletes this attempt's object unless the row names it or carries its token.
async fn discard_if_not_named(steps: &ExportSteps, claim: &Claim) {
    let key = ObjectKey::new(claim.request_id, claim.token);
    let error = match timeout(RELEASING, request::standing(&steps.state, claim.request_id)).await {
        Ok(Ok(Some(row)))
            if row.object_key.as_deref() == Some(key.as_str()) || row.claim_token == Some(claim.token) =>
        {
            return;
        }
        Ok(Ok(_)) => return discard_object(steps, claim).await,
        Ok(Err(error)) => judge(&error).to_string(),
        Err(_) => format!("no answer within {} s", RELEASING.as_secs()),
    };
    tracing::warn!(
        error.chain = %error,
        "Object `{}` was left to the sweep: its request could not be read back", key.as_str()
    );
}

/// Deletes this attempt's object and uploads. Leaves to the sweep what cannot be deleted in time.
async fn discard_object(steps: &ExportSteps, claim: &Claim) {
    let key = ObjectKey::new(claim.request_id, claim.token);
    let discard = async {
        let (aborted, deleted) = (steps.store.abort_uploads(&key).await, steps.store.delete(&key).await);
        aborted.and(deleted)
    };
    let error = match timeout(DISCARDING, discard).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => judge(&error).to_string(),
        Err(_) => format!("no answer within {} s", DISCARDING.as_secs()),
    };
    tracing::warn!(error.chain = %error, "Object `{}` was left to the sweep", key.as_str());
}

/// Retries a fault of the system, and after `defer_after` defers it to the second round. It never counts against the
/// request.
fn system_failure(steps: &ExportSteps, attempt: &Attempt, verdict: Verdict) -> Result<Outcome, Unfinished> {
    if too_long(steps, attempt) {
        return Ok(Outcome::Deferred { code: verdict.code });
    }
    Err(Unfinished::Retry(verdict))
}

/// Returns whether the attempts at this activity have failed for `EXPORT_DEFER_AFTER` or longer. The wait for a slot
/// before the first attempt does not count.
fn too_long(steps: &ExportSteps, attempt: &Attempt) -> bool {
    let since = attempt.before.failing_since.unwrap_or_else(Utc::now);
    (Utc::now() - since).to_std().unwrap_or_default() >= steps.settings.defer_after
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

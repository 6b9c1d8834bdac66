//! One request from `pending` to `ready`: the order of the steps, and what becomes of the request when one fails.
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
/// The end of a request on which too many attempts, or workers, were spent.
const EXHAUSTED: Class = Class::Permanent(FailureReason::AttemptsExhausted);
/// How long a stopped attempt may take to end by itself (abort its upload, close its connection) before it is dropped
/// where it stands. With the two bounds below, an interrupted attempt is gone within ten seconds.
const ENDING: Duration = Duration::from_secs(4);
/// How long a failed attempt waits for the release of its claim, which then goes on without it.
const RELEASING: Duration = Duration::from_secs(3);
/// How long it tries to remove its object; the sweep takes what is left.
const DISCARDING: Duration = Duration::from_secs(2);
/// After this time an attempt asks again whether it may begin beside, or without, others of this worker.
const COME_BACK: Duration = Duration::from_secs(5);
/// Between two tries to release a claim without its attempt.
const RELEASE_AGAIN: Duration = Duration::from_secs(5);
/// Tries for a quarter of an hour; after that the lease has long run out.
const MOST_RELEASES: u32 = 180;

/// One attempt at one request.
pub struct Attempt {
    /// The request, and the night in whose name it is served.
    pub input: FulfilInput,
    /// Who attempts it.
    pub owner: Owner,
    /// The Temporal run.
    pub run_id: Option<String>,
    /// What the attempts before have left.
    pub before: Handover,
}

/// Why an attempt ended without an outcome: Temporal will try again.
#[derive(Debug)]
pub enum Unfinished {
    /// Another attempt holds the request for this long at most.
    Held(Duration),
    /// Cancelled, drained, paused or reset.
    Interrupted,
    /// A failure that another attempt may not meet.
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

/// Serves one request, or says why not yet.
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
    // Claiming costs the row a write and a `claims`; not worth it while the store is known to be away.
    if attempt.owner.attempt > 1
        && let Err(error) = installation::answers(&steps.store).await
    {
        return system_failure(steps, attempt, judge(&error));
    }
    // Before the claim: what does not hold its request is not blamed when the one that runs alone kills the worker.
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
                // What it may have achieved in the meantime counts; how it failed does not.
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

/// Leaves the worker to others for a while; an attempt that came back too often waits for the second round.
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

/// Takes the request, or says with which outcome the attempt ends instead. A cancelled attempt waits no longer.
async fn claim(steps: &ExportSteps, attempt: &Attempt, stop: &Pulse) -> Result<Begun, Unfinished> {
    let (id, token) = (attempt.input.request_id, Uuid::new_v4());
    let claimed = tokio::select! {
        // First, so that an attempt which is cancelled already claims nothing that it would have to give back.
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
    // The answer may be lost and the claim there.
    release_later(steps, id, token, error.to_string(), Count::Nothing);
    if error.class == Class::Interrupted {
        return Err(Unfinished::Interrupted);
    }
    system_failure(steps, attempt, error).map(Begun::Ended)
}

/// Makes a failure of a panic in `work`; its message, which the SDK would show, is dropped: it may hold a row value.
pub(crate) async fn caught<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    // Nothing that a panic may have left half done is looked at again: the attempt starts over.
    let worked = AssertUnwindSafe(work).catch_unwind().await;
    worked.unwrap_or_else(|_| Err(Failure::Panic(what.to_owned()).into()))
}

/// The steps, in order.
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

/// Reads the account into an archive, on the replica if there is one that will do, else on the source.
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

/// Ends an attempt that failed: by its class, the request fails, rests, or is tried again.
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

/// `pending -> failed`, and the attempt's own object with it.
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
        // Whether the commit took place is unknown; the next attempt finds out, as `already_done` or again.
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
    /// The database did not answer in time; the release goes on without the attempt.
    Unknown,
}

/// Releases the claim; if that updated the row, no commit can name the attempt's key any more, and the object goes.
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

/// Releases a claim in the background: one that its attempt has left behind would be taken for a killed worker's.
///
/// The first answer is not believed, because the call whose claim is to be released may still be under way then.
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

/// Removes the own object on the strength of a row that was read and does not name it.
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

/// Removes the own object and upload; what cannot be removed in time is an orphan that the sweep takes.
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

/// A fault of the system is never the request's: it is tried again, and after `defer_after` left to the second round.
fn system_failure(steps: &ExportSteps, attempt: &Attempt, verdict: Verdict) -> Result<Outcome, Unfinished> {
    if too_long(steps, attempt) {
        return Ok(Outcome::Deferred { code: verdict.code });
    }
    Err(Unfinished::Retry(verdict))
}

/// Returns whether the attempts at this activity have been failing for longer than `EXPORT_DEFER_AFTER`. How long it
/// had waited for a slot before the first of them does not matter.
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

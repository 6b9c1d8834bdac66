//! One request from `pending` to `ready`: the order of the steps, and what becomes of the request when one fails.
//!
//! The order of writes makes every crash harmless: claim, read, upload to the attempt's own key, read back, and only
//! then `ready`. An object is deleted only after the row was read, or released, and no commit can name it any more.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use export_workflows::contract::{FailureReason, FulfilInput, Outcome};
use futures::FutureExt;

use crate::{
    archive::Archive,
    claim::{self, Claim, Claimed, Owner},
    collect::{self, Account},
    exports::ExportSteps,
    failure::{Class, Failure, Verdict, judge},
    installation,
    lease::{self, Heartbeat},
    metrics::Step,
    object_key::ObjectKey,
    pipeline, presign,
    pulse::Pulse,
    ready::{self, Race},
    replica,
    request::{self, Delivery, Trace},
    upload::{self, Upload},
};

/// Failures of our own code after which a request rests until the next night.
const ATTEMPTS_A_NIGHT: u32 = 5;
/// The end of a request on which too many attempts, or workers, were spent.
const EXHAUSTED: Class = Class::Permanent(FailureReason::AttemptsExhausted);
/// How long a stopped attempt may take to let go by itself (abort its upload, close its connection) before
/// it is dropped where it stands; an interrupted attempt has to be gone within ten seconds.
const LETTING_GO: Duration = Duration::from_secs(4);

/// One attempt at one request.
pub struct Attempt {
    /// The request, and the night in whose name it is served.
    pub input: FulfilInput,
    /// Who attempts it.
    pub owner: Owner,
    /// The Temporal run.
    pub run_id: Option<String>,
    /// When Temporal scheduled the activity, its first attempt that is.
    pub scheduled_at: SystemTime,
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

/// Serves one request, or says why not yet.
///
/// `heartbeat` is called every two seconds with the rows and bytes moved so far.
pub async fn fulfil(
    steps: &ExportSteps,
    attempt: &Attempt,
    pulse: &Pulse,
    heartbeat: Heartbeat<'_>,
) -> Result<Outcome, Unfinished> {
    let request_id = attempt.input.request_id;
    // Claiming costs the row a write and a `claims`; not worth it while the store is known to be away.
    if attempt.owner.attempt > 1
        && let Err(error) = installation::answers(&steps.store).await
    {
        return system_failure(steps, attempt, judge(&error));
    }
    let claim = match claim::claim(&steps.state, request_id, &attempt.owner, steps.settings.lease).await {
        Ok(Claimed::Granted(claim)) => claim,
        Ok(Claimed::NotPending) => return Ok(Outcome::AlreadyDone),
        Ok(Claimed::Held(rest)) if waited(attempt) < steps.settings.defer_after => {
            return Err(Unfinished::Held(rest));
        }
        Ok(Claimed::Held(_)) => return Ok(Outcome::Deferred { code: "held".to_owned() }),
        Err(error) => return system_failure(steps, attempt, judge(&error)),
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

    let stop = Pulse::child_of(pulse);
    let delivered = {
        // Boxed: the future of a whole export is large.
        let work = caught("deliver", Box::pin(deliver(steps, &claim, &trace, &stop)));
        let keep = lease::keep(
            &steps.state,
            request_id,
            claim.token,
            steps.settings.lease,
            steps.settings.stall_timeout,
            &stop,
            heartbeat,
        );
        let (mut work, mut keep) = (std::pin::pin!(work), std::pin::pin!(keep));
        tokio::select! {
            worked = &mut work => worked,
            reason = &mut keep => {
                stop.cancel();
                // What it may have achieved in the meantime counts; how it failed does not.
                match tokio::time::timeout(LETTING_GO, work).await {
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
    let archive = read(steps, claim, pulse).await?;
    timer.end();

    let key = ObjectKey::new(claim.request_id, claim.token);
    let local = Upload {
        file: &archive.file,
        bytes: archive.bytes,
        sha256: archive.sha256,
        crc64nvme: archive.crc64nvme,
        snapshot_at: archive.snapshot_at,
    };
    let timer = steps.metrics.begin(Step::Upload);
    upload::upload(&steps.store, &key, &local, pulse).await?;
    timer.end();

    let timer = steps.metrics.begin(Step::Ready);
    let url = presign::presign(&steps.store, &key, claim.now()).await?;
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
    let race = ready::ready(&steps.state, claim, &delivery, &url, trace).await?;
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
            Ok(snapshot) => match pipeline::write_archive(snapshot, claim, steps, pulse).await {
                Err(error) => replica::passed(&error).ok_or(error)?,
                archive => {
                    steps.metrics.read(None);
                    return archive;
                }
            },
            Err(passed) => passed,
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
            if !let_go(steps, claim, &verdict, true).await {
                return Ok(Outcome::Superseded);
            }
            if (claim.attempts + 1).is_multiple_of(ATTEMPTS_A_NIGHT) {
                tracing::error!(
                    error.chain = %verdict,
                    "Request {} failed in our own code {} times; it rests until the next night",
                    claim.request_id,
                    claim.attempts + 1
                );
                return Ok(Outcome::GivenUpTonight);
            }
            Err(Unfinished::Retry(verdict))
        }
        Class::Interrupted => {
            let_go(steps, claim, &verdict, false).await;
            Err(Unfinished::Interrupted)
        }
        Class::System => {
            if !let_go(steps, claim, &verdict, false).await && verdict.code == Failure::ClaimLost.code() {
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
    match request::mark_failed(state, id, token, reason, &text, counted, trace).await {
        Ok(true) => {
            tracing::info!(request.id = %id, failure.reason = reason.as_str(), "Request {id} failed: {text}");
            discard_object(steps, claim).await;
            Ok(Outcome::Failed { reason })
        }
        Ok(false) => {
            discard_if_not_named(steps, claim).await;
            Ok(Outcome::Superseded)
        }
        // Whether the commit took place is unknown; the next attempt finds out, as `already_done` or again.
        Err(error) => system_failure(steps, attempt, judge(&error)),
    }
}

/// Releases the claim; if that updated the row, no commit can name the attempt's key any more, and the object goes.
async fn let_go(steps: &ExportSteps, claim: &Claim, verdict: &Verdict, counted: bool) -> bool {
    let text = verdict.to_string();
    match claim::release(&steps.state, claim.request_id, claim.token, &text, counted).await {
        Ok(true) => {
            discard_object(steps, claim).await;
            true
        }
        Ok(false) => {
            discard_if_not_named(steps, claim).await;
            false
        }
        Err(error) => {
            tracing::warn!(
                error.chain = %judge(&error),
                "The claim on request {} could not be released; its lease runs out by itself", claim.request_id
            );
            true
        }
    }
}

/// Removes the own object on the strength of a row that was read and does not name it.
async fn discard_if_not_named(steps: &ExportSteps, claim: &Claim) {
    let key = ObjectKey::new(claim.request_id, claim.token);
    match request::standing(&steps.state, claim.request_id).await {
        Ok(Some(row))
            if row.object_key.as_deref() == Some(key.as_str()) || row.claim_token == Some(claim.token) => {}
        Ok(_) => discard_object(steps, claim).await,
        Err(error) => tracing::warn!(
            error.chain = %judge(&error),
            "Object `{}` was left to the sweep: its request could not be read back", key.as_str()
        ),
    }
}

/// Removes the own object and upload; what cannot be removed is an orphan that the sweep takes.
async fn discard_object(steps: &ExportSteps, claim: &Claim) {
    let key = ObjectKey::new(claim.request_id, claim.token);
    for removed in [steps.store.abort_uploads(&key).await, steps.store.delete(&key).await] {
        if let Err(error) = removed {
            tracing::warn!(error.chain = %judge(&error), "Object `{}` was left to the sweep", key.as_str());
        }
    }
}

/// A fault of the system is never the request's: it is tried again, and after `defer_after` left to the second look.
fn system_failure(steps: &ExportSteps, attempt: &Attempt, verdict: Verdict) -> Result<Outcome, Unfinished> {
    if waited(attempt) >= steps.settings.defer_after {
        return Ok(Outcome::Deferred { code: verdict.code });
    }
    Err(Unfinished::Retry(verdict))
}

fn waited(attempt: &Attempt) -> Duration {
    attempt.scheduled_at.elapsed().unwrap_or_default()
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

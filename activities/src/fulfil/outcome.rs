//! Decides what becomes of a request when a step of its attempt fails: it fails, rests, is deferred or is retried.
//!
//! Each end releases the claim, or leaves the release to a background task. It deletes the object of the attempt only
//! after the row shows that no commit names it. It never runs a step.

use std::time::Duration;

use export_workflows::contract::{FailureReason, Outcome};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    context::ExportSteps,
    failure::{Class, Failure, Verdict, judge},
    fulfil::attempt::{Job, Unfinished},
    requests::{
        call::call,
        claim::{self, Count, Released},
        state::{self, Brake, Failed, Failing},
    },
    store::object_key::ObjectKey,
};

/// The class of a request that used up its attempts or its workers.
const EXHAUSTED: Class = Class::Permanent(FailureReason::AttemptsExhausted);
/// Failures of our own code after which a request rests until the next night.
const ATTEMPTS_A_NIGHT: u32 = 5;
/// How long a failed attempt waits for the release of its claim. The release then continues in the background.
const RELEASING: Duration = Duration::from_secs(3);
/// How long a failed attempt tries to delete its object. After that the object is left to the sweep.
const DISCARDING: Duration = Duration::from_secs(2);
/// Timeout of one try to release a claim in the background, and the delay before the next.
const RELEASE_AGAIN: Duration = Duration::from_secs(5);
/// Maximum number of these tries, for a quarter of an hour: by then the lease has long expired.
const MOST_RELEASES: u32 = 180;

/// Returns why a request that has used up its workers fails.
pub(super) fn workers_lost(lost: u32) -> Verdict {
    Verdict {
        class: EXHAUSTED,
        code: "workers_lost".to_owned(),
        detail: format!("{lost} workers died while they held it"),
    }
}

/// Ends a failed attempt. The class of the failure decides whether the request fails, rests, or is tried again.
pub(super) async fn end(job: Job<'_>, verdict: Verdict) -> Result<Outcome, Unfinished> {
    let Job { steps, attempt, claim, .. } = job;
    match verdict.class {
        Class::Permanent(_) => give_up(job, verdict, Count::Nothing).await,
        Class::Request if claim.attempts + 1 >= steps.settings.max_attempts => {
            give_up(job, Verdict { class: EXHAUSTED, ..verdict }, Count::Attempt).await
        }
        Class::Request => {
            let rests = (claim.attempts + 1).is_multiple_of(ATTEMPTS_A_NIGHT);
            let count = if rests { Count::AttemptAndRest } else { Count::Attempt };
            match release(job, &verdict, count).await {
                Released::Lost => return Ok(Outcome::Superseded),
                Released::Released if rests => {}
                Released::Released | Released::Unknown(_) => return Err(Unfinished::Retry(verdict)),
            }
            tracing::error!(
                error.chain = %verdict,
                "Request {} failed {} times by a bug in export-worker and is tried again in the next night: report it with its log lines",
                claim.request_id,
                claim.attempts + 1
            );
            Ok(Outcome::GivenUpTonight)
        }
        Class::Interrupted => {
            release(job, &verdict, Count::Nothing).await;
            Err(Unfinished::Interrupted)
        }
        Class::System => {
            let night = attempt.input.night.filter(|_| attempt.has_failed_for_too_long(steps));
            let count = night.map_or(Count::Nothing, Count::Deferral);
            let released = release(job, &verdict, count).await;
            if matches!(released, Released::Lost) && verdict.code == Failure::ClaimLost.code() {
                return Ok(Outcome::Superseded);
            }
            attempt.retry_or_defer(steps, verdict)
        }
    }
}

/// Moves the request `pending -> failed`, and deletes the attempt's own object.
pub(super) async fn give_up(job: Job<'_>, verdict: Verdict, count: Count) -> Result<Outcome, Unfinished> {
    let Job { steps, attempt, claim, trace } = job;
    let Class::Permanent(reason) = verdict.class else { return Err(Unfinished::Retry(verdict)) };
    // The night counts such failures, and holds back when there are too many.
    if attempt.input.by_day {
        return match release(job, &verdict, count).await {
            Released::Lost => Ok(Outcome::Superseded),
            Released::Released | Released::Unknown(_) => Ok(Outcome::Deferred { code: verdict.code }),
        };
    }
    let text = verdict.to_string();
    let id = claim.request_id;
    let brake = if attempt.input.accept.contains(&reason) { Brake::Off } else { Brake::On };
    let failing = Failing { reason, last_error: &text, count, brake };
    match call(state::mark_failed(&steps.state, id, claim.token, &failing, trace)).await {
        Ok(Failed::Done) => {
            tracing::info!(request.id = %id, failure.reason = reason.as_str(), "Request {id} failed: {text}");
            discard_object(job).await;
            Ok(Outcome::Failed { reason })
        }
        Ok(Failed::HeldBack) => {
            tracing::warn!(
                request.id = %id,
                failure.reason = reason.as_str(),
                "Request {id} was not failed and waits for a person, because so many of the night would fail: {text}"
            );
            discard_object(job).await;
            Ok(Outcome::HeldBack { reason })
        }
        Ok(Failed::Taken) => {
            discard_if_not_named(job).await;
            Ok(Outcome::Superseded)
        }
        // The commit may have taken place. The next attempt finds out: it ends as `already_done`, or fails the request
        // again.
        Err(error) => {
            let verdict = judge(&error);
            release(job, &verdict, Count::Nothing).await;
            attempt.retry_or_defer(steps, verdict)
        }
    }
}

/// Releases the claim. If that updated the row, deletes the object: no commit can name the attempt's key any more.
async fn release(job: Job<'_>, verdict: &Verdict, count: Count) -> Released {
    let Job { steps, claim, .. } = job;
    let (id, token, text) = (claim.request_id, claim.token, verdict.to_string());
    let released = claim::release(&steps.state, id, token, &text, count);
    let error = match timeout(RELEASING, released).await {
        Ok(Released::Released) => {
            discard_object(job).await;
            return Released::Released;
        }
        Ok(Released::Lost) => {
            discard_if_not_named(job).await;
            return Released::Lost;
        }
        Ok(Released::Unknown(error)) => error,
        Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into(),
    };
    tracing::warn!(
        error.chain = %judge(&error),
        "The claim on request {id} could not be released; it is retried in the background"
    );
    release_later(steps, id, token, text, count);
    Released::Unknown(error)
}

/// Releases a claim in the background. A claim that an ended attempt leaves on the row would count as a killed worker.
///
/// Ignores a first answer of `Lost`: the call that makes the claim may still be under way.
pub(super) fn release_later(
    steps: &ExportSteps,
    request_id: Uuid,
    token: Uuid,
    last_error: String,
    count: Count,
) {
    let state = steps.state.clone();
    tokio::spawn(async move {
        for number in 1..=MOST_RELEASES {
            let released = claim::release(&state, request_id, token, &last_error, count);
            match timeout(RELEASE_AGAIN, released).await {
                Ok(Released::Released) => return,
                Ok(Released::Lost) if number > 1 => return,
                _ => tokio::time::sleep(RELEASE_AGAIN).await,
            }
        }
    });
}

/// Reads the row, and deletes this attempt's object unless the row names it or carries its token.
async fn discard_if_not_named(job: Job<'_>) {
    let Job { steps, claim, .. } = job;
    let key = ObjectKey::new(claim.request_id, claim.token);
    let error = match timeout(RELEASING, state::read_back(&steps.state, claim.request_id)).await {
        Ok(Ok(Some(row)))
            if row.object_key.as_deref() == Some(key.as_str()) || row.claim_token == Some(claim.token) =>
        {
            return;
        }
        Ok(Ok(_)) => return discard_object(job).await,
        Ok(Err(error)) => judge(&error).to_string(),
        Err(_) => format!("no answer within {} s", RELEASING.as_secs()),
    };
    tracing::warn!(
        error.chain = %error,
        "Could not delete object `{}`; the sweep deletes it: its request could not be read back", key.as_str()
    );
}

/// Deletes this attempt's object and uploads. Leaves to the sweep what cannot be deleted in time.
pub(super) async fn discard_object(job: Job<'_>) {
    let Job { steps, claim, .. } = job;
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
    tracing::warn!(error.chain = %error, "Could not delete object `{}`; the sweep deletes it", key.as_str());
}

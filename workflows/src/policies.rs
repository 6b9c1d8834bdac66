//! How long each activity may take and how it is retried; every number with its reason.

use std::time::Duration;

use temporalio_common::{ActivityCloseTimeouts, RetryPolicy};
use temporalio_workflow::{ActivityCancellationType, ActivityOptions};
use uuid::Uuid;

use crate::contract::passes_queue;

/// Temporal notices a dead worker after this time; a live one beats every few seconds.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// When listing fails for this long, the night fails after its expiry pass.
const LISTING: Duration = Duration::from_secs(30 * 60);
const ONE_PAGE: Duration = Duration::from_secs(2 * 60);
/// The largest account takes minutes. A day is only a bound, so that a run does not hang for ever.
const ONE_EXPORT: Duration = Duration::from_secs(24 * 3600);
const ONE_PASS: Duration = Duration::from_secs(2 * 3600);
/// A pass that failed three times is left to the next one, minutes or a night later.
const PASS_ATTEMPTS: u32 = 3;

/// Waits 5 s, 10 s, 20 s, up to 5 min between attempts. `maximum_attempts` 0 means no limit.
fn retry(maximum_attempts: u32) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(Duration::from_secs(5))
        .backoff_coefficient(2.0)
        .maximum_interval(Duration::from_secs(5 * 60))
        .maximum_attempts(maximum_attempts)
        .build()
}

/// Listing a page: retried for half an hour.
pub(crate) fn list_pending() -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: LISTING,
        start_to_close: ONE_PAGE,
    })
    .retry_policy(retry(0))
    .build()
}

/// One request: retried until it has an outcome. The activity itself defers when a fault lasts.
pub(crate) fn fulfil(request_id: Uuid) -> ActivityOptions {
    one_request(request_id, retry(0))
}

/// One request by day: a single attempt. The night retries.
pub(crate) fn fulfil_by_day(request_id: Uuid) -> ActivityOptions {
    one_request(request_id, retry(1))
}

fn one_request(request_id: Uuid, retries: RetryPolicy) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::ScheduleAndStartToClose {
        schedule_to_close: ONE_EXPORT,
        start_to_close: ONE_EXPORT,
    })
    .heartbeat_timeout(HEARTBEAT)
    // Every operator sees both, and neither is ever encrypted: they hold only the opaque id.
    .activity_id(request_id.to_string())
    .summary(format!("request {request_id}"))
    // A cancelled night ends only after each attempt has released its request.
    .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
    .retry_policy(retries)
    .do_not_eagerly_execute(true)
    .build()
}

/// Expiry and sweep, for a run on this task queue.
pub(crate) fn pass(task_queue: &str, summary: &str) -> ActivityOptions {
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::StartToClose(ONE_PASS))
        .task_queue(passes_queue(task_queue))
        .heartbeat_timeout(HEARTBEAT)
        .summary(summary.to_owned())
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .retry_policy(retry(PASS_ATTEMPTS))
        .build()
}

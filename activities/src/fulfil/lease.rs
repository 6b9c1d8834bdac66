//! Keeps a claimed request while its attempt works: sends heartbeats, renews the lease, and watches for a stall.
//!
//! These are three tasks, so that a database that does not answer delays no heartbeat. They leave nothing behind.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    failure::{Failure, judge},
    pulse::Pulse,
    requests::claim,
};

/// Between two heartbeats. Temporal reaches a running activity (cancel, terminate, reset) only with an answer to
/// its heartbeat, so this must be well below the ten seconds within which an attempt has to stop.
pub const TICK: Duration = Duration::from_secs(2);
/// Between two renewals of the lease: six times within a lease of 60 s.
const RENEWAL: Duration = Duration::from_secs(10);

/// Sends a heartbeat with what has moved so far.
pub type Heartbeat<'h> = &'h (dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync);

/// Sends a heartbeat at each tick; it never ends by itself.
///
/// A small request is done before the first tick, and costs Temporal no heartbeat.
pub async fn beat(pulse: &Pulse, heartbeat: Heartbeat<'_>) -> std::convert::Infallible {
    let mut ticks = every(TICK);
    loop {
        ticks.tick().await;
        heartbeat(pulse.moved()).await;
    }
}

/// Renews the lease until the request is no longer this attempt's.
///
/// Retries an error or an unanswered call at the next renewal. An expired lease alone is no reason to stop: the holder
/// keeps the row until its token is replaced.
pub async fn renew(state: &Pool, request_id: Uuid, token: Uuid, lease: Duration) -> Failure {
    let mut renewals = every(RENEWAL);
    loop {
        renewals.tick().await;
        let error = match timeout(RENEWAL, claim::renew(state, request_id, token, lease)).await {
            Ok(Ok(true)) => continue,
            Ok(Ok(false)) => return Failure::ClaimLost,
            Ok(Err(error)) => judge(&error).to_string(),
            Err(_) => "system: database/no_answer".to_owned(),
        };
        tracing::warn!(
            error.chain = %error,
            "Could not renew the claim on request {request_id}; retrying"
        );
    }
}

/// Waits until no row and no byte has moved for `stall_timeout`.
pub async fn watch(pulse: &Pulse, stall_timeout: Duration) -> Failure {
    let mut ticks = every(TICK);
    let (mut moved, mut moved_at) = (pulse.moved(), Instant::now());
    loop {
        ticks.tick().await;
        if pulse.moved() != moved {
            (moved, moved_at) = (pulse.moved(), Instant::now());
        } else if moved_at.elapsed() >= stall_timeout {
            return Failure::Stalled(stall_timeout.as_secs());
        }
    }
}

pub(super) fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn the_first_heartbeat_comes_with_the_first_tick_and_not_at_once() {
        let beaten = Notify::new();
        let heartbeat = |_| {
            beaten.notify_one();
            async {}.boxed()
        };
        let pulse = Pulse::default();
        let mut beating = std::pin::pin!(beat(&pulse, &heartbeat));
        assert!(futures::poll!(&mut beating).is_pending());
        assert!(beaten.notified().now_or_never().is_none(), "a heartbeat at once");
        tokio::select! {
            never = &mut beating => match never {},
            () = beaten.notified() => {}
        }
    }
}

//! Keeps a claimed request while its attempt works: heartbeat, lease, and the eye on whether anything moves.
//!
//! Leaves nothing behind: it ends with the reason for which the attempt must stop.

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{claim, failure::Failure, pulse::Pulse};

/// Between two ticks. Temporal reaches a running activity (cancel, terminate, reset) only with an answer to
/// its heartbeat, so the tick must be well below the ten seconds within which an attempt has to stop.
pub const TICK: Duration = Duration::from_secs(2);
/// The lease is renewed at each fifth tick: six times within a lease of 60 s.
const TICKS_PER_RENEWAL: u32 = 5;

/// Sends a heartbeat with what has moved so far.
pub type Heartbeat<'h> = &'h (dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync);

/// Ticks until the attempt has to stop, and says why: [`Failure::Interrupted`], [`Failure::ClaimLost`] or
/// [`Failure::Stalled`].
///
/// `heartbeat` is given what has moved so far. An error while renewing is tried again at the next renewal: the
/// holder keeps the row until its token is replaced, so an expired lease alone is no reason to stop.
pub async fn keep(
    state: &PgPool,
    request_id: Uuid,
    token: Uuid,
    lease: Duration,
    stall_timeout: Duration,
    pulse: &Pulse,
    heartbeat: Heartbeat<'_>,
) -> Failure {
    // A small request is done before the first tick, and costs Temporal no heartbeat.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut moved, mut moved_at, mut tick) = (pulse.moved(), Instant::now(), 0_u32);
    loop {
        tokio::select! {
            () = pulse.cancelled() => return Failure::Interrupted,
            _ = ticks.tick() => {}
        }
        heartbeat(pulse.moved()).await;
        tick += 1;
        if tick % TICKS_PER_RENEWAL == 0 {
            match claim::renew(state, request_id, token, lease).await {
                Ok(true) => {}
                Ok(false) => return Failure::ClaimLost,
                Err(error) => tracing::warn!(
                    error.chain = %crate::failure::judge(&error),
                    "Could not renew the claim on request {request_id}; trying again"
                ),
            }
        }
        if pulse.moved() != moved {
            (moved, moved_at) = (pulse.moved(), Instant::now());
        } else if moved_at.elapsed() >= stall_timeout {
            return Failure::Stalled(stall_timeout.as_secs());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn the_first_heartbeat_comes_with_the_first_tick_and_not_at_once() {
        let state = PgPool::connect_lazy("postgres://nobody@localhost/none").unwrap();
        let beaten = Notify::new();
        let heartbeat = |_| {
            beaten.notify_one();
            async {}.boxed()
        };
        let (pulse, minute) = (Pulse::default(), Duration::from_secs(60));
        let kept = keep(&state, Uuid::nil(), Uuid::nil(), minute, minute, &pulse, &heartbeat);
        let mut kept = std::pin::pin!(kept);
        assert!(futures::poll!(&mut kept).is_pending());
        assert!(beaten.notified().now_or_never().is_none(), "a heartbeat at once");
        tokio::select! {
            gone = &mut kept => panic!("{gone:?}"),
            () = beaten.notified() => {}
        }
        pulse.cancel();
        assert!(matches!(kept.await, Failure::Interrupted));
    }
}

//! How long a notice waits after a try that was answered with a refusal, and how long a channel rests that does not answer.

use std::time::Duration;

use crate::outbox::Channel;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A server that greylists wants a few minutes; one that is full, a day.
const MAIL: [Duration; 7] = [
    MINUTE,
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    HOUR,
    Duration::from_secs(4 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
];

/// The schedule of the Standard Webhooks specification.
const WEBHOOK: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(10 * 3600),
];

/// Returns how long to wait after the given number of tries; `None`: the notice is given up.
pub(crate) fn after(channel: Channel, tries: u32) -> Option<Duration> {
    let schedule = match channel {
        Channel::Mail => &MAIL,
        Channel::Webhook => &WEBHOOK,
    };
    let wait = schedule.get(usize::try_from(tries).ok()?.checked_sub(1)?)?;
    Some(match channel {
        Channel::Mail => *wait,
        // Notices of one night that were refused together do not come back together.
        Channel::Webhook => wait.mul_f64(0.8 + 0.4 * fraction()),
    })
}

/// A random number from 0 to 1. A random UUID is at hand, and nothing depends on its quality.
fn fraction() -> f64 {
    f64::from(u32::try_from(uuid::Uuid::new_v4().as_u128() & 0xffff_ffff).unwrap_or_default())
        / f64::from(u32::MAX)
}

/// How long a channel rests after the given number of failures in a row to reach its server.
pub(crate) fn rest(failures: u32) -> Duration {
    (SECOND * 2u32.saturating_pow(failures.min(6))).min(MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_waits_longer_and_the_eighth_is_the_last() {
        for channel in [Channel::Mail, Channel::Webhook] {
            let waits: Vec<_> = (1..=9).map_while(|tries| after(channel, tries)).collect();
            assert_eq!(waits.len(), 7, "{channel:?}");
            assert!(waits[..6].windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
            assert!(waits.iter().sum::<Duration>() > 24 * HOUR, "{waits:?}");
        }
        assert_eq!(after(Channel::Mail, 0), None, "a notice was tried before it waits");
    }

    #[test]
    fn a_channel_rests_seconds_at_first_and_never_more_than_a_minute() {
        assert_eq!([0, 1, 2, 5, 6, 99].map(rest).map(|rest| rest.as_secs()), [1, 2, 4, 32, 60, 60]);
    }
}

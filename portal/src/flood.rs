//! Slows down a caller that calls too often: a bucket of tokens for each, in memory, on this replica.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Calls that a caller may make at once.
const BURST: f64 = 120.0;
/// Calls a second that a caller may make for ever.
const RATE: f64 = 20.0;
/// Maximum number of callers that are remembered. A bucket is full again after seconds, and is forgotten then.
const MOST: usize = 50_000;

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn filled(self, now: Instant) -> f64 {
        (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * RATE).min(BURST)
    }
}

/// How many times as often all unknown callers together may call as one known caller.
const UNKNOWN: usize = 10;

/// The buckets of all callers.
#[derive(Default)]
pub(crate) struct Floodgate(Mutex<HashMap<String, Bucket>>);

impl Floodgate {
    /// Takes one call of a caller who is not known yet, from buckets that all of them share.
    pub(crate) fn take_unknown(&self, digest: &[u8; 32], now: Instant) -> Result<(), u64> {
        let bucket = usize::from(digest[0]) % UNKNOWN;
        self.take(&format!("unknown {bucket}"), now)
    }

    /// Takes one call of `caller`. Returns after how many seconds to try again, if it is one too many.
    pub(crate) fn take(&self, caller: &str, now: Instant) -> Result<(), u64> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST && !buckets.contains_key(caller) {
            buckets.retain(|_, bucket| bucket.filled(now) < BURST);
            if buckets.len() >= MOST {
                return Err(1);
            }
        }
        let bucket = buckets.entry(caller.to_owned()).or_insert(Bucket { tokens: BURST, at: now });
        let tokens = bucket.filled(now);
        let is_let_in = tokens >= 1.0;
        *bucket = Bucket { tokens: if is_let_in { tokens - 1.0 } else { tokens }, at: now };
        if is_let_in { Ok(()) } else { Err(1) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_caller_who_floods_is_slowed_down_and_others_are_not() {
        let (gate, now) = (Floodgate::default(), Instant::now());
        for _ in 0..120 {
            assert_eq!(gate.take("a", now), Ok(()));
        }
        assert_eq!(gate.take("a", now), Err(1));
        assert_eq!(gate.take("b", now), Ok(()));
        let later = now + Duration::from_secs(1);
        for _ in 0..20 {
            assert_eq!(gate.take("a", later), Ok(()));
        }
        assert_eq!(gate.take("a", later), Err(1));
    }

    #[test]
    fn no_number_of_callers_fills_the_memory() {
        let (gate, now) = (Floodgate::default(), Instant::now());
        for caller in 0..MOST {
            assert_eq!(gate.take(&caller.to_string(), now), Ok(()));
        }
        assert_eq!(gate.take("one more", now), Err(1));
        assert_eq!(gate.take("7", now), Ok(()));
        let later = now + Duration::from_secs(60);
        assert_eq!(gate.take("one more", later), Ok(()));
        assert!(gate.0.lock().unwrap().len() < 3);
    }
}

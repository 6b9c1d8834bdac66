//! Repeatable random numbers: a small generator (SplitMix64) with a seed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The generator. The same seed produces the same numbers.
#[derive(Debug)]
pub struct Random {
    state: AtomicU64,
}

impl Random {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Makes a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// Returns the next number.
    pub fn number(&self) -> u64 {
        let mut z = self.state.fetch_add(Self::STEP, Ordering::SeqCst).wrapping_add(Self::STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to 1.
    pub fn fraction(&self) -> f64 {
        f64::from(u32::try_from(self.number() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }

    /// Returns a duration between two others.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        least + (most - least).mul_f64(self.fraction())
    }

    /// Shuffles the slice.
    pub fn shuffle<T>(&self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, pick(self.number(), last + 1));
        }
    }
}

/// Turns a number into an index below `count`.
pub fn pick(number: u64, count: usize) -> usize {
    usize::try_from(number % (count.max(1) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let random = Random::new(seed);
            [random.number(), random.number(), random.number()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        let random = Random::new(3);
        assert!((0..1000).all(|_| (0.0..=1.0).contains(&random.fraction())));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut things: Vec<u32> = (0..50).collect();
        Random::new(1).shuffle(&mut things);
        assert_ne!(things, (0..50).collect::<Vec<_>>());
        things.sort_unstable();
        assert_eq!(things, (0..50).collect::<Vec<_>>());
    }
}

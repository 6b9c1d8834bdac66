//! Puts fewer parts in flight while the store asks to slow down.
//!
//! The SDK hides a 503 behind its retries, so a sensor reads the response of each try. All archives share the pace,
//! because the limit belongs to the bucket. A 503 halves it; a series of good responses adds one part again.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
};

/// Good responses in a row before one more part may be in flight: slow enough not to oscillate.
const GOOD_ANSWERS_PER_STEP: u32 = 16;
/// The status with which S3 and compatible stores ask to slow down.
const SERVICE_UNAVAILABLE: u16 = 503;

#[derive(Debug)]
pub(super) struct UploadPace {
    most: usize,
    state: Mutex<PaceState>,
}

#[derive(Debug)]
struct PaceState {
    now: usize,
    good_in_a_row: u32,
}

impl UploadPace {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, state: Mutex::new(PaceState { now: most, good_in_a_row: 0 }) }
    }

    /// Returns the number of parts that may be in flight now.
    pub(super) fn now(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).now
    }

    fn note(&self, status: u16) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if status == SERVICE_UNAVAILABLE {
            state.now = (state.now / 2).max(1);
            state.good_in_a_row = 0;
        } else if status < 400 && state.now < self.most {
            state.good_in_a_row += 1;
            if state.good_in_a_row == GOOD_ANSWERS_PER_STEP {
                state.now += 1;
                state.good_in_a_row = 0;
            }
        }
    }
}

/// Reports the store's response to each try to the pace.
#[derive(Debug)]
pub(super) struct SlowDownSensor {
    pace: Arc<UploadPace>,
}

impl SlowDownSensor {
    pub(super) fn new(pace: Arc<UploadPace>) -> Self {
        Self { pace }
    }
}

impl Intercept for SlowDownSensor {
    fn name(&self) -> &'static str {
        "SlowDownSensor"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.pace.note(context.response().status().as_u16());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_down_halves_the_parts_in_flight_and_never_stops_them() {
        let pace = UploadPace::new(4);
        assert_eq!(pace.now(), 4);
        pace.note(503);
        assert_eq!(pace.now(), 2);
        pace.note(503);
        pace.note(503);
        assert_eq!(pace.now(), 1);
    }

    #[test]
    fn a_run_of_good_answers_raises_it_again_up_to_the_limit() {
        let pace = UploadPace::new(2);
        pace.note(503);
        for _ in 1..GOOD_ANSWERS_PER_STEP {
            pace.note(200);
        }
        assert_eq!(pace.now(), 1);
        pace.note(200);
        assert_eq!(pace.now(), 2);
        for _ in 0..100 {
            pace.note(200);
        }
        assert_eq!(pace.now(), 2);
    }

    #[test]
    fn other_errors_do_not_change_it() {
        let pace = UploadPace::new(4);
        for status in [404, 403, 500, 412] {
            pace.note(status);
        }
        assert_eq!(pace.now(), 4);
    }
}

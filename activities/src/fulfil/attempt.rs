//! One attempt at one request: who makes it, what it has claimed, and how it may end without an outcome.

use std::time::Duration;

use chrono::Utc;
use export_workflows::contract::{FulfilInput, Outcome};

use crate::{
    context::ExportSteps,
    failure::{Class, Verdict},
    fulfil::handover::Handover,
    requests::{
        claim::{Claim, Owner},
        state::Trace,
    },
};

/// One attempt at one request.
pub struct Attempt {
    /// The request, and the night that it is served for.
    pub input: FulfilInput,
    /// Who attempts it.
    pub owner: Owner,
    /// The Temporal run.
    pub run_id: Option<String>,
    /// The state that earlier attempts have handed over.
    pub before: Handover,
}

/// Why an attempt ended without an outcome. Temporal retries it.
#[derive(Debug)]
pub enum Unfinished {
    /// Another attempt holds the request for this long at most.
    Held(Duration),
    /// Cancelled, drained, paused or reset.
    Interrupted,
    /// A failure; another attempt may succeed.
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

impl Attempt {
    /// Returns whether the attempts at this activity have failed for `EXPORT_DEFER_AFTER` or longer. The wait for a
    /// slot before the first attempt does not count.
    pub(super) fn has_failed_for_too_long(&self, steps: &ExportSteps) -> bool {
        let since = self.before.failing_since.unwrap_or_else(Utc::now);
        (Utc::now() - since).to_std().unwrap_or_default() >= steps.settings.defer_after
    }

    /// Retries a fault of the system, and after `EXPORT_DEFER_AFTER` defers it to the second round. It never counts
    /// against the request.
    pub(super) fn retry_or_defer(
        &self,
        steps: &ExportSteps,
        verdict: Verdict,
    ) -> Result<Outcome, Unfinished> {
        if self.has_failed_for_too_long(steps) {
            return Ok(Outcome::Deferred { code: verdict.code });
        }
        Err(Unfinished::Retry(verdict))
    }
}

/// A claimed request, in the hands of one attempt.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) steps: &'a ExportSteps,
    pub(super) attempt: &'a Attempt,
    pub(super) claim: &'a Claim,
    pub(super) trace: &'a Trace,
}

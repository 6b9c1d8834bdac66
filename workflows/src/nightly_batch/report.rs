//! The counts of a night, and its report at the end.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::contract::{ExpireOutput, FailureReason, Miscount, Outcome, SweepOutput};

/// The number of requests by outcome of `fulfil_export_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counters {
    /// Became `ready`.
    pub fulfilled: u64,
    /// Had left `pending` before their turn.
    pub already_done: u64,
    /// Were finished by another attempt first.
    pub superseded: u64,
    /// Became `failed`, by reason.
    pub failed: BTreeMap<FailureReason, u64>,
    /// Requests that wait for a person instead of failing, by reason: too many would fail. Left out while there are none:
    /// workers of the previous release do not know the field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held_back: BTreeMap<FailureReason, u64>,
    /// Failed in our own code five times; they wait for the next night.
    pub given_up_tonight: u64,
    /// Met a system fault and are still pending. At the end: also not served in the second round.
    pub deferred: u64,
    /// The code of the latest such fault.
    pub deferred_code: Option<String>,
}

impl Counters {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Fulfilled { .. } => self.fulfilled += 1,
            Outcome::AlreadyDone => self.already_done += 1,
            Outcome::Superseded => self.superseded += 1,
            Outcome::Failed { reason } => *self.failed.entry(*reason).or_default() += 1,
            Outcome::HeldBack { reason } => *self.held_back.entry(*reason).or_default() += 1,
            Outcome::GivenUpTonight => self.given_up_tonight += 1,
            Outcome::Deferred { code } => self.defer(code),
        }
    }

    pub(crate) fn defer(&mut self, code: &str) {
        self.deferred += 1;
        self.deferred_code = Some(code.to_owned());
    }

    /// Returns the maximum number of requests that are still pending. A superseded request is included, because the
    /// other attempt may have left it pending.
    pub(super) fn left(&self) -> u64 {
        self.superseded + self.held_back.values().sum::<u64>() + self.given_up_tonight + self.deferred
    }

    pub(super) fn served(&self) -> u64 {
        self.fulfilled
            + self.already_done
            + self.superseded
            + self.failed.values().sum::<u64>()
            + self.held_back.values().sum::<u64>()
            + self.given_up_tonight
            + self.deferred
    }
}

/// The report of a night: the result of the workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NightReport {
    /// The night's name (UTC date).
    pub night: Option<NaiveDate>,
    /// Requests that were pending at its start.
    pub pending_at_start: u64,
    /// How they ended.
    #[serde(flatten)]
    pub requests: Counters,
    /// Requests whose seven days were over.
    pub expired: u64,
    /// Requests whose archive was revoked because their user is gone.
    pub revoked: u64,
    /// Too many users seemed gone, so nothing was revoked.
    pub too_many_accounts_gone: bool,
    /// Archives of failed requests that the store did not delete yet.
    pub deletions_left: u64,
    /// Orphaned objects and uploads that were deleted.
    pub swept: u64,
    /// Too many objects seemed orphaned, so nothing was deleted.
    pub sweep_refused: bool,
    /// Those of the counts above that the database does not confirm, by name: `fulfilled`, `failed/<reason>`, `left`.
    /// Left out while there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub miscounted: BTreeMap<String, Miscount>,
}

impl NightReport {
    pub(super) fn expired(&mut self, pass: ExpireOutput) {
        self.expired = pass.expired;
        self.revoked = pass.revoked;
        self.too_many_accounts_gone = pass.too_many_accounts_gone;
        self.deletions_left = pass.deletions_left;
        self.miscounted = pass.miscounted;
    }

    pub(super) fn swept(&mut self, pass: &SweepOutput) {
        self.swept = pass.swept;
        self.sweep_refused = pass.refused;
    }
}

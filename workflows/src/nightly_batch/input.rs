//! The input of a run: what a night begins with, and what one run hands to the next.

use std::collections::HashSet;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use temporalio_common::error::ApplicationFailure;
use uuid::Uuid;

use super::{Counters, NightReport, SetWindow, Steering, page::PAGE};
use crate::{
    contract::{Counted, Cursor, FailureReason},
    input,
};

/// Possible years of a night or a request.
const POSSIBLE_YEARS: std::ops::RangeInclusive<i32> = 2020..=2200;
/// The second round is the last: requests that it defers wait for the next night.
pub(super) const LAST_ROUND: u8 = 2;

/// The state that one run hands to the next; nothing else survives the run. A manual start may leave all of it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NightInput {
    /// The night's name: the UTC date on which its first run began.
    pub night: Option<NaiveDate>,
    /// 1 for the first round through the queue, 2 for the second; 0 means 1.
    #[serde(rename = "look")] // its name in runs that are under way
    pub round: u8,
    /// The next page of this round, from 0.
    pub page: u32,
    /// The database's time at the first page. Requests made later wait for the next night.
    pub cutoff: Option<DateTime<Utc>>,
    /// The last request of the previous page.
    pub cursor: Option<Cursor>,
    /// The counts so far.
    pub counters: Counters,
    /// When the first run began.
    pub started_at: Option<DateTime<Utc>>,
    /// The number of requests that were pending then.
    pub pending_at_start: Option<u64>,
    /// The operators' settings. Left out until one is changed: workers of the previous release do not know the field.
    #[serde(skip_serializing_if = "Steering::is_default")]
    pub steering: Steering,
    /// These requests and no others, at most 500: no cutoff, no second round, no passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<Uuid>>,
    /// Reasons for which any number of requests may fail, because a person has checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<FailureReason>,
}

impl NightInput {
    pub(super) fn checked(mut self) -> Result<Self, Box<ApplicationFailure>> {
        if self.round > LAST_ROUND {
            return Err(input::invalid(format!(
                "field `look`: it is {}, more than {LAST_ROUND}",
                self.round
            )));
        }
        // An impossible date is a typing error, and the log would keep it.
        let is_possible = |year: i32| POSSIBLE_YEARS.contains(&year);
        if let Some(night) = self.night.filter(|night| !is_possible(night.year())) {
            return Err(input::invalid(format!("field `night`: no night is of {night}")));
        }
        if let Some(cutoff) = self.cutoff.filter(|cutoff| !is_possible(cutoff.year())) {
            return Err(input::invalid(format!("field `cutoff`: no request is of {cutoff}")));
        }
        // A night with a window of 0 would never end.
        if let Some(lanes) = self.steering.window {
            let checked = SetWindow { lanes }.check();
            checked.map_err(|what| input::invalid(format!("field `steering.window`: {what}")))?;
        }
        if let Some(reason) = self.accept.iter().find(|reason| !FailureReason::OF_ATTEMPTS.contains(reason)) {
            let what = format!("field `accept`: no attempt fails a request as `{}`", reason.as_str());
            return Err(input::invalid(what));
        }
        let Some(only) = &mut self.only else { return Ok(self) };
        if only.is_empty() {
            return Err(input::invalid(
                "field `only`: it names no request; leave it out for a night of all".to_owned(),
            ));
        }
        if only.len() > PAGE as usize {
            let what = format!("field `only`: it names {} requests, more than {PAGE}", only.len());
            return Err(input::invalid(what));
        }
        // Two activities for one request would have the same id.
        let mut seen = HashSet::new();
        only.retain(|request| seen.insert(*request));
        Ok(self)
    }

    pub(super) fn report(&self) -> NightReport {
        NightReport {
            night: self.night,
            pending_at_start: self.pending_at_start.unwrap_or(0),
            requests: self.counters.clone(),
            ..Default::default()
        }
    }

    /// Returns the counts that the database must confirm at the end.
    pub(super) fn counted(&self) -> Option<Counted> {
        let counters = &self.counters;
        Some(Counted {
            since: self.cutoff?,
            fulfilled: counters.fulfilled,
            failed: counters.failed.clone(),
            left: counters.left(),
        })
    }

    pub(super) fn begin(&mut self, now: Option<DateTime<Utc>>) {
        self.round = self.round.max(1);
        self.started_at = self.started_at.or(now);
        self.night = self.night.or(self.started_at.map(|at| at.date_naive()));
    }

    /// Starts the second round, for deferred and held-back requests. The held-back ones may be few among all requests
    /// that have ended by then.
    pub(super) fn second_round(mut self) -> Self {
        (self.counters.deferred, self.counters.deferred_code) = (0, None);
        self.counters.held_back.clear();
        Self { round: LAST_ROUND, page: 0, cursor: None, ..self }
    }
}

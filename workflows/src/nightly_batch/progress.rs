//! The progress of a night, for the query `progress` and for the current details in the Web UI.
//!
//! Neither can read a clock. The pace comes from the times at which the last requests ended.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{NightInput, report::Counters, steering::Paused};

/// Number of ended requests that the pace is computed from: minutes of work for large accounts, seconds for small ones.
const RECENT: usize = 200;

/// The answer to the query `progress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The night's name (UTC date).
    pub night: Option<NaiveDate>,
    /// 1 for the first round through the queue, 2 for the second.
    pub round: u8,
    /// The current page of this round, from 1.
    pub page: u32,
    /// Requests that were pending at its start; none until the first page is listed.
    pub pending_at_start: Option<u64>,
    /// Requests that have ended so far, with any outcome. Deferred requests are counted again in the second round.
    pub served: u64,
    /// How they ended.
    #[serde(flatten)]
    pub requests: Counters,
    /// Requests handed to Temporal and not ended; a worker runs `EXPORT_SLOTS` of them at a time.
    pub in_flight: usize,
    /// Requests that recently ended per minute; none until enough of this run have ended.
    pub per_minute: Option<f64>,
    /// When the latest request ended.
    pub last_ended_at: Option<DateTime<Utc>>,
    /// When the night would end at this pace; none while it is paused.
    pub ends_about: Option<DateTime<Utc>>,
    /// Who has paused the night, why and since when.
    pub paused: Option<Paused>,
    /// Maximum number of requests in flight together.
    pub window: usize,
}

/// When the last requests of this run ended.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<DateTime<Utc>>);

impl Pace {
    pub(super) fn ended(&mut self, now: Option<DateTime<Utc>>) {
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        self.0.extend(now);
    }

    /// Restarts the measurement. The pace before a pause or under another window does not predict the next one.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Returns requests per minute. Those that ended together with the first are left out: their duration is unknown.
    fn per_minute(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let seconds = (*last - *first).as_seconds_f64();
        let ended = u32::try_from(self.0.iter().filter(|at| *at > first).count()).ok()?;
        (seconds > 0.0).then(|| f64::from(ended) * 60.0 / seconds)
    }
}

/// Builds the answer to the query.
pub(super) fn progress(night: &NightInput, in_flight: usize, pace: &Pace) -> Progress {
    let served = night.counters.served();
    let last_ended_at = pace.0.back().copied();
    let per_minute = pace.per_minute();
    let left = night.pending_at_start.map(|pending| pending.saturating_sub(served));
    let ends_about = match (last_ended_at, per_minute, left) {
        (Some(last), Some(pace), Some(left)) if night.steering.paused.is_none() => after(last, left, pace),
        _ => None,
    };
    Progress {
        night: night.night,
        round: night.round,
        page: night.page + 1,
        pending_at_start: night.pending_at_start,
        served,
        requests: night.counters.clone(),
        in_flight,
        per_minute: per_minute.map(|pace| (pace * 10.0).round() / 10.0),
        last_ended_at,
        ends_about,
        paused: night.steering.paused.clone(),
        window: night.steering.window(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "an estimate, in milliseconds"
)]
fn after(last: DateTime<Utc>, left: u64, per_minute: f64) -> Option<DateTime<Utc>> {
    let milliseconds = left as f64 / per_minute * 60_000.0;
    last.checked_add_signed(TimeDelta::try_milliseconds(milliseconds as i64)?)
}

impl Progress {
    /// Returns the text for the Web UI, as Markdown. It has no table, because the Web UI joins the cells of a table.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        let time = |at: DateTime<Utc>| at.format("%H:%M:%S UTC").to_string();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!(
            "**Night {}**, round {}, page {}: **{} of {} served**, {} in flight\n",
            self.night.map(|night| night.to_string()).unwrap_or_default(),
            self.round,
            self.page,
            self.served,
            self.pending_at_start.map_or_else(|| "?".to_owned(), |pending| pending.to_string()),
            self.in_flight,
        ));
        if let Some(paused) = &self.paused {
            let since = paused.since.map(|at| format!(" since {}", time(at))).unwrap_or_default();
            line(format!("**Paused** by {}{since}: {}\n", code(&paused.by), code(&paused.why)));
        }
        let c = &self.requests;
        for (outcome, count) in [
            ("fulfilled", c.fulfilled),
            ("failed", c.failed.values().sum()),
            ("held back", c.held_back.values().sum()),
            ("already done", c.already_done),
            ("superseded", c.superseded),
            ("given up tonight", c.given_up_tonight),
            ("deferred", c.deferred),
        ] {
            let reasons = match outcome {
                "failed" => &c.failed,
                "held back" if c.held_back.is_empty() => continue,
                "held back" => &c.held_back,
                _ => &BTreeMap::new(),
            };
            line(format!("- {outcome}: {count}"));
            for (reason, count) in reasons {
                line(format!("    - `{}`: {count}", reason.as_str()));
            }
        }
        if let Some(per_minute) = self.per_minute {
            let ends = self.ends_about.map(|at| format!(", ends about {}", time(at))).unwrap_or_default();
            let last = self.last_ended_at.map(|at| format!(" (at {})", time(at))).unwrap_or_default();
            line(format!("- pace: {per_minute} a minute{last}{ends}"));
        }
        line(format!("- window: {}\n", self.window));
        line(
            "Updates: `pause` `{\"by\": \"...\", \"why\": \"...\"}`, `resume` `{\"by\": \"...\"}`, \
             `set_window` `{\"lanes\": 1}` to 50. Query: `progress`."
                .to_owned(),
        );
        text
    }
}

/// Shows an operator's text literally, so that none of it is read as Markdown.
fn code(text: &str) -> String {
    let text = text.replace('`', "'").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract::FailureReason, nightly_batch::steering::Pause};

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_800_000_000 + second, 0)
    }

    fn night() -> NightInput {
        let mut night = NightInput { round: 1, pending_at_start: Some(1000), ..Default::default() };
        night.counters.fulfilled = 97;
        night.counters.failed.insert(FailureReason::AccountDeleted, 3);
        night
    }

    #[test]
    fn a_pace_needs_two_moments_and_follows_the_last_ends() {
        let mut pace = Pace::default();
        assert_eq!(pace.per_minute(), None);
        (0..50).for_each(|_| pace.ended(at(0)));
        assert_eq!(pace.per_minute(), None, "fifty at one moment are no pace");
        (0..50).for_each(|_| pace.ended(at(10)));
        assert_eq!(pace.per_minute(), Some(300.0));
        // The store slows down.
        (0..200).for_each(|n| pace.ended(at(100 + n)));
        assert_eq!(pace.0.len(), RECENT);
        assert_eq!(pace.per_minute(), Some(60.0));
        pace.forget();
        assert_eq!(pace.per_minute(), None);
    }

    #[test]
    fn the_end_is_estimated_from_what_is_left_unless_the_night_is_paused() {
        let (mut night, mut pace) = (night(), Pace::default());
        (0..100).for_each(|n| pace.ended(at(n)));
        let running = progress(&night, 7, &pace);
        assert_eq!((running.served, running.in_flight, running.per_minute), (100, 7, Some(60.0)));
        assert_eq!(running.ends_about, at(99 + 900));
        night.steering.pause(Pause { by: "ada".to_owned(), why: "noon".to_owned() }, at(0));
        assert_eq!(progress(&night, 7, &pace).ends_about, None);
    }

    #[test]
    fn the_details_name_the_counts_the_pause_and_what_can_be_typed() {
        let mut night = night();
        night.steering.pause(Pause { by: "ada".to_owned(), why: "`[a](b)`\n# no".to_owned() }, at(0));
        let text = progress(&night, 7, &Pace::default()).markdown();
        insta::assert_snapshot!(text, @r#"
        **Night **, round 1, page 1: **100 of 1000 served**, 7 in flight

        **Paused** by `ada` since 08:00:00 UTC: `'[a](b)' # no`

        - fulfilled: 97
        - failed: 3
            - `account_deleted`: 3
        - already done: 0
        - superseded: 0
        - given up tonight: 0
        - deferred: 0
        - window: 50

        Updates: `pause` `{"by": "...", "why": "..."}`, `resume` `{"by": "..."}`, `set_window` `{"lanes": 1}` to 50. Query: `progress`.
        "#);
    }
}

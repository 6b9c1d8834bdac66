//! The settings that an operator may change in a running night: pause, resume, fewer lanes. They hold for every
//! following run.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::RawValue;

use super::page::LANES;
use crate::input;

/// Maximum length of a name or a reason. Both are handed from run to run and stored in every following history.
const LONGEST: usize = 500;

/// The operators' current settings. They are left out of the history until an operator changes one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steering {
    /// No new request is started while this is set.
    pub paused: Option<Paused>,
    /// Maximum number of requests in flight together; none means all lanes.
    pub window: Option<u32>,
}

/// Who paused the night, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paused {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// Since when.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
}

/// Input of the update `pause`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pause {
    /// Who pauses.
    pub by: String,
    /// Why.
    pub why: String,
}

/// Input of the update `resume`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resume {
    /// Who resumes.
    pub by: String,
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Input of the update `set_window`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetWindow {
    /// Maximum number of requests in flight together, 1 to 50.
    pub lanes: u32,
}

impl Steering {
    /// Returns whether a lane, counted from 0, may start another request.
    pub(crate) fn lets(&self, lane: usize) -> bool {
        self.paused.is_none() && lane < self.window()
    }

    /// Returns the maximum number of requests in flight together.
    pub(super) fn window(&self) -> usize {
        self.window.and_then(|window| usize::try_from(window).ok()).unwrap_or(LANES)
    }

    /// Pauses the night. A repeated pause replaces the name and the reason and keeps the original start.
    pub(crate) fn pause(&mut self, order: Pause, now: Option<DateTime<Utc>>) {
        let since = self.paused.as_ref().map_or(now, |paused| paused.since);
        self.paused = Some(Paused { by: order.by, why: order.why, since });
    }

    pub(crate) fn resume(&mut self) {
        self.paused = None;
    }

    pub(crate) fn set_window(&mut self, order: &SetWindow) {
        self.window = Some(order.lanes);
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Pause {
    pub(crate) fn read(raw: &RawValue) -> Result<Self, String> {
        let order: Self = input::read(raw)?;
        order.check()?;
        Ok(order)
    }

    fn check(&self) -> Result<(), String> {
        sentence("by", "who pauses the night", &self.by)?;
        sentence("why", "why it is paused", &self.why)
    }
}

impl Resume {
    pub(crate) fn read(raw: &RawValue) -> Result<Self, String> {
        let order: Self = input::read(raw)?;
        order.check()?;
        Ok(order)
    }

    fn check(&self) -> Result<(), String> {
        sentence("by", "who resumes the night", &self.by)?;
        self.why.as_deref().map_or(Ok(()), |why| sentence("why", "why, or is left out", why))
    }
}

impl SetWindow {
    pub(crate) fn read(raw: &RawValue) -> Result<Self, String> {
        let order: Self = input::read(raw)?;
        order.check()?;
        Ok(order)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match usize::try_from(self.lanes) {
            Ok(lanes) if (1..=LANES).contains(&lanes) => Ok(()),
            _ => {
                Err(format!("`lanes` is 1 to {LANES}, not {}; to begin nothing at all, `pause`", self.lanes))
            }
        }
    }
}

fn sentence(field: &str, what: &str, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(format!("`{field}` is empty: it says {what}"));
    }
    if text.chars().count() > LONGEST {
        return Err(format!("`{field}` is longer than {LONGEST} characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(by: &str, why: &str) -> Pause {
        Pause { by: by.to_owned(), why: why.to_owned() }
    }

    #[test]
    fn a_pause_stops_every_lane_and_a_window_those_beyond_it() {
        let mut steering = Steering::default();
        assert!(steering.lets(0) && steering.lets(LANES - 1));
        steering.set_window(&SetWindow { lanes: 2 });
        assert_eq!([0, 1, 2].map(|lane| steering.lets(lane)), [true, true, false]);
        steering.pause(pause("ada", "the store moves"), None);
        assert!(!steering.lets(0));
        steering.resume();
        assert_eq!([1, 2].map(|lane| steering.lets(lane)), [true, false], "the window outlives a pause");
    }

    #[test]
    fn a_second_pause_changes_the_reason_and_not_its_beginning() {
        let (first, later) = (DateTime::from_timestamp(1, 0), DateTime::from_timestamp(2, 0));
        let mut steering = Steering::default();
        steering.pause(pause("ada", "the store moves"), first);
        let once = steering.clone();
        steering.pause(pause("ada", "the store moves"), later);
        assert_eq!(steering, once);
        steering.pause(pause("bob", "it still does"), later);
        assert_eq!(
            steering.paused,
            Some(Paused { by: "bob".into(), why: "it still does".into(), since: first })
        );
    }

    #[test]
    fn an_order_without_a_name_or_a_reason_is_refused_by_the_field() {
        assert_eq!(pause("ada", "the store moves").check(), Ok(()));
        assert!(pause("ada", " ").check().unwrap_err().starts_with("`why` is empty"));
        assert!(pause("", "the store moves").check().unwrap_err().starts_with("`by` is empty"));
        assert!(pause("ada", &"x".repeat(501)).check().unwrap_err().contains("500"));
        let resume = |why: Option<&str>| Resume { by: "ada".to_owned(), why: why.map(str::to_owned) };
        assert_eq!(resume(None).check(), Ok(()));
        assert!(resume(Some("")).check().unwrap_err().starts_with("`why` is empty"));
        assert!(Resume::default().check().unwrap_err().starts_with("`by` is empty"));
    }

    #[test]
    fn a_window_has_one_lane_at_least_and_no_more_than_there_are() {
        for (lanes, well) in [(0, false), (1, true), (50, true), (51, false)] {
            assert_eq!(SetWindow { lanes }.check().is_ok(), well, "{lanes}");
        }
    }
}

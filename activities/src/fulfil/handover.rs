//! Hands state from one attempt of an activity to the next, in heartbeats: Temporal keeps the last one for the retry.
//!
//! It survives an outage of the database and a change of worker. It holds only times and numbers. It ends with the
//! activity, so each round of a night starts without one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Maximum number of killed attempts that are kept: more than the `EXPORT_MAX_LOST` at which a request fails.
const MOST_KILLED: usize = 1000;

/// The state that earlier attempts have handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Handover {
    /// Rows and bytes that the attempt has moved, for the Web UI.
    pub moved: u64,
    /// When the first attempt failed because of a fault of the system, or found the request held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    /// The last attempt that ended by itself.
    pub ended: i32,
    /// Attempts that were followed by another although they had not ended by themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<i32>,
}

impl Handover {
    /// Takes over as attempt `number`: each attempt since the last one that ended by itself was killed.
    pub fn taken_over(mut self, number: i32) -> Self {
        if number <= self.ended {
            // Reset by an operator: Temporal counts the attempts from 1 again.
            return Self::default();
        }
        let first = self.ended.max(self.killed.last().copied().unwrap_or(0)) + 1;
        let room = MOST_KILLED.saturating_sub(self.killed.len());
        self.killed.extend((first..number).take(room));
        self
    }

    /// Returns what attempt `number` hands over when it ends by itself.
    pub fn ended(&self, number: i32, failing_since: Option<DateTime<Utc>>) -> Self {
        Self { ended: number, failing_since: self.failing_since.or(failing_since), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_left_no_end_were_killed_and_the_first_failure_stays_the_first() {
        let (first, later) = (DateTime::from_timestamp(1, 0), DateTime::from_timestamp(2, 0));
        let one = Handover::default().taken_over(1);
        assert_eq!(one, Handover::default());
        let two = one.ended(1, first).taken_over(2);
        assert_eq!((two.failing_since, two.killed.as_slice()), (first, [].as_slice()));
        // Attempts 2 and 3 are killed, the third after a heartbeat.
        let four = two.taken_over(3).taken_over(4);
        assert_eq!(four.killed, [2, 3]);
        let five = four.ended(4, later).taken_over(5);
        assert_eq!((five.failing_since, five.killed.as_slice()), (first, [2, 3].as_slice()));
        assert_eq!(five.clone().taken_over(7).killed, [2, 3, 5, 6]);
        assert_eq!(five.ended(5, later).taken_over(1), Handover::default(), "reset by an operator");
    }
}

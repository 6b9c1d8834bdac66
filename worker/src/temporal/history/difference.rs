//! Finds the event of a history at which this program's code differs, from the SDK's message.
//!
//! The SDK has a few forms of this message, and none holds everything that a person needs. The history has the rest.

use std::fmt;

use serde::Serialize;
use temporalio_common::protos::temporal::api::{
    enums::v1::EventType,
    history::v1::{HistoryEvent, history_event::Attributes},
};

/// The first event that differs from what the code does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its number in the history.
    pub event_id: i64,
    /// Its type, as the Web UI names it.
    pub event_type: String,
    /// The event in the history, described.
    pub history: String,
    /// What the code did instead.
    pub code: String,
    /// The SDK's message.
    pub message: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event {} ({}) differs: the history has {}, the code wants {}",
            self.event_id, self.event_type, self.history, self.code
        )
    }
}

/// Finds the event that the SDK's message refers to.
pub(super) fn find(events: &[HistoryEvent], message: &str) -> Option<Difference> {
    let message = said(message);
    let (event, code) =
        of_a_scheduled_activity(events, &message).or_else(|| of_another_event(events, &message))?;
    Some(Difference {
        event_id: event.event_id,
        event_type: format!("{:?}", event.event_type()),
        history: what(event),
        code,
        message,
    })
}

/// Extracts the sentence from the SDK's text around it, which may be as long as a whole event.
pub(super) fn said(message: &str) -> String {
    const CHARACTERS: usize = 300;
    let mut sentence = message;
    for mark in ["message: \"", "Nondeterminism error: "] {
        sentence = sentence.split_once(mark).map_or(sentence, |(_, rest)| rest);
    }
    let sentence = sentence.split_once("\", ").map_or(sentence, |(sentence, _)| sentence);
    sentence.trim().chars().take(CHARACTERS).collect()
}

/// `Activity type of scheduled event 'A' does not match activity type of activity command 'B'`, and the same of ids.
fn of_a_scheduled_activity<'a>(
    events: &'a [HistoryEvent],
    message: &str,
) -> Option<(&'a HistoryEvent, String)> {
    let mut quoted = message.split('\'').skip(1).step_by(2);
    let (recorded, wanted) = (quoted.next()?, quoted.next()?);
    let by_type = message.starts_with("Activity type of scheduled event");
    if !by_type && !message.starts_with("Activity id of scheduled event") {
        return None;
    }
    let event = events.iter().find(|event| match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
            let activity_type = scheduled.activity_type.as_ref().map_or("", |known| known.name.as_str());
            recorded == if by_type { activity_type } else { &scheduled.activity_id }
        }
        _ => false,
    })?;
    let what = if by_type { "activity" } else { "an activity with id" };
    Some((event, format!("{what} `{wanted}`")))
}

/// `No command scheduled for event HistoryEvent(id: 11, TimerStarted)`, `Timer machine does not handle this event:
/// HistoryEvent(..)`.
fn of_another_event<'a>(events: &'a [HistoryEvent], message: &str) -> Option<(&'a HistoryEvent, String)> {
    let (before, after) = message.split_once("HistoryEvent(id: ")?;
    let id: i64 = after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let event = events.iter().find(|event| event.event_id == id)?;
    let code = match before.split_once(" machine").map(|(machine, _)| machine) {
        Some("Activity") => "an activity".to_owned(),
        Some("Timer") => "a timer".to_owned(),
        Some("Complete workflow") => "to end the run well".to_owned(),
        Some("Fail workflow") => "to fail the run".to_owned(),
        Some("Cancel workflow") => "to end the run as cancelled".to_owned(),
        Some("Continue as new workflow") => "to continue as new".to_owned(),
        Some("Update") => "to answer an update".to_owned(),
        Some("Change") => "the mark of a patch".to_owned(),
        _ if before.starts_with("No command scheduled") => "nothing there".to_owned(),
        _ => format!("something else ({})", before.trim()),
    };
    Some((event, code))
}

/// Describes the event in the history, with the name that distinguishes it from similar ones.
fn what(event: &HistoryEvent) -> String {
    match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
            let activity_type = scheduled.activity_type.as_ref().map_or("", |known| known.name.as_str());
            format!("activity `{activity_type}` with id `{}`", scheduled.activity_id)
        }
        Some(Attributes::MarkerRecordedEventAttributes(marker)) => format!("marker `{}`", marker.marker_name),
        Some(Attributes::TimerStartedEventAttributes(timer)) => format!("timer `{}`", timer.timer_id),
        _ => other(event.event_type()).to_owned(),
    }
}

fn other(event_type: EventType) -> &'static str {
    match event_type {
        EventType::WorkflowExecutionCompleted => "the good end of the run",
        EventType::WorkflowExecutionFailed => "the failure of the run",
        EventType::WorkflowExecutionCanceled => "the end of the run as cancelled",
        EventType::WorkflowExecutionContinuedAsNew => "the step to the next run",
        EventType::UpsertWorkflowSearchAttributes => "search attributes",
        EventType::WorkflowExecutionUpdateAccepted => "an update that was taken",
        EventType::WorkflowExecutionUpdateCompleted => "the answer to an update",
        _ => "this event",
    }
}

//! The two schedules: their definitions, their application, their status.
//!
//! Applying is idempotent: it creates a missing schedule, and sets the times, action and policies of an existing one.
//! It never changes the operator's part: whether a schedule is paused, and its note.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use export_workflows::contract::{EXPORT_EXPIRY, NIGHTLY_BATCH};
use serde::Serialize;
use temporalio_client::{
    Client, NamespacedClient as _,
    grpc::WorkflowService,
    schedules::{ScheduleDescription, ScheduleDescriptionAction, ScheduleError},
};
use temporalio_common::protos::temporal::api::{
    common::v1::WorkflowType,
    enums::v1::ScheduleOverlapPolicy,
    schedule::v1::{
        Schedule, ScheduleAction, SchedulePolicies, ScheduleSpec, ScheduleState, schedule_action::Action,
    },
    taskqueue::v1::TaskQueue,
    workflow::v1::NewWorkflowExecutionInfo,
    workflowservice::v1::{CreateScheduleRequest, UpdateScheduleRequest},
};
use tonic::{Code, IntoRequest as _};
use uuid::Uuid;

use crate::connect::explain::Explained;

/// One of our schedules; its id is the workflow's type and id.
#[derive(Debug)]
pub struct Definition {
    /// Schedule id, workflow type and workflow id.
    pub id: &'static str,
    /// When it fires, UTC.
    pub cron: &'static str,
    /// Maximum delay with which a missed start is still made up for.
    pub catchup: Duration,
}

/// Both schedules, as every installation has them.
pub const DEFINITIONS: [Definition; 2] = [
    // 12 hours: at most one night follows an outage, never two at once.
    Definition { id: NIGHTLY_BATCH, cron: "0 1 * * *", catchup: Duration::from_secs(12 * 3600) },
    // The next pass makes up for a missed one anyway.
    Definition { id: EXPORT_EXPIRY, cron: "*/5 * * * *", catchup: Duration::from_secs(600) },
];

/// Maximum number of tries to apply while others change the schedule at the same time.
const TRIES: u32 = 10;

/// Effect of applying one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It did not exist.
    Created,
    /// It existed; its times, action and policies are set again.
    Updated,
}

/// Status of one schedule.
#[derive(Debug, Serialize)]
pub struct ScheduleStatus {
    /// Schedule id.
    pub id: String,
    /// Whether it exists; if not, the rest is empty.
    pub exists: bool,
    /// Whether it matches the definition that `schedule apply` would set.
    pub as_defined: bool,
    /// The differences, in words.
    pub differences: Vec<String>,
    /// Whether an operator has paused it.
    pub paused: bool,
    /// The operator's note.
    pub note: Option<String>,
    /// The task queue of its runs.
    pub task_queue: String,
    /// Time of its next start.
    pub next: Option<DateTime<Utc>>,
    /// Time of its last start.
    pub last: Option<DateTime<Utc>>,
    /// Its current runs.
    pub running: Vec<String>,
    /// Starts that were missed and are too old to be made up for.
    pub missed: i64,
    /// Starts that were skipped because a run was still active.
    pub skipped: i64,
}

impl ScheduleStatus {
    /// Returns the cause that prevents its runs from starting as defined, if any.
    pub fn trouble(&self) -> Option<Explained> {
        let id = &self.id;
        if !self.as_defined {
            let cause = format!("schedule `{id}`: {}", self.differences.join("; "));
            return Some(Explained::new(cause, "run `export-worker schedule apply`"));
        }
        let note = self.note.as_deref().unwrap_or("without a note");
        self.paused.then(|| {
            let remedy = "when it may run again, `export-worker schedule unpause`";
            Explained::new(format!("schedule `{id}` is paused ({note})"), remedy)
        })
    }
}

/// Creates or updates both schedules.
pub async fn apply(client: &Client, task_queue: &str) -> Result<Vec<(&'static str, Applied)>> {
    let mut applied = Vec::new();
    for definition in &DEFINITIONS {
        let how = apply_one(client, definition, task_queue)
            .await
            .with_context(|| format!("failed to apply schedule `{}`", definition.id))?;
        applied.push((definition.id, how));
    }
    Ok(applied)
}

async fn apply_one(client: &Client, definition: &Definition, task_queue: &str) -> Result<Applied> {
    let request = CreateScheduleRequest {
        namespace: client.namespace(),
        schedule_id: definition.id.to_owned(),
        schedule: Some(schedule(definition, task_queue, None)),
        identity: client.identity(),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    match WorkflowService::create_schedule(&mut client.clone(), request.into_request()).await {
        Ok(_) => return Ok(Applied::Created),
        Err(status) if status.code() == Code::AlreadyExists => {}
        Err(status) => return Err(status.into()),
    }
    let handle = client.get_schedule_handle(definition.id);
    for _ in 0..TRIES {
        update(client, definition, task_queue, handle.describe(Default::default()).await?).await?;
        // Most servers answer an update before they check its token, then drop it without an error.
        let described = handle.describe(Default::default()).await?;
        if differences(definition, task_queue, &described).is_empty() {
            return Ok(Applied::Updated);
        }
    }
    bail!("another client changed it at each of {TRIES} tries; try again")
}

/// Sets our part of the schedule. The paused flag, the note and a limit of actions are written back as read, so the
/// update carries the token of that read. Without the token, it would undo a pause that an operator made meanwhile,
/// even a pause made just after the update's answer, because the server may apply the two in another order. The SDK's
/// own update sends no token.
async fn update(
    client: &Client,
    definition: &Definition,
    task_queue: &str,
    described: ScheduleDescription,
) -> Result<()> {
    let described = described.into_raw();
    let state = described.schedule.and_then(|schedule| schedule.state);
    let request = UpdateScheduleRequest {
        namespace: client.namespace(),
        schedule_id: definition.id.to_owned(),
        schedule: Some(schedule(definition, task_queue, state)),
        conflict_token: described.conflict_token,
        identity: client.identity(),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    match client.clone().update_schedule(request.into_request()).await {
        Err(status) if status.code() != Code::FailedPrecondition => Err(status.into()),
        // Servers that report a stale token do it with this code.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the schedule as defined, with the operator's state.
fn schedule(definition: &Definition, task_queue: &str, state: Option<ScheduleState>) -> Schedule {
    let start = NewWorkflowExecutionInfo {
        workflow_id: definition.id.to_owned(),
        workflow_type: Some(WorkflowType { name: definition.id.to_owned() }),
        task_queue: Some(TaskQueue { name: task_queue.to_owned(), ..Default::default() }),
        // No input: for the workflows, a start without a payload is the ordinary one, as from the Web UI.
        ..Default::default()
    };
    Schedule {
        spec: Some(ScheduleSpec {
            cron_string: vec![definition.cron.to_owned()],
            timezone_name: "UTC".to_owned(),
            ..Default::default()
        }),
        action: Some(ScheduleAction { action: Some(Action::StartWorkflow(start)) }),
        policies: Some(SchedulePolicies {
            overlap_policy: ScheduleOverlapPolicy::Skip.into(),
            catchup_window: definition.catchup.try_into().ok(),
            pause_on_failure: false,
            ..Default::default()
        }),
        state,
    }
}

/// Effect of a pause, unpause or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is in effect.
    Done,
    /// The schedule does not exist.
    Missing,
}

/// Pauses the schedule, with the reason as its note. Current runs continue.
pub async fn pause(client: &Client, id: &str, why: &str) -> Result<Effect> {
    said(client.get_schedule_handle(id).pause(Some(why), Default::default()).await, "pause", id)
}

/// Unpauses the schedule. Starts missed meanwhile are not made up for.
pub async fn unpause(client: &Client, id: &str) -> Result<Effect> {
    said(
        client
            .get_schedule_handle(id)
            .unpause(Some("unpaused by `export-worker schedule unpause`"), Default::default())
            .await,
        "unpause",
        id,
    )
}

/// Deletes a schedule. Current runs continue.
pub async fn delete(client: &Client, id: &str) -> Result<Effect> {
    said(client.get_schedule_handle(id).delete(Default::default()).await, "delete", id)
}

fn said(answer: Result<(), ScheduleError>, what: &str, id: &str) -> Result<Effect> {
    match answer {
        Ok(()) => Ok(Effect::Done),
        Err(ScheduleError::Rpc(status)) if status.code() == Code::NotFound => Ok(Effect::Missing),
        Err(error) => Err(error).with_context(|| format!("failed to {what} schedule `{id}`")),
    }
}

/// Describes both schedules.
pub async fn show(client: &Client, task_queue: &str) -> Result<Vec<ScheduleStatus>> {
    let mut states = Vec::new();
    for definition in &DEFINITIONS {
        let described = client.get_schedule_handle(definition.id).describe(Default::default()).await;
        states.push(match described {
            Ok(described) => status_of(definition, task_queue, &described),
            Err(ScheduleError::Rpc(status)) if status.code() == Code::NotFound => missing(definition),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read schedule `{}`", definition.id));
            }
        });
    }
    Ok(states)
}

fn missing(definition: &Definition) -> ScheduleStatus {
    ScheduleStatus {
        id: definition.id.to_owned(),
        exists: false,
        as_defined: false,
        differences: vec!["it does not exist".to_owned()],
        paused: false,
        note: None,
        task_queue: String::new(),
        next: None,
        last: None,
        running: Vec::new(),
        missed: 0,
        skipped: 0,
    }
}

fn status_of(definition: &Definition, task_queue: &str, described: &ScheduleDescription) -> ScheduleStatus {
    let queue = match described.action() {
        ScheduleDescriptionAction::StartWorkflow(action) => action.task_queue().to_owned(),
        _ => String::new(),
    };
    let differences = differences(definition, task_queue, described);
    let time = |at: &SystemTime| DateTime::<Utc>::from(*at);
    ScheduleStatus {
        id: definition.id.to_owned(),
        exists: true,
        as_defined: differences.is_empty(),
        differences,
        paused: described.paused(),
        note: described.note().map(str::to_owned),
        task_queue: queue,
        // A paused schedule still lists future times, although it will start nothing then.
        next: (!described.paused()).then(|| described.future_action_times().first().map(time)).flatten(),
        last: described
            .recent_actions()
            .iter()
            .filter_map(|action| action.actual_time)
            .max()
            .as_ref()
            .map(time),
        running: described.running_actions().into_iter().map(|run| run.workflow_id).collect(),
        missed: described.missed_catchup_window(),
        skipped: described.overlap_skipped(),
    }
}

/// Compares the schedule on the server with its definition. The server stores a cron line as calendars, so times are
/// compared by effect: the next start must fit the cron line.
fn differences(definition: &Definition, task_queue: &str, described: &ScheduleDescription) -> Vec<String> {
    let mut found = Vec::new();
    match described.action() {
        ScheduleDescriptionAction::StartWorkflow(action) => {
            for (what, is, ours) in [
                ("workflow type", action.workflow_type(), definition.id),
                ("workflow id", action.workflow_id(), definition.id),
                ("task queue", action.task_queue(), task_queue),
            ] {
                if is != ours {
                    found.push(format!("its {what} is `{is}`, not `{ours}`"));
                }
            }
        }
        _ => found.push("it does not start a workflow".to_owned()),
    }
    let policies = described.raw().schedule.as_ref().and_then(|schedule| schedule.policies.as_ref());
    let catchup = policies.and_then(|policies| policies.catchup_window).map(|window| window.seconds);
    if catchup.and_then(|seconds| u64::try_from(seconds).ok()) != Some(definition.catchup.as_secs()) {
        found.push(format!("its catch-up window is not {} s", definition.catchup.as_secs()));
    }
    // 0 is the server's default, which is Skip; 1 is Skip.
    if policies.is_none_or(|policies| policies.overlap_policy > 1) {
        found.push("its overlap policy is not Skip".to_owned());
    }
    if policies.is_some_and(|policies| policies.pause_on_failure) {
        found.push("it pauses itself after a failure".to_owned());
    }
    let every = if definition.id == NIGHTLY_BATCH { 86_400 } else { 300 };
    let offset = if definition.id == NIGHTLY_BATCH { 3600 } else { 0 };
    let times: Vec<i64> =
        described.future_action_times().into_iter().map(|at| DateTime::<Utc>::from(at).timestamp()).collect();
    let regular = times.iter().all(|at| at.rem_euclid(every) == offset)
        && times.windows(2).all(|pair| matches!(pair, [a, b] if b - a == every));
    if times.is_empty() || !regular {
        found.push(format!("it does not fire at `{}` UTC", definition.cron));
    }
    found
}

#[cfg(test)]
mod tests {
    use export_activities::requests::policy::NIGHT_HOUR;

    use super::*;

    #[test]
    fn people_are_told_the_hour_of_the_schedule() {
        assert_eq!(DEFINITIONS[0].cron, format!("0 {NIGHT_HOUR} * * *"));
    }
}

//! The two schedules: what they say, how they are applied, how they stand.
//!
//! Applying is idempotent: it creates what is missing and then sets times, action and policies. It never
//! touches what belongs to the operator: whether a schedule is paused, and its note.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use export_workflows::contract::{EXPORT_EXPIRY, NIGHTLY_BATCH};
use serde::Serialize;
use temporalio_client::{
    Client,
    schedules::{
        CreateScheduleOptions, ScheduleAction, ScheduleDescription, ScheduleDescriptionAction, ScheduleError,
        ScheduleOverlapPolicy, ScheduleSpec, ScheduleUpdate,
    },
};
use tonic::Code;

/// One of our schedules; its id is the workflow's type and id.
#[derive(Debug)]
pub struct Definition {
    /// Schedule id, workflow type and workflow id.
    pub id: &'static str,
    /// When it fires, UTC.
    pub cron: &'static str,
    /// How late a missed start is still made up for.
    pub catchup: Duration,
}

/// Both schedules, as every installation has them.
pub const DEFINITIONS: [Definition; 2] = [
    // 12 hours: an outage is followed by one night at most, never by two at once.
    Definition { id: NIGHTLY_BATCH, cron: "0 1 * * *", catchup: Duration::from_secs(12 * 3600) },
    // A pass that was missed is made up for by the next one anyway.
    Definition { id: EXPORT_EXPIRY, cron: "*/5 * * * *", catchup: Duration::from_secs(600) },
];

/// What applying did to one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// It was not there.
    Created,
    /// It was there; times, action and policies are set again.
    Updated,
}

/// How one schedule stands.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// Schedule id.
    pub id: String,
    /// Whether it exists at all; the rest is empty otherwise.
    pub exists: bool,
    /// Whether it is as `schedule apply` would make it.
    pub as_defined: bool,
    /// What differs, in words.
    pub differences: Vec<String>,
    /// An operator has paused it.
    pub paused: bool,
    /// The operator's note.
    pub note: Option<String>,
    /// The task queue of its runs.
    pub task_queue: String,
    /// When it fires next.
    pub next: Option<DateTime<Utc>>,
    /// When it fired last.
    pub last: Option<DateTime<Utc>>,
    /// Its runs that are running now.
    pub running: Vec<String>,
    /// Starts that came too late to be made up for.
    pub missed: i64,
    /// Starts that were left out because a run was still running.
    pub skipped: i64,
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

async fn apply_one(
    client: &Client,
    definition: &'static Definition,
    task_queue: &str,
) -> Result<Applied, ScheduleError> {
    let options = CreateScheduleOptions::builder()
        .action(action(definition, task_queue))
        .spec(spec(definition))
        .overlap_policy(ScheduleOverlapPolicy::Skip)
        .build();
    let applied = match client.create_schedule(definition.id, options).await {
        Ok(_) => Applied::Created,
        Err(ScheduleError::Rpc(status)) if status.code() == Code::AlreadyExists => Applied::Updated,
        Err(error) => return Err(error),
    };
    // Also after a create, whose options know neither the catch-up window nor pause-on-failure.
    let task_queue = task_queue.to_owned();
    client
        .get_schedule_handle(definition.id)
        .update(move |update| define(update, definition, &task_queue), Default::default())
        .await?;
    Ok(applied)
}

/// Sets all that is ours; `paused`, the note and a limit of actions stay as the operator left them.
fn define(update: &mut ScheduleUpdate, definition: &Definition, task_queue: &str) {
    update
        .set_spec(spec(definition))
        .set_action(action(definition, task_queue))
        .set_overlap_policy(ScheduleOverlapPolicy::Skip)
        .set_catchup_window(definition.catchup)
        .set_pause_on_failure(false);
}

fn spec(definition: &Definition) -> ScheduleSpec {
    ScheduleSpec::builder().cron_strings(vec![definition.cron.to_owned()]).timezone_name("UTC").build()
}

/// No input: the workflows take a start without a payload for the ordinary one, as the Web UI makes it.
fn action(definition: &Definition, task_queue: &str) -> ScheduleAction {
    ScheduleAction::StartWorkflow {
        workflow_type: definition.id.to_owned(),
        task_queue: task_queue.to_owned(),
        workflow_id: definition.id.to_owned(),
        input: None,
    }
}

/// Describes both schedules.
pub async fn show(client: &Client, task_queue: &str) -> Result<Vec<Standing>> {
    let mut standings = Vec::new();
    for definition in &DEFINITIONS {
        let described = client.get_schedule_handle(definition.id).describe(Default::default()).await;
        standings.push(match described {
            Ok(described) => standing(definition, task_queue, &described),
            Err(ScheduleError::Rpc(status)) if status.code() == Code::NotFound => missing(definition),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read schedule `{}`", definition.id));
            }
        });
    }
    Ok(standings)
}

fn missing(definition: &Definition) -> Standing {
    Standing {
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

fn standing(definition: &Definition, task_queue: &str, described: &ScheduleDescription) -> Standing {
    let queue = match described.action() {
        ScheduleDescriptionAction::StartWorkflow(action) => action.task_queue().to_owned(),
        _ => String::new(),
    };
    let differences = differences(definition, task_queue, described);
    let time = |at: &SystemTime| DateTime::<Utc>::from(*at);
    Standing {
        id: definition.id.to_owned(),
        exists: true,
        as_defined: differences.is_empty(),
        differences,
        paused: described.paused(),
        note: described.note().map(str::to_owned),
        task_queue: queue,
        // A paused schedule still computes times at which it will do nothing.
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

/// Compares what the server holds with what applying would set. The server keeps a cron line as calendars, so
/// times are compared by what they fire: the next one must fit the cron line.
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

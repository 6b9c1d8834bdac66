//! Triggers a night by hand and waits for a night, however it was started.
//!
//! Two nights never run at once: claims would keep them safe, but the second would waste work. The check for a running
//! night and the start are two steps. The start therefore goes through the schedule with overlap Skip, or uses the
//! fixed workflow id: a race has one winner, and the loser learns of it.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use export_workflows::{
    contract::{
        FailureReason, Miscount, NIGHTLY_BATCH, is_request_workflow_id, passes_queue, request_workflow_id,
    },
    nightly_batch::{NightInput, NightReport},
};
use futures::TryStreamExt as _;
use serde::Serialize;
use temporalio_client::{
    Client, NamespacedClient as _, UntypedWorkflow, WorkflowExecutionInfo, WorkflowIdConflictPolicy,
    WorkflowIdReusePolicy, WorkflowStartOptions,
    errors::{WorkflowGetResultError, WorkflowInteractionError, WorkflowStartError},
    grpc::WorkflowService as _,
    schedules::{ScheduleDescription, ScheduleError, ScheduleOverlapPolicy},
};
use temporalio_common::{
    data_converters::{
        GenericPayloadConverter as _, RawValue, SerializationContext, SerializationContextData,
        WorkflowSerializationContext,
    },
    error::IncomingError,
    protos::temporal::api::{
        common::v1::Payload,
        enums::v1::{TaskQueueType, WorkflowExecutionStatus},
        taskqueue::v1::TaskQueue,
        workflowservice::v1::DescribeTaskQueueRequest,
    },
};
use tonic::{Code, IntoRequest as _};
use uuid::Uuid;

/// Time limit for a triggered schedule to show its run: the server starts the run in a separate workflow.
const SHOWS_WITHIN: Duration = Duration::from_secs(20);
/// Interval of the queries meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How a triggered night came to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Started {
    /// The schedule started it.
    BySchedule,
    /// The client started it directly, without the schedule.
    Directly,
    /// It was already running.
    WasRunning,
}

/// One night and how it came to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StartedRun {
    /// Its workflow id, as the Web UI shows it.
    pub workflow_id: String,
    /// How it came to run.
    pub started: Started,
    /// The schedule is paused. A trigger by hand works anyway.
    pub schedule_paused: bool,
}

/// How a night ended.
#[derive(Debug)]
pub enum Ended {
    /// It completed with these counts.
    Completed(serde_json::Value),
    /// It failed, or was cancelled or terminated. Holds the reason, and the counts until then if it reported them.
    NotCompleted(String, Option<serde_json::Value>),
}

/// Starts a night, or returns the running one.
///
/// Starts a night with accepted reasons directly: the input of the schedule's nights never changes.
pub async fn trigger(client: &Client, task_queue: &str, accept: Vec<FailureReason>) -> Result<StartedRun> {
    let schedule = describe(client).await?;
    let paused = schedule.as_ref().is_some_and(ScheduleDescription::paused);
    if let Some(workflow_id) = find_running(client, schedule.as_ref()).await? {
        return Ok(StartedRun { workflow_id, started: Started::WasRunning, schedule_paused: paused });
    }
    match schedule {
        Some(_) | None if !accept.is_empty() => {
            let input = encode(client, &NightInput { accept, ..NightInput::default() })?;
            let summary = "started by `export-worker night trigger --accept`";
            let night = start(client, task_queue, NIGHTLY_BATCH.to_owned(), input, summary).await?;
            Ok(StartedRun { schedule_paused: paused, ..night })
        }
        Some(before) => trigger_schedule(client, &before).await,
        None => {
            let (input, summary) = (RawValue::new(Vec::new()), "started by `export-worker night trigger`");
            start(client, task_queue, NIGHTLY_BATCH.to_owned(), input, summary).await
        }
    }
}

/// A running night.
#[derive(Clone, Debug)]
pub struct RunningNight {
    /// Its workflow id.
    pub workflow_id: String,
    /// Start of its first run, on Temporal's clock.
    pub since: DateTime<Utc>,
}

/// Finds the running night and the start of its first run.
pub async fn running(client: &Client) -> Result<Option<RunningNight>> {
    let schedule = describe(client).await?;
    let Some(workflow_id) = find_running(client, schedule.as_ref()).await? else { return Ok(None) };
    let run = |run_id: Option<String>| {
        let run = WorkflowExecutionInfo::builder().namespace(client.namespace()).workflow_id(&workflow_id);
        run.maybe_run_id(run_id).build().bind_untyped(client.clone())
    };
    let context = || format!("failed to inspect `{workflow_id}`");
    let now = run(None).describe(Default::default()).await.with_context(context)?;
    let info = now.raw().workflow_execution_info.as_ref();
    let first = info.map(|info| info.first_run_id.clone()).filter(|id| !id.is_empty());
    let first = run(first).describe(Default::default()).await.with_context(context)?;
    let since = first.start_time().map(DateTime::from).with_context(context)?;
    Ok(Some(RunningNight { workflow_id, since }))
}

/// Fulfils one request immediately, in a run separate from the night, or returns the run that is already active. The
/// claim on the row separates this run from a night that reaches the same request.
pub async fn fulfil(client: &Client, task_queue: &str, request_id: Uuid) -> Result<StartedRun> {
    let input = NightInput { only: Some(vec![request_id]), ..NightInput::default() };
    let (workflow_id, input) = (request_workflow_id(request_id), encode(client, &input)?);
    start(client, task_queue, workflow_id, input, "started by `export-worker request fulfil`").await
}

/// Encodes the input of a workflow or an update, which take raw payloads.
///
/// Does not encrypt: the client encrypts when it sends, so the input would be encrypted twice.
pub(crate) fn encode<T: Serialize + Send + Sync + 'static>(client: &Client, input: &T) -> Result<RawValue> {
    let data = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let converter = client.data_converter().payload_converter();
    let payloads = converter.to_payloads(&SerializationContext::new(&data, converter), input);
    Ok(RawValue::new(payloads.context("failed to encode the input")?))
}

async fn describe(client: &Client) -> Result<Option<ScheduleDescription>> {
    match client.get_schedule_handle(NIGHTLY_BATCH).describe(Default::default()).await {
        Ok(described) => Ok(Some(described)),
        Err(ScheduleError::Rpc(status)) if status.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read schedule `{NIGHTLY_BATCH}`")),
    }
}

/// Searches three places: the schedule lists its own runs immediately, the fixed id finds runs started by hand, and the
/// list of workflows, which lags slightly, has all others.
async fn find_running(client: &Client, schedule: Option<&ScheduleDescription>) -> Result<Option<String>> {
    if let Some(run) = schedule.and_then(|schedule| schedule.running_actions().into_iter().next()) {
        return Ok(Some(run.workflow_id));
    }
    match client.get_workflow_handle::<UntypedWorkflow>(NIGHTLY_BATCH).describe(Default::default()).await {
        Ok(described) if described.close_time().is_none() => return Ok(Some(NIGHTLY_BATCH.to_owned())),
        Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => {}
        Err(error) => return Err(error).context("failed to look for a running night"),
    }
    let query = format!("WorkflowType = '{NIGHTLY_BATCH}' and ExecutionStatus = 'Running'");
    let mut running = client.list_workflows(query, Default::default());
    while let Some(run) = running.try_next().await.context("failed to look for a running night")? {
        if !is_request_workflow_id(run.id()) {
            return Ok(Some(run.id().to_owned()));
        }
    }
    Ok(None)
}

async fn trigger_schedule(client: &Client, before: &ScheduleDescription) -> Result<StartedRun> {
    let handle = client.get_schedule_handle(NIGHTLY_BATCH);
    let known: HashSet<String> = before.recent_actions().into_iter().map(|action| action.run_id).collect();
    handle
        .trigger(ScheduleOverlapPolicy::Skip, Default::default())
        .await
        .with_context(|| format!("failed to trigger schedule `{NIGHTLY_BATCH}`"))?;
    let deadline = Instant::now() + SHOWS_WITHIN;
    loop {
        let now = handle.describe(Default::default()).await.context("failed to read the schedule")?;
        let night =
            |workflow_id, started| StartedRun { workflow_id, started, schedule_paused: before.paused() };
        if let Some(run) = now.recent_actions().into_iter().rev().find(|run| !known.contains(&run.run_id)) {
            return Ok(night(run.workflow_id, Started::BySchedule));
        }
        // Another start won the race: the server skipped our trigger because of that run.
        if now.overlap_skipped() > before.overlap_skipped()
            && let Some(run) = now.running_actions().into_iter().next()
        {
            return Ok(night(run.workflow_id, Started::WasRunning));
        }
        if Instant::now() > deadline {
            bail!(
                "schedule `{NIGHTLY_BATCH}` was triggered but shows no run after {} s; open it in the Web UI",
                SHOWS_WITHIN.as_secs()
            );
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Starts a run without a schedule, under a fixed id, so that two concurrent calls start one run.
async fn start(
    client: &Client,
    task_queue: &str,
    workflow_id: String,
    input: RawValue,
    summary: &str,
) -> Result<StartedRun> {
    let options = WorkflowStartOptions::new(task_queue, workflow_id.as_str())
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .static_summary(summary)
        .build();
    let workflow = UntypedWorkflow::new(NIGHTLY_BATCH);
    let started = match client.start_workflow(workflow, input, options).await {
        Ok(_) => Started::Directly,
        Err(WorkflowStartError::AlreadyStarted { .. }) => Started::WasRunning,
        Err(error) => return Err(error).with_context(|| format!("failed to start `{workflow_id}`")),
    };
    Ok(StartedRun { workflow_id, started, schedule_paused: false })
}

/// Waits until a night and every run that continues it have ended.
pub async fn wait(client: &Client, workflow_id: &str) -> Result<Ended> {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow_id);
    let (sentence, counts) = match handle.get_result(Default::default()).await {
        Ok(raw) => {
            let counts = match raw.payloads.first() {
                Some(payload) => serde_json::from_slice(&payload.data)
                    .with_context(|| format!("failed to read the counts of `{workflow_id}`"))?,
                None => serde_json::Value::Null,
            };
            return Ok(Ended::Completed(counts));
        }
        Err(WorkflowGetResultError::Failed(error)) => {
            let details = match &*error {
                IncomingError::Application(failure) => failure.raw_details().and_then(counted),
                _ => None,
            };
            (format!("it failed: {}", cause(&error)), details)
        }
        Err(WorkflowGetResultError::Cancelled { details }) => {
            ("it was cancelled".to_owned(), counted(details.raw()))
        }
        Err(WorkflowGetResultError::Terminated { .. }) => ("it was terminated".to_owned(), None),
        Err(WorkflowGetResultError::TimedOut) => ("it ran out of time".to_owned(), None),
        Err(error) => return Err(error).with_context(|| format!("failed to wait for `{workflow_id}`")),
    };
    Ok(Ended::NotCompleted(sentence, counts))
}

/// Reads the counts that a run left in the details of its failure, if any.
fn counted(details: &[Payload]) -> Option<serde_json::Value> {
    serde_json::from_slice(&details.first()?.data).ok()
}

/// Formats a failure with its closed code, which the SDK's text omits.
fn cause(error: &IncomingError) -> String {
    match error {
        IncomingError::Application(failure) => match failure.type_name() {
            Some(code) if !code.is_empty() => format!("{code}: {failure}"),
            _ => failure.to_string(),
        },
        other => other.to_string(),
    }
}

/// The newest night.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Its workflow id.
    pub workflow_id: String,
    /// Its state or result.
    pub how: How,
    /// Its counts that the database did not confirm; empty while it runs.
    pub miscounted: BTreeMap<String, Miscount>,
}

/// State or result of a night.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It runs, or it completed.
    Well,
    /// Its workflow task fails repeatedly, so the night makes no progress.
    StandsStill {
        /// Number of failures.
        failures: i32,
    },
    /// It failed or timed out. Holds the reason.
    NotCompleted(String),
}

/// Returns the newest night, running or ended, or `None` if there was none within the server's retention.
///
/// A night that an operator cancelled or terminated counts as `Well`.
pub async fn last(client: &Client) -> Result<Option<Last>> {
    let mut nights = client.list_workflows(format!("WorkflowType = '{NIGHTLY_BATCH}'"), Default::default());
    let newest = loop {
        match nights.try_next().await.context("failed to list the nights")? {
            None => return Ok(None),
            Some(run) if is_request_workflow_id(run.id()) => {}
            Some(run) => break run.id().to_owned(),
        }
    };
    let handle = client.get_workflow_handle::<UntypedWorkflow>(&newest);
    let described = handle.describe(Default::default()).await.context("failed to inspect the last night")?;
    let status = described.raw().workflow_execution_info.as_ref().map(|info| info.status());
    let mut report = None;
    let how = if described.close_time().is_none() {
        // The server retries a task immediately, then with backoff: a restart alone does not cause three failures.
        match described.raw().pending_workflow_task.as_ref().map_or(0, |task| task.attempt) {
            failures @ 4.. => How::StandsStill { failures: failures - 1 },
            _ => How::Well,
        }
    } else {
        let failed =
            matches!(status, Some(WorkflowExecutionStatus::Failed | WorkflowExecutionStatus::TimedOut));
        match wait(client, &newest).await {
            Ok(Ended::NotCompleted(sentence, counts)) => {
                report = counts;
                if failed { How::NotCompleted(sentence) } else { How::Well }
            }
            Ok(Ended::Completed(counts)) => {
                report = Some(counts);
                How::Well
            }
            Err(error) if failed => return Err(error),
            // A result that needs another key or release must not hide the rest.
            Err(error) => {
                tracing::warn!("The counts of `{newest}` could not be read: {error:#}");
                How::Well
            }
        }
    };
    let report = report.and_then(|counts| serde_json::from_value::<NightReport>(counts).ok());
    Ok(Some(Last { workflow_id: newest, how, miscounted: report.unwrap_or_default().miscounted }))
}

/// Number of polls that the server knows for each of our queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pollers {
    /// For exports: the smaller of the polls for workflow tasks and the polls for activities.
    pub exports: usize,
    /// For expiry passes and sweeps.
    pub passes: usize,
}

/// Counts the pollers. The server forgets a poller five minutes after its last poll.
pub async fn pollers(client: &Client, task_queue: &str) -> Result<Pollers> {
    let passes = passes_queue(task_queue);
    let (runs, exports, passes) = tokio::try_join!(
        count_pollers(client, task_queue, TaskQueueType::Workflow),
        count_pollers(client, task_queue, TaskQueueType::Activity),
        count_pollers(client, &passes, TaskQueueType::Activity),
    )?;
    Ok(Pollers { exports: runs.min(exports), passes })
}

/// Returns whether any worker polls this task queue for workflow tasks. Without one, no run makes progress.
pub async fn worker_is_polling(client: &Client, task_queue: &str) -> Result<bool> {
    Ok(count_pollers(client, task_queue, TaskQueueType::Workflow).await? > 0)
}

async fn count_pollers(client: &Client, task_queue: &str, kind: TaskQueueType) -> Result<usize> {
    let request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueue { name: task_queue.to_owned(), ..Default::default() }),
        task_queue_type: kind.into(),
        ..Default::default()
    };
    let answer = client
        .clone()
        .describe_task_queue(request.into_request())
        .await
        .with_context(|| format!("failed to inspect task queue `{task_queue}`"))?;
    Ok(answer.into_inner().pollers.len())
}

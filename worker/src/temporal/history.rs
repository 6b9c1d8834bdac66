//! Histories of runs: fetched from Temporal, read from files in both existing formats, replayed with this program's
//! code.

mod difference;
mod form;

use anyhow::{Context as _, Result, bail};
use export_workflows::{
    contract::{EXPORT_AT_ONCE, EXPORT_EXPIRY, NIGHTLY_BATCH},
    export_at_once::ExportAtOnce,
    export_expiry::ExportExpiry,
    nightly_batch::NightlyBatch,
};
use serde::Serialize;
use temporalio_client::{
    Client, NamespacedClient as _, WorkflowExecutionInfo, WorkflowHistory, errors::WorkflowInteractionError,
};
use temporalio_common::{
    data_converters::DataConverter,
    protos::temporal::api::history::v1::{
        History, HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes,
    },
};
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayError, WorkflowReplayFailure, WorkflowReplayer, WorkflowReplayerOptions,
};

pub use self::{difference::Difference, form::read};

/// Result of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The workflow's type.
    pub workflow_type: String,
    /// The run's workflow id; empty in the histories of old servers.
    pub workflow_id: String,
    /// Number of events.
    pub events: usize,
    /// Why this program's code cannot continue this history; `None` if it can.
    pub failure: Option<ReplayFailure>,
}

/// Why a history does not replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplayFailure {
    /// The reason, in one sentence.
    pub sentence: String,
    /// The first event that differs; `None` if the SDK does not report it.
    pub difference: Option<Difference>,
}

/// Fetches the stored history of a run; without `run_id`, of the latest run of the workflow.
pub async fn fetch(client: &Client, workflow_id: &str, run_id: Option<&str>) -> Result<History> {
    let run = WorkflowExecutionInfo::builder()
        .namespace(client.namespace())
        .workflow_id(workflow_id)
        .maybe_run_id(run_id.map(str::to_owned))
        .build();
    let fetched = run.bind_untyped(client.clone()).fetch_history(Default::default()).into_events().await;
    let events = fetched.map_err(|error| match error {
        WorkflowInteractionError::NotFound(_) | WorkflowInteractionError::Rpc(_) => {
            refused(client, workflow_id, run_id, &error)
        }
        other => anyhow::Error::new(other).context("failed to fetch the history"),
    })?;
    Ok(History { events })
}

fn refused(
    client: &Client,
    workflow_id: &str,
    run_id: Option<&str>,
    error: &WorkflowInteractionError,
) -> anyhow::Error {
    let run = run_id.map(|run_id| format!(" with a run `{run_id}`")).unwrap_or_default();
    let namespace = client.namespace();
    match error {
        WorkflowInteractionError::NotFound(_) => anyhow::anyhow!(
            "there is no workflow `{workflow_id}`{run} in namespace `{namespace}`: it was never started, or its \
             history is older than the namespace keeps them"
        ),
        WorkflowInteractionError::Rpc(status) => {
            anyhow::anyhow!("failed to fetch the history of `{workflow_id}`{run} ({})", status.message())
        }
        other => anyhow::anyhow!("failed to fetch the history of `{workflow_id}`{run} ({other})"),
    }
}

/// Creates the replayer of this program's workflows. `converter` decrypts encrypted payloads.
pub fn replayer(converter: DataConverter) -> Result<WorkflowReplayer> {
    let options = WorkflowReplayerOptions::new()
        .register_workflow::<NightlyBatch>()
        .and_then(|options| options.register_workflow::<ExportExpiry>())
        .and_then(|options| options.register_workflow::<ExportAtOnce>())
        .context("failed to register the workflows")?
        .data_converter(converter)
        .build();
    WorkflowReplayer::new(options).context("failed to make the replayer")
}

/// Replays one history. Returns an error if this program cannot replay it at all.
pub async fn replay(replayer: &WorkflowReplayer, history: History) -> Result<Replayed> {
    let started = started(&history.events)?;
    let workflow_type = started.workflow_type.as_ref().map_or("", |known| known.name.as_str());
    if ![NIGHTLY_BATCH, EXPORT_EXPIRY, EXPORT_AT_ONCE].contains(&workflow_type) {
        bail!(
            "it is of workflow `{workflow_type}`, which is not ours: `{NIGHTLY_BATCH}`, `{EXPORT_EXPIRY}` and \
             `{EXPORT_AT_ONCE}` can be replayed"
        );
    }
    let mut replayed = Replayed {
        workflow_type: workflow_type.to_owned(),
        workflow_id: started.workflow_id.clone(),
        events: history.events.len(),
        failure: None,
    };
    let events = history.events.clone();
    replayed.failure = match replayer.replay_workflow(WorkflowHistory::from(history)).await {
        Ok(()) => None,
        Err(WorkflowReplayError::Replay(failure)) => Some(explain(&events, &failure)),
        Err(other) => return Err(anyhow::Error::new(other).context("failed to replay")),
    };
    Ok(replayed)
}

/// Returns the start event of a complete history. Refuses a gap, on which the replayer would panic.
fn started(events: &[HistoryEvent]) -> Result<&WorkflowExecutionStartedEventAttributes> {
    if let Some((event, number)) = events.iter().zip(1..).find(|(event, number)| event.event_id != *number) {
        bail!("its events are incomplete: event {} is in place of event {number}", event.event_id);
    }
    match events.first().map(|event| &event.attributes) {
        Some(Some(Attributes::WorkflowExecutionStartedEventAttributes(started))) => Ok(started),
        Some(_) => bail!("its first event is not the start of a run: it is a part of a history"),
        None => bail!("it has no events"),
    }
}

fn explain(events: &[HistoryEvent], failure: &WorkflowReplayFailure) -> ReplayFailure {
    let (WorkflowReplayFailure::Nondeterminism { message }
    | WorkflowReplayFailure::InvalidHistory { message }
    | WorkflowReplayFailure::WorkflowTaskFailure { message }
    | WorkflowReplayFailure::Internal { message, .. }) = failure
    else {
        return ReplayFailure { sentence: failure.to_string(), difference: None };
    };
    let difference = difference::find(events, message);
    let sentence = match &difference {
        Some(difference) => difference.to_string(),
        None => format!("the code of this release cannot follow it ({})", difference::said(message)),
    };
    ReplayFailure { sentence, difference }
}

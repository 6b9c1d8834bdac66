//! Starts the run that serves requests by day, or tells it that a request was made.

use anyhow::{Context as _, Result};
use export_workflows::contract::{ASKED, EXPORT_AT_ONCE};
use temporalio_client::{
    Client, UntypedSignal, UntypedWorkflow, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowStartOptions,
    errors::{WorkflowInteractionError, WorkflowStartError},
};
use temporalio_common::data_converters::RawValue;

/// Tries to start or signal, when the run ends between the two.
const TRIES: u32 = 3;

/// Makes sure that a run lists the requests after this call.
pub async fn ask(client: &Client, task_queue: &str) -> Result<()> {
    for _ in 0..TRIES {
        if start(client, task_queue).await? || signal(client).await? {
            return Ok(());
        }
    }
    anyhow::bail!("`{EXPORT_AT_ONCE}` ended each time before it could be told of a request")
}

/// Starts the run. Returns whether it did: another one may be running.
pub async fn start(client: &Client, task_queue: &str) -> Result<bool> {
    let options = WorkflowStartOptions::new(task_queue, EXPORT_AT_ONCE)
        .id_conflict_policy(WorkflowIdConflictPolicy::Fail)
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .static_summary("requests that start at once")
        .build();
    match client
        .start_workflow(UntypedWorkflow::new(EXPORT_AT_ONCE), RawValue::new(Vec::new()), options)
        .await
    {
        Ok(_) => Ok(true),
        Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("failed to start `{EXPORT_AT_ONCE}`")),
    }
}

/// Signals the running run. Returns whether it did: it may have ended.
async fn signal(client: &Client) -> Result<bool> {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(EXPORT_AT_ONCE);
    match handle.signal(UntypedSignal::new(ASKED), RawValue::new(Vec::new()), Default::default()).await {
        Ok(()) => Ok(true),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("failed to signal `{EXPORT_AT_ONCE}`")),
    }
}

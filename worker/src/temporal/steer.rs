//! Sends an operator's update to the running night: pause, resume, window; or cancels it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use export_workflows::nightly_batch::{NightlyBatch, Pause, Resume, SetWindow, Steering};
use temporalio_client::{Client, UntypedWorkflow, WorkflowCancelOptions, errors::WorkflowUpdateError};
use tonic::Code;

use crate::{codec::failures, temporal::night::encode};

/// Time limit of a worker's answer: longer than the start or the restart of a worker takes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// An update of a night.
#[derive(Clone, Debug)]
pub enum NightUpdate {
    /// Start no further request.
    Pause(Pause),
    /// Resume.
    Resume(Resume),
    /// Set the maximum number of requests in flight.
    SetWindow(SetWindow),
}

/// Answer of a night to an update.
#[derive(Clone, Debug)]
pub enum Steered {
    /// The update is in effect. Holds the current settings of the operators.
    Taken(Steering),
    /// The night refused it. Holds the reason.
    Refused(String),
    /// The night had just ended.
    Ended,
}

/// Sends an update to the current run of a night.
pub async fn send(client: &Client, workflow_id: &str, update: NightUpdate) -> Result<Steered> {
    let night = client.get_workflow_handle::<NightlyBatch>(workflow_id);
    let input = match &update {
        NightUpdate::Pause(update) => encode(client, update)?,
        NightUpdate::Resume(update) => encode(client, update)?,
        NightUpdate::SetWindow(update) => encode(client, update)?,
    };
    let said = async {
        match update {
            NightUpdate::Pause(_) => {
                night.execute_update(NightlyBatch::pause, input, Default::default()).await
            }
            NightUpdate::Resume(_) => {
                night.execute_update(NightlyBatch::resume, input, Default::default()).await
            }
            NightUpdate::SetWindow(_) => {
                night.execute_update(NightlyBatch::set_window, input, Default::default()).await
            }
        }
    };
    let Ok(answered) = tokio::time::timeout(ANSWERS_WITHIN, said).await else {
        bail!(
            "no worker took it in within {} s: is `export-worker run` up? Look whether it holds before saying it again",
            ANSWERS_WITHIN.as_secs()
        );
    };
    match answered {
        Ok(steering) => Ok(Steered::Taken(steering)),
        Err(WorkflowUpdateError::Failed(failure)) => {
            Ok(Steered::Refused(failures::message(client, *failure).await))
        }
        Err(WorkflowUpdateError::NotFound(_)) => Ok(Steered::Ended),
        // The server answers this while the run's workflow task fails.
        Err(WorkflowUpdateError::Rpc(status)) if status.code() == Code::FailedPrecondition => bail!(
            "`{workflow_id}` accepts no update now: {}. If it is stuck, see \"A night that is stuck\" in \
             docs/OPERATIONS.md",
            status.message().trim_end_matches('.')
        ),
        Err(error) => Err(error).with_context(|| format!("failed to reach `{workflow_id}`")),
    }
}

/// Requests the cancellation of a night. Its attempts first release their claims.
pub async fn cancel(client: &Client, workflow_id: &str, reason: &str) -> Result<()> {
    let options = WorkflowCancelOptions::builder().reason(reason).build();
    let night = client.get_workflow_handle::<UntypedWorkflow>(workflow_id);
    night.cancel(options).await.with_context(|| format!("failed to cancel `{workflow_id}`"))
}

//! Sends an operator's order to the running night: pause, resume, window, cancel.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use export_workflows::nightly_batch::{NightlyBatch, Pause, Resume, SetWindow, Steering};
use temporalio_client::{Client, UntypedWorkflow, WorkflowCancelOptions, errors::WorkflowUpdateError};
use tonic::Code;

use crate::{codec::failures, temporal::night::encode};

/// Time limit of a worker's answer: longer than the start or the restart of a worker takes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// An order to a night.
#[derive(Clone, Debug)]
pub enum Order {
    /// Start no further request.
    Pause(Pause),
    /// Resume.
    Resume(Resume),
    /// Set the maximum number of requests in flight.
    SetWindow(SetWindow),
}

/// Answer to an order.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The order is in effect. Holds the current settings of the operators.
    Taken(Steering),
    /// The night refused it. Holds the reason.
    Refused(String),
    /// The night had just ended.
    Ended,
}

/// Sends an order to the current run of a night.
pub async fn give(client: &Client, workflow_id: &str, order: Order) -> Result<Answer> {
    let night = client.get_workflow_handle::<NightlyBatch>(workflow_id);
    let input = match &order {
        Order::Pause(order) => encode(client, order)?,
        Order::Resume(order) => encode(client, order)?,
        Order::SetWindow(order) => encode(client, order)?,
    };
    let said = async {
        match order {
            Order::Pause(_) => night.execute_update(NightlyBatch::pause, input, Default::default()).await,
            Order::Resume(_) => night.execute_update(NightlyBatch::resume, input, Default::default()).await,
            Order::SetWindow(_) => {
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
        Ok(steering) => Ok(Answer::Taken(steering)),
        Err(WorkflowUpdateError::Failed(failure)) => {
            Ok(Answer::Refused(failures::message(client, *failure).await))
        }
        Err(WorkflowUpdateError::NotFound(_)) => Ok(Answer::Ended),
        // The server answers this while the run's workflow task fails.
        Err(WorkflowUpdateError::Rpc(status)) if status.code() == Code::FailedPrecondition => bail!(
            "`{workflow_id}` accepts no order now: {}. If it stands still, see \"A night that stands still\" in \
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

//! The expiry pass between two nights, every five minutes, so that an expired link is not shown as alive for long.

use temporalio_common::data_converters::RawValue;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{WorkflowContext, WorkflowResult, WorkflowTermination};

use crate::{
    contract::{Expire, ExpireInput, ExpireOutput},
    failure, input, policies,
};

/// The workflow.
#[workflow]
#[derive(Default)]
pub struct ExportExpiry;

#[workflow_methods]
impl ExportExpiry {
    /// Flips overdue requests and deletes their archives. The nightly pass checks for deleted users.
    #[run(name = "export_expiry")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: RawValue) -> WorkflowResult<ExpireOutput> {
        let _: NoInput = input::decode(&input).map_err(|failure| *failure)?;
        let options = policies::pass(ctx.task_queue(), "overdue links");
        let passed = ctx.execute_activity(Expire, ExpireInput::default(), options).await;
        if ctx.cancellation_token().is_cancelled() {
            return Err(WorkflowTermination::cancelled());
        }
        Ok(passed.map_err(|error| failure::of_run(error.into(), "the expiry pass failed", None::<()>))?)
    }
}

/// The workflow takes no input. A field is refused by its name.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoInput {}

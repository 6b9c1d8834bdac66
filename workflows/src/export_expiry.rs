//! The expiry pass between two nights, every five minutes: no link is shown as alive for long after its end.

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
    /// Flips what is overdue and deletes its archives; users are left to the nightly pass.
    #[run(name = "export_expiry")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: RawValue) -> WorkflowResult<ExpireOutput> {
        let _: NoInput = input::decode(&input).map_err(|failure| *failure)?;
        let options = policies::pass(ctx.task_queue(), "overdue links");
        let passed = ctx.execute_activity(Expire, ExpireInput::default(), options).await;
        if ctx.cancellation_token().is_cancelled() {
            return Err(WorkflowTermination::cancelled());
        }
        Ok(passed.map_err(|error| failure::of_run(error.into(), "the expiry pass failed", None))?)
    }
}

/// It takes no input; anything but nothing is refused with its name.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoInput {}

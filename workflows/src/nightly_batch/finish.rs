//! The end of a night: expiry and sweep, then its verdict.

use temporalio_common::error::ApplicationFailure;
use temporalio_workflow::{ActivityExecutionError, WorkflowContext, WorkflowResult};

use super::{NightReport, NightlyBatch, stop_if_cancelled};
use crate::{
    contract::{Counted, Expire, ExpireInput, ExpireOutput, Sweep, SweepInput, SweepOutput},
    failure, policies,
};

/// Runs the passes at the end of the night and returns its verdict.
pub(super) async fn finish(ctx: &WorkflowContext<NightlyBatch>) -> WorkflowResult<NightReport> {
    let expired = expire(ctx, ctx.state(|s| s.night.counted())).await;
    stop_if_cancelled(ctx)?;
    let options = policies::pass(ctx.task_queue(), "orphans in the bucket");
    let swept: Result<SweepOutput, _> = ctx.execute_activity(Sweep, SweepInput::default(), options).await;
    stop_if_cancelled(ctx)?;

    let mut report = ctx.state(|s| s.night.report());
    let expired = expired.map(|pass| report.expired(pass));
    let swept = swept.map(|pass| report.swept(&pass));
    let report = verdict(report)?;
    for (passed, what) in [(expired, "the expiry pass failed"), (swept, "the sweep failed")] {
        if let Err(error) = passed {
            return Err(failure::of_run(error.into(), what, Some(report)).into());
        }
    }
    Ok(report)
}

/// Fails the night if requests wait for a person, or if a fault let no request succeed.
pub(super) fn verdict(report: NightReport) -> WorkflowResult<NightReport> {
    let counters = &report.requests;
    // The reason with most held-back requests becomes the code.
    if let Some((reason, count)) = counters.held_back.iter().max_by_key(|(_, count)| **count) {
        let (reason, count) = (reason.as_str(), *count);
        let failed =
            counters.failed.iter().find(|(of, _)| of.as_str() == reason).map_or(0, |(_, failed)| *failed);
        return Err(ApplicationFailure::builder(anyhow::anyhow!(
            "{count} requests are held back and stay pending: with the {failed} that failed, too many of this night would \
             fail as `{reason}`; if this is right, `export-worker night trigger --accept {reason}` lets them fail"
        ))
        .type_name(reason.to_owned())
        .non_retryable(true)
        .details(report)
        .build()
        .into());
    }
    if counters.fulfilled > 0 || counters.deferred == 0 {
        return Ok(report);
    }
    let code = counters.deferred_code.clone().unwrap_or_else(|| "timeout".to_owned());
    Err(ApplicationFailure::builder(anyhow::anyhow!(
        "no request could be fulfilled: {} met `{code}` and stay pending; see \"A night that failed\" in docs/OPERATIONS.md",
        counters.deferred
    ))
    .type_name(code)
    .non_retryable(true)
    .details(report)
    .build()
    .into())
}

/// Runs the expiry pass for the accounts too.
pub(super) async fn expire(
    ctx: &WorkflowContext<NightlyBatch>,
    counted: Option<Counted>,
) -> Result<ExpireOutput, ActivityExecutionError> {
    let input = ExpireInput { accounts: true, night: ctx.state(|s| s.night.night), force: false, counted };
    let options = policies::pass(ctx.task_queue(), "overdue links, deleted accounts");
    ctx.execute_activity(Expire, input, options).await
}

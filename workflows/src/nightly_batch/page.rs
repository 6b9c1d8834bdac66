//! One page of the queue: lists it, and serves its requests side by side.

use chrono::DateTime;
use temporalio_workflow::{WorkflowContext, WorkflowTermination, join_all};

use super::{NightlyBatch, cancelled, show, stop_if_cancelled};
use crate::{
    contract::{Fulfil, FulfilInput, ListPending, ListPendingInput, PendingPage},
    failure::Cause,
    policies,
};

/// Requests in one run. Each adds at most 6 events, 3,011 in all; the server asks for a new run at 4,096.
pub(super) const PAGE: u32 = 500;
/// Activities in flight. More than 50 completions within one workflow task would exceed the server's limit on
/// buffered events.
pub(super) const LANES: usize = 50;

/// Lists the next page.
pub(super) async fn list(ctx: &WorkflowContext<NightlyBatch>) -> Result<PendingPage, Cause> {
    let input = ctx.state(|s| match &s.night.only {
        Some(only) => ListPendingInput {
            limit: PAGE,
            only: Some(only.clone()),
            ask_search_attributes: true,
            ..Default::default()
        },
        None => ListPendingInput {
            cursor: s.night.cursor.clone(),
            cutoff: s.night.cutoff,
            round: s.night.round,
            limit: PAGE,
            only: None,
            at_once: false,
            ask_search_attributes: true,
        },
    });
    let of_all = input.only.is_none();
    let page = ctx.execute_activity(ListPending, input, policies::list_pending()).await?;
    // Every page of the queue has a cutoff. Without one, the result is some other object that decoded as an empty page.
    if of_all && page.cutoff.is_none() { Err(Cause::unreadable_result()) } else { Ok(page) }
}

/// Serves one page in [`LANES`] lanes that share a queue. A lane beyond the window waits until the window grows or the
/// queue is empty, so that every lane ends.
pub(super) async fn serve(ctx: &WorkflowContext<NightlyBatch>) -> Result<(), WorkflowTermination> {
    let (night, accept) = ctx.state(|s| (s.night.night, s.night.accept.clone()));
    let accept = &accept;
    let lanes = (0..LANES).map(|lane| async move {
        loop {
            let turn = ctx.wait_condition(move |s| s.queue.is_empty() || s.night.steering.lets(lane)).await;
            if turn.is_err() {
                return Err(cancelled(ctx));
            }
            let Some(request_id) = ctx.state_mut(NightlyBatch::take) else { return Ok(()) };
            let input = FulfilInput { request_id, night, accept: accept.clone(), by_day: false };
            let ended = ctx.execute_activity(Fulfil, input, policies::fulfil(request_id)).await;
            stop_if_cancelled(ctx)?;
            let now = ctx.workflow_time().map(DateTime::from);
            ctx.state_mut(|s| {
                s.in_flight -= 1;
                s.pace.ended(now);
                match &ended {
                    Ok(outcome) => s.night.counters.count(outcome),
                    // Every outcome is a success. An error is a timeout, with the code of the last failure, or a result
                    // that is not an outcome.
                    Err(error) => s.night.counters.defer(&Cause::from(error).into_code()),
                }
            });
            show(ctx);
        }
    });
    join_all(lanes).await.into_iter().collect::<Result<(), WorkflowTermination>>()
}

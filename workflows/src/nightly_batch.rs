//! The night: page by page through the queue, one activity per pending request, then expiry and sweep.
//!
//! Each run of the chain serves one page in fifty lanes and continues as new with the cursor, so no history grows with
//! the number of requests. After the last page a second round takes the requests that a system fault deferred.
//! A bad request never fails the night. A fault that let no request succeed does, after the passes. Operators steer the
//! night by updates and watch it by the query `progress`; each run hands their settings to the next.

mod finish;
mod input;
mod page;
mod progress;
mod report;
mod steering;

use std::collections::VecDeque;

use chrono::DateTime;
use temporalio_common::{data_converters::RawValue, error::ApplicationFailure};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination,
};
use uuid::Uuid;

use self::{
    finish::{expire, finish, verdict},
    input::LAST_ROUND,
    page::{list, serve},
    progress::Pace,
};
pub use self::{
    input::NightInput,
    progress::Progress,
    report::{Counters, NightReport},
    steering::{Pause, Paused, Resume, SetWindow, Steering},
};
use crate::{
    contract::{EXPORT_FAILED, EXPORT_NIGHT},
    failure,
};

/// The workflow.
#[workflow]
pub struct NightlyBatch {
    night: NightInput,
    /// Why the input was refused.
    invalid: Option<Box<ApplicationFailure>>,
    /// The requests of the page that no lane has taken yet.
    queue: VecDeque<Uuid>,
    in_flight: usize,
    pace: Pace,
    /// The server knows our search attributes.
    searchable: bool,
}

#[workflow_methods]
impl NightlyBatch {
    /// Reads the input first. An update may come before the run begins, and must see the state that the previous run
    /// handed on.
    #[init]
    fn new(_: &WorkflowContextView, input: RawValue) -> Self {
        let (night, invalid) = match crate::input::decode(&input).and_then(NightInput::checked) {
            Ok(night) => (night, None),
            Err(failure) => (NightInput::default(), Some(failure)),
        };
        Self {
            night,
            invalid,
            queue: VecDeque::new(),
            in_flight: 0,
            pace: Pace::default(),
            searchable: false,
        }
    }

    /// Serves one page, then continues as new or ends the night.
    #[run(name = "nightly_batch")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<NightReport> {
        if let Some(failure) = ctx.state_mut(|s| s.invalid.take()) {
            return Err((*failure).into());
        }
        let now = ctx.workflow_time().map(DateTime::from);
        ctx.state_mut(|s| s.night.begin(now));
        show(ctx);
        if ctx.wait_condition(|s| s.night.steering.paused.is_none()).await.is_err() {
            return Err(cancelled(ctx));
        }

        let page = match list(ctx).await {
            Ok(page) => page,
            Err(cause) => {
                stop_if_cancelled(ctx)?;
                let mut report = ctx.state(|s| s.night.report());
                // Nothing can be fulfilled, but overdue links must still expire.
                if ctx.state(|s| s.night.only.is_none())
                    && let Ok(pass) = expire(ctx, None).await
                {
                    report.expired(pass);
                }
                return Err(
                    failure::of_run(cause, "listing the pending requests failed", Some(report)).into()
                );
            }
        };
        ctx.state_mut(|s| {
            s.night.cutoff = page.cutoff.or(s.night.cutoff);
            s.night.pending_at_start = s.night.pending_at_start.or(page.pending_at_start);
            s.queue = page.requests.into();
            s.searchable = page.search_attributes;
        });
        show(ctx);
        set_search_attributes(ctx);
        serve(ctx).await?;
        set_search_attributes(ctx);

        if ctx.state(|s| s.night.only.is_some()) {
            return verdict(ctx.state(|s| s.night.report()));
        }
        if page.next.is_some() {
            return continue_as_new(ctx, |night| NightInput {
                cursor: page.next,
                page: night.page + 1,
                ..night
            })
            .await;
        }
        if ctx.state(|s| s.night.round) < LAST_ROUND {
            return continue_as_new(ctx, NightInput::second_round).await;
        }
        finish(ctx).await
    }

    /// Starts no further request and lists no further page. Requests in flight finish. Takes a [`Pause`].
    #[update]
    pub fn pause(
        &mut self,
        ctx: &mut SyncWorkflowContext<Self>,
        order: RawValue,
    ) -> Result<Steering, Refusal> {
        self.night.steering.pause(Pause::read(&order)?, ctx.workflow_time().map(DateTime::from));
        Ok(self.steered(ctx))
    }

    #[update_validator(pause)]
    fn may_pause(&self, _: &WorkflowContextView, order: &RawValue) -> Result<(), Refusal> {
        Pause::read(order).map(drop).map_err(Refusal::from)
    }

    /// Continues after a pause. Takes a [`Resume`].
    #[update]
    pub fn resume(
        &mut self,
        ctx: &mut SyncWorkflowContext<Self>,
        order: RawValue,
    ) -> Result<Steering, Refusal> {
        Resume::read(&order)?;
        self.night.steering.resume();
        Ok(self.steered(ctx))
    }

    #[update_validator(resume)]
    fn may_resume(&self, _: &WorkflowContextView, order: &RawValue) -> Result<(), Refusal> {
        Resume::read(order).map(drop).map_err(Refusal::from)
    }

    /// Sets the maximum number of requests in flight. Requests already beyond it finish. Takes a [`SetWindow`].
    #[update]
    pub fn set_window(
        &mut self,
        ctx: &mut SyncWorkflowContext<Self>,
        order: RawValue,
    ) -> Result<Steering, Refusal> {
        self.night.steering.set_window(&SetWindow::read(&order)?);
        Ok(self.steered(ctx))
    }

    #[update_validator(set_window)]
    fn may_set_window(&self, _: &WorkflowContextView, order: &RawValue) -> Result<(), Refusal> {
        SetWindow::read(order).map(drop).map_err(Refusal::from)
    }

    /// Returns the progress of the night.
    #[query]
    pub fn progress(&self, _: &WorkflowContextView) -> Progress {
        progress::progress(&self.night, self.in_flight, &self.pace)
    }
}

/// Why an update is refused.
type Refusal = Box<dyn std::error::Error + Send + Sync>;

impl NightlyBatch {
    fn steered(&mut self, ctx: &SyncWorkflowContext<Self>) -> Steering {
        self.pace.forget();
        ctx.set_current_details(self.details());
        self.night.steering.clone()
    }

    fn details(&self) -> String {
        progress::progress(&self.night, self.in_flight, &self.pace).markdown()
    }

    fn take(&mut self) -> Option<Uuid> {
        let request = self.queue.pop_front()?;
        self.in_flight += 1;
        Some(request)
    }
}

/// Ends this run and starts the next one of the chain.
async fn continue_as_new(
    ctx: &WorkflowContext<NightlyBatch>,
    next: impl FnOnce(NightInput) -> NightInput,
) -> WorkflowResult<NightReport> {
    // Wait for running update handlers, so that their changes reach the next run.
    if ctx.wait_condition(|_| ctx.all_handlers_finished()).await.is_err() {
        return Err(cancelled(ctx));
    }
    let next = next(ctx.state(|s| s.night.clone()));
    let next = crate::input::encode(ctx, &next)?;
    match ctx.continue_as_new(next, ContinueAsNewOptions::default())? {}
}

/// A cancelled night ends as Cancelled with its counts as details, whatever its activities returned.
fn stop_if_cancelled(ctx: &WorkflowContext<NightlyBatch>) -> Result<(), WorkflowTermination> {
    if ctx.cancellation_token().is_cancelled() { Err(cancelled(ctx)) } else { Ok(()) }
}

fn cancelled(ctx: &WorkflowContext<NightlyBatch>) -> WorkflowTermination {
    WorkflowTermination::cancelled_with_details(ctx.state(|s| s.night.report()))
}

/// Makes the run findable by its night and its failures. Later runs of a night inherit the attributes of the first.
fn set_search_attributes(ctx: &WorkflowContext<NightlyBatch>) {
    let (Some(night), failed) = ctx.state(|s| (s.night.night, s.night.counters.failed.values().sum::<u64>()))
    else {
        return;
    };
    let (night, failed) = (night.to_string(), i64::try_from(failed).unwrap_or(i64::MAX));
    let set = ctx.search_attributes();
    if !ctx.state(|s| s.searchable)
        || (set.get(&EXPORT_NIGHT).as_ref(), set.get(&EXPORT_FAILED)) == (Some(&night), Some(failed))
    {
        return;
    }
    ctx.upsert_search_attributes([EXPORT_NIGHT.value_set(night), EXPORT_FAILED.value_set(failed)]);
}

/// Shows the night's progress in the Web UI as the run's current details.
fn show(ctx: &WorkflowContext<NightlyBatch>) {
    ctx.set_current_details(ctx.state(NightlyBatch::details));
}

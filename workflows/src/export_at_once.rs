//! Serves by day the requests that were made to start at once, in a few lanes beside everything else.
//!
//! One run at a time, under a fixed workflow id. The worker starts it when a request is made, or signals it if it runs. It
//! lists what waits, serves each request with a single attempt, and ends when nothing is left. What an attempt leaves
//! pending belongs to the night. A request that the night reaches meanwhile is safe: its claim decides.

use std::collections::{HashSet, VecDeque};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use temporalio_common::{data_converters::RawValue, error::ApplicationFailure};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination, join, join_all,
};
use uuid::Uuid;

use crate::{
    contract::{Fulfil, FulfilInput, ListPending, ListPendingInput},
    failure::{self, Cause},
    input,
    nightly_batch::{Counters, Pause, Resume, SetWindow, Steering},
    policies,
};

/// Requests of one listing, and of one run before it continues as new: no history grows with their number. A full run waits
/// for its last export before the next one lists more.
const PAGE: u32 = 500;
/// Maximum number of lanes; as many as the night has, so that `set_window` means the same.
const LANES: usize = 50;
/// Lanes until an operator sets another number: by day the platform's own work comes first.
const WINDOW: u32 = 4;

/// The workflow.
#[workflow]
pub struct ExportAtOnce {
    day: DayInput,
    /// Why the input was refused.
    invalid: Option<Box<ApplicationFailure>>,
    /// Requests that no lane has taken yet.
    queue: VecDeque<Uuid>,
    /// Requests that were listed in this run: each is tried once.
    tried: HashSet<Uuid>,
    in_flight: usize,
    /// A request was made since the last listing.
    is_asked: bool,
    /// Nothing more is listed.
    is_done: bool,
}

/// The state that one run hands to the next. A manual start leaves all of it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DayInput {
    /// The operators' settings.
    pub steering: Steering,
    /// The counts so far.
    pub counters: Counters,
}

impl DayInput {
    /// Refuses a window with which nothing would ever be served.
    fn checked(self) -> Result<Self, Box<ApplicationFailure>> {
        if let Some(lanes) = self.steering.window {
            let checked = SetWindow { lanes }.check();
            checked.map_err(|what| input::invalid(format!("field `steering.window`: {what}")))?;
        }
        Ok(self)
    }
}

/// The answer to the query `progress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DayProgress {
    /// Requests that are listed and not yet begun.
    pub waiting: usize,
    /// Requests handed to Temporal and not ended.
    pub in_flight: usize,
    /// How the others ended.
    #[serde(flatten)]
    pub requests: Counters,
    /// The operators' settings.
    pub steering: Steering,
}

#[workflow_methods]
impl ExportAtOnce {
    #[init]
    fn new(_: &WorkflowContextView, input: RawValue) -> Self {
        let (mut day, invalid) = match input::decode(&input).and_then(DayInput::checked) {
            Ok(day) => (day, None),
            Err(failure) => (DayInput::default(), Some(failure)),
        };
        day.steering.window.get_or_insert(WINDOW);
        Self {
            day,
            invalid,
            queue: VecDeque::new(),
            tried: HashSet::new(),
            in_flight: 0,
            is_asked: true,
            is_done: false,
        }
    }

    /// Serves what waits, then ends.
    #[run(name = "export_at_once")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Counters> {
        if let Some(failure) = ctx.state_mut(|s| s.invalid.take()) {
            return Err((*failure).into());
        }
        show(ctx);
        let (listed, served) = join!(list(ctx), serve(ctx));
        served?;
        let is_full = match listed {
            Ok(is_full) => is_full,
            Err(End::Cancelled) => return Err(cancelled(ctx)),
            Err(End::Failed(cause)) => {
                let counters = ctx.state(|s| s.day.counters.clone());
                return Err(failure::of_run(cause, "listing the requests failed", Some(counters)).into());
            }
        };
        // Wait for running update handlers, so that their changes reach the next run.
        if ctx.wait_condition(|_| ctx.all_handlers_finished()).await.is_err() {
            return Err(cancelled(ctx));
        }
        // A request may have been made since the last listing.
        if is_full || ctx.state(|s| s.is_asked) {
            return continue_as_new(ctx);
        }
        Ok(ctx.state(|s| s.day.counters.clone()))
    }

    /// A request was made.
    #[signal]
    pub fn asked(&mut self, _: &mut SyncWorkflowContext<Self>, _: RawValue) {
        self.is_asked = true;
    }

    /// Starts no further request. Requests in flight finish. Takes a [`Pause`].
    #[update]
    pub fn pause(
        &mut self,
        ctx: &mut SyncWorkflowContext<Self>,
        order: RawValue,
    ) -> Result<Steering, Refusal> {
        self.day.steering.pause(Pause::read(&order)?, ctx.workflow_time().map(DateTime::from));
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
        self.day.steering.resume();
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
        self.day.steering.set_window(&SetWindow::read(&order)?);
        Ok(self.steered(ctx))
    }

    #[update_validator(set_window)]
    fn may_set_window(&self, _: &WorkflowContextView, order: &RawValue) -> Result<(), Refusal> {
        SetWindow::read(order).map(drop).map_err(Refusal::from)
    }

    /// Returns what waits, what runs and how the rest ended.
    #[query]
    pub fn progress(&self, _: &WorkflowContextView) -> DayProgress {
        DayProgress {
            waiting: self.queue.len(),
            in_flight: self.in_flight,
            requests: self.day.counters.clone(),
            steering: self.day.steering.clone(),
        }
    }
}

/// Why an update is refused.
type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// Why nothing more is listed.
enum End {
    Cancelled,
    Failed(Cause),
}

impl ExportAtOnce {
    fn steered(&self, ctx: &SyncWorkflowContext<Self>) -> Steering {
        ctx.set_current_details(self.details());
        self.day.steering.clone()
    }

    fn details(&self) -> String {
        let Counters { fulfilled, deferred, .. } = self.day.counters;
        let mut text = format!(
            "**Exports that start at once**: {fulfilled} fulfilled, {deferred} left to the night, {} in flight, {} waiting\n",
            self.in_flight,
            self.queue.len()
        );
        if let Some(paused) = &self.day.steering.paused {
            text.push_str(&format!("\n**Paused** by {}: {}\n", paused.by, paused.why));
        }
        text.push_str("\nUpdates: `pause`, `resume`, `set_window`. Query: `progress`.\n");
        text
    }

    /// Returns whether the lister has something to do: a request was made, or everything that was listed has ended.
    fn is_due(&self) -> bool {
        let is_idle = self.queue.is_empty() && self.in_flight == 0;
        self.day.steering.paused.is_none() && (self.is_asked || is_idle)
    }

    fn take(&mut self) -> Option<Uuid> {
        let request = self.queue.pop_front()?;
        self.in_flight += 1;
        Some(request)
    }
}

/// Lists what waits, again and again, until nothing is left or the run is full. Returns whether it is full.
///
/// It lists beside the lanes: a small request must not wait until a large one ends.
async fn list(ctx: &WorkflowContext<ExportAtOnce>) -> Result<bool, End> {
    let ended = list_until_done(ctx).await;
    ctx.state_mut(|s| s.is_done = true);
    ended
}

async fn list_until_done(ctx: &WorkflowContext<ExportAtOnce>) -> Result<bool, End> {
    loop {
        ctx.wait_condition(ExportAtOnce::is_due).await.map_err(|_| End::Cancelled)?;
        if ctx.state(|s| s.tried.len() >= PAGE as usize) || ctx.continue_as_new_suggested() {
            return Ok(true);
        }
        ctx.state_mut(|s| s.is_asked = false);
        let input = ListPendingInput { at_once: true, limit: PAGE, ..Default::default() };
        let listed = ctx.execute_activity(ListPending, input, policies::list_pending()).await;
        if ctx.cancellation_token().is_cancelled() {
            return Err(End::Cancelled);
        }
        let page = listed.map_err(|error| End::Failed(error.into()))?;
        // A worker of an earlier release lists the queue of the night.
        if page.cutoff.is_some() {
            return Err(End::Failed(Cause::unreadable_result()));
        }
        let is_idle = ctx.state_mut(|s| {
            for request in page.requests {
                if s.tried.insert(request) {
                    s.queue.push_back(request);
                }
            }
            s.queue.is_empty() && s.in_flight == 0 && !s.is_asked
        });
        show(ctx);
        if is_idle {
            return Ok(false);
        }
    }
}

/// Serves the queue in lanes, until nothing more is listed.
async fn serve(ctx: &WorkflowContext<ExportAtOnce>) -> Result<(), WorkflowTermination> {
    let lanes = (0..LANES).map(|lane| async move {
        loop {
            let turn = ctx.wait_condition(move |s| match s.queue.is_empty() {
                true => s.is_done,
                false => s.day.steering.lets(lane),
            });
            if turn.await.is_err() {
                return Err(cancelled(ctx));
            }
            let Some(request_id) = ctx.state_mut(ExportAtOnce::take) else { return Ok(()) };
            let input = FulfilInput { request_id, night: None, accept: Vec::new(), by_day: true };
            let ended = ctx.execute_activity(Fulfil, input, policies::fulfil_by_day(request_id)).await;
            if ctx.cancellation_token().is_cancelled() {
                return Err(cancelled(ctx));
            }
            ctx.state_mut(|s| {
                s.in_flight -= 1;
                match &ended {
                    Ok(outcome) => s.day.counters.count(outcome),
                    Err(error) => s.day.counters.defer(&Cause::from(error).into_code()),
                }
            });
            show(ctx);
        }
    });
    join_all(lanes).await.into_iter().collect()
}

fn continue_as_new(ctx: &WorkflowContext<ExportAtOnce>) -> WorkflowResult<Counters> {
    let next = input::encode(ctx, &ctx.state(|s| s.day.clone()))?;
    match ctx.continue_as_new(next, ContinueAsNewOptions::default())? {}
}

fn cancelled(ctx: &WorkflowContext<ExportAtOnce>) -> WorkflowTermination {
    WorkflowTermination::cancelled_with_details(ctx.state(|s| s.day.counters.clone()))
}

fn show(ctx: &WorkflowContext<ExportAtOnce>) {
    ctx.set_current_details(ctx.state(ExportAtOnce::details));
}

//! The night: page by page through the queue, one activity per pending request, then expiry and sweep.
//!
//! Each run of the chain works off one page under fifty lanes and continues as new with the cursor, so no history
//! grows with the number of requests. After the last page one second look takes what a fault of the system deferred.
//! A bad request never fails the night; a fault that let nothing through does, after the passes.

use std::{cell::RefCell, collections::BTreeMap, collections::VecDeque, rc::Rc};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use temporalio_common::{
    data_converters::{
        GenericPayloadConverter, RawValue, SerializationContext, SerializationContextData,
        WorkflowSerializationContext,
    },
    error::ApplicationFailure,
};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ActivityExecutionError, ContinueAsNewOptions, WorkflowContext, WorkflowResult, WorkflowTermination,
    join_all,
};
use uuid::Uuid;

use crate::{
    contract::{
        Cursor, Expire, ExpireInput, ExpireOutput, FailureReason, Fulfil, FulfilInput, ListPending,
        ListPendingInput, Outcome, PendingPage, Sweep, SweepInput, SweepOutput,
    },
    failure, input, policies,
};

/// Requests in one run: at most 6 events each, so 3,011 of the 4,096 at which the server asks for a new run.
const PAGE: u32 = 500;
/// Activities in flight. More than 50 completions within one workflow task would trip the server's limit on
/// buffered events.
const LANES: usize = 50;
/// The second look is the last: what it defers waits for the next night.
const LAST_LOOK: u8 = 2;

/// What one run hands to the next; nothing else survives it. A start by hand gives none of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NightInput {
    /// The night's name: the UTC date on which its first run began.
    pub night: Option<NaiveDate>,
    /// 1 while the queue is walked through for the first time, 2 for the second look (0 is taken as 1).
    pub look: u8,
    /// Which page of this look comes next, from 0.
    pub page: u32,
    /// Requests made later wait for the next night: the database's clock at the first page.
    pub cutoff: Option<DateTime<Utc>>,
    /// The last request of the page before.
    pub cursor: Option<Cursor>,
    /// What was counted so far.
    pub counters: Counters,
    /// When the first run began.
    pub started_at: Option<DateTime<Utc>>,
    /// How many requests were pending then.
    pub pending_at_start: Option<u64>,
}

/// How many requests ended how; the outcomes of `fulfil_export_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counters {
    /// Became `ready`.
    pub fulfilled: u64,
    /// Had left `pending` before their turn.
    pub already_done: u64,
    /// Were finished by another attempt first.
    pub superseded: u64,
    /// Became `failed`, by reason.
    pub failed: BTreeMap<FailureReason, u64>,
    /// Failed in our own code five times; they wait for the next night.
    pub given_up_tonight: u64,
    /// Met a fault of the system and are still pending; at the end, what the second look could not serve either.
    pub deferred: u64,
    /// The code of the last such fault.
    pub deferred_code: Option<String>,
}

impl Counters {
    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Fulfilled { .. } => self.fulfilled += 1,
            Outcome::AlreadyDone => self.already_done += 1,
            Outcome::Superseded => self.superseded += 1,
            Outcome::Failed { reason } => *self.failed.entry(*reason).or_default() += 1,
            Outcome::GivenUpTonight => self.given_up_tonight += 1,
            Outcome::Deferred { code } => self.defer(code),
        }
    }

    fn defer(&mut self, code: &str) {
        self.deferred += 1;
        self.deferred_code = Some(code.to_owned());
    }

    fn served(&self) -> u64 {
        self.fulfilled
            + self.already_done
            + self.superseded
            + self.failed.values().sum::<u64>()
            + self.given_up_tonight
            + self.deferred
    }
}

/// What a night did: the result of the workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NightReport {
    /// The night's name (UTC date).
    pub night: Option<NaiveDate>,
    /// Requests that were pending at its start.
    pub pending_at_start: u64,
    /// How they ended.
    #[serde(flatten)]
    pub requests: Counters,
    /// Requests whose seven days were over.
    pub expired: u64,
    /// Requests whose archive was taken back because their user is gone.
    pub revoked: u64,
    /// So many users seemed gone that nothing was taken back.
    pub too_many_accounts_gone: bool,
    /// Archives of failed requests that the store did not delete yet.
    pub deletions_left: u64,
    /// Orphaned objects and uploads that were deleted.
    pub swept: u64,
    /// So many objects seemed orphaned that nothing was deleted.
    pub sweep_refused: bool,
}

/// The workflow; its state is what the Web UI shows as current details.
#[workflow]
#[derive(Default)]
pub struct NightlyBatch {
    night: NightInput,
}

#[workflow_methods]
impl NightlyBatch {
    /// Works off one page, then continues as new or ends the night.
    #[run(name = "nightly_batch")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, input: RawValue) -> WorkflowResult<NightReport> {
        let mut night: NightInput = input::decode(&input).map_err(|failure| *failure)?;
        night.look = night.look.max(1);
        if night.started_at.is_none() {
            night.started_at = ctx.workflow_time().map(DateTime::from);
        }
        if night.night.is_none() {
            night.night = night.started_at.map(|at| at.date_naive());
        }
        ctx.state_mut(|s| s.night = night);

        let page = match list(ctx).await {
            Ok(page) => page,
            Err(error) => {
                stop_if_cancelled(ctx)?;
                // Nothing can be fulfilled, but no dead link may stay alive because of it.
                let failure = failure::of_run(&error, "listing the pending requests failed");
                let _ = expire(ctx).await;
                return Err(failure.into());
            }
        };
        ctx.state_mut(|s| {
            s.night.cutoff = page.cutoff.or(s.night.cutoff);
            s.night.pending_at_start = s.night.pending_at_start.or(page.pending_at_start);
        });
        show(ctx);
        serve(ctx, page.requests).await?;

        let after = ctx.state(|s| s.night.clone());
        if page.next.is_some() {
            return go_on(ctx, NightInput { cursor: page.next, page: after.page + 1, ..after });
        }
        if after.look < LAST_LOOK {
            let mut counters = after.counters.clone();
            // They get their second look.
            (counters.deferred, counters.deferred_code) = (0, None);
            return go_on(ctx, NightInput { look: LAST_LOOK, page: 0, cursor: None, counters, ..after });
        }
        finish(ctx, after).await
    }
}

async fn list(ctx: &WorkflowContext<NightlyBatch>) -> Result<PendingPage, ActivityExecutionError> {
    let input = ctx.state(|s| ListPendingInput {
        cursor: s.night.cursor.clone(),
        cutoff: s.night.cutoff,
        look: s.night.look,
        limit: PAGE,
    });
    ctx.execute_activity(ListPending, input, policies::list_pending()).await
}

/// Serves one page under [`LANES`] lanes that share a queue.
async fn serve(ctx: &WorkflowContext<NightlyBatch>, requests: Vec<Uuid>) -> Result<(), WorkflowTermination> {
    let night = ctx.state(|s| s.night.night);
    let queue = Rc::new(RefCell::new(VecDeque::from(requests)));
    let lanes = (0..LANES).map(|_| {
        let queue = Rc::clone(&queue);
        async move {
            loop {
                let Some(request_id) = queue.borrow_mut().pop_front() else { return Ok(()) };
                let input = FulfilInput { request_id, night };
                let ended = ctx.execute_activity(Fulfil, input, policies::fulfil(request_id)).await;
                stop_if_cancelled(ctx)?;
                ctx.state_mut(|s| match &ended {
                    Ok(outcome) => s.night.counters.count(outcome),
                    // Outcomes are successes; what is left is a timeout.
                    Err(_) => s.night.counters.defer("timeout"),
                });
                show(ctx);
            }
        }
    });
    join_all(lanes).await.into_iter().collect::<Result<(), WorkflowTermination>>()
}

/// The passes at the end of the night, and its verdict.
async fn finish(ctx: &WorkflowContext<NightlyBatch>, night: NightInput) -> WorkflowResult<NightReport> {
    let expired = expire(ctx).await;
    stop_if_cancelled(ctx)?;
    let options = policies::pass(ctx.task_queue(), "orphans in the bucket");
    let swept: Result<SweepOutput, _> = ctx.execute_activity(Sweep, SweepInput::default(), options).await;
    stop_if_cancelled(ctx)?;

    let counters = night.counters;
    if counters.fulfilled == 0 && counters.deferred > 0 {
        let code = counters.deferred_code.unwrap_or_else(|| "timeout".to_owned());
        return Err(ApplicationFailure::builder(anyhow::anyhow!(
            "no request could be fulfilled: {} met `{code}` and stay pending; see \"A night that failed\" in docs/OPERATIONS.md",
            counters.deferred
        ))
        .type_name(code)
        .non_retryable(true)
        .build()
        .into());
    }
    let expired = expired.map_err(|error| failure::of_run(&error, "the expiry pass failed"))?;
    let swept = swept.map_err(|error| failure::of_run(&error, "the sweep failed"))?;
    Ok(NightReport {
        night: night.night,
        pending_at_start: night.pending_at_start.unwrap_or(0),
        requests: counters,
        expired: expired.expired,
        revoked: expired.revoked,
        too_many_accounts_gone: expired.too_many_accounts_gone,
        deletions_left: expired.deletions_left,
        swept: swept.swept,
        sweep_refused: swept.refused,
    })
}

async fn expire(ctx: &WorkflowContext<NightlyBatch>) -> Result<ExpireOutput, ActivityExecutionError> {
    let input = ExpireInput { accounts: true, night: ctx.state(|s| s.night.night), force: false };
    let options = policies::pass(ctx.task_queue(), "overdue links, deleted accounts");
    ctx.execute_activity(Expire, input, options).await
}

fn go_on(ctx: &WorkflowContext<NightlyBatch>, next: NightInput) -> WorkflowResult<NightReport> {
    let converter = ctx.payload_converter();
    let data = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let payloads =
        converter.to_payloads(&SerializationContext::new(&data, converter), &next).map_err(|error| {
            ApplicationFailure::new(anyhow::anyhow!("failed to encode the next run: {error}"))
        })?;
    match ctx.continue_as_new(RawValue::new(payloads), ContinueAsNewOptions::default())? {}
}

/// A cancelled night ends Cancelled, whatever its activities answered, with its counts as details.
fn stop_if_cancelled(ctx: &WorkflowContext<NightlyBatch>) -> Result<(), WorkflowTermination> {
    if ctx.cancellation_token().is_cancelled() {
        let counters = ctx.state(|s| s.night.counters.clone());
        return Err(WorkflowTermination::cancelled_with_details(counters));
    }
    Ok(())
}

/// Shows the counts in the Web UI as the run's current details.
fn show(ctx: &WorkflowContext<NightlyBatch>) {
    let details = ctx.state(|s| {
        let night = &s.night;
        let c = &night.counters;
        let failed: u64 = c.failed.values().sum();
        format!(
            "**Night {}**, look {}, page {}: {} of {} served\n\n\
             | fulfilled | failed | already done | superseded | given up tonight | deferred |\n\
             |---|---|---|---|---|---|\n| {} | {failed} | {} | {} | {} | {} |",
            night.night.map(|night| night.to_string()).unwrap_or_default(),
            night.look,
            night.page + 1,
            c.served(),
            night.pending_at_start.unwrap_or(0),
            c.fulfilled,
            c.already_done,
            c.superseded,
            c.given_up_tonight,
            c.deferred,
        )
    });
    ctx.set_current_details(details);
}

//! The night: page by page through the queue, one activity per pending request, then expiry and sweep.
//!
//! Each run of the chain serves one page in fifty lanes and continues as new with the cursor, so no history grows with
//! the number of requests. After the last page a second round takes the requests that a system fault deferred.
//! A bad request never fails the night. A fault that let no request succeed does, after the passes. Operators steer the
//! night by updates and watch it by the query `progress`; each run hands their settings to the next.

mod progress;
mod report;
mod steering;

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
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
    ActivityExecutionError, ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination, join_all,
};
use uuid::Uuid;

use self::progress::Pace;
pub use self::{
    progress::Progress,
    report::{Counters, NightReport},
    steering::{Pause, Paused, Resume, SetWindow, Steering},
};
use crate::{
    contract::{
        Counted, Cursor, EXPORT_FAILED, EXPORT_NIGHT, Expire, ExpireInput, ExpireOutput, FailureReason,
        Fulfil, FulfilInput, ListPending, ListPendingInput, PendingPage, Sweep, SweepInput, SweepOutput,
    },
    failure::{self, Cause},
    input, policies,
};

/// Requests in one run. Each adds at most 6 events, 3,011 in all; the server asks for a new run at 4,096.
const PAGE: u32 = 500;
/// Activities in flight. More than 50 completions within one workflow task would exceed the server's limit on
/// buffered events.
const LANES: usize = 50;
/// Possible years of a night or a request.
const POSSIBLE_YEARS: std::ops::RangeInclusive<i32> = 2020..=2200;
/// The second round is the last: requests that it defers wait for the next night.
const LAST_ROUND: u8 = 2;

/// The state that one run hands to the next; nothing else survives the run. A manual start may leave all of it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NightInput {
    /// The night's name: the UTC date on which its first run began.
    pub night: Option<NaiveDate>,
    /// 1 for the first round through the queue, 2 for the second; 0 means 1.
    #[serde(rename = "look")] // its name in runs that are under way
    pub round: u8,
    /// The next page of this round, from 0.
    pub page: u32,
    /// The database's time at the first page. Requests made later wait for the next night.
    pub cutoff: Option<DateTime<Utc>>,
    /// The last request of the previous page.
    pub cursor: Option<Cursor>,
    /// The counts so far.
    pub counters: Counters,
    /// When the first run began.
    pub started_at: Option<DateTime<Utc>>,
    /// The number of requests that were pending then.
    pub pending_at_start: Option<u64>,
    /// The operators' settings. Left out until one is changed: workers of the previous release do not know the field.
    #[serde(skip_serializing_if = "Steering::is_default")]
    pub steering: Steering,
    /// These requests and no others, at most 500: no cutoff, no second round, no passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<Uuid>>,
    /// Reasons for which any number of requests may fail, because a person has checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<FailureReason>,
}

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
        let (night, invalid) = match input::decode(&input).and_then(NightInput::checked) {
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
            return go_on(ctx, |night| NightInput { cursor: page.next, page: night.page + 1, ..night }).await;
        }
        if ctx.state(|s| s.night.round) < LAST_ROUND {
            return go_on(ctx, NightInput::second_look).await;
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

impl NightInput {
    fn checked(mut self) -> Result<Self, Box<ApplicationFailure>> {
        if self.round > LAST_ROUND {
            return Err(input::invalid(format!(
                "field `look`: it is {}, more than {LAST_ROUND}",
                self.round
            )));
        }
        // An impossible date is a typing error, and the log would keep it.
        let is_possible = |year: i32| POSSIBLE_YEARS.contains(&year);
        if let Some(night) = self.night.filter(|night| !is_possible(night.year())) {
            return Err(input::invalid(format!("field `night`: no night is of {night}")));
        }
        if let Some(cutoff) = self.cutoff.filter(|cutoff| !is_possible(cutoff.year())) {
            return Err(input::invalid(format!("field `cutoff`: no request is of {cutoff}")));
        }
        // A night with a window of 0 would never end.
        if let Some(lanes) = self.steering.window {
            let checked = SetWindow { lanes }.check();
            checked.map_err(|what| input::invalid(format!("field `steering.window`: {what}")))?;
        }
        if let Some(reason) = self.accept.iter().find(|reason| !FailureReason::OF_ATTEMPTS.contains(reason)) {
            let what = format!("field `accept`: no attempt fails a request as `{}`", reason.as_str());
            return Err(input::invalid(what));
        }
        let Some(only) = &mut self.only else { return Ok(self) };
        if only.is_empty() {
            return Err(input::invalid(
                "field `only`: it names no request; leave it out for a night of all".to_owned(),
            ));
        }
        if only.len() > PAGE as usize {
            let what = format!("field `only`: it names {} requests, more than {PAGE}", only.len());
            return Err(input::invalid(what));
        }
        // Two activities for one request would have the same id.
        let mut seen = HashSet::new();
        only.retain(|request| seen.insert(*request));
        Ok(self)
    }

    fn report(&self) -> NightReport {
        NightReport {
            night: self.night,
            pending_at_start: self.pending_at_start.unwrap_or(0),
            requests: self.counters.clone(),
            ..Default::default()
        }
    }

    /// Returns the counts that the database must confirm at the end.
    fn counted(&self) -> Option<Counted> {
        let counters = &self.counters;
        Some(Counted {
            since: self.cutoff?,
            fulfilled: counters.fulfilled,
            failed: counters.failed.clone(),
            left: counters.left(),
        })
    }

    fn begin(&mut self, now: Option<DateTime<Utc>>) {
        self.round = self.round.max(1);
        self.started_at = self.started_at.or(now);
        self.night = self.night.or(self.started_at.map(|at| at.date_naive()));
    }

    /// Starts the second round, for deferred and held-back requests. The held-back ones may be few among all requests
    /// that have ended by then.
    fn second_look(mut self) -> Self {
        (self.counters.deferred, self.counters.deferred_code) = (0, None);
        self.counters.held_back.clear();
        Self { round: LAST_ROUND, page: 0, cursor: None, ..self }
    }
}

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

async fn list(ctx: &WorkflowContext<NightlyBatch>) -> Result<PendingPage, Cause> {
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
async fn serve(ctx: &WorkflowContext<NightlyBatch>) -> Result<(), WorkflowTermination> {
    let (night, accept) = ctx.state(|s| (s.night.night, s.night.accept.clone()));
    let accept = &accept;
    let lanes = (0..LANES).map(|lane| async move {
        loop {
            let turn = ctx.wait_condition(move |s| s.queue.is_empty() || s.night.steering.lets(lane)).await;
            if turn.is_err() {
                return Err(cancelled(ctx));
            }
            let Some(request_id) = ctx.state_mut(NightlyBatch::take) else { return Ok(()) };
            let input = FulfilInput { request_id, night, accept: accept.clone() };
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

/// Runs the passes at the end of the night and returns its verdict.
async fn finish(ctx: &WorkflowContext<NightlyBatch>) -> WorkflowResult<NightReport> {
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
fn verdict(report: NightReport) -> WorkflowResult<NightReport> {
    let counters = &report.requests;
    // The reason with most held-back requests becomes the code.
    if let Some((reason, count)) = counters.held_back.iter().max_by_key(|(_, count)| **count) {
        let (reason, count) = (reason.as_str(), *count);
        let failed =
            counters.failed.iter().find(|(of, _)| of.as_str() == reason).map_or(0, |(_, failed)| *failed);
        return Err(ApplicationFailure::builder(anyhow::anyhow!(
            "{count} requests are held back and stay pending: with the {failed} that failed, too many of this night would \
             fail as `{reason}`; if a look says that it is true, `export-worker night trigger --accept {reason}` goes on"
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

async fn expire(
    ctx: &WorkflowContext<NightlyBatch>,
    counted: Option<Counted>,
) -> Result<ExpireOutput, ActivityExecutionError> {
    let input = ExpireInput { accounts: true, night: ctx.state(|s| s.night.night), force: false, counted };
    let options = policies::pass(ctx.task_queue(), "overdue links, deleted accounts");
    ctx.execute_activity(Expire, input, options).await
}

async fn go_on(
    ctx: &WorkflowContext<NightlyBatch>,
    next: impl FnOnce(NightInput) -> NightInput,
) -> WorkflowResult<NightReport> {
    // Wait for running update handlers, so that their changes reach the next run.
    if ctx.wait_condition(|_| ctx.all_handlers_finished()).await.is_err() {
        return Err(cancelled(ctx));
    }
    let next = next(ctx.state(|s| s.night.clone()));
    let converter = ctx.payload_converter();
    let data = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let payloads =
        converter.to_payloads(&SerializationContext::new(&data, converter), &next).map_err(|error| {
            ApplicationFailure::new(anyhow::anyhow!("failed to encode the next run: {error}"))
        })?;
    match ctx.continue_as_new(RawValue::new(payloads), ContinueAsNewOptions::default())? {}
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

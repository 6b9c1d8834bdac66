//! The edge to Temporal: each activity opens a span, calls its step and translates its failure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{NaiveDate, Utc};
use export_workflows::contract::{
    self, Counted, ExpireInput, ExpireOutput, FulfilInput, ListPendingInput, Miscount, Outcome, PendingPage,
    SweepInput, SweepOutput,
};
use futures::FutureExt;
use serde::Serialize;
use temporalio_common::{
    ActivityError,
    error::{ApplicationErrorCategory, ApplicationFailure},
};
use temporalio_macros::activities;
use temporalio_sdk::activities::ActivityContext;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    context::ExportSteps,
    failure::{Class, Failure, Verdict, judge, panic::caught},
    fulfil::{
        self,
        attempt::{Attempt, Unfinished},
        handover::Handover,
        lease,
    },
    passes::{expire, recheck, sweep},
    pulse::Pulse,
    requests::{call::call, census, claim::Owner, held_back, pending, state::Trace},
    search_attributes,
};

/// After this time the sweep begins to read no further archive back: a pass has two hours.
const RECHECK_WITHIN: Duration = Duration::from_secs(45 * 60);

#[activities]
impl ExportSteps {
    /// Lists one page of the queue; the very first page also checks that the catalogue fits the database.
    #[activity(definition = contract::ListPending)]
    pub async fn list_pending(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ListPendingInput,
    ) -> Result<PendingPage, ActivityError> {
        let span = tracing::info_span!("list_pending", run.id = ctx.info().workflow_run_id);
        let step = async {
            if input.cutoff.is_none() {
                let mut session = self.source.acquire().await?;
                self.catalogue.resolve(&mut session).await?;
                session.keep();
            }
            let mut page = call(pending::list_pending(&self.state, &input)).await?;
            page.search_attributes =
                input.ask_search_attributes && search_attributes::are_known(&ctx.client()).await;
            Ok(page)
        };
        let listed = caught("list_pending", step).instrument(span.clone()).await;
        span.in_scope(|| listed.map_err(|error| failed("Listing the pending requests", judge(&error))))
    }

    /// Moves one request from `pending` to `ready`, or reports why not.
    #[activity(definition = contract::Fulfil)]
    pub async fn fulfil(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: FulfilInput,
    ) -> Result<Outcome, ActivityError> {
        let info = ctx.info().clone();
        let span =
            tracing::info_span!("fulfil", request.id = %input.request_id, run.id = info.workflow_run_id);
        let mut owner = Owner::new(
            info.workflow_id.as_deref().unwrap_or_default(),
            info.workflow_run_id.as_deref().unwrap_or_default(),
            &info.activity_id,
            info.attempt,
        );
        // An earlier release of the worker left a number there: ignore it.
        let before = ctx.heartbeat_details().deserialize::<Handover>().ok().flatten().unwrap_or_default();
        let before = before.taken_over(owner.attempt);
        owner.killed.clone_from(&before.killed);
        let attempt = Attempt { owner, input, run_id: info.workflow_run_id.clone(), before };
        let (pulse, _watch) = pulse_of(&ctx);
        let heartbeat = |moved| {
            let (ctx, handover) = (ctx.clone(), Handover { moved, ..attempt.before.clone() });
            async move { beat(&ctx, handover).await }.boxed()
        };
        // Boxed: the future of a whole export is large, and one is made for each slot.
        let step = Box::pin(fulfil::fulfil(&self, &attempt, &pulse, &heartbeat));
        let step = caught("fulfil", step.map(Ok)).instrument(span.clone());
        let ended = step.await.unwrap_or_else(|panic| Err(Unfinished::Retry(judge(&panic))));
        let id = attempt.input.request_id;
        span.in_scope(|| log_end(id, &ended));
        match &ended {
            Ok(outcome) => self.metrics.ended(outcome),
            // The last heartbeat is sent with the failure, even if heartbeats are throttled.
            Err(unfinished) => {
                let failing = unfinished.is_of_the_system().then(Utc::now);
                beat(&ctx, attempt.before.ended(attempt.owner.attempt, failing)).await;
            }
        }
        ended.map_err(|unfinished| match unfinished {
            Unfinished::Held(rest) => ApplicationFailure::builder(anyhow::anyhow!(
                "another attempt has claimed this request for at most {} s more; it is retried then",
                rest.as_secs()
            ))
            .type_name("held".to_owned())
            .category(ApplicationErrorCategory::Benign)
            .next_retry_delay(rest)
            .build()
            .into(),
            Unfinished::Interrupted => interrupted(),
            // Always, even for drift: only a night that lists its first page gives up because of it.
            Unfinished::Retry(verdict) => failure_of(verdict, Retries::Always),
        })
    }

    /// Fails overdue requests and deletes the archives of failed requests.
    #[activity(definition = contract::Expire)]
    pub async fn expire(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ExpireInput,
    ) -> Result<ExpireOutput, ActivityError> {
        let span = tracing::info_span!("expire", run.id = ctx.info().workflow_run_id);
        let trace = Trace { night: input.night, run_id: ctx.info().workflow_run_id.clone() };
        let (pulse, _watch) = pulse_of(&ctx);
        let pass = expire::ExpiryPass {
            state: &self.state,
            accounts: Some((&self.source, &*self.catalogue)),
            store: &self.store,
            trace: &trace,
            pulse: &pulse,
            // Before the pass counts as stalled: a store that hangs is no failure of the pass.
            delete_within: expire::DELETE_WITHIN.min(self.settings.stall_timeout / 2),
        };
        let step = async {
            let mut passed = expire::expire(&pass, &input).await?;
            if let Some(night) = input.night.filter(|_| input.accounts) {
                self.report_held_back().await;
                passed.miscounted = self.recount(night, input.counted.as_ref()).await;
            }
            Ok(passed)
        };
        let step = self.pass("The expiry pass", &ctx, &pulse, Box::pin(step));
        let passed = step.instrument(span.clone()).await?;
        self.metrics.expired(&passed);
        if passed != ExpireOutput::default() {
            let ExpireOutput { expired, revoked, deleted, deletions_left, .. } = passed;
            span.in_scope(|| {
                tracing::info!(
                    expired,
                    revoked,
                    deleted,
                    deletions_left,
                    "The expiry pass ended {expired} requests"
                );
            });
        }
        Ok(passed)
    }

    /// Deletes the objects and uploads that no request points to, and compares the delivered ones with their rows.
    #[activity(definition = contract::Sweep)]
    pub async fn sweep(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: SweepInput,
    ) -> Result<SweepOutput, ActivityError> {
        let span = tracing::info_span!("sweep", run.id = ctx.info().workflow_run_id);
        let options = sweep::SweepOptions {
            min_age: self.settings.sweep_min_age,
            dry_run: input.dry_run,
            force: input.force,
        };
        let (pulse, _watch) = pulse_of(&ctx);
        let step = async {
            let passed = sweep::sweep(&self.state, &self.store, &options, &pulse).await?;
            // A brake that holds says that database and store may not belong together.
            if !input.dry_run && !passed.refused {
                self.metrics.swept(passed.swept);
                let options = recheck::RecheckOptions {
                    bytes: self.settings.recheck_bytes,
                    within: Some(RECHECK_WITHIN),
                };
                match recheck::recheck(&self.state, &self.store, &options, &pulse).await {
                    Ok(checked) => self.metrics.rechecked(&checked),
                    Err(error) => {
                        pulse.check()?;
                        // The sweep has done its work, and the next night checks again.
                        tracing::warn!(error.chain = %judge(&error), "The delivered archives could not be compared");
                    }
                }
            }
            Ok(passed)
        };
        self.pass("The sweep", &ctx, &pulse, Box::pin(step)).instrument(span).await
    }
}

impl ExportSteps {
    /// Runs a pass with a heartbeat every tick, until it ends or nothing has moved for `EXPORT_STALL_TIMEOUT`. A silent
    /// database or store must not hold the pass and its slot.
    async fn pass<T>(
        &self,
        what: &str,
        ctx: &ActivityContext,
        pulse: &Pulse,
        step: impl Future<Output = anyhow::Result<T>>,
    ) -> Result<T, ActivityError> {
        let mut step = std::pin::pin!(caught("a pass", step));
        let mut stalled = std::pin::pin!(lease::watch(pulse, self.settings.stall_timeout));
        let mut ticks = tokio::time::interval(lease::TICK);
        loop {
            tokio::select! {
                ended = &mut step => return ended.map_err(|error| failed(what, judge(&error))),
                why = &mut stalled => return Err(failed(what, judge(&why.into()))),
                _ = ticks.tick() => beat(ctx, pulse.moved()).await,
                () = pulse.cancelled() => return Err(interrupted()),
            }
        }
    }

    /// Logs an error, so that a person acts, when a night has held requests back. Runs in the pass after its last
    /// round.
    async fn report_held_back(&self) {
        match held_back::counts(&self.state).await {
            Ok(counts) => {
                for (reason, count) in counts {
                    let reason = reason.as_str();
                    tracing::error!(
                        failure.reason = reason,
                        "{count} requests wait for a person, because so many of the night would fail as `{reason}`: find the common cause, or run `export-worker night trigger --accept {reason}`"
                    );
                }
            }
            Err(error) => tracing::warn!(
                error.chain = %judge(&error),
                "Could not count the requests that are held back"
            ),
        }
    }

    /// Compares the counts of the night with the database, and warns about each difference. An error here does not fail
    /// the pass.
    async fn recount(&self, night: NaiveDate, counted: Option<&Counted>) -> BTreeMap<String, Miscount> {
        let Some(counted) = counted else { return BTreeMap::new() };
        let miscounted = call(census::recount(&self.state, night, counted)).await.unwrap_or_else(|error| {
            tracing::warn!(error.chain = %judge(&error), "The counts of night {night} could not be compared");
            BTreeMap::new()
        });
        for (what, Miscount { counted, found }) in &miscounted {
            tracing::warn!(
                night.counted = counted,
                night.found = found,
                "Night {night} counted {counted} requests as {what}, but the database has {found}, which is right: report it"
            );
        }
        self.metrics.miscounted(miscounted.len());
        miscounted
    }
}

/// Stops the watching task when the activity is over.
struct Watch(tokio::task::JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes a pulse that stops when Temporal cancels the activity or the worker drains.
fn pulse_of(ctx: &ActivityContext) -> (Pulse, Watch) {
    let token = CancellationToken::new();
    let (ctx, cancelled) = (ctx.clone(), token.clone());
    let watch = tokio::spawn(async move {
        ctx.cancelled().await;
        cancelled.cancel();
    });
    (Pulse::new(token), Watch(watch))
}

async fn beat<T: Serialize + Send + Sync + 'static>(ctx: &ActivityContext, details: T) {
    // These details always serialise, and another heartbeat follows a lost one.
    if let Err(error) = ctx.record_heartbeat(details).await {
        tracing::warn!(error.chain = %error, "A heartbeat could not be encoded and was left out: report this line");
    }
}

/// Makes the failure of an interrupted attempt. A cancelled token means a cancel, a terminate, a drain, or an
/// operator's pause or reset of the activity. The server refuses "cancelled" for the last two, so all of them end as a
/// failure that is retried at once.
fn interrupted() -> ActivityError {
    ApplicationFailure::builder(anyhow::anyhow!(
        "the attempt was interrupted and released its request; nothing is lost, it is retried"
    ))
    .type_name("interrupted".to_owned())
    .category(ApplicationErrorCategory::Benign)
    .next_retry_delay(Duration::from_secs(1))
    .build()
    .into()
}

/// Logs how an attempt ended, once.
fn log_end(id: Uuid, ended: &Result<Outcome, Unfinished>) {
    match ended {
        Ok(Outcome::Fulfilled { archive_bytes, rows }) => {
            tracing::info!(archive.bytes = archive_bytes, rows, "Request {id} ended as fulfilled");
        }
        Ok(outcome) => tracing::info!("Request {id} ended as {outcome}"),
        Err(Unfinished::Held(rest)) => {
            tracing::info!("Request {id} is claimed by another attempt for at most {} s", rest.as_secs());
        }
        Err(Unfinished::Interrupted) => {
            tracing::info!("Request {id} was released: the attempt was interrupted")
        }
        Err(Unfinished::Retry(verdict)) => {
            tracing::warn!(error.chain = %verdict, "An attempt at request {id} failed; it is retried");
        }
    }
}

/// Logs the failure of a step that serves no single request, and converts it for Temporal.
fn failed(what: &str, verdict: Verdict) -> ActivityError {
    if verdict.class != Class::Interrupted {
        let again = if matches!(verdict.class, Class::Permanent(_)) { "" } else { "; Temporal retries it" };
        tracing::warn!(error.chain = %verdict, "{what} failed{again}");
    }
    failure_of(verdict, Retries::UnlessPermanent)
}

/// Which failures Temporal retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retries {
    /// All of them.
    Always,
    /// All but those that stay until a person has changed the catalogue, the database or the input.
    UnlessPermanent,
}

/// Makes the one kind of failure that Temporal shows. Its type is a closed code; its message is a sentence that says
/// what to do.
fn failure_of(verdict: Verdict, retried: Retries) -> ActivityError {
    if verdict.class == Class::Interrupted {
        return interrupted();
    }
    let permanent = [
        Failure::CatalogueDrift(Vec::new()).code(),
        Failure::RowSecurity(Vec::new()).code(),
        Failure::UnknownRequests(Vec::new()).code(),
    ];
    let non_retryable = retried == Retries::UnlessPermanent && permanent.contains(&verdict.code.as_str());
    ApplicationFailure::builder(anyhow::anyhow!(verdict.sentence()))
        .type_name(verdict.code)
        .non_retryable(non_retryable)
        .build()
        .into()
}

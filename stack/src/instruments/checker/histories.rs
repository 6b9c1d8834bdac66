//! Compares the histories of all runs with the requests, and checks the runs themselves.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use export_workflows::contract::Outcome;
use futures::TryStreamExt as _;
use sqlx::PgPool;
use temporalio_client::{Client, NamespacedClient as _, WorkflowExecutionInfo};
use temporalio_common::protos::temporal::api::{
    enums::v1::WorkflowTaskFailedCause as Cause,
    history::v1::{HistoryEvent, history_event::Attributes},
};
use uuid::Uuid;

use super::{Findings, Invariant};

/// When an activity ended. It also identifies the activity, because a reset copies earlier events into another run.
type Moment = (i64, i32);

/// Causes from outside the workflow: a reset, or an event that came while the workflow task was running.
const HARMLESS: [Cause; 4] =
    [Cause::ResetWorkflow, Cause::UnhandledCommand, Cause::ForceCloseCommand, Cause::UnhandledUpdate];

#[derive(Default)]
struct Reported {
    fulfilled: BTreeSet<Moment>,
    others: Vec<Outcome>,
}

/// Checks that each outcome in a history agrees with its request, and that no workflow task failed by its own fault.
pub(super) async fn check(client: &Client, database: &PgPool, findings: &mut Findings) -> anyhow::Result<()> {
    let mut reported: BTreeMap<Uuid, Reported> = BTreeMap::new();
    let runs = client.list_workflows("", Default::default());
    let runs: Vec<_> = runs.try_collect().await.context("failed to list the runs")?;
    for run in runs {
        let execution = WorkflowExecutionInfo::builder()
            .namespace(client.namespace())
            .workflow_id(run.id())
            .run_id(run.run_id())
            .build();
        let history = execution.bind_untyped(client.clone()).fetch_history(Default::default());
        let events = history.into_events().await.context("failed to read a history")?;
        findings.looked(Invariant::RunsUndisturbed, 1);
        read(run.run_id(), &events, &mut reported, findings)?;
    }
    compare(database, &reported, findings).await
}

fn read(
    run: &str,
    events: &[HistoryEvent],
    reported: &mut BTreeMap<Uuid, Reported>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let mut requests = BTreeMap::new();
    for event in events {
        match &event.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                if let Ok(request) = scheduled.activity_id.parse::<Uuid>() {
                    requests.insert(event.event_id, request);
                }
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                let Some(request) = requests.get(&completed.scheduled_event_id) else { continue };
                let payload = completed.result.iter().flat_map(|result| &result.payloads).next();
                let payload = payload.context("a request ended without an outcome")?;
                let outcome = serde_json::from_slice(&payload.data).context("failed to read an outcome")?;
                let at = event.event_time.as_ref().map(|at| (at.seconds, at.nanos)).unwrap_or_default();
                let reported = reported.entry(*request).or_default();
                match outcome {
                    Outcome::Fulfilled { .. } => {
                        reported.fulfilled.insert(at);
                    }
                    other => reported.others.push(other),
                }
            }
            Some(Attributes::WorkflowTaskFailedEventAttributes(failed))
                if !HARMLESS.contains(&failed.cause()) =>
            {
                let what = format!("a workflow task of run {run} failed: {}", failed.cause().as_str_name());
                findings.broken(Invariant::RunsUndisturbed, what);
            }
            _ => {}
        }
    }
    Ok(())
}

async fn compare(
    database: &PgPool,
    reported: &BTreeMap<Uuid, Reported>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let rows: Vec<(Uuid, String, Option<String>, bool)> = sqlx::query_as(
        "select id, status, failure_reason,
                exists (select from public.data_export_events e where e.request_id = r.id and e.kind = 'ready')
         from public.data_export_requests r",
    )
    .fetch_all(database)
    .await
    .context("failed to read the requests")?;
    let rows: BTreeMap<_, _> =
        rows.into_iter().map(|(id, status, reason, ready)| (id, (status, reason, ready))).collect();
    findings.looked(Invariant::HistoriesTellTheTruth, reported.len());
    for (request, Reported { fulfilled, others }) in reported {
        let mut broken = |what: String| {
            findings.broken(Invariant::HistoriesTellTheTruth, format!("request {request} {what}"));
        };
        let Some((status, reason, was_ready)) = rows.get(request) else {
            broken("is in a history and has no row".to_owned());
            continue;
        };
        if fulfilled.len() > 1 {
            broken(format!("was fulfilled {} times", fulfilled.len()));
        }
        if !fulfilled.is_empty() && !was_ready {
            broken("was fulfilled, and its row was never ready".to_owned());
        }
        for outcome in others {
            let true_of_row = match outcome {
                Outcome::Failed { reason: reported } => reason.as_deref() == Some(reported.as_str()),
                Outcome::AlreadyDone => status != "pending",
                _ => true,
            };
            if !true_of_row {
                broken(format!("ended as {outcome}, and its row is `{status}`"));
            }
        }
    }
    Ok(())
}

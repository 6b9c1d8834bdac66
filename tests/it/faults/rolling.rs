//! A deploy replaces the workers one after the other while a night runs.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use export_stack::{
    instruments::faulty_store::Fault,
    supervisor::{Process, protocol::Signal},
    wait,
};
use uuid::Uuid;

use crate::support::night_of::{Nights, SOON, until_said};

const RESTARTS: usize = 20;
/// More than are served while the workers are replaced.
const REQUESTS: i32 = 240;
/// Longer than the grace, so that each restart finds uploads under way and interrupts them.
const UPLOAD: Duration = Duration::from_secs(5);
const SETTINGS: [(&str, &str); 2] = [("EXPORT_SHUTDOWN_GRACE", "250ms"), ("EXPORT_SLOTS", "3")];

/// How long after its interruption a request may wait for its next attempt, in seconds of an idle machine.
const REDONE_WITHIN: Duration = Duration::from_secs(60);

async fn serving(nights: &Nights) -> Process {
    let worker = nights.worker(&SETTINGS).await;
    until_said(&worker, "Polling task queue").await;
    worker
}

/// Returns when each request was released, according to a worker's log.
fn interruptions(log: &str) -> Vec<(Uuid, DateTime<Utc>)> {
    let told = log.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let message = line["message"].as_str()?.strip_prefix("Request ")?;
        let request = message.strip_suffix(" was released: the attempt was interrupted")?;
        Some((request.parse().unwrap(), line["timestamp"].as_str().unwrap().parse().unwrap()))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_replaced_in_turn_twenty_times_in_one_night_fail_and_count_nothing() {
    let nights = Nights::on_faulty_store().await;
    let mut workers = [serving(&nights).await, serving(&nights).await];
    nights.requests(REQUESTS).await;
    // Their archives alone: a worker that starts puts a separate object.
    let requests: Vec<Uuid> = sqlx::query_scalar("select id from public.data_export_requests")
        .fetch_all(&nights.owner)
        .await
        .unwrap();
    for request in requests {
        nights.faulty().fail_object("PutObject", &request.to_string(), Fault::Delay(UPLOAD));
    }
    nights.begin_night().await;
    let mut let_go: BTreeMap<Uuid, Vec<DateTime<Utc>>> = BTreeMap::new();
    let loads = wait::LoadRecord::start();
    for restart in 0..RESTARTS {
        nights.faulty().wait_in_flight("PutObject", 4).await.unwrap();
        let worker = &mut workers[restart % 2];
        worker.signal(Signal::Terminate).unwrap();
        let ending = worker.ended(SOON).await.unwrap();
        assert!(ending.is_success(), "{ending}: {}", worker.last_words());
        for (request, at) in interruptions(&worker.output()) {
            let_go.entry(request).or_default().push(at);
        }
        *worker = serving(&nights).await;
    }
    assert_eq!(nights.runs("nightly_batch").await[0].status, "RUNNING", "the control: all in one night");
    let interrupted: usize = let_go.values().map(Vec::len).sum();
    assert!(interrupted >= RESTARTS, "the control: {interrupted} attempts were interrupted");

    nights.faulty().heal();
    assert_eq!(nights.ended().await, "COMPLETED");
    let ready: Vec<(Uuid, DateTime<Utc>)> =
        sqlx::query_as("select request_id, at from public.data_export_events where kind = 'ready'")
            .fetch_all(&nights.owner)
            .await
            .unwrap();
    assert_eq!(ready.len(), REQUESTS as usize);
    assert_eq!(nights.blamed().await, (0, 0));
    for (request, at) in ready {
        // A second release means that the request was started again in between.
        let times: Vec<_> = let_go.remove(&request).into_iter().flatten().chain([at]).collect();
        for pair in times.windows(2) {
            let waited = loads.weighed(pair[0], pair[1]);
            assert!(waited < REDONE_WITHIN, "request {request} waited for {waited:?}: {times:?}");
        }
    }
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(REQUESTS as usize).await;
}

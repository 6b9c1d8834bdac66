//! However nights are started, and however many at once: every request is fulfilled exactly once, and no history grows
//! with the number of requests.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use export_stack::{servers::worker, wait};
use serde_json::{Value, json};

use crate::support::night_of::{Nights, SOON};

/// Waits until no run is left, and returns the report of each night.
async fn all_ended(nights: &Nights) -> Vec<Value> {
    nights
        .until("all nights to end", || async {
            let runs = nights.runs("nightly_batch").await;
            (!runs.is_empty() && runs.iter().all(|run| run.status != "RUNNING")).then_some(())
        })
        .await;
    let mut reports = Vec::new();
    for run in nights.runs("nightly_batch").await {
        if run.status != "CONTINUED_AS_NEW" {
            assert_eq!(run.status, "COMPLETED", "{}", run.id);
            let result = ["workflow", "result", "--workflow-id", &run.id, "--run-id", &run.run_id];
            reports.push(nights.temporal(&result).await["result"].clone());
        }
    }
    reports
}

fn sum(reports: &[Value], count: &str) -> u64 {
    reports.iter().map(|report| report[count].as_u64().unwrap()).sum()
}

/// Returns the size of the largest payload.
fn largest_payload(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| match field.as_str().map(|text| BASE64_STANDARD.decode(text)) {
                Some(Ok(bytes)) if name == "data" => bytes.len(),
                _ => largest_payload(field),
            })
            .max()
            .unwrap_or(0),
        Value::Array(items) => items.iter().map(largest_payload).max().unwrap_or(0),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_of_two_pages_with_others_beside_it_fulfils_each_once_in_bounded_histories() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[("EXPORT_LEASE", "15s")]).await;
    nights.requests(600).await;
    nights.begin_night().await;
    let first = nights.runs("nightly_batch").await;
    // A trigger in its midst names it and starts nothing; one by hand, under another id, does start.
    let trigger = ["night", "trigger", "--output", "json"];
    let named: Value =
        serde_json::from_str(&worker::command(&nights.environment, &trigger).await.unwrap()).unwrap();
    assert_eq!(named["started"], "was_running", "{named}");
    nights.start_night("by-hand", &json!(null)).await;

    let reports = all_ended(&nights).await;
    assert_eq!((first.len(), reports.len()), (1, 2), "{reports:?}");
    assert_eq!(sum(&reports, "fulfilled"), 600, "{reports:?}");
    assert_eq!(sum(&reports, "deferred"), 0, "{reports:?}");
    nights.assert_sound(600).await;

    let mut events = Vec::new();
    for run in nights.runs("nightly_batch").await {
        let ids = ["--workflow-id", &run.id, "--run-id", &run.run_id];
        let described = nights.temporal(&[["workflow", "describe"].as_slice(), &ids].concat()).await;
        let count = |name: &str| -> u64 {
            described["workflowExecutionInfo"][name].as_str().unwrap().parse().unwrap()
        };
        let history = nights.temporal(&[["workflow", "show"].as_slice(), &ids].concat()).await;
        let payload = largest_payload(&history);
        assert!(count("historyLength") < 4096 && count("historySizeBytes") < 4_000_000, "{described}");
        // A page of ids is the largest: 500 of 39 bytes each, however many there are.
        assert!(payload < 500 * 40, "{}: {payload} bytes", run.id);
        events.push(count("historyLength"));
    }
    // The control: the night has two rounds, the first of two pages, the other one at least two; and a page is large.
    assert!(events.len() >= 5 && events.iter().any(|events| *events > 1500), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_nights_of_a_backfill_at_once_fulfil_each_request_once() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[("EXPORT_LEASE", "15s")]).await;
    nights.requests(40).await;
    let backfill = [
        ["schedule", "backfill", "--schedule-id", "nightly_batch", "--overlap-policy", "AllowAll"].as_slice(),
        &["--start-time", "2026-03-01T00:00:00Z", "--end-time", "2026-03-10T12:00:00Z"],
    ];
    nights.try_temporal(&backfill.concat()).await.unwrap();
    wait::until("ten nights", SOON, || async {
        let mut ids: Vec<_> = nights.runs("nightly_batch").await.into_iter().map(|run| run.id).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok((ids.len() == 10).then_some(()))
    })
    .await
    .unwrap();
    let reports = all_ended(&nights).await;
    assert_eq!((reports.len(), sum(&reports, "fulfilled")), (10, 40), "{reports:?}");
    nights.assert_sound(40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_renewed_in_mid_night_loses_and_fails_nothing() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[("EXPORT_RECYCLE_AFTER", "100")]).await;
    nights.requests(250).await;
    let report = nights.night().await["result"].clone();
    assert_eq!(report["fulfilled"], 250, "{report}");
    let log = worker.output();
    let renewed = log.matches("Draining before the process restarts").count();
    assert!(renewed >= 2, "the control: it was renewed {renewed} times: {}", worker.last_words());
    assert!(log.matches("Polling task queue").count() >= 3, "{log}");
    worker.check_alive().unwrap();
    assert_eq!(
        log.matches("\"level\":\"WARN\"").count() + log.matches("\"level\":\"ERROR\"").count(),
        0,
        "{log}"
    );
    let disturbed: i64 = sqlx::query_scalar(
        "select count(*) from public.data_export_requests where claims <> 1 or lost <> 0 or attempts <> 0",
    )
    .fetch_one(&nights.owner)
    .await
    .unwrap();
    assert_eq!(disturbed, 0, "requests whose one attempt was disturbed by a drain");
    nights.assert_sound(250).await;
}

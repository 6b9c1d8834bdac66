//! What an operator can do to a night in its midst, with an upload under way: reset, terminate, pause, signal. Nothing
//! is lost, nothing is delivered twice, and what is no longer wanted stops soon.

use std::time::Duration;

use export_stack::{supervisor::Process, wait};
use uuid::Uuid;

use crate::support::night_of::{NIGHT as A_NIGHT, Nights, SOON};

const NIGHT: &str = "meddled";
/// How long an unwanted attempt may continue: a few heartbeats.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Waits until the attempt in flight has released its upload.
async fn until_stopped(nights: &Nights, worker: &Process) {
    let stopped = wait::until("the attempt to stop", STOPS_WITHIN, || async {
        Ok(worker.output().contains("was released: the attempt was interrupted").then_some(()))
    });
    stopped.await.unwrap_or_else(|error| panic!("{error}: {}", worker.last_words()));
    assert_eq!(nights.faulty().peak("PutObject"), 1, "two attempts uploaded at once");
}

async fn until_claimed_again(nights: &Nights, request: Uuid) {
    wait::until("another attempt", A_NIGHT, || async {
        Ok((nights.counted(request).await.0 == 2).then_some(()))
    })
    .await
    .unwrap();
    nights.faulty().wait_in_flight("PutObject", 1).await.unwrap();
}

/// The request is ready, by its second attempt; nobody is blamed, and nothing lies about.
async fn assert_delivered(nights: &Nights, request: Uuid) {
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    assert_eq!(nights.counted(request).await, (2, 0, 0), "two claims, none lost, none counted");
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempts_of_a_terminated_night_stop_and_the_next_one_delivers() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    nights
        .try_temporal(&["workflow", "terminate", "--workflow-id", NIGHT, "--reason", "test"])
        .await
        .unwrap();
    until_stopped(&nights, &worker).await;
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(0).await;

    nights.faulty().heal();
    nights.night().await;
    assert_delivered(&nights, request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempts_of_a_night_that_was_reset_stop_and_its_new_run_delivers() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    let reset =
        ["workflow", "reset", "--workflow-id", NIGHT, "--type", "FirstWorkflowTask", "--reason", "test"];
    nights.try_temporal(&reset).await.unwrap();
    until_stopped(&nights, &worker).await;
    until_claimed_again(&nights, request).await;
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_delivered(&nights, request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_that_was_paused_lets_its_request_go_until_it_is_unpaused() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    let id = request.to_string();
    let ids = ["--workflow-id", NIGHT, "--activity-id", &id];
    nights.try_temporal(&[["activity", "pause"].as_slice(), &ids].concat()).await.unwrap();
    until_stopped(&nights, &worker).await;
    wait::until("the activity to rest", SOON, || async {
        let run = nights.temporal(&["workflow", "describe", "--workflow-id", NIGHT]).await;
        Ok((run["pendingActivities"][0]["state"] == "PENDING_ACTIVITY_STATE_PAUSED").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(nights.counted(request).await, (1, 0, 0));
    nights.assert_sound(0).await;

    nights.try_temporal(&[["activity", "unpause"].as_slice(), &ids].concat()).await.unwrap();
    until_claimed_again(&nights, request).await;
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_delivered(&nights, request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_that_was_reset_is_tried_again() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    let id = request.to_string();
    nights.try_temporal(&["activity", "reset", "--workflow-id", NIGHT, "--activity-id", &id]).await.unwrap();
    until_stopped(&nights, &worker).await;
    until_claimed_again(&nights, request).await;
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert_delivered(&nights, request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_nobody_knows_changes_nothing() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    let signal = ["workflow", "signal", "--workflow-id", NIGHT, "--name", "stop", "--input", "{}"];
    nights.try_temporal(&signal).await.unwrap();
    nights.faulty().release();
    assert_eq!(nights.ended().await, "COMPLETED");
    assert!(!worker.output().contains("was released"), "the control: this attempt was not disturbed");
    assert_eq!(nights.counted(request).await, (1, 0, 0));
    let history = nights.temporal(&["workflow", "show", "--workflow-id", NIGHT]).await.to_string();
    assert!(!history.contains("WORKFLOW_TASK_FAILED"), "{history}");
    nights.assert_sound(1).await;
}

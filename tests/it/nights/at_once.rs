//! Requests that start at once: served by day in a few lanes, with one attempt; the night takes what is left.

use export_stack::{instruments::faulty_store::Fault, wait};
use export_workflows::contract::EXPORT_AT_ONCE;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON, until_said},
};

async fn policy(nights: &Nights, start: &'static str) {
    let sql = format!("update public.data_export_policy set start = '{start}'");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&nights.owner).await.unwrap();
}

/// Asks by the function, as the portal does.
async fn ask(nights: &Nights, user: Uuid, start: &str) -> Uuid {
    sqlx::query_scalar("select request_id from public.data_export_ask($1, p_start => $2)")
        .bind(user.to_string())
        .bind(start)
        .fetch_one(&nights.owner)
        .await
        .unwrap()
}

async fn until_ready(nights: &Nights, request: Uuid) {
    wait::until("a request to be ready", SOON, || async {
        Ok((nights.status(request).await.0 == "ready").then_some(()))
    })
    .await
    .unwrap();
}

async fn until_progress(nights: &Nights, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, SOON, || async {
        let progress = nights.progress(EXPORT_AT_ONCE).await;
        Ok(is(&progress).then_some(progress))
    })
    .await
    .unwrap()
}

async fn update(nights: &Nights, name: &str, input: Value) -> Value {
    let input = input.to_string();
    let order =
        ["workflow", "update", "execute", "--workflow-id", EXPORT_AT_ONCE, "--name", name, "--input", &input];
    nights.temporal(&order).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_ready_without_a_night_and_one_for_the_night_waits() {
    let nights = Nights::new().await;
    policy(&nights, "choose").await;
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    let later = ask(&nights, given::user(&nights.owner).await, "night").await;
    let now = ask(&nights, given::user_with_project(&nights.owner).await, "at_once").await;
    until_ready(&nights, now).await;
    // Also one that the platform inserted by itself.
    policy(&nights, "at_once").await;
    let inserted = nights.request(given::user(&nights.owner).await).await;
    until_ready(&nights, inserted).await;
    assert_eq!(nights.status(later).await.0, "pending");
    assert!(nights.runs("nightly_batch").await.is_empty());
    assert_eq!(nights.ended_of(EXPORT_AT_ONCE).await, "COMPLETED");
    nights.night().await;
    nights.assert_sound(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_policy_is_night_nothing_starts_by_day() {
    let nights = Nights::new().await;
    policy(&nights, "choose").await;
    let request = ask(&nights, given::user(&nights.owner).await, "at_once").await;
    policy(&nights, "night").await;
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    // A second request wakes the worker, and is left to the night as well.
    nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    assert_eq!(nights.status(request).await.0, "ready");
    assert!(nights.runs(EXPORT_AT_ONCE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_by_day_is_tried_once_and_belongs_to_the_night() {
    let nights = Nights::on_faulty_store().await;
    policy(&nights, "choose").await;
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    // One whose account does not exist, and one whose upload fails.
    let gone = ask(&nights, Uuid::new_v4(), "at_once").await;
    let ended = wait::until("the attempt", SOON, || async {
        let (claims, ..) = nights.counted(gone).await;
        let text: Option<String> =
            sqlx::query_scalar("select last_error from public.data_export_requests where id = $1")
                .bind(gone)
                .fetch_one(&nights.owner)
                .await?;
        Ok(text.filter(|_| claims == 1))
    });
    assert!(ended.await.unwrap().starts_with("permanent: account_deleted"));
    assert_eq!(nights.status(gone).await, ("pending".to_owned(), None), "a day fails no request");
    nights.faulty().fail("PutObject", 1, Fault::AccessDenied);
    let refused = ask(&nights, given::user(&nights.owner).await, "at_once").await;
    wait::until("the other attempt", SOON, || async {
        let error: Option<String> =
            sqlx::query_scalar("select last_error from public.data_export_requests where id = $1")
                .bind(refused)
                .fetch_one(&nights.owner)
                .await?;
        Ok(error)
    })
    .await
    .unwrap();
    assert_eq!(nights.ended_of(EXPORT_AT_ONCE).await, "COMPLETED");
    assert_eq!((nights.counted(gone).await.0, nights.counted(refused).await.0), (1, 1));
    let night = nights.night().await;
    assert_eq!(night["result"]["failed"], json!({"account_deleted": 1}), "{night}");
    assert_eq!(nights.status(refused).await.0, "ready");
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_one_holds_no_small_one_back() {
    let nights = Nights::on_faulty_store().await;
    policy(&nights, "at_once").await;
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    // One upload hangs, as that of a large account would take long.
    nights.faulty().fail("PutObject", 1, Fault::Hold);
    let large = nights.request(given::user(&nights.owner).await).await;
    nights.until_uploading().await;
    let small = nights.request(given::user(&nights.owner).await).await;
    until_ready(&nights, small).await;
    assert_eq!(nights.status(large).await.0, "pending");
    nights.faulty().release();
    until_ready(&nights, large).await;
    nights.assert_sound(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_window_run_together_and_none_while_it_is_paused() {
    let nights = Nights::on_faulty_store().await;
    policy(&nights, "at_once").await;
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    nights.faulty().fail_all("PutObject", Fault::Hold);
    nights.requests(12).await;
    nights.faulty().wait_in_flight("PutObject", 4).await.unwrap();
    let progress = until_progress(&nights, "the window", |progress| progress["waiting"] == 8).await;
    assert_eq!(
        (&progress["in_flight"], &progress["steering"]["window"]),
        (&json!(4), &json!(4)),
        "{progress}"
    );
    update(&nights, "set_window", json!({"lanes": 6})).await;
    nights.faulty().wait_in_flight("PutObject", 6).await.unwrap();
    let paused = update(&nights, "pause", json!({"by": "ada", "why": "the store moves"})).await;
    assert!(paused.to_string().contains("the store moves"), "{paused}");
    nights.faulty().release();
    let progress = until_progress(&nights, "the pause", |progress| progress["in_flight"] == 0).await;
    assert_eq!((&progress["waiting"], &progress["fulfilled"]), (&json!(6), &json!(6)), "{progress}");
    update(&nights, "resume", json!({"by": "ada"})).await;
    nights.until_ready(12).await;
    nights.assert_sound(12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn day_and_night_may_meet_on_one_request_and_fulfil_it_once() {
    let nights = Nights::on_faulty_store().await;
    policy(&nights, "at_once").await;
    let worker = nights.worker(&[("EXPORT_LEASE", "15s")]).await;
    until_said(&worker, "Polling task queue").await;
    nights.faulty().fail("PutObject", 1, Fault::Hold);
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.until_uploading().await;
    nights.begin_night().await;
    wait::until("the night to reach it", SOON, || async {
        let progress = nights.runs("nightly_batch").await;
        Ok(worker.output().contains("is claimed by another attempt").then_some(progress))
    })
    .await
    .unwrap();
    nights.faulty().release();
    until_ready(&nights, request).await;
    assert_eq!(nights.ended().await, "COMPLETED");
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_continues_as_new_and_is_served_whole() {
    let nights = Nights::new().await;
    policy(&nights, "at_once").await;
    nights.requests(503).await;
    let _worker = nights.worker(&[]).await;
    nights.until_ready(503).await;
    assert_eq!(nights.ended_of(EXPORT_AT_ONCE).await, "COMPLETED");
    let runs = nights.runs(EXPORT_AT_ONCE).await;
    assert!(runs.len() >= 2 && runs.iter().any(|run| run.status == "CONTINUED_AS_NEW"), "{}", runs.len());
    nights.assert_sound(503).await;
}

//! At its end, a night compares its counts with the rows, and reports a result that is none.

use export_stack::{instruments::checker::Invariant, wait};
use export_worker::temporal::night::{self, Ended};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    answers::troubles,
    installation_of as given,
    night_of::{NIGHT as A_NIGHT, Nights, until_said},
    watched::Watched,
};

const NIGHT: &str = "forged";
/// Log line of a worker for an abandoned attempt. Until then, the attempt may still deliver.
const LET_GO: &str = "was released: the attempt was interrupted";

/// Completes an activity that is under way, as a person or another program can.
async fn complete(nights: &Nights, activity: &str, result: &Value) {
    let result = result.to_string();
    let complete = ["activity", "complete", "--workflow-id", NIGHT, "--activity-id", activity];
    let complete = [complete.as_slice(), &["--result", &result]].concat();
    wait::until("an attempt that can be completed", A_NIGHT, || async {
        // Between two attempts nothing is under way.
        Ok(nights.try_temporal(&complete).await.is_ok().then_some(()))
    })
    .await
    .unwrap();
}

async fn ended(nights: &Nights) -> Ended {
    let client = nights.client().await;
    nights.while_it_moves("the night to end", night::wait(&client, NIGHT)).await.unwrap()
}

async fn counts(nights: &Nights) -> Value {
    match ended(nights).await {
        Ended::Completed(counts) => counts,
        Ended::NotCompleted(sentence, _) => panic!("{sentence}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_result_that_is_none_fails_the_night_as_what_it_is() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    nights.request(given::user(&nights.owner).await).await;
    for garbage in [json!("mk-garbage"), json!({}), json!({"requests": "none"})] {
        // The listing waits for this lock, so that there is an attempt to complete.
        let mut lock = nights.owner.begin().await.unwrap();
        sqlx::raw_sql("lock table public.data_export_requests in access exclusive mode")
            .execute(&mut *lock)
            .await
            .unwrap();
        nights.start_night(NIGHT, &json!({})).await;
        complete(&nights, "1", &garbage).await;
        lock.rollback().await.unwrap();
        let Ended::NotCompleted(sentence, _) = ended(&nights).await else { panic!("{garbage} was taken") };
        assert!(
            sentence.starts_with("it failed: unreadable_result: listing the pending requests"),
            "{sentence}"
        );
        assert!(!sentence.contains("mk-garbage"), "{sentence}");
    }
    // Nothing was taken for a served night.
    assert_eq!(nights.ready().await, 0);
    assert_eq!(nights.night().await["result"]["fulfilled"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_the_rows_do_not_confirm_is_logged_reported_and_a_line_of_the_status() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    let watched = Watched::of(&worker).await;
    watched.until_line("export_miscounts_total 0").await;
    complete(&nights, &request.to_string(), &json!({"outcome": "fulfilled", "archive_bytes": 1, "rows": 1}))
        .await;
    until_said(&worker, LET_GO).await;
    nights.faulty().release();
    let report = counts(&nights).await;
    assert_eq!(report["fulfilled"], 2, "{report}");
    assert_eq!(report["miscounted"], json!({"fulfilled": {"counted": 2, "found": 1}}), "{report}");
    until_said(&worker, "counted 2 requests as fulfilled, but the database has 1").await;
    watched.until_line("export_miscounts_total 1").await;
    let line = "counted what the database does not have: fulfilled 2, found 1";
    let of_night = |troubles: Vec<String>| troubles.iter().filter(|trouble| trouble.contains(line)).count();
    assert_eq!(of_night(troubles(&nights).await), 1);

    // The next night is the last one, and its counts are right.
    nights.request(Uuid::new_v4()).await;
    nights.night().await;
    assert_eq!(of_night(troubles(&nights).await), 0);
    watched.until_line("export_miscounts_total 1").await;
    // The checker finds the forgery in the history, and nothing else.
    nights.sweep_everything_unclaimed().await;
    let findings = nights.judge().await;
    assert!(findings.broke(&[Invariant::HistoriesTellTheTruth]), "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_said_to_have_ended_and_is_pending_is_noticed() {
    let (nights, _worker, request) = Nights::held(NIGHT).await;
    // In both rounds: the second one asks the rows, and would have served it.
    for _ in 0..2 {
        complete(&nights, &request.to_string(), &json!({"outcome": "already_done"})).await;
    }
    let report = counts(&nights).await;
    assert_eq!(report["already_done"], 2, "{report}");
    assert_eq!(report["miscounted"], json!({"left": {"counted": 0, "found": 1}}), "{report}");
    assert_eq!(nights.status(request).await.0, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_none_leaves_its_request_to_the_second_round() {
    let (nights, worker, request) = Nights::held(NIGHT).await;
    complete(&nights, &request.to_string(), &json!({"outcome": "lost"})).await;
    until_said(&worker, LET_GO).await;
    nights.faulty().release();
    let report = counts(&nights).await;
    assert_eq!((&report["fulfilled"], &report["deferred"]), (&json!(1), &json!(0)), "{report}");
    assert!(report["miscounted"].is_null(), "{report}");
    assert_eq!(nights.status(request).await.0, "ready");
}

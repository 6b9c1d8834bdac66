//! One mistake does not fail a queue: too many failures of one kind are held back until a person has looked.

use chrono::NaiveDate;
use export_activities::{
    fulfil::attempt::Attempt,
    requests::{
        claim::Count,
        state::{self, Brake, Failed, Failing, Trace},
    },
};
use export_stack::servers::worker;
use export_workflows::contract::{FailureReason, Outcome};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, attempt, serve},
    night_of::Nights,
};

const REASON: FailureReason = FailureReason::AccountDeleted;

fn night() -> NaiveDate {
    "2026-11-21".parse().unwrap()
}

fn tonight(request: Uuid) -> Attempt {
    let mut attempt = attempt(request, 1);
    attempt.input.night = Some(night());
    attempt
}

/// Makes requests of users that do not exist.
async fn requests_of_nobody(owner: &PgPool, count: i32) -> Vec<Uuid> {
    sqlx::query_scalar(
        "insert into public.data_export_requests (user_id) select gen_random_uuid() from generate_series(1, $1)
         returning id",
    )
    .bind(count)
    .fetch_all(owner)
    .await
    .unwrap()
}

async fn pending(owner: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from public.data_export_requests where status = 'pending'")
        .fetch_one(owner)
        .await
        .unwrap()
}

async fn failed(owner: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select count(*) from public.data_export_requests where failure_reason = 'account_deleted'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenth_of_ten_is_held_back_keeps_no_claim_and_fails_when_it_is_one_of_few() {
    let given = given::installation().await;
    let mut requests = requests_of_nobody(&given.owner, 10).await;
    let last = requests.pop().unwrap();
    for request in requests {
        let outcome = serve(&given.steps, &tonight(request)).await.unwrap();
        assert_eq!(outcome, Outcome::Failed { reason: REASON });
    }
    assert_eq!(serve(&given.steps, &tonight(last)).await.unwrap(), Outcome::HeldBack { reason: REASON });
    let row: (String, Option<Uuid>, Option<String>, String) = sqlx::query_as(
        "select status, claim_token, held_back, last_error from public.data_export_requests where id = $1",
    )
    .bind(last)
    .fetch_one(&given.owner)
    .await
    .unwrap();
    assert_eq!((row.0.as_str(), row.1, row.2.as_deref()), ("pending", None, Some("account_deleted")));
    assert!(row.3.starts_with("held back: permanent: account_deleted"), "{}", row.3);
    assert_eq!(given::events(&given.owner, last).await, ["requested"]);

    // Eleven others end well: ten of 21 are fewer than half.
    for _ in 0..11 {
        let request = given::request(&given.owner, given::user(&given.owner).await).await;
        serve(&given.steps, &tonight(request)).await.unwrap();
    }
    assert_eq!(serve(&given.steps, &tonight(last)).await.unwrap(), Outcome::Failed { reason: REASON });
    given.assert_sound(11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_accepts_fails_and_another_night_counts_for_itself() {
    let given = given::installation().await;
    let requests = requests_of_nobody(&given.owner, 12).await;
    for request in &requests[..9] {
        serve(&given.steps, &tonight(*request)).await.unwrap();
    }
    let mut of_another_night = tonight(requests[9]);
    of_another_night.input.night = night().succ_opt();
    assert_eq!(serve(&given.steps, &of_another_night).await.unwrap(), Outcome::Failed { reason: REASON });
    let mut accepted = tonight(requests[10]);
    assert_eq!(serve(&given.steps, &accepted).await.unwrap(), Outcome::HeldBack { reason: REASON });
    accepted.input.accept = vec![FailureReason::UnreadableValue];
    assert_eq!(serve(&given.steps, &accepted).await.unwrap(), Outcome::HeldBack { reason: REASON });
    accepted.input.accept = vec![REASON];
    assert_eq!(serve(&given.steps, &accepted).await.unwrap(), Outcome::Failed { reason: REASON });
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_at_once_do_not_slip_past_the_brake_together() {
    let given = given::installation().await;
    let requests = requests_of_nobody(&given.owner, 30).await;
    let served = requests.into_iter().map(|request| {
        let (steps, attempt) = (given.steps.clone(), tonight(request));
        tokio::spawn(async move { serve(&steps, &attempt).await.unwrap() })
    });
    let mut failed_now = 0;
    for served in served.collect::<Vec<_>>() {
        failed_now += i64::from(served.await.unwrap() == Outcome::Failed { reason: REASON });
    }
    assert_eq!((failed_now, failed(&given.owner).await, pending(&given.owner).await), (9, 9, 21));
}

/// Writes into the log that the given number of requests of the night ended.
async fn ended(owner: &PgPool, ready: i32, failed: i32) {
    sqlx::query(
        "with made as (
             insert into public.data_export_requests (user_id) select gen_random_uuid() from generate_series(1, $1)
             returning id)
         insert into public.data_export_events
             (request_id, kind, night, object_key, archive_bytes, archive_sha256, row_counts)
         select id, 'ready', $2, 'exports/' || id, 1, repeat('0', 64), '{}' from made",
    )
    .bind(ready)
    .bind(night())
    .execute(owner)
    .await
    .unwrap();
    sqlx::query(
        "with made as (
             insert into public.data_export_requests (user_id) select gen_random_uuid() from generate_series(1, $1)
             returning id)
         insert into public.data_export_events (request_id, kind, night, reason)
         select id, 'failed', $2, 'account_deleted' from made",
    )
    .bind(failed)
    .bind(night())
    .execute(owner)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_the_tenth_hold_among_a_thousand() {
    for (ready, failed_before, expected) in [
        (900, 99, Failed::Done),
        (899, 100, Failed::HeldBack),
        (900, 100, Failed::HeldBack),
        (10, 9, Failed::HeldBack),
        (11, 9, Failed::Done),
        (189, 20, Failed::Done),
        (188, 20, Failed::HeldBack),
    ] {
        let given = given::installation().await;
        ended(&given.owner, ready, failed_before).await;
        let (request, token) = (requests_of_nobody(&given.owner, 1).await[0], Uuid::new_v4());
        sqlx::query(
            "update public.data_export_requests set claim_token = $2, claim_owner = 'x', claim_try = 1,
             lease_until = now() + interval '1 h' where id = $1",
        )
        .bind(request)
        .bind(token)
        .execute(&given.owner)
        .await
        .unwrap();
        let trace = Trace { night: Some(night()), run_id: None };
        let (state, text) = (&given.steps.state, "permanent: account_deleted");
        let failing = Failing { reason: REASON, last_error: text, count: Count::Nothing, brake: Brake::On };
        let done = state::mark_failed(state, request, token, &failing, &trace);
        assert_eq!(done.await.unwrap(), expected, "{failed_before} + 1 failed beside {ready}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_three_deleted_accounts_need_no_person() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    requests_of_nobody(&nights.owner, 3).await;
    let night = nights.night().await;
    assert_eq!(night["result"]["failed"]["account_deleted"], 3, "{night:#}");
    assert!(night["result"].get("held_back").is_none(), "{night:#}");
    assert_eq!(pending(&nights.owner).await, 0);
    nights.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_of_twelve_fail_nine_hold_three_and_go_on_when_a_person_has_looked() {
    let nights = Nights::new().await;
    let worker = nights.worker(&[]).await;
    requests_of_nobody(&nights.owner, 12).await;
    let error = format!("{:#}", nights.try_night().await.unwrap_err());
    assert!(error.contains("account_deleted: 3 requests are held back and stay pending"), "{error}");
    assert!(error.contains("\"account_deleted\": 3"), "{error}");
    assert_eq!((failed(&nights.owner).await, pending(&nights.owner).await), (9, 3));
    let said = "3 requests wait for a person, because so many of the night would fail as `account_deleted`";
    assert!(worker.output().contains(said), "{}", worker.output());
    let status = worker::output(&nights.environment, &["status"]).await.unwrap();
    let status = (status.status.code(), String::from_utf8(status.stdout).unwrap());
    assert!(status.0 == Some(1) && status.1.contains("night trigger --accept account_deleted"), "{status:?}");

    // Another reason is not this one, and the same night without a word holds them again.
    let arguments = ["night", "trigger", "--wait", "--accept", "unreadable_value"];
    worker::command(&nights.environment, &arguments).await.unwrap_err();
    assert_eq!(pending(&nights.owner).await, 3);
    let arguments = ["night", "trigger", "--wait", "--accept", "account_deleted"];
    worker::command(&nights.environment, &arguments).await.unwrap();
    assert_eq!((failed(&nights.owner).await, pending(&nights.owner).await), (12, 0));
    nights.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn among_thirty_fourteen_fail_and_of_fifteen_the_last_waits() {
    for (deleted, held) in [(14, 0), (15, 1)] {
        let nights = Nights::new().await;
        let _worker = nights.worker(&[]).await;
        // The deleted ones come first, so that the first round takes them for a mistake.
        requests_of_nobody(&nights.owner, deleted).await;
        nights.requests(30 - deleted).await;
        let night = nights.try_night().await;
        assert_eq!(night.is_ok(), held == 0, "{night:?}");
        assert_eq!((nights.ready().await, pending(&nights.owner).await), (i64::from(30 - deleted), held));
        nights.assert_sound(usize::try_from(30 - deleted).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_source_leaves_almost_everything_pending() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    nights.requests(30).await;
    sqlx::raw_sql(
        "alter table public.users rename to people; create table public.users (like public.people)",
    )
    .execute(&nights.owner)
    .await
    .unwrap();
    // The same grants as on the table before it.
    let sql = export_stack::shared::grants().unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&nights.owner).await.unwrap();
    nights.try_night().await.unwrap_err();
    assert_eq!((failed(&nights.owner).await, pending(&nights.owner).await), (9, 21));
}

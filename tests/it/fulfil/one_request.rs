//! One request from `pending` to `ready` on real servers, and its outcome if a step fails.

use std::time::Duration;

use export_activities::{
    fulfil::{attempt::Unfinished, fulfil, lease::Heartbeat},
    pulse::Pulse,
    store::object_key::ObjectKey,
};
use export_workflows::contract::{FailureReason, Outcome};
use futures::FutureExt as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::installation_of::{self as given, Given, attempt, serve};

async fn key_of(owner: &PgPool, request: Uuid) -> Option<String> {
    sqlx::query_scalar("select object_key from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(owner)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_request_becomes_ready_with_exactly_one_object() {
    let Given { steps, owner, spool: _spool, .. } = given::installation().await;
    let user = given::user(&owner).await;
    let request = given::request(&owner, user).await;

    let outcome = serve(&steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { rows: 1, .. }), "{outcome:?}");
    let key = ObjectKey::parse(&key_of(&owner, request).await.unwrap()).unwrap();
    assert!(steps.store.head(&key).await.unwrap().is_some());
    assert_eq!(given::events(&owner, request).await, ["requested", "ready"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_served_twice_is_already_done_the_second_time_and_keeps_its_object() {
    let Given { steps, owner, spool: _spool, .. } = given::installation().await;
    let request = given::request(&owner, given::user(&owner).await).await;
    serve(&steps, &attempt(request, 1)).await.unwrap();
    let key = key_of(&owner, request).await;

    assert_eq!(serve(&steps, &attempt(request, 2)).await.unwrap(), Outcome::AlreadyDone);
    assert_eq!(key_of(&owner, request).await, key);
    assert_eq!(given::events(&owner, request).await, ["requested", "ready"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_an_unknown_user_fails_as_account_deleted_and_leaves_no_object() {
    let Given { steps, owner, store, spool: _spool, .. } = given::installation().await;
    let request = given::request(&owner, Uuid::new_v4()).await;

    let outcome = serve(&steps, &attempt(request, 1)).await.unwrap();
    assert_eq!(outcome, Outcome::Failed { reason: FailureReason::AccountDeleted });
    assert_eq!(given::objects(&store).await, Vec::<String>::new());
    assert_eq!(given::events(&owner, request).await, ["requested", "failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_found_inside_an_export_is_the_systems_fault_and_is_named_on_the_row() {
    let Given { steps, owner, spool: _spool, .. } = given::installation().await;
    let user = given::user(&owner).await;
    sqlx::raw_sql("alter table public.users drop column bio").execute(&owner).await.unwrap();
    let request = given::request(&owner, user).await;
    let unfinished = serve(&steps, &attempt(request, 1)).await.unwrap_err();
    let Unfinished::Retry(verdict) = unfinished else { panic!("{unfinished:?}") };
    assert_eq!(verdict.code, "catalogue_drift");
    assert!(verdict.detail.contains("`public.users.bio`"), "{verdict}");
    let (status, attempts, last_error): (String, i32, String) =
        sqlx::query_as("select status, attempts, last_error from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&owner)
            .await
            .unwrap();
    assert_eq!((status.as_str(), attempts), ("pending", 0));
    assert!(last_error.starts_with("system: catalogue_drift"), "{last_error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_held_by_another_activity_is_asked_for_again_when_its_lease_ends() {
    let Given { steps, owner, spool: _spool, .. } = given::installation().await;
    let request = given::request(&owner, given::user(&owner).await).await;
    sqlx::query(
        "update public.data_export_requests set claim_token = gen_random_uuid(), claim_owner = 'somebody else',
         claim_try = 1, lease_until = now() + interval '40 s' where id = $1",
    )
    .bind(request)
    .execute(&owner)
    .await
    .unwrap();
    match serve(&steps, &attempt(request, 1)).await.unwrap_err() {
        Unfinished::Held(rest) => assert!(rest > Duration::from_secs(20) && rest <= Duration::from_secs(40)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_twentieth_worker_was_lost_is_given_up_for_good() {
    let Given { steps, owner, spool: _spool, .. } = given::installation().await;
    let request = given::request(&owner, given::user(&owner).await).await;
    sqlx::query(
        "update public.data_export_requests set lost = 19, claim_token = gen_random_uuid(), claim_owner = 'the dead',
         claim_try = 1, lease_until = now() - interval '1 s' where id = $1",
    )
    .bind(request)
    .execute(&owner)
    .await
    .unwrap();
    let outcome = serve(&steps, &attempt(request, 1)).await.unwrap();
    assert_eq!(outcome, Outcome::Failed { reason: FailureReason::AttemptsExhausted });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_attempt_gives_its_request_back_and_leaves_nothing() {
    let Given { steps, owner, store, spool: _spool, .. } = given::installation().await;
    let request = given::request(&owner, given::user(&owner).await).await;
    let pulse = Pulse::default();
    pulse.cancel();
    let silent: Heartbeat<'_> = &|_| async {}.boxed();
    let unfinished = fulfil(&steps, &attempt(request, 1), &pulse, silent).await.unwrap_err();
    assert!(matches!(unfinished, Unfinished::Interrupted), "{unfinished:?}");
    let (status, token): (String, Option<Uuid>) =
        sqlx::query_as("select status, claim_token from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&owner)
            .await
            .unwrap();
    assert_eq!((status.as_str(), token), ("pending", None));
    assert_eq!(given::objects(&store).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_of_our_own_is_counted_rests_after_five_and_ends_the_request_after_fifteen() {
    let mut given = given::installation().await;
    given.steps.spool = export_activities::spool::Spool::new(&given.spool.path().join("tiny"), 100).unwrap();
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    for number in 1..=15 {
        let ended = serve(&given.steps, &attempt(request, number)).await;
        match (number, ended) {
            (15, Ok(Outcome::Failed { reason: FailureReason::AttemptsExhausted })) => {}
            (5 | 10, Ok(Outcome::GivenUpTonight)) => {}
            (_, Err(Unfinished::Retry(verdict))) => {
                assert!(number % 5 != 0 && verdict.code == "spool_quota_exceeded", "{number}: {verdict}");
            }
            (_, ended) => panic!("attempt {number} ended as {ended:?}"),
        }
        let attempts: i32 =
            sqlx::query_scalar("select attempts from public.data_export_requests where id = $1")
                .bind(request)
                .fetch_one(&given.owner)
                .await
                .unwrap();
        assert_eq!(attempts, number);
    }
    given.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_the_systems_fault_and_names_its_relation() {
    let given = given::installation().await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let columns = [("full_name", "`public.users`"), ("id", "the keys of the account")];
    for (number, (column, named)) in (1..).zip(columns) {
        let sql = format!("revoke select ({column}) on public.users from export_read");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&given.owner).await.unwrap();
        let unfinished = serve(&given.steps, &attempt(request, number)).await.unwrap_err();
        let Unfinished::Retry(verdict) = unfinished else { panic!("{unfinished:?}") };
        assert_eq!(verdict.to_string(), format!("system: database/42501 (reading {named})"));
    }
}

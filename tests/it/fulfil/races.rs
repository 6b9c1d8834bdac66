//! Two attempts at one request: the one that lost the claim, at any step, never touches the winner's row and object.

use std::time::Duration;

use export_activities::fulfil::attempt::Unfinished;
use export_stack::{instruments::faulty_store::Fault, servers::postgres::Role, wait};
use export_workflows::contract::Outcome;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::installation_of::{self as given, Given, attempt, serve};

const SOON: Duration = Duration::from_secs(30);

async fn until_claimed(owner: &PgPool, request: Uuid, claims: i32) {
    wait::until("the claim", SOON, || async {
        let now: i32 = sqlx::query_scalar("select claims from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(owner)
            .await?;
        Ok((now >= claims).then_some(()))
    })
    .await
    .unwrap();
}

/// Waits until the given number of backends of the database wait for a lock.
async fn until_waiting(given: &Given, backends: i64) {
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    wait::until("the wait for a lock", SOON, || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&superuser)
        .await?;
        Ok((waiting >= backends).then_some(()))
    })
    .await
    .unwrap();
}

fn assert_won(outcome: &Result<Outcome, Unfinished>) {
    assert!(matches!(outcome, Ok(Outcome::Fulfilled { .. })), "{outcome:?}");
}

fn assert_superseded(outcome: &Result<Outcome, Unfinished>) {
    assert!(matches!(outcome, Ok(Outcome::Superseded)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_lost_before_the_read_leaves_the_winner_untouched() {
    let given = given::installation().await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let mut slow = given.steps.clone();
    slow.source = given::source(&given.database.url(Role::Read).await.unwrap(), 1);
    let gate = slow.source.acquire().await.unwrap();
    let loser = tokio::spawn(async move { serve(&slow, &attempt(request, 1)).await });
    until_claimed(&given.owner, request, 1).await;

    assert_won(&serve(&given.steps, &attempt(request, 2)).await);
    drop(gate);
    assert_superseded(&loser.await.unwrap());
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_lost_during_the_read_leaves_the_winner_untouched() {
    let given = given::installation().await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let mut gate = given.owner.begin().await.unwrap();
    sqlx::query("lock table public.users in access exclusive mode").execute(&mut *gate).await.unwrap();
    let spawn = |number| {
        let steps = given.steps.clone();
        tokio::spawn(async move { serve(&steps, &attempt(request, number)).await })
    };
    let loser = spawn(1);
    until_waiting(&given, 1).await;
    let winner = spawn(2);
    until_waiting(&given, 2).await;
    gate.commit().await.unwrap();
    assert_won(&winner.await.unwrap());
    assert_superseded(&loser.await.unwrap());
    given.assert_sound(1).await;
}

/// Holds the first attempt at one call of the store until the second one has won.
async fn lose_the_claim_during(operation: &'static str, put_limit: u64) {
    let (mut given, faulty, _folder) = given::installation_on_faulty_store().await;
    given.store.put_limit = put_limit;
    (given.store.attempt_timeout, given.store.operation_timeout) = (SOON, SOON);
    given.steps.store = crate::support::servers::connect(&given.store).await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    faulty.fail(operation, 1, Fault::Hold);
    let steps = given.steps.clone();
    let loser = tokio::spawn(async move { serve(&steps, &attempt(request, 1)).await });
    faulty.wait_in_flight(operation, 1).await.unwrap();

    assert_won(&serve(&given.steps, &attempt(request, 2)).await);
    faulty.release();
    assert_superseded(&loser.await.unwrap());
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_lost_during_the_upload_leaves_the_winner_untouched() {
    lose_the_claim_during("PutObject", u64::MAX).await;
    lose_the_claim_during("CreateMultipartUpload", 0).await;
    lose_the_claim_during("UploadPart", 0).await;
    lose_the_claim_during("CompleteMultipartUpload", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_lost_during_the_look_at_the_object_leaves_the_winner_untouched() {
    lose_the_claim_during("HeadObject", u64::MAX).await;
    lose_the_claim_during("HeadObject", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_lost_at_the_very_commit_takes_back_only_the_own_object() {
    let (mut given, faulty, _folder) = given::installation_on_faulty_store().await;
    (given.store.attempt_timeout, given.store.operation_timeout) = (SOON, SOON);
    given.steps.store = crate::support::servers::connect(&given.store).await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    faulty.fail("HeadObject", 1, Fault::Hold);
    let steps = given.steps.clone();
    let loser = tokio::spawn(async move { serve(&steps, &attempt(request, 1)).await });
    faulty.wait_in_flight("HeadObject", 1).await.unwrap();
    // The row is taken over in the very moment in which the loser asks for it.
    let mut gate = given.owner.begin().await.unwrap();
    sqlx::query(
        "update public.data_export_requests
         set claims = claims + 1, lost = lost + 1, claim_token = gen_random_uuid(), claim_try = 2 where id = $1",
    )
    .bind(request)
    .execute(&mut *gate)
    .await
    .unwrap();
    faulty.release();
    until_waiting(&given, 1).await;
    gate.commit().await.unwrap();
    assert_superseded(&loser.await.unwrap());
    assert_eq!(given::objects(&given.store).await, Vec::<String>::new());

    assert_won(&serve(&given.steps, &attempt(request, 3)).await);
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loser_that_fails_as_well_releases_and_deletes_nothing_of_the_winners() {
    let (mut given, faulty, _folder) = given::installation_on_faulty_store().await;
    // The upload fails before the attempt reports progress, which would find that the claim is lost.
    given.store.attempt_timeout = Duration::from_secs(3);
    given.store.operation_timeout = Duration::from_secs(3);
    given.steps.store = crate::support::servers::connect(&given.store).await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    faulty.fail("PutObject", 1, Fault::Hang);
    let steps = given.steps.clone();
    let loser = tokio::spawn(async move { serve(&steps, &attempt(request, 1)).await });
    faulty.wait_in_flight("PutObject", 1).await.unwrap();
    assert_won(&serve(&given.steps, &attempt(request, 2)).await);
    let ended = loser.await.unwrap();
    assert!(matches!(&ended, Err(Unfinished::Retry(_))), "{ended:?}");
    assert!(matches!(serve(&given.steps, &attempt(request, 3)).await, Ok(Outcome::AlreadyDone)));
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_attempts_at_once_fulfil_a_request_once() {
    let given = given::installation().await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let attempts = (1..=8).map(|number| {
        let (steps, attempt) = (given.steps.clone(), attempt(request, number));
        async move { serve(&steps, &attempt).await }
    });
    let ended = futures::future::join_all(attempts).await;
    let won = ended.iter().filter(|ended| matches!(ended, Ok(Outcome::Fulfilled { .. }))).count();
    assert_eq!(won, 1, "{ended:?}");
    given.assert_sound(1).await;
}

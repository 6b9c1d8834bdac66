//! The checker of the invariants is red for each way in which one can be broken.

use export_tests::{
    checker::{self, Findings, Invariant},
    postgres::Role,
};
use uuid::Uuid;

use crate::{
    installation_of::{self as given, Given, attempt, serve},
    servers::sdk_client,
};

async fn delivered() -> (Given, Uuid, String) {
    let given = given::installation().await;
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    serve(&given.steps, &attempt(request, 1)).await.unwrap();
    given.assert_sound(1).await;
    let key = given::objects(&given.store).await.remove(0);
    (given, request, key)
}

async fn judge(given: &Given) -> Findings {
    checker::check(&given.subject().await).await.unwrap()
}

async fn assert_red(given: &Given, broken: &[Invariant]) {
    let findings = judge(given).await;
    assert!(findings.broke(broken), "{findings}");
}

/// Runs SQL as nobody can in production: with all triggers off.
async fn force(given: &Given, sql: &str) {
    let superuser = given.database.pool(Role::Superuser).await.unwrap();
    let sql = format!("set session_replication_role = replica; {sql}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&superuser).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_lead_to_the_state_is_red() {
    let (given, ..) = delivered().await;
    force(&given, "delete from public.data_export_events where kind = 'ready'").await;
    assert_red(&given, &[Invariant::LegalPath]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_gone_or_another_is_red() {
    let (given, _, key) = delivered().await;
    let client = sdk_client(&given.store);
    let other = vec![7; 10].into();
    client.put_object().bucket(&given.store.bucket).key(&key).body(other).send().await.unwrap();
    assert_red(&given, &[Invariant::ReadyIsDelivered]).await;
    client.delete_object().bucket(&given.store.bucket).key(&key).send().await.unwrap();
    assert_red(&given, &[Invariant::ReadyIsDelivered]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_tells_of_another_archive_is_red() {
    let (given, ..) = delivered().await;
    force(&given, "update public.data_export_requests set row_counts = '{\"users\": 2}'").await;
    assert_red(&given, &[Invariant::ReadyIsDelivered]).await;
    force(&given, "update public.data_export_requests set user_id = gen_random_uuid()").await;
    assert_red(&given, &[Invariant::ReadyIsDelivered]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_does_not_work_is_red() {
    let (given, ..) = delivered().await;
    force(&given, "update public.data_export_requests set download_url = download_url || '0'").await;
    assert_red(&given, &[Invariant::LinkWorks]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_or_an_upload_that_no_row_names_is_red() {
    let (given, ..) = delivered().await;
    let client = sdk_client(&given.store);
    let stray = crate::servers::new_key();
    let put = client.put_object().bucket(&given.store.bucket).key(stray.as_str());
    put.body(vec![7].into()).send().await.unwrap();
    assert_red(&given, &[Invariant::NothingOrphaned]).await;
    client.delete_object().bucket(&given.store.bucket).key(stray.as_str()).send().await.unwrap();
    given.assert_sound(1).await;
    client.create_multipart_upload().bucket(&given.store.bucket).key(stray.as_str()).send().await.unwrap();
    assert_red(&given, &[Invariant::NothingOrphaned]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_or_a_transaction_that_stays_is_red() {
    let (given, ..) = delivered().await;
    let transaction = given.steps.state.begin().await.unwrap();
    assert_red(&given, &[Invariant::NothingHeld]).await;
    transaction.rollback().await.unwrap();
    given.assert_sound(1).await;
    let request = given::request(&given.owner, Uuid::new_v4()).await;
    sqlx::query(
        "update public.data_export_requests set claim_token = gen_random_uuid(), claim_owner = 'x', claim_try = 1,
         lease_until = now() where id = $1",
    )
    .bind(request)
    .execute(&given.owner)
    .await
    .unwrap();
    assert_red(&given, &[Invariant::NothingHeld]).await;
}

//! The checker of the invariants fails for each way in which an invariant can be broken.

use std::path::Path;

use export_activities::pulse::Pulse;
use export_stack::{
    instruments::checker::{self, Findings, Invariant, Resting},
    servers::postgres::Role,
};
use serde_json::json;
use sqlx::Connection as _;
use temporalio_client::{NamespacedClient as _, grpc::WorkflowService as _, tonic::IntoRequest as _};
use temporalio_common::protos::temporal::api::{
    enums::v1::WorkflowTaskFailedCause,
    taskqueue::v1::TaskQueue,
    workflowservice::v1::{PollWorkflowTaskQueueRequest, RespondWorkflowTaskFailedRequest},
};
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given, attempt, serve},
    night_of::Nights,
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

/// Runs SQL with all triggers off, which is impossible in production.
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
    let stray = crate::support::servers::new_key();
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
    let mut session = given.steps.state.acquire().await.unwrap();
    let transaction = session.begin().await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_what_the_histories_tell_or_is_fulfilled_twice_is_red() {
    let nights = Nights::new().await;
    let _worker = nights.worker(&[]).await;
    nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    nights.assert_sound(1).await;
    let findings = nights.judge().await;
    assert_eq!(findings.checked[&Invariant::HistoriesTellTheTruth], 1, "{findings}");

    // As if the night had never been, but for its history and its object.
    let forget = "set session_replication_role = replica;
        delete from public.data_export_events where kind = 'ready';
        update public.data_export_requests set status = 'pending', download_url = null, expires_at = null,
            object_key = null, archive_bytes = null, archive_sha256 = null, row_counts = null, snapshot_at = null,
            fulfilled_at = null, pseudonym_salt = decode(repeat('00', 32), 'hex');";
    sqlx::raw_sql(forget).execute(&nights.subject.database).await.unwrap();
    let findings = nights.judge().await;
    assert!(
        findings.broke(&[Invariant::NothingOrphaned, Invariant::HistoriesTellTheTruth])
            && findings.to_string().contains("was never ready"),
        "{findings}"
    );
    nights.night().await;
    nights.sweep_everything_unclaimed().await;
    let findings = nights.judge().await;
    assert!(
        findings.broke(&[Invariant::HistoriesTellTheTruth])
            && findings.to_string().contains("was fulfilled 2 times"),
        "{findings}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_task_that_failed_by_its_own_fault_is_red() {
    let nights = Nights::new().await;
    nights.start_night("faulty", &json!(null)).await;
    let mut client = nights.client().await;
    let (namespace, queue) = (client.namespace(), nights.environment["EXPORT_TASK_QUEUE"].clone());
    let poll = PollWorkflowTaskQueueRequest {
        namespace: namespace.clone(),
        task_queue: Some(TaskQueue { name: queue, ..Default::default() }),
        ..Default::default()
    };
    let task = client.poll_workflow_task_queue(poll.into_request()).await.unwrap().into_inner();
    let failed = RespondWorkflowTaskFailedRequest {
        namespace,
        task_token: task.task_token,
        cause: WorkflowTaskFailedCause::NonDeterministicError.into(),
        ..Default::default()
    };
    client.respond_workflow_task_failed(failed.into_request()).await.unwrap();
    let _worker = nights.worker(&[]).await;
    assert_eq!(nights.ended_of("faulty").await, "COMPLETED");
    let findings = nights.judge().await;
    assert!(findings.broke(&[Invariant::RunsUndisturbed]), "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resting_worker_holds_or_an_ended_one_leaves_is_red() {
    let (given, ..) = delivered().await;
    let (subject, spool) = (given.subject().await, given.spool.path().join("spool"));
    let resting = async |connections: i64| {
        let pids = [std::process::id()];
        let workers = Resting { pids: &pids, spool: &spool, connections };
        checker::check_resting(&subject, &workers).await.unwrap()
    };
    let ended = async |folder: &Path| checker::check_ended(&subject, &[folder]).await.unwrap();
    let left = [Invariant::NothingLeft];

    assert!(resting(16).await.broke(&[]));
    let file = given.steps.spool.share(&Pulse::default()).file().unwrap();
    assert!(resting(16).await.broke(&left), "a file of the spool is held");
    assert!(ended(&spool).await.broke(&left), "the pools are open");
    drop(file);
    assert!(resting(16).await.broke(&[]));
    assert!(resting(0).await.broke(&left), "there are more connections than there should be");

    drop(given.steps);
    export_stack::wait::until("the connections to go", crate::support::night_of::SOON, || async {
        Ok(ended(&spool).await.broke(&[]).then_some(()))
    })
    .await
    .unwrap();
    std::fs::write(spool.join("left"), "x").unwrap();
    assert!(ended(&spool).await.broke(&left), "a file is left");
}

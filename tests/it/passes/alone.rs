//! The expiry pass waits neither behind exports, however long they take, nor for a silent server.

use std::{collections::BTreeMap, time::Duration};

use export_stack::{
    instruments::{faulty_store::Fault, proxy::Mode},
    servers::worker,
    shared::{TestInstallation, stack},
    tools, wait,
};
use export_workflows::contract::EXPORT_EXPIRY;
use sqlx::PgPool;
use tokio::process::Command;
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON, until_said},
    servers::proxied,
};

/// Longer than the least `EXPORT_STALL_TIMEOUT`.
const STALLED: Duration = Duration::from_secs(120);

async fn start_expiry(environment: &BTreeMap<String, String>) {
    let mut command = Command::new(tools::server("temporal").unwrap());
    command.args(["workflow", "start", "--type", EXPORT_EXPIRY, "--workflow-id", EXPORT_EXPIRY]);
    command.args(["--task-queue", &environment["EXPORT_TASK_QUEUE"]]);
    command.args(["--address", &environment["TEMPORAL_ADDRESS"]]);
    command.args(["--namespace", &environment["TEMPORAL_NAMESPACE"]]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a request whose link has died.
async fn overdue(owner: &PgPool, user: Uuid) -> Uuid {
    let id = Uuid::new_v4();
    sqlx::query(
        "insert into public.data_export_requests (id, user_id, status, download_url, expires_at, object_key,
             archive_bytes, archive_sha256, row_counts, snapshot_at, fulfilled_at, pseudonym_salt)
         values ($1, $2, 'ready', 'https://x', now() - interval '1 s', $3, 1, repeat('a', 64), '{}', now(), now(), null)",
    )
    .bind(id)
    .bind(user)
    .bind(format!("exports/{id}/{}.zip", Uuid::new_v4()))
    .execute(owner)
    .await
    .unwrap();
    id
}

async fn claimed(owner: &PgPool) -> i64 {
    let sql = "select count(*) from public.data_export_requests where claim_token is not null";
    sqlx::query_scalar(sql).fetch_one(owner).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_expires_while_every_slot_is_taken_by_an_export_that_does_not_end() {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    environment.insert("EXPORT_SLOTS".to_owned(), "1".to_owned());
    let owner = installation.database.owner().await.unwrap();
    let name = format!("worker-{}", installation.names.bucket);
    let worker = stack().await.unwrap().start_worker(&name, &["run"], environment.clone()).unwrap();
    let _worker = worker.kill_on_drop();

    // An archive that is recorded before its bucket is marked would keep the worker from starting.
    wait::until("a marked bucket", SOON, || async {
        let sql = "select location from public.data_export_installation";
        Ok(sqlx::query_scalar::<_, Option<String>>(sql).fetch_one(&owner).await?)
    })
    .await
    .unwrap();
    let user = given::user(&owner).await;
    for _ in 0..2 {
        given::request(&owner, given::user(&owner).await).await;
    }
    let overdue = overdue(&owner, user).await;
    // No export can read its account for as long as this transaction is open.
    let mut lock = owner.begin().await.unwrap();
    sqlx::raw_sql("lock table public.users in access exclusive mode").execute(&mut *lock).await.unwrap();
    worker::command(&environment, &["night", "trigger"]).await.unwrap();
    let taken = || async { Ok((claimed(&owner).await == 1).then_some(())) };
    wait::until("an export has taken the slot", SOON, taken).await.unwrap();

    start_expiry(&environment).await;
    let expired = || async {
        let sql = "select failure_reason from public.data_export_requests where id = $1";
        let reason: Option<String> = sqlx::query_scalar(sql).bind(overdue).fetch_one(&owner).await?;
        Ok(reason)
    };
    assert_eq!(wait::until("the link has expired", SOON, expired).await.unwrap(), "expired");
    // The slot was full all the while: the other request is still waiting for it.
    assert_eq!(claimed(&owner).await, 1);
    lock.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_whose_database_is_silent_stalls_and_the_next_attempt_ends_it() {
    let mut nights = Nights::new().await;
    let (proxy, url) = proxied(&nights.environment["EXPORT_DATABASE_URL"]).await;
    nights.environment.insert("EXPORT_DATABASE_URL".to_owned(), url);
    let settings = [
        ("EXPORT_STALL_TIMEOUT", "60s"),
        ("EXPORT_STORE_ATTEMPT_TIMEOUT", "10s"),
        ("EXPORT_STORE_OPERATION_TIMEOUT", "20s"),
    ];
    let worker = nights.worker(&settings).await;
    // The first pass leaves a connection in the pool, on which the second one waits for an answer.
    start_expiry(&nights.environment).await;
    assert_eq!(nights.ended_of(EXPORT_EXPIRY).await, "COMPLETED");
    let overdue = overdue(&nights.owner, given::user(&nights.owner).await).await;
    proxy.set(Mode::BlackHole);
    start_expiry(&nights.environment).await;
    wait::until("the pass to stall", STALLED, || async {
        Ok(worker.output().contains("nothing moved for 60 s").then_some(()))
    })
    .await
    .unwrap();
    proxy.set(Mode::Pass);
    wait::until("the link has expired", SOON, || async {
        let sql = "select failure_reason from public.data_export_requests where id = $1";
        Ok(sqlx::query_scalar::<_, Option<String>>(sql).bind(overdue).fetch_one(&nights.owner).await?)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_before_a_store_that_hangs_flips_and_completes_before_it_stalls() {
    let nights = Nights::on_faulty_store().await;
    // One call may last longer than the pass may stand still.
    let worker = nights.worker(&[("EXPORT_STALL_TIMEOUT", "60s")]).await;
    until_said(&worker, "Polling task queue").await;
    let overdue = overdue(&nights.owner, given::user(&nights.owner).await).await;
    nights.faulty().fail_all("DeleteObject", Fault::Hang);
    start_expiry(&nights.environment).await;
    assert_eq!(nights.ended_of(EXPORT_EXPIRY).await, "COMPLETED");
    let said = worker.output();
    assert!(said.contains("Deleting archives took longer than 30 s"), "{said}");
    assert!(!said.contains("The expiry pass failed"), "{said}");
    assert_eq!(nights.status(overdue).await, ("failed".to_owned(), Some("expired".to_owned())));
}

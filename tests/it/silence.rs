//! A server that accepts and says nothing, and a table that somebody has locked, end each command with a sentence in time.

use std::{collections::BTreeMap, time::Duration};

use export_tests::{
    proxy::{Mode, Proxy},
    shared::TestInstallation,
    wait, worker,
};
use uuid::Uuid;

use crate::servers::proxied;

type Environment = BTreeMap<String, String>;

/// What a command may take that only asks, and what the doctor may take, which asks everybody.
const COMMAND: Duration = Duration::from_secs(35);
const DOCTOR: Duration = Duration::from_secs(75);

/// Puts a silent proxy before the server of a variable.
async fn silence(environment: &mut Environment, variable: &str, scheme: &str) -> Proxy {
    let (proxy, url) = proxied(&format!("{scheme}{}", environment[variable])).await;
    let url = url.trim_start_matches(scheme).trim_end_matches('/').to_owned();
    environment.insert(variable.to_owned(), url);
    proxy.set(Mode::BlackHole);
    proxy
}

/// Runs a command to its end, which must be a bad one with a sentence.
async fn refused(environment: &Environment, line: &str, within: Duration) -> String {
    let arguments: Vec<_> = line.split(' ').collect();
    let output = wait::within(line, within, worker::output(environment, &arguments)).await.unwrap().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{line}: {said}");
    assert!(!said.trim().is_empty(), "{line} ended without a word");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_in_time_before_a_silent_database() {
    let mut environment = TestInstallation::new().await.unwrap().environment().await.unwrap();
    let _proxy = silence(&mut environment, "EXPORT_DATABASE_URL", "").await;
    let id = Uuid::new_v4();
    let create = format!("request create --user {id}");
    let revoke = format!("request revoke {id} --reason mistake");
    let (status, list, create, revoke, doctor) = tokio::join!(
        refused(&environment, "status", COMMAND),
        refused(&environment, "request list", COMMAND),
        refused(&environment, &create, COMMAND),
        refused(&environment, &revoke, COMMAND),
        refused(&environment, "doctor", DOCTOR),
    );
    assert!(status.contains("EXPORT_DATABASE_URL") && status.contains("nobody polls"), "{status}");
    for said in [list, create, revoke] {
        assert!(said.contains("EXPORT_ACQUIRE_TIMEOUT") || said.contains("no answer within"), "{said}");
    }
    assert!(doctor.contains("FAIL database") && doctor.contains("ok   Temporal"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_in_time_before_a_silent_store() {
    let mut environment = TestInstallation::new().await.unwrap().environment().await.unwrap();
    let _proxy = silence(&mut environment, "EXPORT_S3_ENDPOINT", "").await;
    let (doctor, sweep) = tokio::join!(
        refused(&environment, "doctor", DOCTOR),
        refused(&environment, "sweep --dry-run", COMMAND),
    );
    assert!(doctor.contains("EXPORT_S3_ENDPOINT") && doctor.contains("ok   Temporal"), "{doctor}");
    assert!(sweep.contains("nothing answers there"), "{sweep}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_in_time_before_a_silent_temporal() {
    let mut environment = TestInstallation::new().await.unwrap().environment().await.unwrap();
    let _proxy = silence(&mut environment, "TEMPORAL_ADDRESS", "http://").await;
    let (doctor, status, trigger, show) = tokio::join!(
        refused(&environment, "doctor", DOCTOR),
        refused(&environment, "status", COMMAND),
        refused(&environment, "night trigger", COMMAND),
        refused(&environment, "schedule show", COMMAND),
    );
    assert!(doctor.contains("FAIL Temporal") && doctor.contains("ok   database"), "{doctor}");
    assert!(status.contains("requests"), "{status}");
    for said in [trigger, show] {
        assert!(said.contains("Temporal") || said.contains("no answer within"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_in_time_while_somebody_holds_the_queue() {
    let installation = TestInstallation::new().await.unwrap();
    let environment = installation.environment().await.unwrap();
    let owner = installation.database.owner().await.unwrap();
    let mut lock = owner.begin().await.unwrap();
    sqlx::query("lock table public.data_export_requests in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let create = format!("request create --user {}", Uuid::new_v4());
    let ended = tokio::join!(
        refused(&environment, "status", COMMAND),
        refused(&environment, "request list", COMMAND),
        refused(&environment, &create, COMMAND),
        refused(&environment, "doctor", DOCTOR),
    );
    assert!(ended.3.contains("EXPORT_DATABASE_URL"), "{}", ended.3);
    lock.rollback().await.unwrap();
    // The control: the same commands answer once the lock is gone.
    worker::command(&environment, &["request", "list"]).await.unwrap();
}

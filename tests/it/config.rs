//! The production binary as an operator meets it: exit codes, sentences, and a doctor that names cause and remedy.

use std::{collections::BTreeMap, time::Duration};

use export_activities::operate;
use export_tests::{
    postgres::Role,
    shared::{TestInstallation, stack},
    supervisor::{Process, protocol::Signal},
    wait, worker,
};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

/// Long enough for a machine that is busy with other tests.
const BOUND: Duration = Duration::from_secs(90);

type Environment = BTreeMap<String, String>;

async fn installation() -> (TestInstallation, Environment) {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    let spool = stack().await.unwrap().folder().join("spool").join(&installation.names.bucket);
    environment.insert("EXPORT_SPOOL_DIR".to_owned(), spool.display().to_string());
    (installation, environment)
}

fn with(environment: &Environment, pairs: &[(&str, &str)]) -> Environment {
    let mut environment = environment.clone();
    environment.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    environment
}

async fn refused(environment: &Environment, arguments: &[&str]) -> String {
    let run = wait::within("a command", BOUND, worker::command(environment, arguments)).await;
    run.expect("it refuses instead of waiting").unwrap_err().to_string()
}

/// The lines of the doctor, whether it is content or not.
async fn doctor(environment: &Environment, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<_> = ["--output", "json", "doctor"].iter().chain(arguments).copied().collect();
    let output = worker::output(environment, &arguments).await.unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("the doctor printed no JSON ({error}): {}", String::from_utf8_lossy(&output.stderr))
    })
}

fn state<'a>(lines: &'a [Value], check: &str) -> (&'a str, &'a str, &'a str) {
    let line = lines
        .iter()
        .find(|line| line["check"] == check)
        .unwrap_or_else(|| panic!("no `{check}`: {lines:#?}"));
    (
        line["state"].as_str().unwrap(),
        line["found"].as_str().unwrap(),
        line["remedy"].as_str().unwrap_or_default(),
    )
}

async fn says(process: &Process, sentence: &str) {
    let said = wait::until(sentence, BOUND, || async {
        process.check_alive()?;
        Ok(process.output().contains(sentence).then_some(()))
    });
    if let Err(error) = said.await {
        panic!("{error:#}; {}", process.last_words());
    }
}

async fn state_pool(installation: &TestInstallation) -> PgPool {
    installation.database.state().await.unwrap()
}

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_names_every_mistake() {
    let (_installation, environment) = installation().await;
    let wrong =
        with(&environment, &[("EXPORT_SLOTS", "many"), ("EXPORT_LEASE", "60"), ("EXPORT_BUCKET", "s3://x")]);
    let error = refused(&wrong, &["run"]).await;
    for part in
        ["exit status: 2", "EXPORT_SLOTS is `many`", "EXPORT_LEASE is `60`", "EXPORT_BUCKET is `s3://x`"]
    {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    let error = refused(&Environment::new(), &["request", "list"]).await;
    assert!(error.contains("exit status: 2") && error.contains("EXPORT_DATABASE_URL is not set"), "{error}");
    let missing =
        with(&environment, &[("EXPORT_SOURCE_URL", ""), ("EXPORT_NOTICE_FILE", "/nowhere/notice.txt")]);
    let error = refused(&missing, &["run"]).await;
    assert!(error.contains("EXPORT_SOURCE_URL") && error.contains("EXPORT_NOTICE_FILE"), "{error}");
}

#[tokio::test]
async fn temporary_signing_credentials_refuse_to_start_and_say_how_to_mend_it() {
    let (_installation, environment) = installation().await;
    let temporary = with(&environment, &[("AWS_SESSION_TOKEN", "a-token-that-ends")]);
    let error = refused(&temporary, &["run"]).await;
    assert!(error.contains("temporary") && error.contains("EXPORT_SIGNING_ACCESS_KEY_ID"), "{error}");
    assert!(!error.contains("a-token-that-ends"), "{error}");
    let lines = doctor(&temporary, &[]).await;
    let (state, _, remedy) = state(&lines, "signing credentials");
    assert!(state == "failed" && remedy.contains("EXPORT_SIGNING_SECRET_ACCESS_KEY"), "{state}: {remedy}");
}

#[tokio::test]
async fn the_worker_waits_before_a_bucket_of_another_installation_until_it_is_adopted() {
    let (installation, environment) = installation().await;
    let store = &stack().await.unwrap().servers().store;
    let mark = Uuid::new_v4().to_string().into_bytes();
    let put = store.client().put_object().bucket(&installation.names.bucket).key("exports/.installation");
    put.body(mark.into()).send().await.unwrap();

    let name = format!("run-{}", installation.names.bucket);
    let process =
        stack().await.unwrap().start_worker(&name, &["run"], environment.clone()).unwrap().kill_on_drop();
    says(&process, "belongs to installation").await;
    assert!(!process.output().contains("Serves task queue"));

    let lines = doctor(&environment, &["--adopt-bucket"]).await;
    assert_eq!(state(&lines, "installation").0, "ok", "{lines:#?}");
    says(&process, "The store is back").await;
    says(&process, "Serves task queue").await;
    assert_eq!(process.output().matches("belongs to installation").count(), 2, "once, in sentence and field");
    let ending = process.stop(Signal::Terminate).await.unwrap();
    assert!(ending.is_success(), "{ending}; {}", process.last_words());
}

#[tokio::test]
async fn the_doctor_finds_a_fresh_installation_in_order_but_for_worker_and_schedules() {
    let (_installation, environment) = installation().await;
    let lines = doctor(&environment, &[]).await;
    for check in [
        "database",
        "migrations",
        "rights of export_state",
        "source database",
        "rights of export_read",
        "catalogue",
        "signing credentials",
        "installation",
        "store",
        "clocks",
        "Temporal",
        "spool",
    ] {
        assert_eq!(state(&lines, check).0, "ok", "{check}: {lines:#?}");
    }
    assert_eq!(state(&lines, "worker").0, "warning");
    assert_eq!(state(&lines, "schedules").0, "failed");
    let (found, cause, _) = state(&lines, "search attributes");
    assert_eq!((found, cause), ("warning", "the server does not know ExportNight and ExportFailed"));
    worker::command(&environment, &["schedule", "apply"]).await.unwrap();
    let lines = doctor(&environment, &[]).await;
    for check in ["schedules", "search attributes"] {
        assert_eq!(state(&lines, check).0, "ok", "{lines:#?}");
    }
}

#[tokio::test]
async fn the_doctor_is_red_where_a_role_has_more_or_less_than_its_rights() {
    let (installation, environment) = installation().await;
    let owner = installation.database.owner().await.unwrap();
    let (read, state_role) = ("rights of export_read", "rights of export_state");
    for (change, undo, check, part) in [
        (
            "grant select (password_hash) on public.users to export_read",
            "revoke select (password_hash) on public.users from export_read",
            read,
            "password_hash",
        ),
        (
            "grant select (download_url) on public.data_export_requests to export_read",
            "revoke select (download_url) on public.data_export_requests from export_read",
            read,
            "download_url",
        ),
        (
            "grant update on public.projects to export_read",
            "revoke update on public.projects from export_read",
            read,
            "it may write public.projects",
        ),
        (
            "revoke select on public.releases from export_read",
            "grant select on public.releases to export_read",
            read,
            "it may not read public.releases.",
        ),
        (
            "revoke update on public.data_export_requests from export_state",
            "grant update on public.data_export_requests to export_state",
            state_role,
            "UPDATE on public.data_export_requests",
        ),
        (
            "grant select on public.users to export_state",
            "revoke select on public.users from export_state",
            state_role,
            "public.users",
        ),
    ] {
        sqlx::query(change).execute(&owner).await.unwrap();
        let lines = doctor(&environment, &[]).await;
        let (is, found, remedy) = state(&lines, check);
        assert!(is == "failed" && found.contains(part) && !remedy.is_empty(), "{change}: {is} {found}");
        sqlx::query(undo).execute(&owner).await.unwrap();
    }
}

#[tokio::test]
async fn the_doctor_names_cause_and_remedy_of_what_does_not_answer() {
    let (_installation, environment) = installation().await;
    let nowhere = with(
        &environment,
        &[
            ("EXPORT_DATABASE_URL", "postgres://export_state:wrong@127.0.0.1:1/none"),
            ("EXPORT_ACQUIRE_TIMEOUT", "1s"),
            ("EXPORT_S3_ENDPOINT", "http://127.0.0.1:1"),
            ("EXPORT_STORE_OPERATION_TIMEOUT", "2s"),
            ("TEMPORAL_ADDRESS", "127.0.0.1:1"),
        ],
    );
    let lines = doctor(&nowhere, &[]).await;
    for (check, variable) in [("database", "EXPORT_DATABASE_URL"), ("Temporal", "TEMPORAL_ADDRESS")] {
        let (state, _, remedy) = state(&lines, check);
        assert!(state == "failed" && remedy.contains(variable), "{check}: {lines:#?}");
    }
    for check in ["migrations", "rights of export_state", "installation", "store", "clocks", "worker"] {
        assert_eq!(state(&lines, check).0, "skipped", "{check}: {lines:#?}");
    }
    let lines = doctor(&with(&environment, &[("EXPORT_BUCKET", "there-is-none")]), &[]).await;
    let (state, found, remedy) = state(&lines, "installation");
    assert!(
        state == "failed" && found.contains("no such bucket") && remedy.contains("EXPORT_BUCKET"),
        "{lines:#?}"
    );
    assert!(!format!("{lines:?}").contains("wrong"), "a password was shown");
}

#[tokio::test]
async fn a_request_is_made_listed_shown_and_revoked_from_the_command_line() {
    let (installation, environment) = installation().await;
    let user = Uuid::new_v4().to_string();
    let id = worker::command(&environment, &["request", "create", "--user", &user]).await.unwrap();
    let id = id.trim();
    let listed =
        worker::command(&environment, &["request", "list", "--status", "pending", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(&listed.unwrap()).unwrap();
    assert_eq!((listed[0]["id"].as_str(), listed[0]["user_id"].as_str()), (Some(id), Some(user.as_str())));
    worker::command(&environment, &["request", "revoke", id, "--reason", "legal"]).await.unwrap();
    let error = refused(&environment, &["request", "revoke", id, "--reason", "legal"]).await;
    assert!(error.contains("exit status: 1"), "{error}");
    let repeated = worker::command(&environment, &["request", "retry", id]).await.unwrap();
    let pending = operate::list(&state_pool(&installation).await, Some("pending"), 10).await.unwrap();
    assert_eq!(pending[0].id.to_string(), repeated.trim());
    let unknown = refused(&environment, &["request", "show", &Uuid::new_v4().to_string()]).await;
    assert!(unknown.contains("exit status: 1"), "{unknown}");
}

#[tokio::test]
async fn a_replica_is_examined_and_one_of_another_database_is_refused() {
    let (_installation, environment) = installation().await;
    assert!(doctor(&environment, &[]).await.iter().all(|line| line["check"] != "replica"));

    let (other, _) = installation().await;
    let url = other.database.url(Role::Read).await.unwrap();
    let wrong = with(&environment, &[("EXPORT_REPLICA_URL", url.expose_secret())]);
    let lines = doctor(&wrong, &[]).await;
    let (verdict, found, remedy) = state(&lines, "replica");
    assert!(verdict == "failed" && found.contains("is no replica of EXPORT_SOURCE_URL"), "{found}: {remedy}");
    let error = refused(&wrong, &["run"]).await;
    assert!(error.contains("is no replica of EXPORT_SOURCE_URL"), "{error}");

    // Away it may come back, and meanwhile the source is read.
    let away = with(&environment, &[("EXPORT_REPLICA_URL", "postgres://export_read:x@127.0.0.1:1/none")]);
    let lines = doctor(&away, &[]).await;
    let (verdict, _, remedy) = state(&lines, "replica");
    assert!(verdict == "warning" && remedy.contains("EXPORT_REPLICA_URL"), "{verdict}: {remedy}");
}

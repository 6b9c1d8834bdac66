//! Whole nights: the production binary on a queue of its own, from pending rows to archives that verify.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use export_tests::{
    platform::{self, SeedOptions},
    shared::{TestInstallation, stack},
    supervisor::Process,
    tools, wait, worker,
};
use sqlx::PgPool;
use uuid::Uuid;

/// How long a night of a few requests may take on a busy machine.
const NIGHT: Duration = Duration::from_secs(120);

struct Running {
    environment: BTreeMap<String, String>,
    owner: PgPool,
    worker: Process,
}

/// Makes an installation with a namespace of its own and a worker that serves it.
async fn running() -> Running {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let environment = installation.environment().await.unwrap();
    let owner = installation.database.owner().await.unwrap();
    let name = format!("worker-{}", installation.names.bucket);
    let worker = stack().await.unwrap().start_worker(&name, &["run"], environment.clone()).unwrap();
    worker::command(&environment, &["schedule", "apply"]).await.unwrap();
    Running { environment, owner, worker: worker.kill_on_drop() }
}

impl Running {
    async fn request(&self, user: Uuid) -> Uuid {
        sqlx::query_scalar("insert into public.data_export_requests (user_id) values ($1) returning id")
            .bind(user)
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    async fn night(&self) -> serde_json::Value {
        let arguments = ["--output", "json", "night", "trigger", "--wait"];
        let answer = tokio::time::timeout(NIGHT, worker::command(&self.environment, &arguments)).await;
        serde_json::from_str(&answer.expect("the night did not end").unwrap()).unwrap()
    }

    /// Gives the histories of all runs as JSON, with every payload decoded.
    async fn histories(&self) -> String {
        let list = self.temporal(&["workflow", "list"]).await;
        let mut all = String::new();
        for run in list.as_array().unwrap() {
            let execution = &run["execution"];
            let (id, run) = (execution["workflowId"].as_str().unwrap(), execution["runId"].as_str().unwrap());
            let mut history =
                self.temporal(&["workflow", "show", "--workflow-id", id, "--run-id", run]).await;
            decode_payloads(&mut history);
            all += &history.to_string();
        }
        all
    }

    async fn temporal(&self, arguments: &[&str]) -> serde_json::Value {
        let mut command = tokio::process::Command::new(tools::server("temporal").unwrap());
        command.args(arguments).args(["--output", "json"]);
        command.args(["--address", &self.environment["TEMPORAL_ADDRESS"]]);
        command.args(["--namespace", &self.environment["TEMPORAL_NAMESPACE"]]);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn status(&self, request: Uuid) -> (String, Option<String>) {
        sqlx::query_as("select status, failure_reason from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }
}

/// Payloads stand as base64 in a history; what they hold is what an operator sees.
fn decode_payloads(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().map(|text| BASE64_STANDARD.decode(text)) {
                    Some(Ok(bytes)) if name == "data" => {
                        *field = String::from_utf8_lossy(&bytes).into_owned().into();
                    }
                    _ => decode_payloads(field),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(decode_payloads),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_fulfils_every_request_fails_the_unknown_user_and_its_archives_verify() {
    let running = running().await;
    let seeded = platform::seed(&running.owner, &SeedOptions::default()).await.unwrap();
    let mut requests = Vec::new();
    for user in &seeded.users {
        requests.push(running.request(*user).await);
    }
    let unknown = running.request(Uuid::new_v4()).await;

    let night = running.night().await;

    for request in &requests {
        assert_eq!(running.status(*request).await, ("ready".to_owned(), None));
    }
    assert_eq!(running.status(unknown).await, ("failed".to_owned(), Some("account_deleted".to_owned())));
    let text = night.to_string();
    assert!(text.contains(&format!("\"fulfilled\":{}", requests.len())), "{text}");
    assert!(text.contains("\"account_deleted\":1"), "{text}");

    let url: String =
        sqlx::query_scalar("select download_url from public.data_export_requests where id = $1")
            .bind(requests[0])
            .fetch_one(&running.owner)
            .await
            .unwrap();
    let client = export_tests::versitygw::http().unwrap();
    let archive = client.get(&url).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    std::fs::write(&path, &archive).unwrap();
    let sha256: String =
        sqlx::query_scalar("select archive_sha256 from public.data_export_requests where id = $1")
            .bind(requests[0])
            .fetch_one(&running.owner)
            .await
            .unwrap();
    export_worker::verify::verify(&path, Some(&sha256)).unwrap();
    // The negative control: the archive of another request is not the one that was delivered.
    assert!(export_worker::verify::verify(&path, Some(&sha256.chars().rev().collect::<String>())).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_over_a_catalogue_that_no_longer_fits_fails_before_the_first_request_and_touches_no_row() {
    let running = running().await;
    let request = running.request(Uuid::new_v4()).await;
    sqlx::raw_sql("alter table public.releases drop column notes").execute(&running.owner).await.unwrap();

    let arguments = ["night", "trigger", "--wait"];
    let answer = tokio::time::timeout(NIGHT, worker::command(&running.environment, &arguments)).await;
    let error = format!("{:#}", answer.expect("the night did not end").unwrap_err());
    assert!(error.contains("notes"), "{error}");
    assert_eq!(running.status(request).await, ("pending".to_owned(), None));
    let claims: i32 = sqlx::query_scalar("select claims from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(&running.owner)
        .await
        .unwrap();
    assert_eq!(claims, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_request_fails_in_the_night_and_its_archive_goes() {
    let running = running().await;
    let seeded = platform::seed(&running.owner, &SeedOptions::default()).await.unwrap();
    let request = running.request(seeded.lonely).await;
    running.night().await;
    sqlx::query("update public.data_export_requests set expires_at = now() - interval '1 s' where id = $1")
        .bind(request)
        .execute(&running.owner)
        .await
        .unwrap();
    let shown: (String, Option<String>) = sqlx::query_as(
        "select status, download_url from public.data_export_requests_effective where id = $1",
    )
    .bind(request)
    .fetch_one(&running.owner)
    .await
    .unwrap();
    assert_eq!(shown, ("failed".to_owned(), None), "the view is exact to the second");

    running.night().await;
    assert_eq!(running.status(request).await, ("failed".to_owned(), Some("expired".to_owned())));
    wait::until("the archive to be deleted", Duration::from_secs(30), || async {
        let deleted: bool = sqlx::query_scalar(
            "select object_deleted_at is not null from public.data_export_requests where id = $1",
        )
        .bind(request)
        .fetch_one(&running.owner)
        .await?;
        Ok(deleted.then_some(()))
    })
    .await
    .unwrap();
    let events: Vec<String> =
        sqlx::query_scalar("select kind from public.data_export_events where request_id = $1 order by id")
            .bind(request)
            .fetch_all(&running.owner)
            .await
            .unwrap();
    assert_eq!(events, ["requested", "ready", "failed", "object_deleted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_credential_or_row_value_of_a_night_with_failures_is_in_histories_logs_or_rows() {
    let running = running().await;
    let seeded = platform::seed(&running.owner, &SeedOptions::default()).await.unwrap();
    for user in seeded.users.iter().copied().chain([Uuid::new_v4()]) {
        running.request(user).await;
    }
    running.night().await;

    let histories = running.histories().await;
    assert!(
        histories.contains("fulfil_export_request") && histories.contains("account_deleted"),
        "{histories}"
    );
    let log = running.worker.output();
    assert!(log.contains("Serves task queue"), "the worker logged nothing: {log}");
    let errors: Vec<String> = sqlx::query_scalar(
        "select last_error from public.data_export_requests where last_error is not null
         union all select e::text from public.data_export_events e",
    )
    .fetch_all(&running.owner)
    .await
    .unwrap();
    // Every text cell of the seed holds a marker; every link holds its signature.
    let secret = running.environment["AWS_SECRET_ACCESS_KEY"].as_str();
    let password = running.environment["EXPORT_SOURCE_URL"].split(['@', ':']).nth(2).unwrap();
    for (place, text) in [("histories", &histories), ("log", &log), ("rows", &errors.join("\n"))] {
        for word in ["mk-", "X-Amz-", secret, password] {
            assert!(!text.contains(word), "`{word}` is in the {place}");
        }
    }
    // The negative control: what is searched for does exist where it belongs.
    let urls: Vec<String> = sqlx::query_scalar(
        "select download_url from public.data_export_requests where download_url is not null",
    )
    .fetch_all(&running.owner)
    .await
    .unwrap();
    assert!(urls.len() == seeded.users.len() && urls.iter().all(|url| url.contains("X-Amz-")));
    let names: String = sqlx::query_scalar("select string_agg(full_name, ' ') from public.users")
        .fetch_one(&running.owner)
        .await
        .unwrap();
    assert!(names.contains("mk-"), "{names}");
}

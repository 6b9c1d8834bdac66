//! An installation whose nights a test runs: the production binary on a separate queue and namespace.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use export_stack::{
    instruments::{
        checker::{self, Findings, Subject},
        faulty_store::{self, Fault, FaultyStore},
    },
    servers::{postgres::Role, worker},
    shared::{TestInstallation, stack},
    supervisor::{Process, protocol::Signal},
    tools, wait,
};
use sqlx::PgPool;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use uuid::Uuid;

use crate::support::{servers, watched::ANYWHERE};

/// How long nothing may move in a night: longer than the 30 s after which a killed worker is noticed and the pause before
/// an early retry.
pub(crate) const NIGHT: Duration = Duration::from_secs(180);
/// The same for a request with many attempts, before whose retry Temporal pauses for up to 5 minutes.
pub(crate) const MANY_ATTEMPTS: Duration = Duration::from_secs(400);
/// How long a state may take to come that does not wait for a timeout of Temporal.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Which put of a bucket's first worker is that of an archive: one has marked the bucket, one has tried the store.
pub(crate) const FIRST_ARCHIVE: usize = 3;

/// An installation with its schedules applied; workers are started by the test.
pub(crate) struct Nights {
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) owner: PgPool,
    pub(crate) subject: Subject,
    /// How long nothing may move while a test waits for the night.
    pub(crate) quiet: Duration,
    /// Goes with the test, and with it the objects.
    faulty: Option<(FaultyStore, tempfile::TempDir)>,
}

impl Nights {
    /// Makes an installation on the real store.
    pub(crate) async fn new() -> Self {
        let installation = TestInstallation::with_namespace().await.unwrap();
        Self::of(&installation, BTreeMap::new()).await
    }

    /// Makes an installation whose environment differs in these variables.
    pub(crate) async fn with(settings: BTreeMap<String, String>) -> Self {
        let installation = TestInstallation::with_namespace().await.unwrap();
        Self::of(&installation, settings).await
    }

    /// Takes an installation whose environment differs in these variables.
    pub(crate) async fn of(installation: &TestInstallation, settings: BTreeMap<String, String>) -> Self {
        let mut environment = installation.environment().await.unwrap();
        environment.extend(settings);
        worker::command(&environment, &["schedule", "apply"]).await.unwrap();
        // A night at one o'clock, or a pass at a multiple of five minutes, would come into a test's way.
        let keep_out = ["schedule", "pause", "--all", "--why", "a test starts its nights itself"];
        worker::command(&environment, &keep_out).await.unwrap();
        let database = installation.database.pool(Role::Superuser).await.unwrap();
        let s3 = stack().await.unwrap().servers().store.client();
        let histories = Some(client(&environment).await);
        let subject = Subject { database, s3, bucket: installation.names.bucket.clone(), histories };
        let owner = installation.database.owner().await.unwrap();
        Self { environment, owner, subject, quiet: NIGHT, faulty: None }
    }

    /// Makes an installation on a store that fails when it is told to.
    pub(crate) async fn on_faulty_store() -> Self {
        let installation = TestInstallation::with_namespace().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let faulty = FaultyStore::start(folder.path(), &installation.names.bucket).await.unwrap();
        let mut config = export_activities::store::StoreConfig::new("");
        config.endpoint = Some(faulty.endpoint().to_owned());
        let secret = faulty_store::SECRET_ACCESS_KEY.to_owned().into();
        config.access = Some(export_activities::store::KeyPair::new(faulty_store::ACCESS_KEY_ID, secret));
        let pairs = [
            ("EXPORT_S3_ENDPOINT", faulty.endpoint()),
            ("EXPORT_PUBLIC_ENDPOINT", faulty.endpoint()),
            ("AWS_ACCESS_KEY_ID", faulty_store::ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", faulty_store::SECRET_ACCESS_KEY),
        ];
        let settings = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut nights = Self::of(&installation, settings.collect()).await;
        nights.subject.s3 = servers::sdk_client(&config);
        nights.faulty = Some((faulty, folder));
        nights
    }

    pub(crate) fn faulty(&self) -> &FaultyStore {
        &self.faulty.as_ref().expect("this installation is on the real store").0
    }

    /// Waits until an archive is on its way to the faulty store.
    pub(crate) async fn until_uploading(&self) {
        wait::until("an upload", SOON, || async {
            Ok((self.faulty().calls("PutObject") >= FIRST_ARCHIVE).then_some(()))
        })
        .await
        .unwrap();
        self.faulty().wait_in_flight("PutObject", 1).await.unwrap();
    }

    /// Makes an installation whose worker holds the upload of its only request, in the night with this id.
    pub(crate) async fn held(workflow_id: &str) -> (Self, Process, Uuid) {
        let nights = Self::on_faulty_store().await;
        let worker = nights.worker(&[("EXPORT_LEASE", "15s"), ANYWHERE]).await;
        // Before that it stores the mark and objects to try the store.
        until_said(&worker, "Polling task queue").await;
        nights.faulty().fail_all("PutObject", Fault::Hold);
        let request = nights.request(crate::support::installation_of::user(&nights.owner).await).await;
        nights.start_night(workflow_id, &serde_json::json!({})).await;
        nights.until_uploading().await;
        (nights, worker, request)
    }

    /// Returns the exit code of the doctor, and its line of a check.
    pub(crate) async fn doctor(&self, check: &str) -> (Option<i32>, serde_json::Value) {
        let arguments = ["--output", "json", "doctor"];
        let output = wait::within("the doctor", SOON, worker::output(&self.environment, &arguments)).await;
        let output = output.unwrap().unwrap();
        let lines: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        let line = lines.into_iter().find(|line| line["check"] == check);
        (output.status.code(), line.unwrap_or_else(|| panic!("the doctor has no line `{check}`")))
    }

    /// Starts a worker that is killed at the end of the test.
    pub(crate) async fn worker(&self, settings: &[(&str, &str)]) -> Process {
        let name = format!("worker-{}", Uuid::new_v4().simple());
        let mut environment = self.environment.clone();
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = stack().await.unwrap().start_worker(&name, &["run"], environment).unwrap();
        process.kill_on_drop()
    }

    pub(crate) async fn request(&self, user: Uuid) -> Uuid {
        crate::support::installation_of::request(&self.owner, user).await
    }

    /// Creates the given number of requests, each of a separate user.
    pub(crate) async fn requests(&self, count: i32) {
        sqlx::query(
            "with made as (
                 insert into public.users (email, password_hash, full_name)
                 select gen_random_uuid() || '@example.org', 'secret', 'Ada' from generate_series(1, $1) returning id)
             insert into public.data_export_requests (user_id) select id from made",
        )
        .bind(count)
        .execute(&self.owner)
        .await
        .unwrap();
    }

    /// Returns how many requests are ready.
    pub(crate) async fn ready(&self) -> i64 {
        let sql = "select count(*) from public.data_export_requests where status = 'ready'";
        sqlx::query_scalar(sql).fetch_one(&self.owner).await.unwrap()
    }

    /// Waits until the given number of requests are ready.
    pub(crate) async fn until_ready(&self, count: i64) {
        self.until("requests to be ready", || async { (self.ready().await >= count).then_some(()) }).await;
    }

    /// Returns how many requests have an attempt counted against them, and how many a lost worker.
    pub(crate) async fn blamed(&self) -> (i64, i64) {
        let sql = "select count(*) filter (where attempts <> 0), count(*) filter (where lost <> 0)
                   from public.data_export_requests";
        sqlx::query_as(sql).fetch_one(&self.owner).await.unwrap()
    }

    /// Runs a night to its end and returns its report.
    pub(crate) async fn night(&self) -> serde_json::Value {
        let report: serde_json::Value = serde_json::from_str(&self.try_night().await.unwrap()).unwrap();
        assert!(
            report["result"]["miscounted"].is_null(),
            "a night counted what the rows do not have: {report}"
        );
        report
    }

    /// Runs a night to its end, which may be a bad one.
    pub(crate) async fn try_night(&self) -> anyhow::Result<String> {
        let arguments = ["--output", "json", "night", "trigger", "--wait"];
        self.while_it_moves("the night to end", worker::command(&self.environment, &arguments)).await
    }

    /// Waits for something that a night does, as long as the night moves.
    pub(crate) async fn while_it_moves<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        wait::while_moving(what, self.quiet, work, || self.position()).await.unwrap()
    }

    /// Waits until `look` returns a value, as long as the night moves.
    pub(crate) async fn until<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        const WITH_PROGRESS: Duration = Duration::from_secs(24 * 3600);
        let look = || {
            let looked = look();
            async { Ok(looked.await) }
        };
        self.while_it_moves(what, wait::until(what, WITH_PROGRESS, look)).await.unwrap()
    }

    /// Returns how far the requests are: it changes with each request that is claimed, ends, or fails an attempt.
    async fn position(&self) -> Option<(i64, i64, i64, i64)> {
        let sql = "select coalesce(sum(claims), 0)::bigint, coalesce(sum(attempts + lost), 0)::bigint,
                          count(*) filter (where status = 'pending'), count(*) filter (where status = 'ready')
                   from public.data_export_requests";
        sqlx::query_as(sql).fetch_one(&self.owner).await.ok()
    }

    /// Starts a night and does not wait for it.
    pub(crate) async fn begin_night(&self) {
        worker::command(&self.environment, &["night", "trigger"]).await.unwrap();
    }

    /// Starts a night by hand under a separate id, with an input.
    pub(crate) async fn start_night(&self, workflow_id: &str, input: &serde_json::Value) {
        let (queue, input) = (self.environment["EXPORT_TASK_QUEUE"].as_str(), input.to_string());
        let start = ["workflow", "start", "--type", "nightly_batch", "--task-queue", queue];
        self.temporal(&[start.as_slice(), &["--workflow-id", workflow_id, "--input", &input]].concat()).await;
    }

    /// Queries the progress of a night.
    pub(crate) async fn progress(&self, workflow_id: &str) -> serde_json::Value {
        let query = ["workflow", "query", "--workflow-id", workflow_id, "--type", "progress"];
        self.temporal(&query).await["queryResult"][0].clone()
    }

    /// Waits until the night that runs has ended, and returns how: `COMPLETED`, `FAILED`, `CANCELED`.
    pub(crate) async fn ended(&self) -> String {
        self.until("the night to end", || async {
            let runs = self.runs("nightly_batch").await;
            // The newest run comes first; one that continues as new is followed by another.
            let status = runs.first().map(|run| run.status.clone()).unwrap_or_default();
            let ended = ["COMPLETED", "FAILED", "CANCELED", "TERMINATED", "TIMED_OUT"];
            ended.contains(&status.as_str()).then_some(status)
        })
        .await
    }

    /// Waits until the run under an id has ended, and returns how.
    pub(crate) async fn ended_of(&self, workflow_id: &str) -> String {
        self.until("the run to end", || async {
            let run = self.temporal(&["workflow", "describe", "--workflow-id", workflow_id]).await;
            let status = run["workflowExecutionInfo"]["status"].as_str().unwrap().to_owned();
            let status = status.trim_start_matches("WORKFLOW_EXECUTION_STATUS_").to_owned();
            (!["RUNNING", "CONTINUED_AS_NEW"].contains(&status.as_str())).then_some(status)
        })
        .await
    }

    /// Returns the runs of a workflow type, newest first.
    pub(crate) async fn runs(&self, workflow_type: &str) -> Vec<Run> {
        let query = format!("WorkflowType = '{workflow_type}'");
        let list = self.temporal(&["workflow", "list", "--query", &query]).await;
        let runs = list.as_array().unwrap().iter().map(|run| Run {
            id: run["execution"]["workflowId"].as_str().unwrap().to_owned(),
            run_id: run["execution"]["runId"].as_str().unwrap().to_owned(),
            status: run["status"]
                .as_str()
                .unwrap()
                .trim_start_matches("WORKFLOW_EXECUTION_STATUS_")
                .to_owned(),
        });
        runs.collect()
    }

    /// Returns the histories of all runs as JSON, with every payload decoded.
    pub(crate) async fn histories(&self) -> String {
        let mut all = String::new();
        for workflow_type in ["nightly_batch", "export_expiry"] {
            for Run { id, run_id, .. } in self.runs(workflow_type).await {
                let show = ["workflow", "show", "--workflow-id", &id, "--run-id", &run_id];
                let mut history = self.temporal(&show).await;
                decode_payloads(&mut history);
                all += &history.to_string();
            }
        }
        all
    }

    /// Connects to this namespace as a client.
    pub(crate) async fn client(&self) -> Client {
        client(&self.environment).await
    }

    /// Runs the `temporal` CLI in this namespace and returns its answer.
    pub(crate) async fn temporal(&self, arguments: &[&str]) -> serde_json::Value {
        let answer = wait::until("Temporal to answer", SOON, || async {
            match self.try_temporal(arguments).await {
                // Refused, because another call holds the run just now.
                Err(error) if is_busy(&error) => Ok(None),
                answer => answer.map(Some),
            }
        });
        let text = answer.await.unwrap();
        if text.trim().is_empty() { serde_json::Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    pub(crate) async fn try_temporal(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::new(tools::server("temporal").unwrap());
        command.args(arguments).args(["--output", "json"]);
        command.args(["--address", &self.environment["TEMPORAL_ADDRESS"]]);
        command.args(["--namespace", &self.environment["TEMPORAL_NAMESPACE"]]);
        let output = command.kill_on_drop(true).output().await?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    pub(crate) async fn status(&self, request: Uuid) -> (String, Option<String>) {
        sqlx::query_as("select status, failure_reason from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    /// Returns `claims`, `lost` and `attempts` of a request.
    pub(crate) async fn counted(&self, request: Uuid) -> (i32, i32, i32) {
        sqlx::query_as("select claims, lost, attempts from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&self.owner)
            .await
            .unwrap()
    }

    pub(crate) async fn judge(&self) -> Findings {
        checker::check(&self.subject).await.unwrap()
    }

    /// Fails the test unless every invariant holds over the given number of delivered requests.
    pub(crate) async fn assert_sound(&self, delivered: usize) {
        let findings = self.judge().await;
        assert!(findings.broke(&[]), "{findings}");
        assert_eq!(findings.checked[&checker::Invariant::ReadyIsDelivered], delivered, "{findings}");
    }

    pub(crate) async fn sweep_everything_unclaimed(&self) {
        let mut environment = self.environment.clone();
        environment.insert("EXPORT_SWEEP_MIN_AGE".to_owned(), "0s".to_owned());
        worker::command(&environment, &["sweep", "--force"]).await.unwrap();
    }
}

/// Returns whether the server could not answer now: another call holds the run, or the machine is busy.
fn is_busy(error: &anyhow::Error) -> bool {
    let error = error.to_string();
    // The last two are two spellings of the CLI's own deadline.
    let busy = ["Workflow is busy", "context deadline exceeded", "RST_STREAM with error code: CANCEL"];
    busy.iter().any(|busy| error.contains(busy))
}

async fn client(environment: &BTreeMap<String, String>) -> Client {
    let address: url::Url = format!("http://{}", environment["TEMPORAL_ADDRESS"]).parse().unwrap();
    let connection = Connection::connect(ConnectionOptions::new(address).build()).await.unwrap();
    let options = ClientOptions::new(environment["TEMPORAL_NAMESPACE"].clone()).build();
    Client::new(connection, options).unwrap()
}

/// One run of a workflow.
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) run_id: String,
    pub(crate) status: String,
}

/// Waits until a worker has written this into its log.
pub(crate) async fn until_said(worker: &Process, sentence: &str) {
    let what = format!("the worker to say `{sentence}`");
    let said = wait::until(&what, SOON, || async { Ok(worker.output().contains(sentence).then_some(())) });
    said.await.unwrap_or_else(|error| panic!("{error}: {}", worker.last_words()));
}

/// Kills a worker as the kernel does when memory runs out.
pub(crate) async fn kill(worker: &Process) {
    worker.signal(Signal::Kill).unwrap();
    worker.ended(SOON).await.unwrap();
}

/// A history holds payloads as base64. An operator sees the decoded contents.
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

//! The hands that run the steps of the plan, on whatever exists at that moment.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use export_stack::{
    instruments::{
        faulty_store::Fault,
        proxy::{Mode, Proxy},
    },
    servers::{random::pick, worker},
    supervisor::{Process, protocol::Signal},
    wait,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::plan::{Calls, Operation, Step};
use crate::support::{
    night_of::{Nights, SOON},
    servers::proxied,
};

/// Exports at a time in each of the two workers.
pub(super) const SLOTS: i64 = 4;
/// Connections of each of a worker's two pools, its own at the start included.
const POOL: i64 = 4;
/// The most connections of a worker in one role: a pool, and the one that listens.
pub(super) const CONNECTIONS: i64 = POOL + 1;
/// How long an order may take; a night without a worker does not answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// An installation under disturbance.
pub(super) struct Hands {
    pub(super) nights: Nights,
    pub(super) workers: [Process; 2],
    pub(super) folder: tempfile::TempDir,
    proxies: [Proxy; 3],
    /// How long each upload takes.
    pace: Duration,
    pub(super) revoked: BTreeSet<Uuid>,
    /// What went wrong beside what the checker can see.
    pub(super) wrong: Vec<String>,
}

/// Returns the lines of a worker's log that call for a person, which nothing that is done here may: a panic among them.
fn alarms(worker: &Process) -> Vec<String> {
    let log = worker.output();
    log.lines()
        .filter(|line| line.contains("\"level\":\"ERROR\"") || !line.starts_with('{'))
        .map(str::to_owned)
        .collect()
}

impl Hands {
    /// Starts two workers that reach everything but the store through proxies; the second uploads in parts.
    pub(super) async fn new(pace: Duration) -> Self {
        let nights = Nights::on_faulty_store().await;
        let folder = tempfile::tempdir().unwrap();
        for name in ["spool", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        private(&folder.path().join("spool"));
        let proxies = [
            proxied(&nights.environment["EXPORT_DATABASE_URL"]).await,
            proxied(&nights.environment["EXPORT_SOURCE_URL"]).await,
            proxied(&format!("http://{}", nights.environment["TEMPORAL_ADDRESS"])).await,
        ];
        let urls = [&proxies[0].1, &proxies[1].1, &proxies[2].1].map(Clone::clone);
        let workers =
            [start(&nights, &urls, folder.path(), 0).await, start(&nights, &urls, folder.path(), 1).await];
        let proxies = proxies.map(|(proxy, _)| proxy);
        let (revoked, wrong) = (BTreeSet::new(), Vec::new());
        Self { nights, workers, folder, proxies, pace, revoked, wrong }
    }

    /// Makes each upload take its time, so that there is a night to disturb.
    pub(super) fn slow_down(&self) {
        for call in ["PutObject", "UploadPart"] {
            self.nights.faulty().fail_all(call, Fault::Delay(self.pace));
        }
    }

    /// Runs one step. A step that is impossible in the current state returns an error, which is an answer too.
    pub(super) async fn perform(&mut self, step: &Step) -> anyhow::Result<()> {
        match wait::within("a step of an operator", SOON, Box::pin(self.attempt(step))).await {
            Ok(answer) => answer,
            Err(_) => {
                self.wrong.push(format!("{} did not end", step.operation));
                Ok(())
            }
        }
    }

    async fn attempt(&mut self, step: &Step) -> anyhow::Result<()> {
        let (nights, number) = (&self.nights, step.number);
        let which = pick(number, self.workers.len());
        match &step.operation {
            Operation::Pause => self.order(&["night", "pause", "--why", "a test", "--by", "ada"]).await,
            Operation::Resume => self.order(&["night", "resume", "--by", "ada"]).await,
            Operation::Window => self.order(&["night", "window", &(1 + pick(number, 50)).to_string()]).await,
            Operation::CancelAndBegin => {
                self.order(&["night", "cancel"]).await?;
                self.order(&["night", "trigger"]).await
            }
            Operation::TerminateAndBegin => {
                let run = self.run_of(number, true).await?;
                self.temporal(&["workflow", "terminate", "--workflow-id", &run.0, "--reason", "test"])
                    .await?;
                self.order(&["night", "trigger"]).await
            }
            Operation::Reset => self.reset(number).await,
            Operation::BeginByHand => {
                nights.start_night(&format!("by-hand-{number:016x}"), &json!(null)).await;
                Ok(())
            }
            Operation::Trigger => {
                let policy = ["Skip", "AllowAll", "CancelOther"][pick(number, 3)];
                let trigger = ["schedule", "trigger", "--schedule-id", "nightly_batch", "--overlap-policy"];
                self.temporal(&[trigger.as_slice(), &[policy]].concat()).await
            }
            Operation::Backfill => {
                let backfill = [
                    ["schedule", "backfill", "--schedule-id", "nightly_batch", "--overlap-policy"].as_slice(),
                    &[
                        "AllowAll",
                        "--start-time",
                        "2026-03-01T00:00:00Z",
                        "--end-time",
                        "2026-03-03T12:00:00Z",
                    ],
                ];
                self.temporal(&backfill.concat()).await
            }
            Operation::PauseSchedule => self.order(&["schedule", "pause", "--why", "a test", "--all"]).await,
            Operation::UnpauseSchedule => self.order(&["schedule", "unpause"]).await,
            Operation::PauseActivity => {
                let (run, activity) = self.activity(number).await?;
                let ids = ["--workflow-id", &run, "--activity-id", &activity];
                self.temporal(&[["activity", "pause"].as_slice(), &ids].concat()).await
            }
            Operation::UnpauseActivities => self.unpause_activities().await,
            Operation::ResetActivity => {
                let (run, activity) = self.activity(number).await?;
                let ids = ["--workflow-id", &run, "--activity-id", &activity];
                self.temporal(&[["activity", "reset"].as_slice(), &ids].concat()).await
            }
            Operation::UnknownSignal => {
                let run = self.run_of(number, true).await?;
                self.temporal(&["workflow", "signal", "--workflow-id", &run.0, "--name", "stop"]).await
            }
            Operation::Replace => self.replace(which).await,
            Operation::Kill => {
                self.workers[which].signal(Signal::Kill)?;
                self.workers[which].ended(SOON).await?;
                self.succeed(which).await;
                Ok(())
            }
            Operation::Freeze => self.workers[which].signal(Signal::Stop),
            Operation::Thaw => self.workers.iter().try_for_each(|worker| worker.signal(Signal::Continue)),
            Operation::Disturb(server, mode) => {
                self.proxies[*server as usize].set(*mode);
                Ok(())
            }
            Operation::CutBackends => {
                sqlx::query(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
                     and usename in ('export_state', 'export_read')",
                )
                .execute(&nights.subject.database)
                .await?;
                Ok(())
            }
            Operation::StoreFails(call, fault, calls) => {
                match calls {
                    Calls::Nth(nth) => nights.faulty().fail(call, *nth, fault.clone()),
                    Calls::All => nights.faulty().fail_all(call, fault.clone()),
                }
                Ok(())
            }
            Operation::StoreHeals => {
                nights.faulty().heal();
                self.slow_down();
                Ok(())
            }
            Operation::Fulfil => {
                let request = self.request(number).await?;
                self.order(&["request", "fulfil", &request.to_string()]).await
            }
            Operation::Revoke => {
                let request = self.request(number).await?;
                self.revoked.insert(request);
                self.order(&["request", "revoke", &request.to_string(), "--reason", "mistake"]).await
            }
            Operation::Sweep => {
                let mut environment = nights.environment.clone();
                environment.insert("EXPORT_SWEEP_MIN_AGE".to_owned(), "0s".to_owned());
                worker::command(&environment, &["sweep", "--force"]).await.map(drop)
            }
        }
    }

    /// Removes every disturbance. Current nights continue.
    pub(super) async fn heal(&mut self) -> anyhow::Result<()> {
        self.proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
        self.nights.faulty().heal();
        for worker in &self.workers {
            worker.check_alive()?;
            worker.signal(Signal::Continue)?;
        }
        self.order(&["schedule", "unpause"]).await?;
        self.unpause_activities().await?;
        for run in self.nights.runs("nightly_batch").await {
            if run.status == "RUNNING" {
                let resume =
                    ["workflow", "update", "execute", "--name", "resume", "--input", "{\"by\": \"ada\"}"];
                // It may have ended meanwhile; one that has not is waited for.
                let _ = self.temporal(&[resume.as_slice(), &["--workflow-id", &run.id]].concat()).await;
            }
        }
        self.unpause_activities().await
    }

    /// Drains both workers.
    pub(super) async fn stop(&mut self) {
        for which in 0..self.workers.len() {
            if let Err(error) = self.drain(which).await {
                self.wrong.push(format!("{error:#}"));
            }
            self.wrong.extend(alarms(&self.workers[which]));
        }
    }

    async fn replace(&mut self, which: usize) -> anyhow::Result<()> {
        if let Err(error) = self.drain(which).await {
            self.wrong.push(format!("{error:#}"));
        }
        self.succeed(which).await;
        Ok(())
    }

    /// Puts a new worker in the place of one that has ended.
    async fn succeed(&mut self, which: usize) {
        self.wrong.extend(alarms(&self.workers[which]));
        self.workers[which] = self.start(which).await;
    }

    async fn drain(&self, which: usize) -> anyhow::Result<()> {
        let worker = &self.workers[which];
        worker.signal(Signal::Continue)?;
        worker.signal(Signal::Terminate)?;
        let ending = worker.ended(PATIENCE * 2).await.context("a worker did not drain")?;
        ensure!(ending.is_success(), "a worker ended with {ending}: {}", worker.last_words());
        Ok(())
    }

    async fn start(&self, which: usize) -> Process {
        let [state, source, temporal] = [0, 1, 2].map(|server: usize| self.proxies[server].address().port());
        let through = |name: &str, port: u16| {
            let mut url = url::Url::parse(&self.nights.environment[name]).unwrap();
            url.set_port(Some(port)).unwrap();
            url.to_string()
        };
        let urls = [
            through("EXPORT_DATABASE_URL", state),
            through("EXPORT_SOURCE_URL", source),
            format!("http://127.0.0.1:{temporal}/"),
        ];
        start(&self.nights, &urls, self.folder.path(), which).await
    }

    async fn order(&self, line: &[&str]) -> anyhow::Result<()> {
        let answer =
            wait::within("a command", PATIENCE, worker::command(&self.nights.environment, line)).await;
        answer.context("no answer")?.map(drop)
    }

    async fn temporal(&self, line: &[&str]) -> anyhow::Result<()> {
        let answer = wait::within("a command of Temporal", PATIENCE, self.nights.try_temporal(line)).await;
        answer.context("no answer")?.map(drop)
    }

    /// Chooses a run of a night: workflow id and run id.
    async fn run_of(&self, number: u64, running: bool) -> anyhow::Result<(String, String)> {
        let mut runs = self.nights.runs("nightly_batch").await;
        runs.retain(|run| !running || run.status == "RUNNING");
        ensure!(!runs.is_empty(), "no night runs");
        let run = runs.swap_remove(pick(number, runs.len()));
        Ok((run.id, run.run_id))
    }

    async fn reset(&self, number: u64) -> anyhow::Result<()> {
        let (id, run_id) = self.run_of(number, false).await?;
        let ids = ["--workflow-id", &id, "--run-id", &run_id];
        let history = self.nights.temporal(&[["workflow", "show"].as_slice(), &ids].concat()).await;
        let events = history["events"].as_array().into_iter().flatten();
        let points: Vec<&str> = events
            .filter(|event| event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_COMPLETED")
            .filter_map(|event| event["eventId"].as_str())
            .collect();
        ensure!(!points.is_empty(), "there is no point to reset to");
        let point = points[pick(number >> 16, points.len())];
        let reset = ["workflow", "reset", "--reason", "test", "--event-id", point];
        self.temporal(&[reset.as_slice(), &ids].concat()).await
    }

    async fn pending_activities(&self, workflow_id: &str) -> Vec<Value> {
        let described = self.nights.temporal(&["workflow", "describe", "--workflow-id", workflow_id]).await;
        described["pendingActivities"].as_array().cloned().unwrap_or_default()
    }

    /// Chooses an activity that is not done: workflow id and activity id.
    async fn activity(&self, number: u64) -> anyhow::Result<(String, String)> {
        let (id, _) = self.run_of(number, true).await?;
        let pending = self.pending_activities(&id).await;
        ensure!(!pending.is_empty(), "no activity is pending");
        let activity = pending[pick(number >> 16, pending.len())]["activityId"].as_str();
        Ok((id, activity.context("an activity without an id")?.to_owned()))
    }

    async fn unpause_activities(&self) -> anyhow::Result<()> {
        for run in self.nights.runs("nightly_batch").await {
            if run.status != "RUNNING" {
                continue;
            }
            for activity in self.pending_activities(&run.id).await {
                if let (true, Some(activity)) =
                    (activity["paused"] == json!(true), activity["activityId"].as_str())
                {
                    let ids = ["--workflow-id", &run.id, "--activity-id", activity];
                    self.temporal(&[["activity", "unpause"].as_slice(), &ids].concat()).await?;
                }
            }
        }
        Ok(())
    }

    async fn request(&self, number: u64) -> anyhow::Result<Uuid> {
        let ids: Vec<Uuid> = sqlx::query_scalar("select id from public.data_export_requests order by id")
            .fetch_all(&self.nights.owner)
            .await?;
        Ok(ids[pick(number, ids.len())])
    }
}

async fn start(nights: &Nights, urls: &[String; 3], folder: &Path, which: usize) -> Process {
    let temporal = urls[2].trim_start_matches("http://").trim_end_matches('/');
    let (spool, tmp) = (folder.join("spool"), folder.join("tmp"));
    let (slots, connections) = (SLOTS.to_string(), POOL.to_string());
    let settings = [
        ("EXPORT_DATABASE_URL", urls[0].as_str()),
        ("EXPORT_SOURCE_URL", &urls[1]),
        ("TEMPORAL_ADDRESS", temporal),
        ("EXPORT_SPOOL_DIR", spool.to_str().unwrap()),
        ("TMPDIR", tmp.to_str().unwrap()),
        ("EXPORT_SLOTS", &slots),
        ("EXPORT_STATE_CONNECTIONS", &connections),
        ("EXPORT_SOURCE_CONNECTIONS", &connections),
        ("EXPORT_ACQUIRE_TIMEOUT", "3s"),
        ("EXPORT_STORE_CONNECT_TIMEOUT", "1s"),
        ("EXPORT_STORE_ATTEMPT_TIMEOUT", "5s"),
        ("EXPORT_STORE_OPERATION_TIMEOUT", "8s"),
        ("EXPORT_SHUTDOWN_GRACE", "1s"),
        ("EXPORT_LEASE", "20s"),
        ("EXPORT_DEFER_AFTER", "8s"),
        ("EXPORT_PUT_LIMIT", ["16MiB", "0"][which]),
    ];
    nights.worker(&settings).await
}

fn private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
}

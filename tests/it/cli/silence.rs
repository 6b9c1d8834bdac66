//! With a silent server or a locked table, each command ends in time with a sentence.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use export_stack::{
    instruments::proxy::{Mode, Proxy},
    servers::worker,
    shared::{TestInstallation, stack},
    wait,
};
use futures::future::join_all;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::servers::proxied;

type Environment = BTreeMap<String, String>;

/// The server of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    State,
    /// The table of requests in it.
    Queue,
    Source,
    Owner,
    Store,
    Temporal,
}
use Server::{Owner, Queue, Source, State, Store, Temporal};

/// Every command that uses a server and ends by itself. `READY`, `PENDING` and `USER` stand for a delivered request, a
/// pending one, and the user of the delivered one.
const COMMANDS: [(&str, &[Server]); 48] = [
    ("migrate", &[Owner]),
    ("grants --apply", &[Owner]),
    ("schedule apply", &[Temporal]),
    ("schedule show", &[Temporal]),
    ("schedule pause --why test", &[Temporal]),
    ("schedule unpause", &[Temporal]),
    ("schedule delete --yes", &[Temporal]),
    ("status", &[State, Queue, Source, Temporal]),
    ("night trigger", &[Temporal]),
    ("night watch", &[Temporal]),
    ("night show", &[State]),
    ("night pause --why test --by ada", &[Temporal]),
    ("night resume --by ada", &[Temporal]),
    ("night window 1", &[Temporal]),
    ("night cancel", &[Temporal]),
    ("request create --user USER", &[State, Queue]),
    ("request list", &[State, Queue]),
    ("request show READY", &[State, Queue]),
    ("request fulfil PENDING", &[State, Queue, Temporal]),
    ("request revoke READY --reason mistake", &[State, Queue, Store]),
    ("request retry READY", &[State, Queue]),
    ("request forget --user USER", &[State, Queue, Store]),
    ("expire", &[State, Queue, Store]),
    ("expire --accounts", &[State, Queue, Source, Store]),
    ("sweep --dry-run", &[State, Queue, Store]),
    ("recheck", &[State, Queue, Store]),
    ("lifecycle apply", &[State, Queue, Store]),
    ("bucket move", &[State, Queue, Store]),
    ("events prune", &[State]),
    ("history dump night -o -", &[Temporal]),
    ("receipt show READY", &[State, Queue]),
    ("register", &[State, Queue]),
    ("cost", &[State, Queue]),
    ("policy show", &[State]),
    ("policy set --start night", &[Owner]),
    ("notices show", &[State]),
    ("notices on mail", &[State]),
    ("notices off mail", &[State]),
    ("notices resume mail", &[State]),
    ("notices list", &[State]),
    ("notices retry --dead mail", &[State]),
    ("notices replay mail --since 2026-11-27T00:00:00Z", &[State]),
    ("notices drop --dead mail", &[State]),
    ("catalogue check", &[Source]),
    ("catalogue preview --user USER", &[Source]),
    ("catalogue init public.users", &[Source]),
    ("catalogue update", &[Source]),
    ("doctor", &[State, Queue, Source, Store, Temporal]),
];

/// Commands that talk to no server of ours, or serve until they are stopped.
const OTHERS: [&str; 12] = [
    "run",
    "serve",
    "grants",
    "codec-server",
    "history replay",
    "verify",
    "portal key",
    "portal openapi",
    "receipt key",
    "lifecycle print",
    "catalogue document",
    "catalogue diff",
];

/// Time limit of a command that only queries, and of the doctor, which queries all servers.
const COMMAND: Duration = Duration::from_secs(35);
const DOCTOR: Duration = Duration::from_secs(75);

/// An installation with a delivered request and a pending one.
struct Given {
    environment: Environment,
    owner: PgPool,
    ready: Uuid,
    pending: Uuid,
    user: Uuid,
    _catalogue: tempfile::TempDir,
}

impl Given {
    async fn new() -> Self {
        let installation = TestInstallation::new().await.unwrap();
        let mut environment = installation.environment().await.unwrap();
        let owner = installation.database.owner().await.unwrap();
        let (ready, user) = (Uuid::new_v4(), Uuid::new_v4());
        let key = delivered(&owner, ready, user, "1 hour").await;
        // Its time is over, so that an expiry pass has an archive to delete.
        delivered(&owner, Uuid::new_v4(), user, "-1 s").await;
        let pending = crate::support::installation_of::request(&owner, user).await;
        // Whose bucket it is, so that a command comes to its work; and an object, so that there is one to judge.
        let mark: Uuid = sqlx::query_scalar("select id from public.data_export_installation")
            .fetch_one(&owner)
            .await
            .unwrap();
        let s3 = stack().await.unwrap().servers().store.client();
        for (key, content) in [("exports/.installation", mark.to_string()), (key.as_str(), "x".to_owned())] {
            let put = s3.put_object().bucket(&environment["EXPORT_BUCKET"]).key(key);
            put.body(content.into_bytes().into()).send().await.unwrap();
        }
        // The built-in catalogue, as a folder that a command may write to.
        let catalogue = tempfile::tempdir().unwrap();
        std::fs::create_dir(catalogue.path().join("queries")).unwrap();
        for file in ["catalogue.toml", "queries/project_keys.sql"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../activities").join(file);
            std::fs::copy(from, catalogue.path().join(file)).unwrap();
        }
        environment.insert("EXPORT_CATALOGUE_DIR".to_owned(), catalogue.path().display().to_string());
        Self { environment, owner, ready, pending, user, _catalogue: catalogue }
    }

    /// Puts a silent proxy before the server of a variable.
    async fn silence(&mut self, variable: &str, scheme: &str) -> Proxy {
        let (proxy, url) = proxied(&format!("{scheme}{}", self.environment[variable])).await;
        let url = url.trim_start_matches(scheme).trim_end_matches('/').to_owned();
        self.environment.insert(variable.to_owned(), url);
        proxy.set(Mode::BlackHole);
        proxy
    }

    /// Runs every command that uses `server`, all at once. Each must fail in time and print one of these words.
    async fn all_are_refused(&self, server: Server, words: &[&str]) -> BTreeMap<&'static str, String> {
        let talking = COMMANDS.iter().filter(|(_, servers)| servers.contains(&server));
        let ended = join_all(talking.map(|(line, _)| async move { (*line, self.refused(line).await) })).await;
        assert!(ended.len() > 1, "no command talks to {server:?}");
        for (line, said) in &ended {
            assert!(words.iter().any(|word| said.contains(word)), "{line}: {said}");
        }
        ended.into_iter().collect()
    }

    /// Runs a command to its end, which must be a bad one with a sentence.
    async fn refused(&self, line: &str) -> String {
        let output = self.output(line).await;
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(!said.trim().is_empty(), "{line} ended without a word");
        said
    }

    async fn output(&self, line: &str) -> std::process::Output {
        let within = if line == "doctor" { DOCTOR } else { COMMAND };
        let line = line.replace("READY", &self.ready.to_string());
        let line = line.replace("PENDING", &self.pending.to_string());
        let line = line.replace("USER", &self.user.to_string());
        let arguments: Vec<_> = line.split(' ').collect();
        wait::within(&line, within, worker::output(&self.environment, &arguments)).await.unwrap().unwrap()
    }
}

/// Makes a delivered request whose link works for a time; returns the key of its archive.
async fn delivered(owner: &PgPool, id: Uuid, user: Uuid, works_for: &str) -> String {
    let key = format!("exports/{id}/{}.zip", Uuid::new_v4());
    sqlx::query(
        "insert into public.data_export_requests (id, user_id, status, download_url, expires_at, object_key,
             archive_bytes, archive_sha256, row_counts, snapshot_at, fulfilled_at, pseudonym_salt)
         values ($1, $2, 'ready', 'https://x', now() + $4::text::interval, $3, 1, repeat('a', 64), '{}', now(), now(),
             null)",
    )
    .bind(id)
    .bind(user)
    .bind(&key)
    .bind(works_for)
    .execute(owner)
    .await
    .unwrap();
    key
}

/// Returns the commands that have no commands below them, as the program lists them.
async fn listed(above: &str) -> BTreeSet<String> {
    let arguments: Vec<_> = above.split_whitespace().chain(["--help"]).collect();
    let help = worker::command(&Environment::new(), &arguments).await.unwrap();
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return [above.to_owned()].into() };
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let below = names.map(|name| format!("{above} {name}").trim_start().to_owned());
    let below: Vec<_> = below.collect();
    join_all(below.iter().map(|name| Box::pin(listed(name)))).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_program_is_in_the_table() {
    let all = listed("").await;
    assert!(all.len() > 30, "{all:?}");
    let (known, others) = (COMMANDS.map(|(line, _)| line), OTHERS);
    for command in &all {
        let is_known = |line: &str| {
            line.strip_prefix(command.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        assert!(known.iter().any(|line| is_known(line)) || others.contains(&command.as_str()), "{command}");
    }
    for line in known.iter().chain(&others) {
        assert!(all.iter().any(|command| line.starts_with(command.as_str())), "there is no `{line}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_in_time_before_a_silent_database() {
    let mut given = Given::new().await;
    let _proxy = given.silence("EXPORT_DATABASE_URL", "").await;
    let words = ["EXPORT_DATABASE_URL", "EXPORT_ACQUIRE_TIMEOUT", "no answer within"];
    let said = given.all_are_refused(State, &words).await;
    assert!(said["status"].contains("no worker polls"), "{}", said["status"]);
    let doctor = &said["doctor"];
    assert!(doctor.contains("FAIL database") && doctor.contains("ok   Temporal"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_in_time_before_a_silent_source() {
    let mut given = Given::new().await;
    let _proxy = given.silence("EXPORT_SOURCE_URL", "").await;
    let words = ["EXPORT_SOURCE_URL", "EXPORT_ACQUIRE_TIMEOUT"];
    let doctor = &given.all_are_refused(Source, &words).await["doctor"];
    assert!(doctor.contains("FAIL source database") && doctor.contains("ok   Temporal"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_in_time_before_an_owner_that_is_not_answered() {
    let mut given = Given::new().await;
    let _proxy = given.silence("EXPORT_OWNER_URL", "").await;
    given.all_are_refused(Owner, &["EXPORT_OWNER_URL"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_in_time_before_a_silent_store() {
    let mut given = Given::new().await;
    // Of another address than the recorded one, so that a move has something to do.
    sqlx::raw_sql("update public.data_export_installation set location = null")
        .execute(&given.owner)
        .await
        .unwrap();
    let _proxy = given.silence("EXPORT_S3_ENDPOINT", "").await;
    let words =
        ["nothing answers there", "EXPORT_S3_ENDPOINT", "still in the store", "No bucket is recorded yet"];
    let doctor = &given.all_are_refused(Store, &words).await["doctor"];
    assert!(doctor.contains("EXPORT_S3_ENDPOINT") && doctor.contains("ok   Temporal"), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_in_time_before_a_silent_temporal() {
    let mut given = Given::new().await;
    let _proxy = given.silence("TEMPORAL_ADDRESS", "http://").await;
    let said = given.all_are_refused(Temporal, &["Temporal", "no answer within"]).await;
    let doctor = &said["doctor"];
    assert!(doctor.contains("FAIL Temporal") && doctor.contains("ok   database"), "{doctor}");
    assert!(said["status"].contains("requests"), "{}", said["status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_in_time_while_the_queue_is_locked() {
    let given = Given::new().await;
    let mut lock = given.owner.begin().await.unwrap();
    sqlx::query("lock table public.data_export_requests in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let words = ["our tables are locked", "EXPORT_DATABASE_URL", "no answer within"];
    given.all_are_refused(Queue, &words).await;
    lock.rollback().await.unwrap();
    // The control: the same commands answer once the lock is gone.
    for line in ["request list", "request show READY", "request create --user USER"] {
        let output = given.output(line).await;
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

//! Accounts are read on a replica of the source once it is as far as the source was; the source alone says who is gone.
//!
//! Source and replica are a separate cluster of the test. The requests are in another one, as is allowed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use export_activities::{
    context::ExportSteps,
    failure,
    fulfil::attempt::Unfinished,
    requests::{self, state},
    source::replica::{self, Fit, Replica},
};
use export_stack::{
    database,
    instruments::proxy::{Mode, Proxy},
    servers::{
        postgres::{Postgres, Role},
        worker,
    },
    shared,
    supervisor::{Process, protocol::Signal},
    wait,
};
use export_workflows::contract::{FailureReason, Outcome};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{PgConnection, PgPool, Transaction};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given, attempt, serve},
    night_of::SOON,
    servers::own_servers,
};

/// Longer than any wait of a test that is to end by itself.
const PATIENT: Duration = Duration::from_secs(60);
/// Long enough for a check, however busy the machine is.
const BRIEF: Duration = Duration::from_secs(3);
/// The difference between one wait and none: the last check may come one pause before the end.
const WAITED: Duration = Duration::from_secs(2);
const DATABASE: &str = "platform";

/// Checks the replica as an operator does.
async fn doctor(pair: &Pair) -> serde_json::Value {
    let installation = shared::TestInstallation::new().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    for (name, server) in [("EXPORT_SOURCE_URL", &pair.source), ("EXPORT_REPLICA_URL", &pair.replica)] {
        environment.insert(name.to_owned(), server.url(Role::Read, DATABASE).expose_secret().to_owned());
    }
    let output = worker::output(&environment, &["--output", "json", "doctor"]).await.unwrap();
    let lines: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    lines.into_iter().find(|line| line["check"] == "replica").unwrap()
}

/// A source and its replica. What a field owns goes when it is dropped.
struct Pair {
    source: Postgres,
    replica: Postgres,
    /// On the source, as the owner of the tables.
    owner: PgPool,
    /// On the source, as superuser.
    server: PgPool,
    /// On the replica, as superuser.
    control: PgPool,
    process: Process,
    _source: Process,
    _folders: [tempfile::TempDir; 2],
}

async fn pool(postgres: &Postgres, role: Role) -> PgPool {
    PgPool::connect(postgres.url(role, DATABASE).expose_secret()).await.unwrap()
}

async fn pair() -> Pair {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let supervisor = own_servers(folders[0].path());
    let (source, _source) = Postgres::start(&supervisor, folders[0].path(), None, false).await.unwrap();
    database::make(&source, DATABASE, &shared::grants().unwrap()).await.unwrap();
    let beside = own_servers(folders[1].path());
    let (replica, process) = source.replicate(&beside, folders[1].path()).await.unwrap();
    let server = pool(&source, Role::Superuser).await;
    // A position covers what is written; the cluster of a test is content with less.
    sqlx::raw_sql("alter role export_owner set synchronous_commit = on").execute(&server).await.unwrap();
    let owner = pool(&source, Role::Owner).await;
    let control = pool(&replica, Role::Superuser).await;
    Pair { source, replica, owner, server, control, process, _source, _folders: folders }
}

impl Pair {
    /// Makes an installation that reads from the two, and waits for the replica as long as `wait`.
    async fn installation(&self, wait: Duration) -> Given {
        let mut given = given::installation().await;
        given.steps.source = given::source(&self.source.url(Role::Read, DATABASE), 4);
        given.steps.replica = Some(self.replica_behind(&self.replica.url(Role::Read, DATABASE), wait));
        given
    }

    fn replica_behind(&self, url: &SecretString, wait: Duration) -> Replica {
        Replica::new(given::source(url, 4), wait, 4)
    }

    async fn user(&self) -> Uuid {
        given::user_with_project(&self.owner).await
    }

    /// Blocks every reader of `releases`, the last entity, on the source and on the replica.
    async fn locked_releases(&self) -> Transaction<'_, sqlx::Postgres> {
        let mut lock = self.owner.begin().await.unwrap();
        sqlx::raw_sql("lock table public.releases in access exclusive mode")
            .execute(&mut *lock)
            .await
            .unwrap();
        self.flush().await;
        wait::until("the lock to be replayed", SOON, || async {
            let sql = "select exists (select from pg_locks where relation = 'public.releases'::regclass
                           and mode = 'AccessExclusiveLock')";
            let there: bool = sqlx::query_scalar(sql).fetch_one(&self.control).await?;
            Ok(there.then_some(()))
        })
        .await
        .unwrap();
        lock
    }

    /// Has the source write what it has in memory: a lock is no commit.
    async fn flush(&self) {
        sqlx::raw_sql("select pg_switch_wal()").execute(&self.server).await.unwrap();
    }

    async fn replay(&self, verb: &str) {
        let sql = format!("select pg_wal_replay_{verb}()");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.control).await.unwrap();
    }

    /// Waits until the replica has everything.
    async fn caught_up(&self) {
        let reached: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
            .fetch_one(&self.owner)
            .await
            .unwrap();
        wait::until("the replica to catch up", SOON, || async {
            let sql = "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
            let there: bool = sqlx::query_scalar(sql).bind(&reached).fetch_one(&self.control).await?;
            Ok(there.then_some(()))
        })
        .await
        .unwrap();
    }
}

/// Serves a request of `user`.
async fn serve_user(given: &Given, user: Uuid) -> Outcome {
    let request = given::request(&given.owner, user).await;
    serve(&given.steps, &attempt(request, 1)).await.unwrap()
}

/// Number of each outcome of the replica.
fn passed(given: &Given) -> BTreeMap<String, u64> {
    let text = prometheus::TextEncoder::new().encode_to_string(&given.registry.gather()).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("export_reads_total{replica=\""));
    let counts = lines.filter_map(|line| line.split_once("\"} "));
    counts
        .map(|(why, count)| (why.to_owned(), count.parse().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn only(why: &str, count: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(why.to_owned(), count)])
}

type Served = JoinHandle<Result<Outcome, Unfinished>>;

/// Begins to serve a request of `user`.
async fn begin(given: &Given, steps: &ExportSteps, user: Uuid) -> (Uuid, Served) {
    let request = given::request(&given.owner, user).await;
    let steps = steps.clone();
    (request, tokio::spawn(async move { serve(&steps, &attempt(request, 1)).await }))
}

/// Returns whether the read of a request waits for a lock on this server.
async fn waits(server: &PgPool, request: Uuid) -> bool {
    let sql = "select exists (select from pg_stat_activity
                   where application_name = $1 and wait_event_type = 'Lock')";
    let name = format!("export-worker {request}");
    sqlx::query_scalar(sql).bind(name).fetch_one(server).await.unwrap()
}

async fn until_waiting(server: &PgPool, request: Uuid) {
    wait::until("the read on this server", SOON, || async { Ok(waits(server, request).await.then_some(())) })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_as_far_as_the_source_is_read_and_the_source_is_not() {
    let pair = pair().await;
    let given = pair.installation(PATIENT).await;
    // Committed just now, so the replica may have to be waited for.
    let user = pair.user().await;
    let lock = pair.locked_releases().await;
    let (request, served) = begin(&given, &given.steps, user).await;
    until_waiting(&pair.control, request).await;
    assert!(!waits(&pair.server, request).await);
    lock.rollback().await.unwrap();
    let outcome = served.await.unwrap().unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { rows: 2, .. }), "{outcome:?}");
    assert_eq!(passed(&given), only("used", 1));

    // The control: without a replica the same account is read on the source.
    let lock = pair.locked_releases().await;
    let without = ExportSteps { replica: None, ..given.steps.clone() };
    let (request, served) = begin(&given, &without, user).await;
    until_waiting(&pair.server, request).await;
    lock.rollback().await.unwrap();
    served.await.unwrap().unwrap();
    given.assert_sound(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_is_waited_for_and_then_the_source_is_read() {
    let pair = pair().await;
    let given = pair.installation(BRIEF).await;
    let old = pair.user().await;
    pair.caught_up().await;
    pair.replay("pause").await;
    // New on the source and not yet on the replica.
    let new = pair.user().await;
    let began = Instant::now();
    assert!(matches!(serve_user(&given, new).await, Outcome::Fulfilled { rows: 2, .. }));
    assert!(began.elapsed() >= WAITED, "it was read after {:?}", began.elapsed());
    assert_eq!(passed(&given), only("lag", 1));
    // One has waited without success: the next does not wait as long.
    let began = Instant::now();
    serve_user(&given, new).await;
    assert!(began.elapsed() < WAITED, "it was read after {:?}", began.elapsed());
    assert_eq!(passed(&given), only("lag", 2));

    // Gone from the source and still on the replica: nobody waits, and it is gone.
    sqlx::query("delete from public.users where id = $1").bind(old).execute(&pair.owner).await.unwrap();
    let there: bool = sqlx::query_scalar("select exists (select from public.users where id = $1)")
        .bind(old)
        .fetch_one(&pair.control)
        .await
        .unwrap();
    assert!(there, "the control: the replica still has the account");
    let gone = serve_user(&given, old).await;
    assert_eq!(gone, Outcome::Failed { reason: FailureReason::AccountDeleted });

    // A lag that ends while it is waited for.
    let given = pair.installation(PATIENT).await;
    let (_, served) = begin(&given, &given.steps, new).await;
    wait::until("the export to wait for the replica", SOON, || async {
        let sql = "select exists (select from pg_stat_activity where usename = 'export_read' and query like '%behind%')";
        let there: bool = sqlx::query_scalar(sql).fetch_one(&pair.control).await?;
        Ok(there.then_some(()))
    })
    .await
    .unwrap();
    assert!(!served.is_finished());
    pair.replay("resume").await;
    assert!(matches!(served.await.unwrap().unwrap(), Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given), only("used", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_replica_or_with_one_that_says_nothing_the_source_is_read() {
    let pair = pair().await;
    let mut given = pair.installation(BRIEF).await;
    let user = pair.user().await;
    let server = format!("127.0.0.1:{}", pair.replica.port()).parse().unwrap();
    let proxy = Proxy::start(server, 1).await.unwrap();
    let mut url = url::Url::parse(pair.replica.url(Role::Read, DATABASE).expose_secret()).unwrap();
    url.set_port(Some(proxy.address().port())).unwrap();
    given.steps.replica = Some(pair.replica_behind(&url.to_string().into(), BRIEF));
    assert!(matches!(serve_user(&given, user).await, Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given), only("used", 1), "the control: through the proxy the replica is read");
    proxy.set(Mode::BlackHole);
    assert!(matches!(serve_user(&given, user).await, Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given)["away"], 1);

    assert!(pair.process.stop(Signal::Interrupt).await.unwrap().is_success());
    let given = pair.installation(BRIEF).await;
    assert!(matches!(serve_user(&given, user).await, Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given), only("away", 1));
    // Who is gone is gone, with the replica or without it.
    let gone = serve_user(&given, Uuid::new_v4()).await;
    assert_eq!(gone, Outcome::Failed { reason: FailureReason::AccountDeleted });
    given.assert_sound(1).await;
}

async fn fit(pair: &Pair, server: &Postgres, database: &str) -> Fit {
    let mut source = pair.source.connect(Role::Read, DATABASE).await.unwrap();
    let position = replica::position(&mut source).await.unwrap();
    let mut other: PgConnection = server.connect(Role::Read, database).await.unwrap();
    replica::compare(&mut other, &position).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_replica_of_the_source_is_never_read() {
    let pair = pair().await;
    pair.caught_up().await;
    assert_eq!(fit(&pair, &pair.replica, DATABASE).await, Fit::Reached);
    assert_eq!(doctor(&pair).await["state"], "ok");
    assert_eq!(
        fit(&pair, &pair.replica, "postgres").await,
        Fit::Unrelated,
        "another database of the cluster"
    );
    let other = &shared::stack().await.unwrap().servers().postgres;
    assert_eq!(fit(&pair, other, "postgres").await, Fit::Unrelated, "another cluster");

    let mut given = pair.installation(PATIENT).await;
    let user = pair.user().await;
    let stranger = shared::TestDatabase::new().await.unwrap().url(Role::Read).await.unwrap();
    given.steps.replica = Some(pair.replica_behind(&stranger, PATIENT));
    assert!(matches!(serve_user(&given, user).await, Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given), only("unrelated", 1));

    // Promoted, it has all that the source had, and from then on nothing of it.
    sqlx::query("select pg_promote(true)").execute(&pair.control).await.unwrap();
    assert_eq!(fit(&pair, &pair.replica, DATABASE).await, Fit::Diverged);
    assert_eq!(doctor(&pair).await["state"], "warning");
    let given = pair.installation(PATIENT).await;
    assert!(matches!(serve_user(&given, user).await, Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given), only("diverged", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_replaying_cancels_is_done_on_the_source_in_the_same_attempt() {
    let pair = pair().await;
    let user = pair.user().await;
    // Replaying waits for no reader.
    sqlx::query("alter system set max_standby_streaming_delay = 0").execute(&pair.control).await.unwrap();
    sqlx::query("select pg_reload_conf()").execute(&pair.control).await.unwrap();
    let given = pair.installation(PATIENT).await;
    let mut lock = pair.locked_releases().await;
    let (request, served) = begin(&given, &given.steps, user).await;
    until_waiting(&pair.control, request).await;
    // What the read has used already is locked away from under it.
    sqlx::raw_sql("lock table public.users in access exclusive mode").execute(&mut *lock).await.unwrap();
    pair.flush().await;
    until_waiting(&pair.server, request).await;
    lock.rollback().await.unwrap();
    assert!(matches!(served.await.unwrap().unwrap(), Outcome::Fulfilled { rows: 2, .. }));
    assert_eq!(passed(&given), only("conflict", 1));
    given.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_never_answers_how_a_race_for_a_request_ended() {
    let pair = pair().await;
    let user = Uuid::new_v4();
    let id: Uuid = sqlx::query_scalar("insert into data_export_requests (user_id) values ($1) returning id")
        .bind(user)
        .fetch_one(&pair.owner)
        .await
        .unwrap();
    pair.caught_up().await;
    let pool = |postgres: &Postgres| {
        let options = postgres.url(Role::State, DATABASE).expose_secret().parse().unwrap();
        requests::pool(options, 1, SOON)
    };
    let (primary, standby) = (pool(&pair.source), pool(&pair.replica));
    assert_eq!(state::read_back(&primary, id).await.unwrap().unwrap().status, state::Status::Pending);
    let error = state::read_back(&standby, id).await.unwrap_err();
    let verdict = failure::judge(&error);
    assert_eq!(
        (verdict.class, verdict.code.as_str()),
        (failure::Class::System, "database/25006"),
        "{error:#}"
    );

    let installation = shared::TestInstallation::new().await.unwrap();
    let mut environment = installation.environment().await.unwrap();
    let url = pair.replica.url(Role::State, DATABASE).expose_secret().to_owned();
    environment.insert("EXPORT_DATABASE_URL".to_owned(), url);
    let output = worker::output(&environment, &["--output", "json", "doctor"]).await.unwrap();
    let lines: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let failed = lines.iter().find(|line| line["check"] == "database" && line["state"] == "failed").unwrap();
    assert!(failed["remedy"].as_str().unwrap().contains("EXPORT_DATABASE_URL to the primary"), "{failed}");
    let refused = worker::command(&environment, &["request", "create", "--user", &user.to_string()]).await;
    assert!(refused.unwrap_err().to_string().contains("the server is a standby"), "for every command");
}

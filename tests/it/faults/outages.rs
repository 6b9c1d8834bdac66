//! Servers that go away in the midst of a night of many requests and come back: the night ends well by itself, and no
//! request is blamed.

use std::collections::BTreeMap;

use export_stack::{
    database,
    instruments::proxy::{Mode, Proxy},
    servers::{
        postgres::{Postgres, Role},
        temporal::Temporal,
    },
    shared,
    supervisor::{Process, protocol::Signal},
    wait,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{
    night_of::{NIGHT as A_NIGHT, Nights, until_said},
    servers::{own_servers, proxied},
};

const NIGHT: &str = "disturbed";
const REQUESTS: i32 = 60;
/// Number of requests served before the disturbance.
const SERVED: i64 = 5;

/// A store that does not answer is given up quickly, so that a test need not wait for it.
const QUICK: [(&str, &str); 3] = [
    ("EXPORT_STORE_CONNECT_TIMEOUT", "1s"),
    ("EXPORT_STORE_ATTEMPT_TIMEOUT", "1s"),
    ("EXPORT_STORE_OPERATION_TIMEOUT", "2s"),
];

/// Starts a night of [`REQUESTS`] in a narrow window and waits until it is in its midst.
async fn in_mid_night(nights: &Nights) {
    nights.requests(REQUESTS).await;
    nights.start_night(NIGHT, &json!({"steering": {"window": 2}})).await;
    nights.until_ready(SERVED).await;
}

/// Fails unless the night has served all by itself. Returns its report. A claim that could not be released because the
/// database was away counts as lost, of which a request may have many; an attempt would be its own fault.
async fn assert_ended_well(nights: &Nights) -> Value {
    assert_eq!(nights.ended_of(NIGHT).await, "COMPLETED");
    assert_eq!((nights.ready().await, nights.blamed().await.0), (i64::from(REQUESTS), 0));
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(REQUESTS as usize).await;
    nights.temporal(&["workflow", "result", "--workflow-id", NIGHT]).await["result"].clone()
}

/// Returns how many attempts a worker has reported as failed by a system fault.
fn failed_attempts(worker: &Process) -> usize {
    worker.output().matches("failed; it is retried").count()
}

async fn until_attempts_failed(worker: &Process, count: usize) {
    wait::until("attempts to fail", A_NIGHT, || async {
        Ok((failed_attempts(worker) >= count).then_some(()))
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {}", worker.last_words()));
}

async fn pool(postgres: &Postgres, role: Role) -> PgPool {
    PgPool::connect(postgres.url(role, "platform").expose_secret()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_postgresql_is_restarted_in_its_midst_serves_the_rest_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = own_servers(folder.path());
    let (postgres, server) = Postgres::start(&supervisor, folder.path(), None, false).await.unwrap();
    database::make(&postgres, "platform", &shared::grants().unwrap()).await.unwrap();
    let roles = [
        ("EXPORT_DATABASE_URL", Role::State),
        ("EXPORT_SOURCE_URL", Role::Read),
        ("EXPORT_OWNER_URL", Role::Owner),
    ];
    let urls = roles
        .map(|(name, role)| (name.to_owned(), postgres.url(role, "platform").expose_secret().to_owned()));
    let mut nights = Nights::with(BTreeMap::from(urls)).await;
    nights.owner = pool(&postgres, Role::Owner).await;
    nights.subject.database = pool(&postgres, Role::Superuser).await;
    let worker = nights.worker(&[]).await;
    in_mid_night(&nights).await;

    let ending = server.stop(Signal::Interrupt).await.unwrap();
    assert!(ending.is_success(), "{ending}");
    until_attempts_failed(&worker, 1).await;
    let port = postgres.port();
    let (postgres, _server) =
        Postgres::start(&supervisor, folder.path(), Some(postgres), false).await.unwrap();
    assert_eq!(postgres.port(), port);

    let report = assert_ended_well(&nights).await;
    assert_eq!((&report["fulfilled"], &report["deferred"]), (&json!(REQUESTS), &json!(0)), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_temporal_stands_still_in_its_midst_serves_the_rest_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = own_servers(folder.path());
    let (temporal, server) = Temporal::start(&supervisor, folder.path(), None, false).await.unwrap();
    let names =
        [("TEMPORAL_ADDRESS", temporal.address()), ("TEMPORAL_NAMESPACE", Temporal::NAMESPACE.to_owned())];
    let nights = Nights::with(names.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let worker = nights.worker(&[]).await;
    in_mid_night(&nights).await;

    server.signal(Signal::Stop).unwrap();
    // Requests in flight continue, but no new ones are handed out.
    until_said(&worker, "Waiting for Temporal").await;
    assert!(nights.ready().await < i64::from(REQUESTS), "the control: in its midst");
    server.signal(Signal::Continue).unwrap();
    until_said(&worker, "Temporal answers again").await;
    assert_ended_well(&nights).await;
}

/// Makes an installation that reaches its store through a proxy, and a worker.
async fn behind_a_proxy(defer_after: &str) -> (Nights, Process, Proxy) {
    let mut nights = Nights::new().await;
    let (proxy, endpoint) = proxied(&nights.environment["EXPORT_S3_ENDPOINT"]).await;
    nights.environment.insert("EXPORT_S3_ENDPOINT".to_owned(), endpoint);
    let mut settings = QUICK.to_vec();
    settings.push(("EXPORT_DEFER_AFTER", defer_after));
    let worker = nights.worker(&settings).await;
    (nights, worker, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_store_is_away_for_a_moment_defers_nothing() {
    let (nights, worker, proxy) = behind_a_proxy("30m").await;
    in_mid_night(&nights).await;
    proxy.set(Mode::Cut);
    until_attempts_failed(&worker, 2).await;
    proxy.set(Mode::Pass);
    let report = assert_ended_well(&nights).await;
    assert_eq!((&report["fulfilled"], &report["deferred"]), (&json!(REQUESTS), &json!(0)), "{report}");
}

/// Lets every lane meet the fault at once.
async fn widen(nights: &Nights) {
    let window = ["workflow", "update", "execute", "--workflow-id", NIGHT, "--name", "set_window"];
    nights.temporal(&[window.as_slice(), &["--input", "{\"lanes\": 50}"]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_whose_store_is_away_for_long_defers_the_rest_and_serves_it_on_its_second_look() {
    let (nights, worker, proxy) = behind_a_proxy("1s").await;
    in_mid_night(&nights).await;
    proxy.set(Mode::Cut);
    widen(&nights).await;
    wait::until("the second round", A_NIGHT, || async {
        Ok((nights.runs("nightly_batch").await.len() >= 2).then_some(()))
    })
    .await
    .unwrap();
    let deferred = worker.output().matches("ended as deferred").count();
    assert!(deferred >= 10, "the control: {deferred} were deferred");
    proxy.set(Mode::Pass);
    let report = assert_ended_well(&nights).await;
    assert_eq!(report["fulfilled"], json!(REQUESTS), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_night_could_not_serve_without_its_store_the_next_one_serves() {
    let (nights, _worker, proxy) = behind_a_proxy("1s").await;
    in_mid_night(&nights).await;
    proxy.set(Mode::Cut);
    widen(&nights).await;
    // Its passes meet the same fault; what it has served counts anyway.
    assert_eq!(nights.ended_of(NIGHT).await, "FAILED");
    let ready = nights.ready().await;
    assert!((SERVED..i64::from(REQUESTS)).contains(&ready), "the control: {ready} were served");
    assert_eq!(nights.blamed().await.0, 0);
    proxy.set(Mode::Pass);
    let report = nights.night().await["result"].clone();
    assert_eq!(report["fulfilled"], json!(i64::from(REQUESTS) - ready), "{report}");
    assert_eq!((nights.ready().await, nights.blamed().await.0), (i64::from(REQUESTS), 0));
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(REQUESTS as usize).await;
}

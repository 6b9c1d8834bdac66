//! Exports are kind to the source: nothing is sorted on its disk, a DBA sees each one and may stop it.

use std::sync::atomic::Ordering;

use export_stack::{
    instruments::round_trips::counting_proxy,
    platform::{self, SeedOptions},
    servers::postgres::Role,
    shared::stack,
    wait,
};
use export_workflows::contract::Outcome;
use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use uuid::Uuid;

use crate::support::{
    accounts,
    installation_of::{self as given, Given, attempt, serve},
    night_of::{Nights, SOON},
};

/// The server's counters of one database.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
struct Spilt {
    temp_files: i64,
    temp_bytes: i64,
}

/// Reads the counters after every session has reported its own, which it does at its end.
async fn spilt(server: &PgPool, database: &str) -> Spilt {
    wait::until("the sessions to end", SOON, || async {
        let sql = "select count(*) from pg_stat_activity where datname = $1
                       and usename in ('export_owner', 'export_read')";
        let there: i64 = sqlx::query_scalar(sql).bind(database).fetch_one(server).await?;
        Ok((there == 0).then_some(()))
    })
    .await
    .unwrap();
    sqlx::query_as("select temp_files, temp_bytes from pg_stat_database where datname = $1")
        .bind(database)
        .fetch_one(server)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_heavy_account_writes_no_temporary_file_on_the_source() {
    let Given { steps, owner, database, spool: _spool, .. } = given::installation().await;
    let options = SeedOptions { heavy_runs: 20_000, ..SeedOptions::default() };
    let heavy = platform::seed(&owner, &options).await.unwrap().heavy;
    let request = given::request(&owner, heavy).await;
    // The minimum: a plan that sorts or gathers the account must use the disk.
    let little = format!("alter database \"{}\" set work_mem = '64kB'", database.name());
    sqlx::raw_sql(AssertSqlSafe(little)).execute(&owner).await.unwrap();
    owner.close().await;
    let postgres = &stack().await.unwrap().servers().postgres;
    let server = postgres.url(Role::Superuser, "postgres");
    let server = PgPool::connect(server.expose_secret()).await.unwrap();
    let before = spilt(&server, database.name()).await;

    let outcome = serve(&steps, &attempt(request, 1)).await.unwrap();
    assert!(matches!(outcome, Outcome::Fulfilled { rows: 20_000.., .. }), "{outcome:?}");
    drop(steps);
    assert_eq!(spilt(&server, database.name()).await, before);

    // The control: one sort of the same rows, by the same role, is counted.
    let mut reader = postgres.connect(Role::Read, database.name()).await.unwrap();
    let sort = "select id from public.pipeline_runs order by created_at, id offset 19000";
    assert!(!sqlx::query(sort).fetch_all(&mut reader).await.unwrap().is_empty());
    reader.close().await.unwrap();
    let sorted = spilt(&server, database.name()).await;
    assert!(sorted.temp_files > before.temp_files && sorted.temp_bytes > before.temp_bytes, "{sorted:?}");
}

#[tokio::test]
async fn a_small_account_costs_eight_round_trips_on_a_warm_connection() {
    let (database, catalogue, seeded) = accounts::reference(SeedOptions::default()).await;
    let (url, trips) = counting_proxy(&database.read_url).await.unwrap();
    let source = given::source(&url.into(), 1);
    let mut counts = Vec::new();
    for _ in 0..3 {
        let before = trips.load(Ordering::SeqCst);
        let mut snapshot = accounts::open(&source, &catalogue, seeded.heavy).await.unwrap();
        for entity in 0..5 {
            accounts::rows(&mut snapshot, entity).await;
        }
        snapshot.close().await.unwrap();
        counts.push(trips.load(Ordering::SeqCst) - before);
    }
    // Begin with the check, keys, five entities, commit. The first time opens the connection and prepares statements.
    assert_eq!(counts[1..], [8, 8], "{counts:?}");
}

/// Holds the export of `request` during its read, lets a DBA end it by `function`, and releases it.
async fn stopped_by(function: &str, sqlstate: &str) {
    let nights = Nights::new().await;
    let request = nights.request(given::user_with_project(&nights.owner).await).await;
    let _worker = nights.worker(&[]).await;
    let mut lock = nights.owner.begin().await.unwrap();
    sqlx::raw_sql("lock table public.releases in access exclusive mode").execute(&mut *lock).await.unwrap();
    nights.begin_night().await;
    let pid = waiting(&nights.subject.database, request).await;

    let stop = format!("select {function}($1)");
    let stopped: bool =
        sqlx::query_scalar(AssertSqlSafe(stop)).bind(pid).fetch_one(&nights.subject.database).await.unwrap();
    assert!(stopped);
    let expected = format!("system: database/{sqlstate} (reading `public.releases`)");
    let said = wait::until("the attempt to say why it ended", SOON, || async {
        Ok(last_error(&nights.owner, request).await)
    });
    assert_eq!(said.await.unwrap(), expected);
    lock.rollback().await.unwrap();

    nights.until_ready(1).await;
    let (claims, lost, attempts) = nights.counted(request).await;
    assert!(claims >= 2 && (lost, attempts) == (0, 0), "{claims} claims, {lost} lost, {attempts} attempts");
    assert_eq!(nights.ended().await, "COMPLETED");
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

/// Waits until the read of a request, under the name by which a DBA finds it, waits for a lock.
async fn waiting(server: &PgPool, request: Uuid) -> i32 {
    wait::until("the read to wait for the lock", SOON, || async {
        let sql = "select pid from pg_stat_activity where application_name = $1 and wait_event_type = 'Lock'
                       and usename = 'export_read'";
        let name = format!("export-worker {request}");
        Ok(sqlx::query_scalar(sql).bind(name).fetch_optional(server).await?)
    })
    .await
    .unwrap()
}

async fn last_error(owner: &PgPool, request: Uuid) -> Option<String> {
    sqlx::query_scalar("select last_error from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(owner)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_a_dba_cancels_is_tried_again_and_the_request_becomes_ready() {
    stopped_by("pg_cancel_backend", "57014").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_session_a_dba_ends_is_tried_again_and_the_request_becomes_ready() {
    stopped_by("pg_terminate_backend", "57P01").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_over_the_connection_limit_of_their_role_come_later_and_nobody_is_blamed() {
    let nights = Nights::new().await;
    // A role of this test's own: the limit of `export_read` would be met by the tests beside it.
    let role = format!("reader_{}", Uuid::new_v4().simple());
    let sql = format!("create role {role} login password 'secret' in role export_read connection limit 1");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&nights.subject.database).await.unwrap();
    let mut url = url::Url::parse(&nights.environment["EXPORT_SOURCE_URL"]).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("secret")).unwrap();
    nights.requests(6).await;
    let settings =
        [("EXPORT_SOURCE_URL", url.as_str()), ("EXPORT_SLOTS", "4"), ("EXPORT_ACQUIRE_TIMEOUT", "1s")];
    let worker = nights.worker(&settings).await;
    let mut lock = nights.owner.begin().await.unwrap();
    sqlx::raw_sql("lock table public.users in access exclusive mode").execute(&mut *lock).await.unwrap();
    nights.begin_night().await;
    // One export has the connection and waits; the three beside it have none.
    wait::until("attempts without a connection", SOON, || async {
        let output = worker.output();
        Ok((output.matches("system: database/pool_timed_out").count() >= 3).then_some(()))
    })
    .await
    .unwrap_or_else(|error| panic!("{error}: {}", worker.last_words()));
    let sessions: i64 = sqlx::query_scalar("select count(*) from pg_stat_activity where usename = $1")
        .bind(&role)
        .fetch_one(&nights.subject.database)
        .await
        .unwrap();
    assert_eq!(sessions, 1);
    lock.rollback().await.unwrap();
    nights.until_ready(6).await;
    assert_eq!(nights.blamed().await, (0, 0));
    assert_eq!(nights.ended().await, "COMPLETED");
}

//! The pool costs no round trip, closes what was given up, and keeps no session that nobody uses.

use std::{sync::atomic::Ordering, time::Duration};

use export_activities::{database::pool::Pool, requests, source};
use export_stack::{instruments::round_trips::counting_proxy, wait};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tokio::time::timeout;

use crate::support::{
    database::{Database, database},
    night_of::SOON,
};

const PID: &str = "select pg_catalog.pg_backend_pid()";
const WAIT: Duration = Duration::from_secs(30);

async fn pid(pool: &Pool) -> i32 {
    sqlx::query_scalar(PID).fetch_one(pool).await.unwrap()
}

/// Returns how many sessions `export_read` has in a database, and how many of them run a statement.
async fn sessions(owner: &PgPool) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), count(*) filter (where state = 'active') from pg_stat_activity
         where datname = current_database() and usename = 'export_read'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

fn of_one(database: &Database) -> Pool {
    source::pool(&database.read_url.clone().into(), 1, WAIT, WAIT * 2).unwrap()
}

#[tokio::test]
async fn a_query_through_the_pool_is_one_round_trip() {
    let database = database().await;
    let (url, trips) = counting_proxy(&database.read_url).await.unwrap();
    let pool = source::pool(&url.into(), 1, WAIT, WAIT).unwrap();
    // Prepares the statement, so that the next ones only run it.
    let first = pid(&pool).await;
    let before = trips.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(pid(&pool).await, first);
    }
    assert_eq!(trips.load(Ordering::SeqCst) - before, 20);
}

#[tokio::test]
async fn a_query_that_is_given_up_ends_its_session_and_the_pool_goes_on() {
    let database = database().await;
    let pool = of_one(&database);
    let first = pid(&pool).await;
    let given_up = timeout(Duration::from_millis(300), sqlx::query("select pg_sleep(600)").execute(&pool));
    assert!(given_up.await.is_err());
    let next = timeout(SOON, pid(&pool)).await.unwrap();
    assert_ne!(next, first);
    wait::until("the given-up statement to end", SOON, || async {
        Ok((sessions(&database.owner).await == (1, 0)).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_session_with_an_open_transaction_or_after_an_error_is_not_used_again() {
    let database = database().await;
    let pool = of_one(&database);
    let mut session = pool.acquire().await.unwrap();
    let first: i32 = sqlx::query_scalar(PID).fetch_one(&mut *session).await.unwrap();
    sqlx::raw_sql("begin").execute(&mut *session).await.unwrap();
    drop(session);
    let second = pid(&pool).await;
    assert_ne!(second, first);
    sqlx::query("select 1 / 0").execute(&pool).await.unwrap_err();
    assert_ne!(pid(&pool).await, second);
}

#[tokio::test]
async fn a_full_pool_times_out_and_its_name_for_logs_holds_no_password() {
    let database = database().await;
    let url: SecretString = database.read_url.clone().into();
    let pool = requests::pool(url.expose_secret().parse().unwrap(), 1, Duration::from_millis(200));
    let held = pool.acquire().await.unwrap();
    let error = sqlx::query(PID).execute(&pool).await.unwrap_err();
    assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error}");
    held.keep();
    pid(&pool).await;
    let password = url::Url::parse(url.expose_secret()).unwrap().password().unwrap().to_owned();
    assert!(!format!("{pool:?}").contains(&password), "{pool:?}");
}

#[tokio::test]
async fn a_read_session_that_nobody_uses_is_closed() {
    let database = database().await;
    let pool = of_one(&database);
    let first = pid(&pool).await;
    assert_eq!(sessions(&database.owner).await, (1, 0));
    wait::until("the idle session to be closed", SOON, || async {
        Ok((sessions(&database.owner).await == (0, 0)).then_some(()))
    })
    .await
    .unwrap();
    assert_ne!(pid(&pool).await, first);
}

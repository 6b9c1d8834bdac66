//! An attempt that is stopped while the source computes leaves no query running there.

use std::time::Duration;

use export_activities::{
    catalogue::Catalogue,
    database::pool::Pool,
    failure::{self, Class},
    pulse::Pulse,
    source::snapshot::{self, Account, Snapshot},
};
use export_stack::wait;
use sqlx::{Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use crate::support::database::{Database, database};

/// How long a query may outlive its attempt.
const GONE_WITHIN: Duration = Duration::from_secs(10);

const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::uuid as key"
[entity.accounts]
relation = "public.accounts"
keys = "account"
by = "id"
order = ["id"]
about = "x"
columns = { id = { type = "uuid", use = "export", about = "x" } }
[entity.long]
relation = "public.long"
keys = "account"
by = "id"
order = ["id"]
about = "x"
columns = { id = { type = "uuid", use = "export", about = "x" }, n = { type = "bigint", use = "export", about = "x" } }
"#;

/// Computes for minutes before its first row.
const COMPUTES: &str = "create view long as select id, (
    with recursive r(n) as (select 1::bigint union all select n + 1 from r where n < 2000000000) select max(n) from r
) as n from accounts";
/// Returns its first row immediately and continues for minutes.
const STREAMS: &str = "create view long as select id, n from accounts, lateral (
    with recursive r(n) as (select 1::bigint union all select n + 1 from r where n < 2000000000) select n from r
) r";

async fn with_view(view: &str) -> (Database, Catalogue) {
    let database = database().await;
    let sql = format!(
        "create table accounts (id uuid primary key); insert into accounts values ('{}'); {view}",
        Uuid::from_u128(1)
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&database.owner).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), CATALOGUE).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(catalogue.grants())).execute(&database.owner).await.unwrap();
    (database, catalogue)
}

async fn open(source: &Pool, catalogue: &Catalogue, pulse: &Pulse) -> Snapshot {
    let account = Account { request_id: Uuid::new_v4(), user_id: Uuid::from_u128(1).into() };
    snapshot::open(source, catalogue, &account, pulse).await.unwrap()
}

/// Returns the export's queries that are running on the server.
async fn running(owner: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database()
         and application_name like 'export-worker %' and state = 'active'",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

async fn until_running(owner: &PgPool, queries: i64) {
    let there = || async { Ok((running(owner).await == queries).then_some(())) };
    wait::until("the number of running queries", GONE_WITHIN, there).await.unwrap();
}

#[tokio::test]
async fn a_query_that_computes_is_gone_soon_after_its_attempt_was_stopped() {
    let (database, catalogue) = with_view(COMPUTES).await;
    let pulse = Pulse::default();
    let source = database.source();
    let mut snapshot = open(&source, &catalogue, &pulse).await;
    let mut rows = snapshot.rows(1, None, &pulse).unwrap();
    let stop = async {
        until_running(&database.owner, 1).await;
        pulse.cancel();
    };
    let (stopped, ()) = tokio::join!(rows.next(), stop);
    assert_eq!(failure::judge(&stopped.unwrap_err()).class, Class::Interrupted);
    drop(rows);
    drop(snapshot);
    until_running(&database.owner, 0).await;
}

#[tokio::test]
async fn a_query_that_gives_rows_is_gone_soon_after_its_attempt_was_stopped() {
    let (database, catalogue) = with_view(STREAMS).await;
    let pulse = Pulse::default();
    let source = database.source();
    let mut snapshot = open(&source, &catalogue, &pulse).await;
    let mut rows = snapshot.rows(1, None, &pulse).unwrap();
    rows.next().await.unwrap().unwrap();
    drop(rows);
    drop(snapshot);
    until_running(&database.owner, 0).await;
}

#[tokio::test]
async fn without_the_check_a_query_that_computes_outlives_its_connection() {
    let (database, _) = with_view(COMPUTES).await;
    let options = (*database.source().connect_options()).clone();
    let options =
        options.application_name("export-worker test").options([("client_connection_check_interval", "0")]);
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    {
        let query = sqlx::raw_sql("select n from public.long").execute(&mut connection);
        let mut query = std::pin::pin!(query);
        tokio::select! {
            _ = &mut query => panic!("the query has ended"),
            () = until_running(&database.owner, 1) => {}
        }
    }
    drop(connection);
    let gone = || async { Ok((running(&database.owner).await == 0).then_some(())) };
    wait::until("the query is gone", Duration::from_secs(5), gone).await.unwrap_err();
    let ended = "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'export-worker test'";
    sqlx::raw_sql(ended).execute(&database.owner).await.unwrap();
}

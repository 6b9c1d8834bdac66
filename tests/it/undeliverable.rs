//! A value that PostgreSQL itself cannot deliver fails its request for good, and the row says in which relation.

use std::sync::Arc;

use export_activities::{catalogue::Catalogue, exports::ExportSteps, failure::Class, fulfil::Unfinished};
use export_workflows::contract::{FailureReason, Outcome};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::installation_of::{self as given, Given};

const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::uuid as key"
[entity.users]
relation = "public.users"
keys = "account"
by = "id"
order = ["id"]
about = "x"
columns = { id = { type = "uuid", use = "export", about = "x" } }
[entity.odd]
relation = "public.odd"
keys = "account"
by = "id"
order = ["id"]
about = "x"
columns = { id = { type = "uuid", use = "export", about = "x" }, v = { type = "TYPE", use = "export", about = "x" } }
"#;

/// What no message, log line or row may repeat.
const VALUE: &str = "mk-value-km";

/// Makes `public.odd` by `sql`, whose column `v` is of type `pg_type`, and the catalogue that exports it.
async fn with_odd(sql: &str, pg_type: &str) -> Given {
    let mut given = given::installation().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalogue.toml"), CATALOGUE.replace("TYPE", pg_type)).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&given.owner).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(catalogue.grants())).execute(&given.owner).await.unwrap();
    given.steps.catalogue = Arc::new(catalogue);
    given
}

async fn serve(steps: &ExportSteps, request_id: Uuid) -> Result<Outcome, Unfinished> {
    given::serve(steps, &given::attempt(request_id, 1)).await
}

async fn last_error(owner: &PgPool, request: Uuid) -> String {
    sqlx::query_scalar("select last_error from public.data_export_requests where id = $1")
        .bind(request)
        .fetch_one(owner)
        .await
        .unwrap()
}

/// Serves one user whose row is sound and one whose row is odd.
async fn fails_only_the_odd_one(given: Given, sqlstate: &str) {
    let Given { steps, owner, spool: _spool, .. } = given;
    let sound = given::request(&owner, given::user(&owner).await).await;
    assert!(matches!(serve(&steps, sound).await.unwrap(), Outcome::Fulfilled { rows: 2, .. }));

    let odd = given::user(&owner).await;
    sqlx::query("update public.users set bio = $2 where id = $1")
        .bind(odd)
        .bind(VALUE)
        .execute(&owner)
        .await
        .unwrap();
    let request = given::request(&owner, odd).await;
    let outcome = serve(&steps, request).await.unwrap();
    assert_eq!(outcome, Outcome::Failed { reason: FailureReason::UnreadableValue });
    let said = last_error(&owner, request).await;
    assert_eq!(
        said,
        format!(
            "permanent: unreadable_value (PostgreSQL cannot deliver a value of `public.odd`, SQLSTATE {sqlstate})"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_divides_by_zero_for_one_account_fails_that_one_and_is_named() {
    let view = format!(
        "create view public.odd as
         select id, 1 / (case when bio = '{VALUE}' then 0 else 1 end) as v from public.users"
    );
    fails_only_the_odd_one(with_odd(&view, "integer").await, "22012").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_refuses_one_value_fails_that_account_and_its_message_is_not_repeated() {
    let view = "create function public.unbox(text) returns text language plpgsql as $$
        begin
            if $1 like 'mk-%' then
                raise exception 'the value % is odd', $1 using errcode = '22P02', detail = $1;
            end if;
            return $1;
        end $$;
        create view public.odd as select id, public.unbox(bio) as v from public.users";
    fails_only_the_odd_one(with_odd(view, "text").await, "22P02").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_same_class_that_is_no_answer_to_a_read_is_the_systems_fault() {
    let Given { mut steps, owner, spool: _spool, .. } = given::installation().await;
    // A setting that the server refuses, with SQLSTATE 22023, before there is a session.
    let refused = (*steps.source.connect_options()).clone().options([("statement_timeout", "soon")]);
    steps.source = PgPoolOptions::new().connect_lazy_with(refused);
    let request = given::request(&owner, given::user(&owner).await).await;
    let unfinished = serve(&steps, request).await.unwrap_err();
    let Unfinished::Retry(verdict) = unfinished else { panic!("{unfinished:?}") };
    assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "database/22023"));
}

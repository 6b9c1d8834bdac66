//! A value that PostgreSQL itself cannot deliver fails its request permanently, and the row names the relation.

use std::sync::Arc;

use export_activities::{
    catalogue::Catalogue, context::ExportSteps, failure::Class, fulfil::attempt::Unfinished, requests,
};
use export_workflows::contract::{FailureReason, Outcome};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::installation_of::{self as given, Given};

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

/// Text that no message, log line or row may repeat.
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
            "permanent: unreadable_value (PostgreSQL cannot deliver a value of `public.odd` after 0 rows, SQLSTATE {sqlstate})"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_divides_by_zero_for_one_account_fails_that_one_and_is_named() {
    let view = format!(
        "create view public.odd as
         select id, 1 / (case when bio = '{VALUE}' then 0 else 1 end) as v from public.users"
    );
    Box::pin(fails_only_the_odd_one(with_odd(&view, "integer").await, "22012")).await;
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
    Box::pin(fails_only_the_odd_one(with_odd(view, "text").await, "22P02")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_same_class_that_is_no_answer_to_a_read_is_the_systems_fault() {
    let Given { mut steps, owner, spool: _spool, .. } = given::installation().await;
    // A setting that the server refuses, with SQLSTATE 22023, before there is a session.
    let refused = steps.source.connect_options().clone().options([("statement_timeout", "soon")]);
    steps.source = requests::pool(refused, 1, std::time::Duration::from_secs(30));
    let request = given::request(&owner, given::user(&owner).await).await;
    let unfinished = serve(&steps, request).await.unwrap_err();
    let Unfinished::Retry(verdict) = unfinished else { panic!("{unfinished:?}") };
    assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "database/22023"));
}

/// A view over the users that raises `sqlstate` for the odd one, whose value is in the message.
fn raising(sqlstate: &str) -> String {
    format!(
        "create function public.check_odd(v text) returns text language plpgsql as $$
         begin
             if v like 'mk-%' then
                 raise exception 'the value % is odd', v using errcode = '{sqlstate}', detail = v, hint = v;
             end if;
             return v;
         end $$;
         create view public.odd as select id, public.check_odd(bio) as v from public.users"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_large_corrupt_or_of_class_22_fails_its_account_alone() {
    for sqlstate in ["22003", "22P05", "54000", "XX000", "XX001"] {
        Box::pin(fails_only_the_odd_one(with_odd(&raising(sqlstate), "text").await, sqlstate)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_error_in_the_midst_of_rows_is_the_systems_fault() {
    for sqlstate in ["53200", "54001", "57014", "58030", "XX002", "P0001"] {
        let Given { steps, owner, spool: _spool, .. } = with_odd(&raising(sqlstate), "text").await;
        let user = given::user(&owner).await;
        sqlx::query("update public.users set bio = $1").bind(VALUE).execute(&owner).await.unwrap();
        let unfinished = serve(&steps, given::request(&owner, user).await).await.unwrap_err();
        let Unfinished::Retry(verdict) = unfinished else { panic!("{unfinished:?}") };
        let said = format!("system: database/{sqlstate} (reading `public.odd`)");
        assert_eq!((verdict.class, verdict.to_string()), (Class::System, said));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_row_that_cannot_be_delivered_is_named_by_the_rows_before_it() {
    let view = "create view public.odd as
        select u.id, 1 / (3 - n) as v from public.users u cross join generate_series(1, 5) n";
    let mut given = with_odd(view, "integer").await;
    let folder = tempfile::tempdir().unwrap();
    let ordered = CATALOGUE.replace("TYPE", "integer").replace("order = [\"id\"]", "order = [\"id\", \"v\"]");
    let ordered = ordered.replacen("order = [\"id\", \"v\"]", "order = [\"id\"]", 1);
    std::fs::write(folder.path().join("catalogue.toml"), ordered).unwrap();
    given.steps.catalogue = Arc::new(Catalogue::load(folder.path()).unwrap());
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let outcome = serve(&given.steps, request).await.unwrap();
    assert_eq!(outcome, Outcome::Failed { reason: FailureReason::UnreadableValue });
    let said = last_error(&given.owner, request).await;
    assert!(said.contains("`public.odd` after ") && said.contains(" rows, SQLSTATE 22012"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_of_its_columns_type_is_the_catalogues_fault_and_fails_nobody() {
    const ODD: &str = "create view public.odd as select id, bio as v from public.users";
    let mut given = with_odd(ODD, "text").await;
    let folder = tempfile::tempdir().unwrap();
    let keys = "[keys.odd]\nquery = \"select 'u-' || $1::text as key\"\n";
    let (users, odd) = CATALOGUE.split_once("[entity.odd]").unwrap();
    let odd = odd.replace("keys = \"account\"", "keys = \"odd\"").replace("TYPE", "text");
    std::fs::write(folder.path().join("catalogue.toml"), format!("{keys}{users}[entity.odd]{odd}")).unwrap();
    given.steps.catalogue = Arc::new(Catalogue::load(folder.path()).unwrap());
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    let unfinished = serve(&given.steps, request).await.unwrap_err();
    let Unfinished::Retry(verdict) = unfinished else { panic!("{unfinished:?}") };
    assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "catalogue_drift"));
    let said = last_error(&given.owner, request).await;
    assert!(said.contains("the keys of entity `odd` do not fit its column, SQLSTATE 22P02"), "{said}");
    let pending: (String, i32) =
        sqlx::query_as("select status, attempts from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(&given.owner)
            .await
            .unwrap();
    assert_eq!(pending, ("pending".to_owned(), 0));
}

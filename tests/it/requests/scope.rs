//! The scope of a request in the database: its form, and what becomes of it when the request is repeated or forgotten.

use std::collections::BTreeMap;

use export_activities::{
    requests::{
        operate::{self, Retried, RevokeReason},
        progress::expected_rows,
    },
    scope::Scope,
    serialise::formats::{FormatName, Formats},
    user_id::UserId,
};
use uuid::Uuid;

use crate::support::installation_of::{self as given, attempt, serve};

/// Some releases.
fn releases() -> Scope {
    Scope {
        entities: Some(vec!["releases".to_owned()]),
        since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        until: None,
        filters: BTreeMap::from([(
            "releases".to_owned(),
            BTreeMap::from([("channel".to_owned(), vec!["stable".to_owned()])]),
        )]),
    }
}

#[tokio::test]
async fn options_have_a_form_and_never_change() {
    let given = given::installation().await;
    let insert = async |columns: &str, values: &str| {
        let sql = format!(
            "insert into public.data_export_requests (user_id, {columns}) values ('1', {values}) returning id"
        );
        sqlx::query_scalar::<_, Uuid>(sqlx::AssertSqlSafe(sql)).fetch_one(&given.owner).await
    };
    for (columns, values) in [
        ("entities", "'{}'"),
        ("entities", "'{users,users}'"),
        ("entities", "'{users,null}'"),
        ("entities", "'{Users}'"),
        ("entities", "'{{users},{projects}}'"),
        ("since, until", "now(), now()"),
        ("since", "'infinity'"),
        ("until", "'0044-03-15 BC'"),
        ("filters", "'[]'"),
        ("filters", "'null'"),
        ("filters", "'{}'"),
        ("filters", r#"'{"a": {}}'"#),
        ("filters", r#"'{"a": ["b"]}'"#),
        ("filters", r#"'{"a": {"b": []}}'"#),
        ("filters", r#"'{"a": {"b": "c"}}'"#),
        ("filters", r#"'{"a": {"b": [7]}}'"#),
        ("filters", r#"'{"a": {"b": [null]}}'"#),
        ("filters", r#"'{"../a": {"b": ["c"]}}'"#),
        ("formats", "null"),
        ("formats", "'{}'"),
        ("formats", "'{pdf}'"),
        ("formats", "'{XLSX}'"),
        ("formats", "'{xlsx,null}'"),
        ("formats", "'{xlsx,xlsx}'"),
        ("formats", "'{parquet,json,parquet}'"),
        ("formats", "'{{json},{csv}}'"),
        ("filters", r#"jsonb_build_object('a', jsonb_build_object('b', array[repeat('c', 17000)]))"#),
    ] {
        let error = insert(columns, values).await.unwrap_err().to_string();
        let is_refused = error.contains("violates check") || error.contains("violates not-null");
        assert!(is_refused, "{columns} {values}: {error}");
    }
    let id = insert("entities, since, filters", r#"'{users}', '2026-01-01Z', '{"a": {"b": ["c", ""]}}'"#)
        .await
        .unwrap();
    for change in
        ["entities = null", "since = now()", "until = 'tomorrow'", "filters = null", "formats = '{xlsx}'"]
    {
        let sql = format!("update public.data_export_requests set {change} where id = $1");
        let changed = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(&given.owner).await;
        assert!(
            changed.unwrap_err().to_string().contains("how an export was asked for never changes"),
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_retry_asks_for_the_same_part_and_a_forgotten_user_leaves_no_filter() {
    let given = given::installation().await;
    let state = &given.steps.state;
    let user: UserId = "7".parse().unwrap();
    let workbook = Formats::with([FormatName::Xlsx]);
    let failed = operate::create(state, &user, &releases(), &workbook).await.unwrap();
    operate::revoke(state, failed, RevokeReason::Mistake).await.unwrap();
    let Retried::Created(again) = operate::retry(state, failed).await.unwrap() else { panic!("no retry") };
    let scope = async |id: Uuid| operate::show(state, id).await.unwrap().unwrap().scope;
    assert_eq!(scope(again).await, releases());
    let shown = operate::show(state, again).await.unwrap().unwrap();
    assert_eq!(shown.formats, ["json", "csv", "xlsx"]);

    operate::revoke(state, again, RevokeReason::UserRequest).await.unwrap();
    assert_eq!(operate::forget(state, &user).await.unwrap().forgotten, 2);
    let without_filters = Scope { filters: BTreeMap::new(), ..releases() };
    assert_eq!(scope(again).await, without_filters);
}

/// Such as one that a later version knows, before a worker of this one is stopped.
#[tokio::test]
async fn a_format_that_this_version_does_not_know_fails_its_request_by_name() {
    let given = given::installation().await;
    let user: UserId = given::user_with_project(&given.owner).await.into();
    let sql = "alter table public.data_export_requests drop constraint data_export_requests_formats";
    sqlx::raw_sql(sql).execute(&given.owner).await.unwrap();
    let sql =
        "insert into public.data_export_requests (user_id, formats) values ($1, '{json,avro}') returning id";
    let id: Uuid = sqlx::query_scalar(sql).bind(user.as_str()).fetch_one(&given.owner).await.unwrap();
    serve(&given.steps, &attempt(id, 1)).await.unwrap();
    let shown = operate::show(&given.steps.state, id).await.unwrap().unwrap();
    assert_eq!(shown.failure_reason.as_deref(), Some("scope_refused"));
    let error = shown.last_error.unwrap();
    assert!(error.contains("there is no format `avro`: there are json, csv, xlsx and parquet"), "{error}");
}

#[tokio::test]
async fn a_part_says_nothing_of_how_many_rows_the_whole_has() {
    let given = given::installation().await;
    let user: UserId = given::user_with_project(&given.owner).await.into();
    let state = &given.steps.state;
    let fulfil = async |scope: &Scope| {
        let id = operate::create(state, &user, scope, &Formats::default()).await.unwrap();
        serve(&given.steps, &attempt(id, 1)).await.unwrap();
    };
    fulfil(&releases()).await;
    assert_eq!(expected_rows(state, &user).await.unwrap(), None);
    fulfil(&Scope::default()).await;
    assert_eq!(expected_rows(state, &user).await.unwrap(), Some(2));
    fulfil(&Scope { entities: Some(vec!["users".to_owned()]), ..Scope::default() }).await;
    assert_eq!(expected_rows(state, &user).await.unwrap(), Some(2), "the last whole one");
}

//! To ask for a part of the data over HTTP and SQL.

use export_stack::servers::postgres::Role;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    installation_of::{self, download},
    portal_of::{Portal, code, read},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_asked_for_shown_made_and_asked_for_again() {
    let portal = Portal::new().await;
    let user = installation_of::user_with_project(&portal.given.owner).await;
    let token = portal.person(user).await;
    let (_, policy) = read(portal.get("/v1/policy", &token).send().await.unwrap()).await;
    assert_eq!(
        policy["entities"][0],
        json!({"name": "users", "about": "Your account.", "always": true,
        "has_time": false, "filters": [], "refers_to": []})
    );
    let runs = &policy["entities"][3];
    assert_eq!(
        (&runs["has_time"], &runs["filters"], &runs["refers_to"]),
        (&json!(true), &json!(["status", "branch"]), &json!(["projects"]))
    );

    let part = json!({"entities": ["pipeline_runs"], "since": "2026-01-01T02:00:00+02:00",
        "filters": {"pipeline_runs": {"status": ["failed", "cancelled"]}}});
    let asked =
        portal.post("/v1/exports", &token, &part).header("idempotency-key", "k").send().await.unwrap();
    let (status, body) = read(asked).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let shown = json!({"entities": ["users", "projects", "pipeline_runs"], "since": "2026-01-01T00:00:00Z",
        "filters": {"pipeline_runs": {"status": ["failed", "cancelled"]}}});
    assert_eq!(body["scope"], shown);
    // The same wish with the same key is one request, and another part is another wish.
    let again =
        portal.post("/v1/exports", &token, &part).header("idempotency-key", "k").send().await.unwrap();
    assert_eq!(read(again).await.1["id"], body["id"]);
    let other =
        portal.post("/v1/exports", &token, &json!({})).header("idempotency-key", "k").send().await.unwrap();
    assert_eq!(code(other).await, "422 key_reused");

    let id: Uuid = body["id"].as_str().unwrap().parse().unwrap();
    portal.fulfil(id).await;
    let bytes = download(&portal.given.owner, id).await;
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let manifest: Value = serde_json::from_reader(zip.by_name("manifest.json").unwrap()).unwrap();
    assert_eq!(manifest["scope"]["complete"], false);
    let names: Vec<_> =
        manifest["entities"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["users", "projects", "pipeline_runs"]);

    portal.edit(id, "expires_at = now() - interval '1 second'").await;
    sqlx::query("update public.data_export_policy set ask_every = interval '0'")
        .execute(&portal.given.owner)
        .await
        .unwrap();
    let retried = portal.post(&format!("/v1/exports/{id}/retry"), &token, &json!({})).send().await.unwrap();
    let (status, body) = read(retried).await;
    assert_eq!((status, &body["scope"]), (StatusCode::ACCEPTED, &shown), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalogue_does_not_have_is_refused_by_its_place_and_all_at_once() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let refused = async |body: Value| {
        let answer = portal.post("/v1/exports", &token, &body).send().await.unwrap();
        let (status, problem) = read(answer).await;
        assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("invalid")), "{problem}");
        let errors = problem["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (body, pointers) in [
        (json!({"entities": []}), vec!["/entities"]),
        (json!({"entities": ["users", "tickets", 7]}), vec!["/entities/2"]),
        (
            json!({"entities": ["users", "tickets"], "until": "2026-01-01T00:00:00Z"}),
            vec!["/entities/1", "/until"],
        ),
        (json!({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}), vec!["/until"]),
        (json!({"since": "yesterday"}), vec!["/since"]),
        (json!({"filters": {"projects": {"name": ["x"]}}}), vec!["/filters/projects/name"]),
        (json!({"filters": {"releases": {"version": ["x"]}}}), vec!["/filters/releases/version"]),
        (json!({"filters": {"releases": {"channel": "stable"}}}), vec!["/filters/releases/channel"]),
        (json!({"filters": {"releases": {"channel": ["a\u{0}"]}}}), vec!["/filters/releases/channel/0"]),
        (
            json!({"entities": ["users"], "filters": {"releases": {"channel": ["stable"]}}}),
            vec!["/filters/releases"],
        ),
    ] {
        assert_eq!(refused(body.clone()).await, pointers, "{body}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from public.data_export_requests")
        .fetch_one(&portal.given.owner)
        .await
        .unwrap();
    assert_eq!(rows, 0, "nothing is asked for");
    // Everything, in whatever words, is the whole.
    let all = json!({"entities": ["users", "projects", "features", "pipeline_runs", "releases"]});
    let (_, body) = read(portal.post("/v1/exports", &token, &all).send().await.unwrap()).await;
    assert_eq!(body["scope"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_is_asked_for_made_and_asked_for_again() {
    let portal = Portal::new().await;
    let user = installation_of::user_with_project(&portal.given.owner).await;
    let token = portal.person(user).await;
    let (_, policy) = read(portal.get("/v1/policy", &token).send().await.unwrap()).await;
    assert_eq!(policy["formats"], json!(["json", "csv", "xlsx", "parquet"]));
    for (formats, pointer) in
        [(json!([]), "/formats"), (json!(["pdf"]), "/formats/0"), (json!("xlsx"), "/formats")]
    {
        let asked = portal.post("/v1/exports", &token, &json!({ "formats": formats })).send().await.unwrap();
        let (status, problem) = read(asked).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let asked = async |body: Value| {
        let call = portal.post("/v1/exports", &token, &body).header("idempotency-key", "k");
        read(call.send().await.unwrap()).await
    };
    let (status, body) = asked(json!({"formats": ["xlsx"]})).await;
    assert_eq!((status, &body["formats"]), (StatusCode::ACCEPTED, &json!(["json", "csv", "xlsx"])), "{body}");
    assert_eq!(asked(json!({"formats": ["xlsx"]})).await.1["id"], body["id"]);
    let (status, other) = asked(json!({})).await;
    assert_eq!((status.as_u16(), &other["code"]), (422, &json!("key_reused")), "{other}");

    let id: Uuid = body["id"].as_str().unwrap().parse().unwrap();
    portal.fulfil(id).await;
    let bytes = download(&portal.given.owner, id).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, &bytes).unwrap();
    export_verify::verify(file.path(), None).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    assert!(zip.by_name("export.xlsx").is_ok());

    portal.edit(id, "expires_at = now() - interval '1 second'").await;
    sqlx::query("update public.data_export_policy set ask_every = interval '0'")
        .execute(&portal.given.owner)
        .await
        .unwrap();
    let retried = portal.post(&format!("/v1/exports/{id}/retry"), &token, &json!({})).send().await.unwrap();
    let (status, body) = read(retried).await;
    assert_eq!((status, &body["formats"]), (StatusCode::ACCEPTED, &json!(["json", "csv", "xlsx"])), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_role_with_a_right_to_the_columns_asks_for_a_part_by_sql() {
    let portal = Portal::new().await;
    let owner = &portal.given.database.pool(Role::Superuser).await.unwrap();
    let asked = async |arguments: &str| -> (String, Option<Uuid>) {
        let sql = format!("select outcome, request_id from public.data_export_ask({arguments})");
        sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(owner).await.unwrap()
    };
    let (outcome, id) = asked("'7', p_key => 'k', p_entities => '{users}'").await;
    assert_eq!(outcome, "created");
    assert_eq!(asked("'7', p_key => 'k', p_entities => '{users}'").await, ("replayed".to_owned(), id));
    assert_eq!(asked("'7', p_key => 'k', p_entities => '{projects}'").await.0, "key_reused");
    assert_eq!(asked("'7', p_key => 'k'").await.0, "key_reused");
    // The same formats in other words are the same wish.
    let (_, workbook) = asked("'9', p_key => 'f', p_formats => '{xlsx}'").await;
    assert_eq!(
        asked("'9', p_key => 'f', p_formats => '{xlsx,json}'").await,
        ("replayed".to_owned(), workbook)
    );
    assert_eq!(asked("'9', p_key => 'f'").await.0, "key_reused");
    let (_, usual) = asked("'10', p_key => 'u'").await;
    assert_eq!(asked("'10', p_key => 'u', p_formats => '{csv,json}'").await, ("replayed".to_owned(), usual));
    let role = format!("platform_{}", Uuid::new_v4().simple());
    let run = async |sql: String| sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(owner).await;
    run(format!("create role {role}; grant usage on schema public to {role}; grant insert (user_id) on public.data_export_requests to {role}"))
        .await
        .unwrap();
    let insert = async |columns: &str, values: &str| {
        let mut one = owner.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("set local role {role}")))
            .execute(&mut *one)
            .await
            .unwrap();
        let sql = format!("insert into public.data_export_requests ({columns}) values ({values})");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *one).await.map(|_| ())
    };
    insert("user_id", "'8'").await.unwrap();
    let denied = insert("user_id, since", "'8', '2026-01-01'").await.unwrap_err().to_string();
    assert!(denied.contains("permission denied"), "{denied}");
    run(format!("grant insert (since) on public.data_export_requests to {role}")).await.unwrap();
    insert("user_id, since", "'8', '2026-01-01'").await.unwrap();
    run(format!("drop owned by {role}; drop role {role}")).await.unwrap();
}

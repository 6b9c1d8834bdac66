//! Whatever is wrong with a call, the answer is a problem document that says what to do.

use std::collections::BTreeMap;

use export_stack::{
    instruments::proxy::{Mode, Proxy},
    wait,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    installation_of::installation,
    night_of::SOON,
    portal_of::{Portal, code, read},
    servers::proxied,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_call_gets_a_problem_that_names_its_mistake() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let call = |method: Method, path: &str| portal.call(method, path).header("x-request-id", "call-1");
    let ask = |body: &str| {
        call(Method::POST, "/v1/exports")
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    let calls = [
        ("no such route", call(Method::GET, "/v2")),
        ("another method", call(Method::PUT, "/v1/exports")),
        ("nobody", call(Method::GET, "/v1/exports")),
        ("a wrong scheme", call(Method::GET, "/v1/exports").header("authorization", "Basic eA==")),
        ("a wrong key", call(Method::GET, "/v1/exports").bearer_auth("exk_x")),
        ("a wrong token", call(Method::GET, "/v1/exports").bearer_auth("x")),
        ("no json", call(Method::POST, "/v1/exports").bearer_auth(&token).body("why=x")),
        ("half a body", ask("{\"why\":")),
        ("a wrong type", ask("{\"why\": 7}")),
        ("an unknown field", ask("{\"colour\": \"red\"}")),
        ("an impossible user", ask("{\"user_id\": \"\"}")),
        ("an organisation of a person", ask("{\"org_id\": \"a\"}")),
        ("a start that the policy refuses", ask("{\"start\": \"at_once\"}")),
        ("too large a body", ask(&format!("{{\"why\": \"{}\"}}", "x".repeat(17_000)))),
        (
            "a person signs in",
            call(Method::POST, "/v1/sessions").bearer_auth(&token).json(&json!({"user_id": "8"})),
        ),
        (
            "a service key for nobody",
            call(Method::POST, "/v1/exports").bearer_auth(&portal.key).json(&json!({})),
        ),
    ];
    let mut told = String::new();
    for (what, call) in calls {
        let answer = call.send().await.unwrap();
        assert_eq!(answer.headers()["x-request-id"], "call-1", "{what}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}");
        let challenge =
            answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let (status, body) = read(answer).await;
        assert_eq!(
            (&body["instance"], &body["reference"]),
            (&json!("urn:data-export:call:call-1"), &json!("call-1"))
        );
        assert_eq!(body["type"], format!("urn:data-export:problem:{}", body["code"].as_str().unwrap()));
        let pointer = body["errors"]
            .get(0)
            .map_or(String::new(), |error| format!(" [{}]", error["pointer"].as_str().unwrap()));
        told += &format!(
            "{what}: {} {}{pointer} {}\n",
            status.as_u16(),
            body["code"].as_str().unwrap(),
            body["detail"].as_str().unwrap()
        );
        told += &challenge.map(|challenge| format!("    {challenge}\n")).unwrap_or_default();
    }
    insta::assert_snapshot!(told, @r#"
no such route: 404 not_found There is nothing here, or you may not see it.
another method: 405 method_not_allowed This path has other methods: see /v1/openapi.json.
nobody: 401 unauthenticated You are not signed in. Open the page from the platform.
    Bearer realm="data-export"
a wrong scheme: 401 unauthenticated Send `Authorization: Bearer` with a service key or a token.
    Bearer realm="data-export"
a wrong key: 401 unauthenticated This service key is not known. Is it in EXPORT_PORTAL_KEY_FILE?
    Bearer realm="data-export", error="invalid_token", error_description="unknown key"
a wrong token: 401 unauthenticated The session has ended or was never there. Ask the platform for a new one.
    Bearer realm="data-export", error="invalid_token", error_description="unknown or expired token"
no json: 415 unsupported_media_type Send the body as application/json.
half a body: 400 malformed The body is not JSON: EOF while parsing a value at line 1 column 7.
a wrong type: 422 invalid [/why] /why: invalid type: integer `7`, expected a string
an unknown field: 422 invalid [/colour] /colour: unknown field `colour`, expected one of `user_id`, `org_id`, `start`, `why`, `entities`, `since`, `until`, `filters`, `formats`
an impossible user: 422 invalid [/user_id] /user_id: the id of a user has 1 to 255 bytes and no control characters
an organisation of a person: 422 invalid [/org_id] /org_id: The organisation comes from the session or the token: leave it out.
a start that the policy refuses: 422 invalid [/start] /start: The policy decides when exports are made: leave it out.
too large a body: 413 too_large The body has more than 16384 bytes.
a person signs in: 403 not_allowed Only a backend of the platform, with a service key, signs people in.
a service key for nobody: 422 invalid [/user_id] /user_id: Name the person: a service key asks for others.
"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refused_by_the_field_that_is_wrong() {
    let portal = Portal::new().await;
    let mut told = BTreeMap::new();
    for body in [
        json!({}),
        json!({"user_id": "7", "roles": ["king"]}),
        json!({"user_id": "7", "roles": ["admin"]}),
        json!({"user_id": "7", "members": ["8"]}),
        json!({"user_id": "7", "org_id": ""}),
        json!({"user_id": "7", "return_url": "javascript:alert(1)"}),
        json!({"user_id": "7", "acting": "a\nb"}),
        json!({"user_id": 7}),
    ] {
        let (status, answer) =
            read(portal.post("/v1/sessions", &portal.key, &body).send().await.unwrap()).await;
        told.insert(
            body.to_string(),
            format!("{} {}", status.as_u16(), answer["detail"].as_str().unwrap_or_default()),
        );
    }
    insta::assert_debug_snapshot!(told, @r#"
{
    "{\"acting\":\"a\\nb\",\"user_id\":\"7\"}": "422 /acting: 1 to 255 bytes without control characters.",
    "{\"members\":[\"8\"],\"user_id\":\"7\"}": "422 /members: Only for an admin, who may ask for them.",
    "{\"org_id\":\"\",\"user_id\":\"7\"}": "422 /org_id: 1 to 255 bytes without control characters.",
    "{\"return_url\":\"javascript:alert(1)\",\"user_id\":\"7\"}": "422 /return_url: An address that begins with https:// or http://.",
    "{\"roles\":[\"admin\"],\"user_id\":\"7\"}": "422 /org_id: A manager or an admin is one of an organisation: name it.",
    "{\"roles\":[\"king\"],\"user_id\":\"7\"}": "422 /roles/0: unknown variant `king`, expected one of `manager`, `admin`, `operator`",
    "{\"user_id\":7}": "422 /user_id: invalid type: integer `7`, expected a string",
    "{}": "422 missing field `user_id`",
}
"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_are_told_to_try_again_and_nothing_is_lost() {
    let given = installation().await;
    let names = given.database.url(export_stack::servers::postgres::Role::Portal).await.unwrap();
    use secrecy::ExposeSecret as _;
    let (proxy, url): (Proxy, String) = proxied(names.expose_secret()).await;
    let portal = Portal::on(given, &[("EXPORT_PORTAL_DATABASE_URL", url.as_str())]).await;
    let token = portal.person("7").await;
    let id = portal.ask(&token).await;
    assert_eq!(portal.call(Method::GET, "/readyz").send().await.unwrap().status(), StatusCode::OK);
    proxy.set(Mode::Cut);
    let path = format!("/v1/exports/{id}");
    let refused = wait::until("the database to be away", SOON, || async {
        let answer = portal.get(&path, &token).send().await?;
        Ok((answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(answer))
    });
    let refused = refused.await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(code(refused).await, "503 unavailable");
    assert_eq!(
        portal.call(Method::GET, "/readyz").send().await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(portal.call(Method::GET, "/livez").send().await.unwrap().status(), StatusCode::OK);
    proxy.set(Mode::Pass);
    wait::until("the database to be back", SOON, || async {
        let (status, body): (_, Value) = read(portal.get(&path, &token).send().await?).await;
        Ok((status == StatusCode::OK && body["status"] == "pending").then_some(()))
    })
    .await
    .unwrap();
    let said = portal.process.output();
    assert!(said.contains("The database does not answer"), "{said}");
    assert!(!said.contains(&token) && !said.contains(&portal.key), "no credential is logged");
}

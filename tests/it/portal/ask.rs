//! To ask for an export over HTTP, to watch it, and to take it back.

use std::collections::BTreeMap;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::portal_of::{Portal, code, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_asks_sees_it_ready_and_takes_it_back() {
    let portal = Portal::new().await;
    let user = crate::support::installation_of::user_with_project(&portal.given.owner).await;
    let token = portal.person(user).await;
    let asked = portal.post("/v1/exports", &token, &json!({})).send().await.unwrap();
    let location = asked.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(asked.headers()["ratelimit-policy"], "\"exports\";q=1;w=86400");
    let (status, body) = read(asked).await;
    assert_eq!(
        (status, &body["status"], &body["may"]),
        (StatusCode::ACCEPTED, &json!("pending"), &json!(["withdraw"]))
    );
    assert!(body["expected_at"].as_str().unwrap().ends_with("T01:00:00Z"), "{body}");
    assert_eq!((&body["requested_as"], &body["archive"]), (&json!("owner"), &Value::Null));

    let id: Uuid = body["id"].as_str().unwrap().parse().unwrap();
    portal.fulfil(id).await;
    let shown = portal.get(&location, &token).send().await.unwrap();
    let etag = shown.headers()["etag"].clone();
    let (_, body) = read(shown).await;
    assert_eq!((&body["status"], &body["may"]), (&json!("ready"), &json!(["withdraw", "download"])));
    assert_eq!(
        (&body["archive"]["rows"]["projects"], body["archive"]["sha256"].as_str().unwrap().len()),
        (&json!(1), 64)
    );
    assert!(!body.to_string().contains("http"), "no link is in the answer: {body}");
    let again = portal.get(&location, &token).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);

    // What has changed since is not taken back.
    let withdraw = || portal.post(&format!("{location}/withdraw"), &token, &json!({}));
    let stale = withdraw().header("if-match", "\"other\"").send().await.unwrap();
    assert_eq!(code(stale).await, "412 precondition_failed");
    let taken = withdraw().header("if-match", etag).send().await.unwrap();
    assert_eq!(taken.status(), StatusCode::NO_CONTENT);
    let (_, body) = read(portal.get(&location, &token).send().await.unwrap()).await;
    assert_eq!(
        (&body["status"], &body["reason"], &body["poll_after"]),
        (&json!("failed"), &json!("withdrawn"), &Value::Null)
    );
    assert_eq!(withdraw().send().await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clicks_at_once_make_one_export() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let none = json!({});
    let answers = join_all((0..50).map(|_| async {
        let answer = portal.post("/v1/exports", &token, &none).send().await.unwrap();
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), location)
    }))
    .await;
    let mut counts = BTreeMap::<u16, usize>::new();
    answers.iter().for_each(|(status, _)| *counts.entry(*status).or_default() += 1);
    assert_eq!(counts, BTreeMap::from([(202, 1), (200, 49)]));
    assert!(answers.iter().all(|(_, location)| *location == answers[0].1));
    let rows: i64 = sqlx::query_scalar("select count(*) from public.data_export_requests")
        .fetch_one(&portal.given.owner)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_before_blocks_no_new_one_and_two_people_never_share_one() {
    let portal = Portal::new().await;
    sqlx::query("update public.data_export_policy set ask_every = interval '0'")
        .execute(&portal.given.owner)
        .await
        .unwrap();
    let (token, first) = portal.ready().await;
    let second = portal.ask(&token).await;
    assert_ne!(first, second);
    let other = portal.person("8").await;
    assert_ne!(portal.ask(&other).await, second);
    let (_, list) = read(portal.get("/v1/exports", &other).send().await.unwrap()).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_gets_the_first_answer_and_another_body_is_refused() {
    let portal = Portal::new().await;
    let ask = async |user: &str, key: &str| {
        let body = json!({"user_id": user, "org_id": "a"});
        portal.post("/v1/exports", &portal.key, &body).header("idempotency-key", key).send().await.unwrap()
    };
    let first = ask("7", "k1").await;
    let location = first.headers()["location"].clone();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let again = ask("7", "k1").await;
    assert_eq!((again.status(), &again.headers()["location"]), (StatusCode::ACCEPTED, &location));
    assert_eq!(ask("7", "k2").await.status(), StatusCode::OK, "another key finds the pending one");
    assert_eq!(code(ask("8", "k1").await).await, "422 key_reused");
    assert_eq!(code(ask("8", &"k".repeat(256)).await).await, "400 malformed");
    let (_, body) = read(portal.get(location.to_str().unwrap(), &portal.key).send().await.unwrap()).await;
    assert_eq!((&body["org_id"], &body["requested_as"]), (&json!("a"), &json!("service")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_says_when_to_ask_again() {
    let portal = Portal::new().await;
    sqlx::query("update public.data_export_policy set pending_per_org = 1")
        .execute(&portal.given.owner)
        .await
        .unwrap();
    let token = portal.session(&json!({"user_id": "7", "org_id": "a"})).await;
    let id = portal.ask(&token).await;
    let other = portal.session(&json!({"user_id": "8", "org_id": "a"})).await;
    let full = portal.post("/v1/exports", &other, &json!({})).send().await.unwrap();
    let seconds = |answer: &reqwest::Response| {
        answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap()
    };
    assert!(seconds(&full) <= 86_400);
    assert_eq!(code(full).await, "429 organisation_full");
    portal.withdraw(id, &token).send().await.unwrap();
    let soon = portal.post("/v1/exports", &token, &json!({})).send().await.unwrap();
    assert!((86_300..=86_400).contains(&seconds(&soon)));
    assert_eq!(code(soon).await, "429 too_soon");
    // 121 calls within a moment.
    let calls = join_all((0..160).map(|_| portal.get("/v1/policy", &other).send())).await;
    let slow: Vec<_> =
        calls.into_iter().map(Result::unwrap).filter(|answer| answer.status() == 429).collect();
    assert!(!slow.is_empty() && slow.iter().all(|answer| seconds(answer) == 1));
    assert_eq!(
        portal.get("/v1/policy", &token).send().await.unwrap().status(),
        StatusCode::OK,
        "others go on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_export_is_asked_for_again_and_only_a_failed_one() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let id = portal.ask(&token).await;
    let retry = format!("/v1/exports/{id}/retry");
    assert_eq!(code(portal.post(&retry, &token, &json!({})).send().await.unwrap()).await, "409 not_failed");
    portal.edit(id, "status = 'failed', failure_reason = 'attempts_exhausted', pseudonym_salt = null").await;
    let (_, body) = read(portal.get(&format!("/v1/exports/{id}"), &token).send().await.unwrap()).await;
    assert_eq!(body["may"], json!(["retry"]));
    let (status, body) = read(portal.post(&retry, &token, &json!({})).send().await.unwrap()).await;
    assert_eq!((status, &body["retry_of"]), (StatusCode::ACCEPTED, &json!(id)));
    assert_eq!(portal.post(&retry, &token, &json!({})).send().await.unwrap().status(), StatusCode::OK);
    let other = portal.person("8").await;
    assert_eq!(code(portal.post(&retry, &other, &json!({})).send().await.unwrap()).await, "404 not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_expiry_changes_the_answer_without_a_write() {
    let portal = Portal::new().await;
    let (token, id) = portal.ready().await;
    let path = format!("/v1/exports/{id}");
    let before = portal.get(&path, &token).send().await.unwrap().headers()["etag"].clone();
    portal.edit(id, "expires_at = clock_timestamp() + interval '1 second'").await;
    let row = "select status from public.data_export_requests where id = $1";
    let ended = export_stack::wait::until("the expiry", std::time::Duration::from_secs(10), || async {
        let answer = portal.get(&path, &token).send().await?;
        let etag = answer.headers()["etag"].clone();
        let (_, body) = read(answer).await;
        Ok((body["status"] == "failed").then_some((etag, body)))
    });
    let (after, body) = ended.await.unwrap();
    assert_eq!(
        (&body["reason"], &body["archive"], &body["may"]),
        (&json!("expired"), &Value::Null, &json!(["retry"]))
    );
    assert_ne!(before, after);
    let status: String = sqlx::query_scalar(row).bind(id).fetch_one(&portal.given.owner).await.unwrap();
    assert_eq!(status, "ready", "no pass ran");
}

//! The receipt in the portal: who gets it, and that it is the one that the worker signed.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use export_activities::{receipt::SigningKey, requests::receipts};
use serde_json::{Value, json};

use crate::support::{
    installation_of::{self, installation},
    portal_of::{Portal, code, read},
};

/// A portal of an installation whose worker signs receipts.
async fn signing() -> Portal {
    let mut given = installation().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, SigningKey::generate().unwrap().0).unwrap();
    given.steps.settings.receipts = Some(Arc::new(SigningKey::load(&file).unwrap()));
    Box::pin(Portal::on(given, &[])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_may_see_an_export_get_its_receipt_also_after_its_end() {
    let portal = signing().await;
    let (token, id) = portal.ready().await;
    let path = format!("/v1/exports/{id}/receipt");
    let signed = receipts::read(&portal.given.steps.state, id).await.unwrap();
    let operator = portal.session(&json!({"user_id": "9", "roles": ["operator"]})).await;
    for caller in [&token, &operator, &portal.key] {
        let answer = portal.get(&path, caller).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "application/jose");
        assert_eq!(answer.text().await.unwrap(), signed);
    }
    let other = portal.person("8").await;
    assert_eq!(code(portal.get(&path, &other).send().await.unwrap()).await, "404 not_found");
    let may = async || -> Vec<Value> {
        let (_, shown) = read(portal.get(&format!("/v1/exports/{id}"), &token).send().await.unwrap()).await;
        shown["may"].as_array().unwrap().clone()
    };
    assert!(may().await.contains(&json!("receipt")));
    portal.edit(id, "expires_at = now() - interval '1 second'").await;
    assert!(may().await.contains(&json!("receipt")));
    assert_eq!(portal.get(&path, &token).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_says_of_which_part_it_is() {
    let portal = signing().await;
    let token = portal.person(installation_of::user(&portal.given.owner).await).await;
    let asked = portal.post("/v1/exports", &token, &json!({"entities": ["releases"]})).send().await.unwrap();
    let (_, body) = read(asked).await;
    let id = body["id"].as_str().unwrap().parse().unwrap();
    portal.fulfil(id).await;
    let signed = receipts::read(&portal.given.steps.state, id).await.unwrap();
    let stated = BASE64_URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
    let stated: Value = serde_json::from_slice(&stated).unwrap();
    assert_eq!(stated["scope"], json!({"entities": ["users", "projects", "releases"]}));
    let fuller = receipts::with_accesses(&portal.given.steps.state, id).await.unwrap();
    assert_eq!(serde_json::to_value(fuller.scope).unwrap(), stated["scope"]);
    let (_, whole) = portal.ready().await;
    let whole = receipts::with_accesses(&portal.given.steps.state, whole).await.unwrap();
    assert_eq!(whole.scope, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_none_and_nothing_offers_it() {
    let portal = Portal::new().await;
    let (token, id) = portal.ready().await;
    let answer = portal.get(&format!("/v1/exports/{id}/receipt"), &token).send().await.unwrap();
    assert_eq!(code(answer).await, "404 no_receipt");
    let (_, shown) = read(portal.get(&format!("/v1/exports/{id}"), &token).send().await.unwrap()).await;
    assert_eq!(shown["may"], json!(["withdraw", "download"]));
}

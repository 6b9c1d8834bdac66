//! The keys of the identity provider: fetched, kept while it is away, and changed by it without a restart.

use std::collections::BTreeMap;

use export_stack::{
    servers::{
        tls::{Authority, TlsProxy, acceptor},
        worker,
    },
    wait,
};
use futures::{StreamExt as _, stream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    issuer_of::{self, Issuer, Key, Mood},
    night_of::SOON,
    portal_of::{Portal, code, read},
};

async fn list(portal: &Portal, token: &str) -> String {
    code(portal.get("/v1/exports", token).send().await.unwrap()).await
}

/// Waits until a call with a token is answered so.
async fn until(portal: &Portal, token: &str, wanted: &str) {
    let look = || async { Ok((list(portal, token).await == wanted).then_some(())) };
    wait::until(wanted, SOON, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_works_without_a_restart_and_a_removed_one_no_longer() {
    let (old, new) = (Key::ed("old"), Key::ec("new"));
    let issuer = Issuer::new(&[&old]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let (by_old, by_new) = (issuer.token(&old, json!({})), issuer.token(&new, json!({})));
    assert_eq!(list(&portal, &by_old).await, "200");
    assert_eq!(list(&portal, &by_new).await, "401 unauthenticated");
    issuer.publish(&[&old, &new]);
    until(&portal, &by_new, "200").await;
    assert_eq!(list(&portal, &by_old).await, "200", "both work meanwhile");
    issuer.publish(&[&new]);
    // A call with an unknown key has the keys fetched again; otherwise that takes five minutes.
    let other = issuer.token(&Key::ed("other"), json!({}));
    wait::until("the old key to be forgotten", SOON, || async {
        assert_eq!(list(&portal, &other).await, "401 unauthenticated");
        Ok((list(&portal, &by_old).await == "401 unauthenticated").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(list(&portal, &by_new).await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_keys_is_no_flood_of_the_issuer() {
    let (key, new) = (Key::ed("ed"), Key::ed("new"));
    let issuer = Issuer::new(&[&key]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let token = issuer.token(&key, json!({}));
    assert_eq!(list(&portal, &token).await, "200");
    let begun = (issuer.asked(), std::time::Instant::now());
    let flood = (0..600).map(|number| {
        let token = issuer.token_with(&key, json!({"kid": format!("unknown-{number}")}), json!({}));
        portal.get("/v1/exports", &token).send()
    });
    let answers: Vec<_> = stream::iter(flood).buffer_unordered(50).collect().await;
    let refused = answers.iter().filter(|answer| answer.as_ref().unwrap().status() == 401).count();
    let slowed = answers.iter().filter(|answer| answer.as_ref().unwrap().status() == 429).count();
    assert!(refused + slowed == 600 && refused > 100, "{refused} and {slowed}");
    let most = 2 + begun.1.elapsed().as_secs() as usize / 5;
    let asked = issuer.asked() - begun.0;
    assert!(asked <= most, "asked {asked} times for {refused} unknown keys");
    assert_eq!(list(&portal, &token).await, "200", "the caller who was known is served meanwhile");
    // The flood does not keep a new key out.
    issuer.publish(&[&key, &new]);
    let by_new = issuer.token(&new, json!({}));
    until(&portal, &by_new, "200").await;
    assert!(issuer.asked() > begun.0, "only a fetch brings the new key");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_issuer_is_away_known_keys_work_and_unknown_ones_are_refused() {
    let (key, new) = (Key::ed("ed"), Key::ed("new"));
    let issuer = Issuer::new(&[&key]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let (token, by_new) = (issuer.token(&key, json!({})), issuer.token(&new, json!({})));
    assert_eq!(list(&portal, &token).await, "200");
    issuer.publish(&[&key, &new]);
    for mood in [Mood::Broken, Mood::Silent, Mood::Endless, Mood::Redirecting, Mood::Empty] {
        issuer.set(mood);
        let asked = issuer.asked();
        wait::until("the portal to ask again", SOON, || async {
            assert_eq!(list(&portal, &by_new).await, "401 unauthenticated", "{mood:?}");
            Ok((issuer.asked() > asked).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(list(&portal, &token).await, "200", "{mood:?}");
        assert_eq!(portal.call(Method::GET, "/readyz").send().await.unwrap().status(), StatusCode::OK);
    }
    issuer.set(Mood::Right);
    until(&portal, &by_new, "200").await;
    let said = portal.process.output();
    assert!(said.contains("cannot be fetched: it answers with status 500"), "{said}");
    assert!(
        said.matches("Fetched 1 usable keys").count() == 1 && said.contains("Fetched 2 usable keys"),
        "{said}"
    );
    assert!(!said.contains(&issuer.url), "an address is not logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_from_the_start_tokens_wait_and_readiness_says_so() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    issuer.set(Mood::Broken);
    let token = issuer.token(&key, json!({}));
    let mut settings = issuer.settings();
    let with_keys = Portal::with(&settings).await;
    settings.push(("EXPORT_PORTAL_KEY_FILE", ""));
    let alone = Portal::with(&settings).await;
    for portal in [&with_keys, &alone] {
        let away = portal.get("/v1/exports", &token).send().await.unwrap();
        assert_eq!(away.headers()["retry-after"], "5");
        assert_eq!(code(away).await, "503 unavailable");
    }
    let ready = async |portal: &Portal| {
        let answer = portal.call(Method::GET, "/readyz").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap().trim().to_owned())
    };
    let missing = "There are no keys of the identity provider yet";
    assert_eq!(ready(&alone).await, (503, missing.to_owned()));
    let sessions_work = (200, format!("The portal serves, without access tokens: {missing}"));
    assert_eq!(ready(&with_keys).await, sessions_work);
    let session = with_keys.person("7").await;
    assert_eq!(list(&with_keys, &session).await, "200");
    issuer.set(Mood::Right);
    for portal in [&with_keys, &alone] {
        until(portal, &token, "200").await;
        assert_eq!(ready(portal).await, (200, "The portal serves".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_the_keys_can_be_set_and_then_no_document_is_asked_for() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    issuer.set(Mood::Other);
    let keys = format!("{}/keys", issuer.url);
    let mut settings = issuer.settings();
    settings.push(("EXPORT_PORTAL_JWKS_URL", keys.as_str()));
    let portal = Portal::with(&settings).await;
    assert_eq!(list(&portal, &issuer.token(&key, json!({}))).await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_how_many_keys_can_be_used_or_why_none_can() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    issuer.publish_all(vec![key.public(), json!({"kty": "oct", "k": "c2VjcmV0"})]);
    let closed = { std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let mut told = String::new();
    for (mood, url) in [
        (Mood::Right, issuer.url.clone()),
        (Mood::Broken, issuer.url.clone()),
        (Mood::Redirecting, issuer.url.clone()),
        (Mood::Endless, issuer.url.clone()),
        (Mood::Silent, issuer.url.clone()),
        (Mood::Html, issuer.url.clone()),
        (Mood::Other, issuer.url.clone()),
        (Mood::Plain, issuer.url.clone()),
        (Mood::Empty, issuer.url.clone()),
        (Mood::Right, format!("{}/tenant", issuer.url)),
        (Mood::Right, format!("http://{closed}")),
    ] {
        issuer.set(mood);
        let what = if url == issuer.url {
            format!("{mood:?}")
        } else {
            url.replace(&issuer.url, "").replace(&closed.to_string(), "closed")
        };
        told += &format!("{what}: {}\n", doctor(&url, &[]).await);
    }
    insta::assert_snapshot!(told, @r#"
Right: ok 1 of its 2 keys can be used;
Broken: failed it answers with status 500; fix EXPORT_PORTAL_ISSUER, or set EXPORT_PORTAL_JWKS_URL to where the provider has its keys
Redirecting: failed it answers with status 302; fix EXPORT_PORTAL_ISSUER, or set EXPORT_PORTAL_JWKS_URL to where the provider has its keys
Endless: failed its answer has more than 256 KiB; fix EXPORT_PORTAL_ISSUER, or set EXPORT_PORTAL_JWKS_URL to where the provider has its keys
Silent: failed it does not answer within 5 s; check the network between, the certificate of the server, and the host in EXPORT_PORTAL_ISSUER or EXPORT_PORTAL_JWKS_URL
Html: failed its answer is no set of keys; fix EXPORT_PORTAL_ISSUER, or set EXPORT_PORTAL_JWKS_URL to where the provider has its keys
Other: failed its discovery document is of another issuer; set EXPORT_PORTAL_ISSUER to the `issuer` of that document, letter by letter
Plain: failed its discovery document leads to keys without TLS; set EXPORT_PORTAL_JWKS_URL to the address of the keys with https
Empty: failed none of its keys has an id and is for RS256, PS256, ES256 or EdDSA; let the provider sign access tokens with RS256, PS256, ES256 or EdDSA
/tenant: failed it answers with status 404; fix EXPORT_PORTAL_ISSUER, or set EXPORT_PORTAL_JWKS_URL to where the provider has its keys
http://closed: failed nothing answers there, or its certificate is not trusted; check the network between, the certificate of the server, and the host in EXPORT_PORTAL_ISSUER or EXPORT_PORTAL_JWKS_URL
"#);
    let none = worker::output(&BTreeMap::new(), &["--output", "json", "doctor"]).await.unwrap();
    assert!(!String::from_utf8(none.stdout).unwrap().contains("identity provider"), "it is optional");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_over_tls_are_taken_from_a_server_whose_certificate_is_trusted_and_no_other() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("another").unwrap());
    let server = issuer.url.strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = TlsProxy::start(server, acceptor(&ours.sign().unwrap(), None).unwrap()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys = format!("https://{}/keys", proxy.address());
    for (name, authority, found) in [
        ("ours", &ours, "ok 1 of its 1 keys"),
        ("other", &other, "failed nothing answers there, or its certificate"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, authority.pem()).unwrap();
        let set = [("EXPORT_PORTAL_JWKS_URL", keys.as_str()), ("SSL_CERT_FILE", file.to_str().unwrap())];
        let line = doctor("https://login.test", &set).await;
        assert!(line.starts_with(found), "{name}: {line}");
    }
}

async fn doctor(issuer: &str, more: &[(&str, &str)]) -> String {
    let set = issuer_of::settings(issuer).into_iter().chain(more.iter().copied());
    let set: BTreeMap<_, _> = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let output = worker::output(&set, &["--output", "json", "doctor"]).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = report.as_array().or_else(|| report["checks"].as_array()).unwrap();
    let line = lines.iter().find(|line| line["check"] == "identity provider").unwrap();
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    format!("{} {}; {}", text("state"), text("found"), text("remedy")).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_works_beside_the_issuer_and_a_wrong_one_is_still_a_session() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let session = portal.person("7").await;
    assert_eq!(list(&portal, &session).await, "200");
    let (_, body) = read(portal.get("/v1/exports", "x").send().await.unwrap()).await;
    assert!(body["detail"].as_str().unwrap().starts_with("The session has ended"), "{body}");
}

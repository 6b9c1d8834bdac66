//! Access tokens of an identity provider: which are taken, and why each other one is refused.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use export_stack::{tools, wait};
use futures::{FutureExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    issuer_of::{self, Issuer, Key, encode, sign},
    night_of::SOON,
    portal_of::{Portal, code, flood, read},
    provider_of::Provider,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_real_provider_alone_says_who_calls_in_every_algorithm() {
    let provider = Provider::new().await;
    let mut settings = issuer_of::settings(&provider.issuer).to_vec();
    settings.extend([("EXPORT_PORTAL_KEY_FILE", ""), ("EXPORT_PORTAL_ROLES", "boss=admin,acting=admin")]);
    let portal = Portal::with(&settings).await;
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let tokens = provider.sign_in(algorithm, algorithm).await;
        // The subject is the client's id here, too, as of a program.
        assert_eq!(refused(&portal, &tokens.access).await, "it belongs to a program, not to a person");
        let tokens = provider.sign_in(algorithm, &format!("person {algorithm}")).await;
        let id = portal.ask(&tokens.access).await;
        let path = format!("/v1/exports/{id}");
        let (status, body) = read(portal.get(&path, &tokens.access).send().await.unwrap()).await;
        assert_eq!((status, &body["org_id"]), (StatusCode::OK, &json!("a")), "{algorithm}");
        let boss = provider.sign_in(algorithm, "boss").await.access;
        assert_eq!(portal.get(&path, &boss).send().await.unwrap().status(), StatusCode::OK);
        let other = provider.sign_in(algorithm, "admin").await.access;
        assert_eq!(
            code(portal.get(&path, &other).send().await.unwrap()).await,
            "404 not_found",
            "not mapped"
        );
        assert_eq!(refused(&portal, &tokens.id).await, "its type is not at+jwt", "an ID token");
        let program = provider.program(algorithm).await;
        assert_eq!(refused(&portal, &program).await, "it belongs to a program, not to a person");
    }
    let acting = provider.sign_in("ES256", "acting").await.access;
    assert_eq!(portal.get("/v1/exports", &acting).send().await.unwrap().status(), StatusCode::OK);
    let ask = portal.post("/v1/exports", &acting, &json!({}));
    assert_eq!(code(ask.send().await.unwrap()).await, "403 impersonated");
    // There are neither sessions nor service keys.
    let person = provider.sign_in("ES256", "7").await.access;
    let sign_in = portal.post("/v1/sessions", &person, &json!({"user_id": "8"}));
    assert_eq!(code(sign_in.send().await.unwrap()).await, "403 not_allowed");
    let sign_in = portal.post("/v1/sessions", &portal.key, &json!({"user_id": "8"}));
    assert_eq!(code(sign_in.send().await.unwrap()).await, "401 unauthenticated");
    let ended = portal.delete("/v1/sessions/current", &person).send().await.unwrap();
    assert_eq!(code(ended).await, "403 not_allowed");
    assert_eq!(portal.call(Method::GET, "/readyz").send().await.unwrap().status(), StatusCode::OK);
}

/// Returns why a token was refused. The challenge and the problem have the same reason.
async fn refused(portal: &Portal, token: &str) -> String {
    let answer = portal.get("/v1/exports", token).send().await.unwrap();
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let (status, body) = read(answer).await;
    let Some(challenge) = challenge else { return format!("{} {}", status.as_u16(), body["code"]) };
    let prefix = "Bearer realm=\"data-export\", error=\"invalid_token\", error_description=\"";
    let why = challenge.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('"'));
    let why = why.unwrap_or_else(|| panic!("{challenge}")).to_owned();
    assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")), "{why}");
    assert!(body["detail"].as_str().unwrap().contains(&why), "{body}");
    why
}

/// Changes one part of a token, and signs nothing again.
fn forged(token: &str, part: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    let mut value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()).unwrap();
    change(&mut value);
    parts[part] = encode(value.to_string());
    parts.join(".")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_token_is_refused_with_its_reason_and_the_same_one_put_right_is_taken() {
    let (rsa, ec, ed) = (Key::rsa("rsa"), Key::ec("ec"), Key::ed("ed"));
    let (thief, same_id) = (Key::ed("thief"), Key::ed("ed"));
    let issuer = Issuer::new(&[&rsa, &ec, &ed]).await;
    let mut for_ps256 = rsa.public();
    for_ps256["kid"] = json!("ps");
    for_ps256["alg"] = json!("PS256");
    issuer.publish_all(vec![rsa.public(), ec.public(), ed.public(), for_ps256]);
    let portal = Portal::with(&issuer.settings()).await;
    let now = chrono::Utc::now().timestamp();
    let good = issuer.token(&ed, json!({}));
    let header = |key, header| issuer.token_with(key, header, json!({}));
    let claims = |claims| issuer.token(&ed, claims);
    let mut unsigned = header(&ed, json!({"alg": "none"}));
    unsigned.truncate(unsigned.rfind('.').unwrap() + 1);
    let twice = format!("{{\"iss\": \"{0}\", \"iss\": \"https://other.test\"}}", issuer.url);
    let taken = [
        ("EdDSA", good.clone()),
        ("ES256", issuer.token(&ec, json!({}))),
        ("RS256", issuer.token(&rsa, json!({}))),
        ("PS256", header(&rsa, json!({"alg": "PS256"}))),
        ("PS256 by a key for it", header(&rsa, json!({"alg": "PS256", "kid": "ps"}))),
        ("the long type", header(&ed, json!({"typ": "application/AT+JWT"}))),
        ("one of several audiences", claims(json!({"aud": ["x", issuer_of::AUDIENCE]}))),
        ("within the leeway", claims(json!({"exp": now - 15, "nbf": now + 15}))),
        ("half a second", claims(json!({"exp": now as f64 + 600.5}))),
        (
            "no jku is followed",
            header(&ed, json!({"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"})),
        ),
        ("a number as organisation", claims(json!({"org_id": 42}))),
    ];
    for (what, token) in taken {
        let answer = portal.get("/v1/exports", &token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{what}: {}", refused(&portal, &token).await);
    }
    let hostile = [
        ("no algorithm", unsigned),
        ("no algorithm, signed", header(&ed, json!({"alg": "none"}))),
        ("HS256 with the public key", header(&rsa, json!({"alg": "HS256"}))),
        ("RS512", header(&rsa, json!({"alg": "RS512"}))),
        ("not at all a token", "a.b.c".to_owned()),
        ("five parts, as of an encrypted one", format!("{good}.x.y")),
        ("an ID token", header(&ed, json!({"typ": "JWT"}))),
        ("without a type", header(&ed, json!({"typ": null}))),
        ("a critical header", header(&ed, json!({"crit": ["exp"]}))),
        ("an extension that changes what is signed", header(&ed, json!({"crit": ["b64"], "b64": false}))),
        ("without a key id", header(&ed, json!({"kid": null}))),
        ("an unknown key", issuer.token(&thief, json!({}))),
        ("an unknown key in the header", header(&thief, json!({"jwk": thief.public()}))),
        ("another key in the header", header(&same_id, json!({"jwk": same_id.public()}))),
        ("another key at an address", header(&same_id, json!({"jku": format!("{}/elsewhere", issuer.url)}))),
        ("another key of the same id", issuer.token(&same_id, json!({}))),
        ("an RSA key for ES256", header(&rsa, json!({"alg": "ES256"}))),
        ("an Ed25519 key for RS256", header(&ed, json!({"alg": "RS256"}))),
        ("a key for PS256 for RS256", header(&rsa, json!({"kid": "ps"}))),
        ("RS256 that says PS256", forged(&header(&rsa, json!({})), 0, |head| head["alg"] = json!("PS256"))),
        ("another person", forged(&good, 1, |claims| claims["sub"] = json!("8"))),
        ("without its signature", good[..=good.rfind('.').unwrap()].to_owned()),
        ("two issuers", sign(&ed, &json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "ed"}), &twice)),
        ("without iss", claims(json!({"iss": null}))),
        ("another issuer", claims(json!({"iss": "https://other.test"}))),
        ("an issuer with a slash", claims(json!({"iss": format!("{}/", issuer.url)}))),
        ("a list of issuers", claims(json!({"iss": [issuer.url]}))),
        ("without aud", claims(json!({"aud": null}))),
        ("for another", claims(json!({"aud": "app"}))),
        ("for others", claims(json!({"aud": ["app", "https://exports.test/"]}))),
        ("without exp", claims(json!({"exp": null}))),
        ("a text as exp", claims(json!({"exp": "2999-01-01"}))),
        ("expired", claims(json!({"exp": now - 60}))),
        ("not yet", claims(json!({"nbf": now + 120}))),
        ("a text as nbf", claims(json!({"nbf": "now"}))),
        ("without sub", claims(json!({"sub": null}))),
        ("a number as sub", claims(json!({"sub": 7}))),
        ("of a program", claims(json!({"sub": "app"}))),
        ("an id with a line break", claims(json!({"sub": "7\n8"}))),
        ("a list of organisations", claims(json!({"org_id": ["a", "b"]}))),
        ("roles that are no texts", claims(json!({"roles": [{"name": "admin"}]}))),
        ("too many members", claims(json!({"members": vec!["8"; 51]}))),
        ("acted for by no actor", claims(json!({"act": {}}))),
        ("too long", claims(json!({"x": "x".repeat(8000)}))),
    ];
    let mut told = String::new();
    for (what, token) in &hostile {
        told += &format!("{what}: {}\n", refused(&portal, token).await);
    }
    insta::assert_snapshot!(told, @"
no algorithm: it is no JWT that is signed with RS256, PS256, ES256 or EdDSA
no algorithm, signed: it is no JWT that is signed with RS256, PS256, ES256 or EdDSA
HS256 with the public key: it is no JWT that is signed with RS256, PS256, ES256 or EdDSA
RS512: it is no JWT that is signed with RS256, PS256, ES256 or EdDSA
not at all a token: it is no JWT that is signed with RS256, PS256, ES256 or EdDSA
five parts, as of an encrypted one: it is no JWT that is signed with RS256, PS256, ES256 or EdDSA
an ID token: its type is not at+jwt
without a type: its type is not at+jwt
a critical header: it has critical headers
an extension that changes what is signed: it has critical headers
without a key id: it names no key
an unknown key: it is signed with an unknown key
an unknown key in the header: it is signed with an unknown key
another key in the header: its signature is wrong
another key at an address: its signature is wrong
another key of the same id: its signature is wrong
an RSA key for ES256: its key is for another algorithm
an Ed25519 key for RS256: its key is for another algorithm
a key for PS256 for RS256: its key is for another algorithm
RS256 that says PS256: its signature is wrong
another person: its signature is wrong
without its signature: its signature is wrong
two issuers: its claims cannot be read
without iss: it has no iss
another issuer: it is from another issuer
an issuer with a slash: it is from another issuer
a list of issuers: it is from another issuer
without aud: it has no aud
for another: it is for another audience
for others: it is for another audience
without exp: it has no exp that is a number
a text as exp: it has no exp that is a number
expired: it has expired
not yet: it is not valid yet
a text as nbf: its claims cannot be read
without sub: it has no sub that is a text
a number as sub: it has no sub that is a text
of a program: it belongs to a program, not to a person
an id with a line break: the claim of the user id is not an id
a list of organisations: the claim of the organisation is not an id
roles that are no texts: the claim of the roles is not a list of texts
too many members: the claim of the members is not a list of at most 50 ids
acted for by no actor: its act names no actor
too long: the token has more than 8192 bytes
");
    // The document has each reason, and the log none of the tokens.
    let document = std::fs::read_to_string(tools::root().join("docs/PORTAL.md")).unwrap();
    for line in told.lines() {
        let (what, why) = line.split_once(": ").unwrap();
        assert!(document.contains(&format!("| {why} |")), "docs/PORTAL.md does not have `{why}` ({what})");
    }
    let said = portal.process.output();
    let parts = hostile.iter().flat_map(|(_, token)| token.split('.')).filter(|part| part.len() > 20);
    assert_eq!(parts.filter(|part| said.contains(*part)).count(), 0, "{said}");
    assert_eq!(portal.get("/v1/exports", &good).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token_and_no_sooner() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let ends = chrono::Utc::now().timestamp() + 3;
    let (short, long) = (issuer.token(&key, json!({"exp": ends})), issuer.token(&key, json!({})));
    let path = format!("/v1/exports/{}/events", portal.ask(&long).await);
    let open = async |token: &str| portal.get(&path, token).send().await.unwrap();
    let mut going_on = open(&long).await.bytes_stream();
    let ended = wait::within("the end of the token", SOON, open(&short).await.text()).await.unwrap().unwrap();
    assert!(ended.contains("come back"), "{ended}");
    assert!(chrono::Utc::now().timestamp() >= ends, "it ended too soon");
    // The first event is there; nothing after it, and no end.
    let first = going_on.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: export"), "{first:?}");
    assert!(going_on.next().now_or_never().is_none(), "the other stream ended, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_limited_as_sessions_are_and_need_no_proof_of_origin() {
    let key = Key::ed("ed");
    let issuer = Issuer::new(&[&key]).await;
    let portal = Portal::with(&issuer.settings()).await;
    let token = issuer.token(&key, json!({}));
    let ask = portal.post("/v1/exports", &token, &json!({})).header("origin", "https://evil.test");
    assert_eq!(code(ask.send().await.unwrap()).await, "202");
    // Two tokens of a person have one limit.
    let tokens = [token, issuer.token(&key, json!({"jti": "2"}))];
    flood((0..300).map(|number| portal.get("/v1/policy", &tokens[number % 2])).collect(), 200).await;
    let other = issuer.token(&key, json!({"sub": "8"}));
    assert_eq!(portal.get("/v1/policy", &other).send().await.unwrap().status(), StatusCode::OK);
}

//! Sessions: a code that works once, a cookie that only our own page may use, tokens that end.

use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::portal_of::{PUBLIC, Portal, code, flood, read};

async fn cookie_of(portal: &Portal, user: &str) -> String {
    let body = json!({"user_id": user});
    let (_, made) = read(portal.post("/v1/sessions", &portal.key, &body).send().await.unwrap()).await;
    let url = made["url"].as_str().unwrap();
    let path = url.strip_prefix(PUBLIC).unwrap_or_else(|| panic!("{url}"));
    // A scanner that only looks does not use it up.
    assert_eq!(
        portal.call(Method::HEAD, path).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    let answer = portal.call(Method::GET, path).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, &"/")
    );
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["__Host-export=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Max-Age=28800"]
    {
        assert!(cookie.contains(part), "{cookie}");
    }
    // The address was a secret of one minute; a second visit finds nothing.
    assert_eq!(code(portal.call(Method::GET, path).send().await.unwrap()).await, "401 unauthenticated");
    // A browser is led to the page, which shows a session that is there, or how to get one.
    let again = portal.call(Method::GET, path).header("accept", "text/html,*/*;q=0.8").send().await.unwrap();
    assert_eq!(
        (again.status(), &again.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    assert!(again.headers().get("set-cookie").is_none());
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_works_once_and_its_cookie_only_from_our_own_page() {
    let portal = Portal::new().await;
    let cookie = cookie_of(&portal, "7").await;
    let call =
        |method: Method, path: &str| portal.call(method, path).header("cookie", format!("a=b; {cookie}"));
    assert_eq!(call(Method::GET, "/v1/exports").send().await.unwrap().status(), StatusCode::OK);
    for (header, value, answer) in [
        ("origin", "https://evil.test", "403 cross_origin"),
        ("sec-fetch-site", "cross-site", "403 cross_origin"),
        ("sec-fetch-site", "same-site", "403 cross_origin"),
        ("x-none", "", "403 cross_origin"),
        ("origin", PUBLIC, "202"),
        ("sec-fetch-site", "same-origin", "200"),
    ] {
        let asked = call(Method::POST, "/v1/exports").header(header, value).send().await.unwrap();
        assert_eq!(code(asked).await, answer, "{header}: {value}");
    }
    let ended = call(Method::DELETE, "/v1/sessions/current").header("origin", PUBLIC).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert!(ended.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(code(call(Method::GET, "/v1/exports").send().await.unwrap()).await, "401 unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_says_who_is_signed_in_and_what_an_archive_holds() {
    let portal = Portal::new().await;
    let acting = json!({"user_id": "7", "acting": "ada"});
    for (token, user, acts) in [
        (portal.person("7").await, json!("7"), false),
        (portal.session(&acting).await, json!("7"), true),
        (portal.key.clone(), json!(null), false),
    ] {
        let (status, policy) = read(portal.get("/v1/policy", &token).send().await.unwrap()).await;
        assert_eq!((status, &policy["user_id"], &policy["acting"]), (StatusCode::OK, &user, &json!(acts)));
        let names: Vec<_> = policy["entities"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["users", "projects", "features", "pipeline_runs", "releases"]);
        assert_eq!(policy["entities"][0]["about"], "Your account.");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_by_themselves_and_only_their_digests_are_stored() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let cookie = cookie_of(&portal, "8").await;
    let stored: Vec<String> = sqlx::query_scalar("select s::text from public.data_export_sessions s")
        .fetch_all(&portal.given.owner)
        .await
        .unwrap();
    let secret = cookie.split_once('=').unwrap().1;
    assert!(stored.iter().all(|row| !row.contains(&token) && !row.contains(secret)), "{stored:?}");
    let set = async |change: &str| {
        let sql = format!("update public.data_export_sessions set {change}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&portal.given.owner).await.unwrap();
    };
    let by_cookie = || portal.call(Method::GET, "/v1/exports").header("cookie", &cookie).send();
    // A cookie ends when it rests; each use renews it.
    set("used_at = now() - interval '29 minutes'").await;
    assert_eq!(by_cookie().await.unwrap().status(), StatusCode::OK);
    set("used_at = used_at - interval '29 minutes'").await;
    assert_eq!(by_cookie().await.unwrap().status(), StatusCode::OK, "the use before renewed it");
    set("used_at = now() - interval '31 minutes'").await;
    assert_eq!(code(by_cookie().await.unwrap()).await, "401 unauthenticated");
    assert_eq!(portal.get("/v1/exports", &token).send().await.unwrap().status(), StatusCode::OK);
    set("expires_at = now() - interval '1 second'").await;
    assert_eq!(code(portal.get("/v1/exports", &token).send().await.unwrap()).await, "401 unauthenticated");
    // A cookie is no token, and a token no cookie.
    let token = portal.person("9").await;
    let crossed = portal.call(Method::GET, "/v1/exports").header("cookie", format!("__Host-export={token}"));
    assert_eq!(code(crossed.send().await.unwrap()).await, "401 unauthenticated");
    let left: i64 = sqlx::query_scalar("select count(*) from public.data_export_sessions")
        .fetch_one(&portal.given.owner)
        .await
        .unwrap();
    assert_eq!(left, 2, "the new session removed the ended ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_named_origins_may_call_with_a_token_and_no_others() {
    let portal = Portal::with(&[("EXPORT_PORTAL_ORIGINS", "https://app.test")]).await;
    let ask = async |origin: &str| {
        let call = portal.call(Method::OPTIONS, "/v1/exports").header("origin", origin);
        let call = call
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,idempotency-key");
        call.send().await.unwrap()
    };
    let allowed = ask("https://app.test").await;
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.test");
    assert!(
        allowed.headers().get("access-control-allow-credentials").is_none(),
        "the cookie is for our own page alone"
    );
    assert!(ask("https://evil.test").await.headers().get("access-control-allow-origin").is_none());
    let token = portal.person("7").await;
    let answer = portal.get("/v1/exports", &token).header("origin", "https://app.test").send().await.unwrap();
    assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
    assert!(answer.headers()["vary"].to_str().unwrap().contains("origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_ends_all_sessions_of_a_person_and_leads_them_back() {
    let portal = Portal::new().await;
    let (token, other) = (portal.person("7").await, portal.person("8").await);
    assert_eq!(
        code(portal.delete("/v1/sessions?user_id=7", &other).send().await.unwrap()).await,
        "403 not_allowed"
    );
    let ended = portal.delete("/v1/sessions?user_id=7", &portal.key).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert_eq!(code(portal.get("/v1/exports", &token).send().await.unwrap()).await, "401 unauthenticated");
    assert_eq!(portal.get("/v1/exports", &other).send().await.unwrap().status(), StatusCode::OK);
    let body = json!({"user_id": "7", "return_url": "https://app.test/account"});
    let (_, made) = read(portal.post("/v1/sessions", &portal.key, &body).send().await.unwrap()).await;
    let path = made["url"].as_str().unwrap().strip_prefix(PUBLIC).unwrap().to_owned();
    let led = portal.call(Method::GET, &path).send().await.unwrap();
    assert_eq!(led.headers()["location"], "https://app.test/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_callers_slows_down_no_caller_who_was_here_before() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    assert_eq!(portal.get("/v1/exports", &token).send().await.unwrap().status(), StatusCode::OK);
    // Unknown callers share ten buckets, by the digest of what they send. These share one.
    let unknown = (0..).map(|number| format!("unknown-{number}"));
    let unknown: Vec<_> = unknown.filter(|sent| Sha256::digest(sent)[0] % 10 == 0).take(300).collect();
    let by_token = unknown.iter().map(|token| portal.get("/v1/exports", token));
    let by_code = unknown.iter().map(|code| portal.call(Method::GET, &format!("/s/{code}")));
    for calls in [by_token.collect::<Vec<_>>(), by_code.collect()] {
        flood(calls, 401).await;
    }
    assert_eq!(portal.get("/v1/exports", &token).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_slowed_down_costs_the_database_nothing() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    assert_eq!(portal.get("/v1/exports", &token).send().await.unwrap().status(), StatusCode::OK);
    // A call that comes to the query is a 503 from now on.
    let revoke = "revoke select on public.data_export_sessions from export_portal";
    sqlx::query(revoke).execute(&portal.given.owner).await.unwrap();
    flood((0..300).map(|_| portal.get("/v1/exports", &token)).collect(), 503).await;
}

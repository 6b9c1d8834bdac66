//! The register: which requests are open, answered or closed, how long the law still allows, and who may read it.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate, Utc};
use export_activities::{
    requests::{census, operate},
    scope::Scope,
    serialise::formats::Formats,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    portal_of::{Portal, code},
};

/// Makes a request of a day that has passed.
async fn insert(portal: &Portal, user: &str, org: Option<&str>, day: NaiveDate) -> Uuid {
    sqlx::query_scalar(
        "insert into public.data_export_requests (user_id, org_id, requested_at)
         values ($1, $2, $3::date + interval '23 hours 30 minutes') returning id",
    )
    .bind(user)
    .bind(org)
    .bind(day)
    .fetch_one(&portal.given.owner)
    .await
    .unwrap()
}

async fn fail(portal: &Portal, id: Uuid, reason: &str) {
    portal.edit(id, &format!("status = 'failed', failure_reason = '{reason}', pseudonym_salt = null")).await;
}

/// Reads the register: the lines as they are named by their columns.
async fn register(portal: &Portal, query: &str, token: &str) -> Vec<BTreeMap<String, String>> {
    let answer = portal.get(&format!("/v1/register.csv{query}"), token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let text = answer.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    reader.deserialize().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_open_until_it_is_answered_or_closed() {
    let portal = Portal::new().await;
    let today = Utc::now().date_naive();
    let day = |ago| today.checked_sub_days(Days::new(ago)).unwrap();
    let user = given::user(&portal.given.owner).await.to_string();
    let waits = insert(&portal, "7", Some("=1+1"), NaiveDate::from_ymd_opt(2026, 1, 31).unwrap()).await;
    let ours = insert(&portal, "8", None, day(12)).await;
    let taken_back = insert(&portal, "9", None, day(10)).await;
    let followed = insert(&portal, &user, None, day(6)).await;
    let fresh = insert(&portal, "10", None, today).await;
    let refused = insert(&portal, "11", None, day(3)).await;
    fail(&portal, ours, "unreadable_value").await;
    fail(&portal, taken_back, "withdrawn").await;
    fail(&portal, followed, "attempts_exhausted").await;
    fail(&portal, refused, "scope_refused").await;
    let operator = portal.session(&json!({"user_id": "1", "roles": ["operator"]})).await;
    let state = async |id: Uuid| {
        let lines = register(&portal, "", &operator).await;
        let line = lines.into_iter().find(|line| line["request"] == id.to_string()).unwrap();
        (line["state"].clone(), line)
    };
    // The control: before there is an archive, it has no answer.
    assert_eq!(state(followed).await.0, "open");
    let token = portal.person(&user).await;
    let later = portal.ask(&token).await;
    portal.fulfil(later).await;
    assert_eq!(
        code(portal.get(&format!("/v1/exports/{later}/download"), &token).send().await.unwrap()).await,
        "302"
    );

    let (open, line) = state(waits).await;
    assert_eq!(
        (open.as_str(), line["due_on"].as_str()),
        ("open", "2026-02-28"),
        "the 31st of February is no day"
    );
    let over = (NaiveDate::from_ymd_opt(2026, 2, 28).unwrap() - today).num_days();
    assert_eq!(line["days_left"], over.to_string());
    assert_eq!(line["org_id"], "'=1+1", "no spreadsheet runs it");
    assert_eq!(line["requested_at"], "2026-01-31T23:30:00Z");
    let (open, line) = state(ours).await;
    assert_eq!((open.as_str(), line["reason"].as_str()), ("open", "unreadable_value"));
    let (closed, line) = state(taken_back).await;
    assert_eq!(
        (closed.as_str(), line["days_left"].as_str(), line["answered_at"].as_str()),
        ("closed", "", "")
    );
    let (answered, line) = state(followed).await;
    assert_eq!(
        (answered.as_str(), line["days_taken"].as_str(), line["days_left"].as_str()),
        ("answered", "6", "")
    );
    assert_eq!(line["downloaded_at"], "", "that was the other one");
    let (answered, line) = state(later).await;
    assert_eq!((answered.as_str(), line["days_taken"].as_str()), ("answered", "0"));
    assert!(!line["downloaded_at"].is_empty() && line["deleted_at"].is_empty(), "{line:?}");
    assert_eq!(state(fresh).await.0, "open");
    assert_eq!(state(refused).await.0, "open");

    let ids = async |query: &str| -> Vec<String> {
        register(&portal, query, &portal.key).await.into_iter().map(|line| line["request"].clone()).collect()
    };
    assert_eq!(ids("").await.len(), 7);
    let (from, to) = (day(12), day(10));
    assert_eq!(ids(&format!("?from={from}&to={to}")).await, [ours, taken_back].map(|id| id.to_string()));
    assert_eq!(ids("?to=2026-01-30").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_answers_no_request_for_the_whole_but_one_for_the_same_part() {
    let portal = Portal::new().await;
    let state = &portal.given.steps.state;
    let user = given::user_with_project(&portal.given.owner).await;
    let part = |name: &str| Scope { entities: Some(vec![name.to_owned()]), ..Scope::default() };
    let request =
        async |scope: &Scope| operate::create(state, &user.into(), scope, &Formats::default()).await.unwrap();
    let mut failed = Vec::new();
    for scope in [&Scope::default(), &part("releases"), &part("features")] {
        let id = request(scope).await;
        fail(&portal, id, "attempts_exhausted").await;
        failed.push(id.to_string());
    }
    let states = async || -> Vec<String> {
        let lines = register(&portal, "", &portal.key).await;
        let state = |id: &String| lines.iter().find(|line| line["request"] == *id).unwrap()["state"].clone();
        failed.iter().map(state).collect()
    };
    let unanswered = async || {
        let mut state = portal.given.steps.state.acquire().await.unwrap();
        census::queue(&mut state).await.unwrap().oldest_unanswered.is_some()
    };
    assert_eq!((states().await, unanswered().await), (vec!["open".to_owned(); 3], true));
    portal.fulfil(request(&part("releases")).await).await;
    assert_eq!(
        (states().await, unanswered().await),
        (["open", "answered", "open"].map(str::to_owned).to_vec(), true)
    );
    portal.fulfil(request(&Scope::default()).await).await;
    assert_eq!((states().await, unanswered().await), (vec!["answered".to_owned(); 3], false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_register_has_each_request_once() {
    let portal = Portal::new().await;
    sqlx::query(
        "insert into public.data_export_requests (user_id, requested_at)
         select n::text, now() - interval '1 day' * (n % 3) from generate_series(1, 2500) n",
    )
    .execute(&portal.given.owner)
    .await
    .unwrap();
    let lines = register(&portal, "", &portal.key).await;
    let mut users: Vec<u32> = lines.iter().map(|line| line["user_id"].parse().unwrap()).collect();
    users.sort_unstable();
    assert_eq!(users, (1..=2500).collect::<Vec<_>>());
    assert!(lines.is_sorted_by_key(|line| line["requested_at"].clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_see_every_request_may_read_it() {
    let portal = Portal::new().await;
    let session = async |body| portal.session(&body).await;
    let manager = json!({"user_id": "1", "org_id": "a", "roles": ["manager", "admin"]});
    for (token, answer) in [
        (session(json!({"user_id": "1"})).await, "403 not_allowed"),
        (session(manager).await, "403 not_allowed"),
        (session(json!({"user_id": "1", "roles": ["operator"], "acting": "2"})).await, "403 impersonated"),
        ("nothing".to_owned(), "401 unauthenticated"),
        (session(json!({"user_id": "1", "roles": ["operator"]})).await, "200"),
        (portal.key.clone(), "200"),
    ] {
        let got = portal.get("/v1/register.csv", &token).send().await.unwrap();
        assert_eq!(code(got).await, answer);
    }
    for query in ["?from=yesterday", "?from=2026-02-30", "?since=2026-01-01"] {
        let got = portal.get(&format!("/v1/register.csv{query}"), &portal.key).send().await.unwrap();
        assert_eq!(code(got).await, "422 invalid", "{query}");
    }
}

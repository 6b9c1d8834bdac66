//! Lists: whose exports they have, their filters, and their pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::portal_of::{Portal, code, read};

async fn users(portal: &Portal, path: &str, token: &str) -> Vec<String> {
    let (status, page) = read(portal.get(path, token).send().await.unwrap()).await;
    assert_eq!(status, 200, "{page}");
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["user_id"].as_str().unwrap().to_owned()).collect()
}

async fn insert(portal: &Portal, user: &str, org: Option<&str>, days_ago: i32) {
    sqlx::query(
        "insert into public.data_export_requests (user_id, org_id, requested_at)
         values ($1, $2, now() - make_interval(days => $3))",
    )
    .bind(user)
    .bind(org)
    .bind(days_ago)
    .execute(&portal.given.owner)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_lists_what_they_may_see_and_nothing_else() {
    let portal = Portal::new().await;
    for (user, org, days) in
        [("1", None, 5), ("1", Some("a"), 4), ("2", Some("a"), 3), ("3", Some("b"), 2), ("4", None, 1)]
    {
        insert(&portal, user, org, days).await;
    }
    let in_a = |roles: &[&str]| json!({"user_id": "1", "org_id": "a", "roles": roles});
    let person = portal.session(&in_a(&[])).await;
    let manager = portal.session(&in_a(&["manager"])).await;
    let operator = portal.session(&json!({"user_id": "9", "roles": ["operator"]})).await;
    let mut told = String::new();
    for (name, token) in
        [("person", &person), ("manager", &manager), ("operator", &operator), ("service", &portal.key)]
    {
        for query in [
            "",
            "?user_id=1",
            "?user_id=2",
            "?user_id=3",
            "?org_id=a",
            "?org_id=b",
            "?user_id=1&org_id=a",
            "?status=ready",
        ] {
            let found = users(&portal, &format!("/v1/exports{query}"), token).await;
            told += &format!("{name} {query}: {}\n", found.join(" "));
        }
    }
    insta::assert_snapshot!(told, @r#"
person : 1 1
person ?user_id=1: 1 1
person ?user_id=2: 
person ?user_id=3: 
person ?org_id=a: 1
person ?org_id=b: 
person ?user_id=1&org_id=a: 1
person ?status=ready: 
manager : 2 1
manager ?user_id=1: 1 1
manager ?user_id=2: 2
manager ?user_id=3: 
manager ?org_id=a: 2 1
manager ?org_id=b: 
manager ?user_id=1&org_id=a: 1
manager ?status=ready: 
operator : 4 3 2 1 1
operator ?user_id=1: 1 1
operator ?user_id=2: 2
operator ?user_id=3: 3
operator ?org_id=a: 2 1
operator ?org_id=b: 3
operator ?user_id=1&org_id=a: 1
operator ?status=ready: 
service : 4 3 2 1 1
service ?user_id=1: 1 1
service ?user_id=2: 2
service ?user_id=3: 3
service ?org_id=a: 2 1
service ?org_id=b: 3
service ?user_id=1&org_id=a: 1
service ?status=ready:
"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_while_exports_come_and_a_cursor_fits_its_own_list() {
    let portal = Portal::new().await;
    for n in 0..23 {
        insert(&portal, &n.to_string(), Some("a"), 30 - n).await;
    }
    let manager = portal.session(&json!({"user_id": "1", "org_id": "a", "roles": ["manager"]})).await;
    let (mut seen, mut path, mut pages) = (Vec::new(), "/v1/exports?limit=5".to_owned(), 0);
    let cursor = loop {
        let answer = portal.get(&path, &manager).send().await.unwrap();
        let link = answer.headers()["link"].to_str().unwrap().to_owned();
        let (_, page) = read(answer).await;
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["user_id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        insert(&portal, &format!("new {pages}"), Some("a"), 0).await;
        let Some(next) = page["next"].as_str() else {
            break path.split("cursor=").nth(1).unwrap().to_owned();
        };
        assert!(
            link.contains("rel=\"next\"") && link.contains("</v1/exports?limit=5>; rel=\"first\""),
            "{link}"
        );
        path = format!("/v1/exports?limit=5&cursor={next}");
    };
    let expected: Vec<_> = (0..23).rev().map(|n| n.to_string()).collect();
    assert_eq!((seen, pages), (expected, 5));

    let other = portal.session(&json!({"user_id": "2", "org_id": "a", "roles": ["manager"]})).await;
    for (path, token) in [
        (format!("/v1/exports?cursor={cursor}"), &other),
        (format!("/v1/exports?status=ready&cursor={cursor}"), &manager),
        ("/v1/exports?cursor=x".to_owned(), &manager),
        (format!("/v1/exports?cursor={}", &cursor[1..]), &manager),
    ] {
        assert_eq!(
            code(portal.get(&path, token).send().await.unwrap()).await,
            "400 invalid_cursor",
            "{path}"
        );
    }
    // The number of exports in a page is no part of the list.
    assert_eq!(
        code(portal.get(&format!("/v1/exports?limit=9&cursor={cursor}"), &manager).send().await.unwrap())
            .await,
        "200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_filter_is_named() {
    let portal = Portal::new().await;
    let mut told = BTreeSet::new();
    for query in [
        "status=done",
        "limit=0",
        "limit=101",
        "limit=x",
        "colour=red",
        "requested_after=yesterday",
        "user_id=",
        "reason=none",
    ] {
        let (status, body): (_, Value) =
            read(portal.get(&format!("/v1/exports?{query}"), &portal.key).send().await.unwrap()).await;
        told.insert(format!("{query}: {status} {}", body["errors"]));
    }
    insta::assert_snapshot!(told.into_iter().collect::<Vec<_>>().join("\n"), @r#"
colour=red: 422 Unprocessable Entity [{"detail":"unknown field `colour`, expected one of `status`, `reason`, `user_id`, `org_id`, `requested_after`, `requested_before`, `limit`, `cursor`","pointer":"?colour"}]
limit=0: 422 Unprocessable Entity [{"detail":"1 to 100.","pointer":"?limit"}]
limit=101: 422 Unprocessable Entity [{"detail":"1 to 100.","pointer":"?limit"}]
limit=x: 422 Unprocessable Entity [{"detail":"invalid digit found in string","pointer":"?limit"}]
reason=none: 422 Unprocessable Entity [{"detail":"unknown variant `none`, expected one of `expired`, `account_deleted`, `revoked`, `withdrawn`, `unreadable_value`, `scope_refused`, `attempts_exhausted`","pointer":"?reason"}]
requested_after=yesterday: 422 Unprocessable Entity [{"detail":"input contains invalid characters","pointer":"?requested_after"}]
status=done: 422 Unprocessable Entity [{"detail":"unknown variant `done`, expected one of `pending`, `ready`, `failed`","pointer":"?status"}]
user_id=: 422 Unprocessable Entity [{"detail":"the id of a user has 1 to 255 bytes and no control characters","pointer":"?user_id"}]
"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_read_an_index_also_among_a_hundred_thousand_exports() {
    let portal = Portal::new().await;
    sqlx::raw_sql(
        "alter table public.data_export_requests disable trigger user;
         insert into public.data_export_requests (user_id, org_id, requested_at)
         select (n % 5000)::text, (n % 50)::text, now() - make_interval(secs => n) from generate_series(1, 100000) n;
         alter table public.data_export_requests enable trigger user;
         analyze public.data_export_requests",
    )
    .execute(&portal.given.owner)
    .await
    .unwrap();
    for (condition, index) in [
        ("user_id = '7'", "data_export_requests_of_user"),
        ("org_id = '7'", "data_export_requests_of_org"),
        ("true", "data_export_requests_newest"),
    ] {
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "explain select * from public.data_export_portal
             where {condition} and (requested_at, id) < (now(), gen_random_uuid())
             order by requested_at desc, id desc limit 20"
        )))
        .fetch_all(&portal.given.owner)
        .await
        .unwrap();
        let plan = plan.join("\n");
        // The twenty of one user may be sorted.
        let is_sorted = plan.contains("Sort") && !condition.starts_with("user_id");
        assert!(
            plan.contains(index) && !plan.contains("Seq Scan on data_export_requests") && !is_sorted,
            "{condition}: {plan}"
        );
    }
}

//! Webhooks: what they say, who may check them, and what becomes of one that is not accepted.

use axum::http::{StatusCode, header};
use export_activities::requests::operate::RevokeReason;
use export_notices::{
    Senders,
    outbox::{self, Channel},
    webhook::{Secrets, Settings, Webhooks, guard::Networks},
};
use export_stack::wait;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use url::Url;
use uuid::Uuid;

use crate::support::{
    installation_of as given,
    night_of::SOON,
    notices_of::{self as notices, deliver, let_time_pass, until_shown, webhooks, with_channels},
    receiver::{Receiver, SECRET},
};

const BUSY: (StatusCode, Option<(header::HeaderName, &str)>) = (StatusCode::SERVICE_UNAVAILABLE, None);

#[tokio::test(flavor = "multi_thread")]
async fn each_event_arrives_once_signed_and_without_a_link() {
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    let _delivery = deliver(&given, webhooks(&receiver.url()));
    let user = given::user(&given.owner).await;
    let request = given::request(&given.owner, user).await;
    notices::fulfil(&given, request).await;
    notices::revoke(&given, request, RevokeReason::Mistake).await;
    let got = receiver.until_got(3).await;
    let verifier = Webhook::new(SECRET).unwrap();
    for webhook in &got {
        verifier.verify(&webhook.body, &webhook.headers).unwrap();
        let mut changed = webhook.body.to_vec();
        changed[20] ^= 1;
        assert!(verifier.verify(&changed, &webhook.headers).is_err(), "another body has another signature");
        let text = String::from_utf8(webhook.body.to_vec()).unwrap();
        assert!(!text.contains("http") && !text.contains("X-Amz") && !text.contains("Ada"), "{text}");
    }
    let mut kinds: Vec<_> =
        got.iter().map(|webhook| webhook.json()["type"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["data_export.failed", "data_export.ready", "data_export.requested"]);
    let ready = got.iter().find(|webhook| webhook.json()["type"] == "data_export.ready").unwrap().json();
    let data = &ready["data"];
    assert_eq!((&data["id"], &data["user_id"]), (&json!(request), &json!(user)));
    assert!(data["bytes"].as_i64().unwrap() > 0 && data["sha256"].as_str().unwrap().len() == 64, "{data}");
    assert_eq!(data["rows"]["users"], 1);
    assert_eq!((&data["part"], &data["scope"]), (&json!(false), &json!(null)));
    until_shown(&given, request, "webhook failed sent").await;
    assert_eq!(receiver.got().len(), 3);
}

/// The platform learns which part it was, and no value of a filter.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_announced_as_one() {
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    let _delivery = deliver(&given, webhooks(&receiver.url()));
    let user = given::user(&given.owner).await;
    let sql = r#"insert into public.data_export_requests (user_id, entities, filters)
        values ($1, '{releases}', '{"releases": {"channel": ["stable"]}}') returning id"#;
    let request: Uuid = sqlx::query_scalar(sql).bind(user.to_string()).fetch_one(&given.owner).await.unwrap();
    notices::fulfil(&given, request).await;
    let got = receiver.until_got(2).await;
    for webhook in &got {
        let body = webhook.json();
        let scope = match body["type"].as_str().unwrap() {
            "data_export.ready" => json!({"entities": ["releases"], "filters": {"releases": ["channel"]}}),
            _ => Value::Null,
        };
        assert_eq!((&body["data"]["part"], &body["data"]["scope"]), (&json!(true), &scope), "{body}");
        assert!(!body.to_string().contains("stable"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_refused_comes_again_with_its_id_and_at_last_waits_for_a_person() {
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    receiver.answer([
        (StatusCode::TOO_MANY_REQUESTS, Some((header::RETRY_AFTER, "7200"))),
        (StatusCode::FOUND, Some((header::LOCATION, "http://169.254.169.254/"))),
        BUSY,
        BUSY,
        BUSY,
        BUSY,
        BUSY,
        BUSY,
    ]);
    let _delivery = deliver(&given, webhooks(&receiver.url()));
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    until_shown(&given, request, "webhook requested due http_429").await;
    let wait = notices::notices(&given, request).await[0].due_at - chrono::Utc::now();
    assert!((115..=120).contains(&wait.num_minutes()), "it waits as long as it was asked to: {wait}");
    let_time_pass(&given).await;
    until_shown(&given, request, "webhook requested due http_302").await;
    // Hours pass again and again, until no try is left.
    wait::until("the last try", SOON, || async {
        let_time_pass(&given).await;
        let dead = notices::shown(&given, request).await == ["webhook requested dead http_503"];
        Ok(dead.then_some(()))
    })
    .await
    .unwrap();
    let got = receiver.got();
    assert_eq!(got.len(), 8);
    assert!(got.iter().all(|webhook| webhook.id() == got[0].id() && webhook.body == got[0].body));
    assert_eq!(outbox::again(&given.steps.state, Some(Channel::Webhook), None).await.unwrap(), 1);
    until_shown(&given, request, "webhook requested sent").await;
    assert_eq!(receiver.got()[8].id(), got[0].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_pauses_the_channel_until_it_is_resumed() {
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    receiver.answer([(StatusCode::GONE, None)]);
    let _delivery = deliver(&given, webhooks(&receiver.url()));
    let first = given::request(&given.owner, given::user(&given.owner).await).await;
    until_shown(&given, first, "webhook requested due paused").await;
    let second = given::request(&given.owner, given::user(&given.owner).await).await;
    let paused = outbox::channels(&given.steps.state).await.unwrap().pop().unwrap();
    assert!(paused.paused_because.unwrap().contains("410 Gone"));
    assert_eq!(paused.due, 2);
    assert_eq!(receiver.got().len(), 1, "nothing more is sent");
    // The pause was long, and its cause is still there: that gives nothing up.
    sqlx::query("update public.data_export_notices set first_due_at = now() - interval '5 days'")
        .execute(&given.owner)
        .await
        .unwrap();
    receiver.answer([(StatusCode::GONE, None), (StatusCode::GONE, None)]);
    assert_eq!(outbox::resume(&given.steps.state, Channel::Webhook).await.unwrap(), 2);
    // Both were sent at once: each is refused, and is due again.
    wait::until("the second pause", SOON, || async {
        let channel = outbox::channels(&given.steps.state).await?.pop();
        let is_paused = channel.is_some_and(|channel| channel.paused_at.is_some());
        let due: i64 = sqlx::query_scalar(
            "select count(*) from public.data_export_notices where state = 'due' and due_at <= now()",
        )
        .fetch_one(&given.owner)
        .await?;
        Ok((is_paused && due == 2 && receiver.got().len() == 3).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(outbox::resume(&given.steps.state, Channel::Webhook).await.unwrap(), 2);
    for request in [first, second] {
        until_shown(&given, request, "webhook requested sent").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_receiver_is_away_nothing_is_lost_and_no_try_is_counted() {
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    let (url, port) = (receiver.url(), receiver.port);
    drop(receiver);
    let _delivery = deliver(&given, webhooks(&url));
    let mut requests = Vec::new();
    for _ in 0..5 {
        requests.push(given::request(&given.owner, given::user(&given.owner).await).await);
    }
    until_shown(&given, requests[0], "webhook requested due unreachable").await;
    let too_old = requests.pop().unwrap();
    sqlx::query(
        "update public.data_export_notices n
         set first_due_at = now() - interval '5 days', due_at = now() - interval '5 days'
         from public.data_export_events e where e.id = n.event_id and e.request_id = $1",
    )
    .bind(too_old)
    .execute(&given.owner)
    .await
    .unwrap();
    until_shown(&given, too_old, "webhook requested dead unreachable").await;
    let receiver = Receiver::on(port).await;
    receiver.until_got(4).await;
    for request in requests {
        until_shown(&given, request, "webhook requested sent").await;
        assert_eq!(notices::notices(&given, request).await[0].tries, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_inside_is_never_connected_to() {
    let given = with_channels(&[Channel::Webhook]).await;
    let receiver = Receiver::new().await;
    let settings = Settings {
        url: Url::parse(&format!("https://localhost:{}/", receiver.port)).unwrap(),
        secrets: Secrets::parse(SECRET).unwrap(),
        networks: Networks::default(),
    };
    assert!(format!("{:#}", settings.reach().await.unwrap_err()).contains("loopback"));
    let senders = Senders { mails: None, webhooks: Some(Webhooks::new(settings).unwrap()) };
    let _delivery = deliver(&given, senders);
    let request = given::request(&given.owner, given::user(&given.owner).await).await;
    until_shown(&given, request, "webhook requested due paused").await;
    let channel = outbox::channels(&given.steps.state).await.unwrap().pop().unwrap();
    assert!(channel.paused_because.unwrap().contains("EXPORT_WEBHOOK_NETWORKS"));
    assert!(receiver.got().is_empty());
}

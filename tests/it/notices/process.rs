//! Notices of the production binary: its settings, its commands, and what a killed worker leaves to the next.

use std::time::Duration;

use axum::http::StatusCode;
use export_stack::{servers::worker, shared::stack, wait};
use serde_json::{Value, json};

use crate::support::{
    answers::{say, troubles},
    installation_of as given,
    night_of::{Nights, SOON, kill},
    receiver::{Receiver, SECRET},
};

const PAGE: (&str, &str) = ("EXPORT_PAGE_URL", "https://app.example.com/exports");
const FROM: (&str, &str) = ("EXPORT_MAIL_FROM", "Example <exports@example.com>");
const SMTPS: (&str, &str) = ("EXPORT_SMTP_URL", "smtps://user:hunter2@mail.example.com:465");
const HOOK: (&str, &str) = ("EXPORT_WEBHOOK_URL", "https://app.example.com/hooks");
const SIGNS: (&str, &str) = ("EXPORT_WEBHOOK_SECRETS", SECRET);

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_would_send_into_the_void_or_inside_is_refused_at_the_start() {
    let nights = Nights::new().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("en")).unwrap();
    std::fs::write(folder.path().join("en/ready.txt"), "Subject: x\n\n{{ link }}\n").unwrap();
    let templates = ("EXPORT_TEMPLATE_DIR", folder.path().to_str().unwrap());
    for (settings, part) in [
        (&[SMTPS, FROM][..], "EXPORT_PAGE_URL is not set"),
        (&[SMTPS, FROM, ("EXPORT_PAGE_URL", "http://localhost:8080/")], "EXPORT_PAGE_URL is not https"),
        (&[SMTPS, FROM, ("EXPORT_PAGE_URL", "https://127.1/")], "EXPORT_PAGE_URL is not https"),
        (&[SMTPS, PAGE], "EXPORT_MAIL_FROM is not set"),
        (&[SMTPS, PAGE, ("EXPORT_MAIL_FROM", "exports")], "EXPORT_MAIL_FROM is no address"),
        (&[("EXPORT_SMTP_URL", "hunter2"), FROM, PAGE], "EXPORT_SMTP_URL is not a URL"),
        (&[SMTPS, FROM, PAGE, ("EXPORT_MAIL_LANGUAGE", "tlh")], "EXPORT_MAIL_LANGUAGE"),
        (&[SMTPS, FROM, PAGE, templates], "template `en/ready.txt`, line 3"),
        (&[HOOK], "EXPORT_WEBHOOK_SECRETS is not set"),
        (&[HOOK, ("EXPORT_WEBHOOK_SECRETS", "hunter2")], "EXPORT_WEBHOOK_SECRETS is not whsec_"),
        (&[("EXPORT_WEBHOOK_URL", "http://app.example.com/"), SIGNS], "EXPORT_WEBHOOK_URL is not https"),
        (&[("EXPORT_WEBHOOK_URL", "https://2852039166/"), SIGNS], "169.254.169.254 (RFC 3927"),
        (&[HOOK, SIGNS, ("EXPORT_WEBHOOK_NETWORKS", "ten")], "`ten` is no network"),
    ] {
        let mut environment = nights.environment.clone();
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let ended =
            wait::within("the refusal", SOON, worker::output(&environment, &["run"])).await.unwrap().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(part) && !said.contains("hunter2"), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_status_and_commands_show_what_waits_and_why() {
    let receiver = Receiver::new().await;
    let mut nights = Nights::new().await;
    nights.environment.extend(settings(&receiver));
    let mail = &stack().await.unwrap().servers().mail;
    nights.environment.insert("EXPORT_SMTP_URL".into(), mail.smtp_url());
    for (name, value) in [FROM, PAGE] {
        nights.environment.insert(name.into(), value.into());
    }
    for check in ["mails", "webhooks"] {
        let (_, line) = nights.doctor(check).await;
        assert_eq!(line["state"], "ok", "{line}");
        assert!(line["found"].as_str().unwrap().contains("export-worker notices on"), "{line}");
    }
    for channel in ["mail", "webhook"] {
        worker::command(&nights.environment, &["notices", "on", channel]).await.unwrap();
    }
    receiver.answer([(StatusCode::GONE, None)]);
    let worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    until_trouble(&nights, "notices (webhook) are paused: the receiver answered 410 Gone").await;
    let (_, line) = nights.doctor("webhooks").await;
    assert_eq!(line["state"], "warning", "{line}");
    worker::command(&nights.environment, &["notices", "resume", "webhook"]).await.unwrap();
    let id = request.to_string();
    let list = ["notices", "list", "--request", &id];
    let sent = wait::until("the webhook", SOON, || async {
        let listed = say(&nights.environment, &list).await.answer;
        let sent = listed.as_array().unwrap().iter().any(|notice| notice["state"] == "sent");
        Ok(sent.then_some(listed))
    })
    .await
    .unwrap();
    let webhook = sent.as_array().unwrap().iter().find(|notice| notice["channel"] == "webhook").unwrap();
    assert_eq!(webhook["topic"], "requested");
    kill(&worker).await;

    sqlx::raw_sql("update public.data_export_notices set state = 'dead', code = 'http_500', ended_at = now() where channel = 'webhook'")
        .execute(&nights.owner)
        .await
        .unwrap();
    assert!(troubles(&nights).await.contains(&"1 notices (webhook) were given up".to_owned()));
    let text = worker::command(&nights.environment, &["notices", "show"]).await.unwrap();
    assert_eq!(text, "mail     on\nwebhook  on\n         1 given up\n");
    let changed = say(&nights.environment, &["notices", "retry", "--dead", "webhook"]).await.answer;
    assert_eq!(changed, json!({ "notices": 1 }));
    let off = say(&nights.environment, &["notices", "off", "webhook"]).await.answer;
    assert_eq!(off, json!({ "notices": 1 }), "what was due is dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_it_sent_leaves_the_notice_to_the_next_with_the_same_id() {
    let receiver = Receiver::new().await;
    let mut nights = Nights::new().await;
    nights.environment.extend(settings(&receiver));
    worker::command(&nights.environment, &["notices", "on", "webhook"]).await.unwrap();
    receiver.hold(true);
    nights.request(given::user(&nights.owner).await).await;
    let worker = nights.worker(&[]).await;
    receiver.until_got(1).await;
    kill(&worker).await;
    receiver.hold(false);
    // The time passes that others leave it alone.
    sqlx::raw_sql("update public.data_export_notices set due_at = now()")
        .execute(&nights.owner)
        .await
        .unwrap();
    let _worker = nights.worker(&[]).await;
    let got = receiver.until_got(2).await;
    assert_eq!(got[1].id(), got[0].id());
    assert_eq!(got[1].body, got[0].body);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_go_out_while_temporal_is_away() {
    let receiver = Receiver::new().await;
    let mut nights = Nights::new().await;
    nights.environment.extend(settings(&receiver));
    worker::command(&nights.environment, &["notices", "on", "webhook"]).await.unwrap();
    nights.environment.insert("TEMPORAL_ADDRESS".into(), "http://127.0.0.1:1".into());
    let worker = nights.worker(&[]).await;
    let request = nights.request(given::user(&nights.owner).await).await;
    let got = receiver.until_got(1).await;
    assert_eq!(got[0].json()["data"]["id"], Value::String(request.to_string()));
    let ended = worker.stop(export_stack::supervisor::protocol::Signal::Terminate);
    assert!(tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap().is_success());
}

fn settings(receiver: &Receiver) -> Vec<(String, String)> {
    let settings = [
        ("EXPORT_WEBHOOK_URL", receiver.url()),
        ("EXPORT_WEBHOOK_SECRETS", SECRET.to_owned()),
        ("EXPORT_WEBHOOK_NETWORKS", "127.0.0.0/8".to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

async fn until_trouble(nights: &Nights, part: &str) {
    wait::until(part, SOON, || async {
        let troubles = troubles(nights).await;
        Ok(troubles.iter().any(|trouble| trouble.contains(part)).then_some(()))
    })
    .await
    .unwrap();
}

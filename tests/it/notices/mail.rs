//! Mails: to whom, in which language, and what becomes of one that is not taken.

use export_activities::requests::operate::RevokeReason;
use export_notices::outbox::{self, Channel};
use export_stack::{
    servers::mailpit::{Mail, Mailpit},
    shared::stack,
    supervisor::Process,
    wait,
};
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    installation_of::{self as given, Given},
    night_of::SOON,
    notices_of::{
        self as notices, Delivery, PAGE, deliver, let_time_pass, mails, until_shown, with_channels,
    },
};

async fn mailpit() -> &'static Mailpit {
    &stack().await.unwrap().servers().mail
}

async fn until_got(server: &Mailpit, to: &str, count: usize) -> Vec<Mail> {
    wait::until("mails", SOON, || async {
        let got = server.mails(to).await?;
        Ok((got.len() >= count).then_some(got))
    })
    .await
    .unwrap()
}

async fn scene() -> (Given, Delivery) {
    let given = with_channels(&[Channel::Mail]).await;
    let delivery = deliver(&given, mails(&mailpit().await.smtp_url()));
    (given, delivery)
}

/// A separate mail server, which fails on request.
async fn faulty() -> (Mailpit, Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("mailpit-{}", Uuid::new_v4().simple());
    let supervisor = stack().await.unwrap().supervisor();
    let (server, process) =
        Mailpit::start(supervisor, folder.path(), None, &name, &["--enable-chaos"]).await.unwrap();
    (server, process.kill_on_drop(), folder)
}

/// Makes the server answer every `what` (`Sender`, `Recipient` or `Authentication`) with this code.
async fn fail(server: &Mailpit, what: &str, code: u16) {
    let triggers = json!({ what: { "ErrorCode": code, "Probability": 100 } });
    let url = format!("{}/api/v1/chaos", server.http_url());
    let told = reqwest::Client::new().put(url).json(&triggers).send().await.unwrap();
    assert!(told.status().is_success(), "{}", told.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_in_their_language_and_led_to_the_page() {
    let (given, _delivery) = scene().await;
    let (user, email) = notices::user(&given, "de-AT").await;
    let request = given::request(&given.owner, user).await;
    until_shown(&given, request, "mail requested sent").await;
    notices::fulfil(&given, request).await;
    until_shown(&given, request, "mail ready sent").await;
    // The reminder is due a day before the end, which comes now.
    assert_eq!(notices::shown(&given, request).await[1], "mail reminder due");
    let due = notices::notices(&given, request).await[1].due_at;
    assert_eq!(notices::expires_at(&given, request).await - due, chrono::TimeDelta::hours(24));
    let_time_pass(&given).await;
    until_shown(&given, request, "mail reminder sent").await;
    notices::revoke(&given, request, RevokeReason::Mistake).await;
    until_shown(&given, request, "mail failed sent").await;

    let got = until_got(mailpit().await, &email, 4).await;
    let subjects: Vec<_> = got.iter().map(|mail| mail.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "Eine Kopie Ihrer Daten wurde angefordert",
            "Die Kopie Ihrer Daten liegt bereit",
            "Noch ein Tag, um die Kopie Ihrer Daten herunterzuladen",
            "Die Kopie Ihrer Daten konnte nicht erstellt werden",
        ]
    );
    let listed = notices::notices(&given, request).await;
    for mail in &got {
        assert!(mail.text.contains(PAGE), "{}", mail.text);
        assert!(mail.html.contains(PAGE), "{}", mail.html);
        for form in [&mail.text, &mail.html] {
            assert!(!form.contains("X-Amz") && !form.contains("127.0.0.1"), "{form}");
        }
        let header = |name: &str| mail.headers[name][0].as_str().unwrap_or_default().to_owned();
        assert_eq!(header("Auto-Submitted"), "auto-generated");
        assert_eq!(header("Content-Language"), "de");
        let id = mail.message_id.strip_suffix("@example.com").unwrap();
        assert!(listed.iter().any(|notice| notice.id.to_string() == id), "{id}");
    }
    let not_me = format!("{PAGE}#not-me={request}");
    assert!(got[0].text.contains(&not_me) && got[0].html.contains(&not_me), "{}", got[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_downloaded_is_not_reminded_and_what_ended_as_promised_is_no_news() {
    let (given, _delivery) = scene().await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        let (user, _) = notices::user(&given, "en").await;
        let request = given::request(&given.owner, user).await;
        notices::fulfil(&given, request).await;
        until_shown(&given, request, "mail ready sent").await;
        requests.push(request);
    }
    let [collected, withdrawn, expired] = requests[..] else { panic!() };
    for (request, sql) in [
        (
            collected,
            "insert into public.data_export_accesses (request_id, actor_as, action) values ($1, 'owner', 'linked')",
        ),
        (withdrawn, "select public.data_export_withdraw($1)"),
        (
            expired,
            "update public.data_export_requests set status = 'failed', failure_reason = 'expired', download_url = null
             where id = $1",
        ),
    ] {
        sqlx::query(sql).bind(request).execute(&given.owner).await.unwrap();
    }
    let_time_pass(&given).await;
    until_shown(&given, collected, "mail reminder dropped collected").await;
    for request in [withdrawn, expired] {
        until_shown(&given, request, "mail reminder dropped ended").await;
        assert_eq!(notices::notices(&given, request).await.len(), 3, "no mail says that it has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_the_one_of_now_and_only_one_that_is_known_to_be_theirs() {
    let given = with_channels(&[Channel::Mail]).await;
    let (moved, before) = notices::user(&given, "en").await;
    let (unverified, gone) = (given::user(&given.owner).await, Uuid::new_v4());
    let mut requests = Vec::new();
    for user in [moved, unverified, gone] {
        requests.push(given::request(&given.owner, user).await);
    }
    let now = format!("{}@example.org", Uuid::new_v4());
    sqlx::query("update public.users set email = $2 where id = $1")
        .bind(moved)
        .bind(&now)
        .execute(&given.owner)
        .await
        .unwrap();
    let _delivery = deliver(&given, mails(&mailpit().await.smtp_url()));
    until_shown(&given, requests[0], "mail requested sent").await;
    assert_eq!(until_got(mailpit().await, &now, 1).await.len(), 1);
    assert!(mailpit().await.mails(&before).await.unwrap().is_empty());
    for request in &requests[1..] {
        until_shown(&given, *request, "mail requested dropped no_address").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_nothing_is_lost() {
    let (server, process, _folder) = faulty().await;
    let smtp = server.smtp_url();
    process.stop(export_stack::supervisor::protocol::Signal::Interrupt).await.unwrap();
    let given = with_channels(&[Channel::Mail]).await;
    let _delivery = deliver(&given, mails(&smtp));
    let mut people = Vec::new();
    for _ in 0..3 {
        let (user, email) = notices::user(&given, "en").await;
        people.push((given::request(&given.owner, user).await, email));
    }
    until_shown(&given, people[0].0, "mail requested due unreachable").await;
    let supervisor = stack().await.unwrap().supervisor();
    let folder = tempfile::tempdir().unwrap();
    let name = format!("mailpit-{}", Uuid::new_v4().simple());
    let (again, process) = Mailpit::start(supervisor, folder.path(), Some(server), &name, &[]).await.unwrap();
    let _process = process.kill_on_drop();
    assert_eq!(again.smtp_url(), smtp, "it is back on its port");
    for (request, email) in people {
        until_shown(&given, request, "mail requested sent").await;
        assert_eq!(until_got(&again, &email, 1).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_platform_is_away_mails_wait_and_no_try_is_counted() {
    let given = with_channels(&[Channel::Mail]).await;
    let (user, email) = notices::user(&given, "en").await;
    let request = given::request(&given.owner, user).await;
    let nowhere = given::source(&"postgres://export_read:x@127.0.0.1:1/platform".into(), 1);
    let smtp = mailpit().await.smtp_url();
    let away = notices::deliver_from(&given, nowhere, mails(&smtp));
    until_shown(&given, request, "mail requested due timeout").await;
    assert_eq!(notices::notices(&given, request).await[0].tries, 0);
    drop(away);
    let _delivery = deliver(&given, mails(&smtp));
    let_time_pass(&given).await;
    until_shown(&given, request, "mail requested sent").await;
    assert_eq!(until_got(mailpit().await, &email, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_tried_again_or_given_up_and_a_refused_login_waits_for_a_person() {
    let (server, _process, _folder) = faulty().await;
    let given = with_channels(&[Channel::Mail]).await;
    let _delivery = deliver(&given, mails(&server.smtp_url()));
    let (user, email) = notices::user(&given, "en").await;

    fail(&server, "Recipient", 451).await;
    let later = given::request(&given.owner, user).await;
    until_shown(&given, later, "mail requested due smtp_451").await;
    fail(&server, "Recipient", 550).await;
    let never = given::request(&given.owner, user).await;
    until_shown(&given, never, "mail requested dead smtp_550").await;
    fail(&server, "Recipient", 535).await;
    let paused = given::request(&given.owner, user).await;
    until_shown(&given, paused, "mail requested due paused").await;
    let because = outbox::channels(&given.steps.state).await.unwrap().swap_remove(0).paused_because.unwrap();
    assert!(because.contains("refuses the login (535)") && !because.contains(&email), "{because}");

    let told = reqwest::Client::new().put(format!("{}/api/v1/chaos", server.http_url())).json(&json!({}));
    assert!(told.send().await.unwrap().status().is_success());
    outbox::resume(&given.steps.state, Channel::Mail).await.unwrap();
    let_time_pass(&given).await;
    until_shown(&given, paused, "mail requested sent").await;
    until_shown(&given, later, "mail requested sent").await;
    let id = notices::notices(&given, later).await[0].id;
    assert_eq!(outbox::again(&given.steps.state, None, Some(id)).await.unwrap(), 1);
    let got = until_got(&server, &email, 3).await;
    assert_eq!(got.iter().filter(|mail| mail.message_id.starts_with(&id.to_string())).count(), 2);
}

//! To ask for an export and to take it back: the limits hold for every caller of the two functions, at any moment.

use std::{collections::BTreeMap, time::Duration};

use export_stack::{servers::postgres::Role, shared::TestDatabase};
use futures::future::join_all;
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

use crate::support::installation_of::{events, request};

struct Asking {
    /// As `export_portal`, which has no right on the table of requests.
    portal: PgPool,
    owner: PgPool,
}

/// The arguments of `data_export_ask`.
#[derive(Clone, Default)]
struct Ask {
    user: String,
    org: Option<String>,
    start: Option<&'static str>,
    key: Option<String>,
    retry_of: Option<Uuid>,
    by: Option<(&'static str, &'static str)>,
    why: Option<&'static str>,
}

impl Ask {
    fn of(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }
}

#[derive(Debug, sqlx::FromRow)]
struct Answer {
    outcome: String,
    request_id: Option<Uuid>,
    seconds: Option<f64>,
}

impl Asking {
    async fn new() -> Self {
        use secrecy::ExposeSecret as _;
        let database = TestDatabase::new().await.unwrap();
        let url = database.url(Role::Portal).await.unwrap();
        let portal = PgPoolOptions::new().max_connections(24).acquire_timeout(Duration::from_secs(120));
        let portal = portal.connect(url.expose_secret()).await.unwrap();
        Self { portal, owner: database.owner().await.unwrap() }
    }

    async fn ask(&self, ask: &Ask) -> Answer {
        self.try_ask(ask).await.unwrap()
    }

    async fn try_ask(&self, ask: &Ask) -> sqlx::Result<Answer> {
        let (role, by) = ask.by.unzip();
        sqlx::query_as(
            "select outcome, request_id, extract(epoch from retry_after)::float8 as seconds
             from public.data_export_ask($1, $2, $3, $4, $5, coalesce($6, 'platform'), $7, $8)",
        )
        .bind(&ask.user)
        .bind(&ask.org)
        .bind(ask.start)
        .bind(&ask.key)
        .bind(ask.retry_of)
        .bind(role)
        .bind(by)
        .bind(ask.why)
        .fetch_one(&self.portal)
        .await
    }

    async fn withdraw(&self, id: Uuid) -> String {
        let withdrawn = sqlx::query_scalar::<_, String>("select public.data_export_withdraw($1)").bind(id);
        withdrawn.fetch_one(&self.portal).await.unwrap()
    }

    async fn policy(&self, change: &'static str) {
        sqlx::query(sqlx::AssertSqlSafe(format!("update public.data_export_policy set {change}")))
            .execute(&self.owner)
            .await
            .unwrap();
    }

    async fn fail(&self, id: Uuid, reason: &str) {
        sqlx::query(
            "update public.data_export_requests set status = 'failed', failure_reason = $2, pseudonym_salt = null
             where id = $1",
        )
        .bind(id)
        .bind(reason)
        .execute(&self.owner)
        .await
        .unwrap();
    }
}

fn count(answers: &[Answer]) -> BTreeMap<&str, usize> {
    answers.iter().fold(BTreeMap::new(), |mut counts, answer| {
        *counts.entry(answer.outcome.as_str()).or_default() += 1;
        counts
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_six_hundred_calls_at_once_for_one_user_one_makes_a_request() {
    let asking = Asking::new().await;
    let ask = Ask::of("7");
    let answers = join_all((0..600).map(|_| asking.ask(&ask))).await;
    assert_eq!(count(&answers), BTreeMap::from([("created", 1), ("waiting", 599)]));
    let first = answers[0].request_id;
    assert!(
        answers.iter().all(|answer| answer.request_id == first && first.is_some()),
        "all name the same one"
    );
    let rows: i64 = sqlx::query_scalar("select count(*) from public.data_export_requests")
        .fetch_one(&asking.owner)
        .await
        .unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_gets_no_more_than_its_number_and_nobody_waits_for_ever() {
    let asking = Asking::new().await;
    asking.policy("pending_per_org = 3").await;
    let asks: Vec<_> =
        (0..600).map(|n| Ask { org: Some(format!("org {}", n % 2)), ..Ask::of(&n.to_string()) }).collect();
    let answers = join_all(asks.iter().map(|ask| asking.ask(ask))).await;
    assert_eq!(count(&answers), BTreeMap::from([("created", 6), ("org_full", 594)]));
    // Outside of the organisation nobody is kept out.
    assert_eq!(asking.ask(&Ask::of("9999")).await.outcome, "created");
}

#[tokio::test]
async fn a_second_call_with_the_same_key_repeats_the_first_answer_and_another_body_is_refused() {
    let asking = Asking::new().await;
    let ask = Ask { key: Some("k".repeat(300)), ..Ask::of("7") };
    let first = asking.ask(&ask).await;
    assert_eq!(first.outcome, "created");
    let again = asking.ask(&ask).await;
    assert_eq!((again.outcome.as_str(), again.request_id), ("replayed", first.request_id));
    // Also after its request has ended, where a call without a key would be too soon.
    asking.withdraw(first.request_id.unwrap()).await;
    assert_eq!(asking.ask(&ask).await.outcome, "replayed");
    assert_eq!(asking.ask(&Ask::of("7")).await.outcome, "too_soon");
    let other = Ask { why: Some("for another reason"), ..ask.clone() };
    assert_eq!(asking.ask(&other).await.outcome, "key_reused");
    // The key belongs to its caller: another one may use the same.
    let by_service = Ask { by: Some(("service", "crm")), user: "8".to_owned(), ..ask.clone() };
    assert_eq!(asking.ask(&by_service).await.outcome, "created");
    let for_another = Ask { user: "9".to_owned(), ..by_service };
    assert_eq!(asking.ask(&for_another).await.outcome, "key_reused");
}

#[tokio::test]
async fn a_user_may_ask_again_after_the_time_and_at_once_after_a_failure_that_is_ours() {
    let asking = Asking::new().await;
    let ask = Ask::of("7");
    for (reason, outcome) in [
        ("unreadable_value", "created"),
        ("attempts_exhausted", "created"),
        ("revoked", "created"),
        ("withdrawn", "too_soon"),
    ] {
        let made = asking.ask(&ask).await;
        assert_eq!(made.outcome, "created");
        asking.fail(made.request_id.unwrap(), reason).await;
        let next = asking.ask(&ask).await;
        assert_eq!(next.outcome, outcome, "{reason}");
        if outcome == "created" {
            asking.fail(next.request_id.unwrap(), reason).await;
        } else {
            let seconds = next.seconds.unwrap();
            assert!((86_000.0..=86_400.0).contains(&seconds), "{seconds}");
        }
    }
    asking.policy("ask_every = interval '0'").await;
    assert_eq!(asking.ask(&ask).await.outcome, "created");
    // With two in a time, the third is refused.
    asking.policy("ask_every = interval '1 hour', pending_per_user = 2").await;
    let two = Ask::of("8");
    assert_eq!(asking.ask(&two).await.outcome, "created");
    let second = asking.ask(&two).await;
    assert_eq!(second.outcome, "created");
    assert_eq!(asking.ask(&two).await.outcome, "too_many");
    asking.withdraw(second.request_id.unwrap()).await;
    assert_eq!(asking.ask(&two).await.outcome, "too_soon");
}

#[tokio::test]
async fn a_failed_request_is_repeated_only_by_its_user_and_only_when_it_has_failed() {
    let asking = Asking::new().await;
    let made = asking.ask(&Ask::of("7")).await.request_id.unwrap();
    let retry = |user: &str| Ask { retry_of: Some(made), ..Ask::of(user) };
    assert_eq!(asking.ask(&retry("7")).await.outcome, "not_failed");
    asking.fail(made, "attempts_exhausted").await;
    assert_eq!(asking.ask(&retry("8")).await.outcome, "unknown");
    let repeated = asking.ask(&retry("7")).await;
    assert_eq!(repeated.outcome, "created");
    let again = asking.ask(&retry("7")).await;
    assert_eq!((again.outcome.as_str(), again.request_id), ("waiting", repeated.request_id));
}

#[tokio::test]
async fn the_policy_decides_when_an_export_is_made_also_for_plain_inserts() {
    let asking = Asking::new().await;
    let start = async |id: Uuid| {
        sqlx::query_scalar::<_, String>("select start from public.data_export_requests where id = $1")
            .bind(id)
            .fetch_one(&asking.owner)
            .await
            .unwrap()
    };
    let at = |user: &str, start| Ask { start: Some(start), ..Ask::of(user) };
    assert_eq!(asking.ask(&at("1", "at_once")).await.outcome, "start_refused");
    let night = asking.ask(&at("1", "night")).await.request_id.unwrap();
    assert_eq!(start(night).await, "night");
    assert_eq!(start(request(&asking.owner, "2").await).await, "night");
    asking.policy("start = 'choose'").await;
    assert_eq!(start(asking.ask(&at("3", "at_once")).await.request_id.unwrap()).await, "at_once");
    assert_eq!(start(asking.ask(&Ask::of("4")).await.request_id.unwrap()).await, "night");
    asking.policy("start = 'at_once'").await;
    assert_eq!(asking.ask(&at("5", "night")).await.outcome, "start_refused");
    assert_eq!(start(asking.ask(&Ask::of("5")).await.request_id.unwrap()).await, "at_once");
    assert_eq!(start(request(&asking.owner, "6").await).await, "at_once");
}

#[tokio::test]
async fn a_withdrawn_request_has_failed_with_its_event_and_a_second_withdrawal_changes_nothing() {
    let asking = Asking::new().await;
    let made = asking.ask(&Ask::of("7")).await.request_id.unwrap();
    sqlx::query(
        "update public.data_export_requests set claim_token = gen_random_uuid(), claim_owner = 'a', claim_try = 1,
             lease_until = now() + interval '1 minute' where id = $1",
    )
    .bind(made)
    .execute(&asking.owner)
    .await
    .unwrap();
    assert_eq!(asking.withdraw(made).await, "withdrawn");
    assert_eq!(asking.withdraw(made).await, "ended");
    assert_eq!(asking.withdraw(Uuid::new_v4()).await, "unknown");
    assert_eq!(events(&asking.owner, made).await, ["requested", "failed"]);
    let logged: Vec<(String, String)> = sqlx::query_as(
        "select action, actor_as from public.data_export_accesses where request_id = $1 order by id",
    )
    .bind(made)
    .fetch_all(&asking.owner)
    .await
    .unwrap();
    let line = |action: &str| (action.to_owned(), "platform".to_owned());
    assert_eq!(logged, [line("asked"), line("withdrew")]);
}

#[tokio::test]
async fn somebody_who_asks_for_another_must_say_who_they_are_and_why() {
    let asking = Asking::new().await;
    for (by, why, fits) in [
        (Some(("admin", "ada")), Some("she called us"), true),
        (Some(("admin", "ada")), None, false),
        (Some(("operator", "bob")), None, false),
        (Some(("nobody", "bob")), Some("x"), false),
    ] {
        let asked = asking.try_ask(&Ask { by, why, ..Ask::of(&Uuid::new_v4().to_string()) }).await;
        assert_eq!(asked.is_ok(), fits, "{by:?} {why:?} {asked:?}");
    }
}

#[tokio::test]
async fn a_caller_with_an_old_snapshot_is_refused_and_nobody_is_asked_for() {
    let asking = Asking::new().await;
    assert_eq!(asking.ask(&Ask::of("00000000-0000-0000-0000-000000000000")).await.outcome, "unknown");
    let mut tx = asking.portal.begin_with("begin isolation level repeatable read").await.unwrap();
    let refused = sqlx::query("select outcome from public.data_export_ask('7')").execute(&mut *tx).await;
    assert!(refused.unwrap_err().to_string().contains("READ COMMITTED"));
}

#[tokio::test]
async fn the_role_of_the_portal_reads_no_link_no_salt_and_no_table_of_the_platform() {
    let asking = Asking::new().await;
    let made = asking.ask(&Ask::of("7")).await.request_id.unwrap();
    for (sql, allowed) in [
        ("select status from public.data_export_portal", true),
        ("select start from public.data_export_policy", true),
        ("select location from public.data_export_installation", true),
        ("select id from public.data_export_installation", false),
        ("select download_url from public.data_export_requests", false),
        ("select pseudonym_salt from public.data_export_requests", false),
        ("select id from public.data_export_requests", false),
        ("select download_url from public.data_export_requests_effective", false),
        ("select id from public.data_export_events", false),
        ("select id from public.data_export_accesses", false),
        ("select id from public.users", false),
        ("insert into public.data_export_requests (user_id) values ('7')", false),
        ("update public.data_export_requests set status = 'failed'", false),
        ("update public.data_export_policy set pending_per_user = 100", false),
        ("update public.data_export_sessions set user_id = '8'", false),
        ("delete from public.data_export_requests", false),
        ("delete from public.data_export_accesses", false),
        ("truncate public.data_export_sessions", false),
        ("create table public.mine ()", false),
    ] {
        let run = sqlx::query(sql).execute(&asking.portal).await;
        let code = run.as_ref().err().and_then(|error| error.as_database_error()?.code().map(Into::into));
        let expected: Option<String> = (!allowed).then(|| "42501".to_owned());
        assert_eq!(code, expected, "{sql}");
    }
    // The control: the owner reads what the portal cannot.
    let salt: Option<Vec<u8>> =
        sqlx::query_scalar("select pseudonym_salt from public.data_export_requests where id = $1")
            .bind(made)
            .fetch_one(&asking.owner)
            .await
            .unwrap();
    assert!(salt.is_some());
}

#[tokio::test]
async fn how_a_request_was_asked_for_and_the_log_of_accesses_never_change() {
    let asking = Asking::new().await;
    let ask = Ask {
        by: Some(("admin", "ada")),
        why: Some("she called us"),
        org: Some("acme".to_owned()),
        ..Ask::of("7")
    };
    asking.ask(&ask).await;
    for sql in [
        "update public.data_export_requests set org_id = 'other'",
        "update public.data_export_requests set asked_as = 'owner'",
        "update public.data_export_requests set asked_by = 'bob'",
        "update public.data_export_requests set asked_why = null",
        "update public.data_export_requests set start = 'at_once'",
        "update public.data_export_accesses set actor = 'bob'",
        "update public.data_export_accesses set at = now() - interval '3 years'",
        "delete from public.data_export_accesses",
        "truncate public.data_export_accesses",
    ] {
        let refused = sqlx::query(sql).execute(&asking.owner).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert!(matches!(code.as_deref(), Some("23514" | "42501")), "{sql}: {refused}");
    }
}

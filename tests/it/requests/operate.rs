//! Operators' commands on requests: each move once, never an illegal one, and no link unless requested.

use std::{collections::BTreeMap, time::Duration};

use chrono::Utc;
use export_activities::{
    database::pool::Pool,
    requests::{
        claim::{self, Claimed, Count, Owner, Released},
        operate::{self, Retried, RevokeReason, Revoked},
        progress::{self, Phase, Report},
        state::{Delivery, Status, Trace, mark_ready},
    },
    scope::Scope,
    serialise::formats::Formats,
    store::object_key::ObjectKey,
    user_id::UserId,
};
use export_stack::shared::TestDatabase;
use uuid::Uuid;

const LINK: &str = "https://store.example/exports/a.zip?X-Amz-Signature=f00d";

struct Scene {
    database: TestDatabase,
    state: Pool,
}

impl Scene {
    async fn new() -> Self {
        let database = TestDatabase::new().await.unwrap();
        let state = database.state().await.unwrap();
        Self { database, state }
    }

    async fn pending(&self) -> Uuid {
        operate::create(&self.state, &Uuid::new_v4().into(), &Scope::default(), &Formats::default())
            .await
            .unwrap()
    }

    async fn claim(&self, id: Uuid) -> Uuid {
        let owner = Owner::new("night", "run", &id.to_string(), 1);
        match claim::claim(&self.state, id, Uuid::new_v4(), &owner, Duration::from_secs(60)).await.unwrap() {
            Claimed::Granted(claim) => claim.token,
            _ => panic!("the claim on {id} was not granted"),
        }
    }

    async fn ready(&self, expires_in: chrono::TimeDelta) -> Uuid {
        let id = self.pending().await;
        let token = self.claim(id).await;
        let delivery = Delivery {
            object_key: ObjectKey::new(id, token).as_str().to_owned(),
            object_location: "http://store.example/exports".to_owned(),
            archive_bytes: 1,
            archive_sha256: "ab".repeat(32),
            row_counts: BTreeMap::from([("users".to_owned(), 1)]),
            snapshot_at: Utc::now(),
            expires_at: Utc::now() + expires_in,
            receipt: None,
        };
        assert!(mark_ready(&self.state, id, token, &delivery, LINK, &Trace::default()).await.unwrap());
        id
    }

    async fn status(&self, id: Uuid) -> (String, Option<String>) {
        let shown = operate::show(&self.state, id).await.unwrap().unwrap();
        (shown.status.to_string(), shown.failure_reason)
    }

    async fn kinds(&self, id: Uuid) -> Vec<String> {
        let shown = operate::show(&self.state, id).await.unwrap().unwrap();
        shown.events.into_iter().map(|event| event.kind).collect()
    }
}

fn week() -> chrono::TimeDelta {
    chrono::TimeDelta::days(7)
}

#[tokio::test]
async fn a_ready_request_is_revoked_once_with_its_reason_and_its_log() {
    let scene = Scene::new().await;
    let id = scene.ready(week()).await;
    let revoked = operate::revoke(&scene.state, id, RevokeReason::UserRequest).await.unwrap();
    assert_eq!(revoked, Revoked::Done { had_archive: true });
    let again = operate::revoke(&scene.state, id, RevokeReason::Legal).await.unwrap();
    let had_failed = Revoked::HadFailed { reason: "revoked".to_owned(), has_archive: true };
    assert_eq!(again, had_failed);

    assert_eq!(scene.status(id).await, ("failed".to_owned(), Some("revoked".to_owned())));
    assert_eq!(scene.kinds(id).await, ["requested", "ready", "failed"]);
    let shown = operate::show(&scene.state, id).await.unwrap().unwrap();
    assert!(!shown.has_link && shown.link.is_none());
    assert_eq!(shown.last_error.as_deref(), Some("revoked by an operator: user_request"));
    assert!(
        shown.object_key.is_some() && shown.object_deleted_at.is_none(),
        "its archive waits for the expiry pass"
    );
}

#[tokio::test]
async fn revoking_takes_a_pending_request_from_the_attempt_that_holds_it() {
    let scene = Scene::new().await;
    let id = scene.pending().await;
    let token = scene.claim(id).await;
    let revoked = operate::revoke(&scene.state, id, RevokeReason::Mistake).await.unwrap();
    assert_eq!(revoked, Revoked::Done { had_archive: false });
    assert!(!claim::renew(&scene.state, id, token, Duration::from_secs(60)).await.unwrap());
    let released = claim::release(&scene.state, id, token, "system: late", Count::Nothing).await;
    assert!(matches!(released, Released::Lost), "{released:?}");
    assert_eq!(scene.status(id).await, ("failed".to_owned(), Some("revoked".to_owned())));
}

#[tokio::test]
async fn a_failed_request_is_repeated_once_however_often_it_is_asked_for() {
    let scene = Scene::new().await;
    let id = scene.pending().await;
    assert_eq!(operate::retry(&scene.state, id).await.unwrap(), Retried::NotFailed);
    operate::revoke(&scene.state, id, RevokeReason::Mistake).await.unwrap();

    let (one, two) = tokio::join!(operate::retry(&scene.state, id), operate::retry(&scene.state, id));
    let (new, seen) = match (one.unwrap(), two.unwrap()) {
        (Retried::Created(new), Retried::Waiting(seen)) | (Retried::Waiting(seen), Retried::Created(new)) => {
            (new, seen)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(new, seen);
    let shown = operate::show(&scene.state, new).await.unwrap().unwrap();
    assert_eq!((shown.status.as_str(), shown.retry_of), ("pending", Some(id)));
    let first = operate::show(&scene.state, id).await.unwrap().unwrap();
    assert_eq!(shown.user_id, first.user_id);
}

#[tokio::test]
async fn an_overdue_request_shows_as_failed_and_can_be_repeated_before_the_expiry_pass() {
    let scene = Scene::new().await;
    let id = scene.ready(chrono::TimeDelta::seconds(-1)).await;
    assert_eq!(scene.status(id).await, ("failed".to_owned(), Some("expired".to_owned())));
    let shown = operate::show(&scene.state, id).await.unwrap().unwrap();
    assert!(!shown.has_link && shown.link.is_none());
    assert!(matches!(operate::retry(&scene.state, id).await.unwrap(), Retried::Created(_)));
}

#[tokio::test]
async fn a_list_shows_one_state_newest_first_and_no_more_than_asked_for() {
    let scene = Scene::new().await;
    let (old, new) = (scene.pending().await, scene.pending().await);
    let ready = scene.ready(week()).await;
    let ids = |listed: Vec<operate::Listed>| listed.into_iter().map(|request| request.id).collect::<Vec<_>>();
    let pending = operate::list(&scene.state, Some(Status::Pending), 10).await.unwrap();
    assert_eq!(ids(pending), [new, old]);
    assert_eq!(ids(operate::list(&scene.state, Some(Status::Ready), 10).await.unwrap()), [ready]);
    assert_eq!(ids(operate::list(&scene.state, None, 2).await.unwrap()), [ready, new]);
}

#[tokio::test]
async fn what_is_shown_says_that_there_is_a_link_and_keeps_it_to_itself() {
    let scene = Scene::new().await;
    let id = scene.ready(week()).await;
    let shown = operate::show(&scene.state, id).await.unwrap().unwrap();
    assert!(shown.has_link);
    assert_eq!(shown.link.as_ref().unwrap().reveal(), LINK);
    let json = serde_json::to_string(&shown).unwrap();
    assert!(!json.contains("Signature") && !format!("{shown:?}").contains("Signature"));
    let digest = operate::delivered_sha256(&scene.state, id).await.unwrap();
    assert_eq!(digest, Some("ab".repeat(32)));
}

#[tokio::test]
async fn a_request_that_does_not_exist_is_named_as_unknown() {
    let scene = Scene::new().await;
    let id = Uuid::new_v4();
    assert!(operate::show(&scene.state, id).await.unwrap().is_none());
    assert_eq!(operate::revoke(&scene.state, id, RevokeReason::Legal).await.unwrap(), Revoked::Unknown);
    assert_eq!(operate::retry(&scene.state, id).await.unwrap(), Retried::Unknown);
    assert_eq!(operate::delivered_sha256(&scene.state, id).await.unwrap(), None);
}

#[tokio::test]
async fn pruning_takes_lines_older_than_two_years_and_none_that_are_younger() {
    let scene = Scene::new().await;
    let (old, young) = (scene.pending().await, scene.pending().await);
    age_log(&scene, &[old]).await;
    assert_eq!(operate::prune_events(&scene.state).await.unwrap(), 1);
    assert_eq!(operate::prune_events(&scene.state).await.unwrap(), 0);
    assert!(scene.kinds(old).await.is_empty());
    assert_eq!(scene.kinds(young).await, ["requested"]);
    let by_hand = sqlx::query("delete from public.data_export_events").execute(&scene.state).await;
    assert!(by_hand.is_err(), "a young line must not be deleted by anybody");
}

/// Makes lines of the log old; only the owner of the table can, by lifting its rule.
async fn age_log(scene: &Scene, ids: &[Uuid]) {
    let owner = scene.database.owner().await.unwrap();
    for (statement, ids) in [
        ("alter table public.data_export_events disable trigger data_export_events_keep", None),
        (
            "update public.data_export_events set at = now() - interval '24 months 1 day' where request_id = any($1)",
            Some(ids),
        ),
        ("alter table public.data_export_events enable trigger data_export_events_keep", None),
        ("alter table public.data_export_accesses disable trigger data_export_accesses_keep", None),
        (
            "update public.data_export_accesses set at = now() - interval '24 months 1 day' where request_id = any($1)",
            Some(ids),
        ),
        ("alter table public.data_export_accesses enable trigger data_export_accesses_keep", None),
    ] {
        let query = sqlx::query(statement);
        ids.into_iter().fold(query, |query, ids| query.bind(ids)).execute(&owner).await.unwrap();
    }
}

async fn deleted(scene: &Scene, id: Uuid) {
    sqlx::query("update public.data_export_requests set object_deleted_at = now() where id = $1")
        .bind(id)
        .execute(&scene.state)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_goes_with_its_last_line_and_a_repeated_one_after_its_repetition() {
    let scene = Scene::new().await;
    let (pending, ended, undeleted) =
        (scene.pending().await, scene.pending().await, scene.ready(week()).await);
    for id in [ended, undeleted] {
        operate::revoke(&scene.state, id, RevokeReason::Mistake).await.unwrap();
    }
    let first = scene.pending().await;
    operate::revoke(&scene.state, first, RevokeReason::Mistake).await.unwrap();
    let Retried::Created(second) = operate::retry(&scene.state, first).await.unwrap() else { panic!() };
    operate::revoke(&scene.state, second, RevokeReason::Mistake).await.unwrap();
    let there = async |id: Uuid| operate::show(&scene.state, id).await.unwrap().is_some();

    age_log(&scene, &[pending, ended, undeleted, first]).await;
    operate::prune_events(&scene.state).await.unwrap();
    assert!(!there(ended).await, "an ended request has gone");
    assert!(there(pending).await, "a request that waits stays");
    assert!(there(undeleted).await, "a request whose archive is not deleted stays");
    assert!(there(first).await && there(second).await, "the repetition still names the first one");

    let (old, young) = (scene.pending().await, scene.pending().await);
    for id in [old, young] {
        operate::revoke(&scene.state, id, RevokeReason::Mistake).await.unwrap();
        sqlx::query(
            "insert into public.data_export_accesses (request_id, actor_as, action) values ($1, 'owner', 'asked')",
        )
        .bind(id)
        .execute(&scene.database.owner().await.unwrap())
        .await
        .unwrap();
    }
    age_log(&scene, &[old, young]).await;
    sqlx::query(
        "insert into public.data_export_accesses (request_id, actor_as, action) values ($1, 'owner', 'withdrew')",
    )
    .bind(young)
    .execute(&scene.database.owner().await.unwrap())
    .await
    .unwrap();
    operate::prune_events(&scene.state).await.unwrap();
    assert!(!there(old).await, "its last line was one of the log of accesses");
    assert!(there(young).await, "a line of the log of accesses names it");

    age_log(&scene, &[second]).await;
    operate::prune_events(&scene.state).await.unwrap();
    assert!(!there(first).await && !there(second).await, "both have gone, the repetition first");
    let by_hand = sqlx::query("delete from public.data_export_requests").execute(&scene.state).await;
    assert_eq!(by_hand.unwrap_err().as_database_error().unwrap().code().unwrap(), "42501");
}

#[tokio::test]
async fn progress_goes_when_its_attempt_has_ended_or_says_nothing_more() {
    let scene = Scene::new().await;
    let report = Report {
        phase: Phase::Reading,
        done: 7,
        total: Some(10),
        entities: BTreeMap::from([("users".into(), 7)]),
    };
    let (running, silent, ended) = (scene.pending().await, scene.pending().await, scene.pending().await);
    for id in [running, silent, ended] {
        let token = scene.claim(id).await;
        assert!(progress::write(&scene.state, id, token, &report).await.unwrap());
        assert!(!progress::write(&scene.state, id, Uuid::new_v4(), &report).await.unwrap(), "not its claim");
    }
    operate::revoke(&scene.state, ended, RevokeReason::UserRequest).await.unwrap();
    let owner = scene.database.owner().await.unwrap();
    sqlx::query(
        "update public.data_export_progress set at = now() - interval '11 minutes' where request_id = $1",
    )
    .bind(silent)
    .execute(&owner)
    .await
    .unwrap();
    progress::clear(&scene.state).await.unwrap();
    let left: Vec<Uuid> = sqlx::query_scalar("select request_id from public.data_export_progress")
        .fetch_all(&owner)
        .await
        .unwrap();
    assert_eq!(left, [running]);
}

#[tokio::test]
async fn a_user_is_forgotten_in_ended_requests_whose_archive_is_deleted_and_in_no_others() {
    let scene = Scene::new().await;
    let user_of = async |id: Uuid| operate::show(&scene.state, id).await.unwrap().unwrap().user_id;
    let other = scene.pending().await;
    operate::revoke(&scene.state, other, RevokeReason::Mistake).await.unwrap();
    let others = user_of(other).await;

    let delivered = scene.ready(week()).await;
    let user = user_of(delivered).await;
    let waiting = operate::create(&scene.state, &user, &Scope::default(), &Formats::default()).await.unwrap();
    assert_eq!(operate::open_requests(&scene.state, &user).await.unwrap(), [delivered, waiting]);
    let none = operate::Forgotten { forgotten: 0, left: 2 };
    assert_eq!(operate::forget(&scene.state, &user).await.unwrap(), none);

    for id in [delivered, waiting] {
        operate::revoke(&scene.state, id, RevokeReason::UserRequest).await.unwrap();
    }
    let one = operate::Forgotten { forgotten: 1, left: 1 };
    assert_eq!(operate::forget(&scene.state, &user).await.unwrap(), one);
    assert_eq!((user_of(waiting).await, user_of(delivered).await), (UserId::forgotten(), user.clone()));
    deleted(&scene, delivered).await;
    let rest = operate::Forgotten { forgotten: 1, left: 0 };
    assert_eq!(operate::forget(&scene.state, &user).await.unwrap(), rest);
    let shown = operate::show(&scene.state, delivered).await.unwrap().unwrap();
    assert_eq!((shown.user_id, shown.last_error), (UserId::forgotten(), None));
    assert_eq!(operate::retry(&scene.state, delivered).await.unwrap(), Retried::Forgotten);
    assert_eq!(user_of(other).await, others);
}

#[tokio::test]
async fn a_forgotten_user_leaves_no_session_no_reason_and_no_name_behind() {
    let scene = Scene::new().await;
    let owner = scene.database.owner().await.unwrap();
    let forget: UserId = "7".parse().unwrap();
    let ask =
        "select request_id from public.data_export_ask($1, p_as => 'admin', p_by => $2, p_why => 'Ada asked',
                   p_key => 'k')";
    let ask = async |user: &str, by: &str| {
        sqlx::query_scalar::<_, Uuid>(ask).bind(user).bind(by).fetch_one(&owner).await.unwrap()
    };
    let (own, others) = (ask("7", "ada").await, ask("8", "7").await);
    operate::revoke(&scene.state, own, RevokeReason::UserRequest).await.unwrap();
    sqlx::raw_sql(
        "insert into public.data_export_sessions (token_hash, kind, user_id, made_by, expires_at)
         select sha256(u::bytea), 'token', u, 'crm', now() + interval '1 hour' from (values ('7'), ('8')) v (u)",
    )
    .execute(&owner)
    .await
    .unwrap();
    operate::forget(&scene.state, &forget).await.unwrap();
    let named: Vec<String> = sqlx::query_scalar(
        "select 'session of ' || user_id from public.data_export_sessions
         union all select 'asked by ' || asked_by || ': ' || asked_why || ' ' || (ask_key is not null)
             from public.data_export_requests where id in ($1, $2)
         union all select 'access of ' || actor || ': ' || why from public.data_export_accesses order by 1",
    )
    .bind(own)
    .bind(others)
    .fetch_all(&owner)
    .await
    .unwrap();
    insta::assert_debug_snapshot!(named, @r#"
    [
        "access of 00000000-0000-0000-0000-000000000000: Ada asked",
        "access of ada: forgotten",
        "asked by 00000000-0000-0000-0000-000000000000: Ada asked true",
        "asked by ada: forgotten false",
        "session of 8",
    ]
    "#);
}

#[tokio::test]
async fn the_database_refuses_every_other_change_of_a_user() {
    let scene = Scene::new().await;
    // Who owns the tables may change every column, and is refused as well.
    let owner = scene.database.owner().await.unwrap();
    let (pending, ready, undeleted) =
        (scene.pending().await, scene.ready(week()).await, scene.ready(week()).await);
    operate::revoke(&scene.state, undeleted, RevokeReason::Mistake).await.unwrap();
    let ended = scene.pending().await;
    operate::revoke(&scene.state, ended, RevokeReason::Mistake).await.unwrap();
    let nil = "user_id = '00000000-0000-0000-0000-000000000000'";
    for (id, change) in [
        (pending, nil),
        (ready, nil),
        (undeleted, nil),
        (ended, "user_id = gen_random_uuid()"),
        (ended, format!("{nil}, requested_at = now()").as_str()),
        (ended, format!("{nil}, status = 'pending'").as_str()),
        (ended, format!("{nil}, failure_reason = 'expired'").as_str()),
    ] {
        let sql = format!("update public.data_export_requests set {change} where id = $1");
        let refused = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(&owner).await;
        let code = refused.unwrap_err().as_database_error().and_then(|error| error.code().map(Into::into));
        assert_eq!(code, Some("23514".to_owned()), "{change}");
    }
}

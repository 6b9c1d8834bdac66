//! What an operator does to requests: each move once, never an illegal one, and no link unless it is asked for.

use std::{collections::BTreeMap, time::Duration};

use chrono::Utc;
use export_activities::{
    claim::{self, Claimed, Count, Owner},
    object_key::ObjectKey,
    operate::{self, Retried, RevokeReason, Revoked},
    request::{Delivery, Trace, mark_ready},
};
use export_tests::shared::TestDatabase;
use sqlx::PgPool;
use uuid::Uuid;

const LINK: &str = "https://store.example/exports/a.zip?X-Amz-Signature=f00d";

struct Scene {
    database: TestDatabase,
    state: PgPool,
}

impl Scene {
    async fn new() -> Self {
        let database = TestDatabase::new().await.unwrap();
        let state = database.state().await.unwrap();
        Self { database, state }
    }

    async fn pending(&self) -> Uuid {
        operate::create(&self.state, Uuid::new_v4()).await.unwrap()
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
            archive_bytes: 1,
            archive_sha256: "ab".repeat(32),
            row_counts: BTreeMap::from([("users".to_owned(), 1)]),
            snapshot_at: Utc::now(),
            expires_at: Utc::now() + expires_in,
        };
        assert!(mark_ready(&self.state, id, token, &delivery, LINK, &Trace::default()).await.unwrap());
        id
    }

    async fn status(&self, id: Uuid) -> (String, Option<String>) {
        let shown = operate::show(&self.state, id).await.unwrap().unwrap();
        (shown.status, shown.failure_reason)
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
    assert_eq!(again, Revoked::HadFailed("revoked".to_owned()));

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
    assert!(!claim::release(&scene.state, id, token, "system: late", Count::Nothing).await.unwrap());
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
    let pending = operate::list(&scene.state, Some("pending"), 10).await.unwrap();
    assert_eq!(ids(pending), [new, old]);
    assert_eq!(ids(operate::list(&scene.state, Some("ready"), 10).await.unwrap()), [ready]);
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
    let owner = scene.database.owner().await.unwrap();
    // Only the owner of the table, by lifting the rule, can make a line old.
    for statement in [
        "alter table public.data_export_events disable trigger data_export_events_keep",
        "update public.data_export_events set at = now() - interval '24 months 1 day'
         where request_id = (select id from public.data_export_requests order by requested_at limit 1)",
        "alter table public.data_export_events enable trigger data_export_events_keep",
    ] {
        sqlx::query(statement).execute(&owner).await.unwrap();
    }
    assert_eq!(operate::prune_events(&scene.state).await.unwrap(), 1);
    assert_eq!(operate::prune_events(&scene.state).await.unwrap(), 0);
    assert!(scene.kinds(old).await.is_empty());
    assert_eq!(scene.kinds(young).await, ["requested"]);
    let by_hand = sqlx::query("delete from public.data_export_events").execute(&scene.state).await;
    assert!(by_hand.is_err(), "a young line must not be deleted by anybody");
}

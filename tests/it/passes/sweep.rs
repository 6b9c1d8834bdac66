//! A sweep takes what no request points to, and never a live, young or foreign object.

use std::time::Duration;

use export_activities::{
    database::pool::Pool,
    failure::{Class, Failure, judge},
    passes::sweep::{SweepOptions, sweep},
    pulse::Pulse,
    requests::brake::{self, Held},
    store::{
        Store, StoreConfig,
        installation::open_bucket,
        object_key::{INSTALLATION_MARK, ObjectKey},
    },
};
use export_stack::{instruments::faulty_store::Fault, shared::TestDatabase};
use export_workflows::contract::SweepOutput;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::servers::{
    connect, content, faulty_store, keep_versions, new_key, real_store, sdk_client, state,
    unfinished_uploads, versions,
};

/// Everything counts as old.
const NOW: SweepOptions = SweepOptions { min_age: Duration::ZERO, dry_run: false, force: false };

fn swept(swept: u64) -> SweepOutput {
    SweepOutput { swept, refused: false }
}

/// A bucket that belongs to the installation of a database, both empty.
pub(super) struct Scene {
    pub(super) config: StoreConfig,
    pub(super) store: Store,
    pub(super) state: Pool,
    /// As the owner of the tables.
    pub(super) owner: PgPool,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::of(real_store().await).await
    }

    pub(super) async fn of(config: StoreConfig) -> Self {
        let database = TestDatabase::new().await.unwrap();
        let (store, state) = (connect(&config).await, database.state().await.unwrap());
        open_bucket(&state, &store).await.unwrap();
        Self { config, store, state, owner: database.owner().await.unwrap() }
    }

    async fn put(&self, key: &str) {
        let client = sdk_client(&self.config);
        client.put_object().bucket(&self.config.bucket).key(key).body(vec![7].into()).send().await.unwrap();
    }

    async fn put_many(&self, keys: Vec<String>) {
        let client = sdk_client(&self.config);
        let put = |key| client.put_object().bucket(&self.config.bucket).key(key).body(vec![7].into()).send();
        stream::iter(keys).map(put).buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    }

    async fn begin_upload(&self, key: &str) {
        let client = sdk_client(&self.config);
        client.create_multipart_upload().bucket(&self.config.bucket).key(key).send().await.unwrap();
    }

    /// Returns the keys of all objects, in order, without the installation's mark.
    async fn objects(&self) -> Vec<String> {
        let client = sdk_client(&self.config);
        let mut pages = client.list_objects_v2().bucket(&self.config.bucket).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(
                page.unwrap().contents.unwrap_or_default().into_iter().map(|object| object.key.unwrap()),
            );
        }
        keys.retain(|key| key != INSTALLATION_MARK);
        keys
    }

    async fn sweep(&self, options: SweepOptions) -> anyhow::Result<SweepOutput> {
        sweep(&self.state, &self.store, &options, &Pulse::default()).await
    }

    /// The passes that the database remembers as held.
    async fn held(&self) -> Vec<Held> {
        brake::held(&mut self.state.acquire().await.unwrap()).await.unwrap()
    }

    /// A pending request whose claim carries the token of `key`.
    async fn claimed(&self, key: &ObjectKey) {
        let sql = "insert into public.data_export_requests
                (id, user_id, claim_token, claim_owner, claim_try, lease_until)
            values ($1, $1, $2, 'w/r/a', 1, now() + interval '1 minute')";
        sqlx::query(sql).bind(key.request_id()).bind(key.token()).execute(&self.owner).await.unwrap();
    }

    /// A request that was delivered with `key`, and then failed when `failed` says so.
    async fn delivered(&self, key: &ObjectKey, failed: bool) {
        let sql = "insert into public.data_export_requests
                (id, user_id, status, download_url, expires_at, object_key, archive_bytes, archive_sha256,
                 row_counts, snapshot_at, fulfilled_at, pseudonym_salt)
            values ($1, $1, 'ready', 'https://x', now(), $2, 1, repeat('a', 64), '{}', now(), now(), null)";
        sqlx::query(sql).bind(key.request_id()).bind(key.as_str()).execute(&self.owner).await.unwrap();
        if failed {
            let sql = "update public.data_export_requests
                set status = 'failed', failure_reason = 'expired', download_url = null where id = $1";
            sqlx::query(sql).bind(key.request_id()).execute(&self.owner).await.unwrap();
        }
    }
}

fn orphans(count: usize) -> Vec<String> {
    (0..count).map(|_| new_key().to_string()).collect()
}

fn sorted(keys: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    let mut keys: Vec<String> = keys.into_iter().map(|key| key.to_string()).collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn orphans_are_taken_and_whatever_a_row_points_to_is_left() {
    let scene = Scene::new().await;
    let (claimed, ready, failed) = (new_key(), new_key(), new_key());
    scene.claimed(&claimed).await;
    scene.delivered(&ready, false).await;
    scene.delivered(&failed, true).await;
    // Orphans of each kind: of no request, of an older claim of a pending one, of a lost race of a ready one.
    let lost_claim = ObjectKey::new(claimed.request_id(), Uuid::new_v4());
    let lost_race = ObjectKey::new(ready.request_id(), Uuid::new_v4());
    let nobodys = new_key();
    for key in [&claimed, &ready, &failed, &lost_claim, &lost_race, &nobodys] {
        scene.put(key.as_str()).await;
    }
    assert_eq!(scene.sweep(SweepOptions { dry_run: true, ..NOW }).await.unwrap(), swept(3));
    assert_eq!(scene.objects().await.len(), 6, "a dry run deletes nothing");
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(3));
    assert_eq!(scene.objects().await, sorted([&claimed, &ready, &failed]));
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(0));
}

#[tokio::test]
async fn unfinished_uploads_are_taken_unless_a_claim_is_at_work_on_them() {
    let scene = Scene::new().await;
    let (claimed, nobodys, other) = (new_key(), new_key(), new_key());
    scene.claimed(&claimed).await;
    for key in [claimed.as_str(), nobodys.as_str(), nobodys.as_str(), other.as_str(), "exports/by-hand.zip"] {
        scene.begin_upload(key).await;
    }
    assert_eq!(scene.sweep(SweepOptions { dry_run: true, ..NOW }).await.unwrap(), swept(3));
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(3));
    assert_eq!(
        sorted(unfinished_uploads(&scene.config).await),
        sorted([claimed.as_str(), "exports/by-hand.zip"])
    );
}

#[tokio::test]
async fn young_objects_and_uploads_are_left_until_they_are_old() {
    let scene = Scene::new().await;
    scene.put(new_key().as_str()).await;
    scene.begin_upload(new_key().as_str()).await;
    let a_day = Duration::from_secs(24 * 3600);
    assert_eq!(scene.sweep(SweepOptions { min_age: a_day, ..NOW }).await.unwrap(), swept(0));
    assert_eq!((scene.objects().await.len(), unfinished_uploads(&scene.config).await.len()), (1, 1));
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(2));
}

#[tokio::test]
async fn what_does_not_have_exactly_our_form_is_left() {
    let scene = Scene::new().await;
    let key = new_key();
    let foreign = [
        format!("elsewhere/{key}"),
        "exports/by-hand.zip".to_owned(),
        format!("exports/{}/notes.txt", Uuid::new_v4()),
        format!("exports/{}/{}.zip", key.request_id().simple(), key.token().simple()),
        new_key().as_str().to_uppercase().replace("EXPORTS", "exports").replace(".ZIP", ".zip"),
        format!("{}.bak", new_key()),
    ];
    for key in &foreign {
        scene.put(key).await;
    }
    assert_eq!(scene.sweep(SweepOptions { force: true, ..NOW }).await.unwrap(), swept(0));
    assert_eq!(scene.objects().await, sorted(foreign));
}

#[tokio::test]
async fn a_sweep_that_would_take_more_than_a_tenth_is_refused_unless_forced() {
    let scene = Scene::new().await;
    // Half of a small bucket, as after a restore of the database from yesterday.
    let kept: Vec<String> = (0..10).map(|n| format!("exports/by-hand/{n}.zip")).collect();
    scene.put_many(kept.clone()).await;
    scene.put_many(orphans(10)).await;
    let refused = SweepOutput { swept: 0, refused: true };
    assert_eq!(scene.sweep(SweepOptions { dry_run: true, ..NOW }).await.unwrap(), refused);
    assert_eq!(scene.held().await, [] as [Held; 0], "a dry run leaves no brake");
    assert_eq!(scene.sweep(NOW).await.unwrap(), refused);
    assert_eq!(scene.objects().await.len(), 20);
    let held = scene.held().await;
    assert_eq!((held.len(), held[0].brake.as_str(), held[0].hit, held[0].total), (1, "sweep", 10, 20));
    // One object more, and it is no longer half.
    scene.put("exports/by-hand/last.zip").await;
    assert_eq!(scene.sweep(SweepOptions { dry_run: true, ..NOW }).await.unwrap(), swept(10));
    scene.put_many(orphans(20)).await;
    assert_eq!(scene.sweep(NOW).await.unwrap(), refused);
    assert_eq!(scene.sweep(SweepOptions { force: true, ..NOW }).await.unwrap(), swept(30));
    assert_eq!(scene.objects().await.len(), 11);
    assert_eq!(scene.held().await, [] as [Held; 0], "a sweep that goes through releases the brake");
}

#[tokio::test]
async fn unfinished_uploads_are_no_reason_to_brake() {
    let scene = Scene::new().await;
    for _ in 0..12 {
        scene.begin_upload(new_key().as_str()).await;
    }
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(12));
}

#[tokio::test]
async fn an_archive_whose_row_says_deleted_is_an_orphan() {
    let scene = Scene::new().await;
    let (deleted, failed) = (new_key(), new_key());
    for key in [&deleted, &failed] {
        scene.delivered(key, true).await;
        scene.put(key.as_str()).await;
    }
    let note = "update public.data_export_requests set object_deleted_at = now() where object_key = $1";
    sqlx::query(note).bind(deleted.as_str()).execute(&scene.owner).await.unwrap();
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(1));
    assert_eq!(scene.objects().await, [failed.as_str()]);
}

#[tokio::test]
async fn every_version_of_an_orphan_is_taken_also_behind_a_marker() {
    let scene = Scene::new().await;
    keep_versions(&scene.config).await;
    let (hidden, plain) = (new_key(), new_key());
    for key in [&hidden, &plain] {
        scene.put(key.as_str()).await;
        scene.put(key.as_str()).await;
    }
    let client = sdk_client(&scene.config);
    client.delete_object().bucket(&scene.config.bucket).key(hidden.as_str()).send().await.unwrap();
    assert_eq!(scene.objects().await, [plain.as_str()], "the other one is behind a marker");
    assert!(!scene.sweep(NOW).await.unwrap().refused);
    assert_eq!(versions(&scene.config).await, [INSTALLATION_MARK]);
}

#[tokio::test]
async fn a_sweep_goes_through_all_pages_while_it_deletes() {
    let scene = Scene::new().await;
    // Beside more than a tenth of others, so that two pages and a part are swept without force.
    let kept: Vec<String> = (0..1_000).map(|n| format!("exports/by-hand/{n:04}.zip")).collect();
    scene.put_many(kept.clone()).await;
    scene.put_many(orphans(105)).await;
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(105));
    assert_eq!(scene.objects().await, kept);
    scene.put_many(orphans(1_200)).await;
    assert_eq!(scene.sweep(SweepOptions { force: true, ..NOW }).await.unwrap(), swept(1_200));
    assert_eq!(scene.objects().await, kept);
}

#[tokio::test]
async fn the_bucket_of_another_installation_is_not_swept() {
    let scene = Scene::new().await;
    scene.put(new_key().as_str()).await;
    let elsewhere = state().await;
    for options in [NOW, SweepOptions { force: true, ..NOW }] {
        let error = sweep(&elsewhere, &scene.store, &options, &Pulse::default()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::Installation(_))), "{error:#}");
    }
    assert_eq!(scene.objects().await.len(), 1);
}

#[tokio::test]
async fn a_bucket_without_a_mark_is_not_swept() {
    let (config, state) = (real_store().await, state().await);
    let store = connect(&config).await;
    let error = sweep(&state, &store, &NOW, &Pulse::default()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Failure::Installation(_))), "{error:#}");
    let key = new_key();
    let client = sdk_client(&config);
    let put = client.put_object().bucket(&config.bucket).key(key.as_str()).body(vec![7].into());
    put.send().await.unwrap();
    let error = sweep(&state, &store, &NOW, &Pulse::default()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Failure::Installation(_))), "{error:#}");
    assert!(content(&config, &key).await.is_some());
}

#[tokio::test]
async fn an_object_that_a_request_claims_during_the_sweep_is_left() {
    let (faulty, config, _folder) = faulty_store().await;
    let scene = Scene::of(config).await;
    let mut keys = [new_key(), new_key()];
    keys.sort();
    for key in &keys {
        scene.put(key.as_str()).await;
    }
    faulty.fail_all("DeleteObject", Fault::Hold);
    let (done, ()) = tokio::join!(scene.sweep(NOW), async {
        faulty.wait_in_flight("DeleteObject", 1).await.unwrap();
        scene.claimed(&keys[1]).await;
        faulty.release();
    });
    assert_eq!(done.unwrap(), swept(1));
    assert_eq!(scene.objects().await, [keys[1].as_str()]);
}

#[tokio::test]
async fn a_sweep_that_is_cancelled_or_meets_a_store_that_fails_ends_and_can_be_repeated() {
    let (faulty, config, _folder) = faulty_store().await;
    let scene = Scene::of(config).await;
    scene.put_many(orphans(3)).await;
    let pulse = Pulse::default();
    pulse.cancel();
    let error = sweep(&scene.state, &scene.store, &NOW, &pulse).await.unwrap_err();
    assert_eq!(judge(&error).class, Class::Interrupted);
    // Each call is tried three times.
    for call in 2..=4 {
        faulty.fail("DeleteObject", call, Fault::InternalError);
    }
    let error = scene.sweep(NOW).await.unwrap_err();
    assert_eq!(judge(&error).code, "store/InternalError");
    assert_eq!(scene.objects().await.len(), 2);
    assert_eq!(scene.sweep(NOW).await.unwrap(), swept(2));
}

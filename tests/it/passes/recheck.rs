//! Delivered archives are compared with their rows, and some are read back.

use std::time::Duration;

use export_activities::{
    passes::recheck::{RecheckOptions, Rechecked, recheck},
    pulse::Pulse,
    requests::checks::damaged,
    store::object_key::ObjectKey,
};
use export_stack::instruments::faulty_store::Fault;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use super::sweep::Scene;
use crate::support::servers::{faulty_store, keep_versions, new_key, sdk_client};

/// Enough for everything.
const ALL: u64 = u64::MAX;

/// Stores an archive and the row of its request.
async fn deliver(scene: &Scene, body: &[u8]) -> ObjectKey {
    let key = new_key();
    put(scene, &key, body).await;
    let sql = "insert into public.data_export_requests
            (id, user_id, status, download_url, expires_at, object_key, archive_bytes, archive_sha256,
             row_counts, snapshot_at, fulfilled_at, pseudonym_salt)
        values ($1, $1, 'ready', 'https://x', now() + interval '7 days', $2, $3, $4, '{}', now(),
            clock_timestamp(), null)";
    let insert = sqlx::query(sql).bind(key.request_id()).bind(key.as_str());
    let insert = insert.bind(i64::try_from(body.len()).unwrap()).bind(hex::encode(Sha256::digest(body)));
    insert.execute(&scene.owner).await.unwrap();
    key
}

async fn put(scene: &Scene, key: &ObjectKey, body: &[u8]) {
    let client = sdk_client(&scene.config);
    let put = client.put_object().bucket(&scene.config.bucket).key(key.as_str()).body(body.to_vec().into());
    put.send().await.unwrap();
}

async fn delete(scene: &Scene, key: &ObjectKey) {
    let client = sdk_client(&scene.config);
    client.delete_object().bucket(&scene.config.bucket).key(key.as_str()).send().await.unwrap();
}

async fn check(scene: &Scene, bytes: u64) -> Rechecked {
    let options = RecheckOptions { bytes, within: None };
    recheck(&scene.state, &scene.store, &options, &Pulse::default()).await.unwrap()
}

/// The requests with a finding, in the order of their ids.
async fn findings(owner: &PgPool) -> Vec<(Uuid, String)> {
    let sql =
        "select request_id, finding from public.data_export_checks where finding is not null order by 1";
    sqlx::query_as(sql).fetch_all(owner).await.unwrap()
}

async fn logged(owner: &PgPool) -> Vec<(Uuid, String)> {
    let sql = "select request_id, reason from public.data_export_events where kind = 'damaged' order by 1";
    sqlx::query_as(sql).fetch_all(owner).await.unwrap()
}

#[tokio::test]
async fn what_is_missing_or_differs_is_found_logged_once_and_forgotten_when_it_is_whole() {
    let scene = Scene::new().await;
    let whole = deliver(&scene, b"whole").await;
    let other_bytes = deliver(&scene, b"bytes").await;
    let other_size = deliver(&scene, b"size").await;
    let missing = deliver(&scene, b"missing").await;
    let done = check(&scene, ALL).await;
    assert_eq!((done.compared, done.read, done.bytes, done.damaged.len()), (4, 4, 21, 0));
    assert_eq!(findings(&scene.owner).await, []);

    put(&scene, &other_bytes, b"bYtes").await;
    put(&scene, &other_size, b"sizes").await;
    delete(&scene, &missing).await;
    // Without reading, another size is seen, and other bytes of the same size are not.
    let seen = check(&scene, 0).await;
    let ids = |keys: &[&ObjectKey]| keys.iter().map(|key| key.request_id()).collect();
    assert_eq!((seen.read, seen.damaged), (0, ids(&[&other_size, &missing])));
    let found = check(&scene, ALL).await;
    assert_eq!((found.read, found.damaged), (2, ids(&[&other_bytes, &other_size, &missing])));
    let mut expected = vec![
        (other_bytes.request_id(), "other_bytes".to_owned()),
        (other_size.request_id(), "other_size".to_owned()),
        (missing.request_id(), "missing".to_owned()),
    ];
    expected.sort();
    assert_eq!(findings(&scene.owner).await, expected);
    assert_eq!(logged(&scene.owner).await, expected);
    check(&scene, ALL).await;
    assert_eq!(logged(&scene.owner).await, expected, "once");
    let mut connection = scene.state.acquire().await.unwrap();
    assert_eq!(damaged(&mut connection).await.unwrap().count, 3);

    // Not read again before its turn, another size is seen to be right again, and other bytes are not.
    put(&scene, &other_size, b"size").await;
    check(&scene, 0).await;
    expected.retain(|(id, _)| *id != other_size.request_id());
    assert_eq!(findings(&scene.owner).await, expected);
    expected.push((other_size.request_id(), "other_size".to_owned()));
    expected.sort();

    // The bucket was restored. One request has ended meanwhile.
    put(&scene, &other_bytes, b"bytes").await;
    put(&scene, &missing, b"missing").await;
    let sql = "update public.data_export_requests
        set status = 'failed', failure_reason = 'expired', download_url = null where id = $1";
    sqlx::query(sql).bind(other_size.request_id()).execute(&scene.owner).await.unwrap();
    let done = check(&scene, ALL).await;
    assert_eq!((done.compared, done.read, done.damaged.len()), (3, 3, 0));
    assert_eq!(findings(&scene.owner).await, []);
    assert_eq!(damaged(&mut connection).await.unwrap().count, 0);
    assert_eq!(logged(&scene.owner).await, expected, "the log keeps what was");
    let checked: Vec<Uuid> =
        sqlx::query_scalar("select request_id from public.data_export_checks order by 1")
            .fetch_all(&scene.owner)
            .await
            .unwrap();
    let mut ready = vec![whole.request_id(), other_bytes.request_id(), missing.request_id()];
    ready.sort();
    assert_eq!(checked, ready);
}

#[tokio::test]
async fn a_night_reads_so_many_bytes_and_every_archive_in_its_turn() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        deliver(&scene, &[7; 100]).await;
    }
    let large = deliver(&scene, &[7; 1000]).await;
    // The large one alone is more than a night's share.
    for expected in [200, 200, 100, 1000] {
        let done = check(&scene, 250).await;
        assert_eq!((done.compared, done.bytes, done.damaged.len()), (6, expected, 0));
    }
    let read: i64 = sqlx::query_scalar("select count(*) from public.data_export_checks")
        .fetch_one(&scene.owner)
        .await
        .unwrap();
    assert_eq!(read, 6);
    put(&scene, &large, &[8; 1000]).await;
    let mut nights = 0;
    while check(&scene, 250).await.damaged.is_empty() {
        nights += 1;
    }
    assert!(nights < 4, "{nights}");
}

/// A bucket that keeps versions still has what a marker hides, but a link does not find it.
#[tokio::test]
async fn an_archive_behind_a_marker_is_missing() {
    let scene = Scene::new().await;
    keep_versions(&scene.config).await;
    let hidden = deliver(&scene, b"hidden").await;
    check(&scene, ALL).await;
    delete(&scene, &hidden).await;
    assert_eq!(check(&scene, 0).await.damaged, [hidden.request_id()].into());
    assert_eq!(findings(&scene.owner).await, [(hidden.request_id(), "missing".to_owned())]);
}

#[tokio::test]
async fn one_missing_among_more_than_a_page_of_a_listing_is_found() {
    let scene = Scene::new().await;
    let mut keys = Vec::new();
    for _ in 0..1_050 {
        keys.push(deliver(&scene, b"x").await);
    }
    let done = check(&scene, 0).await;
    assert_eq!((done.compared, done.damaged.len()), (1_050, 0));
    keys.sort();
    for key in [&keys[0], &keys[999], &keys[1_049]] {
        delete(&scene, key).await;
        assert!(check(&scene, 0).await.damaged.contains(&key.request_id()));
    }
}

#[tokio::test]
async fn what_the_store_refuses_is_found_and_what_breaks_is_left_for_later() {
    let (faulty, config, _folder) = faulty_store().await;
    let scene = Scene::of(config).await;
    let (broken, refused) = (deliver(&scene, b"broken").await, deliver(&scene, b"refused").await);
    let whole = deliver(&scene, b"whole").await;
    faulty.fail_object("GetObject", broken.as_str(), Fault::InternalError);
    faulty.fail_object("GetObject", refused.as_str(), Fault::AccessDenied);
    let done = check(&scene, ALL).await;
    assert_eq!((done.read, done.damaged), (1, [refused.request_id()].into()));
    assert_eq!(findings(&scene.owner).await, [(refused.request_id(), "unreadable".to_owned())]);
    let checked = async || -> Vec<Uuid> {
        let sql = "select request_id from public.data_export_checks where finding is null order by 1";
        sqlx::query_scalar(sql).fetch_all(&scene.owner).await.unwrap()
    };
    assert_eq!(checked().await, [whole.request_id()]);
    faulty.heal();
    let done = check(&scene, ALL).await;
    assert_eq!((done.read, done.damaged.len()), (3, 0));
    assert_eq!(checked().await.len(), 3);

    // When none can be read, the store is in trouble.
    faulty.fail_all("GetObject", Fault::InternalError);
    let options = RecheckOptions { bytes: ALL, within: None };
    recheck(&scene.state, &scene.store, &options, &Pulse::default()).await.unwrap_err();
    assert_eq!(findings(&scene.owner).await, []);
}

#[tokio::test]
async fn after_its_time_no_archive_is_begun() {
    let scene = Scene::new().await;
    deliver(&scene, b"whole").await;
    let options = RecheckOptions { bytes: ALL, within: Some(Duration::ZERO) };
    let done = recheck(&scene.state, &scene.store, &options, &Pulse::default()).await.unwrap();
    assert_eq!((done.compared, done.read), (1, 0));
    let options = RecheckOptions { within: Some(Duration::from_secs(60)), ..options };
    let done = recheck(&scene.state, &scene.store, &options, &Pulse::default()).await.unwrap();
    assert_eq!((done.compared, done.read), (1, 1));
}

/// Such as after a night in the bucket of another installation, or in an emptied one.
#[tokio::test]
async fn in_an_empty_bucket_the_search_ends_after_a_thousand() {
    let scene = Scene::new().await;
    let sql = "insert into public.data_export_requests
            (id, user_id, status, download_url, expires_at, object_key, archive_bytes, archive_sha256,
             row_counts, snapshot_at, fulfilled_at, pseudonym_salt)
        select id, id::text, 'ready', 'https://x', now() + interval '7 days', 'exports/' || id || '/' || id || '.zip', 1,
            repeat('a', 64), '{}', now(), now(), null
        from (select gen_random_uuid() as id from generate_series(1, 1005)) one";
    sqlx::raw_sql(sql).execute(&scene.owner).await.unwrap();
    let done = check(&scene, 0).await;
    assert_eq!((done.compared, done.damaged.len()), (1000, 1000));
}

//! Two installations never share a bucket.

use export_activities::{
    failure::{Class, judge},
    store::{
        StoreConfig,
        installation::{Ownership, adopt, answers, mark_if_empty, read_ownership},
        object_key::INSTALLATION_MARK,
    },
};
use export_stack::instruments::faulty_store::Fault;
use uuid::Uuid;

use crate::support::servers::{connect, faulty_store, new_key, real_store, sdk_client};

async fn put(config: &StoreConfig, key: &str, content: &str) {
    let body = content.as_bytes().to_vec().into();
    sdk_client(config).put_object().bucket(&config.bucket).key(key).body(body).send().await.unwrap();
}

#[tokio::test]
async fn an_empty_bucket_is_marked_once_and_then_ours() {
    let config = real_store().await;
    let (store, id) = (connect(&config).await, Uuid::new_v4());
    put(&config, "something-else/of-the-platform", "").await;
    assert_eq!(read_ownership(&store, id).await.unwrap(), None);
    assert_eq!(mark_if_empty(&store, id).await.unwrap(), Ownership::Written);
    assert_eq!(mark_if_empty(&store, id).await.unwrap(), Ownership::Ours);
    put(&config, new_key().as_str(), "an archive").await;
    assert_eq!(mark_if_empty(&store, id).await.unwrap(), Ownership::Ours);
    assert_eq!(read_ownership(&store, id).await.unwrap(), Some(Ownership::Ours));
}

#[tokio::test]
async fn a_bucket_with_objects_and_no_mark_is_left_alone() {
    let config = real_store().await;
    let (store, id) = (connect(&config).await, Uuid::new_v4());
    put(&config, new_key().as_str(), "whose archive?").await;
    assert_eq!(mark_if_empty(&store, id).await.unwrap(), Ownership::Missing);
    assert_eq!(mark_if_empty(&store, id).await.unwrap(), Ownership::Missing, "no mark was written");
    let refusal = Ownership::Missing.require_ours(&store).unwrap_err().to_string();
    assert!(refusal.contains(&config.bucket) && refusal.contains("--adopt-bucket"), "{refusal}");
}

#[tokio::test]
async fn the_bucket_of_another_installation_is_left_alone_until_it_is_adopted() {
    let config = real_store().await;
    let (store, ours, theirs) = (connect(&config).await, Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(mark_if_empty(&store, theirs).await.unwrap(), Ownership::Written);
    let foreign = mark_if_empty(&store, ours).await.unwrap();
    assert_eq!(foreign, Ownership::Foreign(Some(theirs)));
    let refusal = anyhow::Error::from(foreign.require_ours(&store).unwrap_err());
    assert_eq!((judge(&refusal).class, judge(&refusal).code.as_str()), (Class::System, "installation"));
    adopt(&store, ours).await.unwrap();
    assert_eq!(mark_if_empty(&store, ours).await.unwrap(), Ownership::Ours);
    assert_eq!(mark_if_empty(&store, theirs).await.unwrap(), Ownership::Foreign(Some(ours)));
}

#[tokio::test]
async fn a_mark_that_is_no_id_is_foreign() {
    for content in
        ["", "hello", "0198c6b2-0a4e-4c51-9d6e-2f3f0c6f7a1", "xxxxxxxx-0a4e-4c51-9d6e-2f3f0c6f7a10"]
    {
        let config = real_store().await;
        put(&config, INSTALLATION_MARK, content).await;
        let ownership = mark_if_empty(&connect(&config).await, Uuid::new_v4()).await.unwrap();
        assert_eq!(ownership, Ownership::Foreign(None), "{content:?}");
    }
}

#[tokio::test]
async fn of_two_that_mark_a_bucket_together_the_first_has_it() {
    let (faulty, config, _folder) = faulty_store().await;
    let store = connect(&config).await;
    let (first, late) = (Uuid::new_v4(), Uuid::new_v4());
    // Both have seen a bucket without a mark, and the one that asked earlier writes later.
    faulty.fail("PutObject", 1, Fault::Hold);
    let held = {
        let store = store.clone();
        tokio::spawn(async move { mark_if_empty(&store, late).await })
    };
    faulty.wait_in_flight("PutObject", 1).await.unwrap();
    assert_eq!(mark_if_empty(&store, first).await.unwrap(), Ownership::Written);
    faulty.release();
    assert_eq!(held.await.unwrap().unwrap(), Ownership::Foreign(Some(first)));
    assert_eq!(read_ownership(&store, first).await.unwrap(), Some(Ownership::Ours));
}

#[tokio::test]
async fn a_mark_whose_answer_is_lost_is_ours_all_the_same() {
    let (faulty, config, _folder) = faulty_store().await;
    let (store, id) = (connect(&config).await, Uuid::new_v4());
    faulty.fail("PutObject", 1, Fault::LoseAnswer);
    assert_eq!(mark_if_empty(&store, id).await.unwrap(), Ownership::Ours);
    assert!(faulty.calls("PutObject") > 1, "the second try met the mark of the first");
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_not_an_empty_one() {
    let mut config = real_store().await;
    config.bucket = "test-no-such-bucket".to_owned();
    let store = connect(&config).await;
    let error = mark_if_empty(&store, Uuid::new_v4()).await.unwrap_err();
    assert_eq!(judge(&error).code, "store/NoSuchBucket");
    answers(&store).await.unwrap_err();
}

#[tokio::test]
async fn a_store_answers_while_it_shows_the_mark() {
    let (faulty, config, _folder) = faulty_store().await;
    let store = connect(&config).await;
    answers(&store).await.unwrap_err();
    mark_if_empty(&store, Uuid::new_v4()).await.unwrap();
    answers(&store).await.unwrap();
    faulty.fail("HeadObject", 1, Fault::SlowDown);
    let before = faulty.calls("HeadObject");
    answers(&store).await.unwrap_err();
    assert_eq!(faulty.calls("HeadObject"), before + 1, "it asks once and does not wait");
}

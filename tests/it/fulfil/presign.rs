//! A link works for exactly seven days from its signed start, and only as it was signed.

use std::{fmt::Debug, marker::PhantomData};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use export_activities::{
    failure::{Class, judge},
    fulfil::{
        presign::{LINK_LIFE, PresignedUrl, presign},
        upload::upload,
    },
    pulse::Pulse,
    store::{KeyPair, Store, StoreConfig, TemporaryCredentials, object_key::ObjectKey},
};

use crate::support::servers::{TestArchive, connect, new_key, real_store};

/// Puts an archive into the store and returns its key.
async fn delivered(store: &Store) -> (ObjectKey, Vec<u8>) {
    let (key, archive) = (new_key(), TestArchive::of_size(1234));
    upload(store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
    (key, archive.content)
}

/// Fetches a link as a browser does: no header of ours, no credentials.
async fn get(url: &str) -> reqwest::Response {
    // The process may have a provider already; which one does not matter for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
        .get(url)
        .send()
        .await
        .unwrap_or_else(|error| panic!("no answer: {}", error.without_url()))
}

async fn status_of_link_begun(store: &Store, key: &ObjectKey, start: DateTime<Utc>) -> u16 {
    get(presign(store, key, start).await.unwrap().reveal()).await.status().as_u16()
}

#[tokio::test]
async fn a_link_gives_the_archive_to_be_saved_under_its_name() {
    let store = connect(&real_store().await).await;
    let (key, content) = delivered(&store).await;
    let link = presign(&store, &key, Utc::now()).await.unwrap();
    let response = get(link.reveal()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/zip");
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"export-2026-03-01.zip\"");
    assert_eq!(response.headers()["cache-control"], "private, no-store");
    assert_eq!(response.bytes().await.unwrap(), content);
}

#[tokio::test]
async fn a_link_works_until_its_end_and_not_after() {
    let store = connect(&real_store().await).await;
    let (key, _) = delivered(&store).await;
    let life = TimeDelta::from_std(LINK_LIFE).unwrap();
    let minute = TimeDelta::minutes(1);
    let now = Utc::now();
    assert_eq!(status_of_link_begun(&store, &key, now).await, 200);
    assert_eq!(status_of_link_begun(&store, &key, now - life + minute).await, 200);
    assert_eq!(status_of_link_begun(&store, &key, now - life - minute).await, 403);
}

#[tokio::test]
async fn the_end_of_a_link_is_its_start_cut_to_the_second_and_seven_days() {
    let store = connect(&real_store().await).await;
    let start: DateTime<Utc> = "2026-03-01T01:02:03.987654Z".parse().unwrap();
    let link = presign(&store, &new_key(), start).await.unwrap();
    assert_eq!(link.expires_at(), start.trunc_subsecs(0) + TimeDelta::days(7));
    assert!(link.reveal().contains("X-Amz-Date=20260301T010203Z"));
    assert!(link.reveal().contains("X-Amz-Expires=604800"));
    assert!(link.reveal().contains("X-Amz-SignedHeaders=host&"), "a browser sends no other header");
}

#[tokio::test]
async fn a_link_that_was_changed_anywhere_is_refused() {
    let store = connect(&real_store().await).await;
    let ((key, _), (other, _)) = (delivered(&store).await, delivered(&store).await);
    let link = presign(&store, &key, Utc::now()).await.unwrap();
    let url = link.reveal();
    let (head, signature) =
        url.rsplit_once("X-Amz-Signature=").map(|(head, tail)| (head.to_owned(), tail)).unwrap();
    let first = if signature.starts_with('0') { '1' } else { '0' };
    for changed in [
        url.replace(key.as_str(), other.as_str()),
        url.replace("X-Amz-Expires=604800", "X-Amz-Expires=604799"),
        url.replace("127.0.0.1", "localhost"),
        format!("{head}X-Amz-Signature={first}{}", &signature[1..64]) + &signature[64..],
    ] {
        assert_ne!(changed, url, "the test must change the link");
        assert_eq!(get(&changed).await.status(), 403);
    }
    assert_eq!(get(url).await.status(), 200, "the link itself works");
}

#[tokio::test]
async fn a_link_is_signed_for_the_address_that_users_reach() {
    let mut config = real_store().await;
    let public = config.endpoint.as_ref().unwrap().replace("127.0.0.1", "localhost");
    config.public_endpoint = Some(public.clone());
    let store = connect(&config).await;
    let (key, content) = delivered(&store).await;
    let link = presign(&store, &key, Utc::now()).await.unwrap();
    assert!(link.reveal().starts_with(&format!("{public}/")));
    assert_eq!(get(link.reveal()).await.bytes().await.unwrap(), content);
    assert_eq!(get(&link.reveal().replace("localhost", "127.0.0.1")).await.status(), 403);
}

#[tokio::test]
async fn a_link_is_signed_with_the_signing_pair_when_there_is_one() {
    let mut config = real_store().await;
    let right = config.access.clone().unwrap();
    config.signing = Some(KeyPair::new(right.id.clone(), "not the secret".to_owned().into()));
    let store = connect(&config).await;
    let (key, _) = delivered(&store).await;
    assert_eq!(status_of_link_begun(&store, &key, Utc::now()).await, 403);
    config.signing = Some(right);
    config.access = None;
    let store = connect(&config).await;
    assert_eq!(status_of_link_begun(&store, &key, Utc::now()).await, 200);
}

#[tokio::test]
async fn temporary_credentials_sign_nothing() {
    let lasting = KeyPair::new("AKIAEXAMPLE", "secret".to_owned().into());
    let with_token = KeyPair { session_token: Some("token".to_owned().into()), ..lasting.clone() };
    let of_a_role = KeyPair { id: "ASIAEXAMPLE".to_owned(), ..lasting.clone() };
    let mut config = StoreConfig::new("bucket");
    config.endpoint = Some("http://127.0.0.1:9".to_owned());
    for temporary in [with_token, of_a_role] {
        // As the pair that reads and writes, which signs when there is no other; and as the signing pair itself.
        for (access, signing) in [(temporary.clone(), None), (lasting.clone(), Some(temporary))] {
            (config.access, config.signing) = (Some(access), signing);
            let store = connect(&config).await;
            for refused in [
                store.check_signing().await.err().unwrap(),
                presign(&store, &new_key(), Utc::now()).await.err().unwrap(),
            ] {
                assert!(refused.downcast_ref::<TemporaryCredentials>().is_some());
                assert!(refused.to_string().contains("EXPORT_SIGNING_SECRET_ACCESS_KEY"));
                assert_eq!(judge(&refused).class, Class::System, "it is never the request's fault");
            }
        }
    }
    // A lasting pair for links is all that is missing beside temporary ones.
    config.access = Some(KeyPair { id: "ASIAEXAMPLE".to_owned(), ..lasting.clone() });
    config.signing = Some(lasting);
    let store = connect(&config).await;
    store.check_signing().await.unwrap();
    presign(&store, &new_key(), Utc::now()).await.unwrap();
}

/// Returns whether a type can be printed with `{:?}`: the inherent constant wins where its bound holds.
struct Printable<T>(PhantomData<T>);

trait NotPrintable {
    const YES: bool = false;
}

impl<T> NotPrintable for Printable<T> {}

impl<T: Debug> Printable<T> {
    const YES: bool = true;
}

#[test]
fn a_link_cannot_be_printed() {
    // The second one shows that the probe sees what can be printed.
    assert_eq!((Printable::<PresignedUrl>::YES, Printable::<String>::YES), (false, true));
}

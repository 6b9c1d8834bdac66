//! Server-side encryption: nothing is delivered unless the store names the encryption that it was asked for.

use export_activities::{
    failure::{Class, Failure, judge},
    fulfil::upload::upload,
    pulse::Pulse,
    store::{Encryption, StoreConfig},
};
use export_stack::{instruments::faulty_store::Encrypts, supervisor::Process};
use serde_json::Value;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON, kill, until_said},
    servers::{TestArchive, connect, faulty_store, new_key, real_store},
};

const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// Uploads an archive in one put and in parts. Returns the failure, which both share.
async fn uploaded(config: &StoreConfig, encryption: Encryption) -> Option<String> {
    let mut ends = Vec::new();
    for put_limit in [0, u64::MAX] {
        let config = StoreConfig { put_limit, encryption: Some(encryption.clone()), ..config.clone() };
        let archive = TestArchive::of_size(6 << 20);
        let store = connect(&config).await;
        let ended = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await;
        ends.push(ended.err().map(|error| {
            assert!(judge(&error).class == Class::System, "{error:#}");
            let encrypted = matches!(error.downcast_ref(), Some(Failure::NotEncrypted(_)));
            if encrypted { error.to_string() } else { judge(&error).code }
        }));
    }
    assert_eq!(ends[0], ends[1], "both ways are the same");
    ends.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_encrypted_as_it_was_asked_for_or_is_none() {
    let (faulty, config, _folder) = faulty_store().await;
    let kms = |key: &str| Encryption::Kms(Some(key.to_owned()));
    for (how, wanted, why) in [
        (Encrypts::AsAsked, Encryption::Aes256, None),
        (Encrypts::AsAsked, Encryption::Kms(None), None),
        (Encrypts::AsAsked, kms(KEY), None),
        (Encrypts::With("aws:kms", Some(ARN)), Encryption::Kms(None), None),
        (Encrypts::With("aws:kms", Some(ARN)), kms(KEY), None),
        (Encrypts::With("aws:kms", Some(ARN)), kms(ARN), None),
        (Encrypts::Not, Encryption::Aes256, Some("asked for AES256, the store names no encryption")),
        (
            Encrypts::With("AES256", None),
            Encryption::Kms(None),
            Some("asked for aws:kms, the store names AES256"),
        ),
        (Encrypts::With("aws:kms", Some(ARN)), kms("another"), Some("asked for aws:kms with key another")),
        (Encrypts::Refuses, Encryption::Aes256, Some("NotImplemented")),
    ] {
        faulty.encrypt(how.clone());
        let failure = uploaded(&config, wanted).await;
        match why {
            None => assert_eq!(failure, None, "{how:?}"),
            Some(why) => {
                assert!(failure.as_ref().is_some_and(|failure| failure.contains(why)), "{how:?}: {failure:?}")
            }
        }
    }
    faulty.encrypt(Encrypts::Not);
    // The control: without the setting nothing is asked for, and nothing compared.
    let archive = TestArchive::of_size(1000);
    upload(&connect(&config).await, &new_key(), &archive.upload(), &Pulse::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_the_tests_encrypts_nothing_and_is_found_out() {
    let failure = uploaded(&real_store().await, Encryption::Aes256).await.unwrap();
    assert!(failure.ends_with("asked for AES256, the store names no encryption"), "{failure}");
}

async fn with_sse(nights: &Nights) -> Process {
    nights.worker(&[("EXPORT_SSE", "AES256")]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_encrypt_is_refused_at_the_start_and_later_fails_no_request() {
    let mut nights = Nights::on_faulty_store().await;
    nights.environment.insert("EXPORT_SSE".to_owned(), "AES256".to_owned());
    let request = nights.request(given::user(&nights.owner).await).await;
    for (how, why) in [(Encrypts::Not, "the store names no encryption"), (Encrypts::Refuses, "was refused")] {
        nights.faulty().encrypt(how);
        let worker = with_sse(&nights).await;
        let ending = worker.ended(SOON).await.unwrap();
        let said = worker.output();
        assert!(
            !ending.is_success() && said.contains("does not encrypt archives as EXPORT_SSE says"),
            "{said}"
        );
        assert!(said.contains(why) && said.contains("Encryption at rest"), "{said}");
        let (code, line) = nights.doctor("store").await;
        assert_eq!((code, &line["state"]), (Some(1), &Value::from("failed")), "{line}");
    }
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));

    // It begins to ignore it after the start.
    nights.faulty().encrypt(Encrypts::AsAsked);
    let worker = with_sse(&nights).await;
    until_said(&worker, "and encrypted (AES256)").await;
    until_said(&worker, "Polling task queue").await;
    nights.faulty().encrypt(Encrypts::Not);
    nights.start_night("without", &serde_json::json!({})).await;
    let state = async || -> (String, String) {
        sqlx::query_as(
            "select status, coalesce(last_error, '') from public.data_export_requests where id = $1",
        )
        .bind(request)
        .fetch_one(&nights.owner)
        .await
        .unwrap()
    };
    export_stack::wait::until("the attempt to fail", SOON, || async {
        Ok(state().await.1.contains("not_encrypted").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(state().await.0, "pending");
    nights.faulty().encrypt(Encrypts::AsAsked);
    export_stack::wait::until("the request to be ready", SOON * 2, || async {
        Ok((state().await.0 == "ready").then_some(()))
    })
    .await
    .unwrap();
    let (_, line) = nights.doctor("store").await;
    assert!(line["found"].as_str().unwrap().ends_with("and encrypted (AES256)"), "{line}");
    kill(&worker).await;
}

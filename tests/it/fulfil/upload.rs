//! An upload ends with exactly the archive in the store, or with an error and no unfinished upload.

use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use export_activities::{
    failure::{Class, Failure, StoreError, judge},
    fulfil::upload::upload,
    pulse::Pulse,
    store::{Checksum, StoreConfig},
};
use export_stack::instruments::faulty_store::Fault;

use crate::support::servers::{
    TestArchive, connect, content, faulty_store, new_key, real_store, sdk_client, unfinished_uploads,
};

const MIB: usize = 1024 * 1024;
/// What the end of the call beats that makes the object visible.
const CALL: u64 = 1;

/// Makes every archive go up in parts.
fn in_parts(mut config: StoreConfig) -> StoreConfig {
    config.put_limit = 0;
    config
}

fn store_error(error: &anyhow::Error) -> &StoreError {
    error.downcast_ref().unwrap_or_else(|| panic!("not an error of the store: {error:#}"))
}

async fn assert_headers(
    config: &StoreConfig,
    key: &export_activities::store::object_key::ObjectKey,
    sha256: [u8; 32],
) {
    let client = sdk_client(config);
    let head = client.head_object().bucket(&config.bucket).key(key.as_str()).send().await.unwrap();
    assert_eq!(head.content_type(), Some("application/zip"));
    assert_eq!(head.content_disposition(), Some("attachment; filename=\"export-2026-03-01.zip\""));
    assert_eq!(head.cache_control(), Some("private, no-store"));
    let metadata = head.metadata().unwrap();
    assert_eq!(metadata.len(), 1, "nothing else is said about the object");
    assert_eq!(metadata["sha256"], hex::encode(sha256));
}

#[tokio::test]
async fn a_small_archive_arrives_whole_with_its_headers() {
    let config = real_store().await;
    let (store, key, archive, pulse) =
        (connect(&config).await, new_key(), TestArchive::of_size(70_001), Pulse::default());
    upload(&store, &key, &archive.upload(), &pulse).await.unwrap();
    assert_eq!(content(&config, &key).await.as_ref(), Some(&archive.content));
    assert_headers(&config, &key, archive.sha256()).await;
    assert_eq!(pulse.moved(), 70_001 + CALL);
    let head = store.head(&key).await.unwrap().unwrap();
    assert_eq!((head.bytes, head.sum(Checksum::Crc64Nvme)), (70_001, Some(archive.sum)));
}

#[tokio::test]
async fn a_large_archive_arrives_whole_in_parts() {
    let mut config = real_store().await;
    config.put_limit = 16 * MIB as u64;
    let (store, key, archive, pulse) =
        (connect(&config).await, new_key(), TestArchive::of_size(20 * MIB + 1), Pulse::default());
    upload(&store, &key, &archive.upload(), &pulse).await.unwrap();
    assert!(content(&config, &key).await.as_ref() == Some(&archive.content));
    assert_headers(&config, &key, archive.sha256()).await;
    assert_eq!(pulse.moved(), 20 * MIB as u64 + 1 + CALL);
    let head = store.head(&key).await.unwrap().unwrap();
    assert_eq!(head.sum(Checksum::Crc64Nvme), Some(archive.sum));
    assert_eq!(unfinished_uploads(&config).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_written_is_not_accepted() {
    for config in [real_store().await, in_parts(real_store().await)] {
        let (store, key, mut archive) = (connect(&config).await, new_key(), TestArchive::of_size(9 * MIB));
        archive.sum = Checksum::Crc64Nvme.of(b"as it was written");
        let error = upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap_err();
        assert_eq!(judge(&error).class, Class::System, "{error:#}");
        assert_eq!(content(&config, &key).await, None, "{error:#}");
        assert_eq!(unfinished_uploads(&config).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_object_whose_checksum_or_size_differs_is_not_taken_for_the_archive() {
    for (header, value) in [
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg=-2"),
        ("content-length", "8"),
    ] {
        for in_parts in [false, true] {
            let (faulty, mut config, _folder) = faulty_store().await;
            if in_parts {
                config.put_limit = 0;
            }
            let (store, archive) = (connect(&config).await, TestArchive::of_size(7));
            faulty.fail_all("HeadObject", Fault::Header(header, value.to_owned()));
            let error = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await.unwrap_err();
            assert!(
                matches!(error.downcast_ref(), Some(Failure::StoredObjectDiffers(_))),
                "{header}: {error:#}"
            );
            assert_eq!(judge(&error).class, Class::System);
        }
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_put_loses_nothing() {
    let (faulty, config, _folder) = faulty_store().await;
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(1000));
    faulty.fail_all("PutObject", Fault::LoseAnswer);
    upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
    assert_eq!(faulty.calls("PutObject"), 3, "every try lost its answer");
    assert_eq!(content(&config, &key).await, Some(archive.content));
}

#[tokio::test]
async fn a_put_that_was_never_done_is_an_error() {
    // The negative control of the test above: the client sees the same, the store holds nothing.
    let (faulty, config, _folder) = faulty_store().await;
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(1000));
    faulty.fail_all("PutObject", Fault::Refuse);
    let error = upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(store_error(&error).operation, "PutObject");
    assert_eq!(faulty.calls("HeadObject"), 1, "the store was asked before the decision");
    assert_eq!(content(&config, &key).await, None);
}

#[tokio::test]
async fn a_lost_answer_to_complete_loses_nothing() {
    for tries in [1, 3] {
        let (faulty, config, _folder) = faulty_store().await;
        let config = StoreConfig { attempts: tries, ..in_parts(config) };
        let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(9 * MIB));
        faulty.fail("CompleteMultipartUpload", 1, Fault::LoseAnswer);
        upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
        assert!(content(&config, &key).await == Some(archive.content));
        assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_complete_that_was_never_done_is_an_error_and_leaves_no_upload() {
    let (faulty, config, _folder) = faulty_store().await;
    let config = in_parts(config);
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(9 * MIB));
    faulty.fail_all("CompleteMultipartUpload", Fault::InternalError);
    let error = upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(store_error(&error).code, "InternalError");
    assert_eq!(content(&config, &key).await, None);
    assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_part_that_fails_for_good_leaves_no_upload() {
    let (faulty, config, _folder) = faulty_store().await;
    let (store, archive) = (connect(&in_parts(config)).await, TestArchive::of_size(20 * MIB));
    faulty.fail_all("UploadPart", Fault::InternalError);
    let error = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(store_error(&error).operation, "UploadPart");
    assert_eq!(judge(&error).code, "store/InternalError");
    assert!(faulty.calls("CompleteMultipartUpload") == 0 && faulty.calls("AbortMultipartUpload") > 0);
    assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_whose_aborts_fail_keeps_the_upload() {
    // The negative control of every line above that says that no upload is left.
    let (faulty, config, _folder) = faulty_store().await;
    let (store, key, archive) = (connect(&in_parts(config)).await, new_key(), TestArchive::of_size(100));
    faulty.fail_all("UploadPart", Fault::InternalError);
    faulty.fail_all("AbortMultipartUpload", Fault::InternalError);
    upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(faulty.unfinished_uploads(), [key.as_str()]);
    faulty.heal();
    store.abort_uploads(&key).await.unwrap();
    assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_answer_to_the_first_call_leaves_no_second_upload() {
    let (faulty, config, _folder) = faulty_store().await;
    let config = in_parts(config);
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(100));
    faulty.fail("CreateMultipartUpload", 1, Fault::LoseAnswer);
    upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
    assert_eq!(faulty.calls("CreateMultipartUpload"), 2);
    assert_eq!(content(&config, &key).await, Some(archive.content));
    assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancelled_upload_ends_at_once_and_leaves_no_upload() {
    for hanging in ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject"] {
        let (faulty, config, _folder) = faulty_store().await;
        let (store, archive, pulse) =
            (connect(&in_parts(config)).await, TestArchive::of_size(9 * MIB), Pulse::default());
        faulty.fail_all(hanging, Fault::Hang);
        let key = new_key();
        let archive = archive.upload();
        let (ended, ()) = tokio::join!(upload(&store, &key, &archive, &pulse), async {
            faulty.wait_in_flight(hanging, 1).await.unwrap();
            pulse.cancel();
        });
        let error = ended.unwrap_err();
        assert_eq!(judge(&error).class, Class::Interrupted, "{hanging}: {error:#}");
        assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new(), "{hanging}");
    }
}

#[tokio::test]
async fn a_cancelled_put_ends_at_once() {
    let (faulty, config, _folder) = faulty_store().await;
    let (store, archive, pulse) = (connect(&config).await, TestArchive::of_size(100), Pulse::default());
    faulty.fail_all("PutObject", Fault::Hang);
    let (key, archive) = (new_key(), archive.upload());
    let (ended, ()) = tokio::join!(upload(&store, &key, &archive, &pulse), async {
        faulty.wait_in_flight("PutObject", 1).await.unwrap();
        pulse.cancel();
    });
    assert_eq!(judge(&ended.unwrap_err()).class, Class::Interrupted);
}

#[tokio::test]
async fn an_upload_whose_future_is_dropped_is_aborted() {
    let (faulty, config, _folder) = faulty_store().await;
    let (store, archive, pulse) =
        (connect(&in_parts(config)).await, TestArchive::of_size(100), Pulse::default());
    faulty.fail_all("UploadPart", Fault::Hang);
    faulty.fail_all("AbortMultipartUpload", Fault::Hold);
    let (key, archive) = (new_key(), archive.upload());
    tokio::select! {
        _ = upload(&store, &key, &archive, &pulse) => panic!("a hanging upload cannot end"),
        waited = faulty.wait_in_flight("UploadPart", 1) => waited.unwrap(),
    }
    faulty.wait_in_flight("AbortMultipartUpload", 1).await.unwrap();
    assert_eq!(faulty.unfinished_uploads(), [key.as_str()]);
    faulty.release();
    // The list is asked for only after the abort was answered.
    faulty.fail_all("ListMultipartUploads", Fault::Hang);
    faulty.wait_in_flight("ListMultipartUploads", 1).await.unwrap();
    assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_in_bounded_time() {
    let (faulty, config, _folder) = faulty_store().await;
    let config = StoreConfig {
        attempt_timeout: Duration::from_millis(200),
        operation_timeout: Duration::from_millis(500),
        ..config
    };
    let (store, archive) = (connect(&config).await, TestArchive::of_size(100));
    faulty.fail_all("PutObject", Fault::Hang);
    let error = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(judge(&error).code, "store/timeout");
    assert!(faulty.calls("PutObject") > 1, "a try that hangs is repeated");
}

#[tokio::test]
async fn four_parts_are_in_flight_at_a_time_and_no_more() {
    let (faulty, config, _folder) = faulty_store().await;
    let (store, archive) = (connect(&in_parts(config)).await, TestArchive::of_size(48 * MIB));
    faulty.fail_all("UploadPart", Fault::Hold);
    let (key, archive, pulse) = (new_key(), archive.upload(), Pulse::default());
    let (ended, ()) = tokio::join!(upload(&store, &key, &archive, &pulse), async {
        faulty.wait_in_flight("UploadPart", 4).await.unwrap();
        faulty.release();
    });
    ended.unwrap();
    assert_eq!((faulty.peak("UploadPart"), faulty.calls("UploadPart")), (4, 6));
}

#[tokio::test]
async fn a_store_that_asks_to_slow_down_gets_fewer_parts_at_a_time() {
    let (faulty, config, _folder) = faulty_store().await;
    let store = connect(&in_parts(config)).await;
    let pulse = Pulse::default();
    faulty.fail("UploadPart", 1, Fault::SlowDown);
    faulty.fail("UploadPart", 2, Fault::SlowDown);
    upload(&store, &new_key(), &TestArchive::of_size(100).upload(), &pulse).await.unwrap();
    assert_eq!(faulty.calls("UploadPart"), 3, "it is retried until it is done");
    upload(&store, &new_key(), &TestArchive::of_size(32 * MIB).upload(), &pulse).await.unwrap();
    assert_eq!((faulty.peak("UploadPart"), faulty.calls("UploadPart")), (1, 7));
}

#[tokio::test]
async fn a_deleted_archive_is_gone_and_deleting_it_twice_is_no_error() {
    let config = real_store().await;
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(10));
    upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.head(&key).await.unwrap(), None);
    store.delete(&key).await.unwrap();
}

#[tokio::test]
async fn a_deleted_archive_is_gone_from_a_bucket_that_keeps_versions_too() {
    let config = real_store().await;
    let client = sdk_client(&config);
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = client.put_bucket_versioning().bucket(&config.bucket).versioning_configuration(enabled);
    versioning.send().await.expect("the store must keep versions: start versitygw with --versioning-dir");
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(10));
    let neighbour = new_key();
    for key in [&key, &key, &neighbour] {
        upload(&store, key, &archive.upload(), &Pulse::default()).await.unwrap();
    }
    let left = || async {
        let page = client.list_object_versions().bucket(&config.bucket).send().await.unwrap();
        let versions = page.versions().iter().map(|version| version.key().unwrap().to_owned());
        let markers = page.delete_markers().iter().map(|marker| marker.key().unwrap().to_owned());
        versions.chain(markers).collect::<Vec<_>>()
    };
    assert_eq!(left().await.len(), 3, "a second put is a second version");
    store.delete(&key).await.unwrap();
    assert_eq!(left().await, [neighbour.as_str()]);
    store.delete(&key).await.unwrap();
    assert_eq!(left().await, [neighbour.as_str()], "deleting twice leaves no marker either");
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_and_never_a_missing_object() {
    let mut config = real_store().await;
    config.bucket = "test-no-such-bucket".to_owned();
    let (store, key, archive) = (connect(&config).await, new_key(), TestArchive::of_size(10));
    let error = upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap_err();
    assert_eq!(judge(&error).code, "store/NoSuchBucket");
    let error = store.delete(&key).await.unwrap_err();
    assert_eq!(judge(&error).code, "store/NoSuchBucket");
}

#[tokio::test]
async fn a_call_that_ended_moves_the_pulse_before_the_object_is_read_back() {
    for (in_parts, sent) in [(false, 0), (true, 7)] {
        let (faulty, mut config, _folder) = faulty_store().await;
        if in_parts {
            config.put_limit = 0;
        }
        config.attempt_timeout = Duration::from_secs(60);
        config.operation_timeout = Duration::from_secs(60);
        let (store, archive, pulse) = (connect(&config).await, TestArchive::of_size(7), Pulse::default());
        faulty.fail("HeadObject", 1, Fault::Hold);
        let (key, upload_of) = (new_key(), archive.upload());
        let watched = async {
            faulty.wait_in_flight("HeadObject", 1).await.unwrap();
            let moved = pulse.moved();
            faulty.release();
            moved
        };
        let (uploaded, moved) = tokio::join!(upload(&store, &key, &upload_of, &pulse), watched);
        uploaded.unwrap();
        assert_eq!(
            moved,
            sent + CALL,
            "put and read back together may last longer than EXPORT_STALL_TIMEOUT"
        );
    }
}

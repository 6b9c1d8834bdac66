//! Uploads are compared by a checksum that the store keeps of whole objects; a store without one is refused at start.

use std::path::Path;

use export_activities::{
    failure::{Class, Failure, StoreError, judge},
    fulfil::upload::{Probe, upload},
    pulse::Pulse,
    spool::Spool,
    store::{Checksum, StoreConfig},
};
use export_stack::{
    instruments::faulty_store::{Fault, FaultyStore, Unknown},
    supervisor::Process,
};
use serde_json::Value;

use crate::support::{
    installation_of as given,
    night_of::{Nights, SOON, until_said},
    servers::{TestArchive, connect, content, faulty_store, new_key, real_store, unfinished_uploads},
};

const MIB: usize = 1024 * 1024;
/// Message of the start and the doctor for a store that keeps no checksum.
const NONE: &str = "the store keeps no checksum of whole objects; tried were CRC-64/NVME, CRC-32C, CRC-32";

/// What a store does not keep, and the checksum that is used then.
const STORES: [(&[(Checksum, Unknown)], Checksum); 6] = [
    (&[], Checksum::Crc64Nvme),
    (&[(Checksum::Crc64Nvme, Unknown::Ignored)], Checksum::Crc32c),
    (&[(Checksum::Crc64Nvme, Unknown::Refused)], Checksum::Crc32c),
    (&[(Checksum::Crc64Nvme, Unknown::Ignored), (Checksum::Crc32c, Unknown::Ignored)], Checksum::Crc32),
    (&[(Checksum::Crc64Nvme, Unknown::Refused), (Checksum::Crc32c, Unknown::Refused)], Checksum::Crc32),
    (&[(Checksum::Crc64Nvme, Unknown::Ignored), (Checksum::Crc32c, Unknown::Composite)], Checksum::Crc32),
];

fn forget(faulty: &FaultyStore, unknown: &[(Checksum, Unknown)]) {
    unknown.iter().for_each(|(checksum, unknown)| faulty.forget(*checksum, *unknown));
}

fn spool(folder: &Path) -> Spool {
    Spool::new(&folder.join("spool"), 1).unwrap()
}

/// Tries the store as a worker does at its start. Returns what it found, after everything was deleted.
async fn find(config: &StoreConfig) -> anyhow::Result<Checksum> {
    let folder = tempfile::tempdir().unwrap();
    let (store, spool) = (connect(config).await, spool(folder.path()));
    let mut probe = Probe::new(&store, &spool);
    let found = probe.find().await;
    probe.delete().await.unwrap();
    assert_eq!(spool.used(), 0);
    found.map(|found| found.checksum)
}

/// Makes an archive go up in this way.
fn going_up(config: &StoreConfig, in_parts: bool) -> StoreConfig {
    let put_limit = if in_parts { 0 } else { u64::MAX };
    StoreConfig { put_limit, ..config.clone() }
}

#[tokio::test]
async fn the_first_checksum_that_a_store_keeps_is_found_and_nothing_left() {
    for (unknown, expected) in STORES {
        let (faulty, config, _folder) = faulty_store().await;
        forget(&faulty, unknown);
        assert_eq!(find(&config).await.unwrap(), expected, "{unknown:?}");
        assert_eq!(given::objects(&config).await, Vec::<String>::new(), "{unknown:?}");
        assert_eq!(faulty.unfinished_uploads(), Vec::<String>::new(), "{unknown:?}");
    }
}

#[tokio::test]
async fn the_real_store_keeps_the_preferred_checksum() {
    let config = real_store().await;
    assert_eq!(find(&config).await.unwrap(), Checksum::Crc64Nvme);
    assert_eq!(given::objects(&config).await, Vec::<String>::new());
    assert_eq!(unfinished_uploads(&config).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_real_store_keeps_each_checksum_whichever_way_an_archive_goes_up() {
    let config = real_store().await;
    for checksum in Checksum::ALL {
        for (in_parts, bytes) in [(false, 70_001), (true, 9 * MIB)] {
            let store = connect(&going_up(&config, in_parts)).await;
            let (key, archive) = (new_key(), TestArchive::with(checksum, bytes));
            upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
            assert_eq!(store.head(&key).await.unwrap().unwrap().sums, [archive.sum]);
        }
    }
}

#[tokio::test]
async fn an_archive_is_compared_by_the_checksum_that_the_store_keeps() {
    for (unknown, checksum) in STORES {
        for (in_parts, bytes) in [(false, 70_001), (true, 9 * MIB)] {
            let (faulty, config, _folder) = faulty_store().await;
            forget(&faulty, unknown);
            let store = connect(&going_up(&config, in_parts)).await;
            let (key, archive) = (new_key(), TestArchive::with(checksum, bytes));
            upload(&store, &key, &archive.upload(), &Pulse::default()).await.unwrap();
            assert_eq!(store.head(&key).await.unwrap().unwrap().sums, [archive.sum], "{unknown:?}");

            // The controls: a sum that the store does not keep, and one that it keeps of other bytes.
            for (missing, _) in unknown.iter().filter(|_| in_parts) {
                let archive = TestArchive::with(*missing, bytes);
                let error = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await;
                assert_eq!(judge(&error.unwrap_err()).class, Class::System, "{missing} by {unknown:?}");
            }
            let (key, mut changed) = (new_key(), TestArchive::with(checksum, bytes));
            changed.sum = checksum.of(b"as it was written");
            let error = upload(&store, &key, &changed.upload(), &Pulse::default()).await.unwrap_err();
            assert_eq!(judge(&error).code, "store/BadDigest", "{error:#}");
            assert_eq!(content(&config, &key).await, None);
        }
    }
}

#[tokio::test]
async fn an_object_with_another_sum_than_the_archive_is_refused_by_each_checksum() {
    for (checksum, header, other) in [
        (Checksum::Crc64Nvme, "x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        (Checksum::Crc32c, "x-amz-checksum-crc32c", "4waSgw=="),
        (Checksum::Crc32, "x-amz-checksum-crc32", "y/Q5Jg=="),
    ] {
        for (header, value) in [
            (header, other.to_owned()),
            (header, format!("{other}-2")),
            ("x-amz-checksum-type", "COMPOSITE".to_owned()),
        ] {
            for in_parts in [false, true] {
                let (faulty, config, _folder) = faulty_store().await;
                let store = connect(&going_up(&config, in_parts)).await;
                faulty.fail_all("HeadObject", Fault::Header(header, value.clone()));
                let archive = TestArchive::with(checksum, 1000);
                let ended = upload(&store, &new_key(), &archive.upload(), &Pulse::default()).await;
                let error = ended.unwrap_err();
                let differs = matches!(error.downcast_ref(), Some(Failure::StoredObjectDiffers(_)));
                assert!(differs, "{header}: {value}: {error:#}");
            }
        }
    }
}

#[tokio::test]
async fn a_store_without_any_of_the_three_is_named_as_such() {
    for unknown in [Unknown::Ignored, Unknown::Refused, Unknown::Composite] {
        let (faulty, config, _folder) = faulty_store().await;
        forget(&faulty, &Checksum::ALL.map(|checksum| (checksum, unknown)));
        let error = find(&config).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Failure::NoChecksum(_))), "{unknown:?}: {error:#}");
        assert_eq!(judge(&error).class, Class::System);
        assert_eq!(error.to_string(), NONE);
        assert_eq!(given::objects(&config).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_refuses_the_caller_is_not_taken_for_one_without() {
    for operation in
        ["PutObject", "HeadObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
    {
        for fault in [Fault::InternalError, Fault::AccessDenied] {
            let (faulty, config, _folder) = faulty_store().await;
            let config = StoreConfig { attempts: 1, ..config };
            faulty.fail(operation, 1, fault.clone());
            let error = find(&config).await.unwrap_err();
            let of_store = error.downcast_ref::<StoreError>();
            assert!(of_store.is_some_and(|error| error.operation == operation), "{fault:?}: {error:#}");
            faulty.heal();
            // The control: without the fault the same store is found to keep the best.
            assert_eq!(find(&config).await.unwrap(), Checksum::Crc64Nvme);
        }
    }
}

#[tokio::test]
async fn an_object_that_a_sweep_takes_says_nothing_about_its_checksum() {
    let (faulty, config, _folder) = faulty_store().await;
    faulty.fail("HeadObject", 1, Fault::Hold);
    let (ended, ()) = tokio::join!(find(&config), async {
        faulty.wait_in_flight("HeadObject", 1).await.unwrap();
        let objects = given::objects(&config).await;
        let store = connect(&config).await;
        for key in &objects {
            assert!(key.starts_with("exports/00000000-0000-0000-0000-000000000000/"), "{key}");
            let key = export_activities::store::object_key::ObjectKey::parse(key).unwrap();
            store.delete(&key).await.unwrap();
        }
        assert_eq!(objects.len(), 1);
        faulty.release();
    });
    let error = ended.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Failure::StoredObjectDiffers(_))), "{error:#}");
}

/// Serves one request that goes up in this way in a whole night.
async fn night(nights: &Nights, put_limit: &str) -> Process {
    let worker = nights.worker(&[("EXPORT_PUT_LIMIT", put_limit)]).await;
    until_said(&worker, "Polling task queue").await;
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    worker
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_on_a_store_without_crc_64_is_served_and_says_what_it_uses() {
    for (unknown, checksum) in [STORES[1], STORES[4]] {
        let nights = Nights::on_faulty_store().await;
        forget(nights.faulty(), unknown);
        let sentence = format!("uploads are compared by {checksum}, because the store keeps no CRC-64/NVME");
        for put_limit in ["16MiB", "0"] {
            let worker = night(&nights, put_limit).await;
            assert!(worker.output().contains(&sentence), "{}", worker.output());
        }
        let (_, line) = nights.doctor("store").await;
        assert_eq!(line["state"], "ok", "{line}");
        assert!(line["found"].as_str().unwrap().contains(&sentence), "{line}");
        nights.assert_sound(2).await;
        assert_eq!(nights.faulty().unfinished_uploads(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_on_the_real_store_is_compared_by_the_preferred_checksum() {
    let nights = Nights::new().await;
    let worker = night(&nights, "0").await;
    let sentence = "uploads are compared by CRC-64/NVME";
    assert!(worker.output().contains(sentence), "{}", worker.output());
    let (_, line) = nights.doctor("store").await;
    assert!(line["state"] == "ok" && line["found"].as_str().unwrap().ends_with(sentence), "{line}");
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_checksums_is_refused_at_start_and_fails_no_request() {
    let nights = Nights::on_faulty_store().await;
    // Refused, also by the default of the SDK: the mark must pass without.
    forget(nights.faulty(), &Checksum::ALL.map(|checksum| (checksum, Unknown::Refused)));
    let request = nights.request(given::user(&nights.owner).await).await;
    let worker = nights.worker(&[]).await;
    let ending = worker.ended(SOON).await.unwrap();
    assert!(!ending.is_success() && worker.output().contains(NONE), "{ending}: {}", worker.output());
    assert!(worker.output().contains("docs/OPERATIONS.md"), "{}", worker.output());
    assert_eq!(nights.status(request).await, ("pending".to_owned(), None));
    assert_eq!(nights.counted(request).await, (0, 0, 0));

    let (code, line) = nights.doctor("store").await;
    assert_eq!((code, &line["state"], &line["found"]), (Some(1), &Value::from("failed"), &NONE.into()));
    assert!(line["remedy"].as_str().unwrap().contains("docs/OPERATIONS.md"), "{line}");
    nights.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_upload_at_start_is_waited_for_and_not_judged() {
    let nights = Nights::on_faulty_store().await;
    nights.faulty().fail_all("CreateMultipartUpload", Fault::InternalError);
    let quick = [("EXPORT_STORE_ATTEMPT_TIMEOUT", "5s"), ("EXPORT_STORE_OPERATION_TIMEOUT", "5s")];
    let worker = nights.worker(&quick).await;
    until_said(&worker, "Waiting for the store").await;
    assert!(!worker.output().contains("Polling task queue"), "{}", worker.output());
    nights.faulty().heal();
    until_said(&worker, "Polling task queue").await;
    assert!(worker.output().contains("uploads are compared by CRC-64/NVME"), "{}", worker.output());
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_may_not_delete_serves_and_says_what_it_leaves() {
    let nights = Nights::on_faulty_store().await;
    nights.faulty().fail_all("DeleteObject", Fault::AccessDenied);
    let worker = night(&nights, "16MiB").await;
    assert!(
        worker.output().contains("Could not delete the probe object; the sweep deletes it"),
        "{}",
        worker.output()
    );
    nights.faulty().heal();
    // The control: there was something to leave, and the sweep takes it.
    assert!(!nights.judge().await.broke(&[]));
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_start_together_beside_a_sweep_all_serve_and_leave_nothing() {
    let nights = Nights::new().await;
    let first = nights.worker(&[]).await;
    until_said(&first, "Polling task queue").await;
    let mut workers = vec![first];
    for _ in 0..4 {
        workers.push(nights.worker(&[]).await);
    }
    let served = async {
        for worker in &workers {
            until_said(worker, "Polling task queue").await;
        }
    };
    let sweeping = async {
        loop {
            nights.sweep_everything_unclaimed().await;
        }
    };
    tokio::select! {
        () = served => {}
        () = sweeping => {}
    }
    for worker in &workers {
        assert!(worker.output().contains("uploads are compared by CRC-64/NVME"), "{}", worker.output());
    }
    let request = nights.request(given::user(&nights.owner).await).await;
    nights.night().await;
    assert_eq!(nights.status(request).await, ("ready".to_owned(), None));
    nights.sweep_everything_unclaimed().await;
    nights.assert_sound(1).await;
}

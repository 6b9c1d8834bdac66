//! Archives that come through the portal: whole, in ranges, and to the end after a cut.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use export_activities::requests::{
    claim::{self, Claimed, Owner},
    state::{self, Delivery, Trace},
};
use export_activities::store::object_key::ObjectKey;
use export_stack::{
    instruments::proxy::{Mode, Proxy},
    shared::stack,
    tools, wait,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use uuid::Uuid;

use crate::support::{
    browser::Browser,
    installation_of::{self as given, installation},
    night_of::SOON,
    portal_of::{PUBLIC, Portal, code, flood, read},
    servers::proxied,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// How long a person may wait for three gibibytes on a busy machine.
const LONG: Duration = Duration::from_secs(180);

async fn streaming() -> Portal {
    Portal::with(&[("EXPORT_DOWNLOADS", "stream")]).await
}

async fn accesses(portal: &Portal) -> Vec<String> {
    sqlx::query_scalar("select action from public.data_export_accesses order by id")
        .fetch_all(&portal.given.owner)
        .await
        .unwrap()
}

/// An archive of a given size that was delivered, and what it is in the store's own folder.
struct Large {
    user: Uuid,
    token: String,
    id: Uuid,
    file: PathBuf,
    sha256: String,
}

/// Goes with the test: the next ones need the disk.
impl Drop for Large {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Delivers a file with holes, which has another mark in each mebibyte.
async fn large(portal: &Portal, bytes: u64) -> Large {
    let user = given::user(&portal.given.owner).await;
    let token = portal.person(user).await;
    let id = portal.ask(&token).await;
    let (state, claimed) = (&portal.given.steps.state, Uuid::new_v4());
    let owner = Owner::new("test", "run", "1", 1);
    let claimed_so = claim::claim(state, id, claimed, &owner, Duration::from_secs(60)).await.unwrap();
    assert!(matches!(claimed_so, Claimed::Granted(_)));
    let key = ObjectKey::new(id, claimed);
    let bucket =
        stack().await.unwrap().folder().join("data/versitygw/objects").join(&portal.given.store.bucket);
    let path = bucket.join(key.as_str());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(&path).unwrap();
    file.set_len(bytes).unwrap();
    for at in (0..bytes).step_by(MIB as usize) {
        file.write_all_at(&at.to_be_bytes(), at).unwrap();
    }
    let sha256 = digest(&path).await;
    let delivery = Delivery {
        object_key: key.as_str().to_owned(),
        object_location: portal.given.steps.store.location().to_owned(),
        archive_bytes: bytes.try_into().unwrap(),
        archive_sha256: sha256.clone(),
        row_counts: [("users".to_owned(), 1)].into(),
        snapshot_at: Utc::now(),
        expires_at: Utc::now() + TimeDelta::days(7),
        receipt: None,
    };
    let link = "https://store.example/";
    assert!(state::mark_ready(state, id, claimed, &delivery, link, &Trace::default()).await.unwrap());
    Large { user, token, id, file: path, sha256 }
}

async fn digest(path: &Path) -> String {
    let mut file = File::open(path).unwrap();
    let digested = tokio::task::spawn_blocking(move || {
        let mut sha256 = Sha256::new();
        std::io::copy(&mut file, &mut sha256).unwrap();
        hex::encode(sha256.finalize())
    });
    digested.await.unwrap()
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_is_delivered_with_its_last_byte_and_a_range_counts_as_nothing() {
    let portal = streaming().await;
    let (token, id) = portal.ready().await;
    let path = format!("/v1/exports/{id}/download");
    let get = || portal.get(&path, &token);
    let head = portal.call(Method::HEAD, &path).bearer_auth(&token).send().await.unwrap();
    let total: usize = header(&head, "content-length").parse().unwrap();
    let etag = header(&head, "etag").to_owned();
    assert_eq!(header(&head, "accept-ranges"), "bytes");
    let archive = given::download(&portal.given.owner, id).await;
    assert_eq!(archive.len(), total);

    let weak = format!("W/{etag}");
    for (range, condition, wanted) in [
        ("bytes=0-9", None, Some(0..=9)),
        ("bytes=10-", Some(etag.as_str()), Some(10..=total - 1)),
        ("bytes=-5", None, Some(total - 5..=total - 1)),
        ("bytes=0-99999999", None, Some(0..=total - 1)),
        ("bytes=10-", Some("\"another\""), None),
        ("bytes=10-", Some(&weak), None),
        ("bytes=0-1,5-6", None, None),
        ("lines=0-9", None, None),
        ("bytes=9-1", None, None),
    ] {
        let mut call = get().header("range", range);
        if let Some(etag) = condition {
            call = call.header("if-range", etag);
        }
        let before = accesses(&portal).await;
        let answer = call.send().await.unwrap();
        let (status, content_range) = (answer.status(), header(&answer, "content-range").to_owned());
        let got = answer.bytes().await.unwrap();
        match wanted {
            Some(part) => {
                assert_eq!(status, StatusCode::PARTIAL_CONTENT, "{range}");
                assert_eq!(content_range, format!("bytes {}-{}/{total}", part.start(), part.end()));
                assert_eq!(got, archive[part], "{range}");
                assert_eq!(accesses(&portal).await, before, "{range} counts as nothing");
            }
            None => {
                assert_eq!((status, content_range.as_str()), (StatusCode::OK, ""), "{range} {condition:?}");
                assert_eq!(got, archive, "{range}");
                let now = accesses(&portal).await;
                assert_eq!(now[before.len()..], ["linked", "delivered"], "{range}");
            }
        }
    }
    let beyond = get().header("range", format!("bytes={total}-")).send().await.unwrap();
    assert_eq!(header(&beyond, "content-range"), format!("bytes */{total}"));
    assert_eq!(code(beyond).await, "416 range_not_satisfiable");
    // Between two logs: the log of the first is whole before its last byte arrives.
    let before = accesses(&portal).await.len();
    let answer = get().send().await.unwrap();
    assert_eq!(header(&answer, "etag"), etag);
    assert_eq!(header(&answer, "content-disposition"), format!("attachment; filename=\"export-{id}.zip\""));
    assert_eq!(answer.bytes().await.unwrap(), archive);
    assert_eq!(accesses(&portal).await[before..], ["linked", "delivered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_gets_a_link_that_works_by_itself_and_ends_with_the_export() {
    let portal = streaming().await;
    let (token, id) = portal.ready().await;
    let path = format!("/v1/exports/{id}/download");
    let asked = portal.get(&path, &token).header("accept", "application/json").send().await.unwrap();
    let (status, body) = read(asked).await;
    assert_eq!(status, StatusCode::OK);
    let link = body["url"].as_str().unwrap().strip_prefix(PUBLIC).unwrap().to_owned();
    assert!(link.starts_with("/d/"), "{link}");
    assert_eq!(accesses(&portal).await, ["asked", "linked"]);
    let head = portal.call(Method::HEAD, &link).send().await.unwrap();
    assert_eq!((head.status(), header(&head, "accept-ranges")), (StatusCode::OK, "bytes"));
    let part = portal.call(Method::GET, &link).header("range", "bytes=5-").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(accesses(&portal).await, ["asked", "linked"]);
    let whole = portal.call(Method::GET, &link).send().await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), given::download(&portal.given.owner, id).await);
    assert_eq!(accesses(&portal).await, ["asked", "linked", "delivered"]);
    let forged = link.replacen("/d/e", "/d/f", 1);
    assert_eq!(code(portal.call(Method::GET, &forged).send().await.unwrap()).await, "404 not_found");
    assert_eq!(portal.withdraw(id, &token).send().await.unwrap().status(), 204);
    assert_eq!(code(portal.call(Method::GET, &link).send().await.unwrap()).await, "410 withdrawn");
    assert_eq!(portal.process.output().matches("/d/").count(), 0, "no log has the link");
    // It has the limit of a caller.
    flood((0..200).map(|_| portal.call(Method::HEAD, &link)).collect(), 410).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_are_streamed_at_a_time_in_bounded_memory_and_the_next_is_told_to_wait() {
    let portal = streaming().await;
    let large = large(&portal, 256 * MIB).await;
    let path = format!("/v1/exports/{}/download", large.id);
    let before = memory(portal.process.pid());
    // They take the head, and nothing of the rest.
    let mut answers = Vec::new();
    for _ in 0..64 {
        let answer = portal.get(&path, &large.token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answers.push(answer);
    }
    let next = portal.get(&path, &large.token).send().await.unwrap();
    assert!(next.headers().contains_key("retry-after"));
    assert_eq!(code(next).await, "503 too_many_downloads");
    let each = memory(portal.process.pid()).saturating_sub(before) / 64;
    assert!(each < 4 * MIB, "a download that is not taken has {each} bytes");
    // One that is taken to its end makes room.
    let whole = answers.pop().unwrap().bytes().await.unwrap();
    assert_eq!(hex::encode(Sha256::digest(&whole)), large.sha256);
    wait::until("room", SOON, || async {
        let answer = portal.get(&path, &large.token).send().await?;
        Ok((answer.status() == StatusCode::OK).then_some(()))
    })
    .await
    .unwrap();
}

/// Returns the resident memory of a process, in bytes.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_cannot_finish_never_looks_whole() {
    let portal = streaming().await;
    let large = large(&portal, 256 * MIB).await;
    let path = format!("/v1/exports/{}/download", large.id);
    let mut answer = portal.get(&path, &large.token).send().await.unwrap();
    assert_eq!(answer.content_length(), Some(256 * MIB));
    assert!(answer.chunk().await.unwrap().is_some());
    File::options().write(true).open(&large.file).unwrap().set_len(MIB).unwrap();
    let mut got = 0;
    let ended = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => got += chunk.len() as u64,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(ended.is_err() && got < 256 * MIB, "it ends as a failure after {got} bytes");
    assert_eq!(accesses(&portal).await, ["asked", "linked"]);
}

/// Downloads with curl through a proxy that is cut in the middle, and goes on with `curl --continue-at -`.
async fn resume_with_curl(portal: &Portal, large: &Large, proxy: &Proxy, link: impl AsyncFn() -> String) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("export.zip");
    let curl = async || {
        let mut command =
            Command::new(tools::on_path("curl").expect("curl is missing: install Debian's package curl"));
        command.args(["--silent", "--show-error", "--fail", "--continue-at", "-", "--output"]);
        command.arg(&target).arg(link().await);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap().wait_with_output().await.unwrap()
    };
    let size = || fs::metadata(&target).map_or(0, |file| file.len());
    let cut = async {
        wait::until("a third of it", LONG, || async { Ok((size() >= GIB).then_some(())) }).await.unwrap();
        proxy.set(Mode::Cut);
    };
    let (first, ()) = tokio::join!(curl(), cut);
    assert!(!first.status.success(), "the cut is a failure");
    let got = size();
    assert!((GIB..3 * GIB).contains(&got), "{got} bytes were there");
    proxy.set(Mode::Pass);
    let second = curl().await;
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!((size(), digest(&target).await.as_str()), (3 * GIB, large.sha256.as_str()));
    assert!(!accesses(portal).await.contains(&"delivered".to_owned()), "the second part was a range");
}

/// Asks for a link, as a script does.
async fn ask_for_link(portal: &Portal, large: &Large) -> String {
    let path = format!("/v1/exports/{}/download", large.id);
    let asked = portal.get(&path, &large.token).header("accept", "application/json").send().await.unwrap();
    read(asked).await.1["url"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gibibytes_that_were_cut_are_resumed_by_curl_through_the_portal() {
    let portal = streaming().await;
    let large = large(&portal, 3 * GIB).await;
    let (proxy, url) = proxied(&portal.url).await;
    let link = ask_for_link(&portal, &large).await.replacen(PUBLIC, url.trim_end_matches('/'), 1);
    resume_with_curl(&portal, &large, &proxy, async || link.clone()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gibibytes_that_were_cut_are_resumed_by_curl_from_the_store_with_a_new_link() {
    let (proxy, url) = proxied(&stack().await.unwrap().servers().store.endpoint()).await;
    let portal = Portal::with(&[("EXPORT_PUBLIC_ENDPOINT", url.trim_end_matches('/'))]).await;
    let large = large(&portal, 3 * GIB).await;
    resume_with_curl(&portal, &large, &proxy, async || ask_for_link(&portal, &large).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_gibibytes_that_were_cut_are_resumed_by_a_browser() {
    let browser = Box::pin(Browser::with(installation().await, &[("EXPORT_DOWNLOADS", "stream")])).await;
    let large = large(&browser.portal, 3 * GIB).await;
    let facts = json!({"user": large.user, "id": large.id, "bytes": 3 * GIB, "sha256": large.sha256});
    browser.run_with("resume.mjs", &facts).await;
    // Whole downloads are logged as delivered: this one went on with a range.
    assert_eq!(accesses(&browser.portal).await, ["asked", "linked"]);
}

//! The page, in a real browser: what a person sees, hears and can do with a keyboard alone.
//!
//! The scripts are in `tests/it/portal/page`. Each one runs before its own portal and database.

use export_activities::receipt::SigningKey;
use export_stack::shared::TestInstallation;
use futures::{FutureExt as _, future::LocalBoxFuture};
use reqwest::{Method, StatusCode};

use crate::support::{
    browser::Browser,
    installation_of::{self, installation},
    night_of::{Nights, until_said},
    portal_of::Portal,
};

/// On the heap: the futures of a whole installation are large.
fn run(script: &str) -> LocalBoxFuture<'_, ()> {
    async move { Browser::before(installation().await).await.run(script).await }.boxed_local()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_asks_waits_downloads_checks_and_deletes_with_the_keyboard_alone() {
    let installation = TestInstallation::with_namespace().await.unwrap();
    let nights = Nights::of(&installation, Default::default()).await;
    sqlx::query("update public.data_export_policy set start = 'choose'")
        .execute(&nights.owner)
        .await
        .unwrap();
    let browser = Box::pin(Browser::before(installation_of::given(installation).await)).await;
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("receipt.pem");
    std::fs::write(&key, SigningKey::generate().unwrap().0).unwrap();
    let worker = nights.worker(&[("EXPORT_RECEIPT_KEY_FILE", key.to_str().unwrap())]).await;
    until_said(&worker, "Polling task queue").await;
    Box::pin(browser.run("life.mjs")).await;
    nights.assert_sound(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_is_readable_in_every_view() {
    run("states.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_chosen_with_what_it_refers_to_and_shown() {
    run("part.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bar_never_falls_and_speaks_at_quarters() {
    run("progress.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_agree_and_lost_connections_come_back() {
    run("connection.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_embeds_the_element_under_its_own_policy() {
    run("embedded.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_and_texts_are_those_of_the_reader() {
    run("languages.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_a_mail_changes_nothing_until_a_button_is_pressed() {
    run("fragments.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_element_are_small_cached_and_closed_to_all_else() {
    let portal = Portal::new().await;
    let page = portal.call(Method::GET, "/").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    assert_eq!(page.headers()["cache-control"], "no-store");
    assert!(page.text().await.unwrap().contains("<data-export page>"));

    let element = || portal.call(Method::GET, "/data-export.js").header("origin", "https://any.test");
    let plain = element().send().await.unwrap();
    assert_eq!(plain.headers()["access-control-allow-origin"], "*");
    assert_eq!(plain.headers()["cross-origin-resource-policy"], "cross-origin");
    assert_eq!(plain.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(plain.headers()["cache-control"], "public, max-age=300");
    assert!(plain.headers()["vary"].to_str().unwrap().contains("accept-encoding"));
    let etag = plain.headers()["etag"].clone();
    let plain = plain.bytes().await.unwrap();
    let packed = element().header("accept-encoding", "gzip, br").send().await.unwrap();
    assert_eq!(
        (&packed.headers()["content-encoding"], &packed.headers()["etag"]),
        (&"gzip".parse().unwrap(), &etag)
    );
    let packed = packed.bytes().await.unwrap();
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(packed.len() < 15_900, "{} bytes, compressed", packed.len());
    let again = element().header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

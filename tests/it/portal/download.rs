//! The download: a link for one click, after the rights, the state and the object were checked.

use export_activities::{fulfil::presign::Links, store::KeyPair};
use export_stack::servers::versitygw::http;
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::support::{
    portal_of::{PUBLIC, Portal, code, read},
    servers::{connect, sdk_client},
};

async fn accesses(portal: &Portal) -> Vec<String> {
    sqlx::query_scalar(
        "select action || coalesce(' ' || bytes, '') from public.data_export_accesses order by id",
    )
    .fetch_all(&portal.given.owner)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_leads_to_the_archive_and_is_logged_and_looking_counts_as_nothing() {
    let portal = Portal::new().await;
    let (token, id) = portal.ready().await;
    let path = format!("/v1/exports/{id}/download");
    let (_, shown) = read(portal.get(&format!("/v1/exports/{id}"), &token).send().await.unwrap()).await;
    let (bytes, sha256) =
        (shown["archive"]["bytes"].as_u64().unwrap(), shown["archive"]["sha256"].as_str().unwrap());

    // A browser that looks first, and one that loads ahead.
    let head = portal.call(Method::HEAD, &path).bearer_auth(&token).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-length"].to_str().unwrap(), bytes.to_string());
    assert_eq!(head.headers()["etag"].to_str().unwrap(), format!("\"{sha256}\""));
    let ahead = portal.get(&path, &token).header("sec-purpose", "prefetch").send().await.unwrap();
    assert_eq!(ahead.status(), StatusCode::NO_CONTENT);
    assert_eq!(accesses(&portal).await, ["asked"]);

    let click = portal.get(&path, &token).send().await.unwrap();
    assert_eq!(click.status(), StatusCode::FOUND);
    assert_eq!(click.headers()["cache-control"], "no-store");
    let link = click.headers()["location"].to_str().unwrap().to_owned();
    assert!(link.contains("X-Amz-Expires=600"), "the link lives for ten minutes");
    let answer = http().unwrap().get(&link).send().await.unwrap().error_for_status().unwrap();
    let name = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert_eq!(name, format!("attachment; filename=\"export-{id}.zip\""));
    let archive = answer.bytes().await.unwrap();
    assert_eq!((archive.len() as u64, hex::encode(Sha256::digest(&archive)).as_str()), (bytes, sha256));
    assert_eq!(accesses(&portal).await, ["asked".to_owned(), format!("linked {bytes}")]);

    // A script cannot follow it to another origin, so it gets the link itself.
    let click = portal.get(&path, &token).header("accept", "application/json").send().await.unwrap();
    assert_eq!(
        (&click.headers()["cache-control"], &click.headers()["vary"]),
        (&"no-store".parse().unwrap(), &"accept".parse().unwrap())
    );
    let (status, body) = read(click).await;
    assert_eq!(status, StatusCode::OK);
    let answer = http().unwrap().get(body["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.error_for_status().unwrap().bytes().await.unwrap(), archive);
    let linked = format!("linked {bytes}");
    assert_eq!(accesses(&portal).await, ["asked", &linked, &linked]);
    assert!(!portal.process.output().contains("X-Amz"), "no link is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_says_why_there_is_no_archive() {
    let portal = Portal::new().await;
    let token = portal.person("7").await;
    let id = portal.ask(&token).await;
    let download = async |id, token: &str| {
        let answer = portal.get(&format!("/v1/exports/{id}/download"), token).send().await.unwrap();
        code(answer).await
    };
    assert_eq!(download(id, &token).await, "409 not_ready");
    portal.edit(id, "status = 'failed', failure_reason = 'attempts_exhausted', pseudonym_salt = null").await;
    assert_eq!(download(id, &token).await, "410 failed");
    let (token, id) = portal.ready().await;
    portal.edit(id, "expires_at = clock_timestamp() - interval '1 second'").await;
    assert_eq!(download(id, &token).await, "410 expired");
    let (token, id) = portal.ready().await;
    assert_eq!(download(id, &token).await, "302");
    portal.withdraw(id, &token).send().await.unwrap();
    assert_eq!(download(id, &token).await, "410 withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_until_the_last_minute_and_never_beyond_it() {
    let portal = Portal::new().await;
    let (token, id) = portal.ready().await;
    // After six days, 23 hours and 59 minutes.
    portal.edit(id, "expires_at = clock_timestamp() + interval '60 seconds'").await;
    let click = portal.get(&format!("/v1/exports/{id}/download"), &token).send().await.unwrap();
    let link = click.headers()["location"].to_str().unwrap().to_owned();
    let life =
        link.split("X-Amz-Expires=").nth(1).unwrap().split('&').next().unwrap().parse::<u64>().unwrap();
    assert!((50..=60).contains(&life), "{life}");
    assert_eq!(http().unwrap().get(&link).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_gone_or_another_is_no_silent_download() {
    let portal = Portal::new().await;
    let (token, id) = portal.ready().await;
    let path = format!("/v1/exports/{id}/download");
    let key: String = sqlx::query_scalar("select object_key from public.data_export_requests where id = $1")
        .bind(id)
        .fetch_one(&portal.given.owner)
        .await
        .unwrap();
    let s3 = sdk_client(&portal.given.store);
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"another");
    s3.put_object().bucket(&portal.given.store.bucket).key(&key).body(body).send().await.unwrap();
    assert_eq!(code(portal.get(&path, &token).send().await.unwrap()).await, "503 store_unavailable");
    s3.delete_object().bucket(&portal.given.store.bucket).key(&key).send().await.unwrap();
    assert_eq!(code(portal.get(&path, &token).send().await.unwrap()).await, "503 store_unavailable");
    assert!(portal.process.output().contains("is not in the store as it was delivered"));
    assert_eq!(accesses(&portal).await, ["asked"], "nothing was linked");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_the_caller_is_told_to_try_again() {
    let portal = Portal::new().await;
    let (token, id) = portal.ready().await;
    portal.edit(id, "object_location = 'http://127.0.0.1:9/exports'").await;
    let answer = portal.get(&format!("/v1/exports/{id}/download"), &token).send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(code(answer).await, "503 store_unavailable");
    assert_eq!(accesses(&portal).await, ["asked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_links_on_click_the_row_holds_no_secret_and_leads_to_the_portal() {
    let mut portal = Portal::new().await;
    portal.given.steps.settings.links = Links::OnClick(format!("{PUBLIC}/").parse().unwrap());
    // Credentials that end in an hour sign no link of seven days, and are no hindrance here.
    let mut config = portal.given.store.clone();
    let lasting = config.access.clone().unwrap();
    config.signing = Some(KeyPair { session_token: Some("token".to_owned().into()), ..lasting });
    portal.given.steps.store = connect(&config).await;
    let (token, id) = portal.ready().await;
    let link: String =
        sqlx::query_scalar("select download_url from public.data_export_requests where id = $1")
            .bind(id)
            .fetch_one(&portal.given.owner)
            .await
            .unwrap();
    let path = link.strip_prefix(PUBLIC).unwrap_or_else(|| panic!("{link}"));
    assert_eq!(path, format!("/v1/exports/{id}/download"));
    assert_eq!(code(portal.call(Method::GET, path).send().await.unwrap()).await, "401 unauthenticated");
    let other = portal.person("8").await;
    assert_eq!(code(portal.get(path, &other).send().await.unwrap()).await, "404 not_found");
    assert_eq!(code(portal.get(path, &token).send().await.unwrap()).await, "302");
}

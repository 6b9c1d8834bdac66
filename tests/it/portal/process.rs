//! The process of the portal: what it refuses to start without, and what it cannot reach.

use std::collections::BTreeMap;

use aws_sdk_s3::{error::SdkError, primitives::ByteStream};
use export_activities::store::KeyPair;
use export_stack::{servers::worker, supervisor::protocol::Signal, tools};
use reqwest::Method;

use crate::support::{portal_of::Portal, servers::sdk_client};

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_to_start_without_what_it_needs_and_names_all_of_it() {
    let none = BTreeMap::new();
    let output = worker::output(&none, &["serve"]).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for name in [
        "EXPORT_PORTAL_DATABASE_URL",
        "EXPORT_PORTAL_ADDR",
        "EXPORT_PORTAL_URL",
        "EXPORT_PORTAL_KEY_FILE",
        "EXPORT_BUCKET",
    ] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let caller = "neither EXPORT_PORTAL_KEY_FILE nor EXPORT_PORTAL_ISSUER is set";
    assert!(said.contains(caller), "{said}");
    let issuer =
        [("EXPORT_PORTAL_ISSUER", "https://login.example.com"), ("EXPORT_PORTAL_AUDIENCE", "exports")];
    let issuer = issuer.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let said = worker::output(&BTreeMap::from(issuer), &["serve"]).await.unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("EXPORT_PORTAL_ADDR") && !said.contains("KEY_FILE"), "an issuer is enough: {said}");
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (name, value, part) in [
        ("EXPORT_PORTAL_KEY_FILE", empty.path().to_str().unwrap(), "portal key NAME"),
        ("EXPORT_PORTAL_KEY_FILE", "/nowhere", "cannot be read"),
        ("EXPORT_PORTAL_ISSUER", "https://login.example.com", "without EXPORT_PORTAL_AUDIENCE"),
        ("EXPORT_PORTAL_ISSUER", "http://login.example.com", "not https"),
        ("EXPORT_PORTAL_ISSUER", "https://login.example.com/?x=1", "more than scheme"),
        ("EXPORT_PORTAL_ISSUER", "https://me:secret@login.example.com", "a name or a password"),
        ("EXPORT_PORTAL_ISSUER", "login", "no address"),
        ("EXPORT_PORTAL_AUDIENCE", "exports", "without EXPORT_PORTAL_ISSUER"),
        ("EXPORT_PORTAL_JWKS_URL", "https://login.example.com/keys", "without EXPORT_PORTAL_ISSUER"),
        ("EXPORT_PORTAL_JWKS_URL", "http://10.0.0.1/keys", "not https"),
        ("EXPORT_PORTAL_ROLES", "boss=king", "not manager, admin or operator"),
        ("EXPORT_PORTAL_ROLES", "boss", "not NAME=ROLE"),
        ("EXPORT_PORTAL_URL", "http://exports.example.com", "not https"),
        ("EXPORT_PORTAL_URL", "https://exports.example.com/path", "more than scheme"),
        ("EXPORT_PORTAL_URL", "exports", "no address"),
        ("EXPORT_PORTAL_ORIGINS", "https://app.example.com/", "as the browser shows them"),
        ("EXPORT_PORTAL_ADMIN_DOWNLOADS", "yes", "true or false"),
        ("EXPORT_PORTAL_ADDR", "localhost", "an IP address and a port"),
        ("EXPORT_LINKS", "on_click", "without EXPORT_PORTAL_URL"),
        ("EXPORT_LINKS", "none", "presigned or on_click"),
    ] {
        let set = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let output = worker::output(&set, &["serve"]).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && said.contains(name) && said.contains(part),
            "{value}: {said}"
        );
        assert!(!said.contains("me:secret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_store_key_can_read_an_archive_and_nothing_else() {
    let portal = Portal::new().await;
    let (_, id) = portal.ready().await;
    let key: String = sqlx::query_scalar("select object_key from public.data_export_requests where id = $1")
        .bind(id)
        .fetch_one(&portal.given.owner)
        .await
        .unwrap();
    let mut config = portal.given.store.clone();
    let secret = portal.environment["AWS_SECRET_ACCESS_KEY"].clone();
    config.access = Some(KeyPair::new(portal.environment["AWS_ACCESS_KEY_ID"].clone(), secret.into()));
    let (s3, bucket) = (sdk_client(&config), &config.bucket);
    s3.head_object().bucket(bucket).key(&key).send().await.unwrap();
    fn status<T, E>(result: Result<T, SdkError<E>>) -> Option<u16> {
        result.err()?.raw_response().map(|raw| raw.status().as_u16())
    }
    let put = s3.put_object().bucket(bucket).key(&key).body(ByteStream::from_static(b"x")).send().await;
    let deleted = s3.delete_object().bucket(bucket).key(&key).send().await;
    let listed = s3.list_objects_v2().bucket(bucket).send().await;
    let policy = s3.delete_bucket_policy().bucket(bucket).send().await;
    assert_eq!(
        [status(put), status(deleted), status(listed), status(policy)],
        [Some(403); 4],
        "only reading is allowed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_environment_has_no_way_to_the_platform_to_temporal_or_to_a_stored_link() {
    let portal = Portal::new().await;
    let environment = std::fs::read(format!("/proc/{}/environ", portal.process.pid())).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    for name in
        ["EXPORT_DATABASE_URL", "EXPORT_SOURCE_URL", "EXPORT_OWNER_URL", "EXPORT_SIGNING_", "TEMPORAL_"]
    {
        assert!(!environment.contains(name), "{name}");
    }
    assert!(environment.contains("EXPORT_PORTAL_DATABASE_URL=postgres://export_portal:"));
    let ending = portal.process.stop(Signal::Terminate).await.unwrap();
    assert!(ending.is_success(), "{ending}; {}", portal.process.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_api_is_the_one_in_the_documents() {
    let none = BTreeMap::new();
    let printed = worker::command(&none, &["portal", "openapi"]).await.unwrap();
    let path = tools::root().join("docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        printed == committed,
        "run this test with UPDATE_OPENAPI=1, and read the difference of docs/openapi.json"
    );
    let portal = Portal::new().await;
    let served = portal.call(Method::GET, "/v1/openapi.json").send().await.unwrap().text().await.unwrap();
    let [served, committed] =
        [served, committed].map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    assert_eq!(served, committed);
}

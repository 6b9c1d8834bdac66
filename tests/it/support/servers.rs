//! Finds the servers that the tests of the store need; a missing one fails the test.

use std::{fs::File, net::SocketAddr, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use export_activities::{
    database::pool::Pool,
    fulfil::upload::Upload,
    store::{self, Checksum, KeyPair, Store, StoreConfig, Sum, object_key::ObjectKey},
};
use export_stack::{
    instruments::{
        faulty_store::{ACCESS_KEY_ID, FaultyStore, SECRET_ACCESS_KEY},
        proxy::Proxy,
    },
    servers::postgres::Postgres,
    shared::{self, TestDatabase},
    supervisor::Supervisor,
};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

/// Returns the settings for an empty bucket of the test's own, in the real store.
pub(crate) async fn real_store() -> StoreConfig {
    let store = &shared::stack().await.unwrap().servers().store;
    let mut config = StoreConfig::new(format!("test-{}", Uuid::new_v4().simple()));
    config.endpoint = Some(store.endpoint());
    let secret = store.secret_access_key().to_owned().into();
    config.access = Some(KeyPair::new(store.access_key_id(), secret));
    store.make_bucket(&config.bucket).await.unwrap();
    config
}

/// Starts a faulty store and returns the settings for it, with few and quick tries.
pub(crate) async fn faulty_store() -> (FaultyStore, StoreConfig, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let faulty = FaultyStore::start(folder.path(), "bucket").await.unwrap();
    let mut config = StoreConfig::new("bucket");
    config.endpoint = Some(faulty.endpoint().to_owned());
    config.access = Some(KeyPair::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY.to_owned().into()));
    config.attempts = 3;
    config.backoff = std::time::Duration::from_millis(1);
    (faulty, config, folder)
}

pub(crate) async fn connect(config: &StoreConfig) -> Store {
    Store::connect(config).await.unwrap()
}

/// Returns a bare client, to look at the store past our own code.
pub(crate) fn sdk_client(config: &StoreConfig) -> Client {
    let access = config.access.as_ref().unwrap();
    let credentials = Credentials::new(&access.id, access.secret.expose_secret(), None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(store::http_client())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(config.endpoint.as_deref().unwrap())
        .force_path_style(true)
        .credentials_provider(credentials)
        .build();
    Client::from_conf(config)
}

/// Returns a database of the test's own with our tables in it.
pub(crate) async fn database() -> PgPool {
    TestDatabase::new().await.unwrap().owner().await.unwrap()
}

/// Returns the production's pool of a database of the test's own with our tables in it.
pub(crate) async fn state() -> Pool {
    TestDatabase::new().await.unwrap().state().await.unwrap()
}

/// An archive as an upload sees it: bytes on the disk, their size and sums.
pub(crate) struct TestArchive {
    file: File,
    pub(crate) content: Vec<u8>,
    pub(crate) sum: Sum,
}

impl TestArchive {
    pub(crate) fn of_size(bytes: usize) -> Self {
        Self::with(Checksum::Crc64Nvme, bytes)
    }

    pub(crate) fn with(checksum: Checksum, bytes: usize) -> Self {
        let content: Vec<u8> = (0..bytes as u64).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&content, 0).unwrap();
        let sum = checksum.of(&content);
        Self { file, content, sum }
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.content).into()
    }

    pub(crate) fn upload(&self) -> Upload<'_> {
        Upload {
            file: &self.file,
            bytes: self.content.len() as u64,
            sha256: self.sha256(),
            sum: self.sum,
            snapshot_at: "2026-03-01T01:02:03Z".parse().unwrap(),
        }
    }
}

pub(crate) fn new_key() -> ObjectKey {
    ObjectKey::new(Uuid::new_v4(), Uuid::new_v4())
}

/// Returns the keys of all unfinished multipart uploads in the bucket.
pub(crate) async fn unfinished_uploads(config: &StoreConfig) -> Vec<String> {
    let output = sdk_client(config).list_multipart_uploads().bucket(&config.bucket).send().await.unwrap();
    output.uploads().iter().map(|upload| upload.key().unwrap().to_owned()).collect()
}

/// Returns the bytes of an object; none when there is no such object.
pub(crate) async fn content(config: &StoreConfig, key: &ObjectKey) -> Option<Vec<u8>> {
    let answer = sdk_client(config).get_object().bucket(&config.bucket).key(key.as_str()).send().await;
    match answer {
        Ok(output) => Some(output.body.collect().await.unwrap().to_vec()),
        Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => None,
        Err(error) => panic!("the store does not answer: {}", error.into_service_error()),
    }
}

/// Puts a proxy before a server and returns the URL through it.
pub(crate) async fn proxied(url: &str) -> (Proxy, String) {
    let mut url = url::Url::parse(url).unwrap();
    let server: SocketAddr = format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap();
    let proxy = Proxy::start(server, 42).await.unwrap();
    url.set_port(Some(proxy.address().port())).unwrap();
    (proxy, url.to_string())
}

/// Has the bucket keep every version from now on.
pub(crate) async fn keep_versions(config: &StoreConfig) {
    let enabled = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let client = sdk_client(config);
    let put = client.put_bucket_versioning().bucket(&config.bucket).versioning_configuration(enabled);
    put.send().await.unwrap();
}

/// Returns the keys of all versions and markers in the bucket.
pub(crate) async fn versions(config: &StoreConfig) -> Vec<String> {
    let listed = sdk_client(config).list_object_versions().bucket(&config.bucket).send().await.unwrap();
    let versions = listed.versions().iter().map(|version| version.key());
    let markers = listed.delete_markers().iter().map(|marker| marker.key());
    let mut keys: Vec<_> = versions.chain(markers).map(|key| key.unwrap().to_owned()).collect();
    keys.sort();
    keys
}

/// A supervisor of servers that one test has to itself.
pub(crate) fn own_servers(folder: &Path) -> Arc<Supervisor> {
    let supervisor = Supervisor::start(folder).unwrap();
    supervisor.throw_away(vec![Postgres::home(folder).unwrap()]).unwrap();
    supervisor
}

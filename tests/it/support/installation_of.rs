//! An installation of a test's own, and the steps on it as the worker would have them.

use std::{fmt::Display, sync::Arc, time::Duration};

use export_activities::{
    alone::Alone,
    catalogue::Catalogue,
    context::{ExportSteps, Settings},
    database::pool::Pool,
    fulfil::{
        attempt::{Attempt, Unfinished},
        fulfil,
        lease::Heartbeat,
    },
    metrics::Metrics,
    pulse::Pulse,
    requests::claim::Owner,
    spool::Spool,
    store::{
        Checksum, KeyPair, Store, StoreConfig,
        installation::{self, MarkWatch},
    },
};
use export_stack::{
    instruments::{
        checker::{self, Invariant, Subject},
        faulty_store::FaultyStore,
    },
    servers::{postgres::Role, versitygw},
    shared::{TestDatabase, TestInstallation, stack},
};
use export_workflows::contract::{FulfilInput, Outcome};
use futures::FutureExt as _;
use secrecy::SecretString;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::servers::{connect, faulty_store, sdk_client};

pub(crate) struct Given {
    pub(crate) steps: ExportSteps,
    pub(crate) owner: PgPool,
    /// What the steps count.
    pub(crate) registry: prometheus::Registry,
    pub(crate) database: TestDatabase,
    pub(crate) store: StoreConfig,
    /// Goes with the test; bind it, or the spool is gone before it is used.
    pub(crate) spool: tempfile::TempDir,
}

/// Makes database, bucket and steps; the steps work under the production's roles.
pub(crate) async fn installation() -> Given {
    given(TestInstallation::new().await.unwrap()).await
}

/// Takes an installation that has been made.
pub(crate) async fn given(installation: TestInstallation) -> Given {
    let versitygw = &stack().await.unwrap().servers().store;
    let mut config = StoreConfig::new(installation.names.bucket.clone());
    config.endpoint = Some(versitygw.endpoint());
    config.access =
        Some(KeyPair::new(versitygw.access_key_id(), versitygw.secret_access_key().to_owned().into()));
    of(installation.database, config).await
}

/// Makes them on a store that fails when it is told to, and is asked once.
pub(crate) async fn installation_on_faulty_store() -> (Given, FaultyStore, tempfile::TempDir) {
    let (faulty, mut config, folder) = faulty_store().await;
    config.attempts = 1;
    config.attempt_timeout = Duration::from_secs(1);
    config.operation_timeout = Duration::from_secs(2);
    (of(TestDatabase::new().await.unwrap(), config).await, faulty, folder)
}

async fn of(database: TestDatabase, config: StoreConfig) -> Given {
    let store: Store = connect(&config).await;
    let state = database.state().await.unwrap();
    let id = installation::open_bucket(&state, &store).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let registry = prometheus::Registry::new();
    let steps = ExportSteps {
        state,
        source: source(&database.url(Role::Read).await.unwrap(), 4),
        replica: None,
        alone: Alone::default(),
        store,
        files: Arc::new([]),
        checksum: Checksum::Crc64Nvme,
        installation: MarkWatch::new(id),
        catalogue: Arc::new(Catalogue::builtin().unwrap()),
        spool: Spool::new(&spool.path().join("spool"), 1 << 30).unwrap(),
        settings: settings(),
        metrics: Metrics::new(&registry).unwrap(),
    };
    let owner = database.owner().await.unwrap();
    Given { steps, owner, registry, database, store: config, spool }
}

impl Given {
    /// Fails the test unless every invariant holds over the given number of delivered requests.
    pub(crate) async fn assert_sound(&self, delivered: usize) {
        let subject = self.subject().await;
        let findings = checker::check(&subject).await.unwrap();
        assert!(findings.broke(&[]), "{findings}");
        assert_eq!(findings.checked[&Invariant::ReadyIsDelivered], delivered, "{findings}");
    }

    pub(crate) async fn subject(&self) -> Subject {
        Subject {
            database: self.database.pool(Role::Superuser).await.unwrap(),
            s3: sdk_client(&self.store),
            bucket: self.store.bucket.clone(),
            histories: None,
        }
    }
}

/// Makes a pool that reads as the worker's does.
pub(crate) fn source(url: &SecretString, most: u32) -> Pool {
    export_activities::source::pool(url, most, Duration::from_secs(30), Duration::from_secs(3600)).unwrap()
}

/// One attempt of the activity that serves `request_id`.
pub(crate) fn attempt(request_id: Uuid, number: i32) -> Attempt {
    Attempt {
        input: FulfilInput { request_id, night: None, accept: Vec::new(), by_day: false },
        owner: Owner { name: format!("test run {request_id}"), attempt: number, killed: Vec::new() },
        run_id: Some("run".to_owned()),
        before: Default::default(),
    }
}

/// Runs one attempt to its end.
pub(crate) async fn serve(steps: &ExportSteps, attempt: &Attempt) -> Result<Outcome, Unfinished> {
    let silent: Heartbeat<'_> = &|_| async {}.boxed();
    fulfil(steps, attempt, &Pulse::default(), silent).await
}

fn settings() -> Settings {
    Settings {
        max_attempts: 15,
        max_lost: 20,
        defer_after: Duration::from_secs(1800),
        stall_timeout: Duration::from_secs(300),
        lease: Duration::from_secs(60),
        deflate_level: 1,
        sweep_min_age: Duration::from_secs(24 * 3600),
        recheck_bytes: 1 << 30,
        notice: None,
        receipts: None,
        links: export_activities::fulfil::presign::Links::Presigned,
    }
}

/// Makes a user with no rows beyond their own.
pub(crate) async fn user(owner: &PgPool) -> Uuid {
    sqlx::query_scalar(
        "insert into public.users (email, password_hash, full_name)
         values (gen_random_uuid() || '@example.org', 'secret', '=Ada \"L\"') returning id",
    )
    .fetch_one(owner)
    .await
    .unwrap()
}

/// Makes a user with one project, so that every entity is read.
pub(crate) async fn user_with_project(owner: &PgPool) -> Uuid {
    let user = user(owner).await;
    sqlx::query(
        "insert into public.projects (owner_id, slug, name)
         values ($1, 'p-' || left(md5($1::text), 8), 'A project')",
    )
    .bind(user)
    .execute(owner)
    .await
    .unwrap();
    user
}

/// Inserts a request as the platform does.
pub(crate) async fn request(owner: &PgPool, user: impl Display) -> Uuid {
    sqlx::query_scalar("insert into public.data_export_requests (user_id) values ($1) returning id")
        .bind(user.to_string())
        .fetch_one(owner)
        .await
        .unwrap()
}

/// Downloads the archive of a request by its link.
pub(crate) async fn download(owner: &PgPool, request: Uuid) -> Vec<u8> {
    let link: String =
        sqlx::query_scalar("select download_url from public.data_export_requests where id = $1")
            .bind(request)
            .fetch_one(owner)
            .await
            .unwrap();
    let answer = versitygw::http().unwrap().get(&link).send().await.unwrap().error_for_status().unwrap();
    answer.bytes().await.unwrap().into()
}

/// Returns the kinds of a request's events, in order.
pub(crate) async fn events(owner: &PgPool, request: Uuid) -> Vec<String> {
    sqlx::query_scalar("select kind from public.data_export_events where request_id = $1 order by id")
        .bind(request)
        .fetch_all(owner)
        .await
        .unwrap()
}

/// Returns the keys of all archives in the bucket.
pub(crate) async fn objects(config: &StoreConfig) -> Vec<String> {
    let listed = sdk_client(config).list_objects_v2().bucket(&config.bucket).send().await.unwrap();
    let keys = listed.contents().iter().filter_map(|object| object.key().map(str::to_owned));
    keys.filter(|key| !key.ends_with(".installation")).collect()
}

//! An installation of a test's own, and the steps on it as the worker would have them.

use std::{sync::Arc, time::Duration};

use export_activities::{
    catalogue::Catalogue,
    exports::{ExportSteps, Settings},
    installation, source,
    spool::Spool,
    store::{KeyPair, Store, StoreConfig},
};
use export_tests::{
    postgres::Role,
    shared::{TestInstallation, stack},
};
use sqlx::PgPool;
use uuid::Uuid;

use crate::servers::{connect, sdk_client};

pub(crate) struct Given {
    pub(crate) steps: ExportSteps,
    pub(crate) owner: PgPool,
    pub(crate) store: StoreConfig,
    /// Goes with the test; bind it, or the spool is gone before it is used.
    pub(crate) spool: tempfile::TempDir,
}

/// Makes database, bucket and steps; the steps work under the production's roles.
pub(crate) async fn installation() -> Given {
    let installation = TestInstallation::new().await.unwrap();
    let versitygw = &stack().await.unwrap().servers().store;
    let mut config = StoreConfig::new(installation.names.bucket.clone());
    config.endpoint = Some(versitygw.endpoint());
    config.access =
        Some(KeyPair::new(versitygw.access_key_id(), versitygw.secret_access_key().to_owned().into()));
    let store: Store = connect(&config).await;
    let state = installation.database.state().await.unwrap();
    let id: Uuid =
        sqlx::query_scalar("select id from public.data_export_installation").fetch_one(&state).await.unwrap();
    installation::standing(&store, id).await.unwrap();
    let spool = tempfile::tempdir().unwrap();
    let steps = ExportSteps {
        state,
        source: source::pool(
            &installation.database.url(Role::Read).await.unwrap(),
            4,
            Duration::from_secs(30),
        )
        .unwrap(),
        store,
        installation: id,
        catalogue: Arc::new(Catalogue::builtin().unwrap()),
        spool: Spool::new(&spool.path().join("spool"), 1 << 30).unwrap(),
        settings: settings(),
    };
    let owner = installation.database.owner().await.unwrap();
    Given { steps, owner, store: config, spool }
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
        notice: None,
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

/// Inserts a request as the platform does.
pub(crate) async fn request(owner: &PgPool, user: Uuid) -> Uuid {
    sqlx::query_scalar("insert into public.data_export_requests (user_id) values ($1) returning id")
        .bind(user)
        .fetch_one(owner)
        .await
        .unwrap()
}

/// Gives the kinds of a request's events, in order.
pub(crate) async fn events(owner: &PgPool, request: Uuid) -> Vec<String> {
    sqlx::query_scalar("select kind from public.data_export_events where request_id = $1 order by id")
        .bind(request)
        .fetch_all(owner)
        .await
        .unwrap()
}

/// Gives the keys of all archives in the bucket.
pub(crate) async fn objects(config: &StoreConfig) -> Vec<String> {
    let listed = sdk_client(config).list_objects_v2().bucket(&config.bucket).send().await.unwrap();
    let keys = listed.contents().iter().filter_map(|object| object.key().map(str::to_owned));
    keys.filter(|key| !key.ends_with(".installation")).collect()
}

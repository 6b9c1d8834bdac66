//! The stack that all tests of one run share, and the separate installation of each test on it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow};
use export_activities::{
    catalogue::{self, Catalogue},
    database::pool::Pool,
    requests,
};
use secrecy::SecretString;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    database,
    servers::{postgres::Role, temporal::Temporal},
    stack::{Installation, Lifetime, Servers, Stack},
    supervisor::record,
    tools,
};

/// The database that each test copies.
const TEMPLATE: &str = "export_template";

/// Returns the stack of this test run, which the first caller starts.
///
/// Its supervisor stops it when the test program ends, however it ends.
pub async fn stack() -> anyhow::Result<&'static Stack> {
    static STACK: OnceCell<Result<Stack, String>> = OnceCell::const_new();
    // Keep an error too; otherwise every test would wait for the same failure again.
    let started = STACK.get_or_init(|| async { start().await.map_err(|error| format!("{error:#}")) }).await;
    started.as_ref().map_err(|error| anyhow!("the test stack did not start: {error}"))
}

async fn start() -> anyhow::Result<Stack> {
    tools::check_worker_is_fresh()?;
    remove_leftovers().await?;
    let folder = folder().join(std::process::id().to_string());
    // Boxed: its future is large.
    let stack = Box::pin(Stack::start(&folder, Lifetime::Test)).await?;
    database::make(&stack.servers().postgres, TEMPLATE, &grants()?).await?;
    Ok(stack)
}

fn folder() -> PathBuf {
    tools::root().join(".stack-test")
}

/// Stops and removes the leftovers of test runs whose supervisor was killed too.
async fn remove_leftovers() -> anyhow::Result<()> {
    let Ok(listed) = std::fs::read_dir(folder()) else { return Ok(()) };
    for entry in listed {
        let folder = entry.context("failed to list the folders of earlier test runs")?.path();
        if folder.join("processes.json").exists() && record::owner(&folder).await?.is_none() {
            record::stop(&folder).await?;
            record::remove(&folder)?;
        }
    }
    Ok(())
}

/// Returns the SQL for the rights of the three roles.
pub fn grants() -> anyhow::Result<String> {
    Ok(Catalogue::builtin()?.grants() + catalogue::state_grants() + catalogue::portal_grants())
}

/// A separate database for one test: the empty tables of the reference platform, and the tables of the export.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Copies the template.
    pub async fn new() -> anyhow::Result<Self> {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let postgres = &stack().await?.servers().postgres;
        database::copy(postgres, TEMPLATE, &name).await?;
        // A copy is a separate installation, so it must not own the bucket of another one.
        let renew = "update public.data_export_installation set id = gen_random_uuid()".to_owned();
        postgres.run(Role::Owner, &name, renew).await?;
        Ok(Self { name })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its address for a role.
    pub async fn url(&self, role: Role) -> anyhow::Result<SecretString> {
        Ok(stack().await?.servers().postgres.url(role, &self.name))
    }

    /// Connects to it as a role.
    pub async fn pool(&self, role: Role) -> anyhow::Result<PgPool> {
        use secrecy::ExposeSecret as _;
        let url = self.url(role).await?;
        let pool = PgPoolOptions::new().max_connections(8).connect(url.expose_secret()).await;
        pool.with_context(|| format!("failed to connect to `{}` as {}", self.name, role.name()))
    }

    /// Connects to it as the owner of all tables.
    pub async fn owner(&self) -> anyhow::Result<PgPool> {
        self.pool(Role::Owner).await
    }

    /// Makes a pool of the production's sessions as `export_state`.
    pub async fn state(&self) -> anyhow::Result<Pool> {
        use secrecy::ExposeSecret as _;
        let options = self.url(Role::State).await?.expose_secret().parse()?;
        Ok(requests::pool(options, 8, Duration::from_secs(30)))
    }

    /// Connects to it as `export_read`.
    pub async fn read(&self) -> anyhow::Result<PgPool> {
        self.pool(Role::Read).await
    }
}

/// A separate installation for one test: database, bucket, task queue, and a Temporal namespace if needed.
#[derive(Debug)]
pub struct TestInstallation {
    /// The database.
    pub database: TestDatabase,
    /// The names of everything.
    pub names: Installation,
}

impl TestInstallation {
    /// Makes a database, a bucket and a task queue. The namespace is shared.
    pub async fn new() -> anyhow::Result<Self> {
        let database = TestDatabase::new().await?;
        let own = database.name().replace('_', "-");
        let names = Installation {
            database: database.name().to_owned(),
            bucket: own.clone(),
            namespace: Temporal::NAMESPACE.to_owned(),
            task_queue: own,
        };
        servers().await?.store.make_bucket(&names.bucket).await?;
        Ok(Self { database, names })
    }

    /// Makes an installation with a separate namespace, in which the fixed schedule and workflow ids are free.
    pub async fn with_namespace() -> anyhow::Result<Self> {
        let mut installation = Self::new().await?;
        installation.names.namespace.clone_from(&installation.names.bucket);
        servers().await?.temporal.make_namespace(&installation.names.namespace).await?;
        Ok(installation)
    }

    /// Returns every variable that the production binary needs for it.
    pub async fn environment(&self) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(servers().await?.environment(&self.names))
    }
}

async fn servers() -> anyhow::Result<&'static Servers> {
    Ok(stack().await?.servers())
}

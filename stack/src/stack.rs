//! PostgreSQL, Temporal, the store and a mail server, started together and stopped together.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::{
    servers::{
        mailpit::Mailpit,
        postgres::{Postgres, Role},
        private,
        temporal::Temporal,
        versitygw::Versitygw,
    },
    supervisor::{Process, Supervisor, protocol::Program, record},
    tools,
};

/// How long the data lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The next stack in the same folder uses it again.
    Lasting,
    /// The stack starts empty. The data is removed at the end; the logs stay.
    Demo,
    /// The stack starts empty. The whole folder is removed at the end.
    Test,
}

/// The four servers.
pub struct Stack {
    supervisor: Arc<Supervisor>,
    servers: Servers,
    processes: [Process; 4],
}

/// The addresses and credentials of the servers: the contents of `stack.json`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Servers {
    /// The database.
    pub postgres: Postgres,
    /// The engine.
    pub temporal: Temporal,
    /// The store.
    pub store: Versitygw,
    /// The mail server.
    #[serde(default)]
    pub mail: Mailpit,
}

/// One installation of the export on these servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Installation {
    /// The database.
    pub database: String,
    /// The bucket.
    pub bucket: String,
    /// The Temporal namespace.
    pub namespace: String,
    /// The task queue.
    pub task_queue: String,
}

impl Stack {
    /// Starts the servers, each on free ports, and waits until all of them answer.
    ///
    /// No other stack may use `folder`: the start fails if one runs there. The servers stop when this value is dropped,
    /// and also when this process dies without dropping it.
    pub async fn start(folder: &Path, lifetime: Lifetime) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to make the folder `{}`", folder.display()))?;
        let folder = &folder.canonicalize().context("failed to find the stack's folder")?;
        if record::owner(folder).await?.is_none_or(|owner| owner.is_abandoned()) {
            record::stop(folder).await.context("failed to stop what an earlier stack left running")?;
        }
        let supervisor = Supervisor::start(folder)?;
        let data = folder.join("data");
        let home = Postgres::home(folder)?;
        let lasts = lifetime == Lifetime::Lasting;
        let mut last = None;
        if lasts {
            last = Servers::read(folder).ok();
        } else {
            record::remove(&data)?;
            let mut paths = vec![data.clone(), home];
            if lifetime == Lifetime::Test {
                paths.push(folder.clone());
            }
            supervisor.throw_away(paths)?;
        }
        private::folder(&data)?;
        let (postgres, temporal, store, mail) = match last {
            Some(Servers { postgres, temporal, store, mail }) => {
                (Some(postgres), Some(temporal), Some(store), Some(mail))
            }
            None => (None, None, None, None),
        };
        let ((postgres, p1), (temporal, p2), (store, p3), (mail, p4)) = tokio::try_join!(
            Postgres::start(&supervisor, folder, postgres, lasts),
            Temporal::start(&supervisor, &data, temporal, lasts),
            Versitygw::start(&supervisor, &data, store),
            Mailpit::start(&supervisor, &data, mail, "mailpit", &[]),
        )?;
        let servers = Servers { postgres, temporal, store, mail };
        servers.write(folder)?;
        Ok(Self { supervisor, servers, processes: [p1, p2, p3, p4] })
    }

    /// Returns the addresses and credentials of the servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        self.supervisor.folder()
    }

    /// Returns the supervisor, which starts further programs and stops them together with the servers.
    pub fn supervisor(&self) -> &Arc<Supervisor> {
        &self.supervisor
    }

    /// Returns the processes of PostgreSQL, Temporal, the store and the mail server.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Fails if one of the servers has ended.
    pub fn check_alive(&self) -> anyhow::Result<()> {
        self.processes.iter().try_for_each(Process::check_alive)
    }

    /// Starts the production binary with arguments, as part of the stack.
    pub fn start_worker(
        &self,
        name: &str,
        arguments: &[&str],
        mut environment: BTreeMap<String, String>,
    ) -> anyhow::Result<Process> {
        // All users of the machine share the default spool.
        let spool = self.folder().join("data").join("spool");
        environment.entry("EXPORT_SPOOL_DIR".to_owned()).or_insert_with(|| spool.display().to_string());
        self.supervisor.run(Program {
            name: name.to_owned(),
            path: tools::worker_program()?,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment,
            ..Program::default()
        })
    }

    /// Keeps everything running after this process, until `export-stack down`.
    pub fn keep(&self) -> anyhow::Result<()> {
        self.supervisor.keep()
    }

    /// Stops everything and waits until it has stopped.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.supervisor.stop()
    }
}

impl Servers {
    fn path(folder: &Path) -> PathBuf {
        folder.join("stack.json")
    }

    /// Reads the addresses and credentials of a folder's servers, which may have stopped.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = Self::path(folder);
        let text = fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("failed to read `{}`", path.display()))
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("failed to write down the servers")?;
        private::write(&Self::path(folder), &text)
    }

    /// Returns every variable that the portal needs for an installation, and no other: its own role in the database, and
    /// a key to the store that can only read.
    pub async fn portal_environment(
        &self,
        installation: &Installation,
        key_file: &Path,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let (id, secret) = self.store.make_reader(&installation.bucket).await?;
        let database = self.postgres.url(Role::Portal, &installation.database).expose_secret().to_owned();
        let pairs = [
            ("EXPORT_PORTAL_DATABASE_URL", database),
            ("EXPORT_PORTAL_ADDR", "127.0.0.1:0".to_owned()),
            ("EXPORT_PORTAL_URL", "http://localhost".to_owned()),
            ("EXPORT_PORTAL_KEY_FILE", key_file.display().to_string()),
            ("EXPORT_BUCKET", installation.bucket.clone()),
            ("EXPORT_S3_ENDPOINT", self.store.endpoint()),
            ("EXPORT_PUBLIC_ENDPOINT", self.store.endpoint()),
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", Versitygw::REGION.to_owned()),
        ];
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Returns every variable that the production binary needs for an installation.
    pub fn environment(&self, installation: &Installation) -> BTreeMap<String, String> {
        let database = |role| self.postgres.url(role, &installation.database).expose_secret().to_owned();
        let pairs = [
            ("EXPORT_DATABASE_URL", database(Role::State)),
            ("EXPORT_SOURCE_URL", database(Role::Read)),
            ("EXPORT_OWNER_URL", database(Role::Owner)),
            ("EXPORT_BUCKET", installation.bucket.clone()),
            ("EXPORT_S3_ENDPOINT", self.store.endpoint()),
            ("EXPORT_PUBLIC_ENDPOINT", self.store.endpoint()),
            ("EXPORT_TASK_QUEUE", installation.task_queue.clone()),
            ("TEMPORAL_ADDRESS", self.temporal.address()),
            ("TEMPORAL_NAMESPACE", installation.namespace.clone()),
            ("AWS_ACCESS_KEY_ID", self.store.access_key_id().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.store.secret_access_key().to_owned()),
            ("AWS_REGION", Versitygw::REGION.to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

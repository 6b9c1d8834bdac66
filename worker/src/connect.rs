//! Connects to the servers of a command: the two databases, the store, Temporal.
//!
//! This module never waits or retries; `run` does that around it. No message contains a password or a key.

pub(crate) mod clock;
pub mod explain;
pub mod profile;

use std::{fmt, str::FromStr as _, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use export_activities::{
    catalogue::Catalogue,
    database::{
        pool::Pool,
        session::{self, Kind},
    },
    requests::{self, CALLS},
    source::{
        self,
        replica::{self, Fit, Replica, WalPosition},
    },
    store::{KeyPair, Store, StoreConfig},
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, NamespacedClient as _,
    envconfig::LoadClientConfigProfileOptions, grpc::WorkflowService as _,
};
use temporalio_common::{
    data_converters::DataConverter, protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest,
};
use tonic::IntoRequest as _;

use crate::{
    codec::Codec,
    config::{Config, ConfigError},
};

/// Time limit of a connection to Temporal.
const TEMPORAL_CONNECT: Duration = Duration::from_secs(10);

/// Time limit of a connection to a database, including its handshake. Without it, a server that accepts and then stays
/// silent would block forever.
const DATABASE_CONNECT: Duration = Duration::from_secs(10);

/// Time limit of one store call of a command, including its retries: a person waits for it.
const STORE_COMMAND: Duration = Duration::from_secs(15);

/// A read that a person or a scrape waits for.
const GLANCES: Kind = Kind::Calls { statement: Duration::from_secs(2), lock: Duration::from_secs(2) };

/// Time limit of a check of a replica. Nothing waits for it.
const REPLICA_ANSWER: Duration = Duration::from_secs(5);

/// Temporal answers, but does not know the namespace.
#[derive(Clone, Debug)]
pub struct NoNamespace {
    namespace: String,
    address: String,
}

impl fmt::Display for NoNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no namespace `{}` in Temporal at {}", self.namespace, self.address)
    }
}

impl std::error::Error for NoNamespace {}

/// Creates the pool of requests and events, without a connection yet.
pub fn state(config: &Config) -> Result<Pool> {
    let options = options(config.database_url()?, "EXPORT_DATABASE_URL")?;
    Ok(requests::pool(options, config.state_connections, config.acquire_timeout))
}

/// Time limit of a wait for a connection of the portal: a person waits behind it.
const PORTAL_ACQUIRE: Duration = Duration::from_secs(5);

/// Creates the pool of the portal, without a connection yet.
pub fn portal(config: &Config) -> Result<Pool> {
    let options = options(config.portal.database_url()?, "EXPORT_PORTAL_DATABASE_URL")?;
    let acquire = config.acquire_timeout.min(PORTAL_ACQUIRE);
    Ok(requests::pool(options.application_name("export-portal"), config.portal.connections, acquire))
}

/// Connects once outside the pool, whose own timeout would hide the cause of a failure.
pub async fn once(pool: &Pool) -> sqlx::Result<PgConnection> {
    in_time(session::connect(pool.connect_options(), CALLS)).await
}

/// Connects like [`once`], and checks that no pooler changes the session.
pub async fn probe(pool: &Pool) -> sqlx::Result<PgConnection> {
    in_time(session::probe(pool.connect_options(), CALLS)).await
}

/// Waits for a call to a database. A timeout fails like the timeout of a connection.
async fn in_time<T>(call: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let answered = tokio::time::timeout(DATABASE_CONNECT, call).await;
    answered.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Connects once for a short read. The server itself cancels a statement that takes too long.
pub async fn glance(pool: &Pool) -> sqlx::Result<PgConnection> {
    in_time(session::connect(pool.connect_options(), GLANCES)).await
}

/// Creates the pool that reads the exported tables, without a connection yet.
pub fn source(config: &Config) -> Result<Pool> {
    read_pool(config, config.source_url()?, config.source_connections)
}

/// Creates the pool of one connection that reads where people get mail, without a connection yet. The exports of a night may
/// hold all others for hours.
pub fn addresses(config: &Config) -> Result<Pool> {
    read_pool(config, config.source_url()?, 1)
}

/// Creates the pool of the source's replica, if one is configured, without a connection yet.
pub fn replica(config: &Config) -> Result<Option<Replica>> {
    let Some(url) = config.replica_url() else { return Ok(None) };
    let pool = read_pool(config, url, config.source_connections)?;
    Ok(Some(Replica::new(pool, replica::LONGEST_WAIT, config.source_connections)))
}

fn read_pool(config: &Config, url: &SecretString, most: u32) -> Result<Pool> {
    source::pool(url, most, config.acquire_timeout, config.statement_timeout)
}

/// Reads how far the source has written.
pub async fn source_position(source: &Pool) -> sqlx::Result<WalPosition> {
    let mut asked = once(source).await?;
    let position = replica::position(&mut asked).await?;
    asked.close().await?;
    Ok(position)
}

/// Compares the replica with a position of the source.
pub async fn replica_fit(replica: &Replica, position: &WalPosition) -> sqlx::Result<Fit> {
    let compared = async {
        let mut connection = once(replica.pool()).await?;
        let fit = replica::compare(&mut connection, position).await?;
        connection.close().await?;
        Ok(fit)
    };
    let compared = tokio::time::timeout(REPLICA_ANSWER, compared).await;
    compared.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

fn options(url: &SecretString, variable: &str) -> Result<PgConnectOptions> {
    // The parser's own error may repeat the URL.
    let options = PgConnectOptions::from_str(url.expose_secret()).map_err(|_| ConfigError {
        problems: vec![format!(
            "{variable} cannot be read: set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        )],
    })?;
    Ok(options.application_name("export-worker"))
}

/// Creates the client of the store, without a call yet.
pub async fn store(config: &Config) -> Result<Store> {
    Store::connect(&store_config(config)?).await
}

/// Like [`store`], for a command: each call ends while a person waits.
pub async fn store_for_command(config: &Config) -> Result<Store> {
    let mut settings = store_config(config)?;
    settings.operation_timeout = settings.operation_timeout.min(STORE_COMMAND);
    settings.attempt_timeout = settings.attempt_timeout.min(STORE_COMMAND / 2);
    Store::connect(&settings).await
}

/// Reads the catalogue: the compiled-in one, or the one of `EXPORT_CATALOGUE_DIR`.
pub fn catalogue(config: &Config) -> Result<Catalogue> {
    match &config.catalogue_dir {
        Some(directory) => Catalogue::load(directory),
        None => Catalogue::builtin(),
    }
}

/// Creates the clients of the stores that hold users' own files, one for each set of the catalogue.
pub async fn files(config: &Config, catalogue: &Catalogue) -> Result<Arc<[Store]>> {
    let mut stores = Vec::new();
    for set in catalogue.files() {
        let access = config.files_access.clone().map(|(id, secret)| KeyPair::new(id, secret));
        let settings = StoreConfig {
            bucket: set.bucket.clone(),
            endpoint: set.endpoint.clone().or_else(|| config.s3_endpoint.clone()),
            access,
            ..store_config(config)?
        };
        let store = Store::connect(&settings).await;
        stores.push(store.with_context(|| format!("the store of [files.{}] cannot be used", set.name))?);
    }
    Ok(stores.into())
}

fn store_config(config: &Config) -> Result<StoreConfig> {
    Ok(StoreConfig {
        endpoint: config.s3_endpoint.clone(),
        public_endpoint: config.public_endpoint.clone(),
        signing: config.signing.clone().map(|(id, secret)| KeyPair::new(id, secret)),
        connect_timeout: config.store_connect_timeout,
        attempt_timeout: config.store_attempt_timeout,
        operation_timeout: config.store_operation_timeout,
        put_limit: config.put_limit,
        parallel_parts: config.parallel_parts,
        encryption: config.encryption.clone(),
        ..StoreConfig::new(config.bucket()?)
    })
}

/// Connects to Temporal as `TEMPORAL_*` and its configuration file specify, and checks that the namespace exists.
pub async fn temporal(config: &Config) -> Result<Client> {
    let (connection, client) = temporal_options(config)?;
    let address = connection.target.clone();
    let secure = connection.tls_options.is_some();
    let connection = Connection::connect(connection).await.map_err(|error| {
        anyhow!("cannot reach Temporal at {address} ({})", explain::temporal_connection(&error, secure))
    })?;
    let client = Client::new(connection, client).context("failed to make the Temporal client")?;
    // A worker would report a missing namespace only after its creation, and in a long message.
    let namespace = client.namespace();
    let request = DescribeNamespaceRequest { namespace: namespace.clone(), ..Default::default() };
    match client.clone().describe_namespace(request.into_request()).await {
        Ok(_) => Ok(client),
        Err(status) if status.code() == tonic::Code::NotFound => {
            bail!(NoNamespace { namespace, address: address.to_string() })
        }
        Err(status) => {
            bail!("cannot use namespace `{namespace}` of Temporal at {address} ({})", status.message())
        }
    }
}

/// Returns the location of Temporal's own configuration: its variables, and the file and profile that they name.
pub fn temporal_profile() -> LoadClientConfigProfileOptions {
    LoadClientConfigProfileOptions::builder().config_file_strict(true).build()
}

/// Reads Temporal's own configuration, as its SDKs define it, and our keys.
pub fn temporal_options(config: &Config) -> Result<(ConnectionOptions, ClientOptions)> {
    let (mut connection, mut client) =
        ClientOptions::load_from_config(temporal_profile()).map_err(|error| ConfigError {
            problems: vec![format!(
                "Temporal's configuration cannot be read ({error}): fix TEMPORAL_* or the file"
            )],
        })?;
    connection.connect_timeout = Some(TEMPORAL_CONNECT);
    connection.identity = identity();
    client.data_converter = converter(config)?;
    Ok((connection, client))
}

/// Creates the converter of payloads, which encrypts them if keys are configured.
pub fn converter(config: &Config) -> Result<DataConverter> {
    Ok(config.codec.codec()?.map(Codec::converter).unwrap_or_default())
}

/// Returns the name of this process for the Web UI.
fn identity() -> String {
    format!("export-worker {}@{}", std::process::id(), host())
}

/// Returns the name of this machine, or an empty text if it has none.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}

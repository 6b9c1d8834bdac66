//! Connects to what a command needs: the two databases, the store, Temporal.
//!
//! Nothing here waits or tries again; `run` does that around it. No sentence carries a password or a key.

pub(crate) mod clock;
pub mod explain;
pub mod profile;

use std::{fmt, str::FromStr as _, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use export_activities::{
    catalogue::Catalogue,
    replica::{self, Fit, Replica},
    session::{self, Kind},
    source,
    store::{KeyPair, Store, StoreConfig},
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection, PgPool, postgres::PgConnectOptions};
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

/// The longest wait for a connection to Temporal.
const TEMPORAL_CONNECT: Duration = Duration::from_secs(10);

/// The longest wait for a connection to a database, its handshake included. A server that accepts and is silent would be
/// waited for without an end.
const DATABASE_CONNECT: Duration = Duration::from_secs(10);

/// The longest that one call of a command to the store may take, with all its tries: a person waits for it.
const STORE_COMMAND: Duration = Duration::from_secs(15);

/// A call of ours locks and changes few rows; one that takes longer waits for somebody, and is tried again.
const CALLS: Kind = Kind::Calls { statement: Duration::from_secs(20), lock: Duration::from_secs(5) };

/// A look that somebody waits for.
const GLANCES: Kind = Kind::Calls { statement: Duration::from_secs(2), lock: Duration::from_secs(2) };

/// The longest look at a replica, which nothing waits for.
const REPLICA_LOOK: Duration = Duration::from_secs(5);

/// Temporal answers, and does not know the namespace.
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

/// Makes the pool of requests and events; nothing is connected yet.
pub fn state(config: &Config) -> Result<PgPool> {
    let options = options(config.database_url()?, "EXPORT_DATABASE_URL")?;
    Ok(source::of_sessions(CALLS)
        .max_connections(config.state_connections)
        .acquire_timeout(config.acquire_timeout)
        .connect_lazy_with(session::options(options)))
}

/// Connects once, beside the pool, which would hide the cause behind its own timeout.
pub async fn once(pool: &PgPool) -> sqlx::Result<PgConnection> {
    in_time(session::connect(&pool.connect_options(), CALLS)).await
}

/// Connects as [`once`] does, and makes sure that no pooler changes the session.
pub async fn probe(pool: &PgPool) -> sqlx::Result<PgConnection> {
    in_time(session::probe(&pool.connect_options(), CALLS)).await
}

/// Waits for a call to a database, which fails as a connection that ran out of time.
async fn in_time<T>(call: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let answered = tokio::time::timeout(DATABASE_CONNECT, call).await;
    answered.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Connects once for a look that must not last: the server itself ends a statement that takes longer than a moment.
pub async fn glance(pool: &PgPool) -> sqlx::Result<PgConnection> {
    in_time(session::connect(&pool.connect_options(), GLANCES)).await
}

/// Makes the pool that reads the exported tables; nothing is connected yet.
pub fn source(config: &Config) -> Result<PgPool> {
    read_pool(config, config.source_url()?)
}

/// Makes the pool of the source's replica, if one is configured; nothing is connected yet.
pub fn replica(config: &Config) -> Result<Option<Replica>> {
    let Some(url) = config.replica_url() else { return Ok(None) };
    let pool = read_pool(config, url)?;
    Ok(Some(Replica::new(pool, replica::LONGEST_WAIT, config.source_connections)))
}

fn read_pool(config: &Config, url: &SecretString) -> Result<PgPool> {
    source::pool(url, config.source_connections, config.acquire_timeout, config.statement_timeout)
}

/// Looks how the replica stands to the source. The outer error is the source's, the inner one the replica's.
pub async fn replica_fit(source: &PgPool, replica: &Replica) -> sqlx::Result<sqlx::Result<Fit>> {
    let mut asked = once(source).await?;
    let position = replica::position(&mut asked).await?;
    asked.close().await?;
    let look = async {
        let mut looked_at = once(replica.pool()).await?;
        let fit = replica::look(&mut looked_at, &position).await?;
        looked_at.close().await?;
        Ok(fit)
    };
    let looked = tokio::time::timeout(REPLICA_LOOK, look).await;
    Ok(looked.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))))
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

/// Makes the client of the store; the store is not called yet.
pub async fn store(config: &Config) -> Result<Store> {
    Store::connect(&store_config(config)?).await
}

/// As [`store`], for a command: no call takes longer than a person waits.
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
        ..StoreConfig::new(config.bucket()?)
    })
}

/// Connects to Temporal as `TEMPORAL_*` and its configuration file say, and makes sure of the namespace.
pub async fn temporal(config: &Config) -> Result<Client> {
    let (connection, client) = temporal_options(config)?;
    let address = connection.target.clone();
    let secure = connection.tls_options.is_some();
    let connection = Connection::connect(connection).await.map_err(|error| {
        anyhow!("cannot reach Temporal at {address} ({})", explain::temporal_connection(&error, secure))
    })?;
    let client = Client::new(connection, client).context("failed to make the Temporal client")?;
    // A worker would find out about a missing namespace only after it was made, and at length.
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

/// Says where Temporal's own configuration is: in its variables, and in the file and profile that they name.
pub fn temporal_profile() -> LoadClientConfigProfileOptions {
    LoadClientConfigProfileOptions::builder().config_file_strict(true).build()
}

/// Reads Temporal's own configuration, as its SDKs define it, and our keys.
pub fn temporal_options(config: &Config) -> Result<(ConnectionOptions, ClientOptions)> {
    let (mut connection, mut client) =
        ClientOptions::load_from_config(temporal_profile()).map_err(|error| ConfigError {
            problems: vec![format!(
                "Temporal's configuration cannot be read ({error}): mend TEMPORAL_* or the file"
            )],
        })?;
    connection.connect_timeout = Some(TEMPORAL_CONNECT);
    connection.identity = identity();
    client.data_converter = converter(config)?;
    Ok((connection, client))
}

/// Makes what encrypts payloads, where keys are configured.
pub fn converter(config: &Config) -> Result<DataConverter> {
    Ok(config.codec.codec()?.map(Codec::converter).unwrap_or_default())
}

/// Says in the Web UI which process it was.
fn identity() -> String {
    format!("export-worker {}@{}", std::process::id(), host())
}

/// Names this machine; nothing when it has no name.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    host.trim().to_owned()
}

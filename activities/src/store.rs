//! The connection to the object store: one client that reads and writes, one that signs links.
//!
//! It knows nothing of requests and rows. Every call has a time limit. The SDK retries it with a jittered backoff. A
//! failed call is a [`StoreError`](crate::failure::StoreError), which carries no message text of the SDK.

mod checksum;
mod credentials;
mod encryption;
pub mod installation;
pub mod lifecycle;
mod list;
mod location;
mod object;
pub mod object_key;
mod pace;
mod uploads;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use aws_config::BehaviorVersion;
use aws_sdk_s3::{
    Client,
    config::{
        Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
        SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls;

pub(crate) use self::checksum::Digest;
use self::pace::{SlowDownSensor, UploadPace};
pub use self::{
    checksum::{Checksum, Sum},
    credentials::{KeyPair, TemporaryCredentials},
    encryption::{Encryption, StoredEncryption},
    list::{ListedObject, ListedUpload},
    location::normalise_endpoint,
    object::{Content, Head},
};

/// One mebibyte.
const MIB: u64 = 1024 * 1024;
/// The largest archive that is uploaded in one put. Most accounts fit, and a put costs one call where multipart costs
/// three. A put holds the whole archive in memory, once for each slot.
pub const DEFAULT_PUT_LIMIT: u64 = 16 * MIB;
/// Maximum number of parts of one archive in flight. Four fill an ordinary line; each costs a part's size in memory.
pub const DEFAULT_PARALLEL_PARTS: usize = 4;

/// The configuration of the store, with one field for each variable.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The bucket.
    pub bucket: String,
    /// The region; `None`: AWS's standard chain, and `us-east-1` when there is an endpoint.
    pub region: Option<String>,
    /// The store's address; `None`: AWS.
    pub endpoint: Option<String>,
    /// The address under which users reach the store, when it differs: the host is part of a link's signature.
    pub public_endpoint: Option<String>,
    /// The key pair that reads and writes; `None`: AWS's standard chain.
    pub access: Option<KeyPair>,
    /// The key pair that signs links; `None`: the one that reads and writes.
    pub signing: Option<KeyPair>,
    /// The longest wait for a connection. Too short: a busy store looks dead; too long: a dead one holds its slot.
    pub connect_timeout: Duration,
    /// The longest single try of one call. It must allow one part on the slowest line.
    pub attempt_timeout: Duration,
    /// The longest time of one call with all its tries and pauses.
    pub operation_timeout: Duration,
    /// Maximum number of tries of one call.
    pub attempts: u32,
    /// Maximum pause before the second try. It doubles with each try, with jitter.
    pub backoff: Duration,
    /// The largest archive that is uploaded in one put, in bytes.
    pub put_limit: u64,
    /// Maximum number of parts of one archive in flight; fewer while the store asks to slow down.
    pub parallel_parts: usize,
    /// How the store must encrypt archives; none: as it does by itself.
    pub encryption: Option<Encryption>,
}

impl StoreConfig {
    /// Returns the defaults for `bucket`.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            public_endpoint: None,
            access: None,
            signing: None,
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(60),
            operation_timeout: Duration::from_secs(240),
            attempts: 5,
            backoff: Duration::from_millis(500),
            put_limit: DEFAULT_PUT_LIMIT,
            parallel_parts: DEFAULT_PARALLEL_PARTS,
            encryption: None,
        }
    }
}

/// The store, ready for use; cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    bucket: String,
    location: String,
    client: Client,
    signer: Client,
    signing: SharedCredentialsProvider,
    pace: Arc<UploadPace>,
    put_limit: u64,
    operation_timeout: Duration,
    encryption: Option<Encryption>,
}

impl Store {
    /// Makes the clients, and does not call the store.
    pub async fn connect(config: &StoreConfig) -> anyhow::Result<Self> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(access) = &config.access {
            loader = loader.credentials_provider(access.credentials("configured access key"));
        }
        let sdk = loader.load().await;

        let endpoint = config.endpoint.as_deref().or(sdk.endpoint_url());
        let endpoint = endpoint.map(|text| spelt("the address of the store", text)).transpose()?;
        let public = config.public_endpoint.as_deref();
        let public = public.map(|text| spelt("the public address of the store", text)).transpose()?;
        let region = match (sdk.region(), &endpoint) {
            (Some(region), _) => region.clone(),
            // Other stores than AWS do not care, but a signature needs some region.
            (None, Some(_)) => Region::from_static("us-east-1"),
            (None, None) => bail!("no region for bucket `{}`: set `AWS_REGION`", config.bucket),
        };
        let access = sdk.credentials_provider().context("no provider of credentials for the store")?;
        let signing = match &config.signing {
            Some(pair) => SharedCredentialsProvider::new(pair.credentials("configured signing key")),
            None => access.clone(),
        };

        let pace = Arc::new(UploadPace::new(config.parallel_parts));
        let base = aws_sdk_s3::config::Builder::from(&sdk).region(region);
        let client = at_endpoint(base.clone(), endpoint.as_deref())
            .timeout_config(timeouts(config))
            .retry_config(retries(config))
            // Spelled out, because `AWS_REQUEST_CHECKSUM_CALCULATION=when_required` would silently
            // drop the checksum that the read-back compares.
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .interceptor(SlowDownSensor::new(Arc::clone(&pace)))
            .build();
        let location = location::of(endpoint.as_deref(), &config.bucket);
        let public = public.or(endpoint);
        let signer = at_endpoint(base, public.as_deref())
            .credentials_provider(signing.clone())
            // A link must not demand a header that a browser does not send.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let shared = Shared {
            bucket: config.bucket.clone(),
            location,
            client: Client::from_conf(client),
            signer: Client::from_conf(signer),
            signing,
            pace,
            put_limit: config.put_limit,
            operation_timeout: config.operation_timeout,
            encryption: config.encryption.clone(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the bucket's name.
    pub fn bucket(&self) -> &str {
        &self.shared.bucket
    }

    /// Returns where the bucket is, as this process reaches it: `http://127.0.0.1:7070/exports`, or `s3://exports` for AWS.
    pub fn location(&self) -> &str {
        &self.shared.location
    }

    /// Returns the same store for another location, reached with the same credentials.
    ///
    /// # Errors
    /// When `location` does not have the form that [`location`](Self::location) returns.
    pub fn at(&self, location: &str) -> anyhow::Result<Self> {
        let (endpoint, bucket) = location::parse(location)
            .with_context(|| format!("`{location}` is not the location of a bucket"))?;
        let elsewhere = |client: &Client| {
            let config = client.config().to_builder().force_path_style(endpoint.is_some());
            Client::from_conf(without_endpoint(config, endpoint).build())
        };
        let shared = Shared {
            bucket: bucket.to_owned(),
            location: location.to_owned(),
            client: elsewhere(&self.shared.client),
            signer: elsewhere(&self.shared.signer),
            signing: self.shared.signing.clone(),
            pace: Arc::clone(&self.shared.pace),
            put_limit: self.shared.put_limit,
            operation_timeout: self.shared.operation_timeout,
            encryption: self.shared.encryption.clone(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns how the store must encrypt what is uploaded.
    pub fn encryption(&self) -> Option<&Encryption> {
        self.shared.encryption.as_ref()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    pub(crate) fn signer(&self) -> &Client {
        &self.shared.signer
    }

    pub(crate) fn put_limit(&self) -> u64 {
        self.shared.put_limit
    }

    pub(crate) fn operation_timeout(&self) -> Duration {
        self.shared.operation_timeout
    }

    /// Returns the maximum number of parts in flight now.
    pub(crate) fn parts_in_flight(&self) -> usize {
        self.shared.pace.now()
    }
}

fn spelt(what: &str, text: &str) -> anyhow::Result<String> {
    normalise_endpoint(text).map_err(|problem| anyhow!("{what} {problem}"))
}

fn without_endpoint(mut builder: Builder, endpoint: Option<&str>) -> Builder {
    builder.set_endpoint_url(endpoint.map(str::to_owned));
    builder
}

/// Makes the HTTP client for the SDK, which brings none without its own TLS provider.
pub fn http_client() -> SharedHttpClient {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(provider).build_https()
}

/// Stores that are not AWS rarely have a host name for each bucket: with an endpoint, the bucket is in the path.
fn at_endpoint(builder: Builder, endpoint: Option<&str>) -> Builder {
    match endpoint {
        Some(url) => builder.endpoint_url(url).force_path_style(true),
        None => builder,
    }
}

/// Sets the time limits: by default the SDK has none for an operation.
fn timeouts(config: &StoreConfig) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .operation_attempt_timeout(config.attempt_timeout)
        .operation_timeout(config.operation_timeout)
        .build()
}

fn retries(config: &StoreConfig) -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(config.attempts.max(1))
        .with_initial_backoff(config.backoff)
        .with_max_backoff(Duration::from_secs(20))
}

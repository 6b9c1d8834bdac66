//! Reads the configuration from the environment and reports all mistakes together.
//!
//! A value that is set must be valid for every command. A missing value is an error only for a command that needs it:
//! `verify` works offline and `migrate` needs no bucket. The `Debug` of secrets hides them, and no error repeats their
//! text.

pub mod codec;
pub mod notices;
pub mod portal;
mod value;
pub mod variable;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use export_activities::{
    fulfil::presign::Links,
    receipt::SigningKey,
    requests::cost::Prices,
    store::{Encryption, normalise_endpoint},
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub(crate) use self::value::{parse_time, show_size, show_time};
use self::{
    codec::CodecSettings,
    notices::NoticeSettings,
    portal::PortalSettings,
    value::Reader,
    variable::{GROUPS, Variable},
};

/// An invalid configuration. Each problem names a variable and its remedy.
#[derive(Debug)]
pub struct ConfigError {
    /// One sentence for each mistake.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration cannot be used: {}", self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// For machines.
    Json,
}

/// All settings; [`variable`] describes each one.
#[derive(Clone, Debug)]
pub struct Config {
    database_url: Option<SecretString>,
    source_url: Option<SecretString>,
    replica_url: Option<SecretString>,
    owner_url: Option<SecretString>,
    bucket: Option<String>,
    /// `EXPORT_STATE_CONNECTIONS`
    pub state_connections: u32,
    /// `EXPORT_SOURCE_CONNECTIONS`
    pub source_connections: u32,
    /// `EXPORT_STATEMENT_TIMEOUT`
    pub statement_timeout: Duration,
    /// `EXPORT_ACQUIRE_TIMEOUT`
    pub acquire_timeout: Duration,
    /// `EXPORT_S3_ENDPOINT`
    pub s3_endpoint: Option<String>,
    /// `EXPORT_PUBLIC_ENDPOINT`
    pub public_endpoint: Option<String>,
    /// `EXPORT_PLATFORM_ROLES`
    pub platform_roles: Vec<String>,
    /// `EXPORT_LINKS`
    pub links: Links,
    /// `EXPORT_SIGNING_ACCESS_KEY_ID` and `EXPORT_SIGNING_SECRET_ACCESS_KEY`
    pub signing: Option<(String, SecretString)>,
    /// The key pair that reads users' own files.
    pub files_access: Option<(String, SecretString)>,
    /// `EXPORT_STORE_CONNECT_TIMEOUT`
    pub store_connect_timeout: Duration,
    /// `EXPORT_STORE_ATTEMPT_TIMEOUT`
    pub store_attempt_timeout: Duration,
    /// `EXPORT_STORE_OPERATION_TIMEOUT`
    pub store_operation_timeout: Duration,
    /// `EXPORT_SSE`
    pub encryption: Option<Encryption>,
    /// `EXPORT_PUT_LIMIT`
    pub put_limit: u64,
    /// `EXPORT_PRICE_...`
    pub prices: Prices,
    /// `EXPORT_PARALLEL_PARTS`
    pub parallel_parts: usize,
    /// `EXPORT_TASK_QUEUE`
    pub task_queue: String,
    /// `EXPORT_SLOTS`
    pub slots: usize,
    /// `EXPORT_HEARTBEAT_THROTTLE`
    pub heartbeat_throttle: Duration,
    /// `EXPORT_SHUTDOWN_GRACE`
    pub shutdown_grace: Duration,
    /// `EXPORT_RECYCLE_AFTER`
    pub recycle_after: u64,
    /// `EXPORT_CATALOGUE_DIR`
    pub catalogue_dir: Option<PathBuf>,
    /// `EXPORT_NOTICE_FILE`
    pub notice_file: Option<PathBuf>,
    /// `EXPORT_RECEIPT_KEY_FILE`
    pub receipt_key_file: Option<PathBuf>,
    /// `EXPORT_DEFLATE_LEVEL`
    pub deflate_level: u32,
    /// `EXPORT_SPOOL_DIR`
    pub spool_dir: PathBuf,
    /// `EXPORT_SPOOL_QUOTA`
    pub spool_quota: u64,
    /// `EXPORT_MAX_ATTEMPTS`
    pub max_attempts: u32,
    /// `EXPORT_MAX_LOST`
    pub max_lost: u32,
    /// `EXPORT_DEFER_AFTER`
    pub defer_after: Duration,
    /// `EXPORT_STALL_TIMEOUT`
    pub stall_timeout: Duration,
    /// `EXPORT_LEASE`
    pub lease: Duration,
    /// `EXPORT_SWEEP_MIN_AGE`
    pub sweep_min_age: Duration,
    /// `EXPORT_RECHECK_BYTES`
    pub recheck_bytes: u64,
    /// `EXPORT_HTTP_ADDR`
    pub http_addr: Option<SocketAddr>,
    /// `EXPORT_CODEC_*`
    pub codec: CodecSettings,
    /// `EXPORT_PORTAL_*`
    pub portal: PortalSettings,
    /// How mails and webhooks go out.
    pub notices: NoticeSettings,
    /// `EXPORT_LOG_FORMAT`
    pub log_format: LogFormat,
}

impl Config {
    /// Reads the environment of this process.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// Reads the variables from `get`.
    pub fn from_lookup(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut env = Reader::new(get);
        let slots = env.number(&variable::SLOTS, 1);
        let state_default = u32::try_from(slots / 8).unwrap_or(u32::MAX).max(4);
        let source_default = u32::try_from(slots).unwrap_or(u32::MAX);
        let config = Self {
            database_url: database_url(&mut env, &variable::DATABASE_URL),
            source_url: database_url(&mut env, &variable::SOURCE_URL),
            replica_url: database_url(&mut env, &variable::REPLICA_URL),
            owner_url: database_url(&mut env, &variable::OWNER_URL),
            state_connections: env.number(&variable::STATE_CONNECTIONS, state_default),
            source_connections: env.number(&variable::SOURCE_CONNECTIONS, source_default),
            statement_timeout: env.time(&variable::STATEMENT_TIMEOUT),
            acquire_timeout: env.time(&variable::ACQUIRE_TIMEOUT),
            bucket: bucket(&mut env),
            s3_endpoint: endpoint(&mut env, &variable::S3_ENDPOINT),
            public_endpoint: endpoint(&mut env, &variable::PUBLIC_ENDPOINT),
            links: Links::Presigned,
            platform_roles: names(&mut env, &variable::PLATFORM_ROLES),
            signing: key_pair(
                &mut env,
                &variable::SIGNING_ACCESS_KEY_ID,
                &variable::SIGNING_SECRET_ACCESS_KEY,
            ),
            files_access: key_pair(
                &mut env,
                &variable::FILES_ACCESS_KEY_ID,
                &variable::FILES_SECRET_ACCESS_KEY,
            ),
            store_connect_timeout: env.time(&variable::STORE_CONNECT_TIMEOUT),
            store_attempt_timeout: env.time(&variable::STORE_ATTEMPT_TIMEOUT),
            store_operation_timeout: env.time(&variable::STORE_OPERATION_TIMEOUT),
            encryption: encryption(&mut env),
            put_limit: env.size(&variable::PUT_LIMIT),
            prices: Prices {
                gib_month: env.price(&variable::PRICE_GIB_MONTH),
                puts_1000: env.price(&variable::PRICE_PUTS),
                gets_1000: env.price(&variable::PRICE_GETS),
                egress_gib: env.price(&variable::PRICE_EGRESS),
            },
            parallel_parts: env.number(&variable::PARALLEL_PARTS, 1),
            task_queue: env
                .text(&variable::TASK_QUEUE)
                .unwrap_or_else(|| variable::TASK_QUEUE.default.to_owned()),
            slots,
            heartbeat_throttle: env.time(&variable::HEARTBEAT_THROTTLE),
            shutdown_grace: env.time(&variable::SHUTDOWN_GRACE),
            recycle_after: env.number(&variable::RECYCLE_AFTER, 100),
            catalogue_dir: env.text(&variable::CATALOGUE_DIR).map(PathBuf::from),
            notice_file: env.text(&variable::NOTICE_FILE).map(PathBuf::from),
            receipt_key_file: env.text(&variable::RECEIPT_KEY_FILE).map(PathBuf::from),
            deflate_level: env.number(&variable::DEFLATE_LEVEL, 0),
            spool_dir: env
                .text(&variable::SPOOL_DIR)
                .map_or_else(|| std::env::temp_dir().join("export-worker"), PathBuf::from),
            spool_quota: env.size(&variable::SPOOL_QUOTA),
            max_attempts: env.number(&variable::MAX_ATTEMPTS, 1),
            max_lost: env.number(&variable::MAX_LOST, 1),
            defer_after: env.time(&variable::DEFER_AFTER),
            stall_timeout: env.time(&variable::STALL_TIMEOUT),
            lease: env.time(&variable::LEASE),
            sweep_min_age: env.time(&variable::SWEEP_MIN_AGE),
            recheck_bytes: env.size(&variable::RECHECK_BYTES),
            http_addr: env.address(&variable::HTTP_ADDR),
            codec: CodecSettings::read(&mut env),
            portal: PortalSettings::read(&mut env),
            notices: NoticeSettings::read(&mut env),
            log_format: log_format(&mut env),
        };
        let links = links(&mut env, config.portal.url().ok());
        let config = Self { links, ..config };
        let mut problems = env.problems;
        if problems.is_empty() {
            problems = config.contradictions();
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// Checks bounds that depend on each other: two values may each be valid alone, and together fail every export.
    fn contradictions(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let role = |url: &Option<SecretString>| {
            Url::parse(url.as_ref()?.expose_secret()).ok().map(|url| url.username().to_owned())
        };
        if (role(&self.database_url).as_deref(), role(&self.source_url).as_deref())
            == (Some("export_read"), Some("export_state"))
        {
            problems.push(format!(
                "{} is for role export_read and {} for export_state: exchange the two",
                variable::DATABASE_URL.name,
                variable::SOURCE_URL.name
            ));
        }
        let mut at_least = |what: &Variable, value: Duration, least: Duration, why: &str| {
            if value < least {
                let (value, least) = (show_time(value), show_time(least));
                problems.push(format!("{} is {value}: set it to {least} or more, {why}", what.name));
            }
        };
        at_least(
            &variable::STALL_TIMEOUT,
            self.stall_timeout,
            self.store_attempt_timeout,
            "because one try of a call to the store may be silent that long (EXPORT_STORE_ATTEMPT_TIMEOUT)",
        );
        problems
    }

    /// Returns the database of requests and events, as role `export_state`.
    pub fn database_url(&self) -> Result<&SecretString, ConfigError> {
        needed(self.database_url.as_ref(), &variable::DATABASE_URL)
    }

    /// Returns the platform's database, as role `export_read`.
    pub fn source_url(&self) -> Result<&SecretString, ConfigError> {
        needed(self.source_url.as_ref(), &variable::SOURCE_URL)
    }

    /// Returns the replica of the platform's database, if there is one.
    pub fn replica_url(&self) -> Option<&SecretString> {
        self.replica_url.as_ref()
    }

    /// Returns the database, as the role that may create tables.
    pub fn owner_url(&self) -> Result<&SecretString, ConfigError> {
        needed(self.owner_url.as_ref(), &variable::OWNER_URL)
    }

    /// Returns the bucket.
    pub fn bucket(&self) -> Result<&str, ConfigError> {
        needed(self.bucket.as_deref(), &variable::BUCKET)
    }

    /// Checks everything that `run` needs, so that one start names all missing values.
    pub fn require_for_run(&self) -> Result<(), ConfigError> {
        let problems: Vec<_> = [
            self.database_url().err(),
            self.source_url().err(),
            self.bucket().err(),
            self.notice().err(),
            self.codec.codec().err(),
            self.notices.mails().err(),
        ]
        .into_iter()
        .flatten()
        .flat_map(|error| error.problems)
        .collect();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }

    /// Reads the controller's own text, if one is configured.
    pub fn notice(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        let Some(path) = &self.notice_file else { return Ok(None) };
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(error) => Err(notice_problem(path, &error)),
        }
    }

    /// Reads the key that signs receipts, if one is configured.
    pub fn receipt_key(&self) -> Result<Option<SigningKey>, ConfigError> {
        let Some(file) = &self.receipt_key_file else { return Ok(None) };
        let key = SigningKey::load(file).map_err(|error| ConfigError {
            problems: vec![format!("{} `{}`: {error:#}", variable::RECEIPT_KEY_FILE.name, file.display())],
        })?;
        Ok(Some(key))
    }

    /// Returns the key that signs receipts, for a command that requires it.
    pub fn needed_receipt_key(&self) -> Result<SigningKey, ConfigError> {
        needed(self.receipt_key()?, &variable::RECEIPT_KEY_FILE)
    }
}

/// Returns the variables with our prefix that the worker does not know. They are probably misspelt.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = |name: &str| {
        GROUPS.iter().flat_map(|group| group.variables).any(|variable| variable.name == name)
            || name.starts_with("EXPORT_TEST_")
    };
    let mut unknown: Vec<_> = names.filter(|name| name.starts_with("EXPORT_") && !known(name)).collect();
    unknown.sort_unstable();
    unknown
}

fn needed<T>(value: Option<T>, variable: &Variable) -> Result<T, ConfigError> {
    value.ok_or_else(|| ConfigError {
        problems: vec![format!("{} is not set: set it, for example to {}", variable.name, variable.example)],
    })
}

fn database_url(env: &mut Reader<'_>, variable: &Variable) -> Option<SecretString> {
    let text = env.text(variable)?;
    // The text holds a password, so no error may repeat any of it.
    let problem = match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => None,
        Ok(_) => Some("does not begin with postgres://"),
        Err(_) => Some("is not a URL (special characters in the password are written as %XX)"),
    };
    match problem {
        None => Some(SecretString::from(text)),
        Some(problem) => {
            env.problems.push(format!(
                "{} {problem}: set it to postgres://USER:PASSWORD@HOST:PORT/DATABASE",
                variable.name
            ));
            None
        }
    }
}

fn bucket(env: &mut Reader<'_>) -> Option<String> {
    let name = env.text(&variable::BUCKET)?;
    let fits = (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    if !fits {
        env.problems.push(format!(
            "{} is `{name}`: set the bucket's bare name, 3 to 63 of a-z, 0-9, `-` and `.`, without s3:// or a path",
            variable::BUCKET.name
        ));
    }
    Some(name)
}

fn endpoint(env: &mut Reader<'_>, variable: &Variable) -> Option<String> {
    let text = env.text(variable)?;
    match normalise_endpoint(&text) {
        Ok(endpoint) => Some(endpoint),
        Err(problem) => {
            env.problems.push(format!("{} {problem}", variable.name));
            None
        }
    }
}

fn links(env: &mut Reader<'_>, portal: Option<&Url>) -> Links {
    let (name, portal_name) = (variable::LINKS.name, variable::PORTAL_URL.name);
    match (env.text(&variable::LINKS).as_deref(), portal) {
        (None | Some("presigned"), _) => return Links::Presigned,
        (Some("on_click"), Some(portal)) => return Links::OnClick(portal.clone()),
        (Some("on_click"), None) => {
            env.problems.push(format!(
                "{name} is on_click without {portal_name}: set {portal_name} to where `serve` answers"
            ));
        }
        (Some(other), _) => env.problems.push(format!("{name} is `{other}`: set presigned or on_click")),
    }
    Links::Presigned
}

/// Reads a comma-separated list of addresses of pages.
fn origins(env: &mut Reader<'_>, variable: &Variable) -> Vec<String> {
    let Some(text) = env.text(variable) else { return Vec::new() };
    let origins: Vec<_> = text.split(',').map(|origin| origin.trim().to_owned()).collect();
    for origin in &origins {
        // A browser sends exactly this form, so another one would never match.
        let same = Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
        if !same {
            env.problems.push(format!(
                "{} holds `{origin}`: set scheme, host and port as the browser shows them, such as {}",
                variable.name, variable.example
            ));
        }
    }
    origins
}

/// Reads a comma-separated list of names.
fn names(env: &mut Reader<'_>, variable: &Variable) -> Vec<String> {
    let text = env.text(variable).unwrap_or_else(|| variable.default.to_owned());
    text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn key_pair(env: &mut Reader<'_>, id: &Variable, secret: &Variable) -> Option<(String, SecretString)> {
    match (env.text(id), env.text(secret)) {
        (Some(id), Some(secret)) => Some((id, SecretString::from(secret))),
        (None, None) => None,
        (Some(_), None) => {
            env.problems.push(format!("{} is set without {}: set both or neither", id.name, secret.name));
            None
        }
        (None, Some(_)) => {
            env.problems.push(format!("{} is set without {}: set both or neither", secret.name, id.name));
            None
        }
    }
}

fn log_format(env: &mut Reader<'_>) -> LogFormat {
    match env.text(&variable::LOG_FORMAT).as_deref() {
        None | Some("auto") => LogFormat::Auto,
        Some("human") => LogFormat::Human,
        Some("json") => LogFormat::Json,
        Some(other) => {
            env.problems.push(format!("{} is `{other}`: set auto, human or json", variable::LOG_FORMAT.name));
            LogFormat::Auto
        }
    }
}

fn encryption(env: &mut Reader<'_>) -> Option<Encryption> {
    let text = env.text(&variable::SSE)?;
    let read = text.parse();
    if read.is_err() {
        env.problems.push(format!(
            "{} is `{text}`: set AES256, aws:kms, or aws:kms: and the id or ARN of a key, not its alias",
            variable::SSE.name
        ));
    }
    read.ok()
}

fn notice_problem(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError {
        problems: vec![format!(
            "{} names `{}`, which cannot be read ({error}): name a text in UTF-8 that the worker may read",
            variable::NOTICE_FILE.name,
            path.display()
        )],
    }
}

/// Formats the name of a database for a sentence: host, port and database, never the password.
pub fn display_database(url: &SecretString) -> String {
    match Url::parse(url.expose_secret()) {
        Ok(url) => format!(
            "{}:{}{} as `{}`",
            url.host_str().unwrap_or("localhost"),
            url.port().unwrap_or(5432),
            url.path(),
            url.username()
        ),
        Err(_) => "the database".to_owned(),
    }
}

#[cfg(test)]
mod tests;

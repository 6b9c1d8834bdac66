//! Settings of the portal, which `serve` runs.

mod issuer;

use std::{net::SocketAddr, path::PathBuf};

use export_activities::local::is_safe;
use export_portal::{
    Downloads,
    caller::{keys::ServiceKeys, tokens},
    rights::AdminDownloads,
};
use secrecy::SecretString;
use url::Url;

use super::{ConfigError, database_url, needed, origins, value::Reader, variable};

/// Everything under `EXPORT_PORTAL_`.
#[derive(Clone, Debug)]
pub struct PortalSettings {
    database_url: Option<SecretString>,
    addr: Option<SocketAddr>,
    url: Option<Url>,
    key_file: Option<PathBuf>,
    /// `EXPORT_PORTAL_ISSUER` and how its tokens are read.
    pub issuer: Option<tokens::Settings>,
    /// `EXPORT_PORTAL_ORIGINS`
    pub origins: Vec<String>,
    /// `EXPORT_DOWNLOADS`
    pub downloads: Downloads,
    /// `EXPORT_PORTAL_ADMIN_DOWNLOADS`
    pub admin_downloads: AdminDownloads,
    /// `EXPORT_PORTAL_CONNECTIONS`
    pub connections: u32,
}

impl PortalSettings {
    pub(super) fn read(env: &mut Reader<'_>) -> Self {
        Self {
            database_url: database_url(env, &variable::PORTAL_DATABASE_URL),
            addr: env.address(&variable::PORTAL_ADDR),
            url: url(env),
            key_file: env.text(&variable::PORTAL_KEY_FILE).map(PathBuf::from),
            issuer: issuer::read(env),
            origins: origins(env, &variable::PORTAL_ORIGINS),
            downloads: downloads(env),
            admin_downloads: admin_downloads(env),
            connections: env.number(&variable::PORTAL_CONNECTIONS, 1),
        }
    }

    /// Returns the database of requests, as role `export_portal`.
    pub fn database_url(&self) -> Result<&SecretString, ConfigError> {
        needed(self.database_url.as_ref(), &variable::PORTAL_DATABASE_URL)
    }

    /// Returns where to listen.
    pub fn addr(&self) -> Result<SocketAddr, ConfigError> {
        needed(self.addr, &variable::PORTAL_ADDR)
    }

    /// Returns the address under which people reach the portal.
    pub fn url(&self) -> Result<&Url, ConfigError> {
        needed(self.url.as_ref(), &variable::PORTAL_URL)
    }

    /// Reads the service keys. There may be none where an identity provider says who calls.
    pub fn keys(&self) -> Result<ServiceKeys, ConfigError> {
        let Some(file) = &self.key_file else {
            return if self.issuer.is_some() { Ok(ServiceKeys::default()) } else { Err(no_caller()) };
        };
        ServiceKeys::load(file).map_err(|error| ConfigError {
            problems: vec![format!("{}: {error:#}", variable::PORTAL_KEY_FILE.name)],
        })
    }
}

/// No caller could be known.
fn no_caller() -> ConfigError {
    let (file, issuer, audience) =
        (&variable::PORTAL_KEY_FILE, &variable::PORTAL_ISSUER, &variable::PORTAL_AUDIENCE);
    let problem = format!(
        "neither {} nor {} is set, so no call could be answered: set the first to a file of service keys, for example {}, \
         or the second with {} to the identity provider whose access tokens are taken",
        file.name, issuer.name, file.example, audience.name
    );
    ConfigError { problems: vec![problem] }
}

/// Reads the address of the portal, with a path that ends in `/`, so that others can be joined to it.
fn url(env: &mut Reader<'_>) -> Option<Url> {
    let text = env.text(&variable::PORTAL_URL)?;
    let mut refuse = |what: &str| {
        let (name, example) = (variable::PORTAL_URL.name, variable::PORTAL_URL.example);
        env.problems.push(format!("{name} is `{text}`, {what}: set it to an address such as {example}"));
    };
    let Ok(url) = Url::parse(&text) else {
        refuse("which is no address");
        return None;
    };
    if !is_safe(&url) {
        refuse("which is not https: a session would be sent in plain text");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        refuse("which is more than scheme, host and port");
    }
    Some(url)
}

fn downloads(env: &mut Reader<'_>) -> Downloads {
    match env.text(&variable::DOWNLOADS).as_deref() {
        None | Some("redirect") => Downloads::Redirect,
        Some("stream") => Downloads::Stream,
        Some(other) => {
            let name = variable::DOWNLOADS.name;
            env.problems.push(format!("{name} is `{other}`: set redirect or stream"));
            Downloads::Redirect
        }
    }
}

fn admin_downloads(env: &mut Reader<'_>) -> AdminDownloads {
    match env.text(&variable::PORTAL_ADMIN_DOWNLOADS).as_deref() {
        None | Some("false") => AdminDownloads::Refused,
        Some("true") => AdminDownloads::Allowed,
        Some(other) => {
            let name = variable::PORTAL_ADMIN_DOWNLOADS.name;
            env.problems.push(format!("{name} is `{other}`: set true or false"));
            AdminDownloads::Refused
        }
    }
}

//! Checks whether passwords, rows and links cross a network in plain text. Reads only the configuration.

use std::{net::IpAddr, str::FromStr as _};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::Line;
use crate::{config::Config, connect::explain::Explained};

/// Checks the connection to each database, and the address of the links.
pub(super) fn examine(config: &Config) -> Line {
    const CHECK: &str = "encryption";
    let databases = [
        ("EXPORT_DATABASE_URL", config.database_url().ok()),
        ("EXPORT_SOURCE_URL", config.source_url().ok()),
        ("EXPORT_REPLICA_URL", config.replica_url()),
        ("EXPORT_OWNER_URL", config.owner_url().ok()),
    ];
    let plain = databases.into_iter().filter_map(|(variable, url)| plain_database(variable, url?));
    let mut causes: Vec<String> = plain.collect();
    let mut remedies = Vec::new();
    if !causes.is_empty() {
        remedies.push("set sslmode=verify-full and sslrootcert in the URL of a database");
    }
    let links = [
        ("EXPORT_PUBLIC_ENDPOINT", config.public_endpoint.as_deref()),
        ("EXPORT_S3_ENDPOINT", config.s3_endpoint.as_deref()),
    ];
    // Links use the first address that is set.
    if let Some((variable, address)) = links.into_iter().find_map(|(name, address)| Some((name, address?)))
        && is_plain_address(address)
    {
        causes.push(format!(
            "the links begin with http:// ({variable}): who listens on the way has the archive"
        ));
        remedies.push("give EXPORT_PUBLIC_ENDPOINT an https:// address");
    }
    if causes.is_empty() {
        return Line::ok(CHECK, "databases and links use TLS, or stay on this machine");
    }
    let remedy = format!("{}; on a network that is yours alone it may stay", remedies.join("; "));
    Line::warning(CHECK, Explained::new(causes.join("; "), remedy))
}

fn plain_database(variable: &str, url: &SecretString) -> Option<String> {
    let options = PgConnectOptions::from_str(url.expose_secret()).ok()?;
    let host = options.get_host();
    if options.get_socket().is_some() || host.starts_with('/') || is_this_machine(host) {
        return None;
    }
    match options.get_ssl_mode() {
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => None,
        PgSslMode::Disable => Some(format!("{variable} leads to `{host}` without TLS (sslmode=disable)")),
        PgSslMode::Allow | PgSslMode::Prefer => Some(format!(
            "{variable} leads to `{host}` with TLS only if the server offers it (sslmode=prefer, the default)"
        )),
    }
}

fn is_plain_address(address: &str) -> bool {
    Url::parse(address)
        .is_ok_and(|url| url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine))
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::CheckState;

    fn line(pairs: &[(&str, &str)]) -> Line {
        let get = |name: &str| {
            let found = pairs.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        examine(&Config::from_lookup(&get).unwrap())
    }

    #[test]
    fn a_database_elsewhere_without_certain_tls_is_a_warning() {
        for (url, warns) in [
            ("postgres://a:secret@db.example/p", true),
            ("postgres://a:secret@db.example/p?sslmode=prefer", true),
            ("postgres://a:secret@10.0.0.1/p?sslmode=disable", true),
            ("postgres://a:secret@db.example/p?sslmode=require", false),
            ("postgres://a:secret@db.example/p?sslmode=verify-full", false),
            ("postgres://a:secret@localhost/p", false),
            ("postgres://a:secret@127.0.0.1:5433/p", false),
            ("postgres://a:secret@[::1]/p", false),
        ] {
            for variable in
                ["EXPORT_DATABASE_URL", "EXPORT_SOURCE_URL", "EXPORT_REPLICA_URL", "EXPORT_OWNER_URL"]
            {
                let line = line(&[(variable, url)]);
                assert_eq!(line.state == CheckState::Warning, warns, "{variable} {url}: {line:?}");
                assert_eq!(line.found.contains(variable), warns, "{line:?}");
                assert!(!format!("{line:?}").contains("secret"), "{line:?}");
            }
        }
    }

    #[test]
    fn a_link_in_plain_text_is_a_warning_unless_it_stays_on_this_machine() {
        let public = "EXPORT_PUBLIC_ENDPOINT";
        let cases: [(&[(&str, &str)], bool); 7] = [
            (&[(public, "http://files.example")], true),
            (&[(public, "https://files.example")], false),
            (&[(public, "http://localhost:7070")], false),
            (&[(public, "http://[::1]:7070")], false),
            (&[("EXPORT_S3_ENDPOINT", "http://minio:9000")], true),
            (&[("EXPORT_S3_ENDPOINT", "http://minio:9000"), (public, "https://files.example")], false),
            (&[], false),
        ];
        for (pairs, warns) in cases {
            assert_eq!(line(pairs).state == CheckState::Warning, warns, "{pairs:?}");
        }
    }
}

//! Explains a fault of a database, the store or Temporal, with its remedy.
//!
//! The sentences come from closed codes. They leave out messages of PostgreSQL and the SDKs, which may contain values.

use std::{error::Error, fmt};

use export_activities::{
    failure::{Failure, StoreError, judge},
    store::{Checksum, Store},
};
use serde::Serialize;
use temporalio_client::errors::ClientConnectError;

use super::NoNamespace;
use crate::config::ConfigError;

/// A cause and its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The fault, as a sentence.
    pub cause: String,
    /// The action that fixes it.
    pub remedy: String,
}

impl Explained {
    /// Combines the two.
    pub fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.remedy)
    }
}

const SOURCE_URL: &str = "EXPORT_SOURCE_URL";

/// Explains an error of the database that `variable` names.
pub fn database(error: &anyhow::Error, variable: &str) -> Explained {
    let code = judge(error).code;
    let (cause, remedy) = match code.strip_prefix("database/").unwrap_or(&code) {
        "connection" => {
            ("nothing answers there", format!("start the server, or fix host and port in {variable}"))
        }
        "tls" => ("the TLS handshake failed", format!("fix sslmode and sslrootcert in {variable}")),
        "pool_timed_out" => (
            "no connection within EXPORT_ACQUIRE_TIMEOUT",
            format!(
                "start the server, fix host and port in {variable}, or raise the role's CONNECTION LIMIT"
            ),
        ),
        "28P01" | "28000" => {
            ("the role or its password was refused", format!("fix them in {variable}, or pg_hba.conf"))
        }
        "3D000" => ("there is no such database", format!("fix its name in {variable}, or create it")),
        "53300" => (
            "there are no connections left",
            "raise the role's CONNECTION LIMIT or lower EXPORT_SLOTS".to_owned(),
        ),
        "session_setting" => {
            let remedy = "connect to PostgreSQL 14 or later, past any pooler that forbids settings";
            return Explained::new(judge(error).detail, remedy);
        }
        "shared_session" => {
            let remedy = format!(
                "let {variable} name PostgreSQL itself, or a pooler that pools by session (PgBouncer: pool_mode = session)"
            );
            return Explained::new(judge(error).detail, remedy);
        }
        "42P01" | "3F000" if variable != SOURCE_URL => (
            "our tables are missing",
            format!("run `export-worker migrate`, or name the database that has them in {variable}"),
        ),
        "42P01" | "3F000" => (
            "the exported tables are missing",
            format!(
                "name the platform's database in {variable}; `export-worker catalogue check` lists what is missing"
            ),
        ),
        "42703" if variable != SOURCE_URL => {
            ("our tables are older than this program", "run `export-worker migrate`".to_owned())
        }
        "42501" => (
            "the role lacks a right",
            "run the SQL of `export-worker grants` as the owner of the tables".to_owned(),
        ),
        "25006" => (
            "the server is a standby, which takes no writes",
            format!("set {variable} to the primary, without a load balancer that also leads to standbys"),
        ),
        "57P05" => (
            "the role's idle_session_timeout ended the session before its first message",
            "raise that setting of the role: the worker sets its own with its first message".to_owned(),
        ),
        "55P03" | "57014" => (
            "our tables are locked, or the server is too slow",
            format!("end the transaction that pg_stat_activity of {variable} shows, then try again"),
        ),
        "57P01" | "57P02" | "57P03" => {
            ("the server is starting or shutting down", "wait; it comes back by itself".to_owned())
        }
        _ => {
            return Explained::new(
                format!("the database failed with {code}"),
                "look up the code in PostgreSQL's list",
            );
        }
    };
    Explained::new(cause, remedy)
}

/// Explains an error of a command that runs as the owner of the tables. It concerns only `EXPORT_OWNER_URL`.
pub fn owner(error: anyhow::Error) -> anyhow::Error {
    if !error.chain().any(|cause| cause.is::<sqlx::Error>()) {
        return error;
    }
    let explained = match judge(&error).code.as_str() {
        "database/42501" => Explained::new(
            "the role lacks a right",
            "set EXPORT_OWNER_URL to the owner of the tables, who may also create roles and tables in `public`",
        ),
        "database/42P01" | "database/3F000" | "database/42703" => Explained::new(
            "the catalogue names a relation or a column that is not in the database",
            "run `export-worker migrate` first, then `export-worker catalogue check`",
        ),
        _ => database(&error, "EXPORT_OWNER_URL"),
    };
    anyhow::anyhow!("{error}: {explained}")
}

/// Explains an error of the source, which must be a primary if it has a replica.
pub fn source(error: &anyhow::Error, has_replica: bool) -> Explained {
    // A server in recovery returns this code when asked for its write position.
    if has_replica && judge(error).code == "database/55000" {
        let remedy = "set EXPORT_SOURCE_URL to the primary, or take EXPORT_REPLICA_URL away";
        return Explained::new("the source database is a replica itself", remedy);
    }
    database(error, "EXPORT_SOURCE_URL")
}

/// Explains that the server is no replica of the source.
pub fn unrelated_replica() -> Explained {
    let cause = "EXPORT_REPLICA_URL is no replica of EXPORT_SOURCE_URL: another cluster, or another database";
    Explained::new(
        cause,
        "correct EXPORT_REPLICA_URL or EXPORT_SOURCE_URL, or unset EXPORT_REPLICA_URL to read from the source",
    )
}

/// Explains an error of the store.
pub fn store(error: &anyhow::Error) -> Explained {
    if let Some(Failure::Installation(sentence)) = error.downcast_ref() {
        let (cause, remedy) = sentence.split_once(": ").unwrap_or((sentence, "use a separate bucket"));
        return Explained::new(cause, remedy);
    }
    match error.downcast_ref() {
        Some(failure @ Failure::NoChecksum(_)) => {
            let remedy = "use a store, or a version of it, that keeps one of them: docs/OPERATIONS.md names stores under \"Stores\"";
            return Explained::new(failure.to_string(), remedy);
        }
        Some(failure @ Failure::NotEncrypted(_)) => {
            let remedy = "set EXPORT_SSE to an encryption that the store has, and give the worker the right to the key; or leave \
                          it out, if the store or its disks encrypt by themselves: docs/OPERATIONS.md, \"Encryption at rest\"";
            return Explained::new(failure.to_string(), remedy);
        }
        Some(failure @ Failure::StoredObjectDiffers(_)) => {
            let remedy = "check the store and any proxy before it: it did not keep what was sent";
            return Explained::new(failure.to_string(), remedy);
        }
        _ => {}
    }
    if matches!(judge(error).code.split('/').next(), Some("spool_full" | "io")) {
        return Explained::new(format!("{error:#}"), "check the disk under EXPORT_SPOOL_DIR");
    }
    if error.chain().any(|cause| cause.is::<sqlx::Error>()) {
        return database(error, "EXPORT_DATABASE_URL");
    }
    let Some(error) = error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()) else {
        return Explained::new(
            format!("the store failed: {error:#}"),
            "fix EXPORT_BUCKET, EXPORT_S3_ENDPOINT or AWS_*",
        );
    };
    let (cause, remedy) = match (error.code.as_str(), error.status) {
        ("dispatch" | "timeout", _) => {
            ("nothing answers there", "start the store, or fix EXPORT_S3_ENDPOINT (none: AWS) and AWS_REGION")
        }
        ("credentials", _) => (
            "there are no credentials",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role; for links \
             EXPORT_SIGNING_ACCESS_KEY_ID and EXPORT_SIGNING_SECRET_ACCESS_KEY",
        ),
        ("NoSuchBucket", _) => ("there is no such bucket", "create it, or fix EXPORT_BUCKET"),
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "XAdminUserNotFound" | "ExpiredToken", _) => {
            ("the credentials were refused", "fix AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        }
        ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) => {
            ("the bucket is in another region", "set AWS_REGION to the bucket's region")
        }
        ("AccessDenied", _) | (_, Some(403)) => (
            "the credentials lack a right",
            "allow s3:ListBucket, s3:ListBucketVersions, s3:ListBucketMultipartUploads on the bucket and s3:GetObject, \
             s3:PutObject, s3:DeleteObject, s3:DeleteObjectVersion, s3:AbortMultipartUpload on exports/*",
        ),
        ("SlowDown", _) | (_, Some(500..=599)) => {
            ("the store is in trouble", "wait; it comes back by itself")
        }
        _ => return Explained::new(error.to_string(), "look up the code in the store's manual"),
    };
    Explained::new(format!("{cause} ({error})"), remedy)
}

/// Names the checksum for comparing uploads, and reports if the preferred one is missing.
pub fn compared_by(checksum: Checksum) -> String {
    let [preferred, ..] = Checksum::ALL;
    if checksum == preferred {
        return format!("uploads are compared by {checksum}");
    }
    format!("uploads are compared by {checksum}, because the store keeps no {preferred} of whole objects")
}

/// Names the encryption that was asked for, and that the store had for what was tried.
pub fn encrypted(store: &Store) -> String {
    store.encryption().map(|encryption| format!(", and encrypted ({encryption})")).unwrap_or_default()
}

/// Explains a spool directory that cannot be used.
pub fn spool(error: &anyhow::Error) -> Explained {
    Explained::new(format!("{error:#}"), "name a directory of the worker's own in EXPORT_SPOOL_DIR")
}

/// Explains an error of the connection to Temporal.
pub fn temporal(error: &anyhow::Error) -> Explained {
    // No server was contacted, so starting one does not help.
    if let Some(ConfigError { problems }) = error.downcast_ref() {
        return Explained::new(problems.join("; "), "set the variables and files that it names");
    }
    if let Some(missing) = error.downcast_ref::<NoNamespace>() {
        let remedy = "create it with `temporal operator namespace create`, or set TEMPORAL_NAMESPACE to one that exists";
        return Explained::new(missing.to_string(), remedy);
    }
    let remedy =
        "start Temporal, or fix TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and its TLS or API key settings";
    Explained::new(short(&format!("{error:#}")), remedy)
}

/// Explains why there is no connection: the innermost cause, without the SDK's debug text around it.
///
/// `secure`: the connection uses TLS. With TLS 1.3, the server checks the client's certificate after the client has
/// started to send, so a refusal often looks like a closed connection.
pub fn temporal_connection(error: &ClientConnectError, secure: bool) -> String {
    if let ClientConnectError::SystemInfoCallError(status) = error {
        let broken = status.source().is_some();
        return match tls(status.message()) {
            Some(explained) => explained.to_owned(),
            None if secure && broken => format!("{CLOSED}; {}", short(status.message())),
            None => status.message().to_owned(),
        };
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let cause = cause.to_string();
    match tls(&cause) {
        Some(explained) => format!("{explained}; {}", short(&cause)),
        None => short(&cause),
    }
}

const CLOSED: &str = "the server accepts TLS, then ends the connection, as one does that demands a certificate or \
                      refuses the one it got: check TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH";

/// Explains a failure of trust between a client and a server.
fn tls(cause: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 7] = [
        (
            "CertificateRequired",
            "the server demands a certificate: set TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH",
        ),
        ("fatal alert: UnknownCA", REFUSED),
        ("fatal alert: BadCertificate", REFUSED),
        ("fatal alert: CertificateUnknown", REFUSED),
        ("fatal alert: DecryptError", REFUSED),
        (
            "UnknownIssuer",
            "the server's certificate is not trusted: give the CA that signed it as TEMPORAL_TLS_SERVER_CA_CERT_PATH",
        ),
        (
            "InvalidContentType",
            "the server does not speak TLS: take away TEMPORAL_TLS, TEMPORAL_TLS_* and TEMPORAL_API_KEY, or fix the port",
        ),
    ];
    const REFUSED: &str = "the server refuses the certificate: is the one of TEMPORAL_TLS_CLIENT_CERT_PATH signed by a CA \
                           that it knows?";
    WORDS.iter().find(|(part, _)| cause.contains(part)).map(|(_, explained)| *explained)
}

/// Formats an error for the command line: the operation, then cause and remedy. Leaves out the messages of PostgreSQL,
/// which may contain a row, and of the SDKs.
pub fn command(error: &anyhow::Error) -> String {
    let mut tried = Vec::new();
    for cause in error.chain() {
        if cause.is::<sqlx::Error>() {
            tried.push(database(error, "EXPORT_DATABASE_URL or EXPORT_SOURCE_URL").to_string());
            return tried.join(": ");
        }
        if cause.is::<StoreError>() {
            tried.push(store(error).to_string());
            return tried.join(": ");
        }
        tried.push(cause.to_string());
    }
    format!("{error:#}")
}

/// Shortens a long message of an SDK.
fn short(text: &str) -> String {
    const CHARACTERS: usize = 300;
    let end = text.char_indices().nth(CHARACTERS).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_common_fault_of_a_store_has_a_remedy_of_its_own() {
        for (code, status, part) in [
            ("dispatch", None, "EXPORT_S3_ENDPOINT"),
            ("NoSuchBucket", Some(404), "EXPORT_BUCKET"),
            ("SignatureDoesNotMatch", Some(403), "AWS_SECRET_ACCESS_KEY"),
            ("AccessDenied", Some(403), "s3:PutObject"),
            ("unknown", Some(403), "s3:PutObject"),
        ] {
            let error = StoreError { operation: "PutObject", code: code.to_owned(), status };
            let explained = store(&anyhow::Error::new(error).context("failed to put"));
            assert!(explained.remedy.contains(part), "{code}: {explained}");
        }
    }

    #[test]
    fn a_store_without_checksums_is_told_from_one_that_is_away() {
        let explained = store(
            &anyhow::Error::new(Failure::NoChecksum("CRC-64/NVME, CRC-32C, CRC-32".to_owned()))
                .context("failed to try the store"),
        );
        assert!(explained.cause.contains("CRC-64/NVME, CRC-32C, CRC-32"), "{explained}");
        assert!(explained.remedy.contains("docs/OPERATIONS.md"), "{explained}");
    }

    #[test]
    fn a_database_that_does_not_answer_names_its_variable() {
        let error = sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let explained = database(&error.into(), "EXPORT_SOURCE_URL");
        assert!(explained.to_string().contains("EXPORT_SOURCE_URL"), "{explained}");
    }

    #[test]
    fn a_command_that_fails_says_what_it_tried_and_keeps_the_text_of_others_out() {
        let error = StoreError { operation: "PutObject", code: "NoSuchBucket".to_owned(), status: Some(404) };
        let sentence = command(&anyhow::Error::new(error).context("failed to write the mark"));
        assert!(sentence.starts_with("failed to write the mark: there is no such bucket"), "{sentence}");
        let own = anyhow::anyhow!("inner").context("outer");
        assert_eq!(command(&own), "outer: inner");
    }
}

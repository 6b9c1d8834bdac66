//! Decides, in one place, whose fault a failure is and what may be reported about it.
//!
//! The four classes decide what happens to the request (`ARCHITECTURE.md`, "when a step fails"). The code of
//! a failure is closed and carries no row value, no URL and no credential: a message of PostgreSQL or
//! of an SDK is never passed on.

pub mod panic;
mod sentence;
pub mod sqlstate;

use std::{error::Error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::ProvideErrorMetadata;
use export_workflows::contract::FailureReason;
use uuid::Uuid;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request can never be fulfilled: the row becomes `failed` with this reason.
    Permanent(FailureReason),
    /// Database, store, network, disk, credentials: retried, never counted against the request.
    System,
    /// Our own code: counted against the request.
    Request,
    /// Cancelled, drained, paused or reset: not counted.
    Interrupted,
}

/// A failure that the step can name where it occurs.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The account has no row in the platform's database.
    #[error("the account has no row in `{relation}`: it was deleted before its export")]
    AccountDeleted {
        /// The relation in which it should have been.
        relation: String,
    },
    /// A value that no encoder can represent.
    #[error("cannot read the value in column `{column}` of `{relation}`, {row}")]
    UnreadableValue {
        /// The relation.
        relation: String,
        /// The column.
        column: String,
        /// The row: its number, or its key if that is a number or a uuid. No other value may be reported.
        row: String,
    },
    /// A value that PostgreSQL itself cannot deliver. It does not report which value.
    #[error("PostgreSQL cannot deliver a value of {what}, SQLSTATE {sqlstate}")]
    UndeliverableValue {
        /// What was read, and after how many rows.
        what: String,
        /// The SQLSTATE.
        sqlstate: String,
    },
    /// The request asks for a part of the data that the catalogue does not have.
    #[error("the request asks for what is not there: {}", .0.join("; "))]
    ScopeRefused(Vec<String>),
    /// The database no longer has the columns of the catalogue.
    #[error("the catalogue no longer fits the database: {}; run `export-worker catalogue check`", .0.join("; "))]
    CatalogueDrift(Vec<String>),
    /// A row-level security policy would silently hide rows from the export.
    #[error("row-level security of {} applies to export_read, and an export would silently miss rows: run `alter role export_read bypassrls` as a superuser, or leave them out of the catalogue", .0.join(", "))]
    RowSecurity(Vec<String>),
    /// The input names requests that do not exist.
    #[error("there is no request {}", list(.0))]
    UnknownRequests(Vec<Uuid>),
    /// The server refuses a setting on which results or safety depend.
    #[error("the server refuses the setting `{setting}` with SQLSTATE {sqlstate}")]
    SessionSetting {
        /// The setting.
        setting: String,
        /// The SQLSTATE.
        sqlstate: String,
    },
    /// A pooler gives each transaction another session of the server.
    #[error("a pooler gives each transaction another session")]
    SharedSession,
    /// Tables were rewritten or emptied after the moment that the archive shows, so their rows are missing from it.
    #[error("{} changed while it was read", .0.join(", "))]
    SourceChanged(Vec<String>),
    /// The disk under the spool directory is full.
    #[error("the disk under the spool directory is full")]
    SpoolFull,
    /// One archive alone is larger than the whole spool quota.
    #[error("the archive is larger than the whole spool quota of {quota} bytes; raise `EXPORT_SPOOL_QUOTA`")]
    SpoolQuotaExceeded {
        /// The quota in bytes.
        quota: u64,
    },
    /// The stored object is not the local archive.
    #[error("the stored object differs from the archive: {0}")]
    StoredObjectDiffers(String),
    /// The stored object is not encrypted as the store was asked to.
    #[error("the store does not encrypt archives as EXPORT_SSE says: {0}")]
    NotEncrypted(String),
    /// The store keeps none of the checksums by which an upload could be compared.
    #[error("the store keeps no checksum of whole objects; tried were {0}")]
    NoChecksum(String),
    /// The bucket belongs to another installation, or lost its mark.
    #[error("{0}")]
    Installation(String),
    /// No row and no byte moved for too long.
    #[error("nothing moved for {0} s")]
    Stalled(u64),
    /// The attempt was stopped.
    #[error("the attempt was interrupted")]
    Interrupted,
    /// Another attempt has taken the request over.
    #[error("another attempt has taken the request over")]
    ClaimLost,
    /// A bug in our own code was caught.
    #[error("a panic was caught at {0}")]
    Panic(String),
}

impl Failure {
    fn class(&self) -> Class {
        match self {
            Self::AccountDeleted { .. } => Class::Permanent(FailureReason::AccountDeleted),
            Self::UnreadableValue { .. } | Self::UndeliverableValue { .. } => {
                Class::Permanent(FailureReason::UnreadableValue)
            }
            Self::ScopeRefused(_) => Class::Permanent(FailureReason::ScopeRefused),
            Self::Interrupted => Class::Interrupted,
            Self::SpoolQuotaExceeded { .. } | Self::Panic(_) => Class::Request,
            Self::CatalogueDrift(_)
            | Self::RowSecurity(_)
            | Self::UnknownRequests(_)
            | Self::SessionSetting { .. }
            | Self::SharedSession
            | Self::SourceChanged(_)
            | Self::SpoolFull
            | Self::StoredObjectDiffers(_)
            | Self::NotEncrypted(_)
            | Self::NoChecksum(_)
            | Self::Installation(_)
            | Self::Stalled(_)
            | Self::ClaimLost => Class::System,
        }
    }

    fn verdict(&self) -> Verdict {
        Verdict { class: self.class(), code: self.code().to_owned(), detail: self.to_string() }
    }

    /// Returns the closed code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AccountDeleted { .. } => "account_deleted",
            Self::UnreadableValue { .. } | Self::UndeliverableValue { .. } => "unreadable_value",
            Self::ScopeRefused(_) => "scope_refused",
            Self::CatalogueDrift(_) => "catalogue_drift",
            Self::RowSecurity(_) => "row_security",
            Self::UnknownRequests(_) => "invalid_input",
            Self::SessionSetting { .. } => "session_setting",
            Self::SharedSession => "shared_session",
            Self::SourceChanged(_) => "source_changed",
            Self::SpoolFull => "spool_full",
            Self::SpoolQuotaExceeded { .. } => "spool_quota_exceeded",
            Self::StoredObjectDiffers(_) => "stored_object_differs",
            Self::NotEncrypted(_) => "not_encrypted",
            Self::NoChecksum(_) => "no_checksum",
            Self::Installation(_) => "installation",
            Self::Stalled(_) => "stalled",
            Self::Interrupted => "interrupted",
            Self::ClaimLost => "claim_lost",
            Self::Panic(_) => "panic",
        }
    }
}

/// Names the first few: Temporal cuts a long message.
fn list(requests: &[Uuid]) -> String {
    const FEW: usize = 10;
    let named: Vec<_> = requests.iter().take(FEW).map(Uuid::to_string).collect();
    match requests.len().saturating_sub(FEW) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The object that was read when a failure occurred, as context of an error: a name of the catalogue, which may be
/// reported.
#[derive(Debug)]
pub struct Reading(pub String);

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to read {}", self.0)
    }
}

/// The step of an attempt in which a failure occurred, as context of an error.
#[derive(Clone, Copy, Debug)]
pub struct Doing(pub &'static str);

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed in step {}", self.0)
    }
}

/// What may be reported about a failure: its class, its closed code, and a detail free of row values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whose fault it is.
    pub class: Class,
    /// A closed code such as `store/SlowDown`, `database/53300`, `panic`.
    pub code: String,
    /// Object names that the code does not contain (relation, column, constraint, key); may be empty.
    pub detail: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.class {
            Class::Permanent(_) => "permanent",
            Class::System => "system",
            Class::Request => "request",
            Class::Interrupted => "interrupted",
        };
        write!(f, "{class}: {}", self.code)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// Returns the verdict on an error. The first known cause in its chain decides.
pub fn judge(whole: &anyhow::Error) -> Verdict {
    for cause in whole.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.verdict();
        }
        if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
            let mut verdict = judge_database(error);
            // PostgreSQL names the table in its message, which is dropped, and not in a separate field.
            if let (Some(Reading(what)), true) = (whole.downcast_ref::<Reading>(), verdict.detail.is_empty())
            {
                verdict.detail = format!("reading {what}");
            }
            return verdict;
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return Verdict {
                class: Class::System,
                code: format!("store/{}", error.code),
                detail: error.to_string(),
            };
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return judge_io(error);
        }
    }
    judge_unexpected(whole)
}

/// Judges an unexpected failure. Its text may hold a value, so the verdict names only its kind and its step.
fn judge_unexpected(whole: &anyhow::Error) -> Verdict {
    let is = |known: fn(&(dyn Error + 'static)) -> bool| whole.chain().any(known);
    let kind = if is(|cause| cause.is::<serde_json::Error>()) {
        "json"
    } else if is(|cause| cause.is::<std::num::TryFromIntError>()) {
        "number"
    } else {
        "other"
    };
    let step = whole.downcast_ref::<Doing>().map_or("none", |Doing(step)| step);
    Verdict {
        class: Class::Request,
        code: "unexpected".to_owned(),
        detail: format!("step {step}, kind {kind}"),
    }
}

/// Treats every error of a database as the system's fault, unless the step has classified it before, as collecting
/// does.
///
/// A cancelled statement (57014) is the system's fault too. A cancel by a DBA and a timeout look the same: the source
/// was slow, or lacks an index, and that is no reason to refuse users their data. A retry costs the source at most one
/// timeout a round.
fn judge_database(error: &sqlx::Error) -> Verdict {
    if let sqlx::Error::Configuration(inner) = error
        && let Some(failure) = inner.downcast_ref::<Failure>()
    {
        return failure.verdict();
    }
    let Some(db) = error.as_database_error() else {
        let code = match error {
            sqlx::Error::PoolTimedOut => "pool_timed_out",
            sqlx::Error::PoolClosed => "pool_closed",
            sqlx::Error::Io(_) => "connection",
            sqlx::Error::Tls(_) => "tls",
            sqlx::Error::Protocol(_) => "protocol",
            sqlx::Error::RowNotFound => "row_not_found",
            _ => "client",
        };
        return Verdict { class: Class::System, code: format!("database/{code}"), detail: String::new() };
    };
    let sqlstate = db.code().unwrap_or_default().into_owned();
    let names = [("table", db.table()), ("constraint", db.constraint())];
    let detail = names
        .iter()
        .filter_map(|(what, name)| name.map(|name| format!("{what} `{name}`")))
        .collect::<Vec<_>>()
        .join(", ");
    Verdict { class: Class::System, code: format!("database/{sqlstate}"), detail }
}

fn judge_io(error: &std::io::Error) -> Verdict {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "spool_full".to_owned(),
        kind => format!("io/{kind:?}"),
    };
    Verdict { class: Class::System, code, detail: String::new() }
}

/// A failed call to the store, reduced to what may be reported: operation, S3 code, HTTP status.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} failed with {code}{}", .status.map(|status| format!(", HTTP {status}")).unwrap_or_default())]
pub struct StoreError {
    /// The S3 operation, such as `PutObject`.
    pub operation: &'static str,
    /// The S3 error code, or `timeout`, `dispatch`, `response`, `construction`.
    pub code: String,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
}

impl StoreError {
    /// Reduces an SDK error, and drops its message text on purpose.
    pub fn new<E>(
        operation: &'static str,
        error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
    ) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        use aws_sdk_s3::error::SdkError;
        let status = error.raw_response().map(|response| response.status().as_u16());
        let code = match error {
            SdkError::ServiceError(service) => match service.err().code() {
                Some(code) => code.to_owned(),
                None => "unknown".to_owned(),
            },
            SdkError::TimeoutError(_) => "timeout".to_owned(),
            _ if lacks_credentials(error) => "credentials".to_owned(),
            SdkError::DispatchFailure(_) => "dispatch".to_owned(),
            SdkError::ResponseError(_) => "response".to_owned(),
            _ => "construction".to_owned(),
        };
        Self { operation, code, status }
    }

    /// Returns whether the store answers that there is no such object (or upload).
    pub fn is_not_found(&self) -> bool {
        self.status == Some(404) || matches!(self.code.as_str(), "NoSuchKey" | "NotFound" | "NoSuchUpload")
    }

    /// Returns whether the store does not know this operation.
    pub fn is_not_implemented(&self) -> bool {
        self.status == Some(501) || self.code == "NotImplemented"
    }

    /// Returns whether the store answers that it does not support what the call asks for, such as an unknown checksum.
    /// Other answers with HTTP 400 are about the credentials, or about a request that arrived too slowly.
    pub fn is_refusal(&self) -> bool {
        const OF_SOMETHING_ELSE: [&str; 5] = [
            "AuthorizationHeaderMalformed",
            "ExpiredToken",
            "InvalidToken",
            "RequestTimeout",
            "TokenRefreshRequired",
        ];
        matches!(self.status, Some(400 | 501)) && !OF_SOMETHING_ELSE.contains(&self.code.as_str())
    }

    /// Returns whether the store is away, and not one that answers and refuses.
    pub fn is_away(&self) -> bool {
        self.status.is_none_or(|status| status >= 500) && self.code != "still_there"
    }
}

/// Returns whether nothing was sent because there are no credentials to sign with: the store itself may be healthy.
fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_innermost_known_cause_decides_whatever_context_stands_before_it() {
        let error = Err::<(), _>(Failure::SpoolFull).context("failed to write").context("failed to export");
        let verdict = judge(&error.unwrap_err());
        assert_eq!((verdict.class, verdict.code.as_str()), (Class::System, "spool_full"));
    }

    #[test]
    fn what_nobody_knows_is_our_own_fault_and_says_nothing_of_what_it_saw() {
        let verdict = judge(&anyhow::anyhow!("the row of alice@example.org was odd"));
        assert_eq!(verdict.class, Class::Request);
        assert!(!verdict.to_string().contains("alice"), "{verdict}");
    }

    #[test]
    fn what_nobody_foresaw_names_its_step_and_its_kind() {
        let odd = || anyhow::anyhow!("the row of alice@example.org was odd");
        let json = anyhow::Error::new(serde_json::from_str::<u8>("alice").unwrap_err());
        for (error, said) in [
            (odd(), "request: unexpected (step none, kind other)"),
            (odd().context(Doing("archive")), "request: unexpected (step archive, kind other)"),
            (json.context("x").context(Doing("upload")), "request: unexpected (step upload, kind json)"),
        ] {
            assert_eq!(judge(&error).to_string(), said);
        }
    }

    #[test]
    fn a_full_disk_is_the_systems_fault() {
        let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(judge(&anyhow::Error::new(io)).to_string(), "system: spool_full");
    }

    #[test]
    fn a_store_error_shows_operation_code_and_status_only() {
        let error = StoreError { operation: "PutObject", code: "SlowDown".to_owned(), status: Some(503) };
        assert!(error.is_away() && !error.is_not_found() && !error.is_not_implemented());
        let verdict = judge(&anyhow::Error::new(error));
        assert_eq!(verdict.to_string(), "system: store/SlowDown (PutObject failed with SlowDown, HTTP 503)");
    }

    #[test]
    fn a_store_without_checksums_is_the_systems_fault_and_the_three_are_named() {
        let tried = "CRC-64/NVME, CRC-32C, CRC-32".to_owned();
        let verdict = judge(&anyhow::Error::new(Failure::NoChecksum(tried)));
        assert_eq!(
            verdict.to_string(),
            "system: no_checksum (the store keeps no checksum of whole objects; tried were CRC-64/NVME, CRC-32C, CRC-32)"
        );
    }

    #[test]
    fn only_an_answer_about_the_call_itself_is_a_refusal() {
        let error = |code: &str, status| StoreError { operation: "PutObject", code: code.to_owned(), status };
        for refusal in [
            error("NotImplemented", Some(501)),
            error("InvalidRequest", Some(400)),
            error("BadDigest", Some(400)),
        ] {
            assert!(refusal.is_refusal(), "{refusal}");
        }
        for other in [
            error("AccessDenied", Some(403)),
            error("ExpiredToken", Some(400)),
            error("RequestTimeout", Some(400)),
            error("NoSuchBucket", Some(404)),
            error("InternalError", Some(500)),
            error("SlowDown", Some(503)),
            error("timeout", None),
        ] {
            assert!(!other.is_refusal(), "{other}");
        }
    }
}

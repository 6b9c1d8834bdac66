//! Turns a failure into a sentence for the Web UI: what happened, and what to do.
//!
//! The runbook's table of failure types has more detail. The sentence is the first information before the runbook.

use super::{Class, Verdict};

impl Verdict {
    /// Returns one sentence with what happened and what to do, followed by the closed code and its detail.
    pub fn sentence(&self) -> String {
        let what = match self.code.split_once('/') {
            Some(("store", code)) => store(code),
            Some(("database", code)) => database(code),
            Some(("io", _)) => "the spool directory cannot be used: check the disk under EXPORT_SPOOL_DIR",
            _ => other(&self.code),
        };
        let again = match self.class {
            Class::System | Class::Request => "; nothing is lost, it is retried",
            Class::Permanent(_) | Class::Interrupted => "",
        };
        // For failures without a sentence, the detail already says what to do.
        if what.is_empty() { self.detail.clone() } else { format!("{what}{again} ({self})") }
    }
}

fn store(code: &str) -> &'static str {
    match code {
        "dispatch" | "timeout" | "response" => {
            "the store did not answer: check the store, and the network between it and the worker"
        }
        "SlowDown" | "InternalError" | "ServiceUnavailable" | "unknown" => {
            "the store cannot keep up or is broken: if this repeats, check the store, or set a smaller window for the night"
        }
        "NotFound" | "NoSuchKey" => {
            "an object is missing in the store, perhaps because it is another bucket: run `export-worker doctor`, which checks whose bucket it is"
        }
        _ => {
            "the store refused the call: run `export-worker doctor`, which names the key, policy or bucket to fix"
        }
    }
}

fn database(code: &str) -> &'static str {
    match code {
        "42501" => "a database role lacks a right: run the SQL that `export-worker grants` prints",
        "53300" | "pool_timed_out" => {
            "no database connection was free: compare the role's CONNECTION LIMIT with EXPORT_SLOTS and the number of workers"
        }
        "connection" | "57P01" | "57P02" | "57P03" | "08006" | "08001" => {
            "the database went away: check the server, and the network between it and the worker"
        }
        "57014" => {
            "a statement was stopped, by a person or by a timeout on the server: look for locks, a missing index or statement_timeout"
        }
        "53400" | "53100" => {
            "the source has no disk left for a sort, or temp_file_limit allows no more: create the index that `export-worker catalogue check` prints"
        }
        "28P01" | "28000" | "tls" => {
            "the database refused the worker: run `export-worker doctor`, which names the password, role or TLS setting"
        }
        "40001" | "40P01" | "25006" => {
            "another transaction or a failover interfered: nothing to do unless this repeats"
        }
        _ => {
            "the database refused a statement: look up its SQLSTATE in PostgreSQL's list, then run `export-worker doctor`"
        }
    }
}

fn other(code: &str) -> &'static str {
    match code {
        "session_setting" => {
            "the database refuses a setting that exports depend on: run `export-worker doctor`, which names it"
        }
        "shared_session" => {
            "a pooler gives each transaction another session of the database: connect directly, or set the pooler to session pooling"
        }
        "source_changed" => {
            "the platform rewrote or emptied a table while it was read, as a migration does: nothing to do unless this repeats"
        }
        "spool_full" => "the disk under EXPORT_SPOOL_DIR is full: free some space, or use fewer slots",
        "spool_quota_exceeded" => {
            "one archive is larger than the whole EXPORT_SPOOL_QUOTA: raise EXPORT_SPOOL_QUOTA, if the disk has room"
        }
        "stored_object_differs" => {
            "the stored object differs from the archive: if this repeats, run `export-worker doctor`, then restart the worker: at its start it finds out anew which checksum the store keeps"
        }
        "no_checksum" => {
            "the store keeps no checksum of whole objects, so no upload can be confirmed: run `export-worker doctor`, which names those it tried"
        }
        "installation" => {
            "the bucket does not have the mark of this installation: correct EXPORT_BUCKET; if it is right, run `export-worker doctor`"
        }
        "stalled" => {
            "no row and no byte moved for EXPORT_STALL_TIMEOUT: look for a lock in the source, a hung store or a hung disk"
        }
        "workers_lost" => "its workers were killed repeatedly: check their memory limit and the kernel's log",
        "panic" | "unexpected" => "a bug in export-worker: report it with the log lines of this request",
        "claim_lost" => "another attempt has taken the request over: nothing to do",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use crate::failure::{Failure, StoreError, judge};

    fn of(error: impl Into<anyhow::Error>) -> String {
        judge(&error.into()).sentence()
    }

    #[test]
    fn each_failure_says_what_happened_what_to_do_and_its_code() {
        let store =
            |code: &str| of(StoreError { operation: "PutObject", code: code.to_owned(), status: Some(503) });
        let sentences = [
            store("dispatch"),
            store("SlowDown"),
            store("NoSuchKey"),
            store("AccessDenied"),
            of(sqlx::Error::PoolTimedOut),
            of(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())),
            of(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            of(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
            of(Failure::Stalled(300)),
            of(Failure::StoredObjectDiffers("6 bytes instead of 7".to_owned())),
            of(Failure::SpoolQuotaExceeded { quota: 20 }),
            of(Failure::SharedSession),
            of(Failure::Panic("src/a.rs:7".to_owned())),
            of(Failure::AccountDeleted { relation: "public.users".to_owned() }),
            of(Failure::CatalogueDrift(vec!["`public.users.bio` is gone".to_owned()])),
            of(Failure::UnknownRequests(vec![uuid::Uuid::nil()])),
            of(Failure::Interrupted),
            of(anyhow::anyhow!("odd")),
        ];
        insta::assert_snapshot!(sentences.join("\n"), @r"
        the store did not answer: check the store, and the network between it and the worker; nothing is lost, it is retried (system: store/dispatch (PutObject failed with dispatch, HTTP 503))
        the store cannot keep up or is broken: if this repeats, check the store, or set a smaller window for the night; nothing is lost, it is retried (system: store/SlowDown (PutObject failed with SlowDown, HTTP 503))
        an object is missing in the store, perhaps because it is another bucket: run `export-worker doctor`, which checks whose bucket it is; nothing is lost, it is retried (system: store/NoSuchKey (PutObject failed with NoSuchKey, HTTP 503))
        the store refused the call: run `export-worker doctor`, which names the key, policy or bucket to fix; nothing is lost, it is retried (system: store/AccessDenied (PutObject failed with AccessDenied, HTTP 503))
        no database connection was free: compare the role's CONNECTION LIMIT with EXPORT_SLOTS and the number of workers; nothing is lost, it is retried (system: database/pool_timed_out)
        the database went away: check the server, and the network between it and the worker; nothing is lost, it is retried (system: database/connection)
        the disk under EXPORT_SPOOL_DIR is full: free some space, or use fewer slots; nothing is lost, it is retried (system: spool_full)
        the spool directory cannot be used: check the disk under EXPORT_SPOOL_DIR; nothing is lost, it is retried (system: io/PermissionDenied)
        no row and no byte moved for EXPORT_STALL_TIMEOUT: look for a lock in the source, a hung store or a hung disk; nothing is lost, it is retried (system: stalled (nothing moved for 300 s))
        the stored object differs from the archive: if this repeats, run `export-worker doctor`, then restart the worker: at its start it finds out anew which checksum the store keeps; nothing is lost, it is retried (system: stored_object_differs (the stored object differs from the archive: 6 bytes instead of 7))
        one archive is larger than the whole EXPORT_SPOOL_QUOTA: raise EXPORT_SPOOL_QUOTA, if the disk has room; nothing is lost, it is retried (request: spool_quota_exceeded (the archive is larger than the whole spool quota of 20 bytes; raise `EXPORT_SPOOL_QUOTA`))
        a pooler gives each transaction another session of the database: connect directly, or set the pooler to session pooling; nothing is lost, it is retried (system: shared_session (a pooler gives each transaction another session))
        a bug in export-worker: report it with the log lines of this request; nothing is lost, it is retried (request: panic (a panic was caught at src/a.rs:7))
        the account has no row in `public.users`: it was deleted before its export
        the catalogue no longer fits the database: `public.users.bio` is gone; run `export-worker catalogue check`
        there is no request 00000000-0000-0000-0000-000000000000
        the attempt was interrupted
        a bug in export-worker: report it with the log lines of this request; nothing is lost, it is retried (request: unexpected (step none, kind other))
        ");
    }
}

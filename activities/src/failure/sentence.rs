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
            Some(("io", _)) => "the spool directory cannot be used: look at the disk under EXPORT_SPOOL_DIR",
            _ => other(&self.code),
        };
        let again = match self.class {
            Class::System | Class::Request => "; nothing is lost, it is tried again",
            Class::Permanent(_) | Class::Interrupted => "",
        };
        // For failures without a sentence, the detail already says what to do.
        if what.is_empty() { self.detail.clone() } else { format!("{what}{again} ({self})") }
    }
}

fn store(code: &str) -> &'static str {
    match code {
        "dispatch" | "timeout" | "response" => {
            "the store did not answer: look at it, and at the network between it and the worker"
        }
        "SlowDown" | "InternalError" | "ServiceUnavailable" | "unknown" => {
            "the store cannot keep up or is broken: if this lasts, look at it, or set a smaller window for the night"
        }
        "NotFound" | "NoSuchKey" => {
            "the store lacks an object that must be there: run `export-worker doctor`, which looks at the bucket's mark"
        }
        _ => {
            "the store refused the call: run `export-worker doctor`, which names the key, policy or bucket to fix"
        }
    }
}

fn database(code: &str) -> &'static str {
    match code {
        "42501" => "a database role lacks a right: run the SQL of `export-worker grants`",
        "53300" | "pool_timed_out" => {
            "no database connection was free: compare the role's CONNECTION LIMIT with EXPORT_SLOTS and the number of workers"
        }
        "connection" | "57P01" | "57P02" | "57P03" | "08006" | "08001" => {
            "the database went away: look at the server, and at the network between it and the worker"
        }
        "57014" => {
            "a statement was stopped, by a person or by a timeout on the server: look for locks, a missing index or statement_timeout"
        }
        "28P01" | "28000" | "tls" => {
            "the database refused the worker: run `export-worker doctor`, which names the password, role or TLS setting"
        }
        "40001" | "40P01" | "25006" => {
            "another transaction or a failover came in between: nothing to do unless it lasts"
        }
        _ => {
            "the database refused a statement: look its SQLSTATE up in PostgreSQL's list, then run `export-worker doctor`"
        }
    }
}

fn other(code: &str) -> &'static str {
    match code {
        "session_setting" => {
            "the database refuses a setting that exports depend on: run `export-worker doctor`, which names it"
        }
        "shared_session" => {
            "a pooler in front of the database changes sessions: connect directly, or set it to session pooling"
        }
        "spool_full" => "the disk under EXPORT_SPOOL_DIR is full: free some space, or use fewer slots",
        "spool_quota_exceeded" => "one archive alone is over EXPORT_SPOOL_QUOTA: raise it",
        "stored_object_differs" => {
            "the store gave back something else than was sent: if this lasts, run `export-worker doctor`, then restart the worker, which tries again which checksum the store keeps"
        }
        "no_checksum" => "the store keeps no checksum of whole objects: run `export-worker doctor`",
        "installation" => {
            "the bucket is not ours: set the right EXPORT_BUCKET, or run `export-worker doctor`"
        }
        "stalled" => {
            "no row and no byte moved for EXPORT_STALL_TIMEOUT: look for a lock in the source, a hung store or a hung disk"
        }
        "workers_lost" => {
            "its workers were killed again and again: look at their memory limit and the kernel's log"
        }
        "panic" | "unexpected" => "a defect of ours: report it with the log lines of this request",
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
    fn a_failure_says_what_happened_what_to_do_and_its_code() {
        let store = StoreError { operation: "PutObject", code: "dispatch".to_owned(), status: None };
        assert_eq!(
            of(store),
            "the store did not answer: look at it, and at the network between it and the worker; nothing is lost, it is \
             tried again (system: store/dispatch (PutObject was answered with dispatch))"
        );
        for (failure, part) in [
            (of(sqlx::Error::PoolTimedOut), "CONNECTION LIMIT"),
            (of(std::io::Error::from(std::io::ErrorKind::StorageFull)), "EXPORT_SPOOL_DIR is full"),
            (of(std::io::Error::from(std::io::ErrorKind::PermissionDenied)), "look at the disk"),
            (of(Failure::Stalled(300)), "nothing moved for 300 s"),
            (of(Failure::StoredObjectDiffers("6 bytes instead of 7".to_owned())), "6 bytes instead of 7"),
            (of(anyhow::anyhow!("odd")), "report it"),
        ] {
            assert!(failure.contains(part) && failure.contains("tried again"), "{failure}");
        }
    }

    #[test]
    fn what_is_not_tried_again_says_so_by_its_silence_and_names_its_remedy() {
        let drift = of(Failure::CatalogueDrift(vec!["`public.users.bio` is gone".to_owned()]));
        assert!(drift.contains("run `export-worker catalogue check`") && !drift.contains("again"), "{drift}");
        let unknown = of(Failure::UnknownRequests(Vec::new()));
        assert!(!unknown.is_empty() && !unknown.contains("again"), "{unknown}");
    }
}

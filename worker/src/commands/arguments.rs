//! The arguments of commands that have commands below them. Their doc comments are the help.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Subcommand, ValueEnum};
use export_activities::requests::operate::RevokeReason;
use export_workflows::contract::FailureReason;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub(super) enum Schedule {
    /// Create or update both schedules; a paused schedule stays paused and keeps its note.
    Apply,
    /// Show both schedules and whether they match their definitions.
    Show,
    /// Start no further night until `schedule unpause`; a running night continues.
    Pause {
        /// Reason, for the schedule's note.
        #[arg(long, value_name = "TEXT", value_parser = text)]
        why: String,
        /// Also pause the five-minute expiry pass: archives then outlive their links.
        #[arg(long)]
        all: bool,
    },
    /// Resume both schedules.
    Unpause,
    /// Delete both schedules; current runs continue.
    Delete {
        /// Confirm that no night will start automatically any more.
        #[arg(long, required = true)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Night {
    /// Start a night now; if a night is already running, print its id instead.
    Trigger {
        /// Wait until the night ends, then print its counts; Ctrl-C ends the waiting, not the night.
        #[arg(long)]
        wait: bool,
        /// Fail all requests with this reason, however many; first inspect those that were held back.
        #[arg(long, value_name = "REASON")]
        accept: Vec<Accept>,
    },
    /// Start no further request in the running night; requests in flight complete.
    Pause {
        /// Reason, shown with the night.
        #[arg(long, value_name = "TEXT", value_parser = text)]
        why: String,
        /// Who you are; else $USER on this host.
        #[arg(long, value_name = "NAME", value_parser = text)]
        by: Option<String>,
    },
    /// Resume the paused night.
    Resume {
        /// Reason, for the night's history.
        #[arg(long, value_name = "TEXT", value_parser = text)]
        why: Option<String>,
        /// Who you are; else $USER on this host.
        #[arg(long, value_name = "NAME", value_parser = text)]
        by: Option<String>,
    },
    /// Set the maximum number of requests in flight for the running night.
    Window {
        /// Maximum number of requests, 1 to 50.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=50))]
        lanes: u32,
    },
    /// Cancel the running night: its attempts release their claims, and the requests stay pending.
    Cancel,
    /// Show the results of a night from the log, without Temporal.
    Show {
        /// UTC start date of the night; by default the last night in the log.
        #[arg(long, value_name = "DATE")]
        night: Option<NaiveDate>,
    },
    /// Follow the running night to its end.
    Watch,
}

#[derive(Debug, Subcommand)]
pub(super) enum Request {
    /// Create a pending request.
    Create {
        /// User whose data is exported.
        #[arg(long)]
        user: Uuid,
    },
    /// List requests, newest first.
    List {
        /// Only requests in this state.
        #[arg(long, value_enum)]
        status: Option<Status>,
        /// Maximum number of requests.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// Show one request and its log: whether a link exists, and when it expires.
    Show {
        /// The request.
        id: Uuid,
        /// Also print the link: anyone who has it can download the archive.
        #[arg(long)]
        reveal: bool,
    },
    /// Fulfil a pending request now, in a run separate from the night.
    Fulfil {
        /// The request.
        id: Uuid,
        /// Wait until the run ends, then print its result; Ctrl-C ends the waiting, not the run.
        #[arg(long)]
        wait: bool,
    },
    /// Revoke a request: delete its archive, so that its link stops working.
    Revoke {
        /// The request.
        id: Uuid,
        /// Reason.
        #[arg(long, value_enum)]
        reason: Reason,
    },
    /// Create a pending request that repeats a failed one.
    Retry {
        /// The failed request.
        id: Uuid,
    },
    /// Revoke the requests of an erased account, delete their archives, and remove the user's id from their rows.
    Forget {
        /// User whose requests are revoked.
        #[arg(long)]
        user: Uuid,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Status {
    Pending,
    Ready,
    Failed,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Accept {
    AccountDeleted,
    UnreadableValue,
    AttemptsExhausted,
}

impl From<Accept> for FailureReason {
    fn from(accept: Accept) -> Self {
        match accept {
            Accept::AccountDeleted => Self::AccountDeleted,
            Accept::UnreadableValue => Self::UnreadableValue,
            Accept::AttemptsExhausted => Self::AttemptsExhausted,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Reason {
    UserRequest,
    Legal,
    Mistake,
}

impl From<Reason> for RevokeReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::UserRequest => Self::UserRequest,
            Reason::Legal => Self::Legal,
            Reason::Mistake => Self::Mistake,
        }
    }
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Bucket {
    /// Store new archives in the bucket of EXPORT_BUCKET; existing archives stay in their bucket until they expire.
    Move {
        /// Only the address changed: this is the same bucket and holds the same archives.
        #[arg(long)]
        same_bucket: bool,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Events {
    /// Delete log lines older than 24 months, and requests without any log line left.
    Prune,
}

#[derive(Debug, Subcommand)]
pub(super) enum History {
    /// Write the history of a run to a file, for `history replay` and for a report.
    Dump {
        /// The workflow, such as `nightly_batch-2026-11-21T01:00:00Z`.
        workflow_id: String,
        /// One run of the workflow; by default the latest.
        #[arg(long, value_name = "ID")]
        run_id: Option<String>,
        /// The file; `-` is standard output.
        #[arg(short = 'o', long = "file", value_name = "FILE")]
        file: PathBuf,
    },
    /// Check whether this release can continue these histories, without a server.
    Replay {
        /// Files of `history dump`, of `temporal workflow show -o json`, or of Download in the Web UI.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Catalogue {
    /// Compare the catalogue with the database.
    Check,
    /// Print a first catalogue for these relations, every column undecided.
    Init {
        /// Relations such as `public.users`.
        #[arg(required = true, value_name = "SCHEMA.RELATION")]
        relations: Vec<String>,
    },
}

pub(super) fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

pub(super) fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a SHA-256 is 64 hexadecimal digits".to_owned())
    }
}

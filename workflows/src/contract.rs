//! Names everything that crosses Temporal: ids, inputs and outputs of the activities, outcomes.
//!
//! The workflows call the definitions in this file and the activities implement them, so the compiler keeps both sides
//! equal. Every operator can read these values in the history. They are only identifiers, counts, sizes, digests and
//! closed codes, never a row value, a URL or a credential.
//! Payloads are named structs whose new fields have a default, so that a running night survives a deploy.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use temporalio_common::{ActivityError, search_attributes::SearchAttributeKey};
use temporalio_macros::activity_definitions;
use uuid::Uuid;

pub use self::export_steps::{Expire, Fulfil, ListPending, Sweep};

/// Workflow type, schedule id and workflow id of the nightly run.
pub const NIGHTLY_BATCH: &str = "nightly_batch";
/// Workflow type, schedule id and workflow id of the expiry pass between two nights.
pub const EXPORT_EXPIRY: &str = "export_expiry";

/// Workflow type and workflow id of the run that serves requests by day.
pub const EXPORT_AT_ONCE: &str = "export_at_once";
/// Signal of that run: a request was made.
pub const ASKED: &str = "asked";

/// Search attribute of a run: the night (UTC date) that it belongs to.
pub const EXPORT_NIGHT: SearchAttributeKey<String> = SearchAttributeKey::keyword("ExportNight");
/// Search attribute of a run: how many requests have become `failed` in the night so far.
pub const EXPORT_FAILED: SearchAttributeKey<i64> = SearchAttributeKey::int("ExportFailed");

/// The task queue that workers poll when `EXPORT_TASK_QUEUE` does not say otherwise.
pub const DEFAULT_TASK_QUEUE: &str = "exports";

/// Names the task queue of the passes (expiry, sweep). It is separate, because on the queue of the exports the passes
/// would wait hours for a slot.
pub fn passes_queue(task_queue: &str) -> String {
    format!("{task_queue}-passes")
}

/// Names the run that fulfils one request beside the night. Two starts at the same time share one run.
pub fn request_workflow_id(request_id: Uuid) -> String {
    format!("{REQUEST_WORKFLOW_ID}{request_id}")
}

/// Returns whether a workflow id names a run for one request, which is not a night.
pub fn is_request_workflow_id(workflow_id: &str) -> bool {
    workflow_id.strip_prefix(REQUEST_WORKFLOW_ID).is_some_and(|id| Uuid::try_parse(id).is_ok())
}

const REQUEST_WORKFLOW_ID: &str = "export-request-";

/// The activities that a worker must offer; implemented by `export-activities`.
#[derive(Debug)]
pub struct ExportSteps;

#[activity_definitions]
impl ExportSteps {
    /// Lists one page of pending requests; the first page also checks the catalogue.
    #[activity(name = "list_pending_requests")]
    pub fn list_pending(_: ListPendingInput) -> Result<PendingPage, ActivityError> {
        unimplemented!()
    }

    /// Takes one request from `pending` to `ready`, or returns why it did not.
    #[activity(name = "fulfil_export_request")]
    pub fn fulfil(_: FulfilInput) -> Result<Outcome, ActivityError> {
        unimplemented!()
    }

    /// Turns overdue `ready` requests into `failed` and deletes the archives of failed ones.
    #[activity(name = "expire_stale_exports")]
    pub fn expire(_: ExpireInput) -> Result<ExpireOutput, ActivityError> {
        unimplemented!()
    }

    /// Deletes objects and multipart uploads that no request points to.
    #[activity(name = "sweep_orphans")]
    pub fn sweep(_: SweepInput) -> Result<SweepOutput, ActivityError> {
        unimplemented!()
    }
}

/// The next page of pending requests begins after this request, in the order of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// `requested_at` of the last request of the page before.
    pub requested_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// Input of `list_pending_requests`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ListPendingInput {
    /// The end of the previous page; none for the first page of a round.
    pub cursor: Option<Cursor>,
    /// Requests made after this moment wait for the next night. None on the very first page, which sets it.
    pub cutoff: Option<DateTime<Utc>>,
    /// 1 for the first round through the queue, 2 for the second, which leaves out requests given up tonight.
    #[serde(rename = "look")] // its name in recorded histories
    pub round: u8,
    /// Maximum number of requests in the page.
    pub limit: u32,
    /// These requests and no others, in any state. The rest of the input is then ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<Uuid>>,
    /// The requests that start at once and were not tried yet, oldest first. The rest of the input is then ignored, but
    /// for `limit`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_once: bool,
    /// Also ask the server for our search attributes. Workers of releases that never set them leave this out, and
    /// their runs must replay here without search attributes.
    pub ask_search_attributes: bool,
}

/// One page of the queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PendingPage {
    /// The requests, oldest first.
    pub requests: Vec<Uuid>,
    /// Where the next page begins; none when this page is the last.
    pub next: Option<Cursor>,
    /// The database's `now()` at the very first page; later pages return the cutoff of their input.
    pub cutoff: Option<DateTime<Utc>>,
    /// The number of requests pending at the cutoff; counted on the very first page only.
    pub pending_at_start: Option<u64>,
    /// The server knows our search attributes. Setting an unknown attribute would stop the run for good.
    pub search_attributes: bool,
}

/// Input of `fulfil_export_request`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FulfilInput {
    /// The request.
    pub request_id: Uuid,
    /// The night that serves it (UTC date), noted in its events.
    #[serde(default)]
    pub night: Option<NaiveDate>,
    /// Reasons for which any number of requests may fail, because a person has checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<FailureReason>,
    /// A single attempt by day. What would fail the request leaves it to the night, which counts such failures and holds
    /// back when there are too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_day: bool,
}

/// How one `fulfil_export_request` ended; always a success for Temporal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The request is `ready`.
    Fulfilled {
        /// Size of the archive in bytes.
        archive_bytes: u64,
        /// Rows in all entities.
        rows: u64,
    },
    /// The request had already left `pending`.
    AlreadyDone,
    /// Another attempt won the race; this one removed its own object.
    Superseded,
    /// The request is `failed`, for good.
    Failed {
        /// Why, as on the row.
        reason: FailureReason,
    },
    /// Too many requests of the night would fail for this reason; the request waits for a person.
    HeldBack {
        /// The reason.
        reason: FailureReason,
    },
    /// Our own code failed five times tonight; the request stays `pending` for the next night.
    GivenUpTonight,
    /// A system fault lasted too long; the request stays `pending` for the second round.
    Deferred {
        /// The closed code of the fault.
        code: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fulfilled { .. } => f.write_str("fulfilled"),
            Self::AlreadyDone => f.write_str("already done"),
            Self::Superseded => f.write_str("superseded"),
            Self::Failed { reason } => write!(f, "failed ({})", reason.as_str()),
            Self::HeldBack { reason } => write!(f, "held back ({})", reason.as_str()),
            Self::GivenUpTonight => f.write_str("given up tonight"),
            Self::Deferred { code } => write!(f, "deferred ({code})"),
        }
    }
}

/// Why a request is `failed`: the closed list of `data_export_requests.failure_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Its seven days are over.
    Expired,
    /// The user has no row in the platform's database.
    AccountDeleted,
    /// An operator took it back.
    Revoked,
    /// The person, or an admin for them, took it back.
    Withdrawn,
    /// A value in the user's rows cannot be read.
    UnreadableValue,
    /// It asks for a part of the data that the catalogue does not have.
    ScopeRefused,
    /// All its attempts are used up: they failed in our own code or killed their worker.
    AttemptsExhausted,
}

impl FailureReason {
    /// The reasons for which an attempt fails its request, and which a person may accept for a whole night.
    pub const OF_ATTEMPTS: [Self; 4] =
        [Self::AccountDeleted, Self::UnreadableValue, Self::ScopeRefused, Self::AttemptsExhausted];

    /// Returns the text that the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::AccountDeleted => "account_deleted",
            Self::Revoked => "revoked",
            Self::Withdrawn => "withdrawn",
            Self::UnreadableValue => "unreadable_value",
            Self::ScopeRefused => "scope_refused",
            Self::AttemptsExhausted => "attempts_exhausted",
        }
    }
}

/// Input of `expire_stale_exports`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpireInput {
    /// Also revoke the archives of users whose row is gone.
    pub accounts: bool,
    /// The night (UTC date) that the pass belongs to, noted in its events.
    pub night: Option<NaiveDate>,
    /// Revoke even when more than a tenth of the accounts seem to be gone.
    pub force: bool,
    /// The counts of a night at its end, to compare with the database. Workers of releases that never compare leave it
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

/// The counts of a night, from its first page to its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// When the night began, by the database's clock: its cutoff.
    pub since: DateTime<Utc>,
    /// Requests that became `ready`.
    pub fulfilled: u64,
    /// Requests that became `failed`, by reason.
    pub failed: BTreeMap<FailureReason, u64>,
    /// Maximum number of requests that are still pending; the night reports why for each.
    pub left: u64,
}

/// A count of a night that the database does not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miscount {
    /// The count of the night.
    pub counted: u64,
    /// The count of the database.
    pub found: u64,
}

/// Output of `expire_stale_exports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpireOutput {
    /// Requests whose seven days were over.
    pub expired: u64,
    /// Requests whose user was gone.
    pub revoked: u64,
    /// Archives deleted from the store.
    pub deleted: u64,
    /// Archives of failed requests that are still in the store, because it did not answer.
    pub deletions_left: u64,
    /// Too many accounts seemed gone, so nothing was revoked.
    pub too_many_accounts_gone: bool,
    /// Counts of the night that the database does not confirm: `fulfilled`, `failed/<reason>`, `left`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub miscounted: BTreeMap<String, Miscount>,
}

/// Input of `sweep_orphans`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepInput {
    /// Delete even when more than a tenth of the objects would go.
    pub force: bool,
    /// Count only.
    pub dry_run: bool,
}

/// Output of `sweep_orphans`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SweepOutput {
    /// Orphaned objects and multipart uploads that were deleted, or with `dry_run` would be deleted.
    pub swept: u64,
    /// Too many objects seemed orphaned, so nothing was deleted.
    pub refused: bool,
}

//! An export as the API shows it to a caller.

use chrono::{DateTime, Days, NaiveTime, Utc};
use export_activities::{
    requests::{policy::NIGHT_HOUR, reference, state::Status},
    scope::{Filters, Scope},
    serialise::formats::Formats,
    user_id::UserId,
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    caller::Caller,
    records::Record,
    rights::{self, Act, AdminDownloads, Target},
};

/// An act that the caller may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Possible {
    /// `POST` to its `withdraw`.
    Withdraw,
    /// `GET` its archive.
    Download,
    /// `POST` to its `retry`.
    Retry,
    /// `GET` its receipt.
    Receipt,
}

/// The archive of an export that is ready.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Archive {
    /// The name under which it is saved.
    filename: String,
    /// Size in bytes.
    bytes: i64,
    /// SHA-256, lower-case hexadecimal.
    #[schema(min_length = 64, max_length = 64)]
    sha256: String,
    /// Rows by entity.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    rows: Value,
    content_type: &'static str,
}

/// What an attempt does.
#[derive(ToSchema)]
#[schema(as = Phase, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
enum PhaseWord {
    Reading,
    Uploading,
}

/// How far a long export is. A short one is ready before it reports any.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    /// Which attempt it is, from 1. After a fault the export begins again.
    attempt: i32,
    #[schema(value_type = PhaseWord)]
    phase: String,
    /// Rows that were read, or bytes that were sent.
    done: i64,
    /// How many there will be, if that is known.
    total: Option<i64>,
    /// `total` is an estimate.
    estimated: bool,
    /// 0 to 99, and only as far as it is known; an export is whole when it is `ready`.
    percent: Option<u8>,
    /// Rows that were read, by entity.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    entities: Value,
    at: DateTime<Utc>,
}

impl Progress {
    fn of(record: &Record) -> Option<Self> {
        let phase = record.phase.clone()?;
        let (done, total) = (record.done?, record.total);
        Some(Self {
            percent: percent(&phase, done, total),
            estimated: phase == "reading",
            attempt: record.attempt?,
            phase,
            done,
            total,
            entities: record.entities.clone()?,
            at: record.progress_at?,
        })
    }
}

/// Reading is the first nine tenths, uploading the rest. Nothing is whole before it is ready.
fn percent(phase: &str, done: i64, total: Option<i64>) -> Option<u8> {
    let uploading = phase == "uploading";
    let part = match total {
        Some(total) if total > 0 => done.clamp(0, total) as f64 / total as f64,
        // Without an estimate of the rows, only the upload is known.
        _ if uploading => 0.0,
        _ => return None,
    };
    let percent = if uploading { 90.0 + 9.0 * part } else { 90.0 * part };
    Some(percent as u8)
}

/// An export.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Export {
    id: Uuid,
    /// The person whose data it is.
    #[schema(value_type = String)]
    user_id: UserId,
    /// The organisation in whose name it was asked for.
    org_id: Option<String>,
    /// `pending`, `ready` or `failed`.
    #[schema(value_type = StatusWord)]
    status: Status,
    /// Why it is `failed`. `expired` is the normal end of a delivered export.
    #[schema(value_type = Option<ReasonWord>)]
    reason: Option<String>,
    /// `night`: it waits for the night; `at_once`: it is made as soon as possible.
    #[schema(value_type = StartWord)]
    start: String,
    requested_at: DateTime<Utc>,
    /// Which part of the data is asked for; null if it is the whole.
    #[schema(value_type = Option<ScopeWord>)]
    scope: Option<Scope>,
    /// The formats of the archive.
    #[schema(value_type = Vec<FormatWord>)]
    formats: Vec<String>,
    /// In which role it was asked for; `platform` is a row that the platform inserted by itself.
    #[schema(value_type = AskedAsWord)]
    requested_as: String,
    /// When the night begins that makes it; null when it is being made, or starts at once.
    expected_at: Option<DateTime<Utc>>,
    /// It is being made now.
    running: bool,
    progress: Option<Progress>,
    ready_at: Option<DateTime<Utc>>,
    /// The moment at which the data was read.
    snapshot_at: Option<DateTime<Utc>>,
    /// Until when it can be downloaded.
    expires_at: Option<DateTime<Utc>>,
    /// When its archive was deleted.
    deleted_at: Option<DateTime<Utc>>,
    archive: Option<Archive>,
    /// The failed export that it repeats.
    retry_of: Option<Uuid>,
    /// What this caller may do now.
    may: Vec<Possible>,
    /// After how many seconds to look again; null when nothing will change any more.
    poll_after: Option<u64>,
    /// What to quote to the support.
    reference: String,
}

/// The id of a person, as the platform's database writes it.
#[derive(ToSchema)]
#[schema(as = UserId, value_type = String, min_length = 1, max_length = 255, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct UserIdWord(String);

/// A part of the data.
#[derive(ToSchema)]
#[schema(as = Scope)]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) struct ScopeWord {
    /// These entities, with those that they refer to and with the account.
    #[schema(required = false, min_items = 1, max_items = 500, pattern = "^[a-z][a-z0-9_]{0,62}$")]
    entities: Vec<String>,
    /// No row before this moment, of entities with `has_time`.
    #[schema(required = false)]
    since: DateTime<Utc>,
    /// No row at or after this moment, of the same entities.
    #[schema(required = false)]
    until: DateTime<Utc>,
    /// Only rows with one of these values, by entity and column.
    #[schema(required = false)]
    filters: Filters,
}

/// The states of an export.
#[derive(ToSchema)]
#[schema(as = Status, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
enum StatusWord {
    Pending,
    Ready,
    Failed,
}

/// The reasons of a failure.
#[derive(ToSchema)]
#[schema(as = Reason, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) enum ReasonWord {
    Expired,
    AccountDeleted,
    Revoked,
    Withdrawn,
    UnreadableValue,
    ScopeRefused,
    AttemptsExhausted,
}

/// A format of an archive.
#[derive(ToSchema)]
#[schema(as = Format, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) enum FormatWord {
    Json,
    Csv,
    Xlsx,
    Parquet,
}

/// When an export is made.
#[derive(ToSchema)]
#[schema(as = Start, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
pub(crate) enum StartWord {
    Night,
    AtOnce,
}

/// In which role an export was asked for.
#[derive(ToSchema)]
#[schema(as = AskedAs, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its description is used")]
enum AskedAsWord {
    Platform,
    Owner,
    Admin,
    Operator,
    Service,
}

impl Export {
    /// Shows a record to a caller, who may see it.
    pub(crate) fn of(record: Record, caller: &Caller, admins: AdminDownloads, now: DateTime<Utc>) -> Self {
        let pending = record.status == Status::Pending;
        let waits = pending && !record.is_running;
        let expected_at = (waits && record.waits_for_night).then(|| next_night(now));
        let poll_after = match record.status {
            Status::Pending => Some(expected_at.map_or(2, |at| pause(at - now))),
            Status::Ready => record.expires_at.map(|at| pause(at - now)),
            Status::Failed => None,
        };
        let archive = match (&record, record.archive_bytes, &record.archive_sha256, &record.row_counts) {
            (Record { status: Status::Ready, .. }, Some(bytes), Some(sha256), Some(rows)) => Some(Archive {
                filename: filename(record.id),
                bytes,
                sha256: sha256.clone(),
                rows: rows.clone(),
                content_type: "application/zip",
            }),
            _ => None,
        };
        let progress = Some(&record).filter(|_| pending && record.is_running).and_then(Progress::of);
        Self {
            may: possible(&record, caller, admins),
            reference: reference(record.id),
            id: record.id,
            user_id: record.user_id,
            org_id: record.org_id,
            status: record.status,
            reason: record.reason,
            start: record.start,
            scope: record.scope.map(|Json(scope)| scope),
            formats: Formats::shown(record.formats),
            requested_at: record.requested_at,
            requested_as: record.asked_as,
            expected_at,
            running: pending && record.is_running,
            progress,
            ready_at: record.fulfilled_at,
            snapshot_at: record.snapshot_at,
            expires_at: record.expires_at,
            deleted_at: record.object_deleted_at,
            archive,
            retry_of: record.retry_of,
            poll_after,
        }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    /// Returns whether nothing will change any more, but for the deletion of its archive.
    pub(crate) fn has_ended(&self) -> bool {
        self.status == Status::Failed
    }

    /// Returns an entity tag without the progress: it changes only with what lasts.
    pub(crate) fn state_tag(&self) -> String {
        Self { progress: None, ..self.clone() }.etag()
    }

    /// Returns an entity tag. It changes with everything that is shown, also at the second of expiry, which is no write.
    pub(crate) fn etag(&self) -> String {
        let shown = Self { poll_after: None, ..self.clone() };
        let digest = Sha256::digest(serde_json::to_vec(&shown).unwrap_or_default());
        format!("\"{}\"", hex::encode(&digest[..12]))
    }
}

/// Returns the name under which a browser saves an archive.
pub(crate) fn filename(id: Uuid) -> String {
    format!("export-{id}.zip")
}

fn possible(record: &Record, caller: &Caller, admins: AdminDownloads) -> Vec<Possible> {
    let target = Target { user: &record.user_id, org: record.org_id.as_deref() };
    let may = |act| rights::may(caller, act, target, admins).is_ok();
    let mut possible = Vec::new();
    if record.status != Status::Failed && may(Act::Withdraw) {
        possible.push(Possible::Withdraw);
    }
    if record.status == Status::Ready && may(Act::Download) {
        possible.push(Possible::Download);
    }
    if record.status == Status::Failed && rights::may_ask(caller, &record.user_id).is_ok() {
        possible.push(Possible::Retry);
    }
    if record.has_receipt {
        possible.push(Possible::Receipt);
    }
    possible
}

/// Returns when the next night begins.
pub(crate) fn next_night(now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = NaiveTime::from_hms_opt(NIGHT_HOUR, 0, 0).unwrap_or_default();
    let today = now.date_naive().and_time(hour).and_utc();
    if today > now { today } else { today.checked_add_days(Days::new(1)).unwrap_or(today) }
}

/// Returns after how many seconds to look again at something that changes in `rest`: often when it is near, and never
/// after it.
fn pause(rest: chrono::TimeDelta) -> u64 {
    let seconds = u64::try_from(rest.num_seconds()).unwrap_or_default();
    (seconds / 4).clamp(30, 3600).min(seconds.max(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_night_is_today_before_one_o_clock_and_else_tomorrow() {
        let night = |text: &str| next_night(text.parse().unwrap()).to_rfc3339();
        assert_eq!(night("2026-11-27T00:59:59Z"), "2026-11-27T01:00:00+00:00");
        assert_eq!(night("2026-11-27T01:00:00Z"), "2026-11-28T01:00:00+00:00");
        assert_eq!(night("2026-12-31T23:00:00Z"), "2027-01-01T01:00:00+00:00");
    }

    #[test]
    fn the_bar_is_whole_only_when_the_export_is_ready() {
        assert_eq!(percent("reading", 50, None), None);
        assert_eq!(percent("reading", 50, Some(100)), Some(45));
        assert_eq!(percent("reading", 100, Some(100)), Some(90));
        assert_eq!(percent("uploading", 0, Some(7)), Some(90));
        assert_eq!(percent("uploading", 7, Some(7)), Some(99));
        assert_eq!(percent("uploading", 9, Some(7)), Some(99));
    }

    #[test]
    fn what_is_near_is_looked_at_more_often() {
        let seconds =
            [86_400, 7200, 100, 10, 1, -5].map(|seconds| pause(chrono::TimeDelta::seconds(seconds)));
        assert_eq!(seconds, [3600, 1800, 30, 10, 2, 2]);
    }
}

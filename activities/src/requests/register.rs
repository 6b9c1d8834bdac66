//! The register of requests as CSV: until when the law wants an answer to each one, and when that came.

use anyhow::{Context as _, Result};
use async_stream::try_stream;
use bytes::Bytes;
use chrono::{DateTime, Days, NaiveDate, SecondsFormat, Utc};
use csv::{Terminator, WriterBuilder};
use futures::Stream;
use uuid::Uuid;

use super::reference;
use crate::{database::pool::Pool, serialise::marked, user_id::UserId};

/// Requests in one chunk.
const PAGE: i64 = 1000;

/// Excel reads a file as UTF-8 only with this mark.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

const COLUMNS: [&str; 15] = [
    "request",
    "reference",
    "user_id",
    "org_id",
    "asked_as",
    "requested_at",
    "due_on",
    "state",
    "status",
    "reason",
    "answered_at",
    "days_taken",
    "days_left",
    "downloaded_at",
    "deleted_at",
];

/// The days on which the requests were made, in UTC. The first and the last one are included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    /// The first day; none: from the first request on.
    pub from: Option<NaiveDate>,
    /// The last day; none: up to the newest request.
    pub to: Option<NaiveDate>,
}

struct Line {
    id: Uuid,
    user_id: UserId,
    org_id: Option<String>,
    asked_as: String,
    requested_at: DateTime<Utc>,
    due_on: NaiveDate,
    state: String,
    status: String,
    reason: Option<String>,
    answered_at: Option<DateTime<Utc>>,
    downloaded_at: Option<DateTime<Utc>>,
    object_deleted_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

/// Reads the register, the oldest request first, in chunks of whole lines. The first chunk has the header.
///
/// A field that a spreadsheet could run has an apostrophe before it, as in the CSV of an archive. `days_left` is there
/// while a request is open, and negative after its month; `days_taken` when it was answered.
pub fn csv(state: Pool, period: Period) -> impl Stream<Item = Result<Bytes>> + Send {
    try_stream! {
        let mut after = None;
        let mut is_first = true;
        loop {
            let page = page(&state, period, after).await?;
            after = page.last().map(|line| (line.requested_at, line.id));
            if is_first || !page.is_empty() {
                yield write(&page, is_first)?;
            }
            if page.len() < PAGE as usize {
                break;
            }
            is_first = false;
        }
    }
}

async fn page(state: &Pool, period: Period, after: Option<(DateTime<Utc>, Uuid)>) -> Result<Vec<Line>> {
    let midnight = |day: NaiveDate| day.and_time(chrono::NaiveTime::MIN).and_utc();
    let (at, id) = after.unzip();
    sqlx::query_as!(
        Line,
        r#"select id as "id!", user_id as "user_id!: UserId", org_id, asked_as as "asked_as!",
               requested_at as "requested_at!", due_on as "due_on!", state as "state!", status as "status!", reason,
               answered_at, downloaded_at, object_deleted_at, statement_timestamp() as "now!"
           from public.data_export_register
           where ($1::timestamptz is null or requested_at >= $1) and ($2::timestamptz is null or requested_at < $2)
               and ($3::timestamptz is null or (requested_at, id) > ($3, $4::uuid))
           order by requested_at, id limit $5"#,
        period.from.map(midnight),
        period.to.and_then(|day| day.checked_add_days(Days::new(1))).map(midnight),
        at,
        id,
        PAGE,
    )
    .fetch_all(state)
    .await
    .context("failed to read the register")
}

fn write(lines: &[Line], with_header: bool) -> Result<Bytes> {
    let bytes = if with_header { BYTE_ORDER_MARK.to_vec() } else { Vec::new() };
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(bytes);
    if with_header {
        out.write_record(COLUMNS)?;
    }
    for line in lines {
        out.write_record(fields(line))?;
    }
    let bytes =
        out.into_inner().map_err(|error| error.into_error()).context("failed to write the register")?;
    Ok(bytes.into())
}

fn fields(line: &Line) -> [String; 15] {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let taken = |at: DateTime<Utc>| (at.date_naive() - line.requested_at.date_naive()).num_days();
    let left = Some((line.due_on - line.now.date_naive()).num_days()).filter(|_| line.state == "open");
    [
        line.id.to_string(),
        reference(line.id),
        marked(line.user_id.as_str()),
        line.org_id.as_deref().map(marked).unwrap_or_default(),
        line.asked_as.clone(),
        time(line.requested_at),
        line.due_on.to_string(),
        line.state.clone(),
        line.status.clone(),
        line.reason.clone().unwrap_or_default(),
        line.answered_at.map(time).unwrap_or_default(),
        line.answered_at.map(|at| taken(at).to_string()).unwrap_or_default(),
        left.map(|days| days.to_string()).unwrap_or_default(),
        line.downloaded_at.map(time).unwrap_or_default(),
        line.object_deleted_at.map(time).unwrap_or_default(),
    ]
}

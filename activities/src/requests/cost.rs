//! What the archives of a month cost in the store, from the log.
//!
//! The log has when each archive was stored and deleted, its size, and the downloads that began at the portal, each of which is
//! counted as one of the whole archive. It does not have who followed a link in a row, nor what a night read back.

use anyhow::{Context as _, Result};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::user_id::UserId;

/// A gigabyte, as stores bill it.
const GIB: f64 = (1_u64 << 30) as f64;

/// The prices of a store, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// Of a GiB stored for a month.
    pub gib_month: f64,
    /// Of 1,000 calls that store something.
    pub puts_1000: f64,
    /// Of 1,000 calls that read.
    pub gets_1000: f64,
    /// Of a GiB that leaves the store.
    pub egress_gib: f64,
}

/// How archives are uploaded, from which the number of calls follows.
#[derive(Clone, Copy, Debug)]
pub struct Uploads {
    /// An archive of up to this size takes one call.
    pub put_limit: u64,
    /// A larger one takes one for each part, and two more.
    pub part_bytes: u64,
    /// The most parts that an archive has.
    pub most_parts: u64,
}

/// What was used in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Use {
    /// Archives that were stored for a part of it; of several days, the most on one of them.
    pub archives: i64,
    /// GiB, times the days for which they were stored.
    pub gib_days: f64,
    /// Calls that stored something.
    pub puts: i64,
    /// Calls that read something: one look at each archive after its upload, and one for each download.
    pub gets: i64,
    /// GiB of the downloads that began.
    pub downloaded_gib: f64,
}

impl Use {
    /// Returns its price in a month with this number of days.
    pub fn price(&self, prices: &Prices, days: u32) -> f64 {
        let thousand = |calls: i64, price: f64| calls as f64 / 1000.0 * price;
        self.gib_days / f64::from(days) * prices.gib_month
            + thousand(self.puts, prices.puts_1000)
            + thousand(self.gets, prices.gets_1000)
            + self.downloaded_gib * prices.egress_gib
    }

    fn of([archives, made, puts, downloads]: [i64; 4], byte_days: f64, downloaded: f64) -> Self {
        Self {
            archives,
            gib_days: byte_days / GIB,
            puts,
            gets: made + downloads,
            downloaded_gib: downloaded / GIB,
        }
    }

    /// Adds what was used on another day.
    pub fn add(&mut self, other: &Self) {
        self.archives = self.archives.max(other.archives);
        self.gib_days += other.gib_days;
        self.puts += other.puts;
        self.gets += other.gets;
        self.downloaded_gib += other.downloaded_gib;
    }
}

/// What was used on one day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayUse {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// What was used.
    #[serde(flatten)]
    pub used: Use,
}

/// What was used for one account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountUse {
    /// The account.
    pub user_id: UserId,
    /// What was used.
    #[serde(flatten)]
    pub used: Use,
}

/// Returns what was used on each day from `from` up to `to`.
pub async fn days(
    state: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    uploads: &Uploads,
) -> Result<Vec<DayUse>> {
    let days = sqlx::query!(
        r#"with stored as materialized (
               select r.archive_bytes as bytes, r.at at time zone 'UTC' as since,
                   least(coalesce(d.at, clock_timestamp()), $2) at time zone 'UTC' as until
               from public.data_export_events r
               left join public.data_export_events d on d.request_id = r.request_id and d.kind = 'object_deleted'
               where r.kind = 'ready' and r.at < $2 and coalesce(d.at, 'infinity') > $1
           ), downloads as materialized (
               select a.at at time zone 'UTC' as at, a.bytes from public.data_export_accesses a
               where a.action = 'linked' and a.at >= $1 and a.at < $2
           )
           select d.day::date as "day!", s.archives as "archives!", s.byte_days as "byte_days!", p.made as "made!",
               p.puts as "puts!", o.downloads as "downloads!", o.bytes as "bytes!"
           from generate_series($1 at time zone 'UTC', $2 at time zone 'UTC' - interval '1 us', interval '1 day') d (day),
               lateral (
                   select count(*) as archives, coalesce(sum(bytes * (extract(epoch from
                       least(until, d.day + interval '1 day') - greatest(since, d.day)) / 86400)), 0)::float8 as byte_days
                   from stored where since < d.day + interval '1 day' and until > d.day) s,
               lateral (
                   select count(*) as made, coalesce(sum(case when bytes <= $3::bigint then 1
                       else least(ceil(bytes / $4::float8), $5::float8) + 2 end), 0)::bigint as puts
                   from stored where since >= d.day and since < d.day + interval '1 day') p,
               lateral (
                   select count(*) as downloads, coalesce(sum(bytes), 0)::float8 as bytes
                   from downloads where at >= d.day and at < d.day + interval '1 day') o
           order by d.day"#,
        from,
        to,
        i64::try_from(uploads.put_limit).unwrap_or(i64::MAX),
        uploads.part_bytes as f64,
        uploads.most_parts as f64,
    )
    .fetch_all(state)
    .await
    .context("failed to add up what the archives took")?;
    let day = days.into_iter().map(|row| DayUse {
        day: row.day,
        used: Use::of([row.archives, row.made, row.puts, row.downloads], row.byte_days, row.bytes),
    });
    Ok(day.collect())
}

/// Returns the accounts whose archives took most space from `from` up to `to`.
pub async fn largest(
    state: &mut PgConnection,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    uploads: &Uploads,
    at_most: i64,
) -> Result<Vec<AccountUse>> {
    let accounts = sqlx::query!(
        r#"select q.user_id as "user_id: UserId", count(*) as "archives!",
               coalesce(sum(r.archive_bytes * (extract(epoch from
                   least(coalesce(d.at, clock_timestamp()), $2) - greatest(r.at, $1)) / 86400)), 0)::float8 as "byte_days!",
               count(*) filter (where r.at >= $1) as "made!",
               coalesce(sum(case when r.archive_bytes <= $3::bigint then 1
                   else least(ceil(r.archive_bytes / $4::float8), $5::float8) + 2 end) filter (where r.at >= $1), 0)::bigint
                   as "puts!",
               coalesce(sum(a.downloads), 0)::bigint as "downloads!", coalesce(sum(a.bytes), 0)::float8 as "bytes!"
           from public.data_export_events r
           join public.data_export_requests q on q.id = r.request_id
           left join public.data_export_events d on d.request_id = r.request_id and d.kind = 'object_deleted'
           left join lateral (
               select count(*) as downloads, sum(x.bytes) as bytes from public.data_export_accesses x
               where x.request_id = r.request_id and x.action = 'linked' and x.at >= $1 and x.at < $2) a on true
           where r.kind = 'ready' and r.at < $2 and coalesce(d.at, 'infinity') > $1
               -- All those who were forgotten have this id.
               and q.user_id <> '00000000-0000-0000-0000-000000000000'
           group by q.user_id
           order by 3 desc, 1
           limit $6"#,
        from,
        to,
        i64::try_from(uploads.put_limit).unwrap_or(i64::MAX),
        uploads.part_bytes as f64,
        uploads.most_parts as f64,
        at_most,
    )
    .fetch_all(state)
    .await
    .context("failed to look for the largest accounts")?;
    let account = accounts.into_iter().map(|row| AccountUse {
        user_id: row.user_id,
        used: Use::of([row.archives, row.made, row.puts, row.downloads], row.byte_days, row.bytes),
    });
    Ok(account.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_the_sum_of_what_is_stored_called_and_downloaded() {
        let prices = Prices { gib_month: 0.03, puts_1000: 0.005, gets_1000: 0.0004, egress_gib: 0.09 };
        let mut used = Use { archives: 2, gib_days: 60.0, puts: 2000, gets: 5000, downloaded_gib: 10.0 };
        let close =
            |price: f64, expected: f64| assert!((price - expected).abs() < 1e-9, "{price} {expected}");
        close(used.price(&prices, 30), 0.06 + 0.01 + 0.002 + 0.9);
        used.add(&Use { archives: 1, gib_days: 30.0, puts: 0, gets: 0, downloaded_gib: 0.0 });
        close(used.price(&prices, 30), 0.09 + 0.01 + 0.002 + 0.9);
        assert_eq!(used.archives, 2);
    }
}

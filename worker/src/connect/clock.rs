//! Compares the clock of a server with this machine's.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use super::explain::Explained;

/// Difference in seconds from which a person should check.
pub(crate) const WARN: i64 = 5;
/// Difference in seconds from which links noticeably expire too early or too late.
pub(crate) const FAIL: i64 = 60;

/// Returns how far the database's clock is ahead of this machine's.
pub(crate) async fn ahead(database: impl PgExecutor<'_>) -> sqlx::Result<TimeDelta> {
    let before = Utc::now();
    let there = sqlx::query_scalar("select pg_catalog.clock_timestamp()").fetch_one(database).await?;
    Ok(difference(before, there, Utc::now()))
}

/// Returns the minimum by which `there` is ahead of the time between `before` and `after`. The server read its clock
/// between the two, so a slow line does not change the result.
fn difference(before: DateTime<Utc>, there: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    if there < before {
        there - before
    } else if there > after {
        there - after
    } else {
        TimeDelta::zero()
    }
}

/// Difference between the clocks of database and worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// They agree.
    Agree,
    /// A night runs, but a person should check.
    Differ(Explained),
    /// Links would expire too early or too late.
    Unusable(Explained),
}

/// Judges how far the database's clock is ahead of this worker's.
pub(crate) fn judge(ahead: TimeDelta) -> Judged {
    let which = if ahead < TimeDelta::zero() { "behind" } else { "ahead of" };
    // Without the number, which changes with each check: an outage is logged once for each cause.
    let explained = |bound: i64| {
        Explained::new(
            format!("its clock is {bound} s or more {which} this worker's"),
            "synchronise both clocks by NTP: links start and requests expire by the database's clock",
        )
    };
    match ahead.abs() {
        apart if apart >= TimeDelta::seconds(FAIL) => Judged::Unusable(explained(FAIL)),
        apart if apart >= TimeDelta::seconds(WARN) => Judged::Differ(explained(WARN)),
        _ => Judged::Agree,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_long_on_its_way_is_no_difference() {
        let at = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        for (there, seconds) in [(0, 0), (15, 0), (30, 0), (-7, -7), (31, 1), (130, 100)] {
            assert_eq!(difference(at(0), at(there), at(30)), TimeDelta::seconds(seconds), "{there}");
        }
    }

    #[test]
    fn five_seconds_are_worth_a_look_and_sixty_keep_the_worker_from_serving() {
        let judged = |milliseconds| judge(TimeDelta::milliseconds(milliseconds));
        assert_eq!([judged(0), judged(4_999), judged(-4_999)], [const { Judged::Agree }; 3]);
        for (milliseconds, part) in [(5_000, "5 s or more ahead of"), (-59_999, "5 s or more behind")] {
            let Judged::Differ(explained) = judged(milliseconds) else { panic!("{milliseconds}") };
            assert!(explained.cause.contains(part), "{explained}");
        }
        for (milliseconds, part) in [(60_000, "60 s or more ahead of"), (-60_000, "60 s or more behind")] {
            let Judged::Unusable(explained) = judged(milliseconds) else { panic!("{milliseconds}") };
            assert!(explained.cause.contains(part) && explained.remedy.contains("NTP"), "{explained}");
        }
    }
}

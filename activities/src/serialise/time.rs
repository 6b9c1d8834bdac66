//! Dates, times and intervals: counted from 2000-01-01 on the wire, written as `to_json` writes them.

use std::fmt::Write as _;

use super::{
    number::push_padded,
    value::{Shape, Unreadable},
};

/// Days from 0000-03-01 to 2000-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAYS: i64 = 730_425;
const DAY_MICROSECONDS: i64 = 86_400_000_000;
const HOUR_MICROSECONDS: i64 = 3_600_000_000;
const MINUTE_MICROSECONDS: i64 = 60_000_000;
const SECOND_MICROSECONDS: i64 = 1_000_000;

pub(super) fn push_date(days: i32, out: &mut String) -> Result<Shape, Unreadable> {
    match days {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        _ => {
            let before_christ = push_calendar_day(days.into(), out);
            out.push_str(before_christ);
        }
    }
    Ok(Shape::Quoted)
}

pub(super) fn push_time(microseconds: i64, out: &mut String) -> Result<Shape, Unreadable> {
    // 24:00:00 is a valid time, separate from 00:00:00.
    if !(0..=DAY_MICROSECONDS).contains(&microseconds) {
        return Err(Unreadable);
    }
    push_clock(microseconds.unsigned_abs(), out);
    Ok(Shape::Quoted)
}

pub(super) fn push_timestamp(microseconds: i64, zone: &str, out: &mut String) -> Result<Shape, Unreadable> {
    match microseconds {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        _ => {
            let before_christ = push_calendar_day(microseconds.div_euclid(DAY_MICROSECONDS), out);
            out.push('T');
            push_clock(microseconds.rem_euclid(DAY_MICROSECONDS).unsigned_abs(), out);
            out.push_str(zone);
            out.push_str(before_christ);
        }
    }
    Ok(Shape::Quoted)
}

/// Writes an interval as `IntervalStyle = postgres` does. Months, days and microseconds are three separate values.
pub(super) fn push_interval(bytes: [u8; 16], out: &mut String) -> Result<Shape, Unreadable> {
    let bits = u128::from_be_bytes(bytes);
    let microseconds = ((bits >> 64) as u64).cast_signed();
    let days = ((bits >> 32) as u32).cast_signed();
    let months = (bits as u32).cast_signed();
    // From PostgreSQL 17 on, all three at their extreme mean infinity.
    match (microseconds, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => out.push_str("infinity"),
        (i64::MIN, i32::MIN, i32::MIN) => out.push_str("-infinity"),
        _ => push_finite_interval(microseconds, days, months, out),
    }
    Ok(Shape::Quoted)
}

fn push_finite_interval(microseconds: i64, days: i32, months: i32, out: &mut String) {
    let start = out.len();
    // A positive part right after a negative one shows its plus sign.
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if out.len() > start { " " } else { "" };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        // Writing to a string cannot fail.
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        after_negative = value < 0;
    }
    if microseconds != 0 || out.len() == start {
        if out.len() > start {
            out.push(' ');
        }
        if microseconds < 0 {
            out.push('-');
        } else if after_negative {
            out.push('+');
        }
        push_clock(microseconds.unsigned_abs(), out);
    }
}

/// Returns whether the year of a date or timestamp, as it is written here, is one that most programs cannot read: before
/// 1 or after 9999. A date without end or beginning has no year.
pub fn is_outside_years(text: &str) -> bool {
    text.ends_with("BC") || (text.as_bytes().get(4) != Some(&b'-') && !text.ends_with("infinity"))
}

/// Appends `year-month-day` and returns the suffix for the end of the value.
fn push_calendar_day(days: i64, out: &mut String) -> &'static str {
    let days = days + EPOCH_DAYS;
    // Years run from March to February here, so that the leap day is the last one of its year.
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + 400 * era + carry;
    // There is no year 0: the one before 1 is 1 BC.
    let (shown, before_christ) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    push_padded(shown.unsigned_abs(), 4, out);
    out.push('-');
    push_padded(month.unsigned_abs(), 2, out);
    out.push('-');
    push_padded(day.unsigned_abs(), 2, out);
    before_christ
}

/// Appends `hh:mm:ss` with only the decimals that are needed. The hours may have more than two digits.
fn push_clock(microseconds: u64, out: &mut String) {
    let hour = HOUR_MICROSECONDS.unsigned_abs();
    let minute = MINUTE_MICROSECONDS.unsigned_abs();
    let second = SECOND_MICROSECONDS.unsigned_abs();
    push_padded(microseconds / hour, 2, out);
    out.push(':');
    push_padded(microseconds % hour / minute, 2, out);
    out.push(':');
    push_padded(microseconds % minute / second, 2, out);
    let fraction = microseconds % second;
    if fraction > 0 {
        out.push('.');
        push_padded(fraction, 6, out);
        while out.ends_with('0') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(months: i32, days: i32, microseconds: i64) -> String {
        let mut out = String::new();
        push_finite_interval(microseconds, days, months, &mut out);
        out
    }

    #[test]
    fn the_calendar_reaches_from_before_christ_to_beyond_9999() {
        let date = |days| {
            let mut out = String::new();
            push_date(days, &mut out).unwrap();
            out
        };
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(59), "2000-02-29");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(date(-2_451_545), "4714-11-24 BC");
        assert_eq!(date(2_145_031_948), "5874897-12-31");
        assert_eq!(date(i32::MAX), "infinity");
        for (days, outside) in [
            (0, false),
            (-730_119, false),
            (-730_120, true),
            (2_921_939, false),
            (2_921_940, true),
            (i32::MIN, false),
        ] {
            assert_eq!(is_outside_years(&date(days)), outside, "{}", date(days));
        }
    }

    #[test]
    fn a_timestamp_before_christ_ends_with_bc() {
        let mut out = String::new();
        push_timestamp(-730_120 * DAY_MICROSECONDS + 1_500_000, "+00:00", &mut out).unwrap();
        assert_eq!(out, "0001-12-31T00:00:01.5+00:00 BC");
    }

    #[test]
    fn a_time_of_day_may_be_24_00_00_and_no_later() {
        let mut out = String::new();
        push_time(DAY_MICROSECONDS, &mut out).unwrap();
        assert_eq!(out, "24:00:00");
        assert_eq!(push_time(DAY_MICROSECONDS + 1, &mut out), Err(Unreadable));
        assert_eq!(push_time(-1, &mut out), Err(Unreadable));
    }

    #[test]
    fn intervals_show_signs_as_postgresql_does() {
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(-13, 1, 1), "-1 years -1 mons +1 day 00:00:00.000001");
        assert_eq!(interval(0, -1, 3_600_000_000), "-1 days +01:00:00");
        assert_eq!(interval(12, 0, -1), "1 year -00:00:00.000001");
        assert_eq!(interval(0, 0, i64::MIN), "-2562047788:00:54.775808");
    }
}

//! Days and times, read back from the text that all formats share.

use chrono::NaiveDate;

const DAY_MICROSECONDS: u64 = 86_400_000_000;

/// A day, or a moment without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) day: NaiveDate,
    /// Microseconds since the beginning of the day; `None` if it is a day.
    pub(super) microseconds: Option<u64>,
}

impl Moment {
    /// Reads `2026-01-31`, or `2026-01-31T23:59:59.999999`, with or without `+00:00`. `None` if it has another form, such as
    /// `infinity`, a year before Christ, or one after 9999.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (day, clock) = text.split_at_checked(10)?;
        let is_day = day.as_bytes()[4] == b'-' && day.as_bytes()[7] == b'-';
        let year = i32::try_from(field(day, 0, 4).filter(|_| is_day)?).ok()?;
        let day = NaiveDate::from_ymd_opt(year, field(day, 5, 7)?, field(day, 8, 10)?)?;
        if clock.is_empty() {
            return Some(Self { day, microseconds: None });
        }
        let clock = clock.strip_prefix('T')?;
        let microseconds = microseconds(clock.strip_suffix("+00:00").unwrap_or(clock))?;
        Some(Self { day, microseconds: Some(microseconds) })
    }
}

/// Reads `23:59:59.999999` as microseconds. `None` if it has another form, or if it is the end of a day, `24:00:00`.
pub(super) fn microseconds(clock: &str) -> Option<u64> {
    let (clock, fraction) = clock.split_at_checked(8)?;
    if clock.as_bytes()[2] != b':' || clock.as_bytes()[5] != b':' {
        return None;
    }
    let seconds = (field(clock, 0, 2)? * 60 + field(clock, 3, 5)?) * 60 + field(clock, 6, 8)?;
    let fraction = match fraction {
        "" => 0,
        fraction => {
            let digits = fraction.strip_prefix('.').filter(|digits| (1..=6).contains(&digits.len()))?;
            number(digits)? * 10_u32.pow(6 - u32::try_from(digits.len()).ok()?)
        }
    };
    let microseconds = u64::from(seconds) * 1_000_000 + u64::from(fraction);
    (microseconds < DAY_MICROSECONDS).then_some(microseconds)
}

fn field(text: &str, from: usize, to: usize) -> Option<u32> {
    number(text.get(from..to)?)
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_back_and_what_is_none_is_not() {
        for (clock, expected) in [
            ("00:00:00", Some(0)),
            ("23:59:59.999999", Some(DAY_MICROSECONDS - 1)),
            ("00:00:01.5", Some(1_500_000)),
            ("24:00:00", None),
            ("00:00:00.", None),
            ("00:00:00.1234567", None),
            ("00:00:+1", None),
            ("0:00:00", None),
        ] {
            assert_eq!(microseconds(clock), expected, "{clock}");
        }
        for text in
            ["infinity", "0044-03-15 BC", "10000-01-01", "2026-02-30", "2026-01-01 00:00:00", "é026-01-01"]
        {
            assert_eq!(Moment::of(text), None, "{text}");
        }
        let day = NaiveDate::from_ymd_opt(2026, 1, 31).unwrap();
        assert_eq!(Moment::of("2026-01-31"), Some(Moment { day, microseconds: None }));
        let moment = Some(Moment { day, microseconds: Some(1) });
        assert_eq!(Moment::of("2026-01-31T00:00:00.000001+00:00"), moment);
        assert_eq!(Moment::of("2026-01-31T00:00:00.000001"), moment);
    }
}

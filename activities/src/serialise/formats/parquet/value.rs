//! Which values the types of Parquet hold, and how they count.

use chrono::{Datelike as _, NaiveDate};

use crate::serialise::formats::moment::Moment;

const DAY_0: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
const DAY_MICROSECONDS: i64 = 86_400_000_000;

/// Decimals have no more digits than this.
const MAX_PRECISION: u32 = 38;

/// Returns precision and scale of `numeric(precision,scale)`. `None` if decimals of Parquet do not have them.
pub(super) fn decimal_type(pg_type: &str) -> Option<(u32, u32)> {
    let (precision, scale) = pg_type.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
    let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
    ((1..=MAX_PRECISION).contains(&precision) && scale <= precision).then_some((precision, scale))
}

/// Returns a decimal number without its point. `None` if it has more digits than its type, or is no number.
pub(super) fn decimal(text: &str, precision: u32, scale: u32) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let missing = scale.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    if whole.is_empty() {
        return None;
    }
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = char::from(digit).to_digit(10)?;
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    let number = number.checked_mul(10_i128.checked_pow(missing)?)?;
    let number = (number < 10_i128.checked_pow(precision)?).then_some(number)?;
    Some(if digits.len() < text.len() { -number } else { number })
}

/// Returns the days of a date since the beginning of 1970. Programs agree on the years 1 to 9999; all others are `None`.
pub(super) fn days_since_1970(text: &str) -> Option<i32> {
    let moment = Moment::of(text).filter(|moment| moment.microseconds.is_none())?;
    Some(days(moment.day))
}

/// Returns the microseconds of a moment since the beginning of 1970. Only in the years 1 to 9999.
pub(super) fn microseconds_since_1970(text: &str) -> Option<i64> {
    let moment = Moment::of(text)?;
    Some(i64::from(days(moment.day)) * DAY_MICROSECONDS + moment.microseconds?.cast_signed())
}

fn days(day: NaiveDate) -> i32 {
    day.num_days_from_ce() - DAY_0.num_days_from_ce()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decimals_that_parquet_has_are_decimals() {
        for (pg_type, expected) in [
            ("numeric(10,2)", Some((10, 2))),
            ("numeric(38,38)", Some((38, 38))),
            ("numeric(1,0)", Some((1, 0))),
            ("numeric(39,2)", None),
            ("numeric(2,-3)", None),
            ("numeric(2,5)", None),
            ("numeric(0,0)", None),
            ("numeric", None),
            ("money_amount", None),
        ] {
            assert_eq!(decimal_type(pg_type), expected, "{pg_type}");
        }
    }

    #[test]
    fn a_decimal_counts_in_units_of_its_last_place() {
        let nines = "9".repeat(38);
        for (text, precision, scale, expected) in [
            ("12.50", 10, 2, Some(1250)),
            ("-0.01", 10, 2, Some(-1)),
            ("12", 10, 2, Some(1200)),
            ("0", 38, 38, Some(0)),
            ("12.505", 10, 2, None),
            ("100", 4, 2, None),
            ("99.99", 4, 2, Some(9999)),
            ("NaN", 10, 2, None),
            ("-Infinity", 10, 2, None),
            ("", 10, 2, None),
            (&nines, 38, 0, Some(10_i128.pow(38) - 1)),
            ("1e5", 10, 2, None),
        ] {
            assert_eq!(decimal(text, precision, scale), expected, "{text}");
        }
    }

    #[test]
    fn days_and_moments_count_from_1970() {
        assert_eq!(days_since_1970("1970-01-02"), Some(1));
        assert_eq!(days_since_1970("0001-01-01"), Some(-719_162));
        assert_eq!(days_since_1970("9999-12-31"), Some(2_932_896));
        assert_eq!(days_since_1970("1970-01-02T00:00:00"), None);
        assert_eq!(microseconds_since_1970("1969-12-31T23:59:59.999999+00:00"), Some(-1));
        assert_eq!(microseconds_since_1970("infinity"), None);
    }
}

//! Which values a spreadsheet holds as they are.

use chrono::{Datelike as _, NaiveDate};

use super::sheet::style;

/// A spreadsheet keeps this many digits of a number.
const DIGITS: usize = 15;

/// Spreadsheets read finite numbers of this size, and zero.
const FLOATS: std::ops::RangeInclusive<f64> = 2.3e-308..=9.99e307;

/// Spreadsheets of all makers count these days alike: Excel has a 29 February 1900.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1900, 3, 1).unwrap();

/// The day that is number 0, counted back from [`FIRST_DAY`].
const DAY_0: NaiveDate = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap();

const DAY_MILLISECONDS: f64 = 86_400_000.0;

/// Returns the decimal places of a number that a spreadsheet holds as it is.
pub(super) fn decimal_places(text: &str) -> Option<usize> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_plain = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let zeros = whole.bytes().chain(fraction.bytes()).take_while(|byte| *byte == b'0').count();
    let significant = whole.len() + fraction.len() - zeros;
    // A spreadsheet has no negative zero.
    let is_negative_zero = significant == 0 && digits.len() < text.len();
    (is_plain && significant <= DIGITS && fraction.len() <= style::PLACES && !is_negative_zero)
        .then_some(fraction.len())
}

/// Returns whether a spreadsheet holds a floating point number as it is.
pub(super) fn is_float(text: &str) -> bool {
    text == "0" || text.parse::<f64>().is_ok_and(|number| FLOATS.contains(&number.abs()))
}

/// A day or a moment as a spreadsheet counts it: days since the end of 1899, without a time zone.
pub(super) struct Moment {
    pub(super) serial: f64,
    pub(super) is_day: bool,
    /// It had a part beyond the millisecond.
    pub(super) is_cut: bool,
}

impl Moment {
    /// Reads `2026-01-31`, or `2026-01-31T23:59:59.999999`, with or without `+00:00`. `None` if it has another form, such as
    /// one before Christ, or if spreadsheets do not have that day.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (day, clock) = text.split_at_checked(10)?;
        let number = |part: &str| -> Option<u32> {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let field = |text: &str, from: usize, to: usize| number(text.get(from..to)?);
        let is_day = day.as_bytes()[4] == b'-' && day.as_bytes()[7] == b'-';
        let year = i32::try_from(field(day, 0, 4).filter(|_| is_day)?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, field(day, 5, 7)?, field(day, 8, 10)?)?;
        if date < FIRST_DAY {
            return None;
        }
        let days = f64::from(date.num_days_from_ce() - DAY_0.num_days_from_ce());
        if clock.is_empty() {
            return Some(Self { serial: days, is_day: true, is_cut: false });
        }
        let clock = clock.strip_prefix('T')?;
        let clock = clock.strip_suffix("+00:00").unwrap_or(clock);
        let (clock, fraction) = clock.split_at_checked(8)?;
        if clock.as_bytes()[2] != b':' || clock.as_bytes()[5] != b':' {
            return None;
        }
        let seconds = (field(clock, 0, 2)? * 60 + field(clock, 3, 5)?) * 60 + field(clock, 6, 8)?;
        let fraction = if fraction.is_empty() { "" } else { fraction.strip_prefix('.')? };
        if fraction.len() > 6 {
            return None;
        }
        let microseconds = if fraction.is_empty() {
            0
        } else {
            number(fraction)? * 10_u32.pow(6 - u32::try_from(fraction.len()).ok()?)
        };
        let milliseconds = f64::from(seconds * 1000 + microseconds / 1000);
        Some(Self {
            serial: days + milliseconds / DAY_MILLISECONDS,
            is_day: false,
            is_cut: microseconds % 1000 != 0,
        })
    }
}

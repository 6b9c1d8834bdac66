//! Which values a spreadsheet holds as they are.

use chrono::{Datelike as _, NaiveDate};

use super::sheet::style;
use crate::serialise::formats::moment::Moment;

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
pub(super) struct Serial {
    pub(super) days: f64,
    pub(super) is_day: bool,
    /// It had a part beyond the millisecond.
    pub(super) is_cut: bool,
}

impl Serial {
    /// Reads a day or a moment. `None` if spreadsheets do not have that day.
    pub(super) fn of(text: &str) -> Option<Self> {
        let moment = Moment::of(text).filter(|moment| moment.day >= FIRST_DAY)?;
        let days = f64::from(moment.day.num_days_from_ce() - DAY_0.num_days_from_ce());
        let Some(microseconds) = moment.microseconds else {
            return Some(Self { days, is_day: true, is_cut: false });
        };
        let milliseconds = f64::from(u32::try_from(microseconds / 1000).ok()?);
        Some(Self {
            days: days + milliseconds / DAY_MILLISECONDS,
            is_day: false,
            is_cut: microseconds % 1000 != 0,
        })
    }
}

//! Writes numbers as PostgreSQL does; `numeric` never goes through a float.

use std::fmt::Write as _;

use super::value::{Shape, Unreadable, fixed};

/// PostgreSQL writes floats without an exponent from 0.0001 up to these powers of ten.
const FLOAT4_FIXED_BELOW: i32 = 6;
const FLOAT8_FIXED_BELOW: i32 = 15;

const NUMERIC_POSITIVE: u16 = 0x0000;
const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xC000;
const NUMERIC_INFINITY: u16 = 0xD000;
const NUMERIC_MINUS_INFINITY: u16 = 0xF000;

/// Decimal digits in one digit of `numeric`.
const GROUP: usize = 4;

pub(super) fn push_int(value: i64, out: &mut String) -> Shape {
    out.push_str(itoa::Buffer::new().format(value));
    Shape::Bare
}

/// Appends a number with leading zeros up to `width` digits. No part of a value is padded to more than nine digits.
pub(super) fn push_padded(value: u64, width: usize, out: &mut String) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value);
    out.push_str("000000000".get(..width.saturating_sub(digits.len())).unwrap_or_default());
    out.push_str(digits);
}

pub(super) fn push_float4(value: f32, out: &mut String) -> Shape {
    if value.is_finite() {
        push_scientific(format_args!("{value:e}"), FLOAT4_FIXED_BELOW, out)
    } else {
        push_special(value.into(), out)
    }
}

pub(super) fn push_float8(value: f64, out: &mut String) -> Shape {
    if value.is_finite() {
        push_scientific(format_args!("{value:e}"), FLOAT8_FIXED_BELOW, out)
    } else {
        push_special(value, out)
    }
}

fn push_special(value: f64, out: &mut String) -> Shape {
    out.push_str(if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    });
    Shape::Quoted
}

/// A stack buffer for the longest shortest form of a double, `-2.2250738585072014e-308`.
#[derive(Default)]
struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl std::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Formats the shortest digits that round-trip as PostgreSQL does.
fn push_scientific(scientific: std::fmt::Arguments<'_>, fixed_below: i32, out: &mut String) -> Shape {
    let mut digits = Digits::default();
    let _ = digits.write_fmt(scientific);
    let text = std::str::from_utf8(&digits.bytes[..digits.length]).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mantissa = mantissa.strip_prefix('-').map_or(mantissa, |rest| {
        out.push('-');
        rest
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !(-4..fixed_below).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let point = if fraction.is_empty() { "" } else { "." };
        let _ = write!(out, "{whole}{point}{fraction}e{sign}{:02}", exponent.unsigned_abs());
    } else if exponent < 0 {
        out.push_str("0.");
        for _ in 1..exponent.unsigned_abs() {
            out.push('0');
        }
        out.push_str(whole);
        out.push_str(fraction);
    } else {
        let shift = exponent.unsigned_abs() as usize;
        out.push_str(whole);
        if let Some((integral, rest)) = fraction.split_at_checked(shift) {
            out.push_str(integral);
            if !rest.is_empty() {
                out.push('.');
                out.push_str(rest);
            }
        } else {
            out.push_str(fraction);
            for _ in fraction.len()..shift {
                out.push('0');
            }
        }
    }
    Shape::Bare
}

/// Appends a `numeric`: digits of base 10,000, the weight of the first, a sign, and the number of decimals to show.
pub(super) fn push_numeric(bytes: &[u8], out: &mut String) -> Result<Shape, Unreadable> {
    let (header, digits) = bytes.split_at_checked(8).ok_or(Unreadable)?;
    let part = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
    let (count, weight, sign, scale) = (part(0), part(1).cast_signed(), part(2), part(3));
    if digits.len() != 2 * usize::from(count) {
        return Err(Unreadable);
    }
    match sign {
        NUMERIC_POSITIVE => {}
        NUMERIC_NEGATIVE => out.push('-'),
        NUMERIC_NAN | NUMERIC_INFINITY | NUMERIC_MINUS_INFINITY => {
            out.push_str(match sign {
                NUMERIC_NAN => "NaN",
                NUMERIC_INFINITY => "Infinity",
                _ => "-Infinity",
            });
            return Ok(Shape::Quoted);
        }
        _ => return Err(Unreadable),
    }
    let digit = |position: i32| -> Result<u16, Unreadable> {
        let bytes = usize::try_from(position).ok().and_then(|at| digits.get(2 * at..2 * at + 2));
        let Some(bytes) = bytes else { return Ok(0) };
        let digit = u16::from_be_bytes(fixed(bytes)?);
        if digit < 10_000 { Ok(digit) } else { Err(Unreadable) }
    };
    let weight = i32::from(weight);
    if weight < 0 {
        out.push('0');
    } else {
        push_int(digit(0)?.into(), out);
        for position in 1..=weight {
            push_padded(digit(position)?.into(), GROUP, out);
        }
    }
    let mut decimals = usize::from(scale);
    if decimals > 0 {
        out.push('.');
    }
    let mut position = weight + 1;
    while decimals > 0 {
        let start = out.len();
        push_padded(digit(position)?.into(), GROUP, out);
        out.truncate(start + decimals.min(GROUP));
        decimals = decimals.saturating_sub(GROUP);
        position += 1;
    }
    Ok(Shape::Bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(parts: &[u16]) -> Result<String, Unreadable> {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
        let mut out = String::new();
        push_numeric(&bytes, &mut out).map(|_| out)
    }

    #[test]
    fn numeric_keeps_its_scale_and_its_leading_and_trailing_zeros() {
        assert_eq!(numeric(&[2, 0, 0, 2, 1, 5000]).unwrap(), "1.50");
        assert_eq!(numeric(&[1, 2, 0x4000, 0, 12]).unwrap(), "-1200000000");
        assert_eq!(numeric(&[1, 0xFFFE, 0, 9, 1]).unwrap(), "0.000000010");
        assert_eq!(numeric(&[0, 0, 0, 3]).unwrap(), "0.000");
        assert_eq!(numeric(&[0, 0, 0xD000, 0]).unwrap(), "Infinity");
    }

    #[test]
    fn a_malformed_numeric_is_unreadable() {
        assert_eq!(numeric(&[1, 0, 0, 0, 10_000]), Err(Unreadable));
        assert_eq!(numeric(&[2, 0, 0, 0, 1]), Err(Unreadable));
        assert_eq!(numeric(&[0, 0, 0x1234, 0]), Err(Unreadable));
        assert_eq!(push_numeric(&[0; 7], &mut String::new()), Err(Unreadable));
    }

    #[test]
    fn floats_are_laid_out_as_postgresql_does() {
        let text = |value: f64| {
            let mut out = String::new();
            push_float8(value, &mut out);
            out
        };
        assert_eq!(text(-0.0), "-0");
        assert_eq!(text(1e15), "1e+15");
        assert_eq!(text(123_456_789_012_345.6), "123456789012345.6");
        assert_eq!(text(0.0001), "0.0001");
        assert_eq!(text(-0.000_012_5), "-1.25e-05");
        assert_eq!(text(1200.0), "1200");
        assert_eq!(text(f64::MIN_POSITIVE), "2.2250738585072014e-308");
        assert_eq!(text(f64::NEG_INFINITY), "-Infinity");
    }
}

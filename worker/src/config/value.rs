//! Reads values of the environment: numbers, times and sizes with their units, each within its bounds.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use super::variable::{Bounds, Variable};

/// Reads variables and collects their mistakes, so that one start names all of them.
pub(super) struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { get, problems: Vec::new() }
    }

    /// Returns the text that is set. An empty text counts as not set: shells and compose files create them.
    pub(super) fn text(&self, variable: &Variable) -> Option<String> {
        (self.get)(variable.name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Returns a whole number, or `fallback` if there is neither a value nor a default.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, variable: &Variable, fallback: T) -> T {
        let Bounds::Number(least, most) = variable.bounds else { return fallback };
        let parse = |text: &str| text.parse().ok();
        let read = self.parse(variable, least..=most, "a whole number", parse, |n| n.to_string());
        read.and_then(|number| T::try_from(number).ok()).unwrap_or(fallback)
    }

    /// Returns a price. The variable has a default.
    pub(super) fn price(&mut self, variable: &Variable) -> f64 {
        let text = self.text(variable).unwrap_or_else(|| variable.default.to_owned());
        match text.parse::<f64>() {
            Ok(price) if price.is_finite() && price >= 0.0 => price,
            _ => {
                let (name, default) = (variable.name, variable.default);
                self.problems.push(format!("{name} is `{text}`: set a price such as {default}"));
                0.0
            }
        }
    }

    /// Returns an IP address with a port.
    pub(super) fn address(&mut self, variable: &Variable) -> Option<SocketAddr> {
        let text = self.text(variable)?;
        let address = text.parse().ok();
        if address.is_none() {
            let (name, example) = (variable.name, variable.example);
            self.problems
                .push(format!("{name} is `{text}`: set an IP address and a port, such as {example}"));
        }
        address
    }

    /// Returns a time such as `250ms`, `30s`, `5m`, `24h`. The variable has a default.
    pub(super) fn time(&mut self, variable: &Variable) -> Duration {
        let Bounds::Time(least, most) = variable.bounds else { return Duration::ZERO };
        let kind = "a time such as 250ms, 30s, 5m or 24h";
        self.parse(variable, least..=most, kind, parse_time, show_time).unwrap_or(least)
    }

    /// Returns a size in bytes such as `512KiB`, `16MiB`, `20GiB`. The variable has a default.
    pub(super) fn size(&mut self, variable: &Variable) -> u64 {
        let Bounds::Size(least, most) = variable.bounds else { return 0 };
        let kind = "a size such as 512KiB, 16MiB or 20GiB";
        self.parse(variable, least..=most, kind, parse_size, show_size).unwrap_or(least)
    }

    /// Returns the value that is set, else the default, else `None`.
    fn parse<T: PartialOrd + Copy>(
        &mut self,
        variable: &Variable,
        bounds: RangeInclusive<T>,
        kind: &str,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(T) -> String,
    ) -> Option<T> {
        let name = variable.name;
        let default = parse(variable.default);
        let Some(text) = self.text(variable) else { return default };
        let (least, most) = (show(*bounds.start()), show(*bounds.end()));
        match parse(&text) {
            Some(value) if bounds.contains(&value) => return Some(value),
            Some(_) => self.problems.push(format!("{name} is {text}: set it between {least} and {most}")),
            None => self.problems.push(format!("{name} is `{text}`: set {kind}, from {least} to {most}")),
        }
        default
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit.trim()))
}

pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        // Only zero needs no unit.
        "" if number == 0 => 1,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Formats a time in the largest unit that keeps it whole.
pub(crate) fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.subsec_millis() != 0 {
        return format!("{}ms", time.as_millis());
    }
    match seconds {
        0 => "0s".to_owned(),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Formats a size in the largest unit that keeps it whole.
pub(crate) fn show_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_with_their_unit_and_never_without() {
        assert_eq!(parse_time("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_time("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(parse_time("0"), Some(Duration::ZERO));
        assert_eq!(parse_time("30"), None);
        assert_eq!(parse_time("-1s"), None);
        assert_eq!(parse_time("99999999999999999h"), None);
        assert_eq!(parse_size("16MiB"), Some(16 << 20));
        assert_eq!(parse_size("1024"), Some(1024));
        assert_eq!(parse_size("1.5GiB"), None);
        assert_eq!(parse_size("99999999TiB"), None);
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["0s", "250ms", "90s", "5m", "24h"] {
            assert_eq!(parse_time(text).map(show_time).as_deref(), Some(text));
        }
        for text in ["0B", "1000B", "512KiB", "16MiB", "20GiB", "2TiB"] {
            assert_eq!(parse_size(text).map(show_size).as_deref(), Some(text));
        }
    }
}

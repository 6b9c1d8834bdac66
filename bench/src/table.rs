//! The table: smallest, median and largest of the repeats, and the ratio to the floor.

use std::fmt;

use crate::contender::Cost;

/// Contenders and the costs of their runs, in the order of their first run.
pub(crate) struct Table {
    title: String,
    /// The contender that the others are compared with, repeat by repeat; empty for none.
    floor: String,
    rows: Vec<(String, Vec<Cost>)>,
    absent: Vec<String>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: &str, floor: &str) -> Self {
        Self {
            title: title.to_owned(),
            floor: floor.to_owned(),
            rows: Vec::new(),
            absent: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn add(&mut self, name: &str, cost: Cost) {
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, costs)) => costs.push(cost),
            None => self.rows.push((name.to_owned(), vec![cost])),
        }
    }

    /// Records that a contender is not installed.
    pub(crate) fn absent(&mut self, name: &str) {
        if !self.absent.iter().any(|absent| absent == name) {
            self.absent.push(name.to_owned());
        }
    }

    pub(crate) fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    /// Returns whether its first run took longer than this.
    pub(crate) fn is_slow(&self, name: &str, seconds: f64) -> bool {
        self.costs(name).first().is_some_and(|cost| cost.wall > seconds)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|(name, _)| name.as_str())
    }

    fn costs(&self, name: &str) -> &[Cost] {
        self.rows.iter().find(|(known, _)| known == name).map_or(&[], |(_, costs)| costs)
    }

    /// Returns the median of a figure of a contender's runs.
    pub(crate) fn median(&self, name: &str, figure: impl Fn(&Cost) -> f64) -> Option<f64> {
        Spread::of(self.costs(name).iter().map(figure)).map(|spread| spread.median)
    }

    /// Returns the median of the ratios of a figure between two contenders, taken repeat by repeat.
    pub(crate) fn ratio(&self, name: &str, to: &str, figure: impl Fn(&Cost) -> f64) -> Option<f64> {
        let pairs = self.costs(name).iter().zip(self.costs(to));
        Spread::of(pairs.map(|(cost, to)| figure(cost) / figure(to))).map(|spread| spread.median)
    }

    /// Returns the peak memory of a contender in any run, in MiB.
    pub(crate) fn peak(&self, name: &str) -> Option<u64> {
        self.costs(name).iter().map(|cost| cost.peak).max()
    }

    /// Returns the bytes that a contender made.
    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        self.costs(name).first().map(|cost| cost.did.bytes)
    }

    /// Returns the cost of a contender's last run.
    pub(crate) fn last(&self, name: &str) -> Option<&Cost> {
        self.costs(name).last()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n{}", self.title)?;
        writeln!(
            out,
            "  {:<40} {:^23} {:>7}  {:^20} {:>5} {:>8}",
            "", "wall seconds", "ratio", "CPU seconds", "peak", "archive"
        )?;
        writeln!(
            out,
            "  {:<40} {:>7} {:>7} {:>7} {:>7}  {:>6} {:>6} {:>6} {:>5} {:>8}",
            "", "min", "median", "max", "median", "own", "pg", "store", "MiB", "MB"
        )?;
        for (name, costs) in &self.rows {
            let Some(wall) = Spread::of(costs.iter().map(|cost| cost.wall)) else { continue };
            let ratio = self.ratio(name, &self.floor, |cost| cost.wall).map(|ratio| format!("{ratio:.2}"));
            let median = |figure: fn(&Cost) -> f64| self.median(name, figure).unwrap_or_default();
            #[expect(clippy::cast_precision_loss, reason = "megabytes")]
            let archive = match self.bytes(name).unwrap_or(0) {
                0 => String::new(),
                bytes => format!("{:.1}", bytes as f64 / 1e6),
            };
            writeln!(
                out,
                "  {name:<40} {:>7.2} {:>7.2} {:>7.2} {:>7}  {:>6.2} {:>6.2} {:>6.2} {:>5} {archive:>8}",
                wall.min,
                wall.median,
                wall.max,
                ratio.unwrap_or_default(),
                median(|cost| cost.own),
                median(|cost| cost.postgres),
                median(|cost| cost.store),
                self.peak(name).unwrap_or(0),
            )?;
        }
        for name in &self.absent {
            writeln!(out, "  {name:<40} not installed")?;
        }
        for note in &self.notes {
            writeln!(out, "  {note}")?;
        }
        Ok(())
    }
}

struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<_> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = match figures.len() {
            0 => return None,
            even if even % 2 == 0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Some(Self { min: *figures.first()?, median, max: *figures.last()? })
    }
}

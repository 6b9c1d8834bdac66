//! The plot: the median seconds of each contender as a bar.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;

use crate::table::Table;

const WIDTH: u32 = 860;
const ROW_HEIGHT: u32 = 24;
/// Room for the names.
const NAMES: u32 = 290;

/// Draws the table as an SVG.
pub(crate) fn write(table: &Table, path: &Path) -> anyhow::Result<()> {
    let bars: Vec<(&str, f64)> = table
        .names()
        .filter(|name| !name.starts_with("deflate"))
        .filter_map(|name| Some((name, table.median(name, |cost| cost.wall)?)))
        .collect();
    draw(table.title(), &bars, path)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("failed to draw `{}`", path.display()))
}

fn draw(title: &str, bars: &[(&str, f64)], path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let count = u32::try_from(bars.len())?;
    let longest = bars.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
    let area = SVGBackend::new(path, (WIDTH, (count + 2) * ROW_HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = ("sans-serif", 14).into_font();
    area.draw(&Text::new(format!("{title}: seconds"), (8, 8), text.clone()))?;
    for (index, (name, seconds)) in bars.iter().enumerate() {
        let top = i32::try_from((u32::try_from(index)? + 1) * ROW_HEIGHT + ROW_HEIGHT / 2)?;
        let left = i32::try_from(NAMES)?;
        #[expect(clippy::cast_possible_truncation, reason = "pixels")]
        let length = (seconds / longest * f64::from(WIDTH - NAMES - 70)).round() as i32;
        let color = if name.contains("COPY, ") && !name.contains("Python") {
            RGBColor(150, 150, 150)
        } else if name.contains("level") {
            RGBColor(46, 110, 180)
        } else {
            RGBColor(217, 140, 60)
        };
        area.draw(&Text::new((*name).to_owned(), (8, top + 2), text.clone()))?;
        area.draw(&Rectangle::new([(left, top), (left + length.max(1), top + 16)], color.filled()))?;
        area.draw(&Text::new(format!("{seconds:.2}"), (left + length + 6, top + 2), text.clone()))?;
    }
    area.present()?;
    Ok(())
}

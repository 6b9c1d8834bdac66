//! The output at the end of the demo, for a new user.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
};

use anyhow::Context as _;
use sqlx::PgConnection;

use super::{by_day::ByDay, download::Archive, shown};
use crate::terminal::{grouped, say};

/// The file of the archive whose first lines are shown.
const SHOWN_FILE: &str = "csv/projects.csv";

/// Characters of a line that fit on most screens.
const SHOWN_WIDTH: usize = 110;

/// Prints the figures of the night and a piece of the archive.
pub(super) async fn print(
    database: &mut PgConnection,
    archive: &Archive,
    seconds: f64,
    by_day: &ByDay,
) -> anyhow::Result<()> {
    let (requests, rows, bytes): (i64, i64, i64) = sqlx::query_as(
        "select count(*), coalesce(sum(c.rows), 0)::bigint, coalesce(sum(r.archive_bytes), 0)::bigint \
         from public.data_export_requests r \
         cross join lateral (select sum(value::bigint) as rows from jsonb_each_text(r.row_counts)) c \
         where r.status = 'ready' and r.start = 'night'",
    )
    .fetch_one(database)
    .await
    .context("failed to add the night up")?;
    say("");
    say(format_args!("  requests {requests} fulfilled"));
    say(format_args!("  rows     {}", grouped(rows)));
    say(format_args!("  bytes    {} in {requests} archives", grouped(bytes)));
    say(format_args!(
        "  seconds  {seconds:.1} for the night, {:.1} by day from the click to the file",
        by_day.seconds
    ));
    say(format_args!("  archive  {} (verified)", shown(&archive.path)));
    say("           unpack it, and open index.html in a browser");
    say(format_args!("  files    {}", names(archive)?.join(", ")));
    say(format_args!(
        "  formats  export.xlsx for a spreadsheet, and a folder of Parquet files for data analysis, are in"
    ));
    say(format_args!("           {}", shown(&by_day.archive)));
    say(format_args!("\nThe first lines of {SHOWN_FILE}:"));
    for line in first_lines(archive)? {
        say(format_args!("  {line}"));
    }
    Ok(())
}

/// Returns the names of the files, those of one folder and kind as one.
fn names(archive: &Archive) -> anyhow::Result<Vec<String>> {
    let file =
        File::open(&archive.path).with_context(|| format!("failed to open `{}`", archive.path.display()))?;
    let zip = zip::ZipArchive::new(file).context("failed to read the archive")?;
    let mut names: Vec<String> = Vec::new();
    for name in zip.file_names() {
        let name = name.context("a file of the archive has no readable name")?;
        let name = match name.split_once('/') {
            Some((folder @ ("json" | "csv"), _)) => format!("{folder}/*.{folder}"),
            _ => name.into_owned(),
        };
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn first_lines(archive: &Archive) -> anyhow::Result<Vec<String>> {
    let file =
        File::open(&archive.path).with_context(|| format!("failed to open `{}`", archive.path.display()))?;
    let mut zip = zip::ZipArchive::new(file).context("failed to read the archive")?;
    let entry =
        zip.by_name(SHOWN_FILE).with_context(|| format!("failed to find `{SHOWN_FILE}` in the archive"))?;
    let lines = BufReader::new(entry).lines().take(4).collect::<Result<Vec<_>, _>>();
    let lines = lines.with_context(|| format!("failed to read `{SHOWN_FILE}`"))?;
    Ok(lines.iter().map(|line| cut(line.trim_start_matches('\u{feff}').trim_end())).collect())
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(SHOWN_WIDTH) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped_and_long_lines_cut() {
        assert_eq!(
            ["1", "1,000", "123,456,789", "-123"],
            [1, 1_000, 123_456_789, -123].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(SHOWN_WIDTH + 1)).chars().count(), SHOWN_WIDTH + 4);
    }
}

//! The files that explain an archive: to the person who opens it, and to other programs.

mod data_package;
mod import;
mod page;
mod preview;

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};

pub(super) use self::{data_package::data_package, import::import, page::page, preview::rows as first_rows};
use super::{
    contents::{Contents, EntityContents},
    manifest::{File, FileSet, Missing},
    workbook,
};
use crate::{
    scope::Scope,
    serialise::{
        Column, Treatment,
        formats::{FormatName, write_text_record},
        parts::{Parts, Use},
    },
};

const README: &str = include_str!("readme.txt");

/// For archives with a column of pseudonyms.
const PSEUDONYMS: &str = "\
Ids of other people are replaced by a pseudonym such as member-0123456789abcdef in
these columns:

{columns}

The same person has the same pseudonym in all files of this archive, and another one
in every other archive. Your own id is left as it is.

";

/// For archives with a column that may hold half characters.
const HALVES: &str = "\
- A JSON value may have held half a character, \\ud800 to \\udfff, which strict readers
  refuse. It is written as text, \\\\ud800, by doubling the backslashes before it; where
  that text was there before, its backslashes are doubled too. To get the original
  back, remove every second of the backslashes (written \\\\) before such letters; the
  last one of an odd number is the half's own, and is written \\. manifest.json counts
  these cells, as \"cells_with_escaped_halves\".
";

/// For archives whose catalogue says more than what an entity is.
const FACTS: &str = "\
WHAT IT IS USED FOR

{facts}


";

/// For archives that are not the whole.
const PART: &str = "
Only this was asked for:

{part}
";

/// How to open the workbook.
const OPEN_WORKBOOK: &str = "\
The easiest file is export.xlsx: open it
in Excel, LibreOffice, Numbers or Google Sheets. Long numbers and texts stay as they are.

";

/// What the workbook is.
const WORKBOOK: &str =
    "all data sets as one workbook, a sheet for each. Its first sheet says what a workbook cannot hold.";

/// For archives with Parquet files.
const PARQUET: &str = "\
- The parquet files have typed columns, each of which may be null. Columns without a type
  of Parquet, such as uuid, json and lists, are texts as in JSON. What a type cannot hold is
  null there: dates and times before year 1, after 9999 or without end, the time 24:00,
  decimals without digits, and values over 8 MiB, alone or with their row. manifest.json counts these values, as
  \"nulls_in_parquet\"; the json files have them.
";

/// The name of the list of files that are missing.
pub(super) const MISSING: &str = "files/MISSING.txt";

/// Returns `README.txt`, with line ends that every editor understands.
pub(super) fn readme(contents: &Contents) -> Vec<u8> {
    let mut files = Vec::new();
    if contents.notice.is_some() {
        files.push("NOTICE.txt: the legal notice of the service.".to_owned());
    }
    let has_parquet = contents.formats.has(FormatName::Parquet);
    for EntityContents { name, about, .. } in &contents.entities {
        files.push(if has_parquet {
            format!("csv/{name}.csv, json/{name}.json and parquet/{name}.parquet: {about}")
        } else {
            format!("csv/{name}.csv and json/{name}.json: {about}")
        });
    }
    if contents.formats.has(FormatName::Xlsx) {
        files.push(format!("{}: {WORKBOOK}", workbook::NAME));
    }
    for (name, about) in &contents.file_sets {
        files.push(format!(
            "files/{name}: {about} {MISSING}, if it is there, lists what could not be included."
        ));
    }
    let columns = contents.entities.iter().flat_map(|entity| {
        let omitted = entity
            .omitted
            .iter()
            .map(|omitted| format!("{}, column {}: {}", entity.name, omitted.name, omitted.why));
        omitted.chain(entity.columns.iter().filter_map(|column| left_out_parts(&entity.name, column)))
    });
    let tables = contents.left_out.iter().map(|table| format!("{}: {}", table.relation, table.why));
    let mut left_out: Vec<String> = tables.chain(columns).collect();
    if left_out.is_empty() {
        left_out.push("Nothing.".to_owned());
    }
    let pseudonyms = contents.entities.iter().flat_map(|entity| {
        let columns = entity.columns.iter();
        columns.filter_map(|column| {
            let place = match &column.treatment {
                Treatment::Export => return None,
                Treatment::Pseudonym => String::new(),
                Treatment::Parts(parts) => format!(" at {}", paths(parts, Use::Pseudonym)?),
            };
            Some(format!("{}, column {}{place}", entity.name, column.name))
        })
    });
    let pseudonyms: Vec<String> = pseudonyms.collect();
    let pseudonyms = match pseudonyms.as_slice() {
        [] => String::new(),
        columns => PSEUDONYMS.replace("{columns}", &list(columns)),
    };
    let facts = contents.entities.iter().flat_map(|entity| {
        entity.facts.known().map(|(words, text)| format!("{}. {words}: {text}", entity.name))
    });
    let facts: Vec<String> = facts.collect();
    let facts = if facts.is_empty() { String::new() } else { FACTS.replace("{facts}", &list(&facts)) };
    let mut columns = contents.entities.iter().flat_map(|entity| &entity.columns);
    let halves = if columns.any(|column| column.may_have_halves()) { HALVES } else { "" };
    let has_workbook = contents.formats.has(FormatName::Xlsx);
    let open = if has_workbook { OPEN_WORKBOOK } else { "" };
    let parquet = if has_parquet { PARQUET } else { "" };
    let (title, what) = match contents.scope {
        Some(_) => ("THIS IS A PART OF YOUR DATA", "a copy of a part"),
        None => ("YOUR DATA EXPORT", "a copy"),
    };
    let part = asked_part(contents).map(|asked| PART.replace("{part}", &list(&asked)));
    let text = README
        .replace("{title}", title)
        .replace("{copies}", &copies(has_workbook, has_parquet))
        .replace("{open}", open)
        .replace("{what}", what)
        .replace("{part}", &part.unwrap_or_default())
        .replace("{pseudonyms}\n", &pseudonyms)
        .replace("{facts}\n", &facts)
        .replace("{halves}\n", halves)
        .replace("{parquet}\n", parquet)
        .replace("{snapshot_at}", &moment(contents.snapshot_at))
        .replace("{requested_at}", &moment(contents.requested_at))
        .replace("{request_id}", &contents.request_id.to_string())
        .replace("{files}", &list(&files))
        .replace("{left_out}", &list(&left_out));
    text.replace('\n', "\r\n").into_bytes()
}

/// Returns the sentence that lists the copies of each data set.
fn copies(has_workbook: bool, has_parquet: bool) -> String {
    let times = ["twice", "three times", "four times"][usize::from(has_workbook) + usize::from(has_parquet)];
    let csv = if has_workbook { "in the workbook, as CSV" } else { "as CSV, for spreadsheets" };
    let json = if has_parquet { "as\nParquet, for data analysis, and as JSON" } else { "and as\nJSON" };
    format!("Each data set comes {times} with the same contents: {csv}, {json}, for programs.")
}

/// Describes the part that was asked for; `None` if it is the whole.
fn asked_part(contents: &Contents) -> Option<Vec<String>> {
    let timed =
        contents.entities.iter().filter_map(|entity| Some((&entity.name, entity.options.time.as_ref()?)));
    contents.scope.as_ref().map(|scope| asked(scope, timed))
}

/// Describes the part that was asked for, a sentence for each restriction.
///
/// `timed` has the entities with a time, and its column.
pub(super) fn asked<'c>(scope: &Scope, timed: impl Iterator<Item = (&'c String, &'c String)>) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(entities) = &scope.entities {
        said.push(format!("These data sets: {}.", entities.join(", ")));
    }
    let bounds = [("at or after", scope.since), ("before", scope.until)];
    let bounds = bounds.into_iter().filter_map(|(word, at)| Some(format!("{word} {}", moment(at?))));
    let bounds = bounds.collect::<Vec<_>>().join(" and ");
    for (entity, time) in timed.filter(|_| !bounds.is_empty()) {
        said.push(format!("Of {entity}, only rows whose {time} is {bounds} (UTC)."));
    }
    for (entity, columns) in &scope.filters {
        for (column, values) in columns {
            let values: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
            said.push(format!("Of {entity}, only rows whose {column} is {}.", values.join(" or ")));
        }
    }
    said
}

/// Returns `data-dictionary.csv`: one line for each column, also for those that are left out.
pub(super) fn dictionary(contents: &Contents) -> io::Result<Vec<u8>> {
    let mut out = "\u{feff}".as_bytes().to_vec();
    write_text_record(&["entity", "column", "type", "treatment", "meaning"], &mut out)?;
    for entity in &contents.entities {
        for column in &entity.columns {
            let treatment = match &column.treatment {
                Treatment::Export => "exported".to_owned(),
                Treatment::Pseudonym => "exported; ids of other people replaced by a pseudonym".to_owned(),
                Treatment::Parts(parts) => format!("exported{parts}"),
            };
            let fields = [entity.name.as_str(), &column.name, &column.pg_type, &treatment, &column.about];
            write_text_record(&fields, &mut out)?;
        }
        for omitted in &entity.omitted {
            let fields = [entity.name.as_str(), &omitted.name, &omitted.pg_type, "left out", &omitted.why];
            write_text_record(&fields, &mut out)?;
        }
    }
    Ok(out)
}

/// Returns the list of files that are not in the archive, if there are any.
pub(super) fn missing(sets: &[FileSet]) -> Option<Vec<u8>> {
    let mut text = String::new();
    for set in sets {
        for file in &set.missing {
            let why = match file.why {
                Missing::NotFound => "it no longer exists",
                Missing::TooLarge => "it is too large for an export",
                Missing::Elsewhere => "it is kept by another service",
            };
            text.push_str(&format!("{}, row {}, {}: {why}\n", set.entity, one_line(&file.row), file.name));
        }
        if set.too_many > 0 {
            text.push_str(&format!(
                "{}: {} more files, because an export holds no more\n",
                set.entity, set.too_many
            ));
        }
    }
    let head = "FILES THAT COULD NOT BE INCLUDED\n\nAsk the service for them, and name this list.\n\n";
    (!text.is_empty()).then(|| format!("{head}{text}").replace('\n', "\r\n").into_bytes())
}

/// The name of the list of digests.
pub const SUMS: &str = "SHA256SUMS";

/// Returns the list of digests, as `sha256sum --check` reads it.
pub fn sums(files: &[File]) -> Vec<u8> {
    files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect::<String>().into_bytes()
}

/// Says which parts of a column's values are left out, and why.
fn left_out_parts(entity: &str, column: &Column) -> Option<String> {
    let Treatment::Parts(parts) = &column.treatment else { return None };
    let paths = paths(parts, Use::Omit)?;
    Some(format!("{entity}, column {}, at {paths}: {}", column.name, column.why))
}

fn paths(parts: &Parts, use_: Use) -> Option<String> {
    let paths: Vec<_> = parts.with(use_).collect();
    (!paths.is_empty()).then(|| paths.join(", "))
}

pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("- {}", one_line(item))).collect::<Vec<_>>().join("\n")
}

/// Joins the lines of a text, because a catalogue text may have several.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

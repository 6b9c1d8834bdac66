//! `README.txt` and `data-dictionary.csv`, the files for the person who opens the archive.

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};

use super::contents::Contents;
use crate::serialise::{Treatment, write_text_record};

const README: &str = include_str!("readme.txt");

/// Gives `README.txt`, with the line ends that every system's editor understands.
pub(super) fn readme(contents: &Contents) -> Vec<u8> {
    let mut files = Vec::new();
    if contents.notice.is_some() {
        files.push("NOTICE.txt: the legal notice of the service.".to_owned());
    }
    for entity in &contents.entities {
        files.push(format!("csv/{0}.csv and json/{0}.json: {1}", entity.name, entity.about));
    }
    let columns = contents.entities.iter().flat_map(|entity| {
        entity
            .omitted
            .iter()
            .map(|omitted| format!("{}, column {}: {}", entity.name, omitted.name, omitted.why))
    });
    let tables = contents.left_out.iter().map(|table| format!("{}: {}", table.relation, table.why));
    let mut left_out: Vec<String> = tables.chain(columns).collect();
    if left_out.is_empty() {
        left_out.push("Nothing.".to_owned());
    }
    let text = README
        .replace("{snapshot_at}", &moment(contents.snapshot_at))
        .replace("{requested_at}", &moment(contents.requested_at))
        .replace("{request_id}", &contents.request_id.to_string())
        .replace("{files}", &list(&files))
        .replace("{left_out}", &list(&left_out));
    text.replace('\n', "\r\n").into_bytes()
}

/// Gives `data-dictionary.csv`: one line for each column, those that are left out too.
pub(super) fn dictionary(contents: &Contents) -> io::Result<Vec<u8>> {
    let mut out = "\u{feff}".as_bytes().to_vec();
    write_text_record(&["entity", "column", "type", "treatment", "meaning"], &mut out)?;
    for entity in &contents.entities {
        for column in &entity.columns {
            let treatment = match column.column.treatment {
                Treatment::Export => "exported",
                Treatment::Pseudonym => "exported; ids of other people replaced by a pseudonym",
            };
            let fields =
                [entity.name.as_str(), &column.column.name, &column.pg_type, treatment, &column.about];
            write_text_record(&fields, &mut out)?;
        }
        for omitted in &entity.omitted {
            let fields = [entity.name.as_str(), &omitted.name, &omitted.pg_type, "left out", &omitted.why];
            write_text_record(&fields, &mut out)?;
        }
    }
    Ok(out)
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| format!("- {}", one_line(item))).collect::<Vec<_>>().join("\n")
}

/// Catalogue texts may be written over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! `index.html`: the whole archive for a person, in a browser, without a network.
//!
//! The template and its script are in `archive/page`. Whatever a user or platform wrote is escaped by the template, and
//! the page allows no script and no style but its own.

use std::{borrow::Cow, fmt::Write as _, sync::LazyLock};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use minijinja::{
    Environment, HtmlEscape, UndefinedBehavior,
    value::{Serde, Value},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{asked_part, moment, preview::Shown};
use crate::{
    archive::{
        contents::Contents,
        manifest::{Column, LeftOut, Manifest, Omitted, Treatment},
    },
    serialise::formats::FormatName,
    user_id::UserId,
};

const TEMPLATE: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/page.css");
const SCRIPT: &str = include_str!("../page/page.js");

/// A table with more columns than this is printed with the name of the column at each value.
const NARROW_COLUMNS: usize = 6;

/// A policy that allows the style and the script of the page, and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src 'none'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A mistake in it would make `get_template` fail.
    let _ = environment.add_template("index.html", TEMPLATE);
    environment
});

/// The HTML of a cell without a value, of an empty text, and of the end of a cut value. The template has the same for the
/// account.
const NO_VALUE: &str =
    "<span class=\"null\"><span aria-hidden=\"true\">–</span><span class=\"unseen\">no value</span></span>";
const EMPTY_TEXT: &str = "<span class=\"null\"><span aria-hidden=\"true\">“”</span><span class=\"unseen\">empty text</span></span>";
const CUT: &str = "<span class=\"cut\">… (cut here)</span>";

/// What the template gets. A value that is not known is `None`, never missing.
#[derive(Serialize)]
struct Page<'p> {
    style: &'p str,
    script: &'p str,
    csp: &'p str,
    request_id: Uuid,
    user_id: &'p UserId,
    requested_at: String,
    snapshot_at: String,
    /// What was asked for, if this is not the whole.
    part: Vec<String>,
    notice: Option<Cow<'p, str>>,
    account: Vec<CardField<'p>>,
    entities: Vec<PageEntity<'p>>,
    /// The workbook of the same rows, if there is one.
    workbook: Option<&'p str>,
    has_parquet: bool,
    left_out: &'p [LeftOut],
    files: Vec<PageFiles<'p>>,
}

#[derive(Serialize)]
struct CardField<'p> {
    name: &'p str,
    about: &'p str,
    value: Option<String>,
    cut: bool,
}

#[derive(Serialize)]
struct PageEntity<'p> {
    name: &'p str,
    about: &'p str,
    rows: u64,
    columns: Vec<PageColumn<'p>>,
    omitted: &'p [Omitted],
    /// The first rows as HTML, and their number.
    preview: String,
    shown: usize,
    more: bool,
    facts: Vec<Fact<'p>>,
}

#[derive(Serialize)]
struct PageColumn<'p> {
    name: &'p str,
    about: &'p str,
    r#type: &'p str,
    treatment: Option<String>,
}

#[derive(Serialize)]
struct Fact<'p> {
    label: &'p str,
    text: &'p str,
}

#[derive(Serialize)]
struct PageFiles<'p> {
    name: &'p str,
    about: &'p str,
    files: usize,
    missing: u64,
}

impl<'p> PageColumn<'p> {
    fn of(column: &'p Column) -> Self {
        let kind = column.written_type.as_deref().unwrap_or_default();
        Self { name: &column.name, about: &column.about, r#type: kind, treatment: treatment(column) }
    }
}

/// Returns `index.html`. `previews` has the first rows of each entity.
pub(in crate::archive) fn page(
    contents: &Contents,
    manifest: &Manifest,
    mut previews: Vec<Vec<Vec<Shown>>>,
) -> anyhow::Result<Vec<u8>> {
    let card = previews.get_mut(contents.account).map(std::mem::take).unwrap_or_default();
    let columns = manifest.entities.get(contents.account).map_or(&[][..], |account| &account.columns);
    let account = card.into_iter().next().into_iter().flatten().zip(columns);
    let account = account.map(|(Shown { text, cut }, column)| CardField {
        name: &column.name,
        about: &column.about,
        value: text,
        cut,
    });
    let entities = manifest.entities.iter().zip(previews).map(|(entity, preview)| PageEntity {
        name: &entity.name,
        about: &entity.about,
        rows: entity.rows,
        columns: entity.columns.iter().map(PageColumn::of).collect(),
        omitted: &entity.omitted,
        more: preview.len() as u64 != entity.rows,
        shown: preview.len(),
        preview: table_rows(&preview, &entity.columns),
        facts: entity.facts.known().map(|(label, text)| Fact { label, text }).collect(),
    });
    let files = manifest.file_sets.iter().map(|set| PageFiles {
        name: &set.name,
        about: &set.about,
        files: set.files.len(),
        missing: set.missing.len() as u64 + set.too_many,
    });
    let page = Page {
        style: STYLE,
        script: SCRIPT,
        csp: &POLICY,
        request_id: manifest.request_id,
        user_id: &manifest.user_id,
        requested_at: moment(manifest.requested_at),
        snapshot_at: moment(manifest.snapshot_at),
        part: asked_part(contents).unwrap_or_default(),
        workbook: manifest.workbook.as_ref().map(|workbook| workbook.name.as_str()),
        has_parquet: contents.formats.has(FormatName::Parquet),
        notice: contents.notice.as_deref().map(String::from_utf8_lossy),
        account: account.collect(),
        entities: entities.collect(),
        left_out: &manifest.left_out,
        files: files.collect(),
    };
    let template = ENVIRONMENT.get_template("index.html");
    let template = template.context("the template of the archive's page cannot be read")?;
    let page = template.render(Value::from(Serde(page))).context("failed to write the archive's page")?;
    Ok(page.into_bytes())
}

/// Writes rows as HTML. The template would take ten times as long for them as for the rest of the page.
fn table_rows(rows: &[Vec<Shown>], columns: &[Column]) -> String {
    let mut html = String::new();
    for row in rows {
        html.push_str("<tr>");
        for (Shown { text, cut }, column) in row.iter().zip(columns) {
            html.push_str("<td dir=\"auto\"");
            // Writing to a string cannot fail.
            if columns.len() > NARROW_COLUMNS {
                let _ = write!(html, " data-name=\"{}\"", HtmlEscape(&column.name));
            }
            html.push('>');
            match text.as_deref() {
                None => html.push_str(NO_VALUE),
                Some("") => html.push_str(EMPTY_TEXT),
                Some(text) => drop(write!(html, "{}", HtmlEscape(text))),
            }
            html.push_str(if *cut { CUT } else { "" });
            html.push_str("</td>");
        }
        html.push_str("</tr>\n");
    }
    html
}

/// Returns in words what happened to the values of a column; none if they are exported as they are.
fn treatment(column: &Column) -> Option<String> {
    if column.treatment == Treatment::Pseudonym {
        return Some("Ids of other people are replaced by pseudonyms.".to_owned());
    }
    let with = |treatment, words: &str| {
        let paths = column.paths.iter().filter(|(_, what)| **what == treatment);
        let paths: Vec<_> = paths.map(|(path, _)| path.as_str()).collect();
        (!paths.is_empty()).then(|| format!("{words}: {}.", paths.join(", ")))
    };
    let said = [with(Treatment::Omitted, "Left out"), with(Treatment::Pseudonym, "Replaced by pseudonyms")];
    let said: Vec<_> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_holds_it_becomes_no_markup() {
        let column = |name: &str| {
            let column = serde_json::json!({"name": name, "type": "text", "about": "", "treatment": "exported",
                "csv": "value", "neutralised": 0, "cells_over_32767_characters": 0});
            serde_json::from_value::<Column>(column).unwrap()
        };
        let value = |text: &str, cut| Shown { text: Some(text.to_owned()), cut };
        let hostile = value("</td><script>&'\"", true);
        let columns: Vec<_> = (0..7).map(|_| column("\"><b>")).collect();
        let cell = "<td dir=\"auto\" data-name=\"&quot;&gt;&lt;b&gt;\">&lt;&#x2f;td&gt;&lt;script&gt;&amp;&#x27;&quot;";
        assert_eq!(table_rows(&[vec![hostile]], &columns), format!("<tr>{cell}{CUT}</td></tr>\n"));
        let none = Shown { text: None, cut: false };
        assert_eq!(
            table_rows(&[vec![none], vec![value("", false)]], &columns[..1]),
            format!(
                "<tr><td dir=\"auto\">{NO_VALUE}</td></tr>\n<tr><td dir=\"auto\">{EMPTY_TEXT}</td></tr>\n"
            )
        );
    }
}

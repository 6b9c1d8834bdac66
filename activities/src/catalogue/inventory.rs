//! `catalogue document`: what is exported and what is not, for a register of processing activities (GDPR Art. 30).

use std::{fmt::Write as _, io};

use super::{Catalogue, CatalogueColumn, Facts, Use};
use crate::serialise::formats::write_text_record;

impl Catalogue {
    /// Returns the catalogue in words, as Markdown: a section for each entity, then what is left out.
    pub fn markdown(&self) -> String {
        let mut text = "# What an export contains\n".to_owned();
        for entity in &self.entities {
            let _ = writeln!(
                text,
                "\n## {}\n\n{} From `{}`.\n",
                entity.name,
                line(&entity.about),
                entity.relation
            );
            for (words, fact) in entity.facts.known() {
                let _ = writeln!(text, "- {words}: {}", line(fact));
            }
            text.push_str(if entity.facts.known().next().is_some() { "\n" } else { "" });
            text.push_str("| column | type | treatment | meaning |\n|---|---|---|---|\n");
            for column in &entity.columns {
                let cells = [column.name.as_str(), &column.pg_type, treatment(column), meaning(column)];
                let _ = writeln!(text, "| {} |", cells.map(cell).join(" | "));
            }
        }
        if !self.files.is_empty() {
            text.push_str("\n## Files\n\n");
        }
        for set in &self.files {
            let _ = writeln!(text, "- `files/{}`: {}", set.name, line(&set.about));
        }
        if !self.left_out.is_empty() {
            text.push_str("\n## Not exported\n\n| table | why |\n|---|---|\n");
        }
        for left in &self.left_out {
            let _ = writeln!(text, "| {} | {} |", cell(&left.relation), cell(&left.why));
        }
        text
    }

    /// Returns the same as CSV: a line for each column, and for each table that is left out.
    pub fn csv(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let facts = Facts::NAMES.map(|(name, _)| name);
        let head = ["entity", "relation", "column", "type", "treatment", "meaning"];
        write_text_record(&[&head[..], &facts[..]].concat(), &mut out)?;
        for entity in &self.entities {
            let facts = entity.facts.texts().map(Option::unwrap_or_default);
            for column in &entity.columns {
                let fields = [
                    entity.name.as_str(),
                    &entity.relation,
                    &column.name,
                    &column.pg_type,
                    treatment(column),
                    meaning(column),
                ];
                write_text_record(&[&fields[..], &facts[..]].concat(), &mut out)?;
            }
        }
        for left in &self.left_out {
            let fields = ["", &left.relation, "", "", "not exported", &left.why];
            write_text_record(&[&fields[..], &[""; 5]].concat(), &mut out)?;
        }
        Ok(out)
    }
}

fn treatment(column: &CatalogueColumn) -> &'static str {
    match column.use_ {
        Use::Export if column.parts.is_some() => "exported in part",
        Use::Export => "exported",
        Use::Pseudonym => "exported as a pseudonym",
        Use::Omit => "left out",
    }
}

/// Returns what a column holds, or why it is left out.
fn meaning(column: &CatalogueColumn) -> &str {
    let text = if column.use_ == Use::Omit { &column.why } else { &column.about };
    text.as_deref().unwrap_or_default()
}

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes a text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    line(text).replace('|', "\\|")
}

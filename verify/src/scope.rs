//! Checks that the rows of a part are those that were asked for, and that every row to which others refer is with them.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use export_activities::{
    archive::manifest::{Entity, FORMAT_1, Manifest, PartOfData},
    serialise::is_outside_years,
};

use crate::{
    entry::EntryContents,
    json::{JsonRows, Start},
};

/// No value of a filter is longer, in bytes. The rest of a longer cell is not kept.
const LONGEST_VALUE: usize = 8192;

/// More rows to which others refer are not checked: each one takes eight bytes of memory.
const MOST_KEYS: usize = 100_000_000;

/// The keys of the entities to which others refer, as digests: a wrong answer would need a collision of 64 random bits.
#[derive(Default)]
pub(crate) struct Keys {
    state: RandomState,
    of_entities: HashMap<String, Vec<u64>>,
}

/// What must hold of the cells of one column.
pub(crate) struct Wanted<'m> {
    /// The scope whose time span must hold.
    bounds: Option<&'m PartOfData>,
    values: Option<&'m [String]>,
    /// The entity to whose rows the column refers.
    refers_to: Option<&'m str>,
}

/// A cell that is checked: its beginning, and its digest.
pub(crate) struct Taken {
    text: Vec<u8>,
    digest: std::hash::DefaultHasher,
}

impl Taken {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.text.len() <= LONGEST_VALUE {
            self.text.extend_from_slice(bytes);
        }
        self.digest.write(bytes);
    }
}

impl<'m> Wanted<'m> {
    /// Returns what must hold of each column of an entity.
    pub(crate) fn columns(manifest: &'m Manifest, entity: &'m Entity) -> Vec<Self> {
        let scope = manifest.scope.as_ref();
        let filters = scope.and_then(|scope| scope.filters.get(&entity.name));
        let wanted = entity.columns.iter().map(|column| Self {
            bounds: scope.filter(|_| entity.time.as_ref() == Some(&column.name)),
            values: filters.and_then(|filters| filters.get(&column.name)).map(Vec::as_slice),
            refers_to: entity.references.get(&column.name).map(String::as_str),
        });
        wanted.collect()
    }

    /// Returns where the cell is to be put, if anything must hold of it.
    pub(crate) fn take(&self, keys: &Keys) -> Option<Taken> {
        let anything = self.bounds.is_some() || self.values.is_some() || self.refers_to.is_some();
        anything.then(|| keys.taken())
    }

    /// Checks a cell without a value.
    pub(crate) fn check_null(&self) -> anyhow::Result<()> {
        ensure!(self.bounds.is_none(), "a row without a time was not asked for");
        ensure!(self.values.is_none(), "a row without a value here was not asked for");
        Ok(())
    }

    /// Checks a cell.
    pub(crate) fn check(&self, cell: &Taken, keys: &Keys) -> anyhow::Result<()> {
        if let Some(PartOfData { since, until, .. }) = self.bounds {
            let text = std::str::from_utf8(&cell.text).context("the time is not readable")?;
            let at = moment(text)?;
            ensure!(
                since.is_none_or(|since| at >= since),
                "the row is from before the time that was asked for"
            );
            ensure!(
                until.is_none_or(|until| at < until),
                "the row is from after the time that was asked for"
            );
        }
        if let Some(values) = self.values {
            let is_one = values.iter().any(|value| value.as_bytes() == cell.text);
            ensure!(is_one, "the value is none of those that were asked for");
        }
        if let Some(entity) = self.refers_to {
            let known = keys.of_entities.get(entity).map(Vec::as_slice).unwrap_or_default();
            let there = known.binary_search(&cell.digest.finish()).is_ok();
            ensure!(there, "it refers to a row that is not in `json/{entity}.json`");
        }
        Ok(())
    }
}

/// Returns the moment that a date or a timestamp of an archive stands for. Those that are outside of what can be asked for
/// are before or after all that can.
fn moment(text: &str) -> anyhow::Result<DateTime<Utc>> {
    let has_year = text.starts_with(|first: char| first.is_ascii_digit());
    if text == "-infinity" || (has_year && text.ends_with("BC")) {
        return Ok(DateTime::<Utc>::MIN_UTC);
    }
    if text == "infinity" || (has_year && is_outside_years(text)) {
        return Ok(DateTime::<Utc>::MAX_UTC);
    }
    let date = || text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    let at = text.parse::<DateTime<Utc>>();
    let at = at.or_else(|_| text.parse::<NaiveDateTime>().map(|at| at.and_utc())).or_else(|_| date());
    at.context("the time is not readable")
}

impl Keys {
    fn taken(&self) -> Taken {
        Taken { text: Vec::new(), digest: self.state.build_hasher() }
    }

    /// Reads the keys of an entity from its JSON file.
    pub(crate) fn read(&mut self, entity: &Entity, contents: EntryContents<'_, '_>) -> anyhow::Result<()> {
        let mut json = JsonRows::begin(contents, entity.columns.iter().map(|column| column.name.as_str()))?;
        let mut keys = Vec::new();
        while json.next_row()? {
            for (index, column) in entity.columns.iter().enumerate() {
                let is_key = entity.primary_key.contains(&column.name);
                let mut cell = self.taken();
                match json.begin_cell(index)? {
                    Start::Null => ensure!(!is_key, "a row has no `{}`, which is its key", column.name),
                    Start::String if is_key => json.string(|character| {
                        cell.push(character.encode_utf8(&mut [0; 4]).as_bytes());
                        Ok(())
                    })?,
                    Start::String | Start::Other => json.token(|byte| {
                        if is_key {
                            cell.push(&[byte]);
                        }
                        Ok(())
                    })?,
                }
                if is_key {
                    ensure!(
                        keys.len() < MOST_KEYS,
                        "it has more than {MOST_KEYS} rows to which others refer"
                    );
                    keys.push(cell.digest.finish());
                }
            }
            json.end_row()?;
        }
        keys.sort_unstable();
        self.of_entities.insert(entity.name.clone(), keys);
        Ok(())
    }
}

/// Returns whether rows of other entities refer to rows of this one.
pub(crate) fn is_referred_to(manifest: &Manifest, entity: &Entity) -> bool {
    manifest.entities.iter().flat_map(|other| other.references.values()).any(|target| *target == entity.name)
}

/// Checks what the manifest alone says of the part: that it is one, and that what others refer to is whole.
pub(crate) fn check_manifest(manifest: &Manifest) -> anyhow::Result<()> {
    let scope = manifest.scope.as_ref();
    ensure!(scope.is_none() || manifest.format != FORMAT_1, "`{FORMAT_1}` has no parts of data");
    ensure!(scope.is_none_or(|part| !part.complete), "the manifest says that a part of the data is complete");
    let is_part = scope.is_some();
    let scope = scope.map(PartOfData::scope).unwrap_or_default();
    ensure!(is_part != scope.is_whole(), "the manifest says that it is a part, and not of what");
    let is_possible = scope.since.zip(scope.until).is_none_or(|(since, until)| since < until);
    ensure!(is_possible, "the time span of the part ends before it begins");
    let names: Vec<&str> = manifest.entities.iter().map(|entity| entity.name.as_str()).collect();
    if let Some(entities) = &scope.entities {
        ensure!(*entities == names, "its entities are not those that the manifest says were asked for");
    }
    let has_bounds = scope.since.is_some() || scope.until.is_some();
    let mut with_time = manifest.entities.iter().filter(|entity| entity.time.is_some()).peekable();
    ensure!(
        with_time.peek().is_some() == has_bounds,
        "the manifest is wrong on whether a time span was asked for"
    );
    let column_of = |entity: &Entity, name: &str| -> anyhow::Result<()> {
        let is_there = entity.columns.iter().any(|column| column.name == name);
        ensure!(is_there, "`{}` has no column `{name}`, by which its rows are checked", entity.name);
        Ok(())
    };
    for entity in with_time {
        column_of(entity, entity.time.as_deref().unwrap_or_default())?;
    }
    let find = |name: &str| manifest.entities.iter().find(|entity| entity.name == name);
    for (name, columns) in &scope.filters {
        let entity =
            find(name).with_context(|| format!("`{name}` has a filter and is not in the archive"))?;
        columns.keys().try_for_each(|column| column_of(entity, column))?;
    }
    for set in &manifest.file_sets {
        ensure!(
            find(&set.entity).is_some(),
            "the files `{}` belong to `{}`, which is not in the archive",
            set.name,
            set.entity
        );
    }
    for entity in &manifest.entities {
        for (column, target) in &entity.references {
            column_of(entity, column)?;
            let target = find(target).with_context(|| {
                format!("`{}` refers to `{target}`, which is not in the archive", entity.name)
            })?;
            let [key] = target.primary_key.as_slice() else {
                anyhow::bail!("`{}` refers to `{}`, which has no single key", entity.name, target.name);
            };
            column_of(target, key)?;
            ensure!(
                !scope.cuts(&target.name, target.time.as_deref()),
                "`{}` refers to `{}`, of which rows are left out",
                entity.name,
                target.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time_is_the_moment_that_it_stands_for() {
        let at = |text: &str| moment(text).unwrap().to_rfc3339();
        assert_eq!(at("2026-11-28T01:02:03.5+00:00"), "2026-11-28T01:02:03.500+00:00");
        assert_eq!(at("2026-11-28T01:02:03"), "2026-11-28T01:02:03+00:00");
        assert_eq!(at("2026-11-28"), "2026-11-28T00:00:00+00:00");
        for text in ["-infinity", "0044-03-15 BC", "0044-03-15T00:00:00+00:00 BC"] {
            assert_eq!(moment(text).unwrap(), DateTime::<Utc>::MIN_UTC, "{text}");
        }
        for text in ["infinity", "10000-01-01", "294276-12-31T23:59:59.999999+00:00"] {
            assert_eq!(moment(text).unwrap(), DateTime::<Utc>::MAX_UTC, "{text}");
        }
        moment("yesterday").unwrap_err();
    }
}

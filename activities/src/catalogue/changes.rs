//! `catalogue diff`: what a new catalogue changes for those who read archives.

use std::fmt;

use serde::Serialize;

use super::{Catalogue, CatalogueColumn, Entity, Use};

/// One change between two catalogues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where: an entity, or `entity.column`.
    pub place: String,
    /// What changed.
    pub what: String,
    /// Whether a program that reads archives of the first catalogue may fail on those of the second, or miss data there.
    pub is_breaking: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_breaking { "breaking" } else { "additive" };
        write!(f, "{kind}: {}: {}", self.place, self.what)
    }
}

impl Catalogue {
    /// Returns what `new` changes, in the order of the entities.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        let version_of_new = new.version;
        for entity in &self.entities {
            match new.entities.iter().find(|other| other.name == entity.name) {
                Some(other) => changes.compare(entity, other),
                None => changes.add(&entity.name, "is gone", true),
            }
        }
        for entity in &new.entities {
            if !self.entities.iter().any(|other| other.name == entity.name) {
                changes.add(&entity.name, "is new", false);
            }
        }
        let folders = |catalogue: &Self| -> Vec<String> {
            catalogue.files.iter().map(|set| format!("files/{}", set.name)).collect()
        };
        let (old, new) = (folders(self), folders(new));
        for name in old.iter().filter(|name| !new.contains(name)) {
            changes.add(name, "is gone", true);
        }
        for name in new.iter().filter(|name| !old.contains(name)) {
            changes.add(name, "is new", false);
        }
        // A reader who sees the version of before takes the archive for one of before.
        let is_breaking = changes.0.iter().any(|change| change.is_breaking);
        if let Some(version) = self.version.filter(|_| is_breaking)
            && version_of_new <= Some(version)
        {
            changes.add("version", format!("is not above {version} although a change is breaking"), true);
        }
        changes.0
    }
}

struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, place: &str, what: impl Into<String>, is_breaking: bool) {
        self.0.push(Change { place: place.to_owned(), what: what.into(), is_breaking });
    }

    fn compare(&mut self, old: &Entity, new: &Entity) {
        let name = &old.name;
        if (&old.relation, &old.keys, &old.by, &old.conditions)
            != (&new.relation, &new.keys, &new.by, &new.conditions)
        {
            self.add(name, "is read in another way, so it may have other rows", true);
        }
        if old.order != new.order {
            self.add(
                name,
                format!("is ordered by {}, no longer by {}", new.order.join(", "), old.order.join(", ")),
                true,
            );
        }
        let (was, is) = (&old.options, &new.options);
        if let Some(time) = was.time.as_ref().filter(|time| is.time.as_ref() != Some(time)) {
            self.add(
                name,
                format!("no longer has `{time}` as its time, so a time span is another or refused"),
                true,
            );
        } else if was.time != is.time {
            self.add(name, "has a time, so a time span leaves rows of it out", false);
        }
        for column in was.filter.iter().filter(|column| !is.filter.contains(column)) {
            self.add(name, format!("can no longer be filtered by `{column}`"), true);
        }
        for column in is.filter.iter().filter(|column| !was.filter.contains(column)) {
            self.add(name, format!("can be filtered by `{column}`"), false);
        }
        if was.references != is.references {
            let keeps = was.references.iter().all(|reference| is.references.contains(reference));
            self.add(name, "refers to other entities, or in another way", !keeps);
        }
        for column in exported(old) {
            let place = format!("{name}.{}", column.name);
            match exported(new).find(|other| other.name == column.name) {
                Some(other) => self.compare_columns(&place, column, other),
                None => self.add(&place, "is no longer exported", true),
            }
        }
        for column in exported(new) {
            if !exported(old).any(|other| other.name == column.name) {
                self.add(&format!("{name}.{}", column.name), "is new", false);
            }
        }
        if (&old.about, &old.facts) != (&new.about, &new.facts) {
            self.add(name, "is described in other words", false);
        }
    }

    fn compare_columns(&mut self, place: &str, old: &CatalogueColumn, new: &CatalogueColumn) {
        if old.pg_type != new.pg_type {
            self.add(place, format!("is of type `{}`, no longer `{}`", new.pg_type, old.pg_type), true);
        }
        if old.use_ != new.use_ {
            let now =
                if new.use_ == Use::Pseudonym { "is a pseudonym now" } else { "is no pseudonym any more" };
            self.add(place, now, true);
        }
        if old.parts != new.parts {
            self.add(place, "has other parts of its values", true);
        }
        if old.about != new.about {
            self.add(place, "is described in other words", false);
        }
    }
}

fn exported(entity: &Entity) -> impl Iterator<Item = &CatalogueColumn> {
    entity.columns.iter().filter(|column| column.use_ != Use::Omit)
}

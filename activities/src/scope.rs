//! Which part of their data a person asks for: some entities, a time span, or rows with certain values. Without any of
//! these, it is the whole.
//!
//! The options are columns of the request. What they mean is decided here, against what the catalogue offers: for
//! `request create`, for the portal, and for a claimed request.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    ops::RangeInclusive,
};

use chrono::{DateTime, Datelike as _, SecondsFormat, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use crate::failure::Failure;

/// The values that rows must have, by entity and column. A row is exported if each column has one of its values, as the
/// archive writes them.
pub type Filters = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The years of a moment that every program can read.
const YEARS: RangeInclusive<i32> = 1..=9999;
/// The longest filters, as JSON without blanks. The database's bound is twice that, because it writes blanks.
const LONGEST_FILTERS: usize = 8192;
/// A request names no more entities. The database has the same bound.
const MOST_ENTITIES: usize = 500;

/// The options of a request. The default is the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// These entities, with those that they refer to and with the account; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entities: Option<Vec<String>>,
    /// No row before this moment, of the entities that have a `time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// No row at or after this moment, of the same entities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Only rows with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: Filters,
}

/// What the catalogue lets a request ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The entities, in the order of the catalogue.
    pub entities: Vec<OfferedEntity>,
}

/// What a request may ask for of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedEntity {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// It is the account, which is in every export.
    pub always: bool,
    /// A time span leaves rows of it out.
    pub has_time: bool,
    /// The columns whose values can be named.
    pub filters: Vec<String>,
    /// The entities that it refers to, which come along.
    pub refers_to: Vec<String>,
}

/// What a scope means with a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Indexes of the entities that are exported, in the order of the catalogue.
    pub entities: Vec<usize>,
    /// What is asked for, with every entity that comes along; `None` if it is the whole.
    pub scope: Option<Scope>,
}

/// Something in a scope that the catalogue does not have, or that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Where it is: a JSON pointer (RFC 6901) into the scope.
    pub pointer: String,
    /// What is wrong, and what there is.
    pub sentence: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Scope {
    /// Returns the scope that the columns of a request have.
    pub fn of_columns(
        entities: Option<Vec<String>>,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
        filters: Option<Json<Filters>>,
    ) -> Self {
        Self { entities, since, until, filters: filters.map(|Json(filters)| filters).unwrap_or_default() }
    }

    /// Returns whether no option is given.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the part of the catalogue that is asked for, or everything that does not fit.
    pub fn part(&self, offer: &Offer) -> Result<Part, Vec<Unfit>> {
        let known = &offer.entities;
        let mut unfit = Vec::new();
        let mut is_wanted: Vec<bool> =
            known.iter().map(|entity| entity.always || self.entities.is_none()).collect();
        if self.entities.as_ref().is_some_and(Vec::is_empty) {
            unfit.push(problem("/entities".to_owned(), "names no entity: leave it out to get all"));
        }
        let names = self.entities.as_deref().unwrap_or_default();
        if names.len() > MOST_ENTITIES {
            let sentence = format!("names more than {MOST_ENTITIES} entities: leave it out to get all");
            return Err(vec![problem("/entities".to_owned(), sentence)]);
        }
        for (index, name) in names.iter().enumerate() {
            match position(known, name) {
                Some(_) if names[..index].contains(name) => {
                    unfit.push(problem(format!("/entities/{index}"), format!("`{name}` is asked for twice")));
                }
                Some(entity) => is_wanted[entity] = true,
                None => unfit.push(no_entity(format!("/entities/{index}"), name, known)),
            }
        }
        bring_references(known, &mut is_wanted);
        for (bound, at) in [("since", self.since), ("until", self.until)] {
            if at.is_some_and(|at| !YEARS.contains(&at.year())) {
                unfit.push(problem(
                    format!("/{bound}"),
                    format!("`{bound}` is not within the years 1 to 9999"),
                ));
            }
        }
        let (since, until) = (self.since.map(microseconds), self.until.map(microseconds));
        if since.zip(until).is_some_and(|(since, until)| since >= until) {
            unfit
                .push(problem("/until".to_owned(), "`until` is not after `since`: no row would be exported"));
        }
        let bound = self.since.map(|_| "since").or(self.until.map(|_| "until"));
        let has_time = known.iter().zip(&is_wanted).any(|(entity, is_wanted)| *is_wanted && entity.has_time);
        if let (Some(bound), false) = (bound, has_time) {
            let sentence = format!("`{bound}` selects nothing: no entity that is asked for has a time");
            unfit.push(problem(format!("/{bound}"), sentence));
        }
        for (name, columns) in &self.filters {
            let place = format!("/filters/{}", escaped(name));
            let Some(entity) = position(known, name) else {
                unfit.push(no_entity(place, name, known));
                continue;
            };
            if !is_wanted[entity] {
                unfit.push(problem(
                    place,
                    format!("`{name}` has a filter and is not asked for: add it to `entities`"),
                ));
                continue;
            }
            unfit.extend(unfit_columns(&known[entity], columns, &place));
        }
        if serde_json::to_string(&self.filters).is_ok_and(|text| text.len() > LONGEST_FILTERS) {
            let sentence =
                format!("the filters have more than {LONGEST_FILTERS} bytes: ask for fewer values");
            unfit.push(problem("/filters".to_owned(), sentence));
        }
        if !unfit.is_empty() {
            return Err(unfit);
        }
        let entities: Vec<usize> = (0..known.len()).filter(|entity| is_wanted[*entity]).collect();
        let names = (entities.len() < known.len())
            .then(|| entities.iter().map(|entity| known[*entity].name.clone()).collect());
        let scope = Self { entities: names, since, until, filters: self.filters.clone() };
        Ok(Part { entities, scope: Some(scope).filter(|scope| !scope.is_whole()) })
    }

    /// Like [`Self::part`], of a claimed request.
    ///
    /// # Errors
    /// [`Failure::ScopeRefused`], which is permanent.
    pub fn part_of_claim(&self, offer: &Offer) -> Result<Part, Failure> {
        self.part(offer).map_err(|unfit| Failure::ScopeRefused(unfit.iter().map(Unfit::to_string).collect()))
    }

    /// Returns whether this scope leaves rows of an entity out.
    pub fn cuts(&self, entity: &str, time: Option<&str>) -> bool {
        (time.is_some() && (self.since.is_some() || self.until.is_some()))
            || self.filters.contains_key(entity)
    }
}

/// Writes the options in one line, without the control characters that a value may hold.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entities = self.entities.as_ref().map(|entities| entities.join(", "));
        let moment = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let filters = self.filters.iter().flat_map(|(entity, columns)| {
            columns.iter().map(move |(column, values)| format!("{entity}.{column} = {}", values.join(" or ")))
        });
        let said: Vec<String> = [
            entities,
            self.since.map(|at| format!("since {}", moment(at))),
            self.until.map(|at| format!("until {}", moment(at))),
        ]
        .into_iter()
        .flatten()
        .chain(filters)
        .collect();
        for character in said.join("; ").chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Adds what the wanted entities refer to, until nothing is missing.
fn bring_references(known: &[OfferedEntity], is_wanted: &mut [bool]) {
    let mut open: Vec<usize> = (0..known.len()).filter(|entity| is_wanted[*entity]).collect();
    while let Some(entity) = open.pop() {
        for target in &known[entity].refers_to {
            if let Some(target) = position(known, target).filter(|target| !is_wanted[*target]) {
                is_wanted[target] = true;
                open.push(target);
            }
        }
    }
}

fn unfit_columns(entity: &OfferedEntity, columns: &BTreeMap<String, Vec<String>>, place: &str) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    if columns.is_empty() {
        unfit.push(problem(
            place.to_owned(),
            format!("the filter of `{}` names no column: leave it out", entity.name),
        ));
    }
    for (column, values) in columns {
        let place = format!("{place}/{}", escaped(column));
        if !entity.filters.contains(column) {
            let there = match entity.filters.as_slice() {
                [] => "it has none".to_owned(),
                filters => format!("it has {}", filters.join(", ")),
            };
            unfit.push(problem(place, format!("`{}` has no filter `{column}`: {there}", entity.name)));
        } else if values.is_empty() {
            unfit.push(problem(
                place,
                format!("filter `{column}` of `{}` names no value: leave it out", entity.name),
            ));
        } else if let Some(index) = values.iter().position(|value| value.contains('\0')) {
            let sentence = format!(
                "a value of filter `{column}` of `{}` holds U+0000, which no text of PostgreSQL has",
                entity.name
            );
            unfit.push(problem(format!("{place}/{index}"), sentence));
        }
    }
    unfit
}

/// Cuts a moment to what the database stores.
fn microseconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

fn no_entity(pointer: String, name: &str, known: &[OfferedEntity]) -> Unfit {
    let names: Vec<_> = known.iter().map(|entity| entity.name.as_str()).collect();
    problem(pointer, format!("there is no entity `{name}`: there are {}", names.join(", ")))
}

fn problem(pointer: String, sentence: impl Into<String>) -> Unfit {
    Unfit { pointer, sentence: sentence.into() }
}

fn position(known: &[OfferedEntity], name: &str) -> Option<usize> {
    known.iter().position(|entity| entity.name == name)
}

/// Escapes a name for a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalogue::tests::parse;

    pub(crate) const CATALOGUE: &str = r#"
[keys.account]
query = "select $1::uuid as key"
[entity.users]
relation = "public.users"
keys = "account"
by = "id"
order = ["id"]
[entity.users.columns]
id = { type = "uuid", use = "export" }
[entity.notes]
relation = "public.notes"
keys = "account"
by = "user_id"
order = ["id"]
time = "made_at"
filter = ["kind"]
references = { folder_id = "folders" }
[entity.notes.columns]
id = { type = "uuid", use = "export" }
user_id = { type = "uuid", use = "pseudonym" }
folder_id = { type = "uuid", use = "export" }
kind = { type = "text", use = "export" }
made_at = { type = "date", use = "export" }
[entity.folders]
relation = "public.folders"
keys = "account"
by = "user_id"
order = ["id"]
references = { parent_id = "folders", area_id = "areas" }
[entity.folders.columns]
id = { type = "uuid", use = "export" }
user_id = { type = "uuid", use = "export" }
parent_id = { type = "uuid", use = "export" }
area_id = { type = "uuid", use = "export" }
[entity.areas]
relation = "public.areas"
keys = "account"
by = "user_id"
order = ["id"]
[entity.areas.columns]
id = { type = "uuid", use = "export" }
user_id = { type = "uuid", use = "export" }
"#;

    fn part(json: &str) -> Result<Part, String> {
        let scope: Scope = serde_json::from_str(json).unwrap();
        scope.part(parse(CATALOGUE).unwrap().offer()).map_err(|unfit| {
            unfit.iter().map(|one| format!("{}: {one}", one.pointer)).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn what_is_asked_for_brings_the_account_and_everything_that_it_refers_to() {
        let names = |json: &str| part(json).unwrap().scope.and_then(|scope| scope.entities);
        assert_eq!(part("{}").unwrap(), Part { entities: vec![0, 1, 2, 3], scope: None });
        assert_eq!(names(r#"{"entities": ["areas"]}"#).unwrap(), ["users", "areas"]);
        assert_eq!(names(r#"{"entities": ["folders"]}"#).unwrap(), ["users", "folders", "areas"]);
        // All of them, if in other words: the whole.
        assert_eq!(part(r#"{"entities": ["notes"]}"#).unwrap(), part("{}").unwrap());
        assert_eq!(part(r#"{"filters": {"notes": {"kind": ["a"]}}}"#).unwrap().entities, [0, 1, 2, 3]);
    }

    #[test]
    fn a_value_writes_nothing_to_a_terminal_and_a_moment_is_one_of_the_database() {
        let hostile = r#"{"filters": {"notes": {"kind": ["a\u001b]52;c;x\u0007ü"]}}}"#;
        let scope: Scope = serde_json::from_str(hostile).unwrap();
        assert_eq!(scope.to_string(), "notes.kind = a\\u{1b}]52;c;x\\u{7}ü");
        let fine = |nanoseconds: &str| format!("2026-01-01T00:00:00.{nanoseconds}Z");
        let scope = format!(r#"{{"since": "{}", "until": "{}"}}"#, fine("0000001"), fine("0000009"));
        assert!(part(&scope).unwrap_err().contains("is not after"), "one moment in the database");
        let names = vec!["notes"; MOST_ENTITIES + 1];
        let refusal = part(&serde_json::json!({ "entities": names }).to_string()).unwrap_err();
        assert_eq!(refusal, "/entities: names more than 500 entities: leave it out to get all");
    }

    #[test]
    fn everything_that_does_not_fit_is_named_at_once_and_by_its_place() {
        let refusal = |json: &str| part(json).unwrap_err();
        insta::assert_snapshot!([
            refusal(r#"{"entities": []}"#),
            refusal(r#"{"entities": ["areas", "tickets", "areas"], "since": "2026-01-01T00:00:00Z"}"#),
            refusal(r#"{"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}"#),
            refusal(r#"{"since": "+12026-01-01T00:00:00Z"}"#),
            refusal(r#"{"filters": {"a/b": {}, "areas": {"id": ["7"]}, "notes": {"kind": [], "id~": ["x"]}}}"#),
            refusal(r#"{"filters": {"notes": {"kind": ["a", "b\u0000"]}}}"#),
            refusal(r#"{"filters": {"notes": {}}}"#),
            refusal(r#"{"entities": ["areas"], "filters": {"notes": {"kind": ["a"]}}}"#),
            refusal(&format!(r#"{{"filters": {{"notes": {{"kind": ["{}"]}}}}}}"#, "x".repeat(LONGEST_FILTERS))),
        ].join("\n"), @r"
        /entities: names no entity: leave it out to get all
        /entities/1: there is no entity `tickets`: there are users, notes, folders, areas
        /entities/2: `areas` is asked for twice
        /since: `since` selects nothing: no entity that is asked for has a time
        /until: `until` is not after `since`: no row would be exported
        /since: `since` is not within the years 1 to 9999
        /filters/a~1b: there is no entity `a/b`: there are users, notes, folders, areas
        /filters/areas/id: `areas` has no filter `id`: it has none
        /filters/notes/id~0: `notes` has no filter `id~`: it has kind
        /filters/notes/kind: filter `kind` of `notes` names no value: leave it out
        /filters/notes/kind/1: a value of filter `kind` of `notes` holds U+0000, which no text of PostgreSQL has
        /filters/notes: the filter of `notes` names no column: leave it out
        /filters/notes: `notes` has a filter and is not asked for: add it to `entities`
        /filters: the filters have more than 8192 bytes: ask for fewer values
        ");
    }

    #[test]
    fn a_catalogue_says_of_each_mistake_in_its_options_where_it_is() {
        let complaint = |right: &str, wrong: &str| {
            let text = CATALOGUE.replacen(right, wrong, 1);
            assert_ne!(text, CATALOGUE);
            format!("{:#}", parse(&text).unwrap_err())
        };
        insta::assert_snapshot!([
            complaint("time = \"made_at\"", "time = \"at\""),
            complaint("time = \"made_at\"", "time = \"kind\""),
            complaint("filter = [\"kind\"]", "filter = [\"user_id\"]"),
            complaint("filter = [\"kind\"]", "filter = [\"made_at\"]"),
            complaint("filter = [\"kind\"]", "filter = [\"kind\", \"kind\"]"),
            complaint("kind = { type = \"text\"", "kind = { type = \"character(3)\""),
            complaint("folder_id = \"folders\"", "folder_id = \"files\""),
            complaint("folder_id = \"folders\"", "kind = 7"),
            complaint("folder_id = \"folders\"", "user_id = \"folders\""),
            complaint("references = { parent_id", "filter = \"id\"\nreferences = { parent_id"),
            complaint("relation = \"public.users\"", "relation = \"public.users\"\ntime = \"id\""),
            complaint("relation = \"public.users\"", "relation = \"public.users\"\nfilter = \"id\""),
        ].join("\n"), @r"
        catalogue.toml:16: `entity.notes.time`: `at` is not one of the entity's columns
        catalogue.toml:16: `entity.notes.time`: `kind` is of type `text`, which is no date and no time
        catalogue.toml:17: `entity.notes.filter`: `user_id` is not exported as it is, so an archive could not prove it
        catalogue.toml:17: `entity.notes.filter`: values of type `date` cannot be filtered: `made_at`
        catalogue.toml:17: `entity.notes.filter`: names `kind` twice
        catalogue.toml:17: `entity.notes.filter`: values of type `character(3)` cannot be filtered: `kind`
        catalogue.toml:18: `entity.notes.references`: `folder_id` refers to `files`, and there is no [entity.files]
        catalogue.toml:18: `entity.notes.references.kind`: expected a text, found integer
        catalogue.toml:18: `entity.notes.references.user_id`: `user_id` is not exported as it is, so an archive could not prove it
        catalogue.toml:30: `entity.folders.filter`: [entity.notes] refers to its rows, so it is always exported whole: take this away, or the reference
        catalogue.toml:6: `entity.users.time`: `id` is of type `uuid`, which is no date and no time
        catalogue.toml:6: `entity.users.filter`: the account's own entity is always exported whole: take this away
        ");
    }
}

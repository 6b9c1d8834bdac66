//! Reads `catalogue.toml` and checks everything that needs no database. All mistakes are reported at once.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use super::{
    CatalogueColumn, Condition, Entity, Facts, Is, Keys, LeftOut, UNDECIDED, Use,
    contact::{self, Contact},
    defaults::Defaults,
    document::{Document, Table, Value},
    files::{self, FileSet},
    kinds, options, polymorphic,
};
use crate::serialise::parts::Parts;

/// No more mistakes than this are reported: a new catalogue may have thousands of open decisions.
const MOST_MISTAKES: usize = 40;

/// Identifiers are at most this long in PostgreSQL.
const NAME_BYTES: usize = 63;

/// The parts of a catalogue file, checked against each other.
pub(super) struct Parsed {
    pub(super) keys: Vec<Keys>,
    pub(super) entities: Vec<Entity>,
    pub(super) files: Vec<FileSet>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) contact: Option<Contact>,
    /// The version that the file gives itself.
    pub(super) version: Option<u64>,
    /// Index of the entity that holds the account's own row.
    pub(super) account: usize,
}

/// Parses the text of a catalogue; `query_file` returns the text of a `.sql` file in the same folder.
pub(super) fn parse(
    file: &str,
    text: &str,
    query_file: &mut dyn FnMut(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Parsed> {
    let document = Document::new(file, text);
    let entries = document.parse()?;
    let root = document.root(&entries);
    let mut mistakes = Mistakes::default();
    mistakes.keep(root.only(&["version", "keys", "defaults", "left_out", "entity", "files", "contact"]));

    let version = root.optional("version").and_then(|place| mistakes.keep(place.whole()));
    let mut keys = Vec::new();
    for (name, value) in root.required("keys")?.table()?.iter() {
        match parse_keys(name, &value, query_file) {
            Ok(parsed) => keys.push(parsed),
            Err(mistake) => {
                mistakes.keep::<()>(Err(mistake));
                // For the entities that name it.
                keys.push(Keys::unknown(name));
            }
        }
    }
    let defaults =
        root.optional("defaults").map(|value| Defaults::parse(&value)).transpose()?.unwrap_or_default();
    let mut left_out = Vec::new();
    if let Some(value) = root.optional("left_out") {
        for (relation, why) in value.table()?.iter() {
            let parsed = check_relation(relation, &why).and_then(|()| why.text());
            left_out.extend(mistakes.keep(parsed).map(|why| LeftOut { relation: relation.to_owned(), why }));
        }
    }
    let (mut entities, mut files, mut contact) = (Vec::new(), Vec::new(), None);
    let mut account = None;
    let mut tables = Vec::new();
    for (name, value) in root.required("entity")?.table()?.iter() {
        let parsed =
            value.table().and_then(|table| parse_entity(name, &table, &keys, &defaults, &mut mistakes));
        let parsed = parsed.and_then(|entity| {
            if let Some(entity) = &entity {
                refuse_hidden(entity, &entities, &value)?;
            }
            Ok(entity)
        });
        let Some(Some(entity)) = mistakes.keep(parsed) else { continue };
        if account.is_none() && entity.keys == "account" {
            if entity.by.len() != 1 {
                let mistake = "the account's own entity has one column in `by`, which holds the user's id";
                mistakes.keep::<()>(Err(value.error(mistake)));
            }
            account = Some(entities.len());
        }
        tables.extend(value.table());
        entities.push(entity);
    }
    // An entity with mistakes is missing here, so they come first.
    if mistakes.0.is_empty() {
        for (index, table) in tables.iter().enumerate() {
            mistakes.keep(options::refuse(table, index, &entities, account));
        }
    }
    if let (true, Some(value)) = (mistakes.0.is_empty(), root.optional("files")) {
        for (name, value) in value.table()?.iter() {
            files.extend(mistakes.keep(files::parse(name, &value, &entities)));
        }
    }
    if let (true, Some(value)) = (mistakes.0.is_empty(), root.optional("contact")) {
        contact = mistakes.keep(contact::parse(&value, &entities));
    }
    mistakes.none()?;
    let account = account.ok_or_else(|| {
        root.error(
            "no entity has `keys = \"account\"`: without one it is unknown whether an account still exists",
        )
    })?;
    Ok(Parsed { keys, entities, files, left_out, contact, version, account })
}

/// What is wrong with a file.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    /// Keeps the error of a part, so that the next part can be read.
    fn keep<T>(&mut self, parsed: anyhow::Result<T>) -> Option<T> {
        parsed.map_err(|mistake| self.0.push(format!("{mistake:#}"))).ok()
    }

    fn none(mut self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let more = self.0.len().saturating_sub(MOST_MISTAKES);
        self.0.truncate(MOST_MISTAKES);
        if more > 0 {
            self.0.push(format!("and {more} more"));
        }
        Err(anyhow!(self.0.join("\n")))
    }
}

impl Keys {
    /// Stands for keys that could not be read.
    fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            query: String::new(),
            columns: Vec::new(),
            reads: Vec::new(),
            computed: Vec::new(),
        }
    }
}

fn parse_keys(
    name: &str,
    value: &Value<'_>,
    query_file: &mut dyn FnMut(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Keys> {
    let table = value.table()?;
    table.only(&["query", "key", "reads"])?;
    let place = table.required("query")?;
    let query = place.text()?;
    let query = if query.ends_with(".sql") {
        let text = query_file(&query).with_context(|| place.error("cannot read the query").to_string())?;
        if text.trim().is_empty() {
            return Err(place.error(format_args!("`{query}` is empty")));
        }
        text
    } else {
        query
    };
    if query.contains(UNDECIDED) {
        return Err(place.error("has an UNDECIDED in it: a person has to decide it"));
    }
    let query = query.trim_end().trim_end_matches(';').to_owned();
    let columns = match table.optional("key") {
        Some(place) => {
            let columns = place.one_or_more()?;
            if name == "account" && columns.len() != 1 {
                return Err(place.error("the key of an account has one column"));
            }
            columns
        }
        None => vec!["key".to_owned()],
    };
    let mut reads = Vec::new();
    if let Some(value) = table.optional("reads") {
        for (relation, columns) in value.table()?.iter() {
            check_relation(relation, &columns)?;
            reads.push((relation.to_owned(), columns.texts()?));
        }
    }
    Ok(Keys { name: name.to_owned(), query, columns, reads, computed: Vec::new() })
}

/// Parses an entity; `None` if mistakes of its columns are kept.
fn parse_entity(
    name: &str,
    table: &Table<'_>,
    keys: &[Keys],
    defaults: &Defaults,
    mistakes: &mut Mistakes,
) -> anyhow::Result<Option<Entity>> {
    if !is_entity_name(name) {
        return Err(table.error("an entity's name becomes a file name and must match ^[a-z][a-z0-9_]{0,62}$"));
    }
    let facts = Facts::NAMES.map(|(name, _)| name);
    table.only(
        &[&["relation", "keys", "by", "where", "order", "about", "columns"][..], &options::KEYS, &facts]
            .concat(),
    )?;
    let mut columns = Vec::new();
    let mut is_whole = true;
    for (name, value) in table.required("columns")?.table()?.iter() {
        match mistakes.keep(parse_column(name, &value, defaults)) {
            Some(column) => columns.push(column),
            None => is_whole = false,
        }
    }
    if !is_whole {
        keep_undecided(table, mistakes);
        return Ok(None);
    }
    if columns.iter().all(|column| column.use_ == Use::Omit) {
        return Err(table.error("exports no column"));
    }
    let relation = table.required("relation")?;
    check_relation(&relation.text()?, &relation)?;
    let keys_place = table.required("keys")?;
    let used = keys_place.text()?;
    let Some(set) = keys.iter().find(|keys| keys.name == used) else {
        return Err(keys_place.error(format_args!("there is no [keys.{used}]")));
    };
    let by_place = table.required("by")?;
    let by = by_place.one_or_more()?;
    if !set.columns.is_empty() && by.len() != set.columns.len() {
        return Err(by_place.error(format_args!(
            "has {} columns, but a key of [keys.{used}] has {}: {}",
            by.len(),
            set.columns.len(),
            set.columns.join(", ")
        )));
    }
    let conditions = match table.optional("where") {
        Some(place) => parse_conditions(&place.table()?, &columns)?,
        None => Vec::new(),
    };
    for name in &by {
        if !is_stored(&columns, name) {
            return Err(by_place.error(format_args!("`{name}` is not one of the entity's columns")));
        }
        refuse_polymorphic(name, &by, &conditions, &columns, &by_place)?;
    }
    if let Some(column) = columns.iter().find(|column| column.computed && set.columns.contains(&column.name))
    {
        return Err(
            keys_place.error(format_args!("`{}` is a key of [keys.{used}], not computed", column.name))
        );
    }
    let order = table.required("order")?;
    let ordered = order.texts()?;
    if ordered.is_empty() {
        return Err(order.error("is empty: without an order two exports of the same rows differ"));
    }
    for wanted in &ordered {
        let known = columns.iter().any(|c| &c.name == wanted && c.use_ == Use::Export && !c.computed);
        if !known {
            return Err(order.error(format_args!("`{wanted}` is not an exported column of the entity")));
        }
    }
    let about = table.optional("about").map(|about| about.text()).transpose()?;
    Ok(Some(Entity {
        name: name.to_owned(),
        relation: relation.text()?,
        keys: used,
        by,
        conditions,
        order: ordered,
        about: about.unwrap_or_else(|| in_words(name)),
        facts: parse_facts(table)?,
        options: options::parse(table, &columns)?,
        columns,
    }))
}

fn parse_facts(table: &Table<'_>) -> anyhow::Result<Facts> {
    let text = |name: &str| table.optional(name).map(|place| place.text()).transpose();
    Ok(Facts {
        purpose: text("purpose")?,
        source: text("source")?,
        recipients: text("recipients")?,
        retention: text("retention")?,
        owner: text("owner")?,
    })
}

/// Keeps what is undecided of an entity beside its columns.
fn keep_undecided(table: &Table<'_>, mistakes: &mut Mistakes) {
    for place in ["keys", "by"].into_iter().filter_map(|key| table.optional(key)) {
        mistakes.keep(place.one_or_more());
    }
    let conditions = table.optional("where").and_then(|place| place.table().ok());
    for (_, condition) in conditions.iter().flat_map(Table::iter) {
        if condition.table().is_err() {
            mistakes.keep(condition.constants());
        }
    }
}

/// Parses `where`: constants, lists of constants, `{ not = ... }` or `{ null = true }`.
fn parse_conditions(table: &Table<'_>, columns: &[CatalogueColumn]) -> anyhow::Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    for (column, value) in table.iter() {
        if !is_stored(columns, column) {
            return Err(value.error("is not one of the entity's columns"));
        }
        let is = if let Ok(table) = value.table() {
            table.only(&["null", "not"])?;
            match (table.optional("null"), table.optional("not")) {
                (Some(null), None) => {
                    if null.flag()? {
                        Is::Null
                    } else {
                        Is::NotNull
                    }
                }
                (None, Some(constants)) => Is::NoneOf(constants.constants()?),
                _ => return Err(value.error("has one of `null` and `not`")),
            }
        } else {
            Is::OneOf(value.constants()?)
        };
        conditions.push(Condition { column: column.to_owned(), is });
    }
    Ok(conditions)
}

/// Refuses `by = "x_id"` beside a column `x_type` of which is not said what it is: the ids of another type belong to other
/// people. What it is not says nothing of the types that are added later.
fn refuse_polymorphic(
    name: &str,
    by: &[String],
    conditions: &[Condition],
    columns: &[CatalogueColumn],
    place: &Value<'_>,
) -> anyhow::Result<()> {
    for kind in polymorphic::kinds_of(name).into_iter().filter(|kind| is_stored(columns, kind)) {
        let is_said = conditions
            .iter()
            .any(|condition| condition.column == kind && matches!(condition.is, Is::OneOf(_) | Is::Null));
        if by.contains(&kind) || is_said {
            continue;
        }
        return Err(place.error(format_args!(
            "`{name}` holds ids of several tables, and `{kind}` says of which: add `where = {{ {kind} = \"...\" }}`, or the \
             rows of others are exported"
        )));
    }
    Ok(())
}

/// Returns whether the relation has this column: a computed one comes from the keys query.
fn is_stored(columns: &[CatalogueColumn], name: &str) -> bool {
    columns.iter().any(|column| column.name == name && !column.computed)
}

/// Refuses a name that is computed in one entity and a column in another entity of the same relation. The computed one
/// would hide the column.
fn refuse_hidden(entity: &Entity, before: &[Entity], place: &Value<'_>) -> anyhow::Result<()> {
    for other in before.iter().filter(|other| other.relation == entity.relation) {
        for column in &entity.columns {
            if other.columns.iter().any(|c| c.name == column.name && c.computed != column.computed) {
                return Err(place.error(format_args!(
                    "`{}` is computed in one of entity.{} and entity.{} and a column of `{}` in the other: rename the \
                     computed one",
                    column.name, other.name, entity.name, entity.relation
                )));
            }
        }
    }
    Ok(())
}

fn parse_column(name: &str, value: &Value<'_>, defaults: &Defaults) -> anyhow::Result<CatalogueColumn> {
    if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') {
        return Err(value.error("is not a column's name"));
    }
    let table = value.table()?;
    table.only(&["type", "use", "paths", "about", "why", "computed"])?;
    let type_place = table.required("type")?;
    let pg_type = type_place.text()?;
    let own = table.optional("use");
    let default = defaults.of(name);
    let (use_place, use_) = match (&own, default) {
        (Some(place), _) => (place.clone(), parse_use(place)?),
        (None, Some(default)) => (value.clone(), default.use_),
        (None, None) => {
            return Err(table.error("is undecided: write `use`, or a pattern in [[defaults]]"));
        }
    };
    if use_ == Use::Pseudonym && kinds::is_known_not_to_be_an_id(&pg_type) {
        return Err(use_place.error(format_args!(
            "only a uuid, an integer, a text or an array of them can become a pseudonym, not `{pg_type}`"
        )));
    }
    let computed = table.optional("computed").map(|flag| flag.flag()).transpose()?.unwrap_or_default();
    if computed && kinds::named(&pg_type).is_none() {
        return Err(type_place.error(format_args!("`{pg_type}` cannot be the type of a computed column")));
    }
    if computed && use_ == Use::Omit {
        return Err(use_place.error("a computed column is exported or left out of the query"));
    }
    let explain = |key: &str| table.optional(key).map(|place| place.text()).transpose();
    let (about, why) = (explain("about")?, explain("why")?);
    let why = why
        .or_else(|| default.filter(|default| default.use_ == use_).and_then(|default| default.why.clone()));
    if why.is_none() {
        if use_ == Use::Omit {
            return Err(table.error("`why` is missing"));
        }
        if let Some(default) = default.filter(|default| default.use_ == Use::Omit) {
            return Err(table.error(format_args!(
                "`{}` in [[defaults]] omits it: say in `why` what makes it different",
                default.pattern
            )));
        }
    }
    let parts = match table.optional("paths") {
        Some(_) if use_ != Use::Export => {
            return Err(
                use_place.error("`paths` are parts of a value that is exported: write `use = \"export\"`")
            );
        }
        Some(place) if kinds::is_known_not_to_be_json(&pg_type) => {
            return Err(place.error(format_args!("a value of type `{pg_type}` has no parts")));
        }
        Some(place) => Some(Arc::new(parse_parts(&place)?)),
        None => None,
    };
    if parts.as_ref().is_some_and(|parts| parts.with(Use::Omit).next().is_some()) && why.is_none() {
        return Err(table.error("`why` is missing: the archive tells why parts are left out"));
    }
    let about = match use_ {
        Use::Omit => about,
        Use::Export | Use::Pseudonym => Some(about.unwrap_or_else(|| in_words(name))),
    };
    Ok(CatalogueColumn { name: name.to_owned(), pg_type, use_, about, why, computed, parts })
}

pub(super) fn parse_use(place: &Value<'_>) -> anyhow::Result<Use> {
    match place.text()?.as_str() {
        "export" => Ok(Use::Export),
        "pseudonym" => Ok(Use::Pseudonym),
        "omit" => Ok(Use::Omit),
        other => Err(place.error(format_args!("`{other}` is none of export, pseudonym and omit"))),
    }
}

/// Parses the paths of a column whose values are JSON.
fn parse_parts(place: &Value<'_>) -> anyhow::Result<Parts> {
    let table = place.table()?;
    let mut paths = Vec::new();
    let mut places = Vec::new();
    for (path, value) in table.iter() {
        paths.push((path.to_owned(), parse_use(&value)?));
        places.push(value);
    }
    if paths.is_empty() {
        return Err(place.error("is empty"));
    }
    Parts::new(paths).map_err(|(index, bad)| places.get(index).unwrap_or(place).error(bad))
}

/// Says what a column or an entity holds by its name alone: `created_at` is "Created at."
fn in_words(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.trim().chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn check_relation(relation: &str, place: &Value<'_>) -> anyhow::Result<()> {
    let is_name = |name: &str| !name.is_empty() && name.len() <= NAME_BYTES && !name.contains(['.', '\0']);
    match relation.split_once('.') {
        Some((schema, name)) if is_name(schema) && is_name(name) => Ok(()),
        _ => Err(place.error(format_args!("`{relation}` is not of the form `schema.relation`"))),
    }
}

/// Returns whether a name is safe as the name of a file and of an archive's entry.
pub(super) fn is_entity_name(name: &str) -> bool {
    name.len() <= NAME_BYTES
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

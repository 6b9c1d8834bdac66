//! Writes a first catalogue. All facts are filled in, and so is what follows from them; the rest is left to a person.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use sqlx::PgConnection;

use super::{
    FILE, UNDECIDED, Use,
    defaults::Defaults,
    parse::is_entity_name,
    sql::halves,
    tables::{self, Table},
};

const HEAD: &str = "\
# Written by `export-worker catalogue init`. Every UNDECIDED is a decision of yours, and until the last one is made the file
# is refused. Read the decisions that were made for you, too. docs/CATALOGUE.md explains the file.
";

const ACCOUNT: &str = "
[keys.account]
query = 'select $1::uuid as key'
";

/// Decides what follows from the name of a column alone.
const DEFAULTS: &str = r#"
# Decisions by the names of columns. `*` matches any text, in any case. The first pattern that matches decides a column
# that has no `use`.
[[defaults]]
columns = ["*passw*", "*passphrase*", "*secret*", "*token*", "*api_key*", "*apikey*", "*access_key*", "*private_key*",
    "*signing_key*", "*key_hash*", "*encrypt*", "*credential*", "*otp_*", "*_otp*", "*salt*", "*nonce*", "*session_data*",
    "*auth_code*", "*authorization_code*", "*code_challenge*", "*code_verifier*", "*recovery*code*", "*backup*code*"]
use = "omit"
why = "Security: a secret."
[[defaults]]
columns = ["id", "*_at", "createdAt", "updatedAt", "deletedAt", "createAt", "updateAt", "deleteAt"]
use = "export"
"#;

/// Whose rows an entity has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    /// The name of the keys.
    pub(super) keys: String,
    /// The columns that hold them.
    pub(super) by: Vec<String>,
    /// The columns by which the rows have to be narrowed: `x_type` beside `x_id`, or what `where` names already.
    pub(super) narrowed: Vec<String>,
    /// Further columns that hold ids of users.
    pub(super) others: Vec<String>,
}

/// Writes the text of a catalogue for the given relations, each named `schema.name`.
///
/// The connection must come from [`source::pool`](crate::source::pool), because the names of types depend on its
/// `search_path`.
pub async fn init(connection: &mut PgConnection, relations: &[String]) -> anyhow::Result<String> {
    let found = tables::read(connection, relations).await?;
    let mut text = format!("{HEAD}{ACCOUNT}{DEFAULTS}");
    let (defaults, mut names) = (Defaults::of_text(FILE, DEFAULTS)?, Vec::new());
    for relation in relations {
        let table = found.iter().find(|table| &table.relation == relation);
        let table =
            table.with_context(|| format!("there is no relation `{relation}`; give it as `schema.name`"))?;
        write_entity(&mut text, &entity_name(relation, &mut names)?, table, None, &defaults)?;
    }
    Ok(text)
}

/// Writes the catalogue of relations, in order, with the keys, and a line for each relation that is not exported.
pub(super) fn write(keys: &str, entities: &[(&Table, Owned)], left_out: &[&str]) -> anyhow::Result<String> {
    let mut text = format!("{HEAD}{keys}{DEFAULTS}");
    if !left_out.is_empty() {
        text.push_str("\n# Nothing leads from these to the account. `*` matches any text.\n[left_out]\n");
        for relation in left_out {
            writeln!(text, "{} = \"{UNDECIDED}\"", quoted(relation))?;
        }
    }
    let (defaults, mut names) = (Defaults::of_text(FILE, DEFAULTS)?, Vec::new());
    for (table, owned) in entities {
        write_entity(&mut text, &entity_name(&table.relation, &mut names)?, table, Some(owned), &defaults)?;
    }
    Ok(text)
}

/// Writes the section of an entity. A column that no pattern decides is left to a person.
pub(super) fn write_entity(
    text: &mut String,
    name: &str,
    table: &Table,
    owned: Option<&Owned>,
    defaults: &Defaults,
) -> std::fmt::Result {
    let list = |names: &[String]| match names {
        [name] => quoted(name),
        names => format!("[{}]", names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")),
    };
    writeln!(text)?;
    for other in owned.iter().flat_map(|owned| &owned.others) {
        writeln!(text, "# `{other}` holds ids of users, too: pseudonyms, unless these rows are theirs.")?;
    }
    writeln!(text, "[entity.{name}]\nrelation = {}", quoted(&table.relation))?;
    match owned {
        Some(owned) => writeln!(text, "keys     = {}\nby       = {}", quoted(&owned.keys), list(&owned.by))?,
        None => writeln!(text, "keys     = \"{UNDECIDED}\"\nby       = \"{UNDECIDED}\"")?,
    }
    let narrowed = owned.map(|owned| owned.narrowed.as_slice()).unwrap_or_default();
    if !narrowed.is_empty() {
        let open = narrowed.iter().map(|column| format!("{} = \"{UNDECIDED}\"", bare_or_quoted(column)));
        writeln!(text, "where    = {{ {} }}", open.collect::<Vec<_>>().join(", "))?;
    }
    let by = owned.map(|owned| owned.by.as_slice()).unwrap_or_default();
    // A secret and a pseudonym order nothing that a reader could see.
    let is_unfit = |name: &String| {
        let is_omitted = defaults.of(name).is_some_and(|decision| decision.use_ == Use::Omit);
        is_omitted || owned.is_some_and(|owned| owned.others.contains(name))
    };
    let order = order(table, by, is_unfit);
    let ordered = order.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    writeln!(text, "order    = [{ordered}]")?;
    if let Some(comment) = &table.comment {
        writeln!(text, "about    = {}", quoted(comment))?;
    }
    writeln!(text, "[entity.{name}.columns]")?;
    let width =
        table.columns.iter().map(|column| bare_or_quoted(&column.name).len()).max().unwrap_or_default();
    for column in &table.columns {
        let decision = decide(&column.name, by, owned, defaults);
        let about = match column.comment.as_deref() {
            Some(comment) => format!(", about = {}", quoted(comment)),
            None => String::new(),
        };
        writeln!(
            text,
            "{:width$} = {{ type = {}{decision}{about} }}",
            bare_or_quoted(&column.name),
            quoted(&column.pg_type),
        )?;
    }
    Ok(())
}

/// Decides what follows from the keys, and leaves the rest to the patterns or to a person.
fn decide(column: &str, by: &[String], owned: Option<&Owned>, defaults: &Defaults) -> String {
    let is = |columns: &[String]| columns.iter().any(|name| name == column);
    let use_ = match owned {
        Some(owned) if is(&owned.others) => "pseudonym",
        _ if defaults.decide(column) => return String::new(),
        // The key of the rows: the user's own id, or that of something of theirs.
        _ if is(by) => "export",
        _ => UNDECIDED,
    };
    format!(", use = \"{use_}\"")
}

/// Returns the order of an index that begins with `by`, completed by the primary key; else the primary key. A column that
/// is unfit orders nothing, and a key that has one is left to a person.
fn order(table: &Table, by: &[String], is_unfit: impl Fn(&String) -> bool) -> Vec<String> {
    let key = table.primary_key();
    if key.iter().any(&is_unfit) {
        return vec![UNDECIDED.to_owned()];
    }
    let begins_with_by = |index: &&Vec<String>| {
        !by.is_empty() && index.len() > by.len() && by.iter().all(|name| index[..by.len()].contains(name))
    };
    let mut order: Vec<String> = match table.indexes.iter().find(begins_with_by) {
        Some(index) if !key.is_empty() => index[by.len()..].to_vec(),
        _ => Vec::new(),
    };
    order.retain(|name| !is_unfit(name));
    order.extend(key.into_iter().filter(|name| !order.contains(name)).collect::<Vec<_>>());
    if order.is_empty() { vec![UNDECIDED.to_owned()] } else { order }
}

/// Returns a free name for the entity of a relation.
pub(super) fn entity_name(relation: &str, names: &mut Vec<String>) -> anyhow::Result<String> {
    let plain = |text: &str| -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
        text.chars().map(plain).collect()
    };
    let (schema, table) = halves(relation);
    let short = plain(table);
    let long = format!("{}_{short}", plain(schema));
    let name = [short.clone(), long, format!("t_{short}")]
        .into_iter()
        .find(|name| is_entity_name(name) && !names.contains(name));
    let Some(name) = name else {
        bail!(
            "`{relation}` gives no name for an entity that is free: write its part of the catalogue by hand"
        );
    };
    names.push(name.clone());
    Ok(name)
}

pub(super) fn bare_or_quoted(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(control)));
            }
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

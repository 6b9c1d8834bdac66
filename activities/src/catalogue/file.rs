//! Reads the file: its shape, and the rules that a shape cannot express, each with file, line and key.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use indexmap::IndexMap;
use serde::Deserialize;
use toml::Spanned;

use super::{CatalogueColumn, Entity, KeySet, Use};

/// The key set whose one key is the user.
pub(super) const ACCOUNT: &str = "account";
/// What `catalogue init` writes where a person has to decide.
pub(super) const UNDECIDED: &str = "UNDECIDED";

type Parts = (Vec<KeySet>, Vec<Entity>, Vec<(String, String)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    keys: IndexMap<String, KeysTable>,
    entity: IndexMap<String, EntityTable>,
    #[serde(default)]
    left_out: IndexMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysTable {
    query: Spanned<String>,
    #[serde(default)]
    reads: IndexMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityTable {
    relation: Spanned<String>,
    keys: Spanned<String>,
    by: Spanned<String>,
    order: Spanned<Vec<String>>,
    about: String,
    columns: IndexMap<String, ColumnTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnTable {
    #[serde(rename = "type")]
    pg_type: String,
    #[serde(rename = "use")]
    use_: Spanned<String>,
    about: Option<String>,
    why: Option<String>,
    #[serde(default)]
    computed: bool,
}

/// Reads and checks the file.
pub(super) fn parse(file: &str, text: &str, query: impl Fn(&str) -> Result<String>) -> Result<Parts> {
    let parsed: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line(text, &span));
        anyhow!("{file}:{line}: {}", error.message())
    })?;
    let at = |span: Range<usize>| format!("{file}:{}", line(text, &span));

    let mut keys = Vec::new();
    for (name, table) in parsed.keys {
        let query = if table.query.get_ref().ends_with(".sql") {
            query(table.query.get_ref())
                .map_err(|error| anyhow!("{}: keys.{name}.query: {error:#}", at(table.query.span())))?
        } else {
            table.query.get_ref().clone()
        };
        for relation in table.reads.keys() {
            qualified(relation)
                .map_err(|error| anyhow!("{}: keys.{name}.reads: {error}", at(table.query.span())))?;
        }
        keys.push(KeySet { name, query, reads: table.reads.into_iter().collect() });
    }

    let mut entities = Vec::new();
    for (name, table) in parsed.entity {
        let here = |span: Range<usize>, key: &str| format!("{}: entity.{name}.{key}", at(span));
        if !is_entity_name(&name) {
            bail!(
                "{}: the name must match ^[a-z][a-z0-9_]{{0,62}}$",
                here(table.relation.span(), "relation")
            );
        }
        qualified(table.relation.get_ref())
            .map_err(|error| anyhow!("{}: {error}", here(table.relation.span(), "relation")))?;
        if !keys.iter().any(|keys| keys.name == *table.keys.get_ref()) {
            bail!("{}: there is no [keys.{}]", here(table.keys.span(), "keys"), table.keys.get_ref());
        }
        if table.by.get_ref() == UNDECIDED {
            bail!("{}: decide which column is one of the keys", here(table.by.span(), "by"));
        }
        let order_at = table.order.span();
        let mut columns = Vec::new();
        for (column, table) in table.columns {
            let key = format!("columns.{column}.use");
            let use_ = match table.use_.get_ref().as_str() {
                "export" => Use::Export,
                "pseudonym" if table.pg_type == "uuid" => Use::Pseudonym,
                "pseudonym" => bail!("{}: only a uuid can become a pseudonym", here(table.use_.span(), &key)),
                "omit" if table.why.is_some() => Use::Omit,
                "omit" => bail!("{}: an omitted column says `why`", here(table.use_.span(), &key)),
                UNDECIDED => {
                    bail!("{}: decide: \"export\", \"pseudonym\" or \"omit\"", here(table.use_.span(), &key))
                }
                other => bail!(
                    "{}: `{other}` is not one of \"export\", \"pseudonym\", \"omit\"",
                    here(table.use_.span(), &key)
                ),
            };
            if use_ != Use::Omit && table.about.is_none() {
                bail!("{}: an exported column says what it is `about`", here(table.use_.span(), &key));
            }
            columns.push(CatalogueColumn {
                name: column,
                pg_type: table.pg_type,
                use_,
                about: table.about,
                why: table.why,
                computed: table.computed,
            });
        }
        let order = table.order.into_inner();
        if order.is_empty() {
            bail!("{}: name the columns that put the rows in a unique order", here(order_at, "order"));
        }
        for column in &order {
            if !columns.iter().any(|c| c.name == *column && c.use_ == Use::Export && !c.computed) {
                bail!("{}: `{column}` is not an exported column", here(order_at, "order"));
            }
        }
        entities.push(Entity {
            name,
            relation: table.relation.into_inner(),
            keys: table.keys.into_inner(),
            by: table.by.into_inner(),
            order,
            about: table.about,
            columns,
        });
    }
    if !entities.iter().any(|entity| entity.keys == ACCOUNT) {
        bail!("{file}: no entity uses [keys.{ACCOUNT}]: one must, it tells whether the user still exists");
    }
    Ok((keys, entities, parsed.left_out.into_iter().collect()))
}

fn is_entity_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn qualified(relation: &str) -> Result<()> {
    match relation.split_once('.') {
        Some((schema, name)) if !schema.is_empty() && !name.is_empty() && !name.contains('.') => Ok(()),
        _ => bail!("`{relation}` must be schema-qualified, as in `public.{relation}`"),
    }
}

fn line(text: &str, span: &Range<usize>) -> usize {
    text[..span.start.min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[keys.account]
query = "select $1::uuid as key"
[entity.users]
relation = "public.users"
keys = "account"
by = "id"
order = ["id"]
about = "you"
[entity.users.columns]
id = { type = "uuid", use = "export", about = "your id" }
"#;

    fn error_of(text: &str) -> String {
        match parse("catalogue.toml", text, |_| bail!("no such file")) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_small_catalogue_is_accepted() {
        assert_eq!(error_of(GOOD), "accepted");
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_key() {
        let cases = [
            ("query = \"select $1::uuid as key\"", "query = 5", "catalogue.toml:3: ", "string"),
            ("by = \"id\"", "by = \"id\"\nbye = 1", "catalogue.toml:8: ", "bye"),
            ("keys = \"account\"", "keys = \"teams\"", "catalogue.toml:6: entity.users.keys", "[keys.teams]"),
            ("\"public.users\"", "\"users\"", "catalogue.toml:5: entity.users.relation", "schema-qualified"),
            (
                "use = \"export\"",
                "use = \"UNDECIDED\"",
                "catalogue.toml:11: entity.users.columns.id.use",
                "decide",
            ),
            ("use = \"export\"", "use = \"omit\"", "catalogue.toml:11: entity.users.columns.id.use", "why"),
            ("order = [\"id\"]", "order = [\"name\"]", "catalogue.toml:8: entity.users.order", "`name`"),
            (
                "\"select $1::uuid as key\"",
                "\"q.sql\"",
                "catalogue.toml:3: keys.account.query",
                "no such file",
            ),
            ("[entity.users]", "[entity.Users]", "catalogue.toml:5: entity.Users", "must match"),
            ("[keys.account]", "[keys.account", "catalogue.toml:2: ", ""),
        ];
        for (from, to, place, what) in cases {
            let text = GOOD.replace(from, to).replace(
                "[entity.users.columns]",
                if to.contains("Users") { "[entity.Users.columns]" } else { "[entity.users.columns]" },
            );
            let error = error_of(&text);
            assert!(error.starts_with(place) && error.contains(what), "{to}: {error}");
        }
    }
}

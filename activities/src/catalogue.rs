//! What is exported: the one source of select lists, grants, manifest and dictionary.
//!
//! The key queries say *whose* rows, the columns say *what* of them; nothing that is not listed leaves the database.
//! Reads `catalogue.toml` and its queries, compiled in or from a directory, and refuses what is not decided.

mod file;
mod grants;
mod init;
mod plan;
mod quote;
mod report;

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

pub(crate) use self::quote::{generated, ident, relation};
pub use self::{
    grants::{read_grants, state_grants},
    init::init,
    plan::{EntityPlan, Plan},
    report::Report,
};

const BUILTIN: &str = include_str!("../catalogue.toml");
const BUILTIN_QUERIES: [(&str, &str); 1] =
    [("queries/project_keys.sql", include_str!("../queries/project_keys.sql"))];

/// What may leave the database of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The value.
    Export,
    /// The requester's own id as it is, anybody else's as a pseudonym of this archive.
    Pseudonym,
    /// Nothing.
    Omit,
}

/// One column of an entity.
#[derive(Clone, Debug)]
pub struct CatalogueColumn {
    /// Its name.
    pub name: String,
    /// PostgreSQL's `format_type()` text.
    pub pg_type: String,
    /// What leaves the database of it.
    pub use_: Use,
    /// What it means, for the data dictionary.
    pub about: Option<String>,
    /// Why it is left out.
    pub why: Option<String>,
    /// Made by the key query instead of read from the relation.
    pub computed: bool,
}

/// One entity: a file of each format in the archive.
#[derive(Clone, Debug)]
pub struct Entity {
    /// The name of its files.
    pub name: String,
    /// Schema-qualified relation.
    pub relation: String,
    /// The key set whose rows are exported.
    pub keys: String,
    /// The column that is one of these keys.
    pub by: String,
    /// Order of the rows of one key; unique within it.
    pub order: Vec<String>,
    /// What it is, for the data dictionary.
    pub about: String,
    /// Its columns in the order of the files.
    pub columns: Vec<CatalogueColumn>,
}

/// Whose rows: a query that gives one column `key`, and possibly computed columns, from `$1`, the user.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// Its name.
    pub name: String,
    /// The SQL.
    pub query: String,
    /// Columns that the query reads, by relation.
    pub reads: Vec<(String, Vec<String>)>,
}

/// The whole catalogue.
#[derive(Clone, Debug)]
pub struct Catalogue {
    keys: Vec<KeySet>,
    entities: Vec<Entity>,
    left_out: Vec<(String, String)>,
    sha256: String,
}

impl Catalogue {
    /// Reads the catalogue that is compiled in.
    pub fn builtin() -> Result<Self> {
        Self::parse("catalogue.toml", BUILTIN, |name| {
            let query = BUILTIN_QUERIES.iter().find(|(file, _)| *file == name);
            query.map(|(_, sql)| (*sql).to_owned()).context("there is no such built-in query")
        })
    }

    /// Reads `catalogue.toml` and its queries from a directory (`EXPORT_CATALOGUE_DIR`).
    pub fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("catalogue.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("failed to read the catalogue `{}`", path.display()))?;
        Self::parse(&path.display().to_string(), &text, |name| {
            let path = dir.join(name);
            std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read the query `{}`", path.display()))
        })
    }

    fn parse(file: &str, text: &str, query: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let (keys, entities, left_out) = file::parse(file, text, query)?;
        let mut digest = Sha256::new_with_prefix(text);
        keys.iter().for_each(|keys| digest.update(&keys.query));
        let sha256 = hex::encode(digest.finalize());
        Ok(Self { keys, entities, left_out, sha256 })
    }

    /// Gives the entities in the order of the archive.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Gives the key sets that entities use.
    pub fn keys(&self) -> &[KeySet] {
        &self.keys
    }

    /// Gives the relations that are left out, with the reason.
    pub fn left_out(&self) -> &[(String, String)] {
        &self.left_out
    }

    /// Gives the SHA-256 of the file and its queries, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Gives the entity that holds the account itself: its row decides whether the user still exists.
    pub fn account(&self) -> &Entity {
        // `file::parse` refuses a catalogue without one.
        self.entities.iter().find(|entity| entity.keys == file::ACCOUNT).unwrap_or(&self.entities[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_has_the_five_entities_in_their_order() {
        let catalogue = Catalogue::builtin().unwrap();
        let names: Vec<&str> = catalogue.entities().iter().map(|entity| entity.name.as_str()).collect();
        assert_eq!(names, ["users", "projects", "features", "pipeline_runs", "releases"]);
        assert_eq!(catalogue.account().name, "users");
    }

    #[test]
    fn no_secret_of_the_platform_is_exported() {
        for entity in Catalogue::builtin().unwrap().entities() {
            for column in &entity.columns {
                let secret = ["password", "token", "secret", "hash", "webhook"];
                if secret.iter().any(|word| column.name.contains(word)) {
                    assert_eq!(column.use_, Use::Omit, "{}.{}", entity.name, column.name);
                }
            }
        }
    }
}

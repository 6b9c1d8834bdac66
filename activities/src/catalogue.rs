//! Defines what is exported: the one source of the statements, the grants, the manifest and the dictionary.
//!
//! The catalogue is a text file. [`Catalogue::resolve`] compares it with a database and returns the [`Plan`] by which
//! one export is read. The catalogue names the columns; the keys queries select whose rows. [`collect`](crate::source::snapshot)
//! reads them.

mod changes;
mod check;
mod contact;
mod defaults;
mod document;
mod facts;
mod files;
mod follow;
mod grants;
mod init;
mod inventory;
mod kinds;
mod options;
mod parse;
mod polymorphic;
mod report;
pub(crate) mod sql;
mod statements;
mod system_catalogs;
mod tables;
mod update;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use indexmap::IndexSet;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, SqlStr};

use self::contact::Contact;
pub use self::{
    changes::Change,
    check::{Finding, FindingKind},
    facts::Facts,
    files::FileSet,
    follow::{Link, follow_foreign_keys},
    grants::{portal_grants, state_grants},
    init::init,
    options::Options,
    report::CatalogueReport,
    update::{Update, update},
};
pub use crate::serialise::parts::Use;
use crate::{
    scope::Offer,
    serialise::{Column, parts::Parts},
};

/// The name of the file in `EXPORT_CATALOGUE_DIR`.
pub const FILE: &str = "catalogue.toml";
const BUILTIN: &str = include_str!("../catalogue.toml");
const BUILTIN_QUERIES: [(&str, &str); 1] =
    [("queries/project_keys.sql", include_str!("../queries/project_keys.sql"))];

/// The placeholder in a new catalogue where a person has to decide.
const UNDECIDED: &str = "UNDECIDED";

/// What is exported, of whom, and why the rest is not.
#[derive(Clone, Debug)]
pub struct Catalogue {
    entities: Vec<Entity>,
    files: Vec<FileSet>,
    keys: Vec<Keys>,
    left_out: Vec<LeftOut>,
    contact: Option<Contact>,
    version: Option<u64>,
    account: usize,
    offer: Offer,
    /// Every relation that is read, once each: the entities first.
    relations: IndexSet<String>,
    sha256: String,
    check: SqlStr,
    fingerprint: SqlStr,
    known: Arc<Mutex<Option<KnownPlan>>>,
}

/// The plan of the last export, and the fingerprint of the database that it fits.
#[derive(Clone, Debug)]
pub(crate) struct KnownPlan {
    pub(crate) fingerprint: String,
    pub(crate) plan: Arc<Plan>,
}

/// One entity of the export: one file in each format.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its name, which its files have too.
    pub name: String,
    /// The relation it is read from, `schema.name`.
    pub relation: String,
    /// The keys that select whose rows.
    pub keys: String,
    /// The columns that hold such a key, one for each column of the key.
    pub by: Vec<String>,
    /// What else must hold of its rows.
    pub conditions: Vec<Condition>,
    /// The columns that order its rows, unique within a key.
    pub order: Vec<String>,
    /// What it is, in words for the person whose data it is.
    pub about: String,
    /// What else the person has a right to know about it.
    pub facts: Facts,
    /// What a request may ask for of it.
    pub options: Options,
    /// Its columns, exported or not.
    pub columns: Vec<CatalogueColumn>,
}

/// A condition on the rows of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The column.
    pub column: String,
    /// What its value must be.
    pub is: Is,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Is {
    /// NULL.
    Null,
    /// Anything but NULL.
    NotNull,
    /// One of these constants, as texts.
    OneOf(Vec<String>),
    /// None of these constants; NULL is none of them.
    NoneOf(Vec<String>),
}

/// One decided column.
#[derive(Clone, Debug)]
pub struct CatalogueColumn {
    /// Its name.
    pub name: String,
    /// Its type as `format_type()` writes it.
    pub pg_type: String,
    /// How it is treated.
    pub use_: Use,
    /// What it holds; always there when it is exported, if only in the words of its name.
    pub about: Option<String>,
    /// Why it is omitted; always there when it is.
    pub why: Option<String>,
    /// Whether it comes from the keys query and not from the relation.
    pub computed: bool,
    /// What happens to the parts of its values, which are JSON.
    pub parts: Option<Arc<Parts>>,
}

/// A relation that is not exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The relation.
    pub relation: String,
    /// Why.
    pub why: String,
}

/// A query that selects whose rows.
#[derive(Clone, Debug)]
struct Keys {
    name: String,
    query: String,
    /// Its columns that make up a key.
    columns: Vec<String>,
    /// What the query reads beside the entities: relation and columns.
    reads: Vec<(String, Vec<String>)>,
    /// Its further columns that some entity exports.
    computed: Vec<String>,
}

/// The catalogue as it fits one database: what one export reads.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The entities in catalogue order.
    pub entities: Vec<EntityPlan>,
    /// How the files of each set are listed.
    pub files: Vec<EntityPlan>,
    /// Columns that the database has and the catalogue does not know; they are not exported.
    pub unclassified: Vec<String>,
    /// Reads all keys of one account.
    pub(crate) keys: SqlStr,
    /// Finds which entities have rows, if there are many.
    pub(crate) filled: Option<SqlStr>,
    /// Casts the id of a user to the type of the account's column, and reads nothing.
    pub(crate) cast_user: SqlStr,
}

/// How one entity is read.
#[derive(Clone, Debug)]
pub struct EntityPlan {
    /// Its name.
    pub name: String,
    /// The relation it is read from.
    pub relation: String,
    /// The generated statement; its parameters are the columns of the keys and the computed columns, as arrays of texts.
    pub statement: SqlStr,
    /// The same with the conditions of a scope, whose values are further parameters; `None` if no request can leave rows
    /// out.
    pub(crate) scoped: Option<SqlStr>,
    /// Whether the first two of these are the moments between which its time must be.
    pub(crate) has_time: bool,
    /// The columns whose values are the others.
    pub(crate) filter: Vec<String>,
    /// Casts the same parameters and reads nothing.
    pub(crate) cast: SqlStr,
    /// The columns it returns.
    pub columns: Vec<Column>,
    /// Indexes in `columns` of the columns that name a row.
    pub order: Vec<usize>,
    /// Indexes in `columns` of the table's primary key; empty if not all of it is exported.
    pub primary_key: Vec<usize>,
    /// Index of its keys in the answer to the keys statement.
    pub(crate) keys: usize,
    /// Indexes of the computed columns that follow the keys as parameters.
    pub(crate) computed: Vec<usize>,
}

impl Catalogue {
    /// Returns the catalogue that is compiled in.
    pub fn builtin() -> anyhow::Result<Self> {
        Self::new(FILE, BUILTIN, &mut |name| {
            let query = BUILTIN_QUERIES.iter().find(|(file, _)| *file == name);
            query.map(|(_, text)| (*text).to_owned()).context("it is not compiled in")
        })
    }

    /// Reads `catalogue.toml` and the queries it names from a folder.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        Self::new(&path.display().to_string(), &text, &mut |name| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))
        })
    }

    fn new(
        file: &str,
        text: &str,
        query_file: &mut dyn FnMut(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let parsed = parse::parse(file, text, query_file)?;
        let mut keys = parsed.keys;
        for keys in &mut keys {
            let entities = parsed.entities.iter().filter(|entity| entity.keys == keys.name);
            let computed = entities.flat_map(|entity| &entity.columns).filter(|column| column.computed);
            for column in computed {
                if !keys.computed.contains(&column.name) {
                    keys.computed.push(column.name.clone());
                }
            }
        }
        let relations = relations(&parsed.entities, &keys);
        Ok(Self {
            sha256: digest(text, &keys),
            check: system_catalogs::statement(&relations, &parsed.entities),
            fingerprint: system_catalogs::fingerprint(&relations),
            known: Arc::default(),
            relations,
            offer: options::offer(&parsed.entities, parsed.account),
            entities: parsed.entities,
            files: parsed.files,
            keys,
            left_out: parsed.left_out,
            contact: parsed.contact,
            version: parsed.version,
            account: parsed.account,
        })
    }

    /// Returns the entities in the order of the file, which is also the order of the archive.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Returns the sets of files in object storage.
    pub fn files(&self) -> &[FileSet] {
        &self.files
    }

    /// Returns the relations that are left out on purpose.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Returns the entity that holds the account's own row: without that row there is no account.
    pub fn account(&self) -> &Entity {
        &self.entities[self.account]
    }

    /// Returns what a request may ask for.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Returns the index of that entity.
    pub(crate) fn account_index(&self) -> usize {
        self.account
    }

    /// Returns the SHA-256 of the file and its queries, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the version that the file gives itself.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Returns the columns that the keys queries read, by relation, in addition to those of the entities.
    pub fn reads(&self) -> impl Iterator<Item = &(String, Vec<String>)> {
        self.keys.iter().flat_map(|keys| &keys.reads)
    }

    /// Returns the SQL that lets `export_read` read exactly what the catalogue needs.
    pub fn grants(&self) -> String {
        grants::read_grants(self)
    }

    /// Compares the catalogue with a database and returns the plan of an export.
    ///
    /// A vanished or retyped column is [`Failure::CatalogueDrift`](crate::failure::Failure::CatalogueDrift), row security
    /// on a relation [`Failure::RowSecurity`](crate::failure::Failure::RowSecurity). The connection must be one of
    /// [`source::pool`](crate::source::pool): names of types depend on its `search_path`.
    pub async fn resolve(&self, connection: &mut PgConnection) -> anyhow::Result<Plan> {
        let rows = sqlx::raw_sql(self.check.clone()).fetch_all(connection).await;
        self.plan(&rows.context("failed to read the system catalogs")?)
    }

    /// Returns every difference between catalogue and database. The connection is as for [`Self::resolve`].
    pub async fn report(&self, connection: &mut PgConnection) -> anyhow::Result<CatalogueReport> {
        report::report(self, connection).await
    }

    /// The query whose rows [`Self::learn_plan`] reads: what the database has.
    pub(crate) fn check_statement(&self) -> SqlStr {
        self.check.clone()
    }

    /// The query, to stand in brackets, whose answer changes when the database no longer fits the [known](Self::known_plan)
    /// plan. It does not see every change of a type, so an export that fails must [forget](Self::forget_plan) the plan.
    pub(crate) fn fingerprint_statement(&self) -> SqlStr {
        self.fingerprint.clone()
    }

    /// Returns the plan of the last export.
    pub(crate) fn known_plan(&self) -> Option<KnownPlan> {
        self.known().clone()
    }

    /// Makes the plan from the answer to the check, and keeps it with the fingerprint that the same transaction saw.
    pub(crate) fn learn_plan(
        &self,
        fingerprint: String,
        rows: &[sqlx::postgres::PgRow],
    ) -> anyhow::Result<Arc<Plan>> {
        self.forget_plan();
        let plan = Arc::new(self.plan(rows)?);
        *self.known() = Some(KnownPlan { fingerprint, plan: Arc::clone(&plan) });
        Ok(plan)
    }

    /// Makes the next export compare the catalogue with the database anew.
    pub(crate) fn forget_plan(&self) {
        *self.known() = None;
    }

    fn known(&self) -> MutexGuard<'_, Option<KnownPlan>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the plan, made from the answer to the check.
    fn plan(&self, rows: &[sqlx::postgres::PgRow]) -> anyhow::Result<Plan> {
        let found = check::read(rows)?;
        let unclassified = check::refuse_drift(check::compare(self, &found))?;
        let entities = self.entities.iter().map(|entity| statements::entity(self, entity, &found));
        let entities = entities.collect::<anyhow::Result<Vec<_>>>()?;
        options::refuse_unfit_references(self, &entities)?;
        let files = self.files.iter().map(|files| statements::entity(self, &files.listing, &found));
        Ok(Plan {
            entities,
            files: files.collect::<anyhow::Result<_>>()?,
            unclassified,
            keys: statements::keys(self, &found)?,
            filled: statements::filled(self, &found)?,
            cast_user: statements::cast_user(self, &found)?,
        })
    }

    /// Returns the statement that finds which of the users in `$1` have an account.
    pub(crate) async fn accounts_statement(&self, connection: &mut PgConnection) -> anyhow::Result<SqlStr> {
        let rows = sqlx::raw_sql(self.check.clone()).fetch_all(connection).await;
        let found = check::read(&rows.context("failed to read the system catalogs")?)?;
        statements::accounts(self, &found)
    }

    /// Returns the statement that reads where the user `$1` gets mail: address and locale, as texts. `None` if the catalogue
    /// does not say where that is.
    ///
    /// The connection must be one of [`source::pool`](crate::source::pool).
    pub async fn contact_statement(&self, connection: &mut PgConnection) -> anyhow::Result<Option<SqlStr>> {
        let Some(contact) = &self.contact else { return Ok(None) };
        let rows = sqlx::raw_sql(self.check.clone()).fetch_all(connection).await;
        let found = check::read(&rows.context("failed to read the system catalogs")?)?;
        statements::contact(self, contact, &found).map(Some)
    }

    /// Returns the columns that say where people get mail, as an entity of these columns alone.
    pub fn contact(&self) -> Option<&Entity> {
        self.contact.as_ref().map(|contact| &contact.listing)
    }

    /// Returns name, number of key columns and number of computed columns of each key set, in the order of the answer to
    /// the keys statement.
    pub(crate) fn key_sets(&self) -> impl Iterator<Item = (&str, usize, usize)> {
        self.keys.iter().map(|keys| (keys.name.as_str(), keys.columns.len(), keys.computed.len()))
    }

    /// Returns whether a relation is left out on purpose, by its name or by a pattern in which `*` stands for any text.
    fn leaves_out(&self, relation: &str) -> bool {
        self.left_out.iter().any(|left_out| matches_pattern(&left_out.relation, relation))
    }

    fn relations(&self) -> &IndexSet<String> {
        &self.relations
    }
}

impl Entity {
    /// Returns the columns that decide which rows are read.
    pub fn compared(&self) -> impl Iterator<Item = &str> {
        let conditions = self.conditions.iter().map(|condition| &condition.column);
        self.by.iter().chain(conditions).map(String::as_str)
    }
}

fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches_pattern(after, &rest[at..]))
}

fn relations(entities: &[Entity], keys: &[Keys]) -> IndexSet<String> {
    let read = keys.iter().flat_map(|keys| keys.reads.iter().map(|(relation, _)| relation));
    entities.iter().map(|entity| &entity.relation).chain(read).cloned().collect()
}

fn digest(text: &str, keys: &[Keys]) -> String {
    let mut digest = Sha256::new();
    for text in std::iter::once(text).chain(keys.iter().map(|keys| keys.query.as_str())) {
        digest.update(text.len().to_string());
        digest.update("\n");
        digest.update(text);
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
pub(crate) mod tests;

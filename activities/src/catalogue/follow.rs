//! Proposes a catalogue from the foreign keys: whose rows a table has, through which keys.

use std::{collections::BTreeMap, str::FromStr};

use anyhow::{Context as _, bail};
use sqlx::PgConnection;

use super::{
    UNDECIDED,
    init::{self, Owned, bare_or_quoted, quoted},
    polymorphic,
    sql::{SqlPart, halves, statement},
    tables::{self, ForeignKey, Table},
};

/// Names of the column that holds the owner, the likeliest first, if a table has several foreign keys to the account.
const OWNERS: [&str; 8] =
    ["user_id", "owner_id", "account_id", "person_id", "author_id", "creator_id", "created_by", "sender_id"];

/// A key set that is proposed.
#[derive(Clone)]
pub(super) struct KeySet {
    pub(super) name: String,
    /// The table that it is about; empty if a person wrote it.
    pub(super) of: String,
    /// Its columns, as that table names them.
    pub(super) columns: Vec<String>,
    /// The select that gives them, and nothing else.
    pub(super) query: String,
    /// What it reads.
    pub(super) reads: BTreeMap<String, Vec<String>>,
}

/// What is proposed so far.
pub(super) struct Proposal<'a> {
    pub(super) tables: &'a [Table],
    pub(super) account: &'a Table,
    pub(super) sets: Vec<KeySet>,
    pub(super) entities: Vec<(&'a Table, Owned)>,
}

/// A column that is read as a foreign key wherever a table has it, for platforms that declare none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The column.
    pub column: String,
    /// The table whose primary key it holds, `schema.table`.
    pub to: String,
}

impl FromStr for Link {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (column, to) = text.split_once('=').ok_or("is not of the form column=schema.table")?;
        Ok(Self { column: column.to_owned(), to: to.to_owned() })
    }
}

/// Writes a catalogue of everything from which foreign keys lead to the account, and of each hub, such as an
/// organization, of which the account is a member.
pub async fn follow_foreign_keys(
    connection: &mut PgConnection,
    account: &str,
    hubs: &[String],
    links: &[Link],
) -> anyhow::Result<String> {
    let targets = links.iter().map(|link| &link.to);
    let roots: Vec<&str> = hubs.iter().chain(targets).map(String::as_str).chain([account]).collect();
    let names = tables::list(connection, &roots, &roots).await?.into_iter().map(|table| table.relation);
    let mut tables = tables::read(connection, &names.collect::<Vec<_>>()).await?;
    add_links(&mut tables, links)?;
    propose(&tables, account, hubs)
}

/// Adds a foreign key for each column of a link that has none.
pub(super) fn add_links(tables: &mut [Table], links: &[Link]) -> anyhow::Result<()> {
    for link in links {
        let to = tables.iter().find(|table| table.relation == link.to);
        let key = to
            .with_context(|| {
                format!("there is no table `{}`; give it as `schema.name`, without quotes", link.to)
            })?
            .primary_key();
        if key.len() != 1 {
            bail!("`{}` has no primary key of one column, so `{}` cannot hold it", link.to, link.column);
        }
        if !tables.iter().any(|table| table.column(&link.column).is_some()) {
            bail!("no table has a column `{}`", link.column);
        }
        for table in tables.iter_mut().filter(|table| table.column(&link.column).is_some()) {
            let columns = vec![link.column.clone()];
            if !table.foreign_keys.iter().any(|declared| declared.columns == columns) {
                table.foreign_keys.push(ForeignKey { columns, to: link.to.clone(), to_columns: key.clone() });
            }
        }
    }
    Ok(())
}

fn propose(tables: &[Table], account: &str, hubs: &[String]) -> anyhow::Result<String> {
    let of = |relation: &str| {
        let table = tables.iter().find(|table| table.relation == relation);
        table.with_context(|| {
            format!("there is no table `{relation}`; give it as `schema.name`, without quotes")
        })
    };
    let account = of(account)?;
    let key = account.primary_key();
    let [id] = key.as_slice() else {
        bail!(
            "`{}` has no primary key of one column, so it is unknown what a user's id is",
            account.relation
        );
    };
    let cast = account.column(id).map(|column| column.cast.as_str()).unwrap_or_default();
    let mut proposal = Proposal {
        tables,
        account,
        sets: vec![KeySet {
            name: "account".to_owned(),
            of: account.relation.clone(),
            columns: vec![id.clone()],
            query: format!("select $1::{cast}"),
            reads: BTreeMap::new(),
        }],
        entities: Vec::new(),
    };
    proposal.add(account, "account", key.clone());
    // First: what belongs to a hub belongs to all of its members, not only to the one who made it.
    for hub in hubs {
        proposal.add_hub(of(hub)?)?;
    }
    proposal.follow();
    proposal.add_polymorphic();
    proposal.write()
}

impl<'a> Proposal<'a> {
    pub(super) fn has(&self, relation: &str) -> bool {
        self.entities.iter().any(|(table, _)| table.relation == relation)
    }

    /// Adds a table whose rows have the keys in `by`.
    fn add(&mut self, table: &'a Table, keys: &str, by: Vec<String>) {
        let to_account = table.foreign_keys.iter().filter(|key| key.to == self.account.relation);
        let others = to_account.flat_map(|key| &key.columns).filter(|column| !by.contains(column));
        let others = others.cloned().collect();
        let owned = Owned { keys: keys.to_owned(), narrowed: kinds(table, &by), others, by };
        self.entities.push((table, owned));
    }

    /// Adds all tables that refer to a table that is there, the hubs first, and those that refer to them.
    pub(super) fn follow(&mut self) {
        self.entities.sort_by_key(|(_, owned)| owned.keys == "account");
        let mut at = 0;
        while let Some((parent, owned)) = self.entities.get(at).cloned() {
            for table in self.tables {
                if self.has(&table.relation) {
                    continue;
                }
                let Some(key) = owner(table, &parent.relation) else { continue };
                let keys = self.keys_of(parent, &owned, &key.to_columns);
                self.add(table, &keys, key.columns.clone());
            }
            at += 1;
        }
    }

    /// Returns the name of the keys that are the given columns of a table, which is already an entity.
    fn keys_of(&mut self, table: &Table, owned: &Owned, columns: &[String]) -> String {
        let parent = self.sets.iter().find(|set| set.name == owned.keys).cloned();
        let Some(parent) = parent.filter(|_| columns != owned.by) else { return owned.keys.clone() };
        // Another table that refers to the same columns has them already.
        let same = self.entities.iter().find(|(other, owned)| {
            let mut keys = other.foreign_keys.iter();
            owned.keys != UNDECIDED
                && keys.any(|key| {
                    key.to == table.relation && key.to_columns == columns && key.columns == owned.by
                })
        });
        if let Some((_, owned)) = same {
            return owned.keys.clone();
        }
        let mut name = halves(&table.relation).1.to_owned();
        if let Some(set) = self.sets.iter().find(|set| set.of == table.relation && set.columns == columns) {
            return set.name.clone();
        }
        if self.sets.iter().any(|set| set.name == name) {
            name = format!("{name}_{}", columns.join("_"));
        }
        let mut reads = parent.reads.clone();
        let read = reads.entry(table.relation.clone()).or_default();
        for column in columns.iter().chain(&owned.by).chain(&owned.narrowed) {
            if !read.contains(column) {
                read.push(column.clone());
            }
        }
        let mut query = select(&table.relation, columns, &owned.by, &parent.query);
        // Of the rows that are left out, nothing that refers to them may come.
        for column in &owned.narrowed {
            let column = statement(&[SqlPart::Name(column)]);
            query.push_str(&format!(" and {} = '{UNDECIDED}'", column.as_str()));
        }
        self.sets.push(KeySet {
            name: name.clone(),
            of: table.relation.clone(),
            columns: columns.to_vec(),
            query,
            reads,
        });
        name
    }

    /// Adds a hub and the table of its members.
    fn add_hub(&mut self, hub: &'a Table) -> anyhow::Result<()> {
        // The account itself may name its hub, else a table of members does.
        let of_account = |table: &'a Table| match table.relation == self.account.relation {
            true => Some(self.account.primary_key()),
            false => owner(table, &self.account.relation).map(|key| key.columns.clone()),
        };
        let links = self.tables.iter().filter(|table| table.relation != hub.relation);
        let links = links.filter_map(|table| Some((table, of_account(table)?, owner(table, &hub.relation)?)));
        // Members are a table with one row for each pair of them; an author is no member.
        let unlikely = |(table, by, key): &(&'a Table, Vec<String>, &'a ForeignKey)| {
            let primary = table.primary_key();
            let is_pair = by.iter().chain(&key.columns).all(|column| primary.contains(column));
            (table.relation != self.account.relation, !is_pair, !table.relation.contains("member"))
        };
        let Some((member, by, key)) = links.min_by_key(unlikely) else {
            bail!(
                "no table has foreign keys to both `{}` and `{}`: name the columns with --link, or take --hub away",
                self.account.relation,
                hub.relation
            );
        };
        if !self.has(&member.relation) {
            self.add(member, "account", by.clone());
        }
        let name = halves(&hub.relation).1.to_owned();
        let account = self.sets.first().map(|set| set.query.clone()).unwrap_or_default();
        let mut read = key.columns.clone();
        read.extend(by.iter().filter(|column| !key.columns.contains(column)).cloned());
        self.sets.push(KeySet {
            name: name.clone(),
            of: member.relation.clone(),
            columns: key.columns.clone(),
            query: select(&member.relation, &key.columns, &by, &account),
            reads: BTreeMap::from([(member.relation.clone(), read)]),
        });
        self.add(hub, &name, key.to_columns.clone());
        Ok(())
    }

    /// Adds tables in which `x_type` says whose id `x_id` is. A person has to say what the account's type is.
    pub(super) fn add_polymorphic(&mut self) {
        for table in self.tables.iter().filter(|table| !self.has(&table.relation)).collect::<Vec<_>>() {
            let ids = table.columns.iter().map(|column| column.name.clone());
            let Some(id) = ids.into_iter().find(|id| !kinds(table, std::slice::from_ref(id)).is_empty())
            else {
                continue;
            };
            self.add(table, "account", vec![id]);
        }
    }

    fn write(&self) -> anyhow::Result<String> {
        let rest = self.tables.iter().map(|table| table.relation.as_str()).filter(|name| !self.has(name));
        // The first entity of the account says whether the account exists.
        let mut entities = self.entities.clone();
        entities.sort_by_key(|(table, _)| table.relation != self.account.relation);
        init::write(&write_keys(&self.sets), &entities, &rest.collect::<Vec<_>>())
    }
}

/// Returns the columns without which ids mean nothing: `x_type` beside `x_id`.
pub(super) fn kinds(table: &Table, ids: &[String]) -> Vec<String> {
    ids.iter().flat_map(|id| polymorphic::kinds_of(id)).filter(|kind| table.column(kind).is_some()).collect()
}

/// Writes the sections of keys.
pub(super) fn write_keys(sets: &[KeySet]) -> String {
    let mut keys = String::new();
    for set in sets {
        keys.push_str(&format!("\n[keys.{}]\n", bare_or_quoted(&set.name)));
        let query = if set.reads.is_empty() {
            format!("{} as key", set.query)
        } else {
            let names: Vec<_> = set.columns.iter().map(|column| quoted(column)).collect();
            keys.push_str(&format!("key = [{}]\n", names.join(", ")));
            set.query.clone()
        };
        keys.push_str(&format!("query = '''{query}'''\n"));
        let reads = set.reads.iter().map(|(relation, columns)| {
            let columns: Vec<_> = columns.iter().map(|column| quoted(column)).collect();
            format!("{} = [{}]", quoted(relation), columns.join(", "))
        });
        let reads = reads.collect::<Vec<_>>().join(", ");
        if !reads.is_empty() {
            keys.push_str(&format!("reads = {{ {reads} }}\n"));
        }
    }
    keys
}

/// Returns the foreign key by which the rows of a table belong to rows of another one.
fn owner<'t>(table: &'t Table, to: &str) -> Option<&'t ForeignKey> {
    let keys = || table.foreign_keys.iter().filter(|key| key.to == to && table.relation != to);
    let named = |name: &&str| keys().find(|key| key.columns == [*name]);
    OWNERS.iter().find_map(named).or_else(|| keys().next())
}

/// Selects columns of the rows whose `by` is among the keys that `of` gives.
fn select(relation: &str, columns: &[String], by: &[String], of: &str) -> String {
    let mut parts = vec![SqlPart::Sql("select ")];
    for (index, column) in columns.iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { "" } else { ", " }), SqlPart::Name(column)]);
    }
    parts.extend([SqlPart::Sql(" from "), SqlPart::Relation(relation), SqlPart::Sql(" where (")]);
    for (index, column) in by.iter().enumerate() {
        parts.extend([SqlPart::Sql(if index == 0 { "" } else { ", " }), SqlPart::Name(column)]);
    }
    parts.extend([SqlPart::Sql(") in ("), SqlPart::Trusted(of), SqlPart::Sql(")")]);
    statement(&parts).as_str().to_owned()
}

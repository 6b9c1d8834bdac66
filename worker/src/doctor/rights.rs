//! The rights of the roles `export_state` and `export_read`, and who else can read a secret.

use std::collections::BTreeSet;

use anyhow::Result;
use export_activities::{
    catalogue::{Catalogue, Use},
    database::pool::Pool,
};
use sqlx::Row as _;

use super::Line;
use crate::connect::explain::Explained;

pub(super) const GRANTS: &str = "run the SQL of `export-worker grants` as the owner of the tables";

/// Table rights that `export_state` needs. Inserts and updates are granted by column.
const STATE_NEEDS: [(&str, &str); 21] = [
    ("public.data_export_requests", "SELECT"),
    ("public.data_export_requests", "INSERT"),
    ("public.data_export_requests", "UPDATE"),
    ("public.data_export_events", "SELECT"),
    ("public.data_export_events", "DELETE"),
    ("public.data_export_brakes", "INSERT"),
    ("public.data_export_brakes", "DELETE"),
    ("public.data_export_checks", "INSERT"),
    ("public.data_export_checks", "DELETE"),
    ("public.data_export_installation", "SELECT"),
    ("public.data_export_requests_effective", "SELECT"),
    ("public.data_export_migrations", "SELECT"),
    ("public.data_export_register", "SELECT"),
    ("public.data_export_sessions", "DELETE"),
    ("public.data_export_accesses", "DELETE"),
    ("public.data_export_accesses", "UPDATE"),
    ("public.data_export_progress", "INSERT"),
    ("public.data_export_channels", "SELECT"),
    ("public.data_export_channels", "UPDATE"),
    ("public.data_export_notices", "SELECT"),
    ("public.data_export_notices", "DELETE"),
];

/// The columns of a new request, by the commands of an operator.
const INSERTED: [&str; 7] = ["user_id", "retry_of", "entities", "since", "until", "filters", "formats"];

pub(super) async fn state_rights(pool: &Pool, catalogue: Option<&Catalogue>) -> Result<Line> {
    const CHECK: &str = "rights of export_state";
    let mut missing = Vec::new();
    let mut gone = Vec::new();
    for (table, right) in STATE_NEEDS {
        let exists: bool = sqlx::query_scalar("select pg_catalog.to_regclass($1) is not null")
            .bind(table)
            .fetch_one(pool)
            .await?;
        if !exists {
            gone.push(table);
            continue;
        }
        let has: bool =
            sqlx::query_scalar(
                "select pg_catalog.has_table_privilege(current_user, $1::text, $2)
                     or $2 in ('INSERT', 'UPDATE') and pg_catalog.has_any_column_privilege(current_user, $1::text, $2)",
            )
                .bind(table)
                .bind(right)
                .fetch_one(pool)
                .await?;
        if !has {
            missing.push(format!("{right} on {table}"));
        }
    }
    let columns: Vec<String> = sqlx::query_scalar(
        "select a.attname::text from pg_catalog.pg_attribute a
         where a.attrelid = pg_catalog.to_regclass('public.data_export_requests') and a.attname = any ($1)
             and not pg_catalog.has_column_privilege(current_user, a.attrelid, a.attnum, 'INSERT')
         order by a.attnum",
    )
    .bind(INSERTED)
    .fetch_all(pool)
    .await?;
    if !columns.is_empty() {
        missing.push(format!("INSERT of {} on public.data_export_requests", columns.join(", ")));
    }
    gone.dedup();
    if !gone.is_empty() {
        let cause = format!("{} is gone, although its migration is recorded", gone.join(", "));
        let remedy = "undo the renaming, or restore it from a backup";
        return Ok(Line::failed(CHECK, Explained::new(cause, remedy)));
    }
    if !missing.is_empty() {
        return Ok(Line::failed(CHECK, Explained::new(format!("missing: {}", missing.join(", ")), GRANTS)));
    }
    let mut excess = powers(pool, &[SUPERUSER, OWNER, BYPASS]).await?;
    let may_forge: bool = sqlx::query_scalar(
        "select pg_catalog.has_table_privilege(current_user, 'public.data_export_events', 'INSERT')
             or pg_catalog.has_column_privilege(current_user, 'public.data_export_requests', 'status', 'INSERT')",
    )
    .fetch_one(pool)
    .await?;
    if may_forge {
        excess.push("it may write the log, or requests that are born ready".to_owned());
    }
    for entity in catalogue.map(Catalogue::entities).unwrap_or_default() {
        let (schema, name) = split(&entity.relation);
        let reads = sqlx::query(
            "select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2
                 and pg_catalog.has_any_column_privilege(current_user, c.oid, 'SELECT, INSERT, UPDATE')",
        );
        if reads.bind(schema).bind(name).fetch_optional(pool).await?.is_some() {
            excess.push(format!("it may use {}", entity.relation));
        }
    }
    Ok(verdict(CHECK, excess, "its tables and nothing else"))
}

/// Names every role that is not ours and can read a link or a salt. The platform's roles may read links in the view.
pub(super) async fn link_readers(pool: &Pool, platform: &[String]) -> Result<Line> {
    const CHECK: &str = "readers of links";
    let readers: Vec<String> = sqlx::query_scalar(
        "select r.rolname || ' may read ' || s.relation || '.' || s.secret
         from pg_catalog.pg_roles r, (values
             ('public.data_export_requests', 'download_url', false),
             ('public.data_export_requests', 'pseudonym_salt', false),
             ('public.data_export_requests_effective', 'download_url', true)) s (relation, secret, is_shown)
         where not r.rolsuper and r.rolname not like 'pg\\_%' and r.rolname <> current_user
             and not (s.is_shown and r.rolname = any($1))
             and not pg_catalog.pg_has_role(r.oid,
                 (select c.relowner from pg_catalog.pg_class c where c.oid = s.relation::pg_catalog.regclass), 'MEMBER')
             and pg_catalog.has_column_privilege(r.oid, s.relation, s.secret, 'SELECT')
         order by 1",
    )
    .bind(platform)
    .fetch_all(pool)
    .await?;
    if readers.is_empty() {
        return Ok(Line::ok(CHECK, "only export_state, the owner and the platform's roles"));
    }
    let remedy =
        "revoke that; if the role is the platform's and reads the view, name it in EXPORT_PLATFORM_ROLES";
    Ok(Line::failed(CHECK, Explained::new(some_of(&readers), remedy)))
}

/// Powers of a role: the column below, and the words for it.
const SUPERUSER: (&str, &str) = ("rolsuper", "is a superuser");
const OWNER: (&str, &str) = ("owns", "owns tables");
const BYPASS: (&str, &str) = ("rolbypassrls", "bypasses row-level security");

/// Returns which of these powers the role has. They make a check of other rights pointless.
async fn powers(pool: &Pool, of: &[(&str, &str)]) -> Result<Vec<String>> {
    let row = sqlx::query(
        "select r.rolname, r.rolsuper, r.rolbypassrls, exists (
             select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
                 and pg_catalog.pg_has_role(current_user, c.relowner, 'MEMBER')) as owns
         from pg_catalog.pg_roles r where r.rolname = current_user",
    )
    .fetch_one(pool)
    .await?;
    let role: String = row.try_get("rolname")?;
    let mut found = Vec::new();
    for (column, what) in of {
        if row.try_get(*column)? {
            found.push(format!("`{role}` {what}"));
        }
    }
    Ok(found)
}

fn verdict(check: &'static str, excess: Vec<String>, fine: &str) -> Line {
    if excess.is_empty() {
        Line::ok(check, fine)
    } else {
        let remedy = format!("use a separate role, and {GRANTS}");
        Line::failed(check, Explained::new(some_of(&excess), remedy))
    }
}

/// Checks that the role can read the exported columns and nothing else.
pub(super) async fn read_rights(pool: &Pool, catalogue: &Catalogue) -> Result<Line> {
    const CHECK: &str = "rights of export_read";
    // Where the platform uses row security, the role has to bypass it, or it would miss rows.
    let powers = powers(pool, &[SUPERUSER, OWNER]).await?;
    if !powers.is_empty() {
        return Ok(verdict(CHECK, powers, ""));
    }
    let readable = readable(pool).await?;
    let (needed, omitted) = wanted(catalogue);
    // The catalogue's line reports a missing column: no grant brings it back.
    let there = columns(pool).await?;
    let missing: Vec<_> =
        needed.difference(&readable).filter(|column| there.contains(*column)).cloned().collect();
    if !missing.is_empty() {
        return Ok(Line::failed(
            CHECK,
            Explained::new(format!("it may not read {}", some_of(&missing)), GRANTS),
        ));
    }
    let link = "public.data_export_requests.download_url".to_owned();
    let mut excess: Vec<_> = readable
        .iter()
        .filter(|column| omitted.contains(*column) || **column == link)
        .map(|column| format!("it may read {column}"))
        .collect();
    let writable: Vec<String> = sqlx::query_scalar(
        "select n.nspname || '.' || c.relname
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f')
             and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
             and (pg_catalog.has_table_privilege(current_user, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                  or pg_catalog.has_any_column_privilege(current_user, c.oid, 'INSERT, UPDATE'))
         order by 1",
    )
    .fetch_all(pool)
    .await?;
    excess.extend(writable.into_iter().map(|name| format!("it may write {name}")));
    if !excess.is_empty() {
        return Ok(verdict(CHECK, excess, ""));
    }
    // Extensions let every role read their tables, so extra rights alone are no failure.
    let more: Vec<_> = readable.difference(&needed).cloned().collect();
    if more.is_empty() {
        return Ok(Line::ok(
            CHECK,
            "it reads what is exported; omitted columns, links and writes are refused",
        ));
    }
    let cause = format!("it may also read {}", some_of(&more));
    Ok(Line::warning(CHECK, Explained::new(cause, "revoke that, unless everybody may read it anyway")))
}

/// Returns every column that the role may read outside of PostgreSQL's own schemas, as `schema.relation.column`.
async fn readable(pool: &Pool) -> Result<BTreeSet<String>> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select n.nspname || '.' || c.relname || '.' || a.attname
         from pg_catalog.pg_attribute a
         join pg_catalog.pg_class c on c.oid = a.attrelid
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped
             and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'
             and pg_catalog.has_column_privilege(current_user, c.oid, a.attnum, 'SELECT')",
    )
    .fetch_all(pool)
    .await?;
    Ok(columns.into_iter().collect())
}

/// Returns all existing columns, readable or not.
async fn columns(pool: &Pool) -> Result<BTreeSet<String>> {
    let columns: Vec<String> = sqlx::query_scalar(
        "select n.nspname || '.' || c.relname || '.' || a.attname
         from pg_catalog.pg_attribute a
         join pg_catalog.pg_class c on c.oid = a.attrelid
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped",
    )
    .fetch_all(pool)
    .await?;
    Ok(columns.into_iter().collect())
}

/// Returns the columns that the catalogue needs, and the columns that it omits on purpose.
fn wanted(catalogue: &Catalogue) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut needed, mut omitted) = (BTreeSet::new(), BTreeSet::new());
    for entity in catalogue.entities() {
        needed.extend(entity.compared().map(|column| format!("{}.{column}", entity.relation)));
        for column in entity.columns.iter().filter(|column| !column.computed) {
            let to = if column.use_ == Use::Omit { &mut omitted } else { &mut needed };
            to.insert(format!("{}.{}", entity.relation, column.name));
        }
    }
    for (relation, columns) in catalogue.reads() {
        needed.extend(columns.iter().map(|column| format!("{relation}.{column}")));
    }
    let contact = catalogue.contact().into_iter();
    needed.extend(contact.flat_map(|contact| {
        contact.columns.iter().map(|column| format!("{}.{}", contact.relation, column.name))
    }));
    // A column of a key or of an address is needed anyway.
    let omitted = omitted.difference(&needed).cloned().collect();
    (needed, omitted)
}

/// Names the first few.
pub(super) fn some_of(names: &[String]) -> String {
    const FEW: usize = 5;
    let first = names.iter().take(FEW).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(FEW) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn split(relation: &str) -> (&str, &str) {
    relation.split_once('.').unwrap_or(("public", relation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_column_is_needed_even_when_it_is_not_exported() {
        let (needed, omitted) = wanted(&Catalogue::builtin().unwrap());
        assert!(needed.contains("public.project_members.user_id"), "{needed:?}");
        assert!(omitted.contains("public.users.password_hash"), "{omitted:?}");
        assert!(needed.is_disjoint(&omitted));
    }

    #[test]
    fn a_column_of_an_address_is_needed_even_when_it_is_omitted() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[keys.account]\nquery = \"select $1::text as key\"\n[contact]\nentity = \"users\"\nemail = \"email\"\n\
             [entity.users]\nrelation = \"public.users\"\nkeys = \"account\"\nby = \"id\"\norder = [\"id\"]\n\
             [entity.users.columns]\nid = { type = \"text\", use = \"export\" }\n\
             email = { type = \"text\", use = \"omit\", why = \"you know it\" }\n\
             phone = { type = \"text\", use = \"omit\", why = \"you know it\" }\n";
        std::fs::write(folder.path().join("catalogue.toml"), text).unwrap();
        let (needed, omitted) = wanted(&Catalogue::load(folder.path()).unwrap());
        assert!(needed.contains("public.users.email"), "{needed:?}");
        assert_eq!(Vec::from_iter(omitted), ["public.users.phone"]);
    }
}

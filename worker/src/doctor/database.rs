//! The two databases: reachable and migrated, and each role has its rights and no others.

use std::collections::BTreeSet;

use anyhow::Result;
use export_activities::{
    catalogue::{Catalogue, FindingKind, Use},
    database::pool::Pool,
    source::replica::Fit,
};
use sqlx::{Connection as _, Row as _};

use super::{Line, portal};
use crate::{
    config::{Config, display_database},
    connect::{
        self,
        explain::{self, Explained},
    },
    migrate::{self, Compared},
};

const STATE_URL: &str = "EXPORT_DATABASE_URL";
const SOURCE_URL: &str = "EXPORT_SOURCE_URL";
const REPLICA: &str = "replica";
/// Lag in bytes from which a replica does not catch up in the short time that an export waits for it.
const MUCH_BEHIND: i64 = 64 << 20;
pub(super) const GRANTS: &str = "run the SQL of `export-worker grants` as the owner of the tables";

/// Checks the database of requests. Returns its pool if it answers.
pub(super) async fn state(
    config: &Config,
    catalogue: Option<&Catalogue>,
    lines: &mut Vec<Line>,
) -> Option<Pool> {
    let pool = reach("database", STATE_URL, connect::state(config), config.database_url().ok(), lines).await;
    let Some(pool) = pool else {
        lines.push(Line::skipped("migrations", "the database does not answer"));
        lines.push(Line::skipped("rights of export_state", "the database does not answer"));
        lines.push(Line::skipped("readers of links", "the database does not answer"));
        lines.push(Line::skipped(portal::CHECK, "the database does not answer"));
        return None;
    };
    if let Some(standby) = standby(&pool).await {
        lines.push(standby);
    }
    let migrations = migrations(&pool).await;
    let migrated = migrations.is_ok();
    lines.push(migrations);
    if migrated {
        lines.push(line("rights of export_state", STATE_URL, state_rights(&pool, catalogue).await));
        lines.push(line("readers of links", STATE_URL, link_readers(&pool, &config.platform_roles).await));
        lines.push(line(portal::CHECK, STATE_URL, portal::rights(&pool).await));
    } else {
        lines.push(Line::skipped("rights of export_state", "migrations are missing"));
        lines.push(Line::skipped("readers of links", "migrations are missing"));
        lines.push(Line::skipped(portal::CHECK, "migrations are missing"));
    }
    Some(pool)
}

/// Checks whether accounts can be read on the replica. Without a replica, there is no line.
pub(super) async fn replica(config: &Config, lines: &mut Vec<Line>) {
    let (source, replica) = match (connect::source(config), connect::replica(config)) {
        (Ok(source), Ok(Some(replica))) => (source, replica),
        (_, Ok(None)) => return,
        _ => return lines.push(Line::skipped(REPLICA, "the source is not set")),
    };
    let position = match connect::source_position(&source).await {
        Ok(position) => position,
        Err(error) => return lines.push(Line::failed(REPLICA, explain::source(&error.into(), true))),
    };
    lines.push(match connect::replica_fit(&replica, &position).await {
        Ok(Fit::Unrelated) => Line::failed(REPLICA, explain::unrelated_replica()),
        fit => replica_line(fit, config.replica_url().map(display_database).unwrap_or_default()),
    });
}

/// A fault of the replica is only a warning: accounts are then read on the source.
fn replica_line(fit: sqlx::Result<Fit>, place: String) -> Line {
    let meanwhile = "until then accounts are read on the source";
    match fit {
        Ok(Fit::Lagging(bytes)) if bytes > MUCH_BEHIND => {
            let cause = format!("it is {} MiB behind the source", bytes >> 20);
            let remedy = format!("check its replication and what blocks it; {meanwhile}");
            Line::warning(REPLICA, Explained::new(cause, remedy))
        }
        Ok(Fit::Reached | Fit::Lagging(_)) => Line::ok(REPLICA, place),
        Ok(Fit::Diverged | Fit::Unrelated) => {
            let cause = "it does not follow the source now: promoted, or left behind by a failover";
            let remedy = format!("make it a replica of the source again; {meanwhile}");
            Line::warning(REPLICA, Explained::new(cause, remedy))
        }
        Err(error) => {
            let Explained { cause, remedy } = explain::database(&error.into(), "EXPORT_REPLICA_URL");
            Line::warning(REPLICA, Explained::new(cause, format!("{remedy}; {meanwhile}")))
        }
    }
}

/// Checks the platform's database against the catalogue.
pub(super) async fn source(config: &Config, catalogue: Option<&Catalogue>, lines: &mut Vec<Line>) {
    let pool =
        reach("source database", SOURCE_URL, connect::source(config), config.source_url().ok(), lines).await;
    for (check, because) in [("rights of export_read", "the source"), ("catalogue", "the source")] {
        match (&pool, catalogue) {
            (None, _) => lines.push(Line::skipped(check, &format!("{because} does not answer"))),
            (_, None) => lines.push(Line::skipped(check, "the catalogue cannot be read")),
            (Some(pool), Some(catalogue)) if check == "catalogue" => {
                lines.push(line(check, SOURCE_URL, drift(pool, catalogue).await));
            }
            (Some(pool), Some(catalogue)) => {
                lines.push(line(check, SOURCE_URL, read_rights(pool, catalogue).await));
            }
        }
    }
}

fn line(check: &'static str, variable: &str, found: Result<Line>) -> Line {
    found.unwrap_or_else(|error| Line::failed(check, explain::database(&error, variable)))
}

async fn reach(
    check: &'static str,
    variable: &str,
    pool: Result<Pool>,
    url: Option<&secrecy::SecretString>,
    lines: &mut Vec<Line>,
) -> Option<Pool> {
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            let remedy = format!("set {variable}");
            lines.push(Line::failed(check, Explained::new(format!("{error:#}"), remedy)));
            return None;
        }
    };
    match version(&pool).await {
        Ok(version) => {
            let place = url.map(display_database).unwrap_or_default();
            lines.push(Line::ok(check, format!("PostgreSQL {version} at {place}")));
            Some(pool)
        }
        Err(error) => {
            lines.push(Line::failed(check, explain::database(&error.into(), variable)));
            None
        }
    }
}

async fn version(pool: &Pool) -> sqlx::Result<String> {
    let mut connection = connect::probe(pool).await?;
    let version = sqlx::query_scalar("select pg_catalog.current_setting('server_version')");
    let version = version.fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(version)
}

/// Reports a standby: it refuses our writes, and our reads would lag behind them.
async fn standby(pool: &Pool) -> Option<Line> {
    const CHECK: &str = "database";
    let asked: sqlx::Result<bool> =
        sqlx::query_scalar("select pg_catalog.pg_is_in_recovery()").fetch_one(pool).await;
    match asked {
        Ok(false) => None,
        Ok(true) => {
            let remedy =
                "set EXPORT_DATABASE_URL to the primary, without a load balancer that also leads to standbys";
            Some(Line::failed(
                CHECK,
                Explained::new("the server is a standby, which takes no writes", remedy),
            ))
        }
        Err(error) => Some(Line::failed(CHECK, explain::database(&error.into(), STATE_URL))),
    }
}

async fn migrations(pool: &Pool) -> Line {
    const CHECK: &str = "migrations";
    let compared = async {
        let mut conn = pool.acquire().await?;
        let missing = migrate::missing(&mut conn).await?;
        if missing.is_empty() {
            migrate::compare(&mut conn).await
        } else {
            Ok(Compared { missing, ..Default::default() })
        }
    };
    let versions = |versions: &[i64]| versions.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let (cause, remedy) = match compared.await {
        Err(error) => return Line::failed(CHECK, explain::database(&error, STATE_URL)),
        Ok(Compared { missing, .. }) if !missing.is_empty() => {
            (format!("missing: {}", missing.join(", ")), "run `export-worker migrate`")
        }
        Ok(Compared { changed, .. }) if !changed.is_empty() => (
            format!("applied with another text than this program has: {}", versions(&changed)),
            "use the release that applied them, or undo the change in public.data_export_migrations",
        ),
        Ok(Compared { newer, .. }) if !newer.is_empty() => {
            (format!("applied by a newer release: {}", versions(&newer)), "use that release of export-worker")
        }
        Ok(_) => return Line::ok(CHECK, "all are applied"),
    };
    Line::failed(CHECK, Explained::new(cause, remedy))
}

/// Table rights that `export_state` needs. Inserts and updates are granted by column.
const STATE_NEEDS: [(&str, &str); 14] = [
    ("public.data_export_requests", "SELECT"),
    ("public.data_export_requests", "INSERT"),
    ("public.data_export_requests", "UPDATE"),
    ("public.data_export_events", "SELECT"),
    ("public.data_export_events", "DELETE"),
    ("public.data_export_brakes", "INSERT"),
    ("public.data_export_brakes", "DELETE"),
    ("public.data_export_installation", "SELECT"),
    ("public.data_export_requests_effective", "SELECT"),
    ("public.data_export_migrations", "SELECT"),
    ("public.data_export_sessions", "DELETE"),
    ("public.data_export_accesses", "DELETE"),
    ("public.data_export_accesses", "UPDATE"),
    ("public.data_export_progress", "INSERT"),
];

async fn state_rights(pool: &Pool, catalogue: Option<&Catalogue>) -> Result<Line> {
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
async fn link_readers(pool: &Pool, platform: &[String]) -> Result<Line> {
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
async fn read_rights(pool: &Pool, catalogue: &Catalogue) -> Result<Line> {
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
    // A key column that is not exported is needed anyway.
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

async fn drift(pool: &Pool, catalogue: &Catalogue) -> Result<Line> {
    const CHECK: &str = "catalogue";
    let mut conn = pool.acquire().await?;
    let report = catalogue.report(&mut conn).await?;
    let of = |wanted: fn(FindingKind) -> bool| {
        let findings = report.findings.iter().filter(|finding| wanted(finding.kind));
        findings.map(ToString::to_string).collect::<Vec<_>>()
    };
    // A missing right is on the line of the rights.
    let stops = of(|kind| kind.stops_exports() && kind != FindingKind::NoRight);
    if !stops.is_empty() {
        let none =
            report.findings.iter().filter(|finding| finding.kind == FindingKind::MissingRelation).count();
        let remedy = if none >= catalogue.entities().len() {
            "name the platform's database in EXPORT_SOURCE_URL: it has none of the exported tables"
        } else {
            "decide them in the catalogue; until then no request is exported"
        };
        return Ok(Line::failed(CHECK, Explained::new(stops.join("; "), remedy)));
    }
    let open = of(|kind| !kind.is_warning() && kind != FindingKind::NoRight);
    if !open.is_empty() {
        let cause = format!("not decided, so not exported: {}", open.join("; "));
        let remedy =
            "decide each of them in the catalogue: `use` of a column, an entity or [left_out] for a table";
        return Ok(Line::failed(CHECK, Explained::new(cause, remedy)));
    }
    let warnings = of(FindingKind::is_warning);
    if !warnings.is_empty() {
        let remedy = "create the index, or name the table in [left_out] of the catalogue";
        return Ok(Line::warning(CHECK, Explained::new(some_of(&warnings), remedy)));
    }
    Ok(Line::ok(CHECK, format!("{} entities fit the database", catalogue.entities().len())))
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
}

//! The two databases: reachable and migrated, and each role has its rights and no others.

use anyhow::Result;
use export_activities::{
    catalogue::{Catalogue, FindingKind},
    database::pool::Pool,
    source::replica::Fit,
};
use sqlx::Connection as _;

use super::{Line, portal, rights};
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
        lines.push(line("rights of export_state", STATE_URL, rights::state_rights(&pool, catalogue).await));
        lines.push(line(
            "readers of links",
            STATE_URL,
            rights::link_readers(&pool, &config.platform_roles).await,
        ));
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
                lines.push(line(check, SOURCE_URL, rights::read_rights(pool, catalogue).await));
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
        return Ok(Line::warning(CHECK, Explained::new(rights::some_of(&warnings), remedy)));
    }
    Ok(Line::ok(CHECK, format!("{} entities fit the database", catalogue.entities().len())))
}

//! The role of the portal, and the identity provider whose tokens it takes.

use anyhow::Result;
use export_activities::database::pool::Pool;
use export_portal::caller::tokens::{self, Fault};
use sqlx::Row as _;

use super::{
    Line,
    rights::{GRANTS, some_of},
};
use crate::{config::Config, connect::explain::Explained};

/// The name of the check.
pub(super) const CHECK: &str = "rights of export_portal";

/// Checks the role with which `serve` answers the Internet: it may do what the portal needs, and nothing else.
///
/// Asks as `export_state`, which may ask about every role.
pub(super) async fn rights(pool: &Pool) -> Result<Line> {
    let row = sqlx::query(
        "select r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb as is_strong,
             exists (select from pg_catalog.pg_auth_members m where m.member = r.oid) as is_member,
             (select pg_catalog.array_agg(n.what) from (values
                 ('public.data_export_portal', 'SELECT'), ('public.data_export_register', 'SELECT'),
                 ('public.data_export_policy', 'SELECT'),
                 ('public.data_export_sessions', 'SELECT'), ('public.data_export_sessions', 'INSERT'),
                 ('public.data_export_sessions', 'DELETE')) t (relation, needed),
                 lateral (select t.needed || ' on ' || t.relation as what) n
              where not pg_catalog.has_table_privilege(r.oid, t.relation, t.needed)) as missing,
             (select pg_catalog.array_agg(p.proname || '()') from pg_catalog.pg_proc p
              where p.pronamespace = 'public'::pg_catalog.regnamespace
                  and p.proname in ('data_export_ask', 'data_export_withdraw')
                  and not pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')) as not_callable,
             (select pg_catalog.array_agg(c.oid::pg_catalog.regclass::text order by 1)
              from pg_catalog.pg_class c join pg_catalog.pg_namespace s on s.oid = c.relnamespace
              where c.relkind in ('r', 'p', 'v', 'm', 'f') and s.nspname <> 'information_schema'
                  and s.nspname not like 'pg\\_%'
                  and not (s.nspname = 'public' and c.relname in ('data_export_portal', 'data_export_register', 'data_export_policy',
                      'data_export_sessions', 'data_export_accesses', 'data_export_installation',
                      'data_export_progress'))
                  and (pg_catalog.has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE')
                      or pg_catalog.has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE'))) as others
         from pg_catalog.pg_roles r where r.rolname = 'export_portal'",
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else {
        return Ok(Line::skipped(CHECK, "there is no such role; `serve` needs it"));
    };
    let names = |column: &str| row.try_get::<Option<Vec<String>>, _>(column).map(Option::unwrap_or_default);
    let missing = [names("missing")?, names("not_callable")?].concat();
    if !missing.is_empty() {
        return Ok(Line::failed(CHECK, Explained::new(format!("missing: {}", missing.join(", ")), GRANTS)));
    }
    let mut excess: Vec<_> = names("others")?.into_iter().map(|name| format!("it may use {name}")).collect();
    if row.try_get("is_strong")? {
        excess.insert(
            0,
            "it is a superuser, bypasses row-level security, or may make roles or databases".to_owned(),
        );
    }
    if row.try_get("is_member")? {
        excess.insert(0, "it is a member of other roles".to_owned());
    }
    // Not only a warning: the Internet reaches the process that has this role.
    if excess.is_empty() {
        return Ok(Line::ok(CHECK, "one view without links, two functions, and its sessions"));
    }
    let remedy = "revoke that: `export_portal` is the role of a process that the Internet reaches";
    Ok(Line::failed(CHECK, Explained::new(some_of(&excess), remedy)))
}

/// Fetches the keys of the identity provider, if one is set, as `serve` does.
pub(super) async fn issuer(config: &Config) -> Option<Line> {
    const CHECK: &str = "identity provider";
    let settings = config.portal.issuer.as_ref()?;
    Some(match tokens::fetch(settings).await {
        Err(error) => {
            let remedy = "install certificates of authorities on this machine";
            Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy))
        }
        Ok(Ok(fetched)) => {
            let (usable, all) = (fetched.usable(), fetched.all);
            Line::ok(CHECK, format!("{usable} of its {all} keys can be used"))
        }
        Ok(Err(fault)) => Line::failed(CHECK, Explained::new(fault.to_string(), remedy(fault))),
    })
}

fn remedy(fault: Fault) -> &'static str {
    match fault {
        Fault::NoAnswer | Fault::TimedOut => {
            "check the network between, the certificate of the server, and the host in EXPORT_PORTAL_ISSUER or EXPORT_PORTAL_JWKS_URL"
        }
        Fault::Status(_) | Fault::TooLong | Fault::NoDocument | Fault::NoSet => {
            "fix EXPORT_PORTAL_ISSUER, or set EXPORT_PORTAL_JWKS_URL to where the provider has its keys"
        }
        Fault::OtherIssuer => "set EXPORT_PORTAL_ISSUER to the `issuer` of that document, letter by letter",
        Fault::Plain => "set EXPORT_PORTAL_JWKS_URL to the address of the keys with https",
        Fault::NoUsableKey => "let the provider sign access tokens with RS256, PS256, ES256 or EdDSA",
    }
}

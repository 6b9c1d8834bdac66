//! Generates the rights of the two roles; `export-worker grants` prints them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Catalogue, Use,
    sql::{Part, halves, statement},
};

/// The rights of `export_state` on our own tables, and nobody else's.
///
/// It inserts requests for `request create` and `request retry`, and deletes old events for `events prune`; the
/// triggers decide what either may do, and write the log. Rights that everybody has, by default privileges for instance,
/// are revoked: the table holds links and salts. Rights of other roles are left, because the platform's own are among
/// them, and are named by the notice.
const STATE_GRANTS: &str = "\
revoke all on public.data_export_requests, public.data_export_events, public.data_export_installation,
    public.data_export_requests_effective, public.data_export_migrations, public.data_export_brakes
    from public, export_state;
grant usage on schema public to export_state;
grant select on public.data_export_requests to export_state;
grant insert (user_id, retry_of) on public.data_export_requests to export_state;
grant update (status, download_url, expires_at, object_key, object_location, object_deleted_at, archive_bytes,
    archive_sha256, row_counts, snapshot_at, fulfilled_at, failure_reason, attempts, claims, lost, last_error,
    claim_token, claim_owner, claim_try, lease_until, pseudonym_salt) on public.data_export_requests to export_state;
grant select, delete on public.data_export_events to export_state;
grant select on public.data_export_installation to export_state;
grant execute on function public.data_export_record_location(text) to export_state;
grant execute on function public.data_export_move_location(text, text, boolean) to export_state;
grant select, insert, update, delete on public.data_export_brakes to export_state;
grant select on public.data_export_requests_effective to export_state;
grant select on public.data_export_migrations to export_state;
do $$
declare
    reader text;
begin
    for reader in
        select r.rolname || ' may read ' || n.secret
        from pg_catalog.pg_roles r, (values
            ('public.data_export_requests', 'download_url'), ('public.data_export_requests', 'pseudonym_salt'),
            ('public.data_export_requests_effective', 'download_url')) s (relation, secret),
            lateral (select s.relation || '.' || s.secret as secret) n
        where not r.rolsuper and r.rolname not like 'pg\\_%' and r.rolname <> 'export_state'
            and not pg_catalog.pg_has_role(r.oid,
                (select c.relowner from pg_catalog.pg_class c where c.oid = s.relation::pg_catalog.regclass), 'member')
            and pg_catalog.has_column_privilege(r.oid, s.relation, s.secret, 'select')
    loop
        raise notice '%: revoke that, unless it is the platform and reads the view', reader;
    end loop;
end $$;
";

/// Gives the SQL for the role that keeps requests and log.
pub fn state_grants() -> &'static str {
    STATE_GRANTS
}

/// Gives the SQL for the role that reads the platform: exactly the columns that the statements name.
///
/// Each relation's rights are revoked first, so that a column which became `omit` is lost, too.
pub(super) fn read_grants(catalogue: &Catalogue) -> String {
    let mut columns: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entity in &catalogue.entities {
        let read = columns.entry(&entity.relation).or_default();
        let exported = entity.columns.iter().filter(|column| column.use_ != Use::Omit && !column.computed);
        read.extend(exported.map(|column| column.name.as_str()));
        read.extend(entity.order.iter().map(String::as_str));
        read.insert(&entity.by);
    }
    for (relation, read) in catalogue.keys.iter().flat_map(|keys| &keys.reads) {
        columns.entry(relation).or_default().extend(read.iter().map(String::as_str));
    }

    let mut parts = Vec::new();
    for schema in columns.keys().map(|relation| halves(relation).0).collect::<BTreeSet<_>>() {
        parts.extend([
            Part::Sql("grant usage on schema "),
            Part::Name(schema),
            Part::Sql(" to export_read;\n"),
        ]);
    }
    for (relation, read) in &columns {
        parts.extend([
            Part::Sql("revoke all on "),
            Part::Relation(relation),
            Part::Sql(" from export_read;\ngrant select ("),
        ]);
        for (index, column) in read.iter().enumerate() {
            parts.extend([Part::Sql(if index == 0 { "" } else { ", " }), Part::Name(column)]);
        }
        parts.extend([Part::Sql(") on "), Part::Relation(relation), Part::Sql(" to export_read;\n")]);
    }
    statement(&parts).as_str().to_owned()
}

//! Generates the SQL with the rights of the three roles; `export-worker grants` prints it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Catalogue, Use,
    sql::{SqlPart, halves, statement},
};

/// The rights of `export_state` on our own tables.
///
/// The role inserts requests for `request create` and `request retry`, and deletes old events for `events prune`. The
/// triggers decide which of these are allowed, and write the log. Rights of `public`, such as those from default
/// privileges, are revoked, because the table holds links and salts. Rights of other roles are kept, because the
/// platform needs some of them; a notice names those that read a secret.
const STATE_GRANTS: &str = "\
revoke all on public.data_export_requests, public.data_export_events, public.data_export_installation,
    public.data_export_requests_effective, public.data_export_migrations, public.data_export_brakes,
    public.data_export_policy, public.data_export_sessions, public.data_export_accesses, public.data_export_progress,
    public.data_export_portal, public.data_export_register, public.data_export_channels, public.data_export_notices,
    public.data_export_checks from public, export_state;
grant usage on schema public to export_state;
grant select on public.data_export_requests to export_state;
grant insert (user_id, retry_of, entities, since, until, filters, formats) on public.data_export_requests to export_state;
grant update (user_id, status, download_url, expires_at, object_key, object_location, object_deleted_at, archive_bytes,
    archive_sha256, row_counts, snapshot_at, fulfilled_at, failure_reason, attempts, claims, lost, last_error,
    claim_token, claim_owner, claim_try, lease_until, pseudonym_salt, given_up_at, held_back, deferred_nights,
    deferred_night, asked_by, asked_why, ask_key, ask_print, receipt, filters) on public.data_export_requests to export_state;
grant select, delete on public.data_export_events to export_state;
grant select on public.data_export_installation to export_state;
grant execute on function public.data_export_record_location(text) to export_state;
grant execute on function public.data_export_move_location(text, text, boolean) to export_state;
grant select, insert, update, delete on public.data_export_brakes to export_state;
grant select, insert, update, delete on public.data_export_checks to export_state;
grant select on public.data_export_requests_effective, public.data_export_register to export_state;
grant select on public.data_export_migrations to export_state;
grant select (start, pending_per_user, pending_per_org, ask_every) on public.data_export_policy to export_state;
grant select (user_id), delete on public.data_export_sessions to export_state;
grant select, delete, update (actor, why) on public.data_export_accesses to export_state;
grant select, insert, update, delete on public.data_export_progress to export_state;
grant select, update (is_on, paused_at, paused_because) on public.data_export_channels to export_state;
grant select, delete, update (state, first_due_at, due_at, tries, code, ended_at) on public.data_export_notices
    to export_state;
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

/// Returns the SQL for the role that writes requests and events.
pub fn state_grants() -> &'static str {
    STATE_GRANTS
}

/// The rights of `export_portal`, the role of `export-worker serve`: two views without links, two functions that enforce
/// the policy, the log of accesses, and the sessions. It cannot read a link, a salt or a table of the platform.
const PORTAL_GRANTS: &str = "\
revoke all on public.data_export_requests, public.data_export_events, public.data_export_installation,
    public.data_export_requests_effective, public.data_export_migrations, public.data_export_brakes,
    public.data_export_policy, public.data_export_sessions, public.data_export_accesses, public.data_export_progress,
    public.data_export_portal, public.data_export_register, public.data_export_channels, public.data_export_notices,
    public.data_export_checks from export_portal;
grant usage on schema public to export_portal;
grant select on public.data_export_portal, public.data_export_register to export_portal;
grant select on public.data_export_policy to export_portal;
grant select (location) on public.data_export_installation to export_portal;
grant select (request_id, at) on public.data_export_progress to export_portal;
grant select, insert, delete, update (used_at) on public.data_export_sessions to export_portal;
grant insert (request_id, actor_as, actor, action, why, bytes) on public.data_export_accesses to export_portal;
grant execute on function public.data_export_ask(text, text, text, text, uuid, text, text, text, text[], timestamptz, timestamptz, jsonb, text[])
    to export_portal;
grant execute on function public.data_export_withdraw(uuid, text, text, text) to export_portal;
";

/// Returns the SQL for the role of the portal.
pub fn portal_grants() -> &'static str {
    PORTAL_GRANTS
}

/// Revokes every right of `export_read` on schemas and relations, so that it keeps no right on a relation that left the
/// catalogue or on a column that became `omit`. PostgreSQL's own schemas are left out.
///
/// Only an owner can revoke a right, so a warning names the relations of other owners.
const REVOKE_READ: &str = "\
do $$
declare
    held record;
begin
    for held in
        select n.nspname, null as relname, pg_catalog.pg_has_role(n.nspowner, 'USAGE') as is_ours
        from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a
        where a.grantee = 'export_read'::pg_catalog.regrole
        union
        select n.nspname, c.relname, pg_catalog.pg_has_role(c.relowner, 'USAGE')
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
            pg_catalog.aclexplode(c.relacl) a
        where a.grantee = 'export_read'::pg_catalog.regrole and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        union
        select n.nspname, c.relname, pg_catalog.pg_has_role(c.relowner, 'USAGE')
        from pg_catalog.pg_attribute t
        join pg_catalog.pg_class c on c.oid = t.attrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
            pg_catalog.aclexplode(t.attacl) a
        where a.grantee = 'export_read'::pg_catalog.regrole and not t.attisdropped
    loop
        if held.nspname like 'pg\\_%' or held.nspname = 'information_schema' then
            continue;
        elsif not held.is_ours then
            raise warning 'export_read keeps its rights on %: its owner has to revoke them',
                pg_catalog.concat_ws('.', held.nspname, held.relname);
        elsif held.relname is null then
            execute pg_catalog.format('revoke all on schema %I from export_read', held.nspname);
        else
            execute pg_catalog.format('revoke all on %I.%I from export_read', held.nspname, held.relname);
        end if;
    end loop;
end $$;
";

/// Returns the SQL for the role that reads the platform: rights on exactly the columns that the statements name.
pub(super) fn read_grants(catalogue: &Catalogue) -> String {
    let mut columns: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let listings = catalogue.files.iter().map(|files| &files.listing);
    let listings = listings.chain(catalogue.contact.iter().map(|contact| &contact.listing));
    for entity in catalogue.entities.iter().chain(listings) {
        let read = columns.entry(&entity.relation).or_default();
        let exported = entity.columns.iter().filter(|column| column.use_ != Use::Omit && !column.computed);
        read.extend(exported.map(|column| column.name.as_str()));
        read.extend(entity.order.iter().map(String::as_str));
        read.extend(entity.compared());
    }
    for (relation, read) in catalogue.keys.iter().flat_map(|keys| &keys.reads) {
        columns.entry(relation).or_default().extend(read.iter().map(String::as_str));
    }

    let mut parts = vec![SqlPart::Sql(REVOKE_READ)];
    for schema in columns.keys().map(|relation| halves(relation).0).collect::<BTreeSet<_>>() {
        parts.extend([
            SqlPart::Sql("grant usage on schema "),
            SqlPart::Name(schema),
            SqlPart::Sql(" to export_read;\n"),
        ]);
    }
    for (relation, read) in &columns {
        parts.push(SqlPart::Sql("grant select ("));
        for (index, column) in read.iter().enumerate() {
            parts.extend([SqlPart::Sql(if index == 0 { "" } else { ", " }), SqlPart::Name(column)]);
        }
        parts.extend([
            SqlPart::Sql(") on "),
            SqlPart::Relation(relation),
            SqlPart::Sql(" to export_read;\n"),
        ]);
    }
    statement(&parts).as_str().to_owned()
}

-- Which part of their data a person asks for. All are null by default: the whole. What they mean depends on the catalogue,
-- which the database does not know: it checks only their form. A request that does not fit the catalogue fails as
-- `scope_refused` and names what is not there.
--
-- A role that may insert only `user_id` can ask only for the whole, as before.

-- Texts by column by entity: {"pipeline_runs": {"status": ["failed"]}}.
create function public.data_export_filters_fit(filters jsonb) returns boolean
language sql immutable strict set search_path = '' as $$
    select case
        when pg_catalog.jsonb_typeof(filters) <> 'object' or filters = '{}' then false
        when exists (
            select from pg_catalog.jsonb_each(filters) e
            where pg_catalog.jsonb_typeof(e.value) <> 'object' or e.value = '{}' or e.key !~ '^[a-z][a-z0-9_]{0,62}$'
        ) then false
        when exists (
            select from pg_catalog.jsonb_each(filters) e, pg_catalog.jsonb_each(e.value) c
            where pg_catalog.jsonb_typeof(c.value) <> 'array' or c.value = '[]'
                or pg_catalog.octet_length(c.key) not between 1 and 63 or c.key ~ '[[:cntrl:]]'
        ) then false
        else not exists (
            select from pg_catalog.jsonb_each(filters) e, pg_catalog.jsonb_each(e.value) c,
                pg_catalog.jsonb_array_elements(c.value) v
            where pg_catalog.jsonb_typeof(v) <> 'string'
        )
    end
$$;

comment on function public.data_export_filters_fit(jsonb) is
    'Whether filters have the form {"entity": {"column": ["value", ...]}}';

-- Names of entities, each once.
create function public.data_export_entities_fit(entities text[]) returns boolean
language sql immutable strict set search_path = '' as $$
    select pg_catalog.cardinality(entities) between 1 and 500 and pg_catalog.array_ndims(entities) = 1
        and not exists (select from pg_catalog.unnest(entities) e where e is null or e !~ '^[a-z][a-z0-9_]{0,62}$')
        and (select pg_catalog.count(distinct e) = pg_catalog.count(*) from pg_catalog.unnest(entities) e)
$$;

comment on function public.data_export_entities_fit(text[]) is 'Whether these are names of entities, each once';

alter table public.data_export_requests
    add column entities text[]
        constraint data_export_requests_entities check (public.data_export_entities_fit(entities)),
    add column since timestamptz
        constraint data_export_requests_since check (since >= '0001-01-01Z' and since < '10000-01-01Z'),
    add column until timestamptz
        constraint data_export_requests_until check (until >= '0001-01-01Z' and until < '10000-01-01Z'),
    add column filters jsonb
        constraint data_export_requests_filters
            check (public.data_export_filters_fit(filters) and octet_length(filters::text) <= 16384),
    add constraint data_export_requests_since_until check (since < until);

comment on column public.data_export_requests.entities is 'The entities that are asked for; null: all. Those that they refer to, and the account, come along';
comment on column public.data_export_requests.since is 'No row before this moment, of the entities whose catalogue entry names a time';
comment on column public.data_export_requests.until is 'No row at or after this moment, of the same entities';
comment on column public.data_export_requests.filters is 'Only rows with these values: {"entity": {"column": ["value", ...]}}';

-- A new reason to fail, which waits for a person like the others when it hits many.
alter table public.data_export_requests
    drop constraint data_export_requests_failure_reason_check,
    add constraint data_export_requests_failure_reason_check check (failure_reason in
        ('expired', 'account_deleted', 'revoked', 'withdrawn', 'unreadable_value', 'scope_refused',
         'attempts_exhausted')),
    drop constraint data_export_requests_held_back_check,
    add constraint data_export_requests_held_back_check check (held_back in
        ('account_deleted', 'unreadable_value', 'scope_refused', 'attempts_exhausted'));

comment on column public.data_export_requests.failure_reason is 'expired, account_deleted, revoked, withdrawn, unreadable_value, scope_refused or attempts_exhausted';

-- The options are as fixed as everything else of how a request was asked for.
create or replace function public.data_export_requests_asked() returns trigger
language plpgsql set search_path = '' as $$
declare
    nobody constant text := '00000000-0000-0000-0000-000000000000';
begin
    if new.user_id = nobody and old.user_id <> nobody then
        return new; -- A user is being forgotten: another trigger has the rules for that.
    end if;
    if (new.org_id, new.start, new.asked_as, new.asked_why, new.ask_key, new.ask_print, new.entities, new.since, new.until,
            new.filters)
            is distinct from (old.org_id, old.start, old.asked_as, old.asked_why, old.ask_key, old.ask_print, old.entities,
                old.since, old.until, old.filters)
        or (new.asked_by is distinct from old.asked_by and new.asked_by is distinct from nobody) then
        raise exception 'how an export was asked for never changes'
            using errcode = 'check_violation', constraint = 'data_export_requests_identity';
    end if;
    return new;
end $$;

drop trigger data_export_requests_asked on public.data_export_requests;
create trigger data_export_requests_asked
    before update of org_id, start, asked_as, asked_by, asked_why, ask_key, ask_print, entities, since, until, filters
    on public.data_export_requests
    for each row execute function public.data_export_requests_asked();

-- A value in a filter may say something of the person, so the filters go when the user is forgotten.
create or replace function public.data_export_requests_forget() returns trigger
language plpgsql set search_path = '' as $$
declare
    forgotten constant text[] := '{user_id,last_error,asked_why,ask_key,ask_print,receipt,filters}';
begin
    if old.status <> 'failed' or (old.object_key is not null and old.object_deleted_at is null) then
        raise exception 'the user of an export request is forgotten only after it has ended and its archive is deleted'
            using errcode = 'check_violation', constraint = 'data_export_requests_forget';
    end if;
    if pg_catalog.to_jsonb(new) - forgotten <> pg_catalog.to_jsonb(old) - forgotten then
        raise exception 'to forget the user of an export request changes nothing else'
            using errcode = 'check_violation', constraint = 'data_export_requests_forget';
    end if;
    new.updated_at := clock_timestamp();
    return new;
end $$;

-- The log says which part was delivered: of filters the columns, and not the values.
alter table public.data_export_events
    add column scope jsonb check (scope is null or kind = 'ready');

comment on column public.data_export_events.scope is 'Which part of the data it was, with kind ready; null: the whole';

create or replace function public.data_export_requests_write_log() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    night date := nullif(current_setting('data_export.night', true), '')::date;
    run_id text := nullif(current_setting('data_export.run_id', true), '');
begin
    if new.status <> old.status then
        insert into public.data_export_events
            (request_id, kind, reason, night, run_id, object_key, archive_bytes, archive_sha256, row_counts, scope)
        select new.id, new.status, new.failure_reason, night, run_id, new.object_key,
            r.archive_bytes, r.archive_sha256, r.row_counts, r.scope
        from (select 1) one
        left join (
            select new.archive_bytes, new.archive_sha256, new.row_counts,
                nullif(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                    'entities', new.entities, 'since', new.since, 'until', new.until, 'filters', (
                        select pg_catalog.jsonb_object_agg(e.key, (
                            select pg_catalog.jsonb_agg(c) from pg_catalog.jsonb_object_keys(e.value) c))
                        from pg_catalog.jsonb_each(new.filters) e))), '{}') as scope
        ) r on new.status = 'ready';
        perform pg_catalog.pg_notify('data_export', new.id || ' ' || new.status);
    end if;
    if old.object_deleted_at is null and new.object_deleted_at is not null then
        insert into public.data_export_events (request_id, kind, night, run_id, object_key)
        values (new.id, 'object_deleted', night, run_id, new.object_key);
    end if;
    return null;
end $$;

-- A request that did not fit the catalogue is open in the register: the person still waits for an answer. A later archive
-- answers an earlier request if it is the whole, or the same part.
create or replace view public.data_export_register as
select
    r.id,
    r.user_id,
    r.org_id,
    r.asked_as,
    r.requested_at,
    ((r.requested_at at time zone 'UTC') + interval '1 month')::date as due_on,
    case
        when a.at is not null then 'answered'
        when r.status = 'pending' then 'open'
        when r.failure_reason in ('unreadable_value', 'scope_refused', 'attempts_exhausted') and not u.is_forgotten then 'open'
        else 'closed'
    end as state,
    case when r.status = 'ready' and r.expires_at <= statement_timestamp() then 'failed' else r.status end as status,
    case when r.status = 'ready' and r.expires_at <= statement_timestamp() then 'expired' else r.failure_reason end as reason,
    a.at as answered_at,
    (select min(c.at) from public.data_export_accesses c
     where c.request_id = r.id and c.action in ('linked', 'delivered')) as downloaded_at,
    r.object_deleted_at
from public.data_export_requests r
cross join lateral (select r.user_id = '00000000-0000-0000-0000-000000000000' as is_forgotten) u
cross join lateral (
    select coalesce(r.fulfilled_at, case
        when r.status = 'failed' and not u.is_forgotten
            and r.failure_reason in ('unreadable_value', 'scope_refused', 'attempts_exhausted')
        then (select min(l.fulfilled_at) from public.data_export_requests l
              where l.user_id = r.user_id and l.requested_at > r.requested_at
                  and (row(l.entities, l.since, l.until, l.filters) is null
                      or row(l.entities, l.since, l.until, l.filters)
                          is not distinct from row(r.entities, r.since, r.until, r.filters)))
    end) as at
) a;

drop index public.data_export_requests_failed_by_us;
create index data_export_requests_failed_by_us on public.data_export_requests (requested_at)
    where status = 'failed' and failure_reason in ('unreadable_value', 'scope_refused', 'attempts_exhausted');

create or replace view public.data_export_portal as
select
    r.id,
    r.user_id,
    r.org_id,
    case when r.status = 'ready' and r.expires_at <= statement_timestamp() then 'failed' else r.status end as status,
    case when r.status = 'ready' and r.expires_at <= statement_timestamp() then 'expired' else r.failure_reason end as reason,
    r.start,
    r.requested_at,
    r.asked_as,
    r.fulfilled_at,
    r.snapshot_at,
    r.expires_at,
    r.object_deleted_at,
    case when r.status = 'ready' and r.expires_at > statement_timestamp() then r.object_key end as object_key,
    r.object_location,
    r.archive_bytes,
    r.archive_sha256,
    r.row_counts,
    r.retry_of,
    r.claim_token is not null and r.lease_until > statement_timestamp() as is_running,
    p.attempt,
    p.phase,
    p.done,
    p.total,
    p.entities,
    p.at as progress_at,
    r.start = 'night' or r.claims > 0 or (select y.start from public.data_export_policy y) = 'night' as waits_for_night,
    r.receipt,
    nullif(jsonb_strip_nulls(jsonb_build_object(
        'entities', r.entities, 'since', r.since, 'until', r.until, 'filters', r.filters)), '{}') as scope
from public.data_export_requests r
left join public.data_export_progress p on p.request_id = r.id and p.claim_token = r.claim_token;

comment on column public.data_export_portal.scope is 'Which part of the data is asked for; null: the whole';

-- To ask for a part. A retry asks for the part that failed.
drop function public.data_export_ask(text, text, text, text, uuid, text, text, text);

create function public.data_export_ask(
    p_user text,
    p_org text default null,
    p_start text default null,
    p_key text default null,
    p_retry_of uuid default null,
    p_as text default 'platform',
    p_by text default null,
    p_why text default null,
    p_entities text[] default null,
    p_since timestamptz default null,
    p_until timestamptz default null,
    p_filters jsonb default null
) returns table (outcome text, request_id uuid, retry_after interval)
language plpgsql security definer set search_path = '' as $$
declare
    policy record;
    found_row record;
    ids uuid[];
    waiting integer;
    v_start text;
    -- One spelling of a uuid, as the trigger on the table has it.
    v_user constant text := case
        when p_user ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then pg_catalog.lower(p_user)
        else p_user end;
    v_key bytea;
    v_print bytea;
    is_whole constant boolean := p_entities is null and p_since is null and p_until is null and p_filters is null;
begin
    -- With an older snapshot, the limits would not see what another caller has just made.
    if pg_catalog.current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'data_export_ask needs a transaction that is READ COMMITTED'
            using errcode = 'feature_not_supported';
    end if;
    if v_user = '00000000-0000-0000-0000-000000000000' then
        return query select 'unknown', null::uuid, null::interval; -- The user was forgotten.
        return;
    end if;
    if p_key is not null then
        v_key := pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.jsonb_build_array(p_as, coalesce(p_by, v_user), p_key)::text, 'UTF8'));
        v_print := pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.jsonb_build_array(v_user, p_org, p_start, p_retry_of, p_why)::text
                -- A call for the whole has the digest that it had before there were parts.
                || case when is_whole then '' else
                    pg_catalog.jsonb_build_array(p_entities, p_since at time zone 'UTC', p_until at time zone 'UTC', p_filters)::text
                end, 'UTF8'));
    end if;
    -- Always in this order, so that two callers never wait for each other.
    if p_org is not null then
        perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('data_export org ' || p_org, 0));
    end if;
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('data_export user ' || v_user, 0));
    if v_key is not null then
        perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('data_export key ' || v_key::text, 0));
        select r.id, r.ask_print into found_row from public.data_export_requests r where r.ask_key = v_key;
        if found then
            return query select case when found_row.ask_print = v_print then 'replayed' else 'key_reused' end,
                found_row.id, null::interval;
            return;
        end if;
    end if;
    select p.* into strict policy from public.data_export_policy p;
    v_start := coalesce(p_start, case policy.start when 'at_once' then 'at_once' else 'night' end);
    if v_start not in ('night', 'at_once') or (policy.start <> 'choose' and v_start <> policy.start) then
        return query select 'start_refused', null::uuid, null::interval;
        return;
    end if;
    if p_retry_of is not null then
        select r.status = 'failed' or (r.status = 'ready' and r.expires_at <= pg_catalog.clock_timestamp()) as failed,
            r.entities, r.since, r.until, r.filters
        into found_row from public.data_export_requests r where r.id = p_retry_of and r.user_id = v_user;
        if not found then
            return query select 'unknown', null::uuid, null::interval;
            return;
        elsif not found_row.failed then
            return query select 'not_failed', p_retry_of, null::interval;
            return;
        elsif is_whole then
            -- What failed is asked for again.
            p_entities := found_row.entities;
            p_since := found_row.since;
            p_until := found_row.until;
            p_filters := found_row.filters;
        end if;
    end if;
    -- Gathered, not ordered with a limit, so that no plan walks the queue for one user.
    select pg_catalog.array_agg(r.id order by r.requested_at, r.id) into ids from public.data_export_requests r
    where r.user_id = v_user and r.status = 'pending';
    if pg_catalog.cardinality(ids) >= policy.pending_per_user then
        return query select case policy.pending_per_user when 1 then 'waiting' else 'too_many' end, ids[1],
            null::interval;
        return;
    end if;
    if p_org is not null then
        select pg_catalog.count(*) into waiting from public.data_export_requests r
        where r.org_id = p_org and r.status = 'pending';
        if waiting >= policy.pending_per_org then
            return query select 'org_full', null::uuid, null::interval;
            return;
        end if;
    end if;
    -- A request that failed through no fault of the person does not count against them.
    select r.id, r.requested_at + policy.ask_every - pg_catalog.now() as rest into found_row
    from public.data_export_requests r
    where r.user_id = v_user and r.requested_at > pg_catalog.now() - policy.ask_every
        and coalesce(r.failure_reason, '') not in ('unreadable_value', 'scope_refused', 'attempts_exhausted', 'revoked')
    order by r.requested_at desc, r.id desc
    offset policy.pending_per_user - 1 limit 1;
    if found then
        return query select 'too_soon', found_row.id, found_row.rest;
        return;
    end if;
    insert into public.data_export_requests
        (user_id, org_id, start, retry_of, asked_as, asked_by, asked_why, ask_key, ask_print,
            entities, since, until, filters)
    values (v_user, p_org, v_start, p_retry_of, p_as, p_by, p_why, v_key, v_print, p_entities, p_since, p_until, p_filters)
    returning id into found_row;
    insert into public.data_export_accesses (request_id, actor_as, actor, action, why)
    values (found_row.id, p_as, p_by, 'asked', p_why);
    return query select 'created', found_row.id, policy.ask_every;
end $$;

comment on function public.data_export_ask(text, text, text, text, uuid, text, text, text, text[], timestamptz, timestamptz, jsonb) is
    'Asks for an export within the limits of data_export_policy. Outcomes: created, replayed, waiting (one is pending already), and the refusals key_reused, too_many, org_full, too_soon, start_refused, not_failed, unknown';

revoke all on function public.data_export_ask(text, text, text, text, uuid, text, text, text, text[], timestamptz, timestamptz, jsonb)
    from public;

-- In which formats a person asks for their data. JSON and CSV are in every archive, named or not.
--
-- A role that may insert only `user_id` gets these two, as before.

-- Names of formats, each once. Without a function: every claim and every renewal of a lease checks it.
alter table public.data_export_requests
    add column formats text[] not null default '{json,csv}'
        constraint data_export_requests_formats check (
            formats <@ '{json,csv,xlsx}' and cardinality(formats) > 0 and array_ndims(formats) = 1
            and cardinality(array_positions(formats, 'json')) <= 1
            and cardinality(array_positions(formats, 'csv')) <= 1
            and cardinality(array_positions(formats, 'xlsx')) <= 1);

comment on column public.data_export_requests.formats is 'The formats that are asked for: json, csv, xlsx. The first two are in every archive';

-- The formats are as fixed as everything else of how a request was asked for.
create or replace function public.data_export_requests_asked() returns trigger
language plpgsql set search_path = '' as $$
declare
    nobody constant text := '00000000-0000-0000-0000-000000000000';
begin
    if new.user_id = nobody and old.user_id <> nobody then
        return new; -- A user is being forgotten: another trigger has the rules for that.
    end if;
    if (new.org_id, new.start, new.asked_as, new.asked_why, new.ask_key, new.ask_print, new.entities, new.since, new.until,
            new.filters, new.formats)
            is distinct from (old.org_id, old.start, old.asked_as, old.asked_why, old.ask_key, old.ask_print, old.entities,
                old.since, old.until, old.filters, old.formats)
        or (new.asked_by is distinct from old.asked_by and new.asked_by is distinct from nobody) then
        raise exception 'how an export was asked for never changes'
            using errcode = 'check_violation', constraint = 'data_export_requests_identity';
    end if;
    return new;
end $$;

drop trigger data_export_requests_asked on public.data_export_requests;
create trigger data_export_requests_asked
    before update of org_id, start, asked_as, asked_by, asked_why, ask_key, ask_print, entities, since, until, filters, formats
    on public.data_export_requests
    for each row execute function public.data_export_requests_asked();

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
        'entities', r.entities, 'since', r.since, 'until', r.until, 'filters', r.filters)), '{}') as scope,
    r.formats
from public.data_export_requests r
left join public.data_export_progress p on p.request_id = r.id and p.claim_token = r.claim_token;

comment on column public.data_export_portal.formats is 'The formats that are asked for; json and csv are in every archive';

-- To ask for formats. A retry asks for those of the request that failed.
drop function public.data_export_ask(text, text, text, text, uuid, text, text, text, text[], timestamptz, timestamptz, jsonb);

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
    p_filters jsonb default null,
    p_formats text[] default null
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
                end || coalesce(pg_catalog.to_jsonb((
                    -- The usual formats, in whatever words, are what they were before there were others.
                    select pg_catalog.array_agg(distinct f order by f) from pg_catalog.unnest(p_formats) f
                    where f not in ('json', 'csv')))::text, ''), 'UTF8'));
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
            r.entities, r.since, r.until, r.filters, r.formats
        into found_row from public.data_export_requests r where r.id = p_retry_of and r.user_id = v_user;
        if not found then
            return query select 'unknown', null::uuid, null::interval;
            return;
        elsif not found_row.failed then
            return query select 'not_failed', p_retry_of, null::interval;
            return;
        end if;
        -- What failed is asked for again.
        p_formats := coalesce(p_formats, found_row.formats);
        if is_whole then
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
            entities, since, until, filters, formats)
    values (v_user, p_org, v_start, p_retry_of, p_as, p_by, p_why, v_key, v_print, p_entities, p_since, p_until, p_filters,
        coalesce(p_formats, '{json,csv}'))
    returning id into found_row;
    insert into public.data_export_accesses (request_id, actor_as, actor, action, why)
    values (found_row.id, p_as, p_by, 'asked', p_why);
    return query select 'created', found_row.id, policy.ask_every;
end $$;

comment on function public.data_export_ask(text, text, text, text, uuid, text, text, text, text[], timestamptz, timestamptz, jsonb, text[]) is
    'Asks for an export within the limits of data_export_policy. Outcomes: created, replayed, waiting (one is pending already), and the refusals key_reused, too_many, org_full, too_soon, start_refused, not_failed, unknown';

revoke all on function public.data_export_ask(text, text, text, text, uuid, text, text, text, text[], timestamptz, timestamptz, jsonb, text[])
    from public;

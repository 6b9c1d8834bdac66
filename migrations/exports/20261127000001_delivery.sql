-- For the person who asks: how a request was asked for, limits that hold for every caller, sessions of the portal, and a
-- log of accesses to archives. The role `export_portal` can do no more than the two functions here allow, and what the view `data_export_portal` shows.
--
-- Limits and repeated calls are decided in the database, not in the portal: they hold for plain SQL, too, and two callers
-- at the same moment cannot both pass.

create table public.data_export_policy (
    only_row boolean primary key default true check (only_row),
    start text not null default 'night' check (start in ('night', 'at_once', 'choose')),
    pending_per_user integer not null default 1 check (pending_per_user between 1 and 100),
    pending_per_org integer not null default 100 check (pending_per_org between 1 and 1000000),
    ask_every interval not null default interval '24 hours' check (ask_every between interval '0' and interval '366 days'),
    -- Two random UUIDs: 244 random bits from the server's strong source, without an extension.
    cursor_key bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
        check (length(cursor_key) = 32)
);

comment on table public.data_export_policy is 'One row: how often people may ask for an export, and when it is made. `export-worker policy` changes it';
comment on column public.data_export_policy.only_row is 'Always true: keeps the table at one row';
comment on column public.data_export_policy.start is 'night: each export waits for the night; at_once: each one is made at once; choose: the caller decides';
comment on column public.data_export_policy.pending_per_user is 'Maximum number of requests of one user that are pending, and of those made within ask_every';
comment on column public.data_export_policy.pending_per_org is 'Maximum number of pending requests of one organisation';
comment on column public.data_export_policy.ask_every is 'In which time a user may ask pending_per_user times; requests that failed because of the processor do not count';
comment on column public.data_export_policy.cursor_key is 'Key with which every replica of the portal signs the cursors of its lists';

insert into public.data_export_policy default values;

-- 1. How a request was asked for.

alter table public.data_export_requests
    add column org_id text check (octet_length(org_id) between 1 and 255 and org_id !~ '[[:cntrl:]]'),
    add column start text not null default 'night' check (start in ('night', 'at_once')),
    add column asked_as text not null default 'platform'
        check (asked_as in ('platform', 'owner', 'admin', 'operator', 'service')),
    add column asked_by text check (octet_length(asked_by) between 1 and 255),
    add column asked_why text check (length(asked_why) between 1 and 500),
    add column ask_key bytea check (length(ask_key) = 32),
    add column ask_print bytea check (length(ask_print) = 32),
    add constraint data_export_requests_key_has_print check ((ask_key is null) = (ask_print is null)),
    add constraint data_export_requests_others_say_why check (
        asked_as not in ('admin', 'operator') or (asked_by is not null and asked_why is not null)
    ),
    drop constraint data_export_requests_failure_reason_check,
    add constraint data_export_requests_failure_reason_check check (failure_reason in
        ('expired', 'account_deleted', 'revoked', 'withdrawn', 'unreadable_value', 'attempts_exhausted'));

comment on column public.data_export_requests.org_id is 'The organisation in whose name it was asked for; fixed by the session, null outside of organisations';
comment on column public.data_export_requests.start is 'night: waits for the night; at_once: tried by day first, and once';
comment on column public.data_export_requests.asked_as is 'platform: a plain insert; owner: the person; admin, operator: one of these for the person; service: a service key';
comment on column public.data_export_requests.asked_by is 'Id of the admin or operator, or name of the service key; null when the person asked';
comment on column public.data_export_requests.asked_why is 'Why an admin or operator asked';
comment on column public.data_export_requests.ask_key is 'SHA-256 of caller and idempotency key; a second call with the same key makes no second request';
comment on column public.data_export_requests.ask_print is 'SHA-256 of the other arguments of that call';
comment on column public.data_export_requests.failure_reason is 'expired, account_deleted, revoked, withdrawn, unreadable_value or attempts_exhausted';

create unique index data_export_requests_ask on public.data_export_requests (ask_key) where ask_key is not null;
create index data_export_requests_of_user on public.data_export_requests (user_id, requested_at desc, id desc);
create index data_export_requests_of_org on public.data_export_requests (org_id, requested_at desc, id desc)
    where org_id is not null;
create index data_export_requests_newest on public.data_export_requests (requested_at desc, id desc);
create index data_export_requests_pending_of_org on public.data_export_requests (org_id)
    where status = 'pending' and org_id is not null;
drop index public.data_export_requests_user;

-- A second trigger beside the one for every move: it runs only when one of these columns is written.
create function public.data_export_requests_asked() returns trigger
language plpgsql set search_path = '' as $$
declare
    nobody constant text := '00000000-0000-0000-0000-000000000000';
begin
    if new.user_id = nobody and old.user_id <> nobody then
        return new; -- A user is being forgotten: another trigger has the rules for that.
    end if;
    if (new.org_id, new.start, new.asked_as, new.asked_why, new.ask_key, new.ask_print)
            is distinct from (old.org_id, old.start, old.asked_as, old.asked_why, old.ask_key, old.ask_print)
        or (new.asked_by is distinct from old.asked_by and new.asked_by is distinct from nobody) then
        raise exception 'how an export was asked for never changes'
            using errcode = 'check_violation', constraint = 'data_export_requests_identity';
    end if;
    return new;
end $$;

create trigger data_export_requests_asked
    before update of org_id, start, asked_as, asked_by, asked_why, ask_key, ask_print on public.data_export_requests
    for each row execute function public.data_export_requests_asked();

-- A forgotten user leaves no free text and no digest of an id behind.
create or replace function public.data_export_requests_forget() returns trigger
language plpgsql set search_path = '' as $$
declare
    forgotten constant text[] := '{user_id,last_error,asked_why,ask_key,ask_print}';
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

-- A platform that inserts rows by itself gets the start of the policy.
create function public.data_export_requests_start() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if (select p.start from public.data_export_policy p) = 'at_once' then
        new.start := 'at_once';
    end if;
    return new;
end $$;

revoke all on function public.data_export_requests_start() from public;

create trigger data_export_requests_start before insert on public.data_export_requests
    for each row
    when (new.asked_as = 'platform' and new.start = 'night')
    execute function public.data_export_requests_start();

-- 2. Sessions of the portal. Only digests of tokens are stored.

create table public.data_export_sessions (
    token_hash bytea primary key check (length(token_hash) = 32),
    kind text not null check (kind in ('code', 'cookie', 'token')),
    user_id text not null check (octet_length(user_id) between 1 and 255),
    org_id text check (octet_length(org_id) between 1 and 255),
    roles text[] not null default '{}' check (roles <@ array['manager', 'admin', 'operator']),
    members text[] not null default '{}' check (cardinality(members) <= 50),
    acting text check (octet_length(acting) between 1 and 255),
    return_url text check (octet_length(return_url) <= 2000),
    made_by text not null,
    made_at timestamptz not null default now(),
    used_at timestamptz not null default now(),
    expires_at timestamptz not null
);

comment on table public.data_export_sessions is 'Sessions of the portal: who a token stands for, and until when';
comment on column public.data_export_sessions.token_hash is 'SHA-256 of the token; the token itself is not stored';
comment on column public.data_export_sessions.kind is 'code: works once, within a minute; cookie: of our own page; token: of the element in another page';
comment on column public.data_export_sessions.user_id is 'The person';
comment on column public.data_export_sessions.org_id is 'The organisation in whose name the person acts';
comment on column public.data_export_sessions.roles is 'manager and admin of that organisation, operator of everything';
comment on column public.data_export_sessions.members is 'The members of the organisation for whom an admin may ask';
comment on column public.data_export_sessions.acting is 'The member of the staff who acts as the person, if one does';
comment on column public.data_export_sessions.return_url is 'Where the page leads back to';
comment on column public.data_export_sessions.made_by is 'Name of the service key that made it';
comment on column public.data_export_sessions.made_at is 'When it was made';
comment on column public.data_export_sessions.used_at is 'When it was last used, to the minute';
comment on column public.data_export_sessions.expires_at is 'When it ends at the latest';

create index data_export_sessions_end on public.data_export_sessions (expires_at);
create index data_export_sessions_user on public.data_export_sessions (user_id);

-- 3. Who came to what.

create table public.data_export_accesses (
    id bigint generated always as identity primary key,
    request_id uuid not null references public.data_export_requests (id),
    at timestamptz not null default clock_timestamp(),
    actor_as text not null check (actor_as in ('platform', 'owner', 'manager', 'admin', 'operator', 'service')),
    actor text check (octet_length(actor) between 1 and 255),
    action text not null check (action in ('asked', 'withdrew', 'linked', 'delivered', 'refused')),
    why text check (length(why) between 1 and 500),
    bytes bigint check (bytes >= 0),
    constraint data_export_accesses_others_are_named check (actor_as in ('platform', 'owner') or actor is not null)
);

comment on table public.data_export_accesses is 'Who asked for an export, took it back or downloaded it; kept 24 months, like the fulfilment log';
comment on column public.data_export_accesses.id is 'Order of writing';
comment on column public.data_export_accesses.request_id is 'The request';
comment on column public.data_export_accesses.at is 'When';
comment on column public.data_export_accesses.actor_as is 'In which role';
comment on column public.data_export_accesses.actor is 'Id of the admin or operator, or name of the service key; null for the person and for plain SQL';
comment on column public.data_export_accesses.action is 'asked, withdrew; linked: got a link to the store; delivered: got the last byte; refused: may not download it';
comment on column public.data_export_accesses.why is 'The reason that was given';
comment on column public.data_export_accesses.bytes is 'Size of the archive, with linked and delivered';

create index data_export_accesses_request on public.data_export_accesses (request_id, id);
create index data_export_accesses_at on public.data_export_accesses (at);
create index data_export_accesses_actor on public.data_export_accesses (actor) where actor is not null;

create function public.data_export_accesses_keep() returns trigger
language plpgsql set search_path = '' as $$
begin
    if tg_op = 'DELETE' and old.at < now() - interval '24 months' then
        return old;
    end if;
    -- The only changes, when an account is erased: its id goes, and so do the reasons that were given.
    if tg_op = 'UPDATE' and (new.actor is not distinct from old.actor or new.actor = '00000000-0000-0000-0000-000000000000')
        and (new.why is not distinct from old.why or new.why = 'forgotten')
        and pg_catalog.to_jsonb(new) - '{actor,why}'::text[] = pg_catalog.to_jsonb(old) - '{actor,why}'::text[] then
        return new;
    end if;
    raise exception 'the log of accesses is append-only: % refused', lower(tg_op)
        using errcode = 'insufficient_privilege';
end $$;

create trigger data_export_accesses_keep before update or delete on public.data_export_accesses
    for each row execute function public.data_export_accesses_keep();
create trigger data_export_accesses_keep_all before truncate on public.data_export_accesses
    for each statement execute function public.data_export_accesses_keep();

-- The row of a request goes with its last line of either log.
create or replace function public.data_export_events_prune_request() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    -- A request is kept as long as one that repeats it, so the one that it repeats may go after it.
    candidate uuid := old.request_id;
begin
    while candidate is not null loop
        delete from public.data_export_requests r
        where r.id = candidate and r.status = 'failed' and (r.object_key is null or r.object_deleted_at is not null)
            and not exists (select from public.data_export_events e where e.request_id = r.id)
            and not exists (select from public.data_export_accesses a where a.request_id = r.id)
            and not exists (select from public.data_export_requests n where n.retry_of = r.id)
        returning r.retry_of into candidate;
        exit when not found;
    end loop;
    return null;
end $$;

create trigger data_export_accesses_prune_request after delete on public.data_export_accesses
    for each row execute function public.data_export_events_prune_request();

-- 4. To ask, and to take back. For the portal, and for a platform that calls them by SQL.

create function public.data_export_ask(
    p_user text,
    p_org text default null,
    p_start text default null,
    p_key text default null,
    p_retry_of uuid default null,
    p_as text default 'platform',
    p_by text default null,
    p_why text default null
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
            pg_catalog.jsonb_build_array(v_user, p_org, p_start, p_retry_of, p_why)::text, 'UTF8'));
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
        select r.status = 'failed' or (r.status = 'ready' and r.expires_at <= pg_catalog.clock_timestamp()) as failed
        into found_row from public.data_export_requests r where r.id = p_retry_of and r.user_id = v_user;
        if not found then
            return query select 'unknown', null::uuid, null::interval;
            return;
        elsif not found_row.failed then
            return query select 'not_failed', p_retry_of, null::interval;
            return;
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
        and coalesce(r.failure_reason, '') not in ('unreadable_value', 'attempts_exhausted', 'revoked')
    order by r.requested_at desc, r.id desc
    offset policy.pending_per_user - 1 limit 1;
    if found then
        return query select 'too_soon', found_row.id, found_row.rest;
        return;
    end if;
    insert into public.data_export_requests
        (user_id, org_id, start, retry_of, asked_as, asked_by, asked_why, ask_key, ask_print)
    values (v_user, p_org, v_start, p_retry_of, p_as, p_by, p_why, v_key, v_print)
    returning id into found_row;
    insert into public.data_export_accesses (request_id, actor_as, actor, action, why)
    values (found_row.id, p_as, p_by, 'asked', p_why);
    return query select 'created', found_row.id, policy.ask_every;
end $$;

comment on function public.data_export_ask(text, text, text, text, uuid, text, text, text) is
    'Asks for an export within the limits of data_export_policy. Outcomes: created, replayed, waiting (one is pending already), and the refusals key_reused, too_many, org_full, too_soon, start_refused, not_failed, unknown';

create function public.data_export_withdraw(
    p_id uuid,
    p_as text default 'platform',
    p_by text default null,
    p_why text default null
) returns text
language plpgsql security definer set search_path = '' as $$
declare
    found_status text;
begin
    update public.data_export_requests r
    set status = 'failed', failure_reason = 'withdrawn', download_url = null, pseudonym_salt = null,
        claim_token = null, claim_owner = null, claim_try = null, lease_until = null
    where r.id = p_id
        and (r.status = 'pending' or (r.status = 'ready' and r.expires_at > pg_catalog.clock_timestamp()));
    if not found then
        select r.status into found_status from public.data_export_requests r where r.id = p_id;
        return case when found_status is null then 'unknown' else 'ended' end;
    end if;
    insert into public.data_export_accesses (request_id, actor_as, actor, action, why)
    values (p_id, p_as, p_by, 'withdrew', p_why);
    return 'withdrawn';
end $$;

comment on function public.data_export_withdraw(uuid, text, text, text) is
    'Takes a pending or ready export back; its archive is deleted by the next expiry pass. Returns withdrawn, ended or unknown';

revoke all on function public.data_export_ask(text, text, text, text, uuid, text, text, text) from public;
revoke all on function public.data_export_withdraw(uuid, text, text, text) from public;

-- The log writes itself. Plain SQL is a client too: a status that a person or the platform changes by hand must leave
-- the same event and the same notification as one that the worker changes. So one trigger writes both, and no statement
-- of the worker does.
--
-- The worker says in whose name it moves a row with two settings of its transaction: `data_export.night` (a UTC date)
-- and `data_export.run_id` (a Temporal run). Both are empty for everybody else.

create function public.data_export_requests_write_log() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    night date := nullif(current_setting('data_export.night', true), '')::date;
    run_id text := nullif(current_setting('data_export.run_id', true), '');
begin
    if new.status <> old.status then
        insert into public.data_export_events
            (request_id, kind, reason, night, run_id, object_key, archive_bytes, archive_sha256, row_counts)
        select new.id, new.status, new.failure_reason, night, run_id, new.object_key,
            r.archive_bytes, r.archive_sha256, r.row_counts
        from (select 1) one
        left join (select new.archive_bytes, new.archive_sha256, new.row_counts) r on new.status = 'ready';
        perform pg_catalog.pg_notify('data_export', new.id || ' ' || new.status);
    end if;
    if old.object_deleted_at is null and new.object_deleted_at is not null then
        insert into public.data_export_events (request_id, kind, night, run_id, object_key)
        values (new.id, 'object_deleted', night, run_id, new.object_key);
    end if;
    return null;
end $$;

revoke all on function public.data_export_requests_write_log() from public;

create trigger data_export_requests_write_log after update on public.data_export_requests
    for each row
    when (new.status <> old.status or (old.object_deleted_at is null and new.object_deleted_at is not null))
    execute function public.data_export_requests_write_log();

-- A worker of the release before writes its events by itself. The trigger was first; the second line says the same and
-- is dropped, so that such a worker goes on during the upgrade.
create or replace function public.data_export_events_order() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from public.data_export_events e where e.request_id = new.request_id and e.kind = new.kind) then
        return null;
    end if;
    if (new.kind = 'object_deleted' and not exists (
            select from public.data_export_events e where e.request_id = new.request_id and e.kind = 'failed'))
        or (new.kind = 'ready' and exists (
            select from public.data_export_events e where e.request_id = new.request_id and e.kind = 'failed')) then
        raise exception 'event % of request % is out of order', new.kind, new.request_id
            using errcode = 'check_violation', constraint = 'data_export_events_order';
    end if;
    return new;
end $$;

-- What was delivered never changes: an auditor asks the row, too. A link may end sooner than was promised and never
-- later, because its signature cannot be prolonged.
create or replace function public.data_export_requests_move() returns trigger
language plpgsql set search_path = '' as $$
begin
    if new.id <> old.id or new.user_id <> old.user_id or new.requested_at <> old.requested_at
        or new.retry_of is distinct from old.retry_of then
        raise exception 'id, user_id, requested_at and retry_of of an export request never change'
            using errcode = 'check_violation', constraint = 'data_export_requests_identity';
    end if;
    if new.status <> old.status
        and (old.status, new.status) not in (('pending', 'ready'), ('pending', 'failed'), ('ready', 'failed')) then
        raise exception 'an export request cannot go from % to %', old.status, new.status
            using errcode = 'check_violation', constraint = 'data_export_requests_move';
    end if;
    if old.status <> 'pending' and new.object_key is distinct from old.object_key then
        raise exception 'the object of an export request never changes once it is delivered'
            using errcode = 'check_violation', constraint = 'data_export_requests_object';
    end if;
    if old.status <> 'pending' and (
            (new.archive_bytes, new.archive_sha256, new.row_counts, new.snapshot_at, new.fulfilled_at)
                is distinct from
            (old.archive_bytes, old.archive_sha256, old.row_counts, old.snapshot_at, old.fulfilled_at)
            or new.expires_at > old.expires_at
            or (new.expires_at is null) <> (old.expires_at is null)
            or new.download_url <> old.download_url
            or (old.object_deleted_at is not null and new.object_deleted_at is distinct from old.object_deleted_at)
            or (old.status = 'failed' and new.failure_reason is distinct from old.failure_reason)) then
        raise exception 'what was recorded of a delivered or failed export request never changes'
            using errcode = 'check_violation', constraint = 'data_export_requests_record';
    end if;
    new.updated_at := clock_timestamp();
    return new;
end $$;

-- Request rows no longer stay for ever. The row of an ended request goes with its last line of the log, 24 months later;
-- and the user's id of an erased account can be replaced by the nil UUID once the archive is gone.

create function public.data_export_events_prune_request() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    -- A request is kept as long as one that repeats it, so the one that it repeats may go after it.
    candidate uuid := old.request_id;
begin
    while candidate is not null loop
        delete from public.data_export_requests r
        where r.id = candidate and r.status = 'failed' and (r.object_key is null or r.object_deleted_at is not null)
            and not exists (select from public.data_export_events e where e.request_id = r.id)
            and not exists (select from public.data_export_requests n where n.retry_of = r.id)
        returning r.retry_of into candidate;
        exit when not found;
    end loop;
    return null;
end $$;

-- Security definer: export_state may not delete a request by itself.
revoke all on function public.data_export_events_prune_request() from public;

create trigger data_export_events_prune_request after delete on public.data_export_events
    for each row execute function public.data_export_events_prune_request();

-- Without an index each deleted request would read the whole table.
create index data_export_requests_retry_of on public.data_export_requests (retry_of) where retry_of is not null;

create function public.data_export_requests_forget() returns trigger
language plpgsql set search_path = '' as $$
begin
    if old.status <> 'failed' or (old.object_key is not null and old.object_deleted_at is null) then
        raise exception 'the user of an export request is forgotten only after it has ended and its archive is deleted'
            using errcode = 'check_violation', constraint = 'data_export_requests_forget';
    end if;
    if pg_catalog.to_jsonb(new) - '{user_id,last_error}'::text[]
        <> pg_catalog.to_jsonb(old) - '{user_id,last_error}'::text[] then
        raise exception 'to forget the user of an export request changes nothing else'
            using errcode = 'check_violation', constraint = 'data_export_requests_forget';
    end if;
    new.updated_at := clock_timestamp();
    return new;
end $$;

create trigger data_export_requests_forget before update on public.data_export_requests
    for each row
    when (new.user_id <> old.user_id and new.user_id = '00000000-0000-0000-0000-000000000000')
    execute function public.data_export_requests_forget();

-- The same rule as before for every other update.
create or replace trigger data_export_requests_move before update on public.data_export_requests
    for each row
    when (new.user_id = old.user_id or new.user_id <> '00000000-0000-0000-0000-000000000000')
    execute function public.data_export_requests_move();

comment on column public.data_export_requests.user_id is 'Whose data; no foreign key, because a request outlives the account. The nil UUID: forgotten';

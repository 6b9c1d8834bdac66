-- Exports that are made at once: the database notifies the worker of a new request, and the worker lists it. The channel is
-- not `data_export`: a platform that listens there hears what it heard before.

-- Without `claims`, which each claim of a night changes: an index on it would cost every claim.
create index data_export_requests_at_once on public.data_export_requests (requested_at, id)
    where status = 'pending' and start = 'at_once';

create or replace function public.data_export_requests_log() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into public.data_export_events (request_id, kind) values (new.id, 'requested');
    if new.start = 'at_once' then
        perform pg_catalog.pg_notify('data_export_at_once', '');
    end if;
    return null;
end $$;

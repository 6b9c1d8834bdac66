-- Exports that are made at once: the worker is notified of a new request and lists it. On a channel of its own, so that a
-- platform that listens to `data_export` hears what it heard before.

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

-- One attempt by day; what it leaves pending is served by the night.
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
    r.start = 'night' or r.claims > 0 or (select y.start from public.data_export_policy y) = 'night' as waits_for_night
from public.data_export_requests r
left join public.data_export_progress p on p.request_id = r.id and p.claim_token = r.claim_token;

comment on column public.data_export_portal.waits_for_night is 'The night serves it: it was asked for so, its attempt by day has ended, or nothing starts by day any more';

-- Whether an archive is still what was delivered. A night compares the size of each with its row, and reads some of them
-- back; the database remembers when, and what was found, so that `status` and the metrics can say it.

create table public.data_export_checks (
    request_id uuid primary key references public.data_export_requests (id) on delete cascade,
    checked_at timestamptz not null default clock_timestamp(),
    finding text check (finding in ('missing', 'other_size', 'other_bytes', 'unreadable'))
);

comment on table public.data_export_checks is 'When the archive of a ready request was last compared with its row, and what was found';
comment on column public.data_export_checks.request_id is 'The request';
comment on column public.data_export_checks.checked_at is 'When';
comment on column public.data_export_checks.finding is 'missing, other_size, other_bytes, or unreadable: the store refuses to give it; null if it was as delivered';

create index data_export_checks_damaged on public.data_export_checks (request_id) where finding is not null;

-- To compare a listing of the bucket with the rows, range by range.
create index data_export_requests_ready on public.data_export_requests (id) where status = 'ready';

-- The log has a line when an archive is found damaged for the first time.
alter table public.data_export_events
    drop constraint data_export_events_kind_check,
    add constraint data_export_events_kind_check check (kind in ('requested', 'ready', 'failed', 'object_deleted', 'damaged')),
    drop constraint data_export_events_failed_says_why,
    add constraint data_export_events_failed_says_why check ((kind in ('failed', 'damaged')) = (reason is not null));

comment on column public.data_export_events.kind is 'requested, ready, failed, object_deleted: at most one of each, in this order; damaged, once, while ready';
comment on column public.data_export_events.reason is 'failure_reason, with kind failed; the finding, with kind damaged';

create function public.data_export_checks_write_log() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into public.data_export_events (request_id, kind, reason, object_key)
    select r.id, 'damaged', new.finding, r.object_key from public.data_export_requests r where r.id = new.request_id;
    return null;
end $$;

revoke all on function public.data_export_checks_write_log() from public;

create trigger data_export_checks_write_log after insert or update on public.data_export_checks
    for each row when (new.finding is not null) execute function public.data_export_checks_write_log();

-- A damaged archive is the operator's to deal with, and no news for the person or the platform.
drop trigger data_export_events_notify on public.data_export_events;
create trigger data_export_events_notify after insert on public.data_export_events
    for each row when (new.kind <> 'damaged') execute function public.data_export_events_notify();

-- How far a long export is, for the person who waits. Unlogged: it costs no WAL, and a crash may lose it. A short export
-- ends before its first report and writes nothing.

create unlogged table public.data_export_progress (
    request_id uuid primary key,
    claim_token uuid not null,
    attempt integer not null check (attempt > 0),
    phase text not null check (phase in ('reading', 'uploading')),
    done bigint not null check (done >= 0),
    total bigint check (total >= 0),
    entities jsonb not null check (jsonb_typeof(entities) = 'object'),
    at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

comment on table public.data_export_progress is 'Progress of the exports that are being made and take longer than a few seconds';
comment on column public.data_export_progress.request_id is 'The request';
comment on column public.data_export_progress.claim_token is 'The attempt that reports; the row of another attempt means nothing';
comment on column public.data_export_progress.attempt is 'Which attempt it is, from 1, as the person counts: claims of the request';
comment on column public.data_export_progress.phase is 'reading: done and total are rows; uploading: they are bytes';
comment on column public.data_export_progress.done is 'Rows that were read, or bytes that were sent';
comment on column public.data_export_progress.total is 'How many there will be: for rows an estimate by the last export of the same user, null without one';
comment on column public.data_export_progress.entities is 'Rows that were read, by entity';
comment on column public.data_export_progress.at is 'When it was reported';

-- The portal sees the progress of the attempt that holds the request, and of no other.
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
    p.at as progress_at
from public.data_export_requests r
left join public.data_export_progress p on p.request_id = r.id and p.claim_token = r.claim_token;

comment on column public.data_export_portal.attempt is 'Which attempt reports progress, from 1';
comment on column public.data_export_portal.phase is 'reading or uploading';
comment on column public.data_export_portal.done is 'Rows that were read, or bytes that were sent';
comment on column public.data_export_portal.total is 'How many there will be, if that is known';
comment on column public.data_export_portal.entities is 'Rows that were read, by entity';
comment on column public.data_export_portal.progress_at is 'When that was reported';

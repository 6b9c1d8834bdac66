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

-- The queue of export requests, their log, and what ties them to one bucket.
--
-- `pending` is the only open state: a crashed worker must never strand a request in between, so what
-- keeps two attempts apart is a claim on the row (claim_*, lease_until), not a fourth state. The constraints make
-- every illegal combination impossible, whoever writes the row.

create table public.data_export_installation (
    only_row boolean primary key default true check (only_row),
    id uuid not null default gen_random_uuid()
);

comment on table public.data_export_installation is 'One row: the identity of this installation, repeated in the bucket so that two installations never share one';
comment on column public.data_export_installation.only_row is 'Always true: keeps the table at one row';
comment on column public.data_export_installation.id is 'The id that the object exports/.installation must hold';

insert into public.data_export_installation default values;

create table public.data_export_requests (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null,
    status text not null default 'pending' check (status in ('pending', 'ready', 'failed')),
    requested_at timestamptz not null default now(),
    download_url text,
    expires_at timestamptz,
    object_key text unique,
    object_deleted_at timestamptz,
    archive_bytes bigint check (archive_bytes > 0),
    archive_sha256 text check (archive_sha256 ~ '^[0-9a-f]{64}$'),
    row_counts jsonb check (jsonb_typeof(row_counts) = 'object'),
    snapshot_at timestamptz,
    fulfilled_at timestamptz,
    failure_reason text check (failure_reason in ('expired', 'account_deleted', 'revoked', 'unreadable_value', 'attempts_exhausted')),
    attempts integer not null default 0 check (attempts >= 0),
    claims integer not null default 0 check (claims >= 0),
    lost integer not null default 0 check (lost >= 0),
    last_error text,
    claim_token uuid,
    claim_owner text,
    claim_try integer,
    lease_until timestamptz,
    -- Two random UUIDs: 244 random bits from the server's strong source, without an extension.
    pseudonym_salt bytea default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'),
    retry_of uuid references public.data_export_requests (id),
    updated_at timestamptz not null default now(),

    constraint data_export_requests_pending_has_nothing_yet check (
        status <> 'pending' or (
            download_url is null and expires_at is null and object_key is null and object_deleted_at is null
            and archive_bytes is null and archive_sha256 is null and row_counts is null and snapshot_at is null
            and fulfilled_at is null and failure_reason is null and pseudonym_salt is not null
        )
    ),
    constraint data_export_requests_ready_is_complete check (
        status <> 'ready' or (
            download_url is not null and expires_at is not null and object_key is not null and object_deleted_at is null
            and archive_bytes is not null and archive_sha256 is not null and row_counts is not null
            and snapshot_at is not null and fulfilled_at is not null and failure_reason is null
        )
    ),
    constraint data_export_requests_failed_says_why check (
        status <> 'failed' or (failure_reason is not null and download_url is null)
    ),
    constraint data_export_requests_only_delivered_expire check (failure_reason <> 'expired' or object_key is not null),
    constraint data_export_requests_deleted_object_is_named check (
        object_deleted_at is null or (status = 'failed' and object_key is not null)
    ),
    constraint data_export_requests_salt_only_while_pending check (status = 'pending' or pseudonym_salt is null),
    constraint data_export_requests_claim_only_while_pending check (status = 'pending' or claim_token is null),
    constraint data_export_requests_claim_is_whole check (
        (claim_token is null) = (claim_owner is null)
        and (claim_token is null) = (claim_try is null)
        and (claim_token is null) = (lease_until is null)
    )
);

comment on table public.data_export_requests is 'One row per request for a copy of a user''s data; pending -> ready -> failed, or pending -> failed';
comment on column public.data_export_requests.id is 'The request';
comment on column public.data_export_requests.user_id is 'Whose data; no foreign key, because a request outlives the account';
comment on column public.data_export_requests.status is 'pending: waits for a night; ready: download_url works until expires_at; failed: failure_reason says why';
comment on column public.data_export_requests.requested_at is 'When the user asked; the queue is served in this order';
comment on column public.data_export_requests.download_url is 'The presigned link, a bearer secret; only while ready';
comment on column public.data_export_requests.expires_at is 'When the link stops working; kept on failed rows that were ready once';
comment on column public.data_export_requests.object_key is 'The archive in the bucket: exports/<request id>/<claim token>.zip';
comment on column public.data_export_requests.object_deleted_at is 'When the archive of a failed request was removed from the bucket; until then it still has to be';
comment on column public.data_export_requests.archive_bytes is 'Size of the archive in bytes';
comment on column public.data_export_requests.archive_sha256 is 'SHA-256 of the archive, lower-case hexadecimal';
comment on column public.data_export_requests.row_counts is 'Rows by entity, as in the archive''s manifest';
comment on column public.data_export_requests.snapshot_at is 'now() of the transaction in which the data was read';
comment on column public.data_export_requests.fulfilled_at is 'When the request became ready';
comment on column public.data_export_requests.failure_reason is 'expired, account_deleted, revoked, unreadable_value or attempts_exhausted';
comment on column public.data_export_requests.attempts is 'Attempts that failed in the processor''s own code; faults of database, store or network are not counted';
comment on column public.data_export_requests.claims is 'How often an attempt took the request; information only';
comment on column public.data_export_requests.lost is 'Claims that were replaced without having been released: workers killed while they held the request';
comment on column public.data_export_requests.last_error is 'Class and closed code of the last failed attempt, with object names; never a row value';
comment on column public.data_export_requests.claim_token is 'The attempt that may finish the request; also the last part of its object key';
comment on column public.data_export_requests.claim_owner is 'Workflow id, run id and activity id of that attempt';
comment on column public.data_export_requests.claim_try is 'Temporal''s attempt number of that activity';
comment on column public.data_export_requests.lease_until is 'Until when no other activity may take the request over';
comment on column public.data_export_requests.pseudonym_salt is 'Key of the pseudonyms in this archive; erased when the row leaves pending';
comment on column public.data_export_requests.retry_of is 'The failed request that this one repeats';
comment on column public.data_export_requests.updated_at is 'When the row last changed';

create index data_export_requests_queue on public.data_export_requests (requested_at, id) where status = 'pending';
create index data_export_requests_overdue on public.data_export_requests (expires_at) where status = 'ready';
create index data_export_requests_delete on public.data_export_requests (id)
    where status = 'failed' and object_key is not null and object_deleted_at is null;
create index data_export_requests_user on public.data_export_requests (user_id);

create table public.data_export_events (
    id bigint generated always as identity primary key,
    request_id uuid not null references public.data_export_requests (id),
    at timestamptz not null default clock_timestamp(),
    kind text not null check (kind in ('requested', 'ready', 'failed', 'object_deleted')),
    reason text,
    night date,
    run_id text,
    object_key text,
    archive_bytes bigint,
    archive_sha256 text,
    row_counts jsonb,
    constraint data_export_events_once unique (request_id, kind),
    constraint data_export_events_failed_says_why check ((kind = 'failed') = (reason is not null)),
    constraint data_export_events_ready_is_complete check (
        kind <> 'ready' or (object_key is not null and archive_bytes is not null and archive_sha256 is not null and row_counts is not null)
    )
);

comment on table public.data_export_events is 'The fulfilment log: what happened to each request, kept 24 months; ids, counts and digests, no personal data';
comment on column public.data_export_events.id is 'Order of writing';
comment on column public.data_export_events.request_id is 'The request';
comment on column public.data_export_events.at is 'When';
comment on column public.data_export_events.kind is 'requested, ready, failed, object_deleted: at most one of each, in this order';
comment on column public.data_export_events.reason is 'failure_reason, with kind failed';
comment on column public.data_export_events.night is 'The night (UTC date) in whose name it happened, if any';
comment on column public.data_export_events.run_id is 'The Temporal run that did it, if any';
comment on column public.data_export_events.object_key is 'The archive';
comment on column public.data_export_events.archive_bytes is 'Its size in bytes, with kind ready';
comment on column public.data_export_events.archive_sha256 is 'Its SHA-256, with kind ready';
comment on column public.data_export_events.row_counts is 'Rows by entity, with kind ready';

-- All that the portal sees of a request: no link, no salt, no claim, no text of an error. Its progress is that of the
-- attempt that holds the request, and of no other. A request is tried once by day; what is still pending then waits for
-- the night.
--
-- The view hides columns and no rows, so it needs no security barrier; and it has no volatile function. Either would keep
-- PostgreSQL from using the order of an index for a page of a list. `statement_timestamp()` is exact to the second, too.

create view public.data_export_portal as
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

comment on view public.data_export_portal is 'What the portal may see of requests, exact to the second';
comment on column public.data_export_portal.id is 'The request';
comment on column public.data_export_portal.user_id is 'Whose data';
comment on column public.data_export_portal.org_id is 'In the name of which organisation it was asked for';
comment on column public.data_export_portal.status is 'pending, ready or failed, exact at the moment of reading';
comment on column public.data_export_portal.reason is 'Why it failed';
comment on column public.data_export_portal.start is 'night or at_once';
comment on column public.data_export_portal.requested_at is 'When it was asked for';
comment on column public.data_export_portal.asked_as is 'In which role it was asked for';
comment on column public.data_export_portal.fulfilled_at is 'When it became ready';
comment on column public.data_export_portal.snapshot_at is 'When the data was read';
comment on column public.data_export_portal.expires_at is 'Until when it can be downloaded';
comment on column public.data_export_portal.object_deleted_at is 'When its archive was deleted';
comment on column public.data_export_portal.object_key is 'The archive in the bucket, while it is ready';
comment on column public.data_export_portal.object_location is 'The bucket of the archive';
comment on column public.data_export_portal.archive_bytes is 'Size of the archive in bytes';
comment on column public.data_export_portal.archive_sha256 is 'SHA-256 of the archive, lower-case hexadecimal';
comment on column public.data_export_portal.row_counts is 'Rows by entity';
comment on column public.data_export_portal.retry_of is 'The failed request that it repeats';
comment on column public.data_export_portal.is_running is 'An attempt holds it now';
comment on column public.data_export_portal.attempt is 'Which attempt reports progress, from 1';
comment on column public.data_export_portal.phase is 'reading or uploading';
comment on column public.data_export_portal.done is 'Rows that were read, or bytes that were sent';
comment on column public.data_export_portal.total is 'How many there will be, if that is known';
comment on column public.data_export_portal.entities is 'Rows that were read, by entity';
comment on column public.data_export_portal.progress_at is 'When that was reported';
comment on column public.data_export_portal.waits_for_night is 'The night serves it: it was asked for so, its attempt by day has ended, or nothing starts by day any more';

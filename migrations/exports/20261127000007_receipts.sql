-- A receipt: a signed statement of what was delivered, and when. A worker that has a key writes it with the move to ready.

alter table public.data_export_requests
    add column receipt text check (receipt <> '');

comment on column public.data_export_requests.receipt is 'The signed receipt (JWS) of what was delivered; null without a key of receipts, and after the user was forgotten';

create function public.data_export_requests_receipt() returns trigger
language plpgsql set search_path = '' as $$
begin
    if new.receipt is distinct from old.receipt
        and not (old.receipt is null and old.status = 'pending' and new.status = 'ready')
        and not (new.receipt is null and new.user_id = '00000000-0000-0000-0000-000000000000') then
        raise exception 'the receipt of an export never changes'
            using errcode = 'check_violation', constraint = 'data_export_requests_record';
    end if;
    return new;
end $$;

create trigger data_export_requests_receipt before update of receipt on public.data_export_requests
    for each row execute function public.data_export_requests_receipt();

-- A receipt names the user, so it goes when the user is forgotten.
create or replace function public.data_export_requests_forget() returns trigger
language plpgsql set search_path = '' as $$
declare
    forgotten constant text[] := '{user_id,last_error,asked_why,ask_key,ask_print,receipt}';
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
    r.start = 'night' or r.claims > 0 or (select y.start from public.data_export_policy y) = 'night' as waits_for_night,
    r.receipt
from public.data_export_requests r
left join public.data_export_progress p on p.request_id = r.id and p.claim_token = r.claim_token;

comment on column public.data_export_portal.receipt is 'The signed receipt of what was delivered';

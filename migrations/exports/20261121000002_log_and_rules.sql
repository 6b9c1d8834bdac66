-- The rules that a check on one row cannot express: legal moves between states, the log that writes itself
-- on insert, the log that nobody can rewrite, and the view that is exact to the second.

create function public.data_export_requests_move() returns trigger
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
    new.updated_at := clock_timestamp();
    return new;
end $$;

create trigger data_export_requests_move before update on public.data_export_requests
    for each row execute function public.data_export_requests_move();

-- Security definer: the platform may insert a request without any right on the log.
create function public.data_export_requests_log() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    insert into public.data_export_events (request_id, kind) values (new.id, 'requested');
    return null;
end $$;

create trigger data_export_requests_log after insert on public.data_export_requests
    for each row execute function public.data_export_requests_log();

revoke all on function public.data_export_requests_log() from public;

create function public.data_export_events_keep() returns trigger
language plpgsql set search_path = '' as $$
begin
    if tg_op = 'DELETE' and old.at < now() - interval '24 months' then
        return old;
    end if;
    raise exception 'the fulfilment log is append-only: % refused', lower(tg_op)
        using errcode = 'insufficient_privilege';
end $$;

create trigger data_export_events_keep before update or delete on public.data_export_events
    for each row execute function public.data_export_events_keep();
create trigger data_export_events_keep_all before truncate on public.data_export_events
    for each statement execute function public.data_export_events_keep();

create function public.data_export_events_order() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if (new.kind = 'object_deleted' and not exists (
            select from public.data_export_events e where e.request_id = new.request_id and e.kind = 'failed'))
        or (new.kind = 'ready' and exists (
            select from public.data_export_events e where e.request_id = new.request_id and e.kind = 'failed')) then
        raise exception 'event % of request % is out of order', new.kind, new.request_id
            using errcode = 'check_violation', constraint = 'data_export_events_order';
    end if;
    return new;
end $$;

create trigger data_export_events_order before insert on public.data_export_events
    for each row execute function public.data_export_events_order();

revoke all on function public.data_export_events_order() from public;

create view public.data_export_requests_effective with (security_barrier) as
select
    id,
    user_id,
    case when overdue then 'failed' else status end as status,
    requested_at,
    expires_at,
    case when not overdue then download_url end as download_url,
    case when overdue then 'expired' else failure_reason end as failure_reason
from (
    select r.*, r.status = 'ready' and r.expires_at <= clock_timestamp() as overdue
    from public.data_export_requests r
) r;

comment on view public.data_export_requests_effective is 'What the platform shows: an overdue ready request is failed, without a link, from the very second on';
comment on column public.data_export_requests_effective.id is 'The request';
comment on column public.data_export_requests_effective.user_id is 'Whose data';
comment on column public.data_export_requests_effective.status is 'pending, ready or failed, exact at the moment of reading';
comment on column public.data_export_requests_effective.requested_at is 'When the user asked';
comment on column public.data_export_requests_effective.expires_at is 'When the link stops working';
comment on column public.data_export_requests_effective.download_url is 'The presigned link, while it works';
comment on column public.data_export_requests_effective.failure_reason is 'Why it failed';

-- The register of requests: when each one was made, until when the law wants an answer, and when that came.
--
-- A request is answered when its archive is ready. One that failed because of the processor is answered by a later archive
-- of the same person, and is open until then: its month goes on. Requests that were taken back, or whose account is gone,
-- are closed.

create view public.data_export_register as
select
    r.id,
    r.user_id,
    r.org_id,
    r.asked_as,
    r.requested_at,
    ((r.requested_at at time zone 'UTC') + interval '1 month')::date as due_on,
    case
        when a.at is not null then 'answered'
        when r.status = 'pending' then 'open'
        when r.failure_reason in ('unreadable_value', 'attempts_exhausted') and not u.is_forgotten then 'open'
        else 'closed'
    end as state,
    case when r.status = 'ready' and r.expires_at <= statement_timestamp() then 'failed' else r.status end as status,
    case when r.status = 'ready' and r.expires_at <= statement_timestamp() then 'expired' else r.failure_reason end as reason,
    a.at as answered_at,
    (select min(c.at) from public.data_export_accesses c
     where c.request_id = r.id and c.action in ('linked', 'delivered')) as downloaded_at,
    r.object_deleted_at
from public.data_export_requests r
cross join lateral (select r.user_id = '00000000-0000-0000-0000-000000000000' as is_forgotten) u
cross join lateral (
    select coalesce(r.fulfilled_at, case
        when r.status = 'failed' and not u.is_forgotten
            and r.failure_reason in ('unreadable_value', 'attempts_exhausted')
        then (select min(l.fulfilled_at) from public.data_export_requests l
              where l.user_id = r.user_id and l.requested_at > r.requested_at)
    end) as at
) a;

comment on view public.data_export_register is 'Each request, until when it has to be answered, and when it was';
comment on column public.data_export_register.id is 'The request';
comment on column public.data_export_register.user_id is 'Whose data';
comment on column public.data_export_register.org_id is 'In the name of which organisation it was asked for';
comment on column public.data_export_register.asked_as is 'In which role it was asked for';
comment on column public.data_export_register.requested_at is 'When it was asked for';
comment on column public.data_export_register.due_on is 'The last day, in UTC, of the month that the law allows';
comment on column public.data_export_register.state is 'open: the month goes on; answered; closed: taken back, or the account is gone';
comment on column public.data_export_register.status is 'pending, ready or failed, exact at the moment of reading';
comment on column public.data_export_register.reason is 'Why it failed';
comment on column public.data_export_register.answered_at is 'When its archive was ready; after a failure of the processor, when the archive of a later request was';
comment on column public.data_export_register.downloaded_at is 'When a link to the archive was first given through the portal, or it was first downloaded there';
comment on column public.data_export_register.object_deleted_at is 'When its archive was deleted';

-- Finds the oldest request without an answer, for the clock of the law. There are few of these.
create index data_export_requests_failed_by_us on public.data_export_requests (requested_at)
    where status = 'failed' and failure_reason in ('unreadable_value', 'attempts_exhausted');

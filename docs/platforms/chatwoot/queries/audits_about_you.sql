-- What others, bots or the system did to the user's account or memberships. The membership may be gone: only the entry
-- still says whose it was.
select a.id as key, case when a.user_type = 'User' then a.user_id end as acting_agent
from public.audits a
where (a.user_type = 'User' and a.user_id = $1::bigint) is not true
  and (a.auditable_type = 'User' and a.auditable_id = $1::bigint
    or a.auditable_type in ('AccountUser', 'TeamMember', 'InboxMember')
      and a.audited_changes ->> 'user_id' = $1::bigint::text)

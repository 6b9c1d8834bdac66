-- What the user did to anything else. The number of what it changed is told, unless that is a person.
select a.id as key, case when a.auditable_type <> 'User' then a.auditable_id end as changed_id
from public.audits a
where a.user_type = 'User' and a.user_id = $1::bigint
  and (a.auditable_type = 'User' and a.auditable_id = $1::bigint) is not true

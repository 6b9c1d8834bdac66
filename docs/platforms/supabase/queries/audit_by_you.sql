-- What the user did to another account, such as an invitation.
select a.id as key
from auth.audit_log_entries a
where a.payload ->> 'actor_id' = $1::uuid::text
  and (a.payload -> 'traits' ->> 'user_id' = $1::uuid::text) is not true
  and coalesce(a.payload -> 'traits' ->> 'user_id', a.payload -> 'traits' ->> 'user_email',
        a.payload -> 'traits' ->> 'user_phone') is not null

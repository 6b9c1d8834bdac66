-- What another account or the service role did to the user.
select a.id as key
from auth.audit_log_entries a
where a.payload -> 'traits' ->> 'user_id' = $1::uuid::text
  and (a.payload ->> 'actor_id' = $1::uuid::text) is not true

-- What the user did to its own account: signing in, changing the mail address.
select a.id as key
from public.audits a
where a.user_type = 'User' and a.user_id = $1::bigint and a.auditable_type = 'User' and a.auditable_id = $1::bigint

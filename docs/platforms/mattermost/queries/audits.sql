-- The address of a request can have the ids of other people. Your own becomes "me", every other id "(id)".
select a.id as key,
  pg_catalog.regexp_replace(pg_catalog.replace(a.action, $1::text, 'me'), '[a-z0-9]{26}', '(id)', 'g') as request
from public.audits a
where a.userid = $1::text

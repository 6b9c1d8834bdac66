-- The files of those records. One file can hang on several records; a key counts once.
select f.blob_id as key
from public.active_storage_attachments f
join (
  select 'User' as record_type, $1::bigint as record_id
  union all
  select 'Attachment', t.id from public.attachments t join public.messages m on m.id = t.message_id
  where m.sender_type = 'User' and m.sender_id = $1::bigint
  union all
  select 'Macro', t.id from public.macros t where t.created_by_id = $1::bigint
  union all
  select 'Call', t.id from public.calls t where t.accepted_by_agent_id = $1::bigint
) r on r.record_type = f.record_type and r.record_id = f.record_id

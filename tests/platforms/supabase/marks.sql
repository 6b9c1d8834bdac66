-- supabase: for each account, every mark that may stand in its export.
select u.id::text as user_id, '~u:' || u.id || '~' as mark from auth.users u
union select m.user_id::text, '~o:' || m.organization_id || '~' from public.organization_members m
union select o.created_by::text, '~o:' || o.id || '~' from public.organizations o where o.created_by is not null
union select c.owner_id::text, '~c:' || c.id || '~' from public.contacts c where c.owner_id is not null
union select c.linked_user_id::text, '~c:' || c.id || '~' from public.contacts c where c.linked_user_id is not null
-- the stranger's address in an invitation: for the inviter and for the account that accepted it
union select x.user_id::text, (regexp_match(i.email::text, '~c:[^~]+~'))[1] from public.organization_invites i, unnest(array[i.invited_by, i.accepted_by]) x (user_id)
  where x.user_id is not null and i.email::text ~ '~c:'

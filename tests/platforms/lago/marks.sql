-- lago: for each account, every mark that may stand in its export.
select u.id::text as user_id, '~u:' || u.id || '~' as mark from public.users u
union select m.user_id::text, '~o:' || m.organization_id || '~' from public.memberships m
-- the customers that the account itself named, in a question to the assistant or in the search of an export
union select m.user_id::text, x.mark[1] from public.ai_conversations t join public.memberships m on m.id = t.membership_id, regexp_matches(t.name, '~c:[^~]+~', 'g') x (mark)
union select m.user_id::text, x.mark[1] from public.data_exports t join public.memberships m on m.id = t.membership_id,
  regexp_matches(t.resource_query ->> 'search_term', '~c:[^~]+~', 'g') x (mark)

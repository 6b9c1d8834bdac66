-- chatwoot: for each user, every mark that may stand in its export.
select u.id::text as user_id, '~u:' || u.id || '~' as mark from public.users u
union select t.user_id::text, '~o:' || t.account_id || '~' from public.account_users t
-- the contacts on whom the user wrote a note, who rated it, and with whom it spoke
union select t.user_id::text, '~c:' || t.contact_id || '~' from public.notes t where t.user_id is not null
union select t.assigned_agent_id::text, '~c:' || t.contact_id || '~' from public.csat_survey_responses t where t.assigned_agent_id is not null
union select t.accepted_by_agent_id::text, '~c:' || t.contact_id || '~' from public.calls t where t.accepted_by_agent_id is not null
-- the contacts for whom the user searched, and on whom the assistant answered it
union select t.user_id::text, x.mark[1] from public.custom_filters t, regexp_matches(t.query::text, '~c:[^~]+~', 'g') x (mark)
union select h.user_id::text, x.mark[1] from public.copilot_messages t join public.copilot_threads h on h.id = t.copilot_thread_id, regexp_matches(t.message ->> 'content', '~c:[^~]+~', 'g') x (mark)

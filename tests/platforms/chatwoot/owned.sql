-- chatwoot: for each user, every row that its data export should hold: the account, what it set up, wrote or got, the work that was given to it (assigned
-- conversations, calls, ratings, times), and the history of what it did or what was done to it. The account (tenant) of each membership is included; all else of a
-- tenant (inboxes, teams, portals, contacts, messages of others, exports) is its business record and is left out, and so are the small copies of pictures.
-- To be named in a row of another (as inviter, approver, last editor, in a text) does not make the row one's own.
with msg as (select u.id as user_id, t.id from public.messages t join public.users u on u.id = t.sender_id where t.sender_type = 'User'),
att as (select msg.user_id, t.id from public.attachments t join msg on msg.id = t.message_id),
mac as (select u.id as user_id, t.id from public.macros t join public.users u on u.id = t.created_by_id),
calls as (select u.id as user_id, t.id from public.calls t join public.users u on u.id = t.accepted_by_agent_id),
-- a file hangs on its record by type and number; the same number with another type is another record
file as (
  select x.user_id, t.id, t.blob_id from public.active_storage_attachments t
  join (select 'User' as type, id as user_id, id from public.users union all select 'Attachment', * from att
    union all select 'Macro', * from mac union all select 'Call', * from calls) x on x.type = t.record_type and x.id = t.record_id)
select u.id::text as user_id, 'public.users'::text as relation, jsonb_build_object('id', u.id) as key from public.users u
union all select u.id::text, 'public.account_users', jsonb_build_object('id', t.id) from public.account_users t join public.users u on u.id = t.user_id
union all select distinct u.id::text, 'public.accounts', jsonb_build_object('id', t.account_id) from public.account_users t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.access_tokens', jsonb_build_object('id', t.id) from public.access_tokens t join public.users u on u.id = t.owner_id where t.owner_type = 'User'
union all select u.id::text, 'public.user_sessions', jsonb_build_object('id', t.id) from public.user_sessions t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.notification_settings', jsonb_build_object('id', t.id) from public.notification_settings t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.notification_subscriptions', jsonb_build_object('id', t.id) from public.notification_subscriptions t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.notifications', jsonb_build_object('id', t.id) from public.notifications t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.portals_members', jsonb_build_object('portal_id', t.portal_id, 'user_id', t.user_id) from public.portals_members t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.articles', jsonb_build_object('id', t.id) from public.articles t join public.users u on u.id = t.author_id
union all select u.id::text, 'public.inbox_members', jsonb_build_object('id', t.id) from public.inbox_members t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.team_members', jsonb_build_object('id', t.id) from public.team_members t join public.users u on u.id = t.user_id
-- a leave holds a reason of the one who takes it: not for the one who approved it
union all select u.id::text, 'public.leaves', jsonb_build_object('id', t.id) from public.leaves t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.notes', jsonb_build_object('id', t.id) from public.notes t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.conversations', jsonb_build_object('id', t.id) from public.conversations t join public.users u on u.id = t.assignee_id
union all select u.id::text, 'public.conversation_participants', jsonb_build_object('id', t.id) from public.conversation_participants t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.mentions', jsonb_build_object('id', t.id) from public.mentions t join public.users u on u.id = t.user_id
-- only what the user wrote; not what was said by others in its conversations
union all select user_id::text, 'public.messages', jsonb_build_object('id', id) from msg
union all select user_id::text, 'public.attachments', jsonb_build_object('id', id) from att
union all select user_id::text, 'public.calls', jsonb_build_object('id', id) from calls
union all select u.id::text, 'public.csat_survey_responses', jsonb_build_object('id', t.id) from public.csat_survey_responses t join public.users u on u.id = t.assigned_agent_id
union all select u.id::text, 'public.reporting_events', jsonb_build_object('id', t.id) from public.reporting_events t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.custom_filters', jsonb_build_object('id', t.id) from public.custom_filters t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.dashboard_apps', jsonb_build_object('id', t.id) from public.dashboard_apps t join public.users u on u.id = t.user_id
union all select user_id::text, 'public.macros', jsonb_build_object('id', id) from mac
union all select u.id::text, 'public.campaigns', jsonb_build_object('id', t.id) from public.campaigns t join public.users u on u.id = t.sender_id
union all select u.id::text, 'public.copilot_threads', jsonb_build_object('id', t.id) from public.copilot_threads t join public.users u on u.id = t.user_id
union all select u.id::text, 'public.copilot_messages', jsonb_build_object('id', t.id)
  from public.copilot_messages t join public.copilot_threads h on h.id = t.copilot_thread_id join public.users u on u.id = h.user_id
-- an entry of the history is about who acted, about the account that it was done to, and about the agent whose membership it tells of (the membership may be gone)
union all select u.id::text, 'public.audits', jsonb_build_object('id', t.id) from public.audits t join public.users u
  on t.user_type = 'User' and t.user_id = u.id or t.auditable_type = 'User' and t.auditable_id = u.id
  or t.auditable_type in ('AccountUser', 'TeamMember', 'InboxMember') and t.audited_changes ->> 'user_id' = u.id::text
union all select user_id::text, 'public.active_storage_attachments', jsonb_build_object('id', id) from file
-- one file can hang on several records of a user
union all select distinct user_id::text, 'public.active_storage_blobs', jsonb_build_object('id', blob_id) from file

-- lago: for each account, every row that its data export should hold: the account, its memberships (ended ones too) and what hangs on them, its
-- invitations, and its entries in the history. The organization of each membership is included; all else of a tenant (roles, entities, keys,
-- webhooks, customers, plans, subscriptions, invoices, quotes, orders, usage and their files) is its business record and is left out.
with m as (select id, user_id, organization_id from public.memberships),
-- an invitation is the account's if it accepted it, or if it has its mail address; the addresses of strangers are nobody's
inv as (
  select m.user_id, i.id from public.invites i join m on m.id = i.membership_id
  union select u.id, i.id from public.invites i join public.users u on u.email = i.email where i.membership_id is null),
e as (select m.user_id, t.id from public.data_exports t join m on m.id = t.membership_id),
-- a file hangs on its record by type and id; the same id with another type is another record
a as (select e.user_id, t.id, t.blob_id from public.active_storage_attachments t join e on e.id = t.record_id where t.record_type = 'DataExport')
select u.id::text as user_id, 'public.users'::text as relation, jsonb_build_object('id', u.id) as key from public.users u
union all select t.user_id::text, 'public.password_resets', jsonb_build_object('id', t.id) from public.password_resets t
union all select t.user_id::text, 'public.user_devices', jsonb_build_object('id', t.id) from public.user_devices t
union all select m.user_id::text, 'public.memberships', jsonb_build_object('id', m.id) from m
union all select x.user_id::text, 'public.organizations', jsonb_build_object('id', x.organization_id) from (select distinct user_id, organization_id from m) x
union all select m.user_id::text, 'public.membership_roles', jsonb_build_object('id', t.id) from public.membership_roles t join m on m.id = t.membership_id
union all select inv.user_id::text, 'public.invites', jsonb_build_object('id', inv.id) from inv
union all select m.user_id::text, 'public.ai_conversations', jsonb_build_object('id', t.id) from public.ai_conversations t join m on m.id = t.membership_id
union all select e.user_id::text, 'public.data_exports', jsonb_build_object('id', e.id) from e
union all select e.user_id::text, 'public.data_export_parts', jsonb_build_object('id', t.id) from public.data_export_parts t join e on e.id = t.data_export_id
union all select a.user_id::text, 'public.active_storage_attachments', jsonb_build_object('id', a.id) from a
union all select distinct a.user_id::text, 'public.active_storage_blobs', jsonb_build_object('id', a.blob_id) from a
-- the ownership of a quote is a fact about the account, whether or not it is still a member; the quote itself is a business record
union all select t.user_id::text, 'public.quote_owners', jsonb_build_object('id', t.id) from public.quote_owners t
-- an entry of the history is about who acted (a membership, inside a text) and about the account, membership or invitation that it was done to
union all select x.user_id::text, 'public.versions', jsonb_build_object('id', x.id) from (
  select m.user_id, v.id from public.versions v join m on v.whodunnit = 'membership/' || m.id
  union select u.id, v.id from public.versions v join public.users u on v.item_type = 'User' and v.item_id = u.id::text
  union select m.user_id, v.id from public.versions v join m on v.item_type = 'Membership' and v.item_id = m.id::text
  union select inv.user_id, v.id from public.versions v join inv on v.item_type = 'Invite' and v.item_id = inv.id::text) x

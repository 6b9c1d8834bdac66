-- The entries on your account, your memberships and your invitations, whoever made them. `item_id` is text, so every id
-- is compared as text. `whodunnit` is 'membership/<id>', 'membership/unidentifiable' or empty.
select v.id as key, a.user_id as acting_member
from public.versions v
left join public.memberships a on a.id = case
  when v.whodunnit ~ '^membership/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then substr(v.whodunnit, 12)::uuid end
where (v.item_type, v.item_id) in (
  select 'User', $1::uuid::text
  union all
  select 'Membership', m.id::text from public.memberships m where m.user_id = $1::uuid
  union all
  select 'Invite', i.id::text from public.invites i join public.memberships m on m.id = i.membership_id
  where m.user_id = $1::uuid
  union all
  select 'Invite', i.id::text from public.invites i join public.users u on u.email = i.email
  where u.id = $1::uuid and i.membership_id is null
)

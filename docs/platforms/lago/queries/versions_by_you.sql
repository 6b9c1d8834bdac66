-- What you did to anything else: no row of versions_about_you.sql is here. The id of what you changed is told, unless
-- that is a person, or leads to one.
select v.id as key, case when v.item_type not in ('User', 'Membership', 'Invite', 'Customer') then v.item_id end as changed_id
from public.versions v
where v.whodunnit in (select 'membership/' || m.id from public.memberships m where m.user_id = $1::uuid)
  and not exists (
    select 1
    from (
      select 'User' as item_type, $1::uuid::text as item_id
      union all
      select 'Membership', m.id::text from public.memberships m where m.user_id = $1::uuid
      union all
      select 'Invite', i.id::text from public.invites i join public.memberships m on m.id = i.membership_id
      where m.user_id = $1::uuid
      union all
      select 'Invite', i.id::text from public.invites i join public.users u on u.email = i.email
      where u.id = $1::uuid and i.membership_id is null
    ) about
    where about.item_type = v.item_type and about.item_id = v.item_id
  )

-- Membership, also a removed one, or creation. `billed_to_you` tells of the address only whether it is the user's own.
select o.id as key, coalesce(lower(o.billing_email) = lower(u.email), false) as billed_to_you
from (
  select m.organization_id as id from public.organization_members m where m.user_id = $1::uuid
  union
  select c.id from public.organizations c where c.created_by = $1::uuid
) x
join public.organizations o on o.id = x.id
join auth.users u on u.id = $1::uuid

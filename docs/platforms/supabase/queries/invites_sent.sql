-- Invitations by the user that are not among those that it received.
select i.id as key
from public.organization_invites i
where i.invited_by = $1::uuid
  and (i.accepted_by = $1::uuid
    or lower(i.email::text) = (select lower(u.email) from auth.users u where u.id = $1::uuid)) is not true

-- Invitations to the user's address, in upper or lower case, or accepted by the user with another address. Not `=` of
-- citext: the search path is empty, so it would be the one of text, which does not ignore case.
select i.id as key
from public.organization_invites i
where i.accepted_by = $1::uuid
  or lower(i.email::text) = (select lower(u.email) from auth.users u where u.id = $1::uuid)

-- An accepted invitation names your membership, whatever your mail address is now. An open one has only the address.
select i.id as key
from public.invites i
join public.memberships m on m.id = i.membership_id
where m.user_id = $1::uuid
union
select i.id
from public.invites i
join public.users u on u.email = i.email
where u.id = $1::uuid and i.membership_id is null

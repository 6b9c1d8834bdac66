-- Whose projects: those that the user owns and those of which they are a member today. Soft-deleted ones count:
-- they are still stored. An owner who is also listed as a member is the owner.
select p.id as key, 'owner' as association
from public.projects p
where p.owner_id = $1::uuid
union
select m.project_id, 'member'
from public.project_members m
where m.user_id = $1::uuid
    and m.left_at is null
    and not exists (select from public.projects p where p.id = m.project_id and p.owner_id = $1::uuid)

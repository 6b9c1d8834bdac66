-- `subject_id` is a user's id when the subject is a profile, else the number of a thing.
select n.id as key,
  case when n.subject_type = 'Profile' then n.subject_id end as subject_profile,
  case when n.subject_type = 'Profile' then null else n.subject_id end as subject_number
from public.notifications n
where n.user_id = $1::uuid

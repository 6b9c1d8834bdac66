-- mattermost: for each user, every mark that may stand in its export.
select u.id::text as user_id, '~u:' || u.id || '~' as mark from public.users u
-- its teams and groups, as long as the membership has not ended
union select t.userid::text, '~o:' || t.teamid || '~' from public.teammembers t join public.users u on u.id = t.userid where t.deleteat = 0
union select t.userid::text, '~o:' || t.groupid || '~' from public.groupmembers t join public.users u on u.id = t.userid where t.deleteat = 0
-- the people outside of whom its webhooks told
union select t.userid::text, x.mark[1] from public.posts t join public.users u on u.id = t.userid, regexp_matches(t.message || t.props, '~c:[^~]+~', 'g') x (mark) where t.type = 'slack_attachment'

-- mattermost: for each user, every row that its data export should hold: the account, sessions, settings, searches and attributes; memberships (ended ones too) with their history; what it wrote, kept as a draft,
-- liked, uploaded, asked for or set up (deleted rows and earlier texts too), the threads that its messages began, summaries made for it, and the history of what it did. A bot belongs to the bot's account and to its owner.
-- The team, group and channel of each membership that has not ended is included; all else of a tenant, and what others wrote in its channels, is left out. One-time tokens are secrets that live for two days, and
-- jobs, the stores of plugins and the definitions of attributes are technical: left out, and so are reports of messages, which are for the reviewers alone. To be named in a row (as the one who added, refused, reported or is summed up) does not make the row one's own.
select u.id::text as user_id, 'public.users'::text as relation, jsonb_build_object('id', u.id) as key from public.users u
union all select u.id, 'public.bots', jsonb_build_object('userid', t.userid) from public.bots t join public.users u on u.id in (t.userid, t.ownerid)
union all select u.id, 'public.status', jsonb_build_object('userid', t.userid) from public.status t join public.users u on u.id = t.userid
union all select u.id, 'public.sessions', jsonb_build_object('id', t.id) from public.sessions t join public.users u on u.id = t.userid
union all select u.id, 'public.audits', jsonb_build_object('id', t.id) from public.audits t join public.users u on u.id = t.userid
union all select u.id, 'public.preferences', jsonb_build_object('userid', t.userid, 'category', t.category, 'name', t.name) from public.preferences t join public.users u on u.id = t.userid
union all select u.id, 'public.recentsearches', jsonb_build_object('userid', t.userid, 'searchpointer', t.searchpointer) from public.recentsearches t join public.users u on u.id = t.userid
-- the same id may be that of a post or of a channel
union all select u.id, 'public.propertyvalues', jsonb_build_object('id', t.id) from public.propertyvalues t join public.users u on u.id = t.targetid where t.targettype = 'user'
union all select u.id, 'public.teammembers', jsonb_build_object('teamid', t.teamid, 'userid', t.userid) from public.teammembers t join public.users u on u.id = t.userid
union all select u.id, 'public.teams', jsonb_build_object('id', o.id) from public.teammembers t join public.users u on u.id = t.userid join public.teams o on o.id = t.teamid where t.deleteat = 0
union all select u.id, 'public.groupmembers', jsonb_build_object('groupid', t.groupid, 'userid', t.userid) from public.groupmembers t join public.users u on u.id = t.userid
union all select u.id, 'public.usergroups', jsonb_build_object('id', g.id) from public.groupmembers t join public.users u on u.id = t.userid join public.usergroups g on g.id = t.groupid where t.deleteat = 0
-- who leaves a channel has no row here any more, only in the history
union all select u.id, 'public.channelmembers', jsonb_build_object('channelid', t.channelid, 'userid', t.userid) from public.channelmembers t join public.users u on u.id = t.userid
union all select u.id, 'public.channels', jsonb_build_object('id', c.id) from public.channelmembers t join public.users u on u.id = t.userid join public.channels c on c.id = t.channelid
union all select u.id, 'public.channelmemberhistory', jsonb_build_object('channelid', t.channelid, 'userid', t.userid, 'jointime', t.jointime) from public.channelmemberhistory t join public.users u on u.id = t.userid
union all select u.id, 'public.channeljoinrequests', jsonb_build_object('id', t.id) from public.channeljoinrequests t join public.users u on u.id = t.userid
union all select u.id, 'public.sidebarcategories', jsonb_build_object('id', t.id) from public.sidebarcategories t join public.users u on u.id = t.userid
union all select u.id, 'public.sidebarchannels', jsonb_build_object('channelid', t.channelid, 'userid', t.userid, 'categoryid', t.categoryid) from public.sidebarchannels t join public.users u on u.id = t.userid
union all select u.id, 'public.posts', jsonb_build_object('id', t.id) from public.posts t join public.users u on u.id = t.userid
union all select u.id, 'public.threads', jsonb_build_object('postid', t.postid) from public.threads t join public.posts p on p.id = t.postid join public.users u on u.id = p.userid
union all select u.id, 'public.threadmemberships', jsonb_build_object('postid', t.postid, 'userid', t.userid) from public.threadmemberships t join public.users u on u.id = t.userid
union all select u.id, 'public.reactions', jsonb_build_object('postid', t.postid, 'userid', t.userid, 'emojiname', t.emojiname) from public.reactions t join public.users u on u.id = t.userid
union all select u.id, 'public.fileinfo', jsonb_build_object('id', t.id) from public.fileinfo t join public.users u on u.id = t.creatorid
union all select u.id, 'public.drafts', jsonb_build_object('userid', t.userid, 'channelid', t.channelid, 'rootid', t.rootid) from public.drafts t join public.users u on u.id = t.userid
union all select u.id, 'public.recaps', jsonb_build_object('id', t.id) from public.recaps t join public.users u on u.id = t.userid
union all select u.id, 'public.recapchannels', jsonb_build_object('id', t.id) from public.recapchannels t join public.recaps r on r.id = t.recapid join public.users u on u.id = r.userid
union all select u.id, 'public.incomingwebhooks', jsonb_build_object('id', t.id) from public.incomingwebhooks t join public.users u on u.id = t.userid
union all select u.id, 'public.commands', jsonb_build_object('id', t.id) from public.commands t join public.users u on u.id = t.creatorid
union all select u.id, 'public.oauthapps', jsonb_build_object('id', t.id) from public.oauthapps t join public.users u on u.id = t.creatorid
-- the primary key is the secret itself, so the row is named by its other key, which is unique too
union all select u.id, 'public.oauthaccessdata', jsonb_build_object('clientid', t.clientid, 'userid', t.userid) from public.oauthaccessdata t join public.users u on u.id = t.userid

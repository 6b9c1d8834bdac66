-- mattermost: 60 users, 10 teams (tenants). Users 1-44, 49 and 50 are in teams: every fourth in two, every twelfth in three, every tenth (3, 13, ...) has left another one.
-- 45-48 have left their only team; what they wrote is still there. 49 and 50 are deactivated. 51-54 are in no team and talk in direct channels alone. 55 is a guest in one channel,
-- 56 comes from another server, 53, 57 and 58 are bots (of user 7, of user 5, of a plugin), 59 and 60 have nothing beside the account row. Team 9 is archived, team 10 has no members.
-- Users 901-910 are gone for good; rows that name them are nobody's. Ids with the numbers 1 to 12 are the same for every kind but groups (user 7, post 7, channel 7, team 7, contact 7).
create function pg_temp.id(kind text, n bigint) returns text immutable language sql as
  $$ select left(translate(md5(case when n <= 12 and kind <> 'group' then 'equal' else kind end || '/' || n), '0123456789abcdef', 'ybndrfg8ejkmcpqx'), 26) $$;
create function pg_temp.u(n bigint) returns text immutable language sql as $$ select '~u:' || pg_temp.id('user', n) || '~' $$;
create function pg_temp.o(n bigint) returns text immutable language sql as $$ select '~o:' || pg_temp.id('team', n) || '~' $$;
create function pg_temp.g(n bigint) returns text immutable language sql as $$ select '~o:' || pg_temp.id('group', n) || '~' $$;
create function pg_temp.c(n bigint) returns text immutable language sql as $$ select '~c:' || pg_temp.id('contact', n) || '~' $$;
create function pg_temp.t(h bigint) returns bigint immutable language sql as $$ select 1767600000000 + h * 3600000 $$;

insert into users (id, createat, updateat, deleteat, username, password, authdata, authservice, email, emailverified, nickname, firstname, lastname, roles, allowmarketing,
    props, notifyprops, lastpasswordupdate, lastpictureupdate, failedattempts, locale, mfaactive, mfasecret, position, timezone, remoteid, lastlogin, mfausedtimestamps)
  select pg_temp.id('user', n), pg_temp.t(n), pg_temp.t(n + 5), case when n in (49, 50, 53) then pg_temp.t(900) else 0 end, m, case when n % 10 > 0 then '$2a$10$' || m else '' end,
    case when n % 10 = 0 then 'saml-' || m end, case when n % 10 = 0 then 'saml' else '' end, m || '@mail.example', n % 8 > 0, 'Nick ' || m, 'First ' || m, 'Last ' || m,
    case n when 1 then 'system_admin system_user' when 55 then 'system_guest' else 'system_user' end, n % 2 = 0,
    jsonb_build_object('customStatus', jsonb_build_object('emoji', 'calendar', 'text', 'In a talk, says ' || m, 'duration', 'today')::text, 'last_search_pointer', (1 + n % 5)::text),
    jsonb_build_object('email', 'true', 'desktop', 'mention', 'push', 'mention', 'first_name', 'false', 'channel', 'true', 'mention_keys', m || ',@' || m,
      'auto_responder_active', 'false', 'auto_responder_message', 'Away, says ' || m),
    pg_temp.t(n), pg_temp.t(n + 1), n % 3, (array['en', 'de', 'fr'])[1 + n % 3], n % 5 = 0, case when n % 5 = 0 then 'mfa-' || m else '' end, 'Position of ' || m,
    '{"automaticTimezone": "Europe/Berlin", "manualTimezone": "", "useAutomaticTimezone": "true"}', case when n = 56 then pg_temp.id('remote', 56) end, pg_temp.t(n + 90),
    case when n % 5 = 0 then '[5890000, 5890001]'::jsonb end
  from generate_series(1, 60) n, pg_temp.u(n) m;
-- The owner of a bot is a user or a plugin.
insert into bots (userid, description, ownerid, createat, updateat, deleteat, lasticonupdate)
  select pg_temp.id('user', n), 'Bot set up by ' || m, owner, pg_temp.t(n), pg_temp.t(n + 1), case when n = 53 then pg_temp.t(900) else 0 end, 0
  from (values (53, pg_temp.id('user', 7), pg_temp.u(7)), (57, pg_temp.id('user', 5), pg_temp.u(5)), (58, 'com.mattermost.calls', pg_temp.u(58)), (910, pg_temp.id('user', 909), pg_temp.u(909))) b (n,
      owner, m);
insert into status (userid, status, manual, lastactivityat, dndendtime, prevstatus)
  select pg_temp.id('user', n), (array['online', 'away', 'dnd', 'offline'])[1 + n % 4], n % 2 = 0, pg_temp.t(n + 100), case when n % 4 = 2 then 1767900000 else 0 end, '' from generate_series(1, 58) n;
insert into sessions (id, token, createat, expiresat, lastactivityat, userid, deviceid, roles, isoauth, props, expirednotify, voipdeviceid)
  select pg_temp.id('session', n * 3 - 3 + i), pg_temp.id('session token', 100 + n * 3 + i), pg_temp.t(n + i), case when i = 3 then pg_temp.t(n + 9) else pg_temp.t(9000) end, pg_temp.t(n + 50),
      pg_temp.id('user', n),
    case when i = 2 then 'apple_rn:push-' || m else '' end, 'system_user', false,
    jsonb_build_object('csrf', 'csrf-' || m, 'platform', 'Linux of ' || m, 'os', 'Linux', 'browser', 'Firefox of ' || m, 'isMobile', (i = 2)::text), i = 3,
        case when i = 2 then 'voip-' || m else '' end
  from generate_series(1, 58) n, generate_series(1, 3) i, pg_temp.u(n) m where i <= 1 + n % 3;

-- Who is in which team, and who was.
create temp table mem as
  select row_number() over (order by u desc, t) as nr, * from (
    select 1 + u % 9 as t, u, u between 45 and 48 as former from generate_series(1, 50) u
    union all select 1 + (u + 3) % 9, u, false from generate_series(1, 44) u where u % 4 = 0
    union all select 1 + (u + 6) % 9, u, false from generate_series(1, 44) u where u % 12 = 0
    union all select 1 + (u + 5) % 9, u, true from generate_series(1, 44) u where u % 10 = 3
    union all values (3, 55, false), (4, 56, false), (1, 57, false), (2, 57, false), (1, 58, false)) x;
create temp table adm as select t, min(u) as u from mem where not former and u < 45 group by t union all values (10, 910);
insert into teams (id, createat, updateat, deleteat, displayname, name, description, email, type, companyname, alloweddomains, inviteid, schemeid, allowopeninvite, lastteamiconupdate,
    groupconstrained)
  -- the mail address is that of the one who set the team up
  select pg_temp.id('team', t), pg_temp.t(t), pg_temp.t(t + 1), case when t = 9 then pg_temp.t(950) else 0 end, 'Team ' || m, 'team-' || m, 'What ' || m || ' does', pg_temp.u(u) || '@mail.example',
    (array['I', 'O'])[1 + t % 2]::team_type, 'Company ' || m, m || '.example', pg_temp.id('invite', 100 + t), '', t % 2 = 0, pg_temp.t(t), false
  from adm, pg_temp.o(t) m;
insert into teammembers (teamid, userid, roles, deleteat, schemeuser, schemeadmin, schemeguest, createat)
  select pg_temp.id('team', mem.t), pg_temp.id('user', mem.u), '', case when former then pg_temp.t(800 + mem.u) else 0 end, mem.u <> 55, mem.u = adm.u, mem.u = 55, pg_temp.t(mem.u) from mem
      join adm using (t);

-- Groups of the directory (1, 2) and groups that people made; the last one is deleted.
insert into usergroups (id, name, displayname, description, source, remoteid, createat, updateat, deleteat, allowreference)
  select pg_temp.id('group', n), 'group-' || m, 'Group ' || m, 'Those of ' || m, case when n <= 2 then 'ldap' else 'custom' end, case when n <= 2 then 'cn-' || m end, pg_temp.t(n), pg_temp.t(n),
    case when n = 6 then pg_temp.t(900) else 0 end, true from generate_series(1, 6) n, pg_temp.g(n) m;
insert into groupmembers (groupid, userid, createat, deleteat)
  select pg_temp.id('group', g), pg_temp.id('user', u), pg_temp.t(u), case when former then pg_temp.t(850) else 0 end from (
    select 1 + u % 6 as g, u, u % 8 = 0 as former from generate_series(1, 50) u
    union all select 1 + (u + 2) % 6, u, false from generate_series(1, 52) u where u % 3 = 0
    union all values (1, 901, false)) x;

-- Channels 1 to 40: four of each team, with the same names everywhere. Then talks of two (101 to 127), with oneself (131 to 136), with a bot (141 to 146), with somebody who is
-- gone (160 to 162), of two from different teams (171 and more), and of three (211 and more).
create temp table talk as
  select 100 + (a + 1) / 2 as n, a, a + 1 as b, null::int as c from generate_series(1, 53, 2) a
  union all select 130 + a / 9, a, a, null from generate_series(9, 54, 9) a
  union all select 140 + b, 57, b, null from generate_series(1, 6) b
  union all select 150 + b, 891 + b, b, null from generate_series(10, 12) b
  union all select 170 + a, a, a + 10, null from generate_series(3, 40, 3) a
  union all select 210 + a / 7, a, a + 2, a + 5 from generate_series(7, 42, 7) a;
insert into channels (id, createat, updateat, deleteat, teamid, type, displayname, name, header, purpose, lastpostat, totalmsgcount, extraupdateat, creatorid, schemeid, groupconstrained, shared,
    totalmsgcountroot, lastrootpostat, bannerinfo, discoverable)
  select pg_temp.id('channel', t * 4 - 4 + i), pg_temp.t(t), pg_temp.t(t + i), case when i = 4 then pg_temp.t(700) else 0 end, pg_temp.id('team', t), (array['O', 'O', 'P', 'O'])[i]::channel_type,
    (array['Town Square', 'Off-Topic', 'Project', 'Old News'])[i] || ' ' || m, (array['town-square', 'off-topic', 'project', 'old-news'])[i], 'News of ' || m, 'Talk of ' || m, pg_temp.t(600), 20, 0,
    case i when 3 then pg_temp.id('user', 900 + t) when 4 then '' else pg_temp.id('user', u) end, null, null::boolean, i = 3 and t = 4, 10, pg_temp.t(600),
    case when i = 3 then jsonb_build_object('enabled', true, 'text', 'Banner of ' || m, 'background_color', '#eeeeee') end, i = 3
  from adm, generate_series(1, 4) i, pg_temp.o(t) m
  union all
  -- such a channel has the ids of the two for a name, or the names of its members as a title, of which only two fit; its header is what one of them wrote
  select pg_temp.id('channel', n), pg_temp.t(n), pg_temp.t(n), 0, '', (case when c is null then 'D' else 'G' end)::channel_type,
      case when c is null then '' else left(concat_ws(', ', pg_temp.u(a), pg_temp.u(b), pg_temp.u(c)), 62) end,
    case when c is null then least(x, y) || '__' || greatest(x, y) else encode(sha256((x || y)::bytea), 'hex') end, case when n % 3 = 0 then 'Begun by ' || pg_temp.u(a) else '' end, '',
        pg_temp.t(600), 4, 0,
    x, null, null, false, 4, pg_temp.t(600), null, false
  from talk, pg_temp.id('user', a) x, pg_temp.id('user', b) y;

-- Members of channels: t is the team and i which of its four channels, 0 in talks.
create temp table cm as
  select t * 4 - 4 + i as n, t, i, mem.u from mem join adm using (t), generate_series(1, 4) i
    where not former and case when mem.u = 55 then i = 3 when i = 3 then mem.u % 2 = 0 or mem.u = adm.u when i = 4 then mem.u % 3 = 0 else true end
  union all select distinct n, 0, 0, u from talk, unnest(array[a, b, c]) u where u < 900;
insert into channelmembers (channelid, userid, roles, lastviewedat, msgcount, mentioncount, notifyprops, lastupdateat, schemeuser, schemeadmin, schemeguest, mentioncountroot, msgcountroot,
    urgentmentioncount)
  select pg_temp.id('channel', n), pg_temp.id('user', u), '', pg_temp.t(500 + u), 20, u % 3, '{"desktop": "default", "push": "default", "mark_unread": "all", "ignore_channel_mentions": "default"}',
      pg_temp.t(500), u <> 55, false, u = 55, 0, 10, 0 from cm;
insert into channelmemberhistory (channelid, userid, jointime, leavetime)
  select pg_temp.id('channel', n), pg_temp.id('user', u), pg_temp.t(u + 20), null from cm
  union all select pg_temp.id('channel', n), pg_temp.id('user', u), pg_temp.t(u), pg_temp.t(u + 10) from cm where i = 1 and u % 9 = 0
  union all select pg_temp.id('channel', t * 4 - 4 + i), pg_temp.id('user', u), pg_temp.t(u + 20), pg_temp.t(800 + u) from mem, generate_series(1, 2) i where former
  union all select pg_temp.id('channel', n), pg_temp.id('user', a), pg_temp.t(1), pg_temp.t(900) from talk where a > 900;
-- Asking to join a private channel. Who was refused asked again; the reason is what the admin wrote.
insert into channeljoinrequests (id, channelid, userid, message, status, denialreason, createat, updateat, reviewedby, reviewedat)
  select pg_temp.id('request', row_number() over (order by u desc, again)), pg_temp.id('channel', t * 4 - 1), pg_temp.id('user', u), 'Let me in, says ' || pg_temp.u(u), status,
      case when status = 'denied' then 'No, says ' || pg_temp.u(a) else '' end,
    pg_temp.t(u + 30 + again), pg_temp.t(u + 31 + again), case when status in ('denied', 'approved') then pg_temp.id('user', a) else '' end,
        case when status in ('denied', 'approved') then pg_temp.t(u + 31 + again) else 0 end
  from (select t, mem.u, adm.u as a, again, case when mem.u % 2 = 0 then 'approved' when again = 0 then (array['pending', 'denied', 'withdrawn'])[1 + mem.u % 3] else 'pending' end as status
      from mem join adm using (t), generate_series(0, 1) again where not former and mem.u <> adm.u and mem.u < 50 and (again = 0 or mem.u % 2 = 1 and mem.u % 3 = 1)
    union all select 1, 907, 1, 0, 'pending') x;

-- The sidebar: three categories of everybody, whose ids are made of those of user and team, and one that every third user made.
insert into sidebarcategories (id, userid, teamid, sortorder, sorting, type, displayname, muted, collapsed)
  select type || '_' || pg_temp.id('user', u) || '_' || pg_temp.id('team', t), pg_temp.id('user', u), pg_temp.id('team', t), o * 10, '', type, title, false, false
    from mem, (values ('favorites', 'Favorites', 0), ('channels', 'Channels', 1), ('direct_messages', 'Direct Messages', 2)) x (type, title, o) where not former
  union all select pg_temp.id('category', nr), pg_temp.id('user', u), pg_temp.id('team', t), 5, 'alpha', 'custom', 'Work of ' || pg_temp.u(u), u % 2 = 0, false from mem where not former and u % 3 = 0;
insert into sidebarchannels (channelid, userid, categoryid, sortorder)
  select pg_temp.id('channel', t * 4 - 3), pg_temp.id('user', u), pg_temp.id('category', nr), 0 from mem where not former and u % 3 = 0
  union all select pg_temp.id('channel', t * 4 - 2), pg_temp.id('user', u), 'favorites_' || pg_temp.id('user', u) || '_' || pg_temp.id('team', t), 10 from mem where not former and u % 2 = 0;

-- Messages. The second one of everybody in a channel answers the first one that was written there.
create temp table pst as
  select row_number() over (order by k, n, u) as p, n as ch, t, u, k,
    case when former or k < 3 then 'plain' when k = 3 then (array['deleted', 'edited', 'join', 'add'])[1 + (u + n) % 4] else (array['hook', 'header', 'mention'])[1 + u % 3] end as kind
  from (select *, false as former from cm union all select t * 4 - 4 + i, t, i, u, true from mem, generate_series(1, 2) i where former) x,
    generate_series(1, 4) k where k <= case when former then 2 else (array[2, 4, 2, 3, 1])[1 + i] end;
create temp table root as select ch, min(p) as first from pst where k = 1 group by ch;
insert into posts (id, createat, updateat, deleteat, userid, channelid, rootid, originalid, message, type, props, hashtags, filenames, fileids, hasreactions, editat, ispinned, remoteid)
  select pg_temp.id('post', p), pg_temp.t(100 + k * 40 + u), pg_temp.t(101 + k * 40 + u), case when kind = 'deleted' then pg_temp.t(400) else 0 end, pg_temp.id('user', u), pg_temp.id('channel', ch),
    case when k = 2 then pg_temp.id('post', first) else '' end, '',
    case kind when 'join' then m || ' joined the channel.' when 'add' then other || ' added to the channel by ' || m || '.'
      when 'header' then m || ' updated the channel header.' when 'hook' then 'Build ' || p || ' by ' || client else 'Message ' || p || ' of ' || m end,
    case kind when 'join' then 'system_join_channel' when 'add' then 'system_add_to_channel' when 'header' then 'system_header_change' when 'hook' then 'slack_attachment' else '' end,
    case kind when 'deleted' then jsonb_build_object('deleteBy', pg_temp.id('user', 1)) when 'join' then jsonb_build_object('username', m)
      when 'add' then jsonb_build_object('userId', pg_temp.id('user', u), 'username', m, 'addedUserId', pg_temp.id('user', 1 + u % 50), 'addedUsername', other)
      when 'header' then jsonb_build_object('username', m, 'old_header', '', 'new_header', 'News by ' || m)
      when 'mention' then jsonb_build_object('channel_mentions', jsonb_build_object('off-topic', jsonb_build_object('display_name', 'Off-Topic ' || team, 'team_name', 'team-' || team)))
      when 'hook' then jsonb_build_object('from_webhook', 'true', 'override_username', 'ci of ' || m, 'webhook_display_name', 'Hook of ' || m, 'attachments',
        jsonb_build_array(jsonb_build_object('author_name', 'Name ' || client, 'text', 'Change of ' || client)))
      else case when u in (53, 57, 58) then '{"from_bot": "true"}' else '{}' end::jsonb end,
    case when kind = 'mention' then '#plan-of-' || m else '' end, '[]', case when p % 5 = 0 and kind in ('plain', 'edited') then '["' || pg_temp.id('file', p) || '"]' else '[]' end,
    p % 3 = 0, case when kind = 'edited' then pg_temp.t(300) else 0 end, p % 20 = 0, case when u = 56 then pg_temp.id('remote', 56) end
  from pst join root using (ch), pg_temp.u(u) m, pg_temp.u(1 + u % 50) other, pg_temp.o(t) team, pg_temp.c(p % 40) client
  union all
  select pg_temp.id('post', 5000 + p), pg_temp.t(300), pg_temp.t(300), pg_temp.t(300), pg_temp.id('user', u), pg_temp.id('channel', ch), '', pg_temp.id('post', p), 'First text of ' || pg_temp.u(u),
      '', '{}', '', '[]', '[]', false, 0, false, null from pst where kind = 'edited'
  union all
  select pg_temp.id('post', 5000 + a), pg_temp.t(90), pg_temp.t(90), 0, pg_temp.id('user', a), pg_temp.id('channel', n), '', '', 'Message of ' || pg_temp.u(a), '', '{}', '', '[]', '[]', false, 0,
      false, null from talk where a > 900;
insert into threads (postid, replycount, lastreplyat, participants, channelid, threaddeleteat, threadteamid)
  select pg_temp.id('post', first), count(*), pg_temp.t(300), jsonb_agg(pg_temp.id('user', u) order by u) || case when ch % 5 = 0 then jsonb_build_array(pg_temp.id('user', 901)) else '[]' end,
      pg_temp.id('channel', ch), 0,
    case when min(t) > 0 then pg_temp.id('team', min(t)) else '' end from pst join root using (ch) where k = 2 group by first, ch;
insert into threadmemberships (postid, userid, following, lastviewed, lastupdated, unreadmentions)
  select distinct pg_temp.id('post', first), pg_temp.id('user', u), u % 4 > 0, pg_temp.t(300), pg_temp.t(310), u % 3 from pst join root using (ch) where k = 2 or p = first;
insert into reactions (userid, postid, emojiname, createat, updateat, deleteat, remoteid, channelid)
  select pg_temp.id('user', x.u), pg_temp.id('post', p), (array['+1', 'tada', 'eyes', 'party_parrot'])[1 + p % 4], pg_temp.t(350), pg_temp.t(350), case when p % 5 = 0 then pg_temp.t(360) else 0 end,
      '', pg_temp.id('channel', ch)
  from pst join (select *, row_number() over (partition by n order by u) - 1 as place, count(*) over (partition by n) as size from cm) x on x.n = ch and (x.place = p % size or x.u = pst.u)
      where p % 3 = 0;
insert into fileinfo (id, creatorid, postid, createat, updateat, deleteat, path, thumbnailpath, previewpath, name, extension, size, mimetype, width, height, haspreviewimage, minipreview, content,
    remoteid, archived, channelid)
  select pg_temp.id('file', f), creator, post, pg_temp.t(f % 600), pg_temp.t(f % 600), case when f % 25 = 0 then pg_temp.t(700) else 0 end, folder || '/report-' || m || '.png',
      folder || '/report-' || m || '_thumb.jpg', folder || '/report-' || m || '_preview.jpg',
    'Report of ' || m || '.png', 'png', 1000 + f, 'image/png', 640, 480, true, '\xffd8'::bytea || convert_to(m, 'UTF8'), 'Text in the picture of ' || m, case when f % 2 = 0 then '' end, f % 50 = 0,
        channel
  from (select p as f, pg_temp.id('user', u) as creator, pg_temp.id('post', p) as post, pg_temp.id('channel', ch) as channel, pg_temp.u(u) as m from pst where p % 5 = 0 and kind in ('plain', 'edited')
    -- of a draft; of a bookmark; of a picture that the server made
    union all select 6000 + n, pg_temp.id('user', n), '', pg_temp.id('channel', 1), pg_temp.u(n) from generate_series(4, 52, 4) n
    union all select 7000 + n, 'bookmark', '', pg_temp.id('channel', n * 4), pg_temp.o(n) from generate_series(1, 9) n
    union all select 7100 + n, 'nouser', '', '', pg_temp.o(n) from generate_series(1, 5) n) x, concat('20260105/teams/noteam/channels/', channel, '/users/', creator, '/',
        pg_temp.id('file', f)) folder;
insert into drafts (createat, updateat, deleteat, userid, channelid, rootid, message, props, fileids, priority, type)
  select pg_temp.t(500), pg_temp.t(501), case when u % 9 = 1 then pg_temp.t(502) else 0 end, pg_temp.id('user', u), pg_temp.id('channel', n),
      case when answers then pg_temp.id('post', first) else '' end, 'Draft of ' || m,
    json_build_object('ai_generated_by_username', m)::text, case when u % 4 = 0 and n = 1 and not answers then '["' || pg_temp.id('file', 6000 + u) || '"]' else '[]' end,
    case when u % 2 = 0 then '{"priority": "urgent", "requested_ack": true}' end, '' from cm join root on ch = n, generate_series(0, 1) a, cast(a as boolean) answers, pg_temp.u(u) m
        where u < 57 and (u + n + a) % 3 = 0 and (i = 1 or i = 0 and a = 0);

-- Summaries. What is told in them was written by others.
create temp table rc as select row_number() over (order by u desc, i) as r, * from (select u, i from generate_series(5, 50, 5) u, generate_series(1, 2) i union all values (902, 1)) x;
insert into recaps (id, userid, title, createat, updateat, deleteat, totalmessagecount, status, readat, botid, viewedat)
  select pg_temp.id('recap', r), pg_temp.id('user', u), 'Week of ' || pg_temp.u(u), pg_temp.t(400 + i), pg_temp.t(401 + i), case when i = 2 and u % 10 = 0 then pg_temp.t(500) else 0 end, 12,
      'completed', pg_temp.t(402 + i), pg_temp.id('user', 57), 0 from rc;
insert into recapchannels (id, recapid, channelid, channelname, highlights, actionitems, sourcepostids, createat)
  select pg_temp.id('recap channel', row_number() over (order by r, n)), pg_temp.id('recap', r), pg_temp.id('channel', n),
      case when i > 0 then 'Town Square ' || pg_temp.o(t) else pg_temp.u(other) end,
    json_build_array('News of ' || pg_temp.u(other), 'Question of ' || pg_temp.u(other))::text, json_build_array('To do for ' || pg_temp.u(u))::text, json_build_array(pg_temp.id('post', first))::text,
        pg_temp.t(401)
  from (select r, rc.u, cm.n, cm.t, cm.i, 1 + rc.u % 50 as other, row_number() over (partition by r, cm.i > 0 order by n) as place from rc join cm on cm.u = rc.u and cm.i in (0, 1)
      union all select r, 902, 1, 1, 1, 902, 1 from rc where u = 902) x join root on ch = n where place <= 2;

-- What people set up. A command of a plugin has no creator, an app that registered itself neither.
insert into incomingwebhooks (id, createat, updateat, deleteat, userid, channelid, teamid, displayname, description, username, iconurl, channellocked, lastused)
  select pg_temp.id('hook', nr), pg_temp.t(u), pg_temp.t(u), case when u % 9 = 0 then pg_temp.t(700) else 0 end, pg_temp.id('user', u), pg_temp.id('channel', t * 4 - 3), pg_temp.id('team', t),
      'Hook of ' || m, 'For the builds of ' || m, 'ci of ' || m,
    'https://icons.example/' || m || '.png', u % 2 = 0, pg_temp.t(500) from mem, pg_temp.u(u) m where u % 3 = 0;
insert into commands (id, token, createat, updateat, deleteat, creatorid, teamid, trigger, method, username, iconurl, autocomplete, autocompletedesc, autocompletehint, displayname, description, url,
    pluginid)
  select pg_temp.id('command', nr), pg_temp.id('command token', 100 + nr), pg_temp.t(u), pg_temp.t(u), case when u % 14 = 0 then pg_temp.t(700) else 0 end, pg_temp.id('user', u),
      pg_temp.id('team', t), 'deploy', 'P', 'deploy of ' || m, 'https://icons.example/' || m,
    true, 'Deploys for ' || m, '[' || m || ']', 'Command of ' || m, 'Set up by ' || m, 'https://commands.example/' || m, '' from mem, pg_temp.u(u) m where u % 7 = 0
  union all select pg_temp.id('command', 200 + n), '', pg_temp.t(n), pg_temp.t(n), 0, '', case when n < 4 then pg_temp.id('team', n) else '' end, 'playbook' || n, '', '', '', true, 'Of the plugin',
      '', 'Playbooks', '', '', 'playbooks' from generate_series(1, 5) n;
create temp table app as select * from (select n, n * 3 as u, pg_temp.u(n * 3) as m from generate_series(1, 6) n union all values (7, null, pg_temp.c(7)), (8, 908, pg_temp.u(908))) x;
insert into oauthapps (id, creatorid, createat, updateat, clientsecret, name, description, callbackurls, homepage, istrusted, iconurl, mattermostappid, isdynamicallyregistered)
  select pg_temp.id('app', n), coalesce(pg_temp.id('user', u), ''), pg_temp.t(n), pg_temp.t(n), 'secret-' || m, 'App of ' || m, 'Made by ' || m, '["https://apps.example/' || m || '"]',
      'https://apps.example/' || m, n = 1, 'https://icons.example/' || m, '', u is null from app;
-- The address to which an app leads is that of the one who made the app.
insert into oauthaccessdata (token, refreshtoken, redirecturi, clientid, userid, expiresat, scope, audience)
  select pg_temp.id('access token', 1000 + x.u * 10 + n), pg_temp.id('refresh token', 1000 + x.u * 10 + n), 'https://apps.example/' || app.m, pg_temp.id('app', n), pg_temp.id('user', x.u),
      pg_temp.t(9000), 'user', ''
  from generate_series(2, 52, 2) x (u) join app on n = 1 + x.u % 8 or n = 1 + (x.u + 3) % 8 union all select pg_temp.id('access token', 901), '', 'https://apps.example/' || pg_temp.c(7),
      pg_temp.id('app', 7), pg_temp.id('user', 901), 0, 'user', '';

-- Settings. "name" is a word, or the id of a user, a post, a channel, a team or an app: this depends on the category.
insert into preferences (userid, category, name, value)
  select pg_temp.id('user', n), category, coalesce(name, pg_temp.id('user', n)), coalesce(value, 'Of ' || m) from generate_series(1, 58) n, pg_temp.u(n) m,
    (values ('display_settings', 'name_format', 'full_name'), ('notifications', 'email_interval', '30'), ('tutorial_step', null, '999'), ('recent_emojis', null, null),
        ('custom_status', 'recent', null)) x (category, name, value)
  union all select pg_temp.id('user', u), 'theme', pg_temp.id('team', t), json_build_object('type', 'custom', 'name', 'Theme of ' || pg_temp.u(u))::text from mem where u % 2 = 0 and not former
  union all select pg_temp.id('user', x), 'direct_channel_show', pg_temp.id('user', y), 'true' from (select a as x, b as y from talk where c is null and a < 900 union select b, a from talk
      where c is null) z
  union all select pg_temp.id('user', x), 'group_channel_show', pg_temp.id('channel', n), 'true' from talk, unnest(array[a, b, c]) x where c is not null
  union all select pg_temp.id('user', n), 'flagged_post', pg_temp.id('post', p), 'true' from generate_series(1, 55) n, unnest(array[n, 61 - n]) p where n % 2 = 1
  union all select userid, 'oauth_app', clientid, 'user' from oauthaccessdata where userid in (select id from users);
insert into recentsearches (userid, searchpointer, query, createat)
  select pg_temp.id('user', n), i, jsonb_build_object('terms', 'report of ' || pg_temp.u(n), 'in_channels', array['town-square'], 'from_users', array[pg_temp.u(1 + (n + i) % 56)], 'ishashtag', false),
      pg_temp.t(n + i)
  from generate_series(2, 56, 2) n, generate_series(1, 5) i where i <= 1 + n % 5 union all select pg_temp.id('user', 904), 1, jsonb_build_object('terms', 'report of ' || pg_temp.u(904)), pg_temp.t(1);

-- Attributes of users, posts (a report of a message, with what the reporter wrote) and channels.
insert into propertyfields (id, groupid, name, type, attrs, targetid, targettype, createat, updateat, deleteat, createdby, updatedby, objecttype, protected, permissionfield, permissionvalues,
    permissionoptions)
  select pg_temp.id('field', 100 + n), pg_temp.id('fields', 100 + g), name, type::property_field_type, jsonb_build_object('visibility', 'when_set', 'display_name', 'Field of ~o:site~', 'options',
      case when n = 3 then jsonb_build_array(jsonb_build_object('id', pg_temp.id('option', 100), 'name', 'Senior')) else '[]' end),
    '', 'system', pg_temp.t(n), pg_temp.t(n), 0, '', '', object, n = 4, 'sysadmin', 'member', 'sysadmin'
  from (values (1, 1, 'department', 'text', 'user'), (2, 1, 'manager', 'user', 'user'), (3, 1, 'level', 'select', 'user'), (4, 2, 'reporting_comment', 'text', 'post'),
      (5, 3, 'topic', 'text', 'channel')) x (n, g, name, type, object);
insert into propertyvalues (id, targetid, targettype, groupid, fieldid, value, createat, updateat, deleteat, createdby, updatedby)
  select pg_temp.id('value', row_number() over (order by f desc, n, old)), pg_temp.id(type, n), type, pg_temp.id('fields', 100 + g), pg_temp.id('field', 100 + f), to_jsonb(v), pg_temp.t(n),
      pg_temp.t(n + 1), case when old then pg_temp.t(n + 1) else 0 end, pg_temp.id('user', w), pg_temp.id('user', 1)
  from (select 'user' as type, n, 1 as g, 1 as f, 'Department of ' || pg_temp.u(n) as v, n as w, false as old from generate_series(1, 54) n where n % 6 > 0
    union all select 'user', n, 1, 1, 'Former department of ' || pg_temp.u(n), 1, true from generate_series(1, 50) n where n % 4 = 0
    union all select 'user', n, 1, 2, pg_temp.id('user', 1 + n % 9), 1, false from generate_series(1, 50) n where n % 2 = 0
    union all select 'user', n, 1, 3, pg_temp.id('option', 100), n, false from generate_series(1, 50) n where n % 5 = 0
    union all select 'user', 903, 1, 1, 'Department of ' || pg_temp.u(903), 903, false
    union all select 'post', n, 2, 4, 'Rude, says ' || pg_temp.u(1 + (n + 20) % 50), 1 + (n + 20) % 50, false from generate_series(1, 40) n
    union all select 'channel', n, 3, 5, 'Topic of ' || pg_temp.o((n + 3) / 4), 1, false from generate_series(1, 40) n) x;

-- History. What an admin does names the one to whom it was done. A sign-in that failed is nobody's: who it was is not known then.
insert into audits (id, createat, userid, action, extrainfo, ipaddress, sessionid)
  select pg_temp.id('audit', row_number() over (order by i, n desc)), pg_temp.t(n + i), case when who > 0 then pg_temp.id('user', who) when n % 2 = 0 then '' end, action, extra,
      '10.0.' || i || '.' || n || ' ' || case when who > 0 then pg_temp.u(who) else pg_temp.u(n) end, case when who > 0 then pg_temp.id('session', who * 3 - 2) else '' end
  from (select n, i, n as who, (array['/api/v4/users/login', '/api/v4/users/login', '/api/v4/users/' || pg_temp.id('user', n) || '/image', '/api/v4/users/logout'])[i] as action,
      (array['attempt - login_id=' || pg_temp.u(n) || '@mail.example', 'success - login_id=' || pg_temp.u(n) || '@mail.example', '', ''])[i] as extra
        from generate_series(1, 58) n, generate_series(1, 4) i
    union all select n, 5, 1 + n % 4, '/api/v4/users/' || pg_temp.id('user', n) || '/roles', 'user=' || pg_temp.u(n) || ' roles=system_user' from generate_series(1, 50) n
    union all select n, 6, 0, '/api/v4/users/login', 'fail - login_id=' || pg_temp.u(n) || '@mail.example' from generate_series(1, 58) n where n % 3 = 0) x;

insert into tokens (token, createat, type, extra)
  select 'reset-' || m, pg_temp.t(n), 'password_recovery', json_build_object('UserId', pg_temp.id('user', n), 'Email', m || '@mail.example')::text from generate_series(6, 58, 6) n, pg_temp.u(n) m
  union all select 'verify-' || m, pg_temp.t(n), 'verify_email', json_build_object('UserId', pg_temp.id('user', n), 'Email', 'new-' || m || '@mail.example')::text
      from generate_series(7, 58, 7) n, pg_temp.u(n) m
  union all select 'guest-' || pg_temp.c(n), pg_temp.t(n), 'guest_invitation', json_build_object('teamId', pg_temp.id('team', 1 + n % 9), 'channels', pg_temp.id('channel', n), 'email',
      pg_temp.c(n) || '@client.example', 'guest', 'true', 'senderId', pg_temp.id('user', n))::text from generate_series(1, 20) n;
insert into jobs (id, type, priority, createat, startat, lastactivityat, status, progress, data)
  select pg_temp.id('job', n), (array['export_users_to_csv', 'message_export', 'data_retention'])[1 + n % 3], 0, pg_temp.t(n), pg_temp.t(n), pg_temp.t(n),
      (array['success', 'pending', 'error'])[1 + n % 3], 100,
    case when n % 3 = 0 then jsonb_build_object('requesting_user_id', pg_temp.id('user', n), 'requesting_user_email', pg_temp.u(n) || '@mail.example') else '{"batch_size": "1000"}' end
        from generate_series(1, 54) n;
insert into pluginkeyvaluestore (pluginid, pkey, pvalue, expireat)
  select 'github', pg_temp.id('user', n) || '_githubtoken', convert_to(json_build_object('UserID', pg_temp.id('user', n), 'GitHubUsername', 'gh-' || pg_temp.u(n), 'Token',
      'gho-' || pg_temp.u(n))::text, 'UTF8'), 0 from generate_series(2, 50, 2) n
  union all select 'com.mattermost.calls', 'channel_' || n, convert_to('{"enabled": true}', 'UTF8'), 0 from generate_series(1, 9) n;
insert into db_migrations (version, name) values (1, 'create_teams'), (2, 'create_team_members'), (46, 'create_users'), (128, 'create_scheduled_posts'), (149, 'create_recaps'),
    (175, 'filter_attribute_view_by_object_type');

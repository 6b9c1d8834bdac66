-- mattermost: a minimal equivalent of its schema: same names, types, keys and indexes.

create type channel_type as enum ('P', 'G', 'O', 'D', 'BO', 'BP');
create type team_type as enum ('I', 'O');
create type property_field_type as enum ('text', 'select', 'multiselect', 'date', 'user', 'multiuser', 'rank');
create type permission_level as enum ('none', 'sysadmin', 'member', 'admin');

-- Accounts that log in, and bots. Ids are texts of 26 characters, times are milliseconds; "deleteat" is 0 in a row that is not deleted.
-- No table below refers to another with a foreign key, but "recapchannels".
create table users (
  id varchar(26) primary key, createat bigint, updateat bigint, deleteat bigint, username varchar(64) unique, password varchar(128),
  authdata varchar(128) unique, authservice varchar(32), email varchar(128) unique, emailverified boolean, nickname varchar(64),
  firstname varchar(64), lastname varchar(64), roles varchar(256), allowmarketing boolean, props jsonb, notifyprops jsonb,
  lastpasswordupdate bigint, lastpictureupdate bigint, failedattempts integer, locale varchar(5), mfaactive boolean, mfasecret varchar(128),
  position varchar(128), timezone jsonb, remoteid varchar(26), lastlogin bigint not null default 0, mfausedtimestamps jsonb
);
create index on users (createat);
create index on users (deleteat);
create index on users (updateat);
create index on users (id, locale);
create index on users (lower(email) text_pattern_ops);
create index on users (lower(firstname) text_pattern_ops);
create index on users (lower(lastname) text_pattern_ops);
create index on users (lower(nickname) text_pattern_ops);
create index on users (lower(username) text_pattern_ops);
create index on users using gin (to_tsvector('english', username || ' ' || firstname || ' ' || lastname || ' ' || nickname || ' ' || email));
create index on users using gin (to_tsvector('english', username || ' ' || firstname || ' ' || lastname || ' ' || nickname));
create index on users using gin (to_tsvector('english', username || ' ' || nickname || ' ' || email));
create index on users using gin (to_tsvector('english', username || ' ' || nickname));

create table bots (
  userid varchar(26) primary key, description varchar(1024), ownerid varchar(190), createat bigint, updateat bigint, deleteat bigint, lasticonupdate bigint
);

create table status (
  userid varchar(26) primary key, status varchar(32), manual boolean, lastactivityat bigint, dndendtime bigint, prevstatus varchar(32)
);
create index on status (status, dndendtime);

create table sessions (
  id varchar(26) primary key, token varchar(26), createat bigint, expiresat bigint, lastactivityat bigint, userid varchar(26),
  deviceid varchar(512), roles varchar(256), isoauth boolean, props jsonb, expirednotify boolean, voipdeviceid varchar(512) not null default ''
);
create index on sessions (createat);
create index on sessions (expiresat);
create index on sessions (lastactivityat);
create index on sessions (token);
create index on sessions (userid);

-- One-time tokens of mails. Whom one is for stands in the JSON text "extra".
create table tokens (token varchar(64) primary key, createat bigint, type varchar(64), extra varchar(2048));

create table audits (
  id varchar(26) primary key, createat bigint, userid varchar(26), action varchar(512), extrainfo varchar(1024), ipaddress varchar(64), sessionid varchar(26)
);
create index on audits (userid);

create table preferences (
  userid varchar(26) not null, category varchar(32) not null, name varchar(32) not null, value text, primary key (userid, category, name)
);
create index on preferences (category);
create index on preferences (name);

create table recentsearches (
  userid character(26) not null, searchpointer integer not null, query jsonb, createat bigint not null, primary key (userid, searchpointer)
);

-- Tenants.
create table teams (
  id varchar(26) primary key, createat bigint, updateat bigint, deleteat bigint, displayname varchar(64), name varchar(64) unique,
  description varchar(255), email varchar(128), type team_type, companyname varchar(64), alloweddomains varchar(1000), inviteid varchar(32),
  schemeid varchar(26), allowopeninvite boolean, lastteamiconupdate bigint, groupconstrained boolean, cloudlimitsarchived boolean not null default false
);
create index on teams (createat);
create index on teams (deleteat);
create index on teams (updateat);
create index on teams (inviteid);
create index on teams (schemeid);

create table teammembers (
  teamid varchar(26) not null, userid varchar(26) not null, roles varchar(256), deleteat bigint, schemeuser boolean, schemeadmin boolean,
  schemeguest boolean, createat bigint default 0, primary key (teamid, userid)
);
create index on teammembers (createat);
create index on teammembers (deleteat);
create index on teammembers (userid);

create table usergroups (
  id varchar(26) primary key, name varchar(64) unique, displayname varchar(128), description varchar(1024), source varchar(64), remoteid varchar(48),
  createat bigint, updateat bigint, deleteat bigint, allowreference boolean, unique (source, remoteid)
);
create index on usergroups (deleteat);
create index on usergroups (displayname);
create index on usergroups (remoteid);

create table groupmembers (
  groupid varchar(26) not null, userid varchar(26) not null, createat bigint, deleteat bigint, primary key (groupid, userid)
);
create index on groupmembers (createat);

-- Channels of a team (O, P) and talks of two or more people that are of no team (D, G).
create table channels (
  id varchar(26) primary key, createat bigint, updateat bigint, deleteat bigint, teamid varchar(26), type channel_type, displayname varchar(64),
  name varchar(64), header varchar(1024), purpose varchar(250), lastpostat bigint, totalmsgcount bigint, extraupdateat bigint,
  creatorid varchar(26), schemeid varchar(26), groupconstrained boolean, shared boolean, totalmsgcountroot bigint, lastrootpostat bigint default 0,
  bannerinfo jsonb, defaultcategoryname varchar(64) not null default '', autotranslation boolean not null default false,
  discoverable boolean not null default false, unique (name, teamid)
);
create index on channels (createat);
create index on channels (deleteat);
create index on channels (updateat);
create index on channels (schemeid);
create index on channels (teamid, displayname);
create index on channels (teamid, type);
create index on channels (lower(displayname));
create index on channels (lower(name));
create index on channels (id) where autotranslation;
create index on channels (teamid) where discoverable and type = 'P' and deleteat = 0;
create index on channels using gin (to_tsvector('english', name || ' ' || displayname || ' ' || purpose));

create table channelmembers (
  channelid varchar(26) not null, userid varchar(26) not null, roles varchar(256), lastviewedat bigint, msgcount bigint, mentioncount bigint,
  notifyprops jsonb, lastupdateat bigint, schemeuser boolean, schemeadmin boolean, schemeguest boolean, mentioncountroot bigint,
  msgcountroot bigint, urgentmentioncount bigint, autotranslation boolean not null default false,
  autotranslationdisabled boolean not null default false, primary key (channelid, userid)
);
create index on channelmembers (channelid) where autotranslation;
create index on channelmembers (channelid, schemeguest, userid);
create index on channelmembers (userid, channelid, lastviewedat);

create table channelmemberhistory (
  channelid varchar(26) not null, userid varchar(26) not null, jointime bigint not null, leavetime bigint, primary key (channelid, userid, jointime)
);

create table channeljoinrequests (
  id varchar(26) primary key, channelid varchar(26) not null, userid varchar(26) not null, message text not null default '',
  status varchar(16) not null default 'pending', denialreason text not null default '', createat bigint not null, updateat bigint not null,
  reviewedby varchar(26) not null default '', reviewedat bigint not null default 0
);
create index on channeljoinrequests (channelid, status, createat desc);
create index on channeljoinrequests (userid, status, createat desc);
create unique index on channeljoinrequests (channelid, userid) where status = 'pending';

create table sidebarcategories (
  id varchar(128) primary key, userid varchar(26), teamid varchar(26), sortorder bigint, sorting varchar(64), type varchar(64),
  displayname varchar(64), muted boolean, collapsed boolean
);
create index on sidebarcategories (userid, teamid);

create table sidebarchannels (
  channelid varchar(26) not null, userid varchar(26) not null, categoryid varchar(128) not null, sortorder bigint,
  primary key (channelid, userid, categoryid)
);
create index on sidebarchannels (categoryid);

-- Messages. The earlier text of an edited message is a row of its own, deleted and with "originalid".
create table posts (
  id varchar(26) primary key, createat bigint, updateat bigint, deleteat bigint, userid varchar(26), channelid varchar(26), rootid varchar(26),
  originalid varchar(26), message varchar(65535), type varchar(26), props jsonb, hashtags varchar(1000), filenames varchar(4000),
  fileids varchar(300), hasreactions boolean, editat bigint, ispinned boolean, remoteid varchar(26)
);
create index on posts (channelid, deleteat, createat);
create index on posts (channelid, updateat);
create index on posts (createat);
create index on posts (createat, id);
create index on posts (deleteat);
create index on posts (ispinned);
create index on posts (originalid);
create index on posts (rootid, deleteat);
create index on posts (updateat);
create index on posts (userid);
create index on posts using gin (to_tsvector('english', hashtags));
create index on posts using gin (to_tsvector('english', message));

create table threads (
  postid varchar(26) primary key, replycount bigint, lastreplyat bigint, participants jsonb, channelid varchar(26), threaddeleteat bigint,
  threadteamid varchar(26)
);
create index on threads (channelid, lastreplyat);

create table threadmemberships (
  postid varchar(26) not null, userid varchar(26) not null, following boolean, lastviewed bigint, lastupdated bigint, unreadmentions bigint,
  primary key (postid, userid)
);
create index on threadmemberships (lastupdated);
create index on threadmemberships (lastviewed);
create index on threadmemberships (userid);

create table reactions (
  userid varchar(26) not null, postid varchar(26) not null, emojiname varchar(64) not null, createat bigint, updateat bigint, deleteat bigint,
  remoteid varchar(26), channelid varchar(26) not null default '', primary key (postid, userid, emojiname)
);
create index on reactions (channelid);

create table fileinfo (
  id varchar(26) primary key, creatorid varchar(26), postid varchar(26), createat bigint, updateat bigint, deleteat bigint, path varchar(512),
  thumbnailpath varchar(512), previewpath varchar(512), name varchar(256), extension varchar(64), size bigint, mimetype varchar(256),
  width integer, height integer, haspreviewimage boolean, minipreview bytea, content text, remoteid varchar(26),
  archived boolean not null default false, channelid varchar(26)
);
create index on fileinfo (channelid, createat);
create index on fileinfo (createat);
create index on fileinfo (deleteat);
create index on fileinfo (extension);
create index on fileinfo (postid);
create index on fileinfo (updateat);
create index on fileinfo using gin (to_tsvector('english', content));
create index on fileinfo using gin (to_tsvector('english', name));
create index on fileinfo using gin (to_tsvector('english', translate(name, '.,-', '   ')));

create table drafts (
  createat bigint, updateat bigint, deleteat bigint, userid varchar(26) not null, channelid varchar(26) not null,
  rootid varchar(26) not null default '', message varchar(65535), props varchar(8000), fileids varchar(300), priority text, type text,
  primary key (userid, channelid, rootid)
);

-- Summaries that a bot writes for a user of what others wrote.
create table recaps (
  id varchar(26) primary key, userid varchar(26) not null, title varchar(255) not null, createat bigint not null, updateat bigint not null,
  deleteat bigint not null, totalmessagecount integer not null, status varchar(32) not null, readat bigint not null default 0,
  botid varchar(26) not null default '', viewedat bigint not null default 0
);
create index on recaps (botid);
create index on recaps (createat);
create index on recaps (userid);
create index on recaps (userid, deleteat);
create index on recaps (userid, readat);
create index on recaps (userid, viewedat);

create table recapchannels (
  id varchar(26) primary key, recapid varchar(26) not null references recaps on delete cascade, channelid varchar(26) not null,
  channelname varchar(64) not null, highlights text, actionitems text, sourcepostids text, createat bigint not null
);
create index on recapchannels (channelid);
create index on recapchannels (recapid);

-- What people set up.
create table incomingwebhooks (
  id varchar(26) primary key, createat bigint, updateat bigint, deleteat bigint, userid varchar(26), channelid varchar(26), teamid varchar(26),
  displayname varchar(64), description varchar(500), username varchar(255), iconurl varchar(1024), channellocked boolean,
  lastused bigint not null default 0
);
create index on incomingwebhooks (createat);
create index on incomingwebhooks (deleteat);
create index on incomingwebhooks (teamid);
create index on incomingwebhooks (updateat);
create index on incomingwebhooks (userid);

create table commands (
  id varchar(26) primary key, token varchar(26), createat bigint, updateat bigint, deleteat bigint, creatorid varchar(26), teamid varchar(26),
  trigger varchar(128), method varchar(1), username varchar(64), iconurl varchar(1024), autocomplete boolean, autocompletedesc varchar(1024),
  autocompletehint varchar(1024), displayname varchar(64), description varchar(128), url varchar(1024), pluginid varchar(190)
);
create index on commands (createat);
create index on commands (deleteat);
create index on commands (teamid);
create index on commands (updateat);

create table oauthapps (
  id varchar(26) primary key, creatorid varchar(26), createat bigint, updateat bigint, clientsecret varchar(128), name varchar(64),
  description varchar(512), callbackurls varchar(1024), homepage varchar(256), istrusted boolean, iconurl varchar(512),
  mattermostappid varchar(32) not null default '', isdynamicallyregistered boolean default false
);
create index on oauthapps (creatorid);

create table oauthaccessdata (
  token varchar(26) primary key, refreshtoken varchar(26), redirecturi varchar(256), clientid varchar(26), userid varchar(26), expiresat bigint,
  scope varchar(128), audience varchar(512) default '', unique (clientid, userid)
);
create index on oauthaccessdata (refreshtoken);
create index on oauthaccessdata (userid);

-- Further attributes of users, channels and posts: the kind stands in "targettype".
create table propertyfields (
  id varchar(26) primary key, groupid varchar(26) not null, name varchar(255) not null, type property_field_type, attrs jsonb, targetid varchar(255),
  targettype varchar(255), createat bigint not null, updateat bigint not null, deleteat bigint not null, createdby varchar(26), updatedby varchar(26),
  objecttype varchar(255) not null default '', protected boolean not null default false, permissionfield permission_level,
  permissionvalues permission_level, permissionoptions permission_level, linkedfieldid varchar(26)
);
create index on propertyfields (createat, id);
create index on propertyfields (groupid, updateat, id);
create index on propertyfields (linkedfieldid) where linkedfieldid is not null and deleteat = 0;
create unique index on propertyfields (groupid, targetid, name) where deleteat = 0 and objecttype = '';
create unique index on propertyfields (objecttype, groupid, targettype, targetid, name) where deleteat = 0 and objecttype <> '';

create table propertyvalues (
  id varchar(26) primary key, targetid varchar(255) not null, targettype varchar(255) not null, groupid varchar(26) not null,
  fieldid varchar(26) not null, value jsonb not null, createat bigint not null, updateat bigint not null, deleteat bigint not null,
  createdby varchar(26), updatedby varchar(26)
);
create index on propertyvalues (createat, id);
create index on propertyvalues (groupid, updateat, id);
create index on propertyvalues (targetid, groupid);
create unique index on propertyvalues (groupid, targetid, fieldid) where deleteat = 0;

-- Work of the servers.
create table jobs (
  id varchar(26) primary key, type varchar(32), priority bigint, createat bigint, startat bigint, lastactivityat bigint, status varchar(32),
  progress bigint, data jsonb
);
create index on jobs (status, type);
create index on jobs (type);

create table pluginkeyvaluestore (
  pluginid varchar(190) not null, pkey varchar(150) not null, pvalue bytea, expireat bigint, primary key (pluginid, pkey)
);

create table db_migrations (version bigint primary key, name varchar not null);

-- documenso: 60 users, 14 organisations (tenants) with 23 teams. Users 1-44 and 57 are members, every fourth in two organisations, every twelfth in three;
-- 11, 22, 33 and 44 have a personal organisation beside. 45-50 were members: the membership is gone, their documents went to the owner of the organisation,
-- their folders, tokens, webhooks and history are still theirs. 51-56 are in no organisation, they only get documents to sign (56 is switched off). 57 runs the site.
-- 58 is the service account that keeps the documents of deleted organisations; it never logs in. 59 and 60 have nothing beside the account row.
-- Users 901-905 are gone; rows that name them are nobody's. Numbers are equal for all kinds (user 7, contact 7, team 7, recipient 7, document_7, template_7).
create function pg_temp.u(n bigint) returns text immutable language sql as $$ select '~u:' || n || '~' $$;
create function pg_temp.c(n bigint) returns text immutable language sql as $$ select '~c:' || n || '~' $$;
create function pg_temp.t(h bigint) returns timestamp immutable language sql as $$ select timestamp '2026-01-05 08:00' + h * interval '1 hour' $$;
create function pg_temp.k(kind text, n bigint) returns text immutable language sql as $$ select kind || '_' || substr(md5(kind || n), 1, 16) $$;
create function pg_temp.cuid(kind text, n bigint) returns text immutable language sql as $$ select 'c' || substr(md5(kind || n), 1, 24) $$;
create function pg_temp.o(n bigint) returns text immutable language sql as $$ select '~o:' || pg_temp.k('org', n) || '~' $$;

-- Pictures 1-60 are of users, 101-114 of organisations, 201-223 of teams, 901-905 were of users that are gone.
insert into "AvatarImage" (id, bytes)
  select pg_temp.cuid('avatar', n), 'iVBORw0KGgo' || pg_temp.u(n) from generate_series(3, 57, 3) n
  union all select pg_temp.cuid('avatar', 100 + n), 'iVBORw0KGgo' || pg_temp.o(n) from generate_series(2, 14, 2) n
  union all select pg_temp.cuid('avatar', 200 + n), 'iVBORw0KGgo' || pg_temp.o((n + 1) / 2) from generate_series(3, 18, 3) n
  union all select pg_temp.cuid('avatar', n), 'iVBORw0KGgo' || pg_temp.u(n) from generate_series(901, 905) n;

insert into "User" (id, name, email, "emailVerified", password, source, "identityProvider", signature, roles, "createdAt", "lastSignedIn", "updatedAt",
    "twoFactorBackupCodes", "twoFactorEnabled", "twoFactorSecret", "avatarImageId", disabled)
  select n, case when n = 58 then 'Deleted Account' when n % 13 > 0 then 'Name ' || m end, case when n = 58 then 'deleted-account@documenso.com' else m || '@mail.example' end,
    case when n not in (53, 60) then pg_temp.t(n) end, case when n % 4 <> 1 then '$2b$12$' || m end, case when n % 5 = 0 then 'DOCUMENSO' end,
    (case when n % 4 = 1 then 'GOOGLE' else 'DOCUMENSO' end)::"IdentityProvider", case when n % 2 = 0 and n < 58 then 'data:image/png;base64,' || m end,
    case when n = 57 then array['USER', 'ADMIN']::"Role"[] else array['USER']::"Role"[] end, pg_temp.t(n), pg_temp.t(n + 900), pg_temp.t(n + 500),
    case when n % 7 = 0 then 'sealed-codes-' || m end, n % 7 = 0, case when n % 7 = 0 then 'sealed-secret-' || m end,
    case when n % 3 = 0 and n <= 57 then pg_temp.cuid('avatar', n) end, n = 56
  from generate_series(1, 60) n, pg_temp.u(n) m;

insert into "Account" (id, "userId", type, provider, "providerAccountId", refresh_token, access_token, expires_at, token_type, scope, id_token, session_state, created_at,
    ext_expires_in, password, "createdAt")
  select pg_temp.cuid('account', n), n, 'oauth', 'google', 'g-' || m, 'refresh-' || m, 'access-' || m, 1780000000 + n, 'Bearer', 'openid email profile', 'eyJ-' || m,
    'state-' || m, case when n % 8 = 1 then 1770000000 end, null, null, pg_temp.t(n) from generate_series(1, 57, 4) n, pg_temp.u(n) m
  union all
  select pg_temp.cuid('account', 100 + n), n, 'oidc', pg_temp.k('org', 1 + n % 9), 'sso-' || m, null, 'access-sso-' || m, 1780000000 + n, 'Bearer', null, 'eyJ-sso-' || m,
    null, null, 3600, null, pg_temp.t(n + 20) from generate_series(9, 36, 9) n, pg_temp.u(n) m;
insert into "Session" (id, "sessionToken", "userId", "createdAt", "expiresAt", "ipAddress", "updatedAt", "userAgent")
  select pg_temp.cuid('session', n * 10 + j), 'session-' || m || '-' || j, n, pg_temp.t(n + j), pg_temp.t(n + j + 720), case when j < 3 then '10.0.' || j || '.' || n || ' ' || m end,
    pg_temp.t(n + j + 1), case when j < 3 then 'Browser of ' || m end
  from generate_series(1, 57) n, pg_temp.u(n) m, generate_series(1, 1 + n % 3) j;
insert into "Passkey" (id, "userId", name, "createdAt", "updatedAt", "lastUsedAt", "credentialId", "credentialPublicKey", counter, "credentialDeviceType", "credentialBackedUp", transports)
  select pg_temp.cuid('passkey', n * 10 + j), n, 'Key ' || j || ' of ' || m, pg_temp.t(n), pg_temp.t(n), case when j = 1 then pg_temp.t(n + 40) end,
    convert_to('cred-' || m || '-' || j, 'UTF8'), convert_to('pub-' || m || '-' || j, 'UTF8'), 9007199254740993 + n, 'multiDevice', j = 1,
    case when j = 1 then array['internal', 'hybrid'] else '{}' end
  from generate_series(5, 55, 5) n, pg_temp.u(n) m, generate_series(1, 1 + n % 2) j;
insert into "PasswordResetToken" (id, token, "createdAt", expiry, "userId")
  select n / 6, 'reset-' || pg_temp.u(n), pg_temp.t(n), pg_temp.t(n + 1), n from generate_series(6, 54, 6) n;
insert into "VerificationToken" (id, identifier, token, expires, "createdAt", "userId", "secondaryId", completed, metadata)
  select row_number() over (order by x.kind collate "C", x.n), x.kind, x.kind || '-' || m, pg_temp.t(x.n + 2), pg_temp.t(x.n), x.n, pg_temp.cuid(x.kind, x.n), x.kind = 'confirmation-email' and x.n <> 53,
    case when x.kind = 'organisation-account-link' then jsonb_build_object('type', 'link', 'userId', x.n, 'organisationId', pg_temp.k('org', 1 + x.n % 9), 'oauthConfig',
      jsonb_build_object('providerAccountId', 'sso-' || m, 'accessToken', 'access-sso-' || m, 'expiresAt', 1780000000, 'idToken', 'eyJ-sso-' || m)) end
  from (select 'confirmation-email' as kind, n from generate_series(1, 57) n union all select 'PASSKEY_CHALLENGE', n from generate_series(5, 55, 5) n
    union all select 'organisation-account-link', n from generate_series(9, 36, 9) n) x, pg_temp.u(x.n) m;
insert into "UserSecurityAuditLog" (id, "userId", "createdAt", type, "userAgent", "ipAddress")
  select row_number() over (order by n, j), n, pg_temp.t(n * 3 + j), (array['SIGN_IN', 'SIGN_OUT', 'SIGN_IN_FAIL', 'PASSWORD_UPDATE', 'PASSKEY_CREATED', 'ORGANISATION_SSO_LINK'])[j]::"UserSecurityAuditLogType",
    case when j <> 3 then 'Browser of ' || m end, '10.1.' || j || '.' || n || ' ' || m
  from generate_series(1, 57) n, pg_temp.u(n) m, generate_series(1, 3 + n % 4) j;

-- Members: o = organisation, i = place in it (0 is the owner).
create temp table mem as
  select row_number() over (order by o, u) as mid, *, row_number() over (partition by o order by u) - 1 as i, count(*) over (partition by o) as size from (
    select 1 + u % 9 as o, u from generate_series(1, 44) u
    union all select 1 + (u + 3) % 9, u from generate_series(1, 44) u where u % 4 = 0
    union all select 1 + (u + 6) % 9, u from generate_series(1, 44) u where u % 12 = 0
    union all select 1, 57 union all select 10, 58
    union all select 10 + u / 11, u from generate_series(11, 44, 11) u) x;
create temp table former as select 1 + u % 9 as o, u from generate_series(45, 50) u;

insert into "OrganisationGlobalSettings" (id, "documentLanguage", "brandingEnabled", "brandingLogo", "brandingUrl", "brandingCompanyDetails", "emailDocumentSettings", "documentTimezone",
    "emailReplyTo", "includeAuditLog", "defaultRecipients", "envelopeExpirationPeriod", "reminderSettings", "brandingColors", "brandingCss")
  select pg_temp.k('org_setting', n), 'en', n % 2 = 0, case when n % 2 = 0 then '{"type":"BYTES_64","data":"' || m || '"}' else '' end, case when n % 2 = 0 then 'https://' || m || '.example' else '' end,
    'Company of ' || m, '{"recipientSigned": true, "documentPending": true, "ownerDocumentCompleted": true}', 'Etc/UTC', 'reply@' || m || '.example', n % 3 = 0,
    case when n % 3 = 1 then (select jsonb_build_array(jsonb_build_object('role', 'CC', 'name', 'Name ' || pg_temp.u(f.u), 'email', pg_temp.u(f.u) || '@mail.example'),
      jsonb_build_object('role', 'VIEWER', 'name', 'Client ' || pg_temp.c(n), 'email', pg_temp.c(n) || '@client.example')) from mem f where f.o = n and f.i = 0) end,
    '{"unit": "month", "amount": 3}', null, case when n % 2 = 0 then '{"primary": "#0a0a0a"}'::jsonb end, ''
  from generate_series(1, 14) n, pg_temp.o(n) m;
insert into "Organisation" (id, "createdAt", "updatedAt", type, name, url, "avatarImageId", "customerId", "ownerUserId", "organisationClaimId", "organisationGlobalSettingsId",
    "organisationAuthenticationPortalId")
  select pg_temp.k('org', n), pg_temp.t(n), pg_temp.t(n + 5), (case when n < 10 then 'ORGANISATION' else 'PERSONAL' end)::"OrganisationType", 'Organisation ' || m, 'url-' || m,
    case when n % 2 = 0 then pg_temp.cuid('avatar', 100 + n) end, case when n < 10 then 'cus_' || m end, f.u, pg_temp.k('org_claim', n), pg_temp.k('org_setting', n), pg_temp.k('org_sso', n)
  from generate_series(1, 14) n join mem f on f.o = n and f.i = 0, pg_temp.o(n) m;
-- Organisations 1-9 have two teams (2o - 1 and 2o), the others have one.
create temp table team as select 2 * o - 1 as id, o, true as inherits from generate_series(1, 9) o union all select 2 * o, o, false from generate_series(1, 9) o
  union all select 9 + o, o, true from generate_series(10, 14) o;
insert into "Team" (id, name, url, "createdAt", "avatarImageId", "organisationId", "teamGlobalSettingsId")
  select id, 'Team ' || id || ' of ' || m, 'team-' || id || '-' || m, pg_temp.t(id), case when id % 3 = 0 and id <= 18 then pg_temp.cuid('avatar', 200 + id) end, pg_temp.k('org', o),
    pg_temp.k('team_setting', id) from team, pg_temp.o(o) m;
insert into "OrganisationMember" (id, "createdAt", "updatedAt", "userId", "organisationId") select pg_temp.k('member', mid), pg_temp.t(mid), pg_temp.t(mid + 2), u, pg_temp.k('org', o) from mem;
insert into "OrganisationMemberInvite" (id, "createdAt", email, token, status, "organisationId", "organisationRole")
  select pg_temp.k('member_invite', row_number() over (order by x.o, x.m collate "C")), pg_temp.t(x.o + 7), x.m || case when x.m like '~c%' then '@client.example' when x.mixed then '@Mail.Example' else '@mail.example' end,
    'invite-' || x.m || '-' || x.o, x.status::"OrganisationMemberInviteStatus", pg_temp.k('org', x.o), 'MEMBER'
  from (select o, pg_temp.u(u) as m, u % 5 = 0 as mixed, 'ACCEPTED' as status from mem where i > 0 union all select o, pg_temp.u(u), u % 5 = 0, 'ACCEPTED' from former
    union all select 1 + u % 9, pg_temp.u(u), u % 2 = 0, case when u = 52 then 'DECLINED' else 'PENDING' end from generate_series(51, 54) u
    union all select o, pg_temp.c(o), false, 'PENDING' from generate_series(1, 9) o) x;
-- Groups of an organisation: three by role, three by role for each of its teams, and one that it made itself. r = role, g = number.
create temp table grp as
  select o * 1000 + r as g, o, r, 'INTERNAL_ORGANISATION' as type, null::int as team from generate_series(1, 14) o, generate_series(1, 3) r
  union all select o * 1000 + 100 + id * 3 + r, o, r, 'INTERNAL_TEAM', id from team, generate_series(1, 3) r
  union all select o * 1000 + 999, o, 3, 'CUSTOM', 2 * o from generate_series(1, 9) o;
insert into "OrganisationGroup" (id, name, type, "organisationRole", "organisationId")
  select pg_temp.k('org_group', g), case when type = 'CUSTOM' then 'Legal ' || pg_temp.o(o) end, type::"OrganisationGroupType",
    (case when type = 'INTERNAL_ORGANISATION' then (array['ADMIN', 'MANAGER', 'MEMBER'])[r] else 'MEMBER' end)::"OrganisationMemberRole", pg_temp.k('org', o) from grp;
insert into "OrganisationGroupMember" (id, "groupId", "organisationMemberId")
  select pg_temp.k('group_member', row_number() over (order by g, mid)), pg_temp.k('org_group', g), pg_temp.k('member', mid) from (
    select mem.o * 1000 + case when i > 2 then 3 else i + 1 end as g, mid from mem
    union all select grp.g, mid from mem join grp using (o) where grp.type = 'INTERNAL_TEAM' and grp.team = 2 * o and r = 3 and i % 3 = 2
    union all select grp.g, mid from mem join grp using (o) where grp.type = 'CUSTOM' and i % 4 = 3) x;
insert into "TeamGroup" (id, "organisationGroupId", "teamRole", "teamId")
  select pg_temp.k('team_group', row_number() over (order by grp.g, t.id)), pg_temp.k('org_group', grp.g),
    (case when type = 'INTERNAL_TEAM' then (array['ADMIN', 'MANAGER', 'MEMBER'])[r] when type = 'CUSTOM' then 'MANAGER' when r < 3 then 'ADMIN' else 'MEMBER' end)::"TeamMemberRole", t.id
  from grp join team t on t.o = grp.o where case when type = 'INTERNAL_ORGANISATION' then r < 3 or t.inherits else grp.team = t.id end;

-- Folders: two of each member and former member; the second lies in the first of the owner.
create temp table fold as select row_number() over (order by o, u, j) as f, * from (select o, u, i, j from mem, generate_series(1, 2) j where o <> 10 union all select o, u, 99, j from former, generate_series(1, 2) j) x;
insert into "Folder" (id, name, "userId", "teamId", "parentId", "createdAt", "updatedAt", pinned, visibility, type)
  select pg_temp.cuid('folder', f), 'Folder of ' || pg_temp.u(u), u, (select min(id) from team where team.o = fold.o),
    case when j = 2 then (select pg_temp.cuid('folder', p.f) from fold p where p.o = fold.o and p.i = 0 and p.j = 1) end, pg_temp.t(f), pg_temp.t(f + 1), f % 5 = 0, 'EVERYONE',
    (case when j = 1 then 'DOCUMENT' else 'TEMPLATE' end)::"FolderType" from fold order by j;

-- Envelopes: n = number, num = number among its type, u = the user it belongs to now, by = who made it, s = mark of the sender in its texts.
create temp table env as
  select *, case when status in ('PENDING', 'COMPLETED', 'REJECTED', 'CANCELLED') then true else false end as sent from (
    select row_number() over (order by o, by, j) as n, row_number() over (partition by type order by o, by, j) as num, *,
      case when type = 'TEMPLATE' then 'DRAFT' when gone then (array['PENDING', 'COMPLETED', 'REJECTED'])[1 + j % 3]
        else (array['DRAFT', 'PENDING', 'COMPLETED', 'COMPLETED', 'REJECTED', 'CANCELLED', 'COMPLETED'])[1 + (by + j * 5 + o) % 7] end as status
    from (
      select o, u, u as by, i, j, false as gone, false as former, case when j > 6 then 'TEMPLATE' else 'DOCUMENT' end as type, pg_temp.u(u) as s,
        case when o < 10 and i % 3 = 2 and j % 2 = 0 then 2 * o else (select min(id) from team where team.o = mem.o) end as team from mem, generate_series(1, 8) j where o <> 10
      union all select f.o, m.u, f.u, 99, j, false, true, 'DOCUMENT', pg_temp.o(f.o), 2 * f.o - 1 from former f join mem m on m.o = f.o and m.i = 0, generate_series(1, 4) j
      union all select 10, 58, 901 + j % 5, 0, j, true, false, 'DOCUMENT', pg_temp.c(901 + j % 5), 19 from generate_series(1, 12) j) x) y;
create unique index on env (n);

-- Recipients: v = a user, c = a contact, neither = a place holder of a template.
create temp table rec as
  select row_number() over (order by n, j) as r, x.*, case when v is not null then pg_temp.u(v) when c is not null then pg_temp.c(c) end as rm,
    case when v is not null then pg_temp.u(v) || '@mail.example' when c is not null then pg_temp.c(c) || '@client.example'
      when j = 0 then 'direct.link@documenso.com' else 'recipient.1@documenso.com' end as email,
    case when role = 'CC' or x.status in ('DRAFT', 'CANCELLED') then false when x.status = 'COMPLETED' then true else j % 2 = 1 end as signed,
    x.status = 'REJECTED' and j = 2 as rejected
  from (
    select n, 1 as j, null::bigint as v, 1 + n * 7 % 120 as c, 'SIGNER' as role, status, sent from env where type = 'DOCUMENT'
    union all select n, case when n % 2 = 0 then 0 else 1 end, null, null, 'SIGNER', status, sent from env where type = 'TEMPLATE'
    union all select n, 2, 1 + (n * 13 + 5) % 57, null, case when n % 9 = 0 then 'APPROVER' when n % 10 = 0 then 'VIEWER' when n % 14 = 0 then 'ASSISTANT' else 'SIGNER' end, status, sent
      from env where 1 + (n * 13 + 5) % 57 <> u
    union all select n, 3, u, null, 'SIGNER', status, sent from env where n % 4 = 1 and not gone
    union all select n, 4, 1 + (n * 13 + 5) % 57, null, 'CC', status, sent from env where n % 17 = 0 and 1 + (n * 13 + 5) % 57 <> u) x;
create unique index on rec (r);
create index on rec (n);
create temp table v2 as select n, r, v, rm from rec where j = 2;
create unique index on v2 (n);

insert into "DocumentMeta" (id, message, subject, "redirectUrl", "signingOrder", language, "distributionMethod", "emailSettings", "allowDictateNextSigner", "emailReplyTo",
    "envelopeExpirationPeriod", "reminderSettings")
  select pg_temp.cuid('meta', env.n), case when former then 'Dear client, with kind regards, ' || pg_temp.u(by) when env.n % 3 = 0 then 'Dear ' || coalesce(rm, 'client') || ', please sign. ' || s
      when env.n % 3 = 1 then 'Please sign. ' || s when env.n % 6 = 2 then 'Dear ' || pg_temp.c(1 + env.n * 7 % 120) || ', please sign. ' || s end, case when env.n % 2 = 0 then 'Contract of ' || s end, case when env.n % 6 = 0 then 'https://site.example/' || s end,
    (case when env.n % 4 = 0 then 'SEQUENTIAL' else 'PARALLEL' end)::"DocumentSigningOrder", 'en', (case when env.n % 8 = 0 then 'NONE' else 'EMAIL' end)::"DocumentDistributionMethod",
    '{"documentDeleted": true, "documentPending": true, "recipientSigned": true}'::jsonb, env.n % 4 = 0, case when env.n % 5 = 0 then 'reply-' || s || '@mail.example' end,
    '{"unit": "month", "amount": 3}'::jsonb, case when env.n % 2 = 0 then '{"sendAfter": {"unit": "day", "amount": 5}}'::jsonb end
  from env left join v2 on v2.n = env.n
  -- what a deleted document leaves behind
  union all select pg_temp.cuid('meta', n), 'Please sign. ' || pg_temp.u(n), 'Contract of ' || pg_temp.u(n), null, 'PARALLEL', 'en', 'EMAIL', null, false, null, null, null from generate_series(901, 905) n;
insert into "DocumentData" (id, type, data, "initialData")
  select pg_temp.cuid('data', n * 10 + p), (case when n % 3 = 0 then 'S3_PATH' when n % 7 = 0 then 'BYTES' else 'BYTES_64' end)::"DocumentDataType",
    case when n % 3 = 0 then pg_temp.cuid('key', n) || '/signed-' || s || '.pdf' else 'JVBERi0xLjcK-signed-' || s end,
    case when n % 3 = 0 then pg_temp.cuid('key', n) || '/' || s || '.pdf' else 'JVBERi0xLjcK-' || s end from env, generate_series(1, 1 + (n % 6 = 0)::int) p
  union all select pg_temp.cuid('data', n * 10 + 9), 'BYTES_64', 'JVBERi0xLjcK-' || pg_temp.u(n), 'JVBERi0xLjcK-' || pg_temp.u(n) from generate_series(901, 905) n;
insert into "Envelope" (id, "secondaryId", "externalId", type, "createdAt", "updatedAt", "completedAt", "deletedAt", title, status, source, "qrToken", "internalVersion", "useLegacyFieldInsertion",
    "authOptions", "formValues", visibility, "templateType", "publicTitle", "publicDescription", "templateId", "userId", "teamId", "folderId", "documentMetaId", "signatureLevel")
  select pg_temp.k('envelope', n), lower(type) || '_' || num, case when n % 4 = 0 then 'EXT-' || j end, type::"EnvelopeType", pg_temp.t(n), pg_temp.t(n + 9),
    case when status in ('COMPLETED', 'REJECTED') then pg_temp.t(n + 8) end, case when gone or n % 11 = 0 then pg_temp.t(n + 90) end, 'Contract ' || j || ' of ' || s, status::"DocumentStatus",
    (case when type = 'DOCUMENT' and n % 5 = 0 then 'TEMPLATE' when type = 'DOCUMENT' and n % 13 = 0 then 'TEMPLATE_DIRECT_LINK' else 'DOCUMENT' end)::"DocumentSource",
    case when sent then pg_temp.k('qr', n) end, 1 + n % 2, n % 9 = 0, case when n % 3 = 0 then '{"globalAccessAuth": ["ACCOUNT"], "globalActionAuth": []}'::jsonb end,
    case when n % 9 = 0 then jsonb_build_object('sender', 'Firm of ' || s, 'signer', coalesce((select rm from v2 where v2.n = env.n), 'nobody'))
      when n % 9 = 1 then jsonb_build_object('sender', 'Firm of ' || s, 'paid', true) end,
    (array['EVERYONE', 'EVERYONE', 'MANAGER_AND_ABOVE', 'ADMIN'])[1 + n % 4]::"DocumentVisibility",
    (case when type = 'DOCUMENT' then 'PRIVATE' else (array['PUBLIC', 'PRIVATE', 'ORGANISATION'])[1 + n % 3] end)::"TemplateType",
    case when type = 'TEMPLATE' and n % 3 = 0 then 'Form of ' || s else '' end, case when type = 'TEMPLATE' and n % 3 = 0 then 'A form that ' || s || ' made' else '' end,
    case when type = 'DOCUMENT' and (n % 5 = 0 or n % 13 = 0) then 1 + n % 100 end, u, team,
    case when n % 3 = 0 and not gone and j <= 6 then (select pg_temp.cuid('folder', f) from fold where fold.o = env.o and fold.u = env.by and fold.j = 1) end, pg_temp.cuid('meta', n),
    case when n % 10 = 3 then 'AES' else 'SES' end from env;
insert into "EnvelopeItem" (id, title, "documentDataId", "envelopeId", "order")
  select pg_temp.k('envelope_item', n * 10 + p), 'File ' || p || ' of ' || s, pg_temp.cuid('data', n * 10 + p), pg_temp.k('envelope', n), p from env, generate_series(1, 1 + (n % 6 = 0)::int) p;
insert into "EnvelopeAttachment" (id, type, label, data, "createdAt", "updatedAt", "envelopeId")
  select pg_temp.cuid('attachment', n), 'link', 'Terms of ' || s, 'https://files.example/' || s, pg_temp.t(n), pg_temp.t(n), pg_temp.k('envelope', n) from env where n % 5 = 0;

insert into "Recipient" (id, email, name, token, expired, "readStatus", "signingStatus", "sendStatus", "signedAt", role, "authOptions", "documentDeletedAt", "signingOrder", "rejectionReason",
    "envelopeId", "expirationNotifiedAt", "expiresAt", "sentAt", "lastReminderSentAt", "nextReminderAt", "reminderCount")
  select r, email, case when rm is null then '' when v % 13 = 0 then '' else 'Name ' || rm end, 'sign-' || coalesce(rm, 'nobody') || '-' || r, null,
    (case when signed or rejected then 'OPENED' else 'NOT_OPENED' end)::"ReadStatus",
    (case when rejected then 'REJECTED' when signed then 'SIGNED' else 'NOT_SIGNED' end)::"SigningStatus", (case when sent then 'SENT' else 'NOT_SENT' end)::"SendStatus",
    case when signed or rejected then pg_temp.t(n + j + 3) end, role::"RecipientRole", case when r % 3 = 0 then '{"accessAuth": [], "actionAuth": ["PASSKEY"]}'::jsonb end,
    case when sent and r % 12 = 0 then pg_temp.t(n + 200) end, j, case when rejected then 'Not agreed, says ' || rm end, pg_temp.k('envelope', n), null,
    case when sent then pg_temp.t(n + 2000) end, case when sent then pg_temp.t(n + 1) end, case when sent and r % 5 = 0 then pg_temp.t(n + 120) end, null, (sent and r % 5 = 0)::int from rec;
insert into "TemplateDirectLink" (id, token, "createdAt", enabled, "directTemplateRecipientId", "envelopeId")
  select pg_temp.cuid('direct', env.n), 'direct-' || s || '-' || env.n, pg_temp.t(env.n), env.n % 4 = 0, r, pg_temp.k('envelope', env.n) from env join rec on rec.n = env.n and rec.j = 0;

create temp table fld as
  select row_number() over (order by r, q) as id, rec.*, type, signed and type <> 'CHECKBOX' as done, s
  from rec join (select n, s from env) e using (n), unnest(array['SIGNATURE', 'NAME', 'EMAIL', 'DATE', 'TEXT', 'INITIALS', 'CHECKBOX']) with ordinality q (type, q)
  where role in ('SIGNER', 'APPROVER') and (q = 1 or q = 2 + r % 3 or q = 5 + r % 3);
insert into "Field" (id, "recipientId", type, page, "positionX", "positionY", "customText", inserted, height, width, "secondaryId", "fieldMeta", "envelopeId", "envelopeItemId")
  select id, r, type::"FieldType", 1, 10.125 + r % 50, 20.5 + id % 60, case when not done or type = 'SIGNATURE' then '' when type = 'DATE' then '2026-02-03 10:00 AM' when type = 'EMAIL' then email
      when type = 'INITIALS' then 'I. ' || rm when type = 'NAME' then 'Name ' || rm else 'Text by ' || rm end, done, 4.75, 18, pg_temp.cuid('field', id),
    case when type in ('SIGNATURE') then null when type = 'TEXT' then jsonb_build_object('type', 'text', 'label', 'Salary paid by ' || s, 'placeholder', 'Ask ' || s, 'required', true)
      when type = 'CHECKBOX' then jsonb_build_object('type', 'checkbox', 'values', jsonb_build_array(jsonb_build_object('id', 1, 'value', 'I know ' || s, 'checked', false)))
      else jsonb_build_object('type', lower(type), 'fontSize', 12) end, pg_temp.k('envelope', n), pg_temp.k('envelope_item', n * 10 + 1) from fld;
insert into "Signature" (id, created, "recipientId", "fieldId", "signatureImageAsBase64", "typedSignature")
  select row_number() over (order by id), pg_temp.t(n + 5), r, id, case when r % 2 = 0 then 'data:image/png;base64,' || rm end, case when r % 2 = 1 then 'Signed ' || rm end from fld where type = 'SIGNATURE' and done;
insert into "CscCredential" (id, "providerId", "credentialId", "certCache", "signatureAlgorithm", "keyType", "digestAlgorithm", "keyLenBits", "signAlgoParams", "serviceTokenCiphertext",
    "serviceTokenExpiresAt", "recipientId", "createdAt", "updatedAt")
  select pg_temp.cuid('csc', r), 'csc', 'cred-' || rm, case when r % 2 = 0 then convert_to('cert-' || rm, 'UTF8') end, 'RSA_SHA256', 'RSA', 'SHA256', 2048, null,
    convert_to('service-' || rm, 'UTF8'), pg_temp.t(n + 3), r, pg_temp.t(n), pg_temp.t(n) from rec where n % 10 = 3 and signed and rm is not null;
insert into "DocumentShareLink" (id, email, slug, "createdAt", "updatedAt", "envelopeId")
  select row_number() over (order by n, email collate "C"), email, 'share-' || m || '-' || n, pg_temp.t(n + 9), pg_temp.t(n + 9), pg_temp.k('envelope', n)
  from (select n, pg_temp.u(u) || '@mail.example' as email, pg_temp.u(u) as m from env where status = 'COMPLETED' and n % 2 = 0 and not gone
    union select n, email, rm from rec where status = 'COMPLETED' and signed and r % 3 = 0) x;

-- History of the documents: by a user (number, name and mail), by a recipient (name and mail only), by the system (nothing).
create temp table log as
  select e.n, 1 as step, 'DOCUMENT_CREATED' as type, jsonb_build_object('title', 'Contract of ' || pg_temp.u(by), 'source', jsonb_build_object('type', 'DOCUMENT')) as data, by as act, null as email, false as bare from env e
  union all select r.n, 2, 'RECIPIENT_CREATED', jsonb_build_object('recipientId', r, 'recipientName', coalesce('Name ' || rm, ''), 'recipientEmail', r.email, 'recipientRole', role, 'accessAuth', '[]'::jsonb,
      'actionAuth', '[]'::jsonb), by, null, false from rec r join env e using (n) where r.r % 2 = 0
  union all select n, 3, 'DOCUMENT_SENT', '{}', by, null, false from env where sent
  union all select r.n, 4, 'EMAIL_SENT', jsonb_build_object('emailType', 'SIGNING_REQUEST', 'isResending', false, 'recipientId', r, 'recipientName', 'Name ' || rm, 'recipientEmail', r.email,
      'recipientRole', role), by, null, false from rec r join env e using (n) where r.sent
  union all select n, 5, 'DOCUMENT_OPENED', jsonb_build_object('recipientId', r, 'recipientName', 'Name ' || rm, 'recipientEmail', email, 'recipientRole', role, 'accessAuth', '[]'::jsonb), null, rm, false
    from rec where signed or rejected
  union all select n, 6, 'DOCUMENT_FIELD_INSERTED', jsonb_build_object('fieldId', pg_temp.cuid('field', id), 'field', jsonb_build_object('type', type, 'data', 'Text by ' || rm), 'recipientId', r,
      'recipientName', 'Name ' || rm, 'recipientEmail', email, 'recipientRole', role), null, rm, false from fld where done and type in ('NAME', 'TEXT', 'INITIALS')
  union all select n, 7, 'DOCUMENT_RECIPIENT_COMPLETED', jsonb_build_object('recipientId', r, 'recipientName', 'Name ' || rm, 'recipientEmail', email, 'recipientRole', role, 'actionAuth', '[]'::jsonb), null, rm, false
    from rec where signed
  union all select n, 8, 'DOCUMENT_RECIPIENT_REJECTED', jsonb_build_object('recipientId', r, 'recipientName', 'Name ' || rm, 'recipientEmail', email, 'recipientRole', role, 'reason', 'Not agreed, says ' || rm),
    null, rm, false from rec where rejected and n % 3 > 0
  -- the owner, with a key, writes down that a recipient said no, on behalf of another member
  union all select r.n, 8, 'DOCUMENT_RECIPIENT_REJECTED', jsonb_build_object('recipientId', r, 'recipientName', 'Name ' || rm, 'recipientEmail', r.email, 'recipientRole', role, 'reason', 'Not agreed, says ' || rm,
      'isExternal', true, 'onBehalfOfUserEmail', pg_temp.u(m.u) || '@mail.example', 'onBehalfOfUserName', 'Name ' || pg_temp.u(m.u)), e.u, null, false
    from rec r join env e using (n) join mem m on m.o = e.o and m.i = (case when m.size = 1 then 0 else 1 end) where rejected and n % 3 = 0
  -- a wrong code: the recipient stands in the data only
  union all select n, 9, 'DOCUMENT_ACCESS_AUTH_2FA_FAILED', jsonb_build_object('recipientId', r, 'recipientName', 'Name ' || rm, 'recipientEmail', email), null, null, true from rec
    where sent and rm is not null and r % 15 = 0
  -- another member gives the document a new title
  union all select e.n, 10, 'DOCUMENT_TITLE_UPDATED', jsonb_build_object('from', 'Draft of ' || s, 'to', 'Contract of ' || s), m.u, null, false from env e join mem m on m.o = e.o and m.i = e.n % m.size where e.n % 7 = 0 and not gone
  union all select e.n, 11, 'DOCUMENT_DELEGATED_OWNER_CREATED', jsonb_build_object('delegatedOwnerName', 'Name ' || pg_temp.u(e.u), 'delegatedOwnerEmail', pg_temp.u(e.u) || '@mail.example', 'teamName',
      'Team ' || team || ' of ' || pg_temp.o(e.o)), m.u, null, false from env e join mem m on m.o = e.o and m.i = 0 where e.n % 8 = 0 and not gone and m.u <> e.u
  union all select n, 12, 'DOCUMENT_COMPLETED', jsonb_build_object('transactionId', md5('tx' || n)), null, null, true from env where status = 'COMPLETED'
  union all select n, 13, 'DOCUMENT_DELETED', '{"type": "SOFT"}', u, null, false from env where n % 11 = 0 and not gone
  union all select n, 14, 'DOCUMENT_MOVED_TO_TEAM', jsonb_build_object('movedByUserId', u, 'fromPersonalAccount', true, 'toTeamId', team), u, null, false from env where n % 19 = 0 and not gone
  -- the document is gone, its history is not
  union all select null, 15, 'DOCUMENT_DELETED', '{"type": "HARD"}', u, null, false from generate_series(1, 57, 3) u
  union all select null, 16, 'DOCUMENT_CREATED', jsonb_build_object('title', 'Contract of ' || pg_temp.u(u)), u, null, false from generate_series(901, 905) u;
insert into "DocumentAuditLog" (id, "createdAt", type, data, name, email, "userId", "userAgent", "ipAddress", "envelopeId")
  select pg_temp.cuid('log', row_number() over (order by n, step, type collate "C", act, email collate "C", data::text collate "C")), pg_temp.t(coalesce(n, 1) + step), type, data, 'Name ' || m,
    case when m like '~c%' then m || '@client.example' else m || '@mail.example' end, act, 'Browser of ' || m, case when not bare then '10.2.0.1 ' || m end, pg_temp.k('envelope', n)
  from (select *, coalesce(email, pg_temp.u(act)) as m from log) x;

insert into "ApiToken" (id, name, token, expires, "createdAt", "userId", "teamId")
  select row_number() over (order by u nulls first, o), 'Key of ' || m, 'sha512-' || m || '-' || o, case when o % 2 = 0 then pg_temp.t(9000) end, pg_temp.t(o), u, t
  from (select u, o, pg_temp.u(u) as m, (select min(team.id) from team where team.o = mem.o) as t from mem where u % 2 = 0 and o <> 10 union all select u, o, pg_temp.u(u), 2 * o - 1 from former
    union all select null, o, pg_temp.o(o), 2 * o from generate_series(1, 9) o) x;
create temp table hook as select row_number() over (order by u, o) as w, * from (
  select u, o, (select min(id) from team where team.o = mem.o) as t from mem where u % 3 = 0 and o <> 10 union all select u, o, 2 * o - 1 from former where u % 2 = 1) x;
insert into "Webhook" (id, "webhookUrl", "eventTriggers", secret, enabled, "createdAt", "updatedAt", "userId", "teamId")
  select pg_temp.cuid('hook', w), 'https://hook.example/' || pg_temp.u(u), case when w % 4 = 0 then '{DOCUMENT_COMPLETED}' else array['DOCUMENT_SENT', 'DOCUMENT_SIGNED', 'RECIPIENT_EXPIRED']::"WebhookTriggerEvents"[] end,
    case when w % 5 > 0 then 'secret-' || pg_temp.u(u) end, w % 6 > 0, pg_temp.t(w), pg_temp.t(w), u, t from hook;
insert into "WebhookCall" (id, status, url, "requestBody", "responseCode", "responseHeaders", "responseBody", "createdAt", "webhookId", event)
  select pg_temp.cuid('call', w * 1000 + n), (case when n % 5 = 0 then 'FAILED' else 'SUCCESS' end)::"WebhookCallStatus", 'https://hook.example/' || m,
    jsonb_build_object('event', 'DOCUMENT_SENT', 'createdAt', pg_temp.t(n), 'webhookEndpoint', 'https://hook.example/' || m, 'payload', jsonb_build_object('id', num, 'envelopeId', pg_temp.k('envelope', n), 'userId', e.u,
      'teamId', e.team, 'title', 'Contract of ' || s, 'status', status, 'formValues', case when n % 9 = 1 then jsonb_build_object('sender', 'Firm of ' || s) end,
      'documentMeta', jsonb_build_object('id', pg_temp.cuid('meta', n), 'subject', 'Contract of ' || s, 'message', 'Please sign. ' || s, 'language', 'en'), 'recipients', x.list, 'Recipient', x.list)),
    case when n % 5 = 0 then 500 else 200 end, '{"content-type": "application/json"}', case when n % 5 > 0 then jsonb_build_object('answer', 'Got it for ' || m) end, pg_temp.t(n), pg_temp.cuid('hook', w), 'DOCUMENT_SENT'
  from (select *, row_number() over (partition by w order by (n * 31 + w * 7) % 101, n) as place from hook h join (select n, num, u as eu, team, s, status from env where sent) e on e.team = h.t) h
    cross join lateral (select h.eu as u, h.team) e, pg_temp.u(h.u) m
    cross join lateral (select jsonb_agg(jsonb_build_object('id', r, 'email', email, 'name', 'Name ' || rm, 'token', 'sign-' || rm || '-' || r, 'role', role, 'rejectionReason',
      case when rejected then 'Not agreed, says ' || rm end) order by r) as list from rec where rec.n = h.n) x
  where place <= 5;

insert into "SiteSettings" (id, enabled, data, "lastModifiedByUserId", "lastModifiedAt") values
  ('site.banner', true, '{"content": "News of ~o:site~", "bgColor": "#000000", "textColor": "#ffffff"}', 57, pg_temp.t(9)),
  ('email.blocklist-domains', true, '{"domains": ["~o:site~.example"]}', 57, pg_temp.t(10)), ('site.telemetry', false, '{"note": "Off for ~o:site~"}', null, pg_temp.t(11));
insert into "BackgroundJob" (id, status, "jobId", name, version, "submittedAt", "completedAt", "updatedAt", payload)
  select pg_temp.cuid('job', n), (array['PENDING', 'COMPLETED', 'COMPLETED', 'FAILED'])[1 + n % 4]::"BackgroundJobStatus",
    (array['send.signup.confirmation.email', 'send.signing.requested.email', 'internal.bulk-send-template'])[1 + n % 3],
    (array['Send Confirmation Email', 'Send Signing Email', 'Bulk Send Template'])[1 + n % 3], '1.0.0', pg_temp.t(n), case when n % 4 in (1, 2) then pg_temp.t(n + 1) end, pg_temp.t(n + 1),
    case n % 3 when 0 then jsonb_build_object('email', m || '@mail.example', 'force', true)
      when 1 then jsonb_build_object('userId', n, 'documentId', n, 'recipientId', n, 'requestMetadata', jsonb_build_object('ipAddress', '10.3.0.1 ' || m, 'userAgent', 'Browser of ' || m))
      else jsonb_build_object('userId', n, 'teamId', 1 + n % 18, 'templateId', n, 'csvContent', E'name,email\nClient ' || pg_temp.c(n) || ',' || pg_temp.c(n) || '@client.example', 'sendImmediately', true) end
  from generate_series(1, 57) n, pg_temp.u(n) m;
insert into "RateLimit" (key, action, bucket, count, "createdAt")
  select 'ip:10.0.0.' || n || ' ' || m, 'auth.login', pg_temp.t(n / 4), 1 + n % 3, pg_temp.t(n / 4) from generate_series(1, 57) n, pg_temp.u(n) m
  union all select 'id:' || m || '@mail.example', action, pg_temp.t(n / 4), 1, pg_temp.t(n / 4) from generate_series(1, 57) n, pg_temp.u(n) m, unnest(array['auth.login', 'auth.forgot-password']) action where n % 2 = 0;

create temp table seq as select setval(pg_get_serial_sequence(quote_ident(t), 'id'), 1000000) from unnest(array['User', 'PasswordResetToken', 'VerificationToken', 'UserSecurityAuditLog', 'Team', 'Recipient', 'Field', 'Signature',
  'DocumentShareLink', 'ApiToken']) t;

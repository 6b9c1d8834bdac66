-- documenso: for each user, every row that its data export should hold: the account, sign-ins and keys; the documents and templates that belong to it, with files and settings;
-- its own part in the documents of others (found by mail address: recipient, fields, signatures, share links, invitations); what it set up (folders, keys, webhooks and their calls);
-- the history of what it did (by number, or by mail address where it came through a link in a mail); and the chain of each membership (organisation, groups, teams and its role there).
-- The other recipients of its documents, with their fields and signatures, are data of these people and are left out; so is the document of a sender for the one who signs it.
-- All else of a tenant (settings, pictures, keys without a user) is left out, and so are jobs, rate limits and site settings: they are technical, and to be named in a row
-- (as owner, as last editor, in a text or a history entry of another) does not make the row one's own.
with env as (select e."userId" as user_id, e.* from public."Envelope" e),
rec as (select u.id as user_id, r.id from public."Recipient" r join public."User" u on u.email = r.email),
fld as (select rec.user_id, f.id from public."Field" f join rec on rec.id = f."recipientId"),
mem as (select m."userId" as user_id, m.id, m."organisationId" from public."OrganisationMember" m),
gm as (select mem.user_id, g.id, g."groupId" from public."OrganisationGroupMember" g join mem on mem.id = g."organisationMemberId"),
tg as (select gm.user_id, t.id, t."teamId" from public."TeamGroup" t join gm on gm."groupId" = t."organisationGroupId")
select u.id::text as user_id, 'public.User'::text as relation, jsonb_build_object('id', u.id) as key from public."User" u
union all select u.id::text, 'public.AvatarImage', jsonb_build_object('id', t.id) from public."AvatarImage" t join public."User" u on u."avatarImageId" = t.id
union all select t."userId"::text, 'public.Account', jsonb_build_object('id', t.id) from public."Account" t
union all select t."userId"::text, 'public.Session', jsonb_build_object('id', t.id) from public."Session" t
union all select t."userId"::text, 'public.Passkey', jsonb_build_object('id', t.id) from public."Passkey" t
union all select t."userId"::text, 'public.PasswordResetToken', jsonb_build_object('id', t.id) from public."PasswordResetToken" t
union all select t."userId"::text, 'public.VerificationToken', jsonb_build_object('id', t.id) from public."VerificationToken" t
union all select t."userId"::text, 'public.UserSecurityAuditLog', jsonb_build_object('id', t.id) from public."UserSecurityAuditLog" t
-- membership; the owner of an organisation is always a member too. One is in a team by way of groups, and several ways may lead to the same team.
union all select mem.user_id::text, 'public.OrganisationMember', jsonb_build_object('id', mem.id) from mem
union all select mem.user_id::text, 'public.Organisation', jsonb_build_object('id', mem."organisationId") from mem
union all select gm.user_id::text, 'public.OrganisationGroupMember', jsonb_build_object('id', gm.id) from gm
union all select gm.user_id::text, 'public.OrganisationGroup', jsonb_build_object('id', gm."groupId") from gm
union all select tg.user_id::text, 'public.TeamGroup', jsonb_build_object('id', tg.id) from tg
union all select distinct tg.user_id::text, 'public.Team', jsonb_build_object('id', tg."teamId") from tg
-- invitations go to an address; the platform does not look at upper and lower case here
union all select u.id::text, 'public.OrganisationMemberInvite', jsonb_build_object('id', t.id) from public."OrganisationMemberInvite" t join public."User" u on lower(u.email) = lower(t.email)
-- own documents and templates, deleted ones too
union all select t."userId"::text, 'public.Folder', jsonb_build_object('id', t.id) from public."Folder" t
union all select env.user_id::text, 'public.Envelope', jsonb_build_object('id', env.id) from env
union all select env.user_id::text, 'public.DocumentMeta', jsonb_build_object('id', env."documentMetaId") from env
union all select env.user_id::text, 'public.EnvelopeItem', jsonb_build_object('id', t.id) from public."EnvelopeItem" t join env on env.id = t."envelopeId"
union all select env.user_id::text, 'public.DocumentData', jsonb_build_object('id', t."documentDataId") from public."EnvelopeItem" t join env on env.id = t."envelopeId"
union all select env.user_id::text, 'public.EnvelopeAttachment', jsonb_build_object('id', t.id) from public."EnvelopeAttachment" t join env on env.id = t."envelopeId"
union all select env.user_id::text, 'public.TemplateDirectLink', jsonb_build_object('id', t.id) from public."TemplateDirectLink" t join env on env.id = t."envelopeId"
-- own part in any document
union all select rec.user_id::text, 'public.Recipient', jsonb_build_object('id', rec.id) from rec
union all select fld.user_id::text, 'public.Field', jsonb_build_object('id', fld.id) from fld
union all select fld.user_id::text, 'public.Signature', jsonb_build_object('id', t.id) from public."Signature" t join fld on fld.id = t."fieldId"
union all select rec.user_id::text, 'public.CscCredential', jsonb_build_object('id', t.id) from public."CscCredential" t join rec on rec.id = t."recipientId"
union all select u.id::text, 'public.DocumentShareLink', jsonb_build_object('id', t.id) from public."DocumentShareLink" t join public."User" u on u.email = t.email
-- history: by number; without a number by mail address; for codes sent by mail the address stands in the data only
union all select u.id::text, 'public.DocumentAuditLog', jsonb_build_object('id', t.id) from public."DocumentAuditLog" t
  join public."User" u on case when t."userId" is not null then u.id = t."userId" when t.email is not null then u.email = t.email
    else t.type like 'DOCUMENT_ACCESS_AUTH_2FA_%' and u.email = t.data ->> 'recipientEmail' end
union all select t."userId"::text, 'public.ApiToken', jsonb_build_object('id', t.id) from public."ApiToken" t where t."userId" is not null
union all select t."userId"::text, 'public.Webhook', jsonb_build_object('id', t.id) from public."Webhook" t
union all select h."userId"::text, 'public.WebhookCall', jsonb_build_object('id', t.id) from public."WebhookCall" t join public."Webhook" h on h.id = t."webhookId"

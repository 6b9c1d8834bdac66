-- documenso: for each user, every mark that may stand in its export.
select u.id::text as user_id, '~u:' || u.id || '~' as mark from public."User" u
union select t."userId"::text, '~o:' || t."organisationId" || '~' from public."OrganisationMember" t
-- the contacts to whom it wrote in a message, those in the history of what it did, and those in what its webhooks sent
union select e."userId"::text, x.mark[1] from public."Envelope" e join public."DocumentMeta" m on m.id = e."documentMetaId", regexp_matches(m.message, '~c:[^~]+~', 'g') x (mark)
union select t."userId"::text, x.mark[1] from public."DocumentAuditLog" t join public."User" u on u.id = t."userId", regexp_matches(t.data::text, '~c:[^~]+~', 'g') x (mark)
union select h."userId"::text, x.mark[1] from public."WebhookCall" t join public."Webhook" h on h.id = t."webhookId", regexp_matches(t."requestBody"::text, '~c:[^~]+~', 'g') x (mark)
-- the service account keeps documents of people that are gone; they stand as contacts in them
union select e."userId"::text, x.mark[1] from public."Envelope" e, regexp_matches(e.title, '~c:[^~]+~') x (mark)

-- documenso: a minimal equivalent of its schema: same names, types, keys and indexes.
create type "IdentityProvider" as enum ('DOCUMENSO', 'GOOGLE', 'OIDC');
create type "Role" as enum ('ADMIN', 'USER');
create type "UserSecurityAuditLogType" as enum ('ACCOUNT_PROFILE_UPDATE', 'ACCOUNT_SSO_LINK', 'AUTH_2FA_DISABLE', 'AUTH_2FA_ENABLE', 'PASSWORD_RESET', 'PASSWORD_UPDATE', 'SIGN_OUT', 'SIGN_IN',
  'SIGN_IN_FAIL', 'SIGN_IN_2FA_FAIL', 'PASSKEY_CREATED', 'PASSKEY_DELETED', 'PASSKEY_UPDATED', 'SIGN_IN_PASSKEY_FAIL', 'SESSION_REVOKED', 'ACCOUNT_SSO_UNLINK', 'ORGANISATION_SSO_LINK',
  'ORGANISATION_SSO_UNLINK');
create type "OrganisationType" as enum ('PERSONAL', 'ORGANISATION');
create type "OrganisationGroupType" as enum ('INTERNAL_ORGANISATION', 'INTERNAL_TEAM', 'CUSTOM');
create type "OrganisationMemberRole" as enum ('ADMIN', 'MANAGER', 'MEMBER');
create type "OrganisationMemberInviteStatus" as enum ('ACCEPTED', 'PENDING', 'DECLINED');
create type "TeamMemberRole" as enum ('ADMIN', 'MANAGER', 'MEMBER');
create type "DocumentVisibility" as enum ('EVERYONE', 'MANAGER_AND_ABOVE', 'ADMIN');
create type "FolderType" as enum ('DOCUMENT', 'TEMPLATE');
create type "EnvelopeType" as enum ('DOCUMENT', 'TEMPLATE');
create type "DocumentStatus" as enum ('DRAFT', 'PENDING', 'COMPLETED', 'REJECTED', 'CANCELLED');
create type "DocumentSource" as enum ('DOCUMENT', 'TEMPLATE', 'TEMPLATE_DIRECT_LINK');
create type "DocumentDataType" as enum ('S3_PATH', 'BYTES', 'BYTES_64');
create type "DocumentSigningOrder" as enum ('PARALLEL', 'SEQUENTIAL');
create type "DocumentDistributionMethod" as enum ('EMAIL', 'NONE');
create type "TemplateType" as enum ('PUBLIC', 'PRIVATE', 'ORGANISATION');
create type "ReadStatus" as enum ('NOT_OPENED', 'OPENED');
create type "SendStatus" as enum ('NOT_SENT', 'SENT');
create type "SigningStatus" as enum ('NOT_SIGNED', 'SIGNED', 'REJECTED');
create type "RecipientRole" as enum ('CC', 'SIGNER', 'VIEWER', 'APPROVER', 'ASSISTANT');
create type "FieldType" as enum ('SIGNATURE', 'FREE_SIGNATURE', 'DATE', 'TEXT', 'NAME', 'EMAIL', 'NUMBER', 'RADIO', 'CHECKBOX', 'DROPDOWN', 'INITIALS');
create type "ApiTokenAlgorithm" as enum ('SHA512');
create type "WebhookTriggerEvents" as enum ('DOCUMENT_CREATED', 'DOCUMENT_SIGNED', 'DOCUMENT_SENT', 'DOCUMENT_OPENED', 'DOCUMENT_COMPLETED', 'DOCUMENT_REJECTED', 'DOCUMENT_CANCELLED',
  'DOCUMENT_RECIPIENT_COMPLETED', 'DOCUMENT_REMINDER_SENT', 'TEMPLATE_CREATED', 'TEMPLATE_UPDATED', 'TEMPLATE_DELETED', 'TEMPLATE_USED', 'RECIPIENT_EXPIRED');
create type "WebhookCallStatus" as enum ('SUCCESS', 'FAILED');
create type "BackgroundJobStatus" as enum ('PENDING', 'PROCESSING', 'COMPLETED', 'FAILED');

-- People
create table "AvatarImage" (
  id text primary key,
  bytes text not null);
create table "User" (
  id serial primary key,
  name text,
  email text not null,
  "emailVerified" timestamp(3),
  password text,
  source text,
  "identityProvider" "IdentityProvider" not null default 'DOCUMENSO',
  signature text,
  roles "Role"[] default array['USER']::"Role"[],
  "createdAt" timestamp(3) not null default current_timestamp,
  "lastSignedIn" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null default current_timestamp,
  "twoFactorBackupCodes" text,
  "twoFactorEnabled" boolean not null default false,
  "twoFactorSecret" text,
  "avatarImageId" text references "AvatarImage" on delete set null on update cascade,
  disabled boolean not null default false);
create unique index "User_email_key" on "User" (email);
create index "User_email_idx" on "User" (email);
create table "Account" (
  id text primary key,
  "userId" integer not null references "User" on delete cascade on update cascade,
  type text not null,
  provider text not null,
  "providerAccountId" text not null,
  refresh_token text,
  access_token text,
  expires_at integer,
  token_type text,
  scope text,
  id_token text,
  session_state text,
  created_at integer,
  ext_expires_in integer,
  password text,
  "createdAt" timestamp(3) not null default current_timestamp);
create unique index "Account_provider_providerAccountId_key" on "Account" (provider, "providerAccountId");
create table "Session" (
  id text primary key,
  "sessionToken" text not null,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "createdAt" timestamp(3) not null default current_timestamp,
  "expiresAt" timestamp(3) not null,
  "ipAddress" text,
  "updatedAt" timestamp(3) not null,
  "userAgent" text);
create unique index "Session_sessionToken_key" on "Session" ("sessionToken");
create index "Session_sessionToken_idx" on "Session" ("sessionToken");
create index "Session_userId_idx" on "Session" ("userId");
create table "Passkey" (
  id text primary key,
  "userId" integer not null references "User" on delete cascade on update cascade,
  name text not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null default current_timestamp,
  "lastUsedAt" timestamp(3),
  "credentialId" bytea not null,
  "credentialPublicKey" bytea not null,
  counter bigint not null,
  "credentialDeviceType" text not null,
  "credentialBackedUp" boolean not null,
  transports text[]);
create table "PasswordResetToken" (
  id serial primary key,
  token text not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  expiry timestamp(3) not null,
  "userId" integer not null references "User" on delete cascade on update cascade);
create unique index "PasswordResetToken_token_key" on "PasswordResetToken" (token);
create table "VerificationToken" (
  id serial primary key,
  identifier text not null,
  token text not null,
  expires timestamp(3) not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "secondaryId" text not null,
  completed boolean not null default false,
  metadata jsonb);
create unique index "VerificationToken_token_key" on "VerificationToken" (token);
create unique index "VerificationToken_secondaryId_key" on "VerificationToken" ("secondaryId");
create table "UserSecurityAuditLog" (
  id serial primary key,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "createdAt" timestamp(3) not null default current_timestamp,
  type "UserSecurityAuditLogType" not null,
  "userAgent" text,
  "ipAddress" text);

-- Organisations and teams. The claims, the sign-in portals, the mail addresses of an organisation and the settings of a team are not taken:
-- "organisationClaimId", "organisationAuthenticationPortalId", "emailId" and "teamGlobalSettingsId" have foreign keys to them in the platform.
create table "OrganisationGlobalSettings" (
  id text primary key,
  "documentVisibility" "DocumentVisibility" not null default 'EVERYONE',
  "documentLanguage" text not null default 'en',
  "includeSenderDetails" boolean not null default true,
  "includeSigningCertificate" boolean not null default true,
  "typedSignatureEnabled" boolean not null default true,
  "uploadSignatureEnabled" boolean not null default true,
  "drawSignatureEnabled" boolean not null default true,
  "brandingEnabled" boolean not null default false,
  "brandingLogo" text not null default '',
  "brandingUrl" text not null default '',
  "brandingCompanyDetails" text not null default '',
  "emailDocumentSettings" jsonb not null,
  "documentDateFormat" text not null default 'yyyy-MM-dd hh:mm a',
  "documentTimezone" text,
  "emailId" text,
  "emailReplyTo" text,
  "includeAuditLog" boolean not null default false,
  "aiFeaturesEnabled" boolean not null default false,
  "defaultRecipients" jsonb,
  "delegateDocumentOwnership" boolean not null default false,
  "envelopeExpirationPeriod" jsonb,
  "reminderSettings" jsonb,
  "brandingColors" jsonb,
  "brandingCss" text not null default '');
create table "Organisation" (
  id text primary key,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null,
  type "OrganisationType" not null,
  name text not null,
  url text not null,
  "avatarImageId" text references "AvatarImage" on delete set null on update cascade,
  "customerId" text,
  "ownerUserId" integer not null references "User" on delete cascade on update cascade,
  "organisationClaimId" text not null,
  "organisationGlobalSettingsId" text not null references "OrganisationGlobalSettings" on delete restrict on update cascade,
  "organisationAuthenticationPortalId" text not null);
create unique index "Organisation_url_key" on "Organisation" (url);
create unique index "Organisation_customerId_key" on "Organisation" ("customerId");
create unique index "Organisation_organisationClaimId_key" on "Organisation" ("organisationClaimId");
create unique index "Organisation_organisationGlobalSettingsId_key" on "Organisation" ("organisationGlobalSettingsId");
create unique index "Organisation_organisationAuthenticationPortalId_key" on "Organisation" ("organisationAuthenticationPortalId");
create index "Organisation_name_idx" on "Organisation" (name);
create index "Organisation_ownerUserId_idx" on "Organisation" ("ownerUserId");
create table "OrganisationMember" (
  id text primary key,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "organisationId" text not null references "Organisation" on delete cascade on update cascade);
create unique index "OrganisationMember_userId_organisationId_key" on "OrganisationMember" ("userId", "organisationId");
create index "OrganisationMember_organisationId_idx" on "OrganisationMember" ("organisationId");
create table "OrganisationMemberInvite" (
  id text primary key,
  "createdAt" timestamp(3) not null default current_timestamp,
  email text not null,
  token text not null,
  status "OrganisationMemberInviteStatus" not null default 'PENDING',
  "organisationId" text not null references "Organisation" on delete cascade on update cascade,
  "organisationRole" "OrganisationMemberRole" not null);
create unique index "OrganisationMemberInvite_token_key" on "OrganisationMemberInvite" (token);
create table "OrganisationGroup" (
  id text primary key,
  name text,
  type "OrganisationGroupType" not null,
  "organisationRole" "OrganisationMemberRole" not null,
  "organisationId" text not null references "Organisation" on delete cascade on update cascade);
create index "OrganisationGroup_organisationId_idx" on "OrganisationGroup" ("organisationId");
create table "OrganisationGroupMember" (
  id text primary key,
  "groupId" text not null references "OrganisationGroup" on delete cascade on update cascade,
  "organisationMemberId" text not null references "OrganisationMember" on delete cascade on update cascade);
create unique index "OrganisationGroupMember_organisationMemberId_groupId_key" on "OrganisationGroupMember" ("organisationMemberId", "groupId");
create index "OrganisationGroupMember_groupId_idx" on "OrganisationGroupMember" ("groupId");
create index "OrganisationGroupMember_organisationMemberId_idx" on "OrganisationGroupMember" ("organisationMemberId");
create table "Team" (
  id serial primary key,
  name text not null,
  url text not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "avatarImageId" text references "AvatarImage" on delete set null on update cascade,
  "organisationId" text not null references "Organisation" on delete cascade on update cascade,
  "teamGlobalSettingsId" text not null);
create unique index "Team_url_key" on "Team" (url);
create unique index "Team_teamGlobalSettingsId_key" on "Team" ("teamGlobalSettingsId");
create index "Team_name_idx" on "Team" (name);
create index "Team_organisationId_idx" on "Team" ("organisationId");
create table "TeamGroup" (
  id text primary key,
  "organisationGroupId" text not null references "OrganisationGroup" on delete cascade on update cascade,
  "teamRole" "TeamMemberRole" not null,
  "teamId" integer not null references "Team" on delete cascade on update cascade);
create unique index "TeamGroup_teamId_organisationGroupId_key" on "TeamGroup" ("teamId", "organisationGroupId");
create index "TeamGroup_teamId_idx" on "TeamGroup" ("teamId");
create index "TeamGroup_organisationGroupId_idx" on "TeamGroup" ("organisationGroupId");

-- Documents and templates ("envelopes")
create table "Folder" (
  id text primary key,
  name text not null,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "teamId" integer not null references "Team" on delete cascade on update cascade,
  "parentId" text references "Folder" on delete cascade on update cascade,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null default current_timestamp,
  pinned boolean not null default false,
  visibility "DocumentVisibility" not null default 'EVERYONE',
  type "FolderType" not null);
create index "Folder_userId_idx" on "Folder" ("userId");
create index "Folder_teamId_idx" on "Folder" ("teamId");
create index "Folder_parentId_idx" on "Folder" ("parentId");
create index "Folder_type_idx" on "Folder" (type);
create table "DocumentData" (
  id text primary key,
  type "DocumentDataType" not null,
  data text not null,
  "initialData" text not null);
create table "DocumentMeta" (
  id text primary key,
  message text,
  subject text,
  "dateFormat" text default 'yyyy-MM-dd hh:mm a',
  timezone text default 'Etc/UTC',
  "redirectUrl" text,
  "signingOrder" "DocumentSigningOrder" not null default 'PARALLEL',
  "typedSignatureEnabled" boolean not null default true,
  language text not null default 'en',
  "distributionMethod" "DocumentDistributionMethod" not null default 'EMAIL',
  "emailSettings" jsonb,
  "drawSignatureEnabled" boolean not null default true,
  "uploadSignatureEnabled" boolean not null default true,
  "allowDictateNextSigner" boolean not null default false,
  "emailId" text,
  "emailReplyTo" text,
  "envelopeExpirationPeriod" jsonb,
  "reminderSettings" jsonb);
create table "Envelope" (
  id text primary key,
  "secondaryId" text not null,
  "externalId" text,
  type "EnvelopeType" not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null,
  "completedAt" timestamp(3),
  "deletedAt" timestamp(3),
  title text not null,
  status "DocumentStatus" not null default 'DRAFT',
  source "DocumentSource" not null,
  "qrToken" text,
  "internalVersion" integer not null,
  "useLegacyFieldInsertion" boolean not null default false,
  "authOptions" jsonb,
  "formValues" jsonb,
  visibility "DocumentVisibility" not null default 'EVERYONE',
  "templateType" "TemplateType" not null default 'PRIVATE',
  "publicTitle" text not null default '',
  "publicDescription" text not null default '',
  "templateId" integer,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "teamId" integer not null references "Team" on delete cascade on update cascade,
  "folderId" text references "Folder" on delete set null on update cascade,
  "documentMetaId" text not null references "DocumentMeta" on delete restrict on update cascade,
  "signatureLevel" text not null);
create unique index "Envelope_secondaryId_key" on "Envelope" ("secondaryId");
create unique index "Envelope_documentMetaId_key" on "Envelope" ("documentMetaId");
create index "Envelope_type_idx" on "Envelope" (type);
create index "Envelope_status_idx" on "Envelope" (status);
create index "Envelope_userId_idx" on "Envelope" ("userId");
create index "Envelope_teamId_idx" on "Envelope" ("teamId");
create index "Envelope_folderId_idx" on "Envelope" ("folderId");
create index "Envelope_createdAt_idx" on "Envelope" ("createdAt");
create table "EnvelopeItem" (
  id text primary key,
  title text not null,
  "documentDataId" text not null references "DocumentData" on delete cascade on update cascade,
  "envelopeId" text not null references "Envelope" on delete cascade on update cascade,
  "order" integer not null);
create unique index "EnvelopeItem_documentDataId_key" on "EnvelopeItem" ("documentDataId");
create index "EnvelopeItem_envelopeId_idx" on "EnvelopeItem" ("envelopeId");
create table "EnvelopeAttachment" (
  id text primary key,
  type text not null,
  label text not null,
  data text not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null,
  "envelopeId" text not null references "Envelope" on delete cascade on update cascade);
create index "EnvelopeAttachment_envelopeId_idx" on "EnvelopeAttachment" ("envelopeId");
create table "TemplateDirectLink" (
  id text primary key,
  token text not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  enabled boolean not null,
  "directTemplateRecipientId" integer not null,
  "envelopeId" text not null references "Envelope" on delete cascade on update cascade);
create unique index "TemplateDirectLink_id_key" on "TemplateDirectLink" (id);
create unique index "TemplateDirectLink_envelopeId_key" on "TemplateDirectLink" ("envelopeId");
create unique index "TemplateDirectLink_token_key" on "TemplateDirectLink" (token);
create table "Recipient" (
  id serial primary key,
  email varchar(255) not null,
  name varchar(255) not null default '',
  token text not null,
  expired timestamp(3),
  "readStatus" "ReadStatus" not null default 'NOT_OPENED',
  "signingStatus" "SigningStatus" not null default 'NOT_SIGNED',
  "sendStatus" "SendStatus" not null default 'NOT_SENT',
  "signedAt" timestamp(3),
  role "RecipientRole" not null default 'SIGNER',
  "authOptions" jsonb,
  "documentDeletedAt" timestamp(3),
  "signingOrder" integer,
  "rejectionReason" text,
  "envelopeId" text not null references "Envelope" on delete cascade on update cascade,
  "expirationNotifiedAt" timestamp(3),
  "expiresAt" timestamp(3),
  "sentAt" timestamp(3),
  "lastReminderSentAt" timestamp(3),
  "nextReminderAt" timestamp(3),
  "reminderCount" integer not null default 0);
create index "Recipient_token_idx" on "Recipient" (token);
create index "Recipient_email_idx" on "Recipient" (email);
create index "Recipient_envelopeId_idx" on "Recipient" ("envelopeId");
create index "Recipient_signedAt_idx" on "Recipient" ("signedAt");
create index "Recipient_expiresAt_idx" on "Recipient" ("expiresAt");
create index "Recipient_nextReminderAt_idx" on "Recipient" ("nextReminderAt");
create index "Recipient_email_envelopeId_idx" on "Recipient" (email, "envelopeId");
create index "Recipient_email_documentDeletedAt_envelopeId_idx" on "Recipient" (email, "documentDeletedAt", "envelopeId");
create index "Recipient_email_signingStatus_envelopeId_role_idx" on "Recipient" (email, "signingStatus", "envelopeId", role);
create table "Field" (
  id serial primary key,
  "recipientId" integer not null references "Recipient" on delete cascade on update cascade,
  type "FieldType" not null,
  page integer not null,
  "positionX" numeric(65,30) not null default 0,
  "positionY" numeric(65,30) not null default 0,
  "customText" text not null,
  inserted boolean not null,
  height numeric(65,30) not null default -1,
  width numeric(65,30) not null default -1,
  "secondaryId" text not null,
  "fieldMeta" jsonb,
  "envelopeId" text not null references "Envelope" on delete cascade on update cascade,
  "envelopeItemId" text not null references "EnvelopeItem" on delete cascade on update cascade);
create unique index "Field_secondaryId_key" on "Field" ("secondaryId");
create index "Field_envelopeId_idx" on "Field" ("envelopeId");
create index "Field_envelopeItemId_idx" on "Field" ("envelopeItemId");
create index "Field_recipientId_idx" on "Field" ("recipientId");
create table "Signature" (
  id serial primary key,
  created timestamp(3) not null default current_timestamp,
  "recipientId" integer not null references "Recipient" on delete cascade on update cascade,
  "fieldId" integer not null references "Field" on delete cascade on update cascade,
  "signatureImageAsBase64" text,
  "typedSignature" text);
create unique index "Signature_fieldId_key" on "Signature" ("fieldId");
create index "Signature_recipientId_idx" on "Signature" ("recipientId");
create table "CscCredential" (
  id text primary key,
  "providerId" text not null,
  "credentialId" text not null,
  "certCache" bytea,
  "signatureAlgorithm" text not null,
  "keyType" text not null,
  "digestAlgorithm" text not null,
  "keyLenBits" integer,
  "signAlgoParams" text,
  "serviceTokenCiphertext" bytea,
  "serviceTokenExpiresAt" timestamp(3),
  "recipientId" integer not null references "Recipient" on delete cascade on update cascade,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null);
create unique index "CscCredential_recipientId_key" on "CscCredential" ("recipientId");
create table "DocumentShareLink" (
  id serial primary key,
  email text not null,
  slug text not null,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null,
  "envelopeId" text not null references "Envelope" on delete cascade on update cascade);
create unique index "DocumentShareLink_slug_key" on "DocumentShareLink" (slug);
create unique index "DocumentShareLink_envelopeId_email_key" on "DocumentShareLink" ("envelopeId", email);
create table "DocumentAuditLog" (
  id text primary key,
  "createdAt" timestamp(3) not null default current_timestamp,
  type text not null,
  data jsonb not null,
  name text,
  email text,
  "userId" integer,
  "userAgent" text,
  "ipAddress" text,
  "envelopeId" text references "Envelope" on delete set null on update cascade);
create index "DocumentAuditLog_envelopeId_idx" on "DocumentAuditLog" ("envelopeId");

-- For developers, and of the site
create table "ApiToken" (
  id serial primary key,
  name text not null,
  token text not null,
  algorithm "ApiTokenAlgorithm" not null default 'SHA512',
  expires timestamp(3),
  "createdAt" timestamp(3) not null default current_timestamp,
  "userId" integer references "User" on delete cascade on update cascade,
  "teamId" integer not null references "Team" on delete cascade on update cascade);
create unique index "ApiToken_token_key" on "ApiToken" (token);
create table "Webhook" (
  id text primary key,
  "webhookUrl" text not null,
  "eventTriggers" "WebhookTriggerEvents"[],
  secret text,
  enabled boolean not null default true,
  "createdAt" timestamp(3) not null default current_timestamp,
  "updatedAt" timestamp(3) not null default current_timestamp,
  "userId" integer not null references "User" on delete cascade on update cascade,
  "teamId" integer not null references "Team" on delete cascade on update cascade);
create table "WebhookCall" (
  id text primary key,
  status "WebhookCallStatus" not null,
  url text not null,
  "requestBody" jsonb not null,
  "responseCode" integer not null,
  "responseHeaders" jsonb,
  "responseBody" jsonb,
  "createdAt" timestamp(3) not null default current_timestamp,
  "webhookId" text not null references "Webhook" on delete cascade on update cascade,
  event "WebhookTriggerEvents" not null);
create table "SiteSettings" (
  id text primary key,
  enabled boolean not null default false,
  data jsonb not null,
  "lastModifiedByUserId" integer references "User" on delete set null on update cascade,
  "lastModifiedAt" timestamp(3) not null default current_timestamp);
create table "BackgroundJob" (
  id text primary key,
  status "BackgroundJobStatus" not null default 'PENDING',
  retried integer not null default 0,
  "maxRetries" integer not null default 3,
  "jobId" text not null,
  name text not null,
  version text not null,
  "submittedAt" timestamp(3) not null default current_timestamp,
  "lastRetriedAt" timestamp(3),
  "completedAt" timestamp(3),
  "updatedAt" timestamp(3) not null,
  payload jsonb);
create table "RateLimit" (
  key text not null,
  action text not null,
  bucket timestamp(3) not null,
  count integer not null default 1,
  "createdAt" timestamp(3) not null default current_timestamp,
  primary key (key, action, bucket));
create index "RateLimit_createdAt_idx" on "RateLimit" ("createdAt");

-- supabase: a minimal equivalent of its schema: same names, types, keys and indexes.
create extension if not exists citext;
create schema auth;

create type auth.factor_type as enum ('totp', 'webauthn', 'phone');
create type auth.factor_status as enum ('unverified', 'verified');
create type auth.aal_level as enum ('aal1', 'aal2', 'aal3');
create type auth.code_challenge_method as enum ('s256', 'plain');
create type auth.one_time_token_type as enum ('confirmation_token', 'reauthentication_token', 'recovery_token',
  'email_change_token_new', 'email_change_token_current', 'phone_change_token');
create type auth.oauth_registration_type as enum ('dynamic', 'manual');
create type auth.oauth_client_type as enum ('public', 'confidential');
create type auth.oauth_authorization_status as enum ('pending', 'approved', 'denied', 'expired');
create type auth.oauth_response_type as enum ('code');

create table auth.users (
  instance_id uuid, id uuid not null, aud varchar(255), role varchar(255), email varchar(255),
  encrypted_password varchar(255), email_confirmed_at timestamptz, invited_at timestamptz, confirmation_token varchar(255),
  confirmation_sent_at timestamptz, recovery_token varchar(255), recovery_sent_at timestamptz,
  email_change_token_new varchar(255), email_change varchar(255), email_change_sent_at timestamptz,
  last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb, is_super_admin boolean,
  created_at timestamptz, updated_at timestamptz, phone text default null, phone_confirmed_at timestamptz,
  phone_change text default '', phone_change_token varchar(255) default '', phone_change_sent_at timestamptz,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) default '', email_change_confirm_status smallint default 0,
  banned_until timestamptz, reauthentication_token varchar(255) default '', reauthentication_sent_at timestamptz,
  is_sso_user boolean not null default false, deleted_at timestamptz, is_anonymous boolean not null default false,
  constraint users_pkey primary key (id),
  constraint users_phone_key unique (phone),
  constraint users_email_change_confirm_status_check check (email_change_confirm_status between 0 and 2)
);
create index users_instance_id_idx on auth.users (instance_id);
create index users_instance_id_email_idx on auth.users (instance_id, lower(email));
create index users_is_anonymous_idx on auth.users (is_anonymous);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create unique index confirmation_token_idx on auth.users (confirmation_token) where confirmation_token !~ '^[0-9 ]*$';
create unique index recovery_token_idx on auth.users (recovery_token) where recovery_token !~ '^[0-9 ]*$';
create unique index email_change_token_current_idx on auth.users (email_change_token_current) where email_change_token_current !~ '^[0-9 ]*$';
create unique index email_change_token_new_idx on auth.users (email_change_token_new) where email_change_token_new !~ '^[0-9 ]*$';
create unique index reauthentication_token_idx on auth.users (reauthentication_token) where reauthentication_token !~ '^[0-9 ]*$';

create table auth.identities (
  provider_id text not null, user_id uuid not null, identity_data jsonb not null, provider text not null,
  last_sign_in_at timestamptz, created_at timestamptz, updated_at timestamptz,
  email text generated always as (lower(identity_data ->> 'email')) stored, id uuid not null default gen_random_uuid(),
  constraint identities_pkey primary key (id),
  constraint identities_provider_id_provider_unique unique (provider_id, provider),
  constraint identities_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index identities_user_id_idx on auth.identities (user_id);
create index identities_email_idx on auth.identities (email text_pattern_ops);

create table auth.oauth_clients (
  id uuid not null, client_secret_hash text, registration_type auth.oauth_registration_type not null,
  redirect_uris text not null, grant_types text not null, client_name text, client_uri text, logo_uri text,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now(), deleted_at timestamptz,
  client_type auth.oauth_client_type not null default 'confidential', token_endpoint_auth_method text not null,
  constraint oauth_clients_pkey primary key (id),
  constraint oauth_clients_token_endpoint_auth_method_check
    check (token_endpoint_auth_method in ('client_secret_basic', 'client_secret_post', 'none'))
);
create index oauth_clients_deleted_at_idx on auth.oauth_clients (deleted_at);

create table auth.sessions (
  id uuid not null, user_id uuid not null, created_at timestamptz, updated_at timestamptz, factor_id uuid, aal auth.aal_level,
  not_after timestamptz, refreshed_at timestamp, user_agent text, ip inet, tag text, oauth_client_id uuid,
  refresh_token_hmac_key text, refresh_token_counter bigint, scopes text,
  constraint sessions_pkey primary key (id),
  constraint sessions_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint sessions_oauth_client_id_fkey foreign key (oauth_client_id) references auth.oauth_clients (id) on delete cascade
);
create index user_id_created_at_idx on auth.sessions (user_id, created_at);
create index sessions_user_id_idx on auth.sessions (user_id);
create index sessions_not_after_idx on auth.sessions (not_after desc);
create index sessions_oauth_client_id_idx on auth.sessions (oauth_client_id);

create table auth.refresh_tokens (
  instance_id uuid, id bigserial not null, token varchar(255), user_id varchar(255), revoked boolean, created_at timestamptz,
  updated_at timestamptz, parent varchar(255), session_id uuid,
  constraint refresh_tokens_pkey primary key (id),
  constraint refresh_tokens_token_unique unique (token),
  constraint refresh_tokens_session_id_fkey foreign key (session_id) references auth.sessions (id) on delete cascade
);
create index refresh_tokens_instance_id_idx on auth.refresh_tokens (instance_id);
create index refresh_tokens_instance_id_user_id_idx on auth.refresh_tokens (instance_id, user_id);
create index refresh_tokens_parent_idx on auth.refresh_tokens (parent);
create index refresh_tokens_session_id_revoked_idx on auth.refresh_tokens (session_id, revoked);
create index refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc);

create table auth.mfa_factors (
  id uuid not null, user_id uuid not null, friendly_name text, factor_type auth.factor_type not null,
  status auth.factor_status not null, created_at timestamptz not null, updated_at timestamptz not null, secret text,
  phone text, last_challenged_at timestamptz, web_authn_credential jsonb, web_authn_aaguid uuid,
  last_webauthn_challenge_data jsonb,
  constraint mfa_factors_pkey primary key (id),
  constraint mfa_factors_last_challenged_at_key unique (last_challenged_at),
  constraint mfa_factors_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create unique index mfa_factors_user_friendly_name_unique on auth.mfa_factors (friendly_name, user_id) where trim(friendly_name) <> '';
create unique index unique_phone_factor_per_user on auth.mfa_factors (user_id, phone);
create index factor_id_created_at_idx on auth.mfa_factors (user_id, created_at);
create index mfa_factors_user_id_idx on auth.mfa_factors (user_id);

create table auth.mfa_challenges (
  id uuid not null, factor_id uuid not null, created_at timestamptz not null, verified_at timestamptz,
  ip_address inet not null, otp_code text, web_authn_session_data jsonb,
  constraint mfa_challenges_pkey primary key (id),
  constraint mfa_challenges_auth_factor_id_fkey foreign key (factor_id) references auth.mfa_factors (id) on delete cascade
);
create index mfa_challenge_created_at_idx on auth.mfa_challenges (created_at desc);

create table auth.mfa_amr_claims (
  session_id uuid not null, created_at timestamptz not null, updated_at timestamptz not null,
  authentication_method text not null, id uuid not null,
  constraint amr_id_pk primary key (id),
  constraint mfa_amr_claims_session_id_authentication_method_pkey unique (session_id, authentication_method),
  constraint mfa_amr_claims_session_id_fkey foreign key (session_id) references auth.sessions (id) on delete cascade
);

create table auth.one_time_tokens (
  id uuid not null, user_id uuid not null, token_type auth.one_time_token_type not null, token_hash text not null,
  relates_to text not null, created_at timestamp not null default now(), updated_at timestamp not null default now(),
  constraint one_time_tokens_pkey primary key (id),
  constraint one_time_tokens_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint one_time_tokens_token_hash_check check (char_length(token_hash) > 0)
);
create index one_time_tokens_token_hash_hash_idx on auth.one_time_tokens using hash (token_hash);
create index one_time_tokens_relates_to_hash_idx on auth.one_time_tokens using hash (relates_to);
create unique index one_time_tokens_user_id_token_type_key on auth.one_time_tokens (user_id, token_type);

create table auth.sso_providers (
  id uuid not null, resource_id text, created_at timestamptz, updated_at timestamptz, disabled boolean,
  constraint sso_providers_pkey primary key (id),
  constraint "resource_id not empty" check (resource_id = null or char_length(resource_id) > 0)
);
create unique index sso_providers_resource_id_idx on auth.sso_providers (lower(resource_id));
create index sso_providers_resource_id_pattern_idx on auth.sso_providers (resource_id text_pattern_ops);

create table auth.sso_domains (
  id uuid not null, sso_provider_id uuid not null, domain text not null, created_at timestamptz, updated_at timestamptz,
  constraint sso_domains_pkey primary key (id),
  constraint sso_domains_sso_provider_id_fkey foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
  constraint "domain not empty" check (char_length(domain) > 0)
);
create index sso_domains_sso_provider_id_idx on auth.sso_domains (sso_provider_id);
create unique index sso_domains_domain_idx on auth.sso_domains (lower(domain));

create table auth.saml_providers (
  id uuid not null, sso_provider_id uuid not null, entity_id text not null, metadata_xml text not null, metadata_url text,
  attribute_mapping jsonb, created_at timestamptz, updated_at timestamptz, name_id_format text,
  constraint saml_providers_pkey primary key (id),
  constraint saml_providers_entity_id_key unique (entity_id),
  constraint saml_providers_sso_provider_id_fkey foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
  constraint "entity_id not empty" check (char_length(entity_id) > 0),
  constraint "metadata_xml not empty" check (char_length(metadata_xml) > 0),
  constraint "metadata_url not empty" check (metadata_url = null or char_length(metadata_url) > 0)
);
create index saml_providers_sso_provider_id_idx on auth.saml_providers (sso_provider_id);

create table auth.flow_state (
  id uuid not null, user_id uuid, auth_code text, code_challenge_method auth.code_challenge_method, code_challenge text,
  provider_type text not null, provider_access_token text, provider_refresh_token text, created_at timestamptz,
  updated_at timestamptz, authentication_method text not null, auth_code_issued_at timestamptz, invite_token text,
  referrer text, oauth_client_state_id uuid, linking_target_id uuid, email_optional boolean not null default false,
  constraint flow_state_pkey primary key (id)
);
create index idx_auth_code on auth.flow_state (auth_code);
create index idx_user_id_auth_method on auth.flow_state (user_id, authentication_method);
create index flow_state_created_at_idx on auth.flow_state (created_at desc);

create table auth.saml_relay_states (
  id uuid not null, sso_provider_id uuid not null, request_id text not null, for_email text, redirect_to text,
  created_at timestamptz, updated_at timestamptz, flow_state_id uuid,
  constraint saml_relay_states_pkey primary key (id),
  constraint saml_relay_states_sso_provider_id_fkey foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
  constraint saml_relay_states_flow_state_id_fkey foreign key (flow_state_id) references auth.flow_state (id) on delete cascade,
  constraint "request_id not empty" check (char_length(request_id) > 0)
);
create index saml_relay_states_sso_provider_id_idx on auth.saml_relay_states (sso_provider_id);
create index saml_relay_states_for_email_idx on auth.saml_relay_states (for_email);
create index saml_relay_states_created_at_idx on auth.saml_relay_states (created_at desc);

create table auth.oauth_authorizations (
  id uuid not null, authorization_id text not null, client_id uuid not null, user_id uuid, redirect_uri text not null,
  scope text not null, state text, resource text, code_challenge text, code_challenge_method auth.code_challenge_method,
  response_type auth.oauth_response_type not null default 'code',
  status auth.oauth_authorization_status not null default 'pending', authorization_code text,
  created_at timestamptz not null default now(), expires_at timestamptz not null default (now() + interval '3 minutes'),
  approved_at timestamptz, nonce text,
  constraint oauth_authorizations_pkey primary key (id),
  constraint oauth_authorizations_authorization_id_key unique (authorization_id),
  constraint oauth_authorizations_authorization_code_key unique (authorization_code),
  constraint oauth_authorizations_client_id_fkey foreign key (client_id) references auth.oauth_clients (id) on delete cascade,
  constraint oauth_authorizations_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint oauth_authorizations_expires_at_future check (expires_at > created_at)
);
create index oauth_auth_pending_exp_idx on auth.oauth_authorizations (expires_at) where status = 'pending';

create table auth.oauth_consents (
  id uuid not null, user_id uuid not null, client_id uuid not null, scopes text not null,
  granted_at timestamptz not null default now(), revoked_at timestamptz,
  constraint oauth_consents_pkey primary key (id),
  constraint oauth_consents_user_client_unique unique (user_id, client_id),
  constraint oauth_consents_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint oauth_consents_client_id_fkey foreign key (client_id) references auth.oauth_clients (id) on delete cascade,
  constraint oauth_consents_scopes_not_empty check (char_length(trim(scopes)) > 0),
  constraint oauth_consents_revoked_after_granted check (revoked_at is null or revoked_at >= granted_at)
);
create index oauth_consents_active_user_client_idx on auth.oauth_consents (user_id, client_id) where revoked_at is null;
create index oauth_consents_user_order_idx on auth.oauth_consents (user_id, granted_at desc);
create index oauth_consents_active_client_idx on auth.oauth_consents (client_id) where revoked_at is null;

create table auth.webauthn_credentials (
  id uuid not null default gen_random_uuid(), user_id uuid not null, credential_id bytea not null, public_key bytea not null,
  attestation_type text not null default '', aaguid uuid, sign_count bigint not null default 0,
  transports jsonb not null default '[]', backup_eligible boolean not null default false,
  backed_up boolean not null default false, friendly_name text not null default '',
  created_at timestamptz not null default now(), updated_at timestamptz not null default now(), last_used_at timestamptz,
  constraint webauthn_credentials_pkey primary key (id),
  constraint webauthn_credentials_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create unique index webauthn_credentials_credential_id_key on auth.webauthn_credentials (credential_id);
create index webauthn_credentials_user_id_idx on auth.webauthn_credentials (user_id);

create table auth.webauthn_challenges (
  id uuid not null default gen_random_uuid(), user_id uuid,
  challenge_type text not null check (challenge_type in ('signup', 'registration', 'authentication')),
  session_data jsonb not null, created_at timestamptz not null default now(), expires_at timestamptz not null,
  constraint webauthn_challenges_pkey primary key (id),
  constraint webauthn_challenges_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index webauthn_challenges_user_id_idx on auth.webauthn_challenges (user_id);
create index webauthn_challenges_expires_at_idx on auth.webauthn_challenges (expires_at);

create table auth.audit_log_entries (
  instance_id uuid, id uuid not null, payload json, created_at timestamptz, ip_address varchar(64) not null default '',
  constraint audit_log_entries_pkey primary key (id)
);
create index audit_logs_instance_id_idx on auth.audit_log_entries (instance_id);

create table auth.oauth_client_states (
  id uuid primary key, provider_type text not null, code_verifier text, created_at timestamptz not null);
create index idx_oauth_client_states_created_at on auth.oauth_client_states (created_at);

create table auth.custom_oauth_providers (
  id uuid not null default gen_random_uuid(),
  provider_type text not null check (provider_type in ('oauth2', 'oidc')),
  identifier text not null, name text not null, client_id text not null, client_secret text not null,
  acceptable_client_ids text[] not null default '{}', scopes text[] not null default '{}',
  pkce_enabled boolean not null default true, attribute_mapping jsonb not null default '{}',
  authorization_params jsonb not null default '{}', enabled boolean not null default true,
  email_optional boolean not null default false, issuer text, discovery_url text,
  skip_nonce_check boolean not null default false,
  cached_discovery jsonb, discovery_cached_at timestamptz, authorization_url text, token_url text, userinfo_url text,
  jwks_uri text, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
  custom_claims_allowlist text[] not null default '{}',
  constraint custom_oauth_providers_pkey primary key (id),
  constraint custom_oauth_providers_identifier_key unique (identifier),
  constraint custom_oauth_providers_oidc_requires_issuer check (provider_type <> 'oidc' or issuer is not null),
  constraint custom_oauth_providers_identifier_format check (identifier ~ '^[a-z0-9][a-z0-9:-]{0,48}[a-z0-9]$')
);
create index custom_oauth_providers_identifier_idx on auth.custom_oauth_providers (identifier);
create index custom_oauth_providers_provider_type_idx on auth.custom_oauth_providers (provider_type);
create index custom_oauth_providers_enabled_idx on auth.custom_oauth_providers (enabled);
create index custom_oauth_providers_created_at_idx on auth.custom_oauth_providers (created_at);

create table auth.instances (
  id uuid primary key, uuid uuid, raw_base_config text, created_at timestamptz, updated_at timestamptz);
create table auth.schema_migrations (version varchar(255) primary key);

alter table auth.users enable row level security; alter table auth.identities enable row level security; alter table auth.sessions enable row level security;
alter table auth.refresh_tokens enable row level security; alter table auth.mfa_factors enable row level security; alter table auth.mfa_challenges enable row level security;
alter table auth.mfa_amr_claims enable row level security; alter table auth.one_time_tokens enable row level security; alter table auth.sso_providers enable row level security;
alter table auth.sso_domains enable row level security; alter table auth.saml_providers enable row level security; alter table auth.saml_relay_states enable row level security;
alter table auth.flow_state enable row level security; alter table auth.audit_log_entries enable row level security; alter table auth.instances enable row level security;
alter table auth.schema_migrations enable row level security;

-- the application on top of it
create type public.member_role as enum ('owner', 'admin', 'member', 'viewer');

create table public.plans (id smallint primary key, code text not null unique, monthly_price numeric(10, 2) not null, limits jsonb not null default '{}');
create table public.app_settings (key text primary key, value jsonb not null, updated_at timestamptz not null default now());

create table public.profiles (
  id uuid primary key references auth.users (id) on delete cascade,
  username citext unique check (char_length(username) >= 3),
  full_name text, avatar_url text, website text, bio text, preferences jsonb not null default '{}',
  referred_by uuid references public.profiles (id) on delete set null, updated_at timestamptz,
  created_at timestamptz not null default now()
);
create index profiles_referred_by_idx on public.profiles (referred_by);

create table public.organizations (
  id bigint generated by default as identity primary key, name text not null, slug text not null unique, billing_email text,
  plan_id smallint references public.plans (id), settings jsonb not null default '{}',
  created_by uuid references auth.users (id) on delete set null, created_at timestamptz not null default now(),
  deleted_at timestamptz
);

create table public.organization_members (
  organization_id bigint not null references public.organizations (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade, role public.member_role not null default 'member',
  title text, invited_by uuid references auth.users (id) on delete set null, joined_at timestamptz not null default now(),
  removed_at timestamptz,
  primary key (organization_id, user_id)
);
create index organization_members_user_id_idx on public.organization_members (user_id);

create table public.organization_invites (
  id uuid primary key default gen_random_uuid(),
  organization_id bigint not null references public.organizations (id) on delete cascade, email citext not null,
  role public.member_role not null default 'member', token text not null unique,
  invited_by uuid references auth.users (id) on delete set null, inviter_email text, accepted_by uuid,
  accepted_at timestamptz, expires_at timestamptz not null, created_at timestamptz not null default now(),
  unique (organization_id, email)
);

create table public.contacts (
  id bigint generated by default as identity primary key,
  organization_id bigint not null references public.organizations (id) on delete cascade, number integer not null,
  external_ref text, owner_id uuid references auth.users (id) on delete set null,
  linked_user_id uuid references auth.users (id) on delete set null, name text not null, email citext, phone varchar(64),
  notes text, meta jsonb not null default '{}', created_at timestamptz not null default now(), deleted_at timestamptz,
  unique (organization_id, number),
  unique (organization_id, external_ref),
  unique (organization_id, email)
);
create index contacts_owner_id_idx on public.contacts (owner_id);

create table public.notes (
  id bigint generated by default as identity primary key,
  organization_id bigint references public.organizations (id) on delete cascade, number integer not null,
  author_id uuid references public.profiles (id) on delete set null,
  last_edited_by uuid references public.profiles (id) on delete set null, title varchar(200) not null, body text,
  tags text[] not null default '{}', mentions jsonb not null default '[]', is_public boolean not null default false,
  created_at timestamptz not null default now(), updated_at timestamptz, deleted_at timestamptz,
  unique (organization_id, number)
);
create index notes_author_id_idx on public.notes (author_id);

create table public.note_shares (
  note_id bigint not null references public.notes (id) on delete cascade,
  user_id uuid not null references public.profiles (id) on delete cascade,
  shared_by uuid not null references public.profiles (id) on delete cascade, message text,
  can_edit boolean not null default false, created_at timestamptz not null default now(),
  primary key (note_id, user_id)
);
create index note_shares_user_id_idx on public.note_shares (user_id);

create table public.comments (
  id bigint generated by default as identity primary key,
  organization_id bigint references public.organizations (id) on delete cascade,
  commentable_type varchar(32) not null check (commentable_type in ('Note', 'Contact', 'Organization')),
  commentable_id bigint not null, parent_id bigint references public.comments (id) on delete cascade,
  author_id uuid references public.profiles (id) on delete set null, guest_email citext, body text not null,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index comments_commentable_idx on public.comments (commentable_type, commentable_id);
create index comments_author_id_idx on public.comments (author_id);

create table public.notifications (
  id bigint generated by default as identity primary key, user_id uuid not null references auth.users (id) on delete cascade,
  actor_id uuid, kind text not null, subject_type text, subject_id text, payload jsonb not null default '{}',
  read_at timestamptz,
  created_at timestamptz not null default now()
);
create index notifications_user_id_idx on public.notifications (user_id, created_at desc);

create table public.api_keys (
  id uuid primary key default gen_random_uuid(), user_id uuid not null,
  organization_id bigint references public.organizations (id) on delete cascade, name text not null,
  key_hash bytea not null unique, scopes text[] not null default '{}', last_used_ip inet,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

alter table public.profiles enable row level security; alter table public.organizations enable row level security; alter table public.organization_members enable row level security;
alter table public.organization_invites enable row level security; alter table public.contacts enable row level security;
alter table public.notes enable row level security; alter table public.note_shares enable row level security; alter table public.comments enable row level security;
alter table public.notifications enable row level security; alter table public.api_keys enable row level security;
create policy "own profile" on public.profiles using (id::text = current_setting('request.jwt.claim.sub', true));
create policy "own memberships" on public.organization_members for select using (user_id::text = current_setting('request.jwt.claim.sub', true));
create policy "member reads organization" on public.organizations for select using (deleted_at is null and exists (select from public.organization_members m
  where m.organization_id = organizations.id and m.removed_at is null and m.user_id::text = current_setting('request.jwt.claim.sub', true)));
create policy "inviter" on public.organization_invites using (invited_by::text = current_setting('request.jwt.claim.sub', true));
create policy "member contacts" on public.contacts using (exists (select from public.organization_members m
  where m.organization_id = contacts.organization_id and m.removed_at is null and m.user_id::text = current_setting('request.jwt.claim.sub', true)));
create policy "author" on public.notes using (author_id::text = current_setting('request.jwt.claim.sub', true)) with check (author_id::text = current_setting('request.jwt.claim.sub', true));
create policy "public notes" on public.notes for select using (is_public and deleted_at is null);
create policy "share parties" on public.note_shares for select using (current_setting('request.jwt.claim.sub', true) in (user_id::text, shared_by::text));
create policy "live comments" on public.comments for select using (deleted_at is null);
create policy "comment author" on public.comments using (author_id::text = current_setting('request.jwt.claim.sub', true));
create policy "recipient" on public.notifications using (user_id::text = current_setting('request.jwt.claim.sub', true));
create policy "key holder" on public.api_keys using (user_id::text = current_setting('request.jwt.claim.sub', true));

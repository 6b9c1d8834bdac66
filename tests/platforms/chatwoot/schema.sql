-- chatwoot: a minimal equivalent of its schema: same names, types, keys and indexes.

-- Accounts that log in. A mail address is not unique in the database.
create table users (
  id serial primary key, provider varchar not null default 'email', uid varchar not null default '', encrypted_password varchar not null default '',
  reset_password_token varchar, reset_password_sent_at timestamp, remember_created_at timestamp, sign_in_count integer not null default 0,
  current_sign_in_at timestamp, last_sign_in_at timestamp, current_sign_in_ip varchar, last_sign_in_ip varchar,
  confirmation_token varchar, confirmed_at timestamp, confirmation_sent_at timestamp, unconfirmed_email varchar,
  name varchar not null, display_name varchar, email varchar, tokens json, created_at timestamp not null, updated_at timestamp not null,
  pubsub_token varchar, availability integer default 0, ui_settings jsonb default '{}', custom_attributes jsonb default '{}', type varchar,
  message_signature text, otp_secret varchar, consumed_timestep integer, otp_required_for_login boolean not null default false, otp_backup_codes text
);
create index on users (email);
create index on users (otp_required_for_login);
create unique index on users (otp_secret);
create unique index on users (pubsub_token);
create unique index on users (reset_password_token);
create unique index on users (uid, provider);

-- Tenants.
create table accounts (
  id serial primary key, name varchar not null, created_at timestamp not null, updated_at timestamp not null, locale integer default 0,
  domain varchar(100), support_email varchar(100), feature_flags bigint not null default 0, auto_resolve_duration integer, limits jsonb default '{}',
  custom_attributes jsonb default '{}', status integer default 0, internal_attributes jsonb not null default '{}', settings jsonb default '{}'
);
create index on accounts (status);

create table account_users (
  id bigserial primary key, account_id bigint, user_id bigint, role integer default 0, inviter_id bigint, created_at timestamp(6) not null,
  updated_at timestamp(6) not null, active_at timestamp, availability integer not null default 0, auto_offline boolean not null default true,
  custom_role_id bigint, agent_capacity_policy_id bigint
);
create unique index on account_users (account_id, user_id);
create index on account_users (account_id);
create index on account_users (agent_capacity_policy_id);
create index on account_users (custom_role_id);
create index on account_users (user_id);

create table access_tokens (
  id bigserial primary key, owner_type varchar, owner_id bigint, token varchar, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on access_tokens (owner_type, owner_id);
create unique index on access_tokens (token);

create table user_sessions (
  id bigserial primary key, user_id bigint not null references users, client_id varchar not null, ip_address varchar, user_agent varchar,
  browser_name varchar, browser_version varchar, device_name varchar, platform_name varchar, platform_version varchar, city varchar, country varchar,
  country_code varchar, last_activity_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on user_sessions (user_id, client_id);
create index on user_sessions (user_id);

create table notification_settings (
  id bigserial primary key, account_id integer, user_id integer, email_flags integer not null default 0, created_at timestamp(6) not null,
  updated_at timestamp(6) not null, push_flags integer not null default 0
);
create unique index on notification_settings (account_id, user_id);

create table notification_subscriptions (
  id bigserial primary key, user_id bigint not null, subscription_type integer not null, subscription_attributes jsonb not null default '{}',
  created_at timestamp(6) not null, updated_at timestamp(6) not null, identifier text
);
create unique index on notification_subscriptions (identifier);
create index on notification_subscriptions (user_id);

create table notifications (
  id bigserial primary key, account_id bigint not null, user_id bigint not null, notification_type integer not null,
  primary_actor_type varchar not null, primary_actor_id bigint not null, secondary_actor_type varchar, secondary_actor_id bigint, read_at timestamp,
  created_at timestamp(6) not null, updated_at timestamp(6) not null, snoozed_until timestamp(6), last_activity_at timestamp(6) default current_timestamp,
  meta jsonb default '{}'
);
create index on notifications (account_id);
create index on notifications (last_activity_at);
create index on notifications (primary_actor_type, primary_actor_id);
create index on notifications (secondary_actor_type, secondary_actor_id);
create index on notifications (user_id, account_id, snoozed_until, read_at);
create index on notifications (user_id);

-- Help centres, with members and articles.
create table portals (
  id bigserial primary key, account_id integer not null, name varchar not null, slug varchar not null, custom_domain varchar, color varchar,
  homepage_link varchar, page_title varchar, header_text text, created_at timestamp(6) not null, updated_at timestamp(6) not null,
  config jsonb default '{"allowed_locales": ["en"]}', archived boolean default false, channel_web_widget_id bigint, ssl_settings jsonb not null default '{}'
);
create index on portals (channel_web_widget_id);
create unique index on portals (custom_domain);
create unique index on portals (slug);

-- No primary key.
create table portals_members (portal_id bigint not null, user_id bigint not null);
create unique index on portals_members (portal_id, user_id);
create index on portals_members (portal_id);
create index on portals_members (user_id);

create table articles (
  id bigserial primary key, account_id integer not null, portal_id integer not null, category_id integer, folder_id integer, title varchar,
  description text, content text, status integer, views integer, created_at timestamp(6) not null, updated_at timestamp(6) not null, author_id bigint,
  associated_article_id bigint, meta jsonb default '{}', slug varchar not null, position integer, locale varchar not null default 'en'
);
create index on articles (account_id);
create index on articles (associated_article_id);
create index on articles (author_id);
create index on articles (portal_id);
create unique index on articles (slug);
create index on articles (status);
create index on articles (views);

-- Inboxes and teams.
create table inboxes (
  id serial primary key, channel_id integer not null, account_id integer not null, name varchar not null, created_at timestamp not null,
  updated_at timestamp not null, channel_type varchar, enable_auto_assignment boolean default true, greeting_enabled boolean default false,
  greeting_message varchar, email_address varchar, working_hours_enabled boolean default false, out_of_office_message varchar,
  timezone varchar default 'UTC', enable_email_collect boolean default true, csat_survey_enabled boolean default false,
  allow_messages_after_resolved boolean default true, auto_assignment_config jsonb default '{}', lock_to_single_conversation boolean not null default false,
  portal_id bigint references portals, sender_name_type integer not null default 0, business_name varchar, csat_config jsonb not null default '{}'
);
create index on inboxes (account_id);
create index on inboxes (channel_id, channel_type);
create index on inboxes (portal_id);

create table inbox_members (
  id serial primary key, user_id integer not null, inbox_id integer not null, created_at timestamp not null, updated_at timestamp not null
);
create unique index on inbox_members (inbox_id, user_id);
create index on inbox_members (inbox_id);

create table teams (
  id bigserial primary key, name varchar not null, description text, allow_auto_assign boolean default true, account_id bigint not null,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on teams (account_id);
create unique index on teams (name, account_id);

create table team_members (
  id bigserial primary key, team_id bigint not null, user_id bigint not null, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on team_members (team_id, user_id);
create index on team_members (team_id);
create index on team_members (user_id);

create table leaves (
  id bigserial primary key, account_id bigint not null, user_id bigint not null, start_date date not null, end_date date not null,
  leave_type integer not null default 0, status integer not null default 0, reason text, approved_by_id bigint, approved_at timestamp(6),
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on leaves (account_id, status);
create index on leaves (account_id);
create index on leaves (approved_by_id);
create index on leaves (user_id);

-- The customers of a tenant, and what is said with them.
create table contacts (
  id serial primary key, name varchar default '', email varchar, phone_number varchar, account_id integer not null, created_at timestamp not null,
  updated_at timestamp not null, additional_attributes jsonb default '{}', identifier varchar, custom_attributes jsonb default '{}',
  last_activity_at timestamp, contact_type integer default 0, middle_name varchar default '', last_name varchar default '', location varchar default '',
  country_code varchar default '', blocked boolean not null default false, company_id bigint
);
create index on contacts (lower(email::text), account_id);
create index on contacts (account_id, contact_type);
create index on contacts (account_id, email, phone_number, identifier) where email::text <> '' or phone_number::text <> '' or identifier::text <> '';
create index on contacts (account_id, last_activity_at desc nulls last);
create index on contacts (account_id);
create index index_resolved_contact_account_id on contacts (account_id) where email::text <> '' or phone_number::text <> '' or identifier::text <> '';
create index on contacts (blocked);
create index on contacts (company_id);
create unique index on contacts (email, account_id);
create unique index on contacts (identifier, account_id);
create index on contacts (phone_number, account_id);

create table notes (
  id bigserial primary key, content text not null, account_id bigint not null, contact_id bigint not null, user_id bigint,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on notes (account_id);
create index on notes (contact_id);
create index on notes (user_id);

create table conversations (
  id serial primary key, account_id integer not null, inbox_id integer not null, status integer not null default 0, assignee_id integer,
  created_at timestamp not null, updated_at timestamp not null, contact_id bigint, display_id integer not null, contact_last_seen_at timestamp,
  agent_last_seen_at timestamp, additional_attributes jsonb default '{}', contact_inbox_id bigint, uuid uuid not null default gen_random_uuid(),
  identifier varchar, last_activity_at timestamp not null default current_timestamp, team_id bigint, campaign_id bigint, snoozed_until timestamp,
  custom_attributes jsonb default '{}', assignee_last_seen_at timestamp, first_reply_created_at timestamp, priority integer, sla_policy_id bigint,
  waiting_since timestamp(6), cached_label_list text, assignee_agent_bot_id bigint
);
create unique index on conversations (account_id, display_id);
create index on conversations (account_id, id);
create index on conversations (account_id, inbox_id, status, assignee_id);
create index on conversations (account_id);
create index on conversations (assignee_id, account_id);
create index on conversations (campaign_id);
create index on conversations (contact_id);
create index on conversations (contact_inbox_id);
create index on conversations (first_reply_created_at);
create index on conversations (identifier, account_id);
create index on conversations (inbox_id);
create index on conversations (priority);
create index on conversations (status, account_id);
create index on conversations (status, priority);
create index on conversations (team_id);
create unique index on conversations (uuid);
create index on conversations (waiting_since);

create table conversation_participants (
  id bigserial primary key, account_id bigint not null, user_id bigint not null, conversation_id bigint not null, created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create index on conversation_participants (account_id);
create index on conversation_participants (conversation_id);
create unique index on conversation_participants (user_id, conversation_id);
create index on conversation_participants (user_id);

create table mentions (
  id bigserial primary key, user_id bigint not null, conversation_id bigint not null, account_id bigint not null, mentioned_at timestamp not null,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on mentions (account_id);
create index on mentions (conversation_id);
create unique index on mentions (user_id, conversation_id);
create index on mentions (user_id);

create table messages (
  id serial primary key, content text, account_id integer not null, inbox_id integer not null, conversation_id integer not null,
  message_type integer not null, created_at timestamp not null, updated_at timestamp not null, private boolean not null default false,
  status integer default 0, source_id text, content_type integer not null default 0, content_attributes json default '{}', sender_type varchar,
  sender_id bigint, external_source_ids jsonb default '{}', additional_attributes jsonb default '{}', processed_message_content text,
  sentiment jsonb default '{}'
);
create index on messages using gin ((additional_attributes -> 'campaign_id'));
create index on messages (account_id, content_type, created_at);
create index on messages (account_id, created_at, message_type);
create index on messages (account_id, inbox_id);
create index on messages (account_id);
create index on messages (conversation_id, account_id, message_type, created_at);
create index on messages (conversation_id);
create index on messages (created_at);
create index on messages (inbox_id);
create index on messages (sender_type, sender_id);
create index on messages (source_id);

create table attachments (
  id serial primary key, file_type integer default 0, external_url varchar, coordinates_lat double precision default 0,
  coordinates_long double precision default 0, message_id integer not null, account_id integer not null, created_at timestamp not null,
  updated_at timestamp not null, fallback_title varchar, extension varchar, meta jsonb default '{}'
);
create index on attachments (account_id);
create index on attachments (message_id);

create table calls (
  id bigserial primary key, account_id bigint not null, inbox_id bigint not null, conversation_id bigint not null, contact_id bigint not null,
  message_id bigint, accepted_by_agent_id bigint, provider_call_id varchar not null, provider integer not null default 0, direction integer not null,
  status varchar not null default 'ringing', started_at timestamp(6), duration_seconds integer, end_reason varchar, meta jsonb default '{}',
  transcript text, created_at timestamp(6) not null, updated_at timestamp(6) not null, ring_state jsonb not null default '{}'
);
create index on calls (account_id, contact_id);
create index on calls (account_id, conversation_id);
create index on calls (account_id, created_at);
create index on calls (message_id);
create unique index on calls (provider, provider_call_id);
create index on calls (provider, created_at) where status::text = 'ringing';

create table csat_survey_responses (
  id bigserial primary key, account_id bigint not null, conversation_id bigint not null, message_id bigint not null, rating integer not null,
  feedback_message text, contact_id bigint not null, assigned_agent_id bigint, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on csat_survey_responses (account_id);
create index on csat_survey_responses (assigned_agent_id);
create index on csat_survey_responses (contact_id);
create index on csat_survey_responses (conversation_id);
create unique index on csat_survey_responses (message_id);

create table reporting_events (
  id bigserial primary key, name varchar, value double precision, account_id integer, inbox_id integer, user_id integer, conversation_id integer,
  created_at timestamp(6) not null, updated_at timestamp(6) not null, value_in_business_hours double precision, event_start_time timestamp,
  event_end_time timestamp
);
create index on reporting_events (account_id, name, created_at);
create index on reporting_events (account_id, name, inbox_id, created_at);
create index on reporting_events (account_id);
create index on reporting_events (conversation_id);
create index on reporting_events (created_at);
create index on reporting_events (inbox_id);
create index on reporting_events (name);
create index on reporting_events (user_id);

-- What an agent sets up.
create table custom_filters (
  id bigserial primary key, name varchar not null, filter_type integer not null default 0, query jsonb not null default '"{}"', account_id bigint not null,
  user_id bigint not null, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on custom_filters (account_id);
create index on custom_filters (user_id);

create table dashboard_apps (
  id bigserial primary key, title varchar not null, content jsonb default '[]', account_id bigint not null, user_id bigint,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on dashboard_apps (account_id);
create index on dashboard_apps (user_id);

create table macros (
  id bigserial primary key, account_id bigint not null, name varchar not null, visibility integer default 0, created_by_id bigint, updated_by_id bigint,
  actions jsonb not null default '{}', created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on macros (account_id);

create table campaigns (
  id bigserial primary key, display_id integer not null, title varchar not null, description text, message text not null, sender_id integer,
  enabled boolean default true, account_id bigint not null, inbox_id bigint not null, trigger_rules jsonb default '{}', created_at timestamp(6) not null,
  updated_at timestamp(6) not null, campaign_type integer not null default 0, campaign_status integer not null default 0, audience jsonb default '[]',
  scheduled_at timestamp, trigger_only_during_business_hours boolean default false, template_params jsonb
);
create index on campaigns (account_id);
create index on campaigns (campaign_status);
create index on campaigns (campaign_type);
create index on campaigns (inbox_id);
create index on campaigns (scheduled_at);

create table copilot_threads (
  id bigserial primary key, title varchar not null, user_id bigint not null, account_id bigint not null, created_at timestamp(6) not null,
  updated_at timestamp(6) not null, assistant_id integer
);
create index on copilot_threads (account_id);
create index on copilot_threads (assistant_id);
create index on copilot_threads (user_id);

create table copilot_messages (
  id bigserial primary key, copilot_thread_id bigint not null, account_id bigint not null, message jsonb not null default '{}',
  created_at timestamp(6) not null, updated_at timestamp(6) not null, message_type integer default 0
);
create index on copilot_messages (account_id);
create index on copilot_messages (copilot_thread_id);

-- The history of the tenants.
create table audits (
  id bigserial primary key, auditable_id bigint, auditable_type varchar, associated_id bigint, associated_type varchar, user_id bigint, user_type varchar,
  username varchar, action varchar, audited_changes jsonb, version integer default 0, comment varchar, remote_address varchar, request_uuid varchar,
  created_at timestamp
);
create index on audits (associated_type, associated_id);
create index on audits (auditable_type, auditable_id, version);
create index on audits (created_at);
create index on audits (request_uuid);
create index on audits (user_id, user_type);

-- Files.
create table active_storage_blobs (
  id bigserial primary key, key varchar not null, filename varchar not null, content_type varchar, metadata text, byte_size bigint not null,
  checksum varchar, created_at timestamp not null, service_name varchar not null
);
create unique index on active_storage_blobs (key);

create table active_storage_attachments (
  id bigserial primary key, name varchar not null, record_type varchar not null, record_id bigint not null,
  blob_id bigint not null references active_storage_blobs, created_at timestamp not null
);
create index on active_storage_attachments (blob_id);
create unique index on active_storage_attachments (record_type, record_id, name, blob_id);

-- Nobody's.
create table working_hours (
  id bigserial primary key, inbox_id bigint, account_id bigint, day_of_week integer not null, closed_all_day boolean default false, open_hour integer,
  open_minutes integer, close_hour integer, close_minutes integer, created_at timestamp(6) not null, updated_at timestamp(6) not null,
  open_all_day boolean default false
);
create index on working_hours (account_id);
create index on working_hours (inbox_id);

create table installation_configs (
  id bigserial primary key, name varchar not null, serialized_value jsonb not null default '{}', created_at timestamp(6) not null,
  updated_at timestamp(6) not null, locked boolean not null default true
);
create unique index on installation_configs (name, created_at);
create unique index on installation_configs (name);

create table schema_migrations (version varchar primary key);
create table ar_internal_metadata (key varchar primary key, value varchar, created_at timestamp(6) not null, updated_at timestamp(6) not null);

-- lago: a minimal equivalent of its schema: same names, types, keys and indexes.
create type customer_account_type as enum ('customer', 'partner');
create type customer_type as enum ('company', 'individual');
create type entity_document_numbering as enum ('per_customer', 'per_billing_entity');
create type order_execution_mode as enum ('execute_in_lago', 'order_only');
create type order_form_status as enum ('generated', 'signed', 'expired', 'voided');
create type order_form_void_reason as enum ('manual', 'expired', 'invalid');
create type order_status as enum ('created', 'executed', 'failed');
create type payment_method_types as enum ('provider', 'manual');
create type plan_pricing_type as enum ('legacy', 'product_catalog');
create type quote_order_type as enum ('subscription_creation', 'subscription_amendment', 'one_off');
create type quote_status as enum ('draft', 'approved', 'voided');
create type quote_void_reason as enum ('manual', 'superseded', 'cascade_of_expired', 'cascade_of_voided');
create type subscription_cancelation_reasons as enum ('payment_failed', 'timeout');
create type subscription_cancellation_reasons as enum ('payment_failed', 'timeout');
create type subscription_invoice_issuing_date_adjustments as enum ('keep_anchor', 'align_with_finalization_date');
create type subscription_invoice_issuing_date_anchors as enum ('current_period_end', 'next_period_start');
create type subscription_on_termination_credit_note as enum ('credit', 'skip', 'refund', 'offset');
create type subscription_on_termination_invoice as enum ('generate', 'skip');
create type tax_status as enum ('pending', 'succeeded', 'failed');

-- Accounts. A mail address is not unique in the database.
create table users (
  id uuid primary key default gen_random_uuid(), email varchar, password_digest varchar,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);

create table password_resets (
  id uuid primary key default gen_random_uuid(), user_id uuid not null references users,
  token varchar not null, expire_at timestamp(6) not null,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on password_resets (token);
create index on password_resets (user_id);

create table user_devices (
  id uuid primary key default gen_random_uuid(), user_id uuid not null references users,
  fingerprint varchar not null, browser varchar, os varchar, device_type varchar, last_logged_at timestamp(6) not null,
  last_ip_address varchar, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on user_devices (user_id, fingerprint);

-- Tenants.
create table organizations (
  id uuid primary key default gen_random_uuid(), name varchar not null, slug varchar not null,
  api_key varchar, hmac_key varchar not null, webhook_url varchar,
  email varchar, logo varchar, legal_name varchar, legal_number varchar, tax_identification_number varchar,
  address_line1 varchar, address_line2 varchar, city varchar, zipcode varchar, state varchar, country varchar,
  timezone varchar default 'UTC' not null, document_locale varchar default 'en' not null, default_currency varchar default 'USD' not null,
  document_numbering integer default 0 not null, document_number_prefix varchar, invoice_footer text,
  invoice_grace_period integer default 0 not null check (invoice_grace_period >= 0),
  net_payment_term integer default 0 not null check (net_payment_term >= 0),
  vat_rate double precision default 0 not null, eu_tax_management boolean default false, max_wallets integer,
  email_settings varchar[] default '{}' not null, premium_integrations varchar[] default '{}' not null,
  feature_flags varchar[] default '{}' not null, authentication_methods varchar[] default '{email_password,google_oauth}' not null,
  custom_aggregation boolean default false, finalize_zero_amount_invoice boolean default true not null,
  clickhouse_events_store boolean default false not null, clickhouse_deduplication_enabled boolean default false not null,
  pre_filter_events boolean default false not null, audit_logs_period integer default 30,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on organizations (api_key);
create unique index on organizations (hmac_key);
create unique index on organizations (slug);

create table billing_entities (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  applied_dunning_campaign_id uuid, code varchar not null, name varchar not null,
  email varchar, phone varchar, logo varchar, legal_name varchar, legal_number varchar, tax_identification_number varchar,
  address_line1 varchar, address_line2 varchar, city varchar, zipcode varchar, state varchar, country varchar,
  timezone varchar default 'UTC' not null, document_locale varchar default 'en' not null, default_currency varchar default 'USD' not null,
  document_numbering entity_document_numbering default 'per_customer' not null, document_number_prefix varchar, invoice_footer text,
  invoice_grace_period integer default 0 not null, net_payment_term integer default 0 not null, payment_term jsonb,
  vat_rate double precision default 0 not null, eu_tax_management boolean default false, einvoicing boolean default false not null,
  email_settings varchar[] default '{}' not null, finalize_zero_amount_invoice boolean default true not null,
  subscription_invoice_issuing_date_anchor subscription_invoice_issuing_date_anchors default 'next_period_start' not null,
  subscription_invoice_issuing_date_adjustment subscription_invoice_issuing_date_adjustments
    default 'align_with_finalization_date' not null,
  archived_at timestamp(6), deleted_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on billing_entities (code, organization_id) where deleted_at is null and archived_at is null;
create index on billing_entities (organization_id);
create index on billing_entities (applied_dunning_campaign_id);

create table api_keys (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  value varchar not null, name varchar, permissions jsonb not null, expires_at timestamp(6), last_used_at timestamp(6),
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on api_keys (value);
create index on api_keys (organization_id);

-- Who is in which tenant. A member who left and came back has two rows.
create table memberships (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  user_id uuid not null references users, status integer default 0 not null, revoked_at timestamp(6),
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on memberships (id, organization_id);
create unique index on memberships (user_id, organization_id) where revoked_at is null;
create index on memberships (organization_id);
create index on memberships (user_id);

-- A role without a tenant is one of the platform's own; there is no foreign key to the tenant.
create table roles (
  id uuid primary key default gen_random_uuid(), organization_id uuid, code varchar not null check (code ~ '^[a-z0-9_]{1,100}$'),
  name varchar not null check (name ~ '^.{1,100}$'), description varchar check (length(description) <= 255),
  admin boolean default false not null, permissions varchar[] default '{}' not null,
  deleted_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null,
  check ((organization_id is null) = (cardinality(permissions) = 0)), check ('' <> all (permissions))
);
create unique index on roles (organization_id nulls first, code) where deleted_at is null;
create unique index on roles (admin) where admin and deleted_at is null;
create index on roles (organization_id);

create table membership_roles (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null, membership_id uuid not null,
  role_id uuid not null references roles, deleted_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null,
  foreign key (membership_id, organization_id) references memberships (id, organization_id)
);
create unique index on membership_roles (membership_id, role_id) where deleted_at is null;
create index on membership_roles (membership_id, organization_id) where deleted_at is null;
create index on membership_roles (role_id);

-- membership_id is set when the invited person accepts; who sent the invitation is not kept.
create table invites (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  membership_id uuid references memberships, email varchar not null, token varchar not null, roles varchar[] default '{}' not null,
  status integer default 0 not null, accepted_at timestamp(6), revoked_at timestamp(6),
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on invites (token);
create index on invites (organization_id);
create index on invites (membership_id);

create table ai_conversations (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  membership_id uuid not null references memberships, name varchar not null, mistral_conversation_id varchar,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on ai_conversations (organization_id);
create index on ai_conversations (membership_id);

create table data_exports (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  membership_id uuid references memberships, format integer, resource_type varchar not null, resource_query jsonb default '{}',
  status integer default 0 not null, started_at timestamp, completed_at timestamp, expires_at timestamp,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on data_exports (organization_id);
create index on data_exports (membership_id);

create table data_export_parts (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  data_export_id uuid not null references data_exports, index integer, object_ids uuid[] not null, csv_lines text,
  completed boolean default false not null, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on data_export_parts (organization_id);
create index on data_export_parts (data_export_id);

-- The history of all models: item_id is text, whodunnit is 'membership/<id>', and neither has a foreign key.
create table versions (
  id bigserial primary key, item_type varchar not null, item_id varchar not null, event varchar not null, whodunnit varchar,
  object jsonb, object_changes jsonb, lago_version varchar, created_at timestamp(6)
);
create index on versions (item_type, item_id);

create table webhook_endpoints (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  webhook_url varchar not null, name varchar, event_types varchar[], signature_algo integer default 0 not null,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on webhook_endpoints (webhook_url, organization_id);
create index on webhook_endpoints (organization_id);

create table webhooks (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  webhook_endpoint_id uuid references webhook_endpoints, object_type varchar, object_id uuid, webhook_type varchar, endpoint varchar,
  status integer default 0 not null, retries integer default 0 not null, http_status integer, payload json, response json,
  payload_key varchar, response_key varchar, last_retried_at timestamp,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on webhooks (organization_id, webhook_endpoint_id, webhook_type, updated_at);
create index on webhooks (webhook_endpoint_id, updated_at, created_at);
create index on webhooks (webhook_endpoint_id, status, updated_at);
create index on webhooks (object_type, object_id, webhook_type);
create index on webhooks (organization_id);
create index on webhooks (updated_at) include (id);
create index on webhooks (webhook_endpoint_id);

-- The tenants' customers: they do not log in. external_id and slug are the tenant's own names for them.
create table customers (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  billing_entity_id uuid not null references billing_entities, applied_dunning_campaign_id uuid,
  external_id varchar not null, external_salesforce_id varchar, slug varchar, sequential_id bigint,
  account_type customer_account_type default 'customer' not null, customer_type customer_type,
  name varchar, firstname varchar, lastname varchar, email varchar, phone varchar, url varchar, logo_url varchar,
  legal_name varchar, legal_number varchar, tax_identification_number varchar,
  address_line1 varchar, address_line2 varchar, city varchar, zipcode varchar, state varchar, country varchar,
  shipping_address_line1 varchar, shipping_address_line2 varchar, shipping_city varchar, shipping_zipcode varchar,
  shipping_state varchar, shipping_country varchar, timezone varchar, document_locale varchar, currency varchar,
  vat_rate double precision, payment_provider varchar, payment_provider_code varchar, payment_term jsonb,
  invoice_grace_period integer check (invoice_grace_period >= 0), net_payment_term integer check (net_payment_term >= 0),
  finalize_zero_amount_invoice integer default 0 not null, skip_invoice_custom_sections boolean default false not null,
  exclude_from_dunning_campaign boolean default false not null, last_dunning_campaign_attempt integer default 0 not null,
  last_dunning_campaign_attempt_at timestamp, dunning_currency_attempts jsonb default '{}' not null,
  payment_receipt_counter bigint default 0 not null, awaiting_wallet_refresh boolean default false not null,
  subscription_invoice_issuing_date_anchor subscription_invoice_issuing_date_anchors,
  subscription_invoice_issuing_date_adjustment subscription_invoice_issuing_date_adjustments,
  deleted_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on customers (external_id, organization_id) where deleted_at is null;
create unique index on customers (organization_id, sequential_id) where sequential_id is not null;
create index on customers (organization_id, created_at desc, id);
create index on customers (organization_id, external_id);
create index on customers (organization_id) where deleted_at is null;
create index on customers (account_type);
create index on customers (applied_dunning_campaign_id);
create index on customers (awaiting_wallet_refresh);
create index on customers (billing_entity_id);
create index on customers (deleted_at);
create index on customers (sequential_id);

create table customer_metadata (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  customer_id uuid not null references customers, key varchar not null, value varchar not null,
  display_in_invoice boolean default false not null, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on customer_metadata (customer_id, key);
create index on customer_metadata (customer_id);
create index on customer_metadata (organization_id);

create table plans (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations, parent_id uuid references plans,
  code varchar not null, name varchar not null, invoice_display_name varchar, description varchar,
  pricing_type plan_pricing_type default 'legacy' not null, "interval" integer, amount_cents bigint, amount_currency varchar not null,
  trial_period double precision, pay_in_advance boolean default false, bill_charges_monthly boolean,
  bill_fixed_charges_monthly boolean default false, pending_deletion boolean default false not null,
  deleted_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null,
  check (pricing_type <> 'legacy' or num_nulls("interval", amount_cents, pay_in_advance) = 0)
);
create unique index on plans (organization_id, code) where deleted_at is null and parent_id is null;
create index on plans (organization_id);
create index on plans (parent_id);
create index on plans (created_at);
create index on plans (deleted_at);
create index on plans (bill_fixed_charges_monthly) where deleted_at is null and bill_fixed_charges_monthly is true;

create table subscriptions (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  customer_id uuid not null references customers, plan_id uuid not null references plans,
  billing_entity_id uuid references billing_entities, payment_method_id uuid, previous_subscription_id uuid,
  external_id varchar not null, name varchar, purchase_order_number varchar, status integer not null,
  billing_time integer default 0 not null, billing_anchor_date date,
  payment_method_type payment_method_types default 'provider' not null,
  on_termination_credit_note subscription_on_termination_credit_note,
  on_termination_invoice subscription_on_termination_invoice default 'generate' not null,
  cancelation_reason subscription_cancelation_reasons, cancellation_reason subscription_cancellation_reasons,
  skip_invoice_custom_sections boolean default false not null, skip_daily_usage boolean default false not null,
  progressive_billing_disabled boolean default false not null, consolidate_invoice boolean default true not null,
  subscription_at timestamp(6), started_at timestamp, activated_at timestamp(6), incompleted_at timestamp(6),
  trial_ended_at timestamp(6), ending_at timestamp(6), canceled_at timestamp, terminated_at timestamp, last_received_event_on date,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on subscriptions (organization_id, subscription_at desc nulls last, created_at desc, id);
create index on subscriptions (plan_id, status) where status in (0, 1);
create index on subscriptions (ending_at) where status = 1 and ending_at is not null;
create index on subscriptions (id) where last_received_event_on is null;
create index on subscriptions (previous_subscription_id, status);
create index on subscriptions (started_at, ending_at);
create index on subscriptions (billing_entity_id);
create index on subscriptions (customer_id);
create index on subscriptions (external_id);
create index on subscriptions (last_received_event_on);
create index on subscriptions (organization_id);
create index on subscriptions (payment_method_id);
create index on subscriptions (plan_id);
create index on subscriptions (started_at);
create index on subscriptions (status);

create table invoices (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  billing_entity_id uuid not null references billing_entities, customer_id uuid references customers,
  payment_method_id uuid, voided_invoice_id uuid, number varchar default '' not null,
  sequential_id integer, organization_sequential_id integer default 0 not null, billing_entity_sequential_id integer,
  purchase_order_number varchar, file varchar, xml_file varchar, currency varchar, timezone varchar default 'UTC' not null,
  invoice_type integer default 0 not null, status integer default 1 not null, payment_status integer default 0 not null,
  tax_status tax_status, version_number integer default 4 not null, payment_attempts integer default 0 not null,
  fees_amount_cents bigint default 0 not null, coupons_amount_cents bigint default 0 not null,
  credit_notes_amount_cents bigint default 0 not null, prepaid_credit_amount_cents bigint default 0 not null,
  prepaid_granted_credit_amount_cents bigint, prepaid_purchased_credit_amount_cents bigint,
  progressive_billing_credit_amount_cents bigint default 0 not null, sub_total_excluding_taxes_amount_cents bigint default 0 not null,
  sub_total_including_taxes_amount_cents bigint default 0 not null, taxes_amount_cents bigint default 0 not null,
  taxes_rate double precision default 0 not null, negative_amount_cents bigint default 0 not null,
  total_amount_cents bigint default 0 not null, total_paid_amount_cents bigint default 0 not null,
  net_payment_term integer default 0 not null check (net_payment_term >= 0), payment_term jsonb, payment_term_source varchar,
  applied_grace_period integer, issuing_date date, payment_due_date date, expected_finalization_date date,
  self_billed boolean default false not null, skip_charges boolean default false not null, skip_automatic_payment boolean,
  payment_overdue boolean default false, ready_for_payment_processing boolean default true not null,
  ready_to_be_refreshed boolean default false not null, finalized_at timestamp, voided_at timestamp(6),
  payment_dispute_lost_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on invoices (customer_id, billing_entity_id, sequential_id);
create index on invoices (organization_id, status);
create index on invoices (billing_entity_id, billing_entity_sequential_id desc) include (self_billed);
create index on invoices (organization_id, organization_sequential_id desc) include (self_billed);
create index on invoices (organization_id, issuing_date desc, created_at desc, id);
create index on invoices (organization_id, lower(purchase_order_number));
create index on invoices (customer_id, organization_id);
create index on invoices (number);
create index on invoices (payment_due_date)
  where status = 1 and payment_status <> 1 and payment_overdue = false and payment_dispute_lost_at is null;
create index on invoices (payment_method_id);
create index on invoices (ready_to_be_refreshed) where ready_to_be_refreshed = true;
create index on invoices (voided_invoice_id);

-- Quotes to customers. The owners are accounts, not memberships.
create table quotes (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  customer_id uuid not null references customers, subscription_id uuid references subscriptions,
  number varchar not null, sequential_id integer not null check (sequential_id > 0), order_type quote_order_type not null,
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on quotes (organization_id, number);
create unique index on quotes (organization_id, sequential_id);
create index on quotes (customer_id);
create index on quotes (subscription_id);

create table quote_owners (
  id bigserial primary key, organization_id uuid not null references organizations, quote_id uuid not null references quotes,
  user_id uuid not null references users, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on quote_owners (quote_id, user_id);
create index on quote_owners (organization_id);
create index on quote_owners (user_id);

create table quote_versions (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  quote_id uuid not null references quotes, billing_entity_id uuid references billing_entities,
  sequential_id integer not null check (sequential_id > 0), status quote_status default 'draft' not null,
  void_reason quote_void_reason, approved_at timestamp(6), voided_at timestamp(6), currency varchar,
  billing_items jsonb, mention_variables jsonb, content text, share_token varchar,
  created_at timestamp(6) not null, updated_at timestamp(6) not null, check ((status = 'approved') = (approved_at is not null)),
  check ((status = 'voided') = (void_reason is not null and voided_at is not null))
);
create unique index on quote_versions (quote_id) where status in ('draft', 'approved');
create unique index on quote_versions (quote_id, sequential_id);
create index on quote_versions (billing_entity_id);
create index on quote_versions (organization_id);
create index on quote_versions (quote_id);

create table order_forms (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  customer_id uuid not null references customers, quote_version_id uuid not null references quote_versions,
  number varchar not null, sequential_id integer not null check (sequential_id > 0),
  status order_form_status default 'generated' not null, void_reason order_form_void_reason,
  expires_at timestamp(6), signed_at timestamp(6), voided_at timestamp(6),
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on order_forms (quote_version_id);
create unique index on order_forms (organization_id, number);
create unique index on order_forms (organization_id, sequential_id);
create index on order_forms (organization_id, created_at);
create index on order_forms (organization_id, expires_at);
create index on order_forms (organization_id, status);
create index on order_forms (customer_id);

create table orders (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  customer_id uuid not null references customers, order_form_id uuid not null references order_forms,
  number varchar not null, sequential_id integer not null check (sequential_id > 0), status order_status default 'created' not null,
  execution_mode order_execution_mode, execution_record jsonb default '{}' not null, execute_at timestamp(6),
  executed_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on orders (order_form_id);
create unique index on orders (organization_id, number);
create unique index on orders (organization_id, sequential_id);
create index on orders (organization_id, created_at);
create index on orders (organization_id, status);
create index on orders (customer_id);
create index on orders (execute_at) where status = 'created' and execute_at is not null;

-- Things that hang on any model.
create table item_metadata (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations on delete cascade,
  owner_type varchar not null, owner_id uuid not null, value jsonb default '{}' not null check (jsonb_typeof(value) = 'object'),
  created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on item_metadata (owner_type, owner_id);
create index on item_metadata (organization_id);
create index on item_metadata using gin (value);
create view exports_item_metadata as
  select id as lago_id, organization_id, owner_type, owner_id as lago_owner_id, value, created_at, updated_at from item_metadata;

create table error_details (
  id uuid primary key default gen_random_uuid(), organization_id uuid not null references organizations,
  owner_type varchar not null, owner_id uuid not null, error_code integer default 0 not null, details jsonb default '{}' not null,
  deleted_at timestamp(6), created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create index on error_details (owner_type, owner_id);
create index on error_details (organization_id);
create index on error_details (error_code);
create index on error_details (deleted_at);

create table active_storage_blobs (
  id uuid primary key default gen_random_uuid(), key varchar not null, filename varchar not null, content_type varchar,
  metadata text, service_name varchar not null, byte_size bigint not null, checksum varchar, created_at timestamp(6) not null
);
create unique index on active_storage_blobs (key);

create table active_storage_attachments (
  id uuid primary key default gen_random_uuid(), blob_id uuid not null references active_storage_blobs,
  name varchar not null, record_type varchar not null, record_id uuid, created_at timestamp(6) not null
);
create unique index on active_storage_attachments (record_type, record_id, name, blob_id);
create index on active_storage_attachments (blob_id);

create table active_storage_variant_records (
  id uuid primary key default gen_random_uuid(), blob_id uuid not null references active_storage_blobs, variation_digest varchar not null
);
create unique index on active_storage_variant_records (blob_id, variation_digest);

-- Usage of customers: partitioned, without a primary key, without foreign keys.
create table enriched_events (
  id uuid default gen_random_uuid() not null, organization_id uuid not null, event_id uuid not null, subscription_id uuid not null,
  plan_id uuid not null, charge_id uuid not null, charge_filter_id uuid, transaction_id varchar not null,
  external_subscription_id varchar not null, code varchar not null, "timestamp" timestamp(6) not null, enriched_at timestamp(6) not null,
  grouped_by jsonb default '{}' not null, value varchar, decimal_value numeric(40,15) default 0 not null, operation_type varchar,
  precise_total_amount_cents numeric(40,15), target_wallet_code varchar
) partition by range ("timestamp");
create table enriched_events_p20260101 partition of enriched_events for values from ('2026-01-01') to ('2026-02-01');
create table enriched_events_default partition of enriched_events default;
create unique index on enriched_events (organization_id, external_subscription_id, transaction_id, "timestamp", charge_id);
create index on enriched_events (organization_id, external_subscription_id, code, "timestamp");
create index on enriched_events (organization_id, subscription_id, charge_id, charge_filter_id, "timestamp");
create index on enriched_events (event_id);

create table idempotency_records (
  id uuid primary key default gen_random_uuid(), organization_id uuid references organizations, idempotency_key bytea not null,
  resource_type varchar, resource_id uuid, created_at timestamp(6) not null, updated_at timestamp(6) not null
);
create unique index on idempotency_records (idempotency_key);
create index on idempotency_records (organization_id);
create index on idempotency_records (resource_type, resource_id);

create table schema_migrations (version varchar primary key);
create table ar_internal_metadata (
  key varchar primary key, value varchar, created_at timestamp(6) not null, updated_at timestamp(6) not null
);

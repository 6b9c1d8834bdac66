-- lago: 60 accounts, 11 organizations. Accounts 51 to 58 are in no organization, 59 and 60 have no rows at all, organization 11 has
-- no members. The ids with numbers 1 to 12 are the same uuid for every kind (account 7, membership 7, customer 7, invoice 7, ...).
create function pg_temp.k(kind text, n bigint) returns uuid immutable language sql as
  $$ select (case when n <= 12 and kind <> 'org' then '11111111' else left(md5(kind), 8) end || '-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
create function pg_temp.u(n bigint) returns text immutable language sql as $$ select '~u:' || pg_temp.k('user', n) || '~' $$;
create function pg_temp.o(n bigint) returns text immutable language sql as $$ select '~o:' || pg_temp.k('org', n) || '~' $$;
create function pg_temp.c(n bigint) returns text immutable language sql as $$ select '~c:' || pg_temp.k('customer', n) || '~' $$;
create function pg_temp.t(h bigint) returns timestamp immutable language sql as $$ select timestamp '2025-06-01 08:00' + h * interval '1 hour' $$;

-- Accounts. The last one has no mail address (an address is not needed in the database).
insert into users (id, email, password_digest, created_at, updated_at)
  select pg_temp.k('user', n), case when n < 60 then pg_temp.u(n) || '@mail.example' end, '$2a$12$' || pg_temp.u(n), pg_temp.t(n), pg_temp.t(n + 5)
  from generate_series(1, 60) n;

insert into password_resets (id, user_id, token, expire_at, created_at, updated_at)
  select pg_temp.k('reset', n * 10 + i), pg_temp.k('user', n), 'reset-' || pg_temp.u(n) || '-' || i, pg_temp.t(n + 40), pg_temp.t(n + 39), pg_temp.t(n + 39)
  from generate_series(1, 58) n, generate_series(1, 2) i where n % 6 = 0 or n > 50;

-- A fingerprint is a hash of the browser's name: the same for many accounts.
insert into user_devices (id, user_id, fingerprint, browser, os, device_type, last_logged_at, last_ip_address, created_at, updated_at)
  select pg_temp.k('device', n * 10 + i), pg_temp.k('user', n), encode(sha256(('browser' || i)::bytea), 'hex'), 'Firefox of ' || pg_temp.u(n),
    'Linux of ' || pg_temp.u(n), (array['desktop', 'mobile', 'tablet'])[i], pg_temp.t(n + 100), '10.0.' || i || '.' || n || ' ' || pg_temp.u(n), pg_temp.t(n), pg_temp.t(n)
  from generate_series(1, 58) n, generate_series(1, 3) i where i <= 1 + n % 3;

-- Tenants.
insert into organizations (id, name, slug, api_key, hmac_key, webhook_url, email, logo, legal_name, legal_number, tax_identification_number,
    address_line1, address_line2, city, zipcode, state, country, document_number_prefix, invoice_footer, email_settings, premium_integrations,
    feature_flags, max_wallets, created_at, updated_at)
  select pg_temp.k('org', n), 'Organization ' || m, 'slug-' || m, case when n <= 3 then 'key-' || m end, 'hmac-' || m, 'https://hooks.example/' || m,
    m || '@org.example', m || '.png', 'Legal ' || m, 'Number ' || m, 'Tax ' || m, 'Street ' || m, 'Floor ' || m, 'City ' || m, 'Zip ' || m, 'State ' || m,
    'FR', 'ORG-' || lpad(n::text, 4, '0'), 'Thank you, says ' || m, '{invoice.finalized,credit_note.created}', '{okta}', '{multiple_payment_methods}',
    5, pg_temp.t(n), pg_temp.t(n + 1)
  from generate_series(1, 11) n, pg_temp.o(n) m;

-- Entity 1 of each organization is in use, entity 2 is archived, entity 3 is deleted and has the code of the first.
insert into billing_entities (id, organization_id, code, name, email, phone, logo, legal_name, legal_number, tax_identification_number, address_line1,
    address_line2, city, zipcode, state, country, document_number_prefix, invoice_footer, payment_term, archived_at, deleted_at, created_at, updated_at)
  select pg_temp.k('entity', n * 3 - 3 + i), pg_temp.k('org', n), (array['main', 'branch', 'main'])[i], 'Entity ' || i || ' of ' || m, 'billing-' || i || m || '@org.example',
    'Phone ' || m, m || '.png', 'Legal ' || m, 'Number ' || m, 'Tax ' || m, 'Street ' || m, 'Floor ' || m, 'City ' || m, 'Zip ' || m, 'State ' || m, 'FR',
    'ENT-' || i, 'Thank you, says ' || m, jsonb_build_object('type', 'net', 'label', '30 days, says ' || m), case i when 2 then pg_temp.t(900) end,
    case i when 3 then pg_temp.t(901) end, pg_temp.t(n), pg_temp.t(n)
  from generate_series(1, 11) n, generate_series(1, 3) i, pg_temp.o(n) m;

insert into api_keys (id, organization_id, value, name, permissions, expires_at, last_used_at, created_at, updated_at)
  select pg_temp.k('apikey', n * 2 - 2 + i), pg_temp.k('org', n), 'lago-key-' || i || m, 'Key ' || i || ' of ' || m, '{"customer": ["read", "write"], "invoice": ["read"]}',
    case i when 2 then pg_temp.t(800) end, pg_temp.t(700), pg_temp.t(n), pg_temp.t(n)
  from generate_series(1, 11) n, generate_series(1, 2) i, pg_temp.o(n) m;

insert into webhook_endpoints (id, organization_id, webhook_url, name, event_types, signature_algo, created_at, updated_at)
  select pg_temp.k('endpoint', n), pg_temp.k('org', n), 'https://hooks.example/lago', 'Endpoint of ' || pg_temp.o(n), '{customer.created,invoice.created}',
    n % 2, pg_temp.t(n), pg_temp.t(n)
  from generate_series(1, 11) n;

-- Who is in which organization. Numbered from the last account backwards, so that membership 7 is not of account 7. Every third account is in two,
-- every fifth in up to three; every seventh has left its first one, every fourteenth has come back with a second row.
create temp table mem as
  select row_number() over (order by u desc, o, revoked) as m, u, o, revoked from (
    select u, 1 + u % 10 as o, u % 7 = 0 as revoked from generate_series(1, 50) u
    union all select u, 1 + (u + 3) % 10, false from generate_series(1, 50) u where u % 3 = 0
    union all select u, 1 + (u + 7) % 10, u % 10 = 0 from generate_series(1, 50) u where u % 5 = 0
    union all select u, 1 + u % 10, false from generate_series(1, 50) u where u % 14 = 0) x;
-- The member that does things in an organization: one that is in it now, not always the first.
create temp table actor as select o, i, m, u from (
  select o, m, u, row_number() over (partition by o order by m) as i from mem where not revoked) x;

insert into memberships (id, organization_id, user_id, status, revoked_at, created_at, updated_at)
  select pg_temp.k('membership', m), pg_temp.k('org', o), pg_temp.k('user', u), revoked::int, case when revoked then pg_temp.t(600 + m) end, pg_temp.t(m), pg_temp.t(m)
  from mem;

insert into roles (id, organization_id, code, name, admin, created_at, updated_at)
  select pg_temp.k('role', n), null, (array['admin', 'finance', 'manager'])[n], (array['Admin', 'Finance', 'Manager'])[n], n = 1, pg_temp.t(0), pg_temp.t(0)
  from generate_series(1, 3) n;
-- Every organization has a role "support" of its own, and a deleted one with the same code.
insert into roles (id, organization_id, code, name, description, permissions, deleted_at, created_at, updated_at)
  select pg_temp.k('role', 100 + n * 2 + i), pg_temp.k('org', n), 'support', 'Support of ' || pg_temp.o(n), 'For the staff of ' || pg_temp.o(n),
    '{customers:view,invoices:view}', case i when 1 then pg_temp.t(500) end, pg_temp.t(n), pg_temp.t(n)
  from generate_series(1, 11) n, generate_series(0, 1) i;

insert into membership_roles (id, organization_id, membership_id, role_id, deleted_at, created_at, updated_at)
  select pg_temp.k('memrole', m * 2), pg_temp.k('org', o), pg_temp.k('membership', m),
    case when m % 4 = 3 then pg_temp.k('role', 100 + o * 2) else pg_temp.k('role', 1 + m % 4) end, null, pg_temp.t(m), pg_temp.t(m) from mem
  union all
  select pg_temp.k('memrole', m * 2 + 1), pg_temp.k('org', o), pg_temp.k('membership', m), pg_temp.k('role', 3), pg_temp.t(m + 50), pg_temp.t(m), pg_temp.t(m + 50)
  from mem where m % 3 = 0;

-- Invitations: accepted ones (every fourth account has changed its mail address since), open and withdrawn ones to accounts, known by the address
-- only, and open ones to strangers; the same stranger is invited by several organizations.
create temp table inv as
  select row_number() over (order by kind, o, u, m, s) as n, * from (
    select 1 as kind, o, u, m, null::int as s from mem where m % 2 = 0
    union all select 2, 1 + u % 11, u, null, null from generate_series(51, 56) u
    union all select 2, 1 + (u + 1) % 11, u, null, null from generate_series(1, 50) u where u % 9 = 0
    union all select 3, 11, u, null, null from generate_series(41, 48) u
    union all select 4, o, null, null, s from generate_series(1, 11) o, generate_series(1, 3) s) x;
insert into invites (id, organization_id, membership_id, email, token, roles, status, accepted_at, revoked_at, created_at, updated_at)
  select pg_temp.k('invite', n), pg_temp.k('org', o), pg_temp.k('membership', m),
    case when s is not null then '~c:' || pg_temp.k('stranger', s) || '~@mail.example' when kind = 1 and u % 4 = 0 then 'old-' || pg_temp.u(u) || '@mail.example'
      else pg_temp.u(u) || '@mail.example' end,
    'invite-' || n || coalesce(pg_temp.u(u), '~c:' || pg_temp.k('stranger', s) || '~'), array[(array['admin', 'finance', 'manager'])[1 + n % 3]],
    case kind when 1 then 1 when 3 then 2 else 0 end, case kind when 1 then pg_temp.t(n + 2) end, case kind when 3 then pg_temp.t(n + 3) end, pg_temp.t(n), pg_temp.t(n + 3)
  from inv;

-- Customers of the tenants: numbers and external ids start again in each organization. Number 15 is deleted and has the external id of number 1.
create temp table cus as
  select (o - 1) * 15 + i as c, o, i, case i when 15 then 1 else i end as x from generate_series(1, 11) o, generate_series(1, 15) i;
insert into customers (id, organization_id, billing_entity_id, external_id, external_salesforce_id, slug, sequential_id, account_type, customer_type, name,
    firstname, lastname, email, phone, url, logo_url, legal_name, legal_number, tax_identification_number, address_line1, address_line2, city, zipcode,
    state, country, shipping_address_line1, shipping_address_line2, shipping_city, shipping_zipcode, shipping_state, shipping_country, timezone,
    document_locale, currency, vat_rate, payment_provider, payment_provider_code, payment_term, dunning_currency_attempts, deleted_at, created_at, updated_at)
  select pg_temp.k('customer', c), pg_temp.k('org', o), pg_temp.k('entity', o * 3 - 2), 'cust_' || x, 'sf_' || c, 'ORG-' || lpad(i::text, 3, '0'), i,
    case when i % 7 = 0 then 'partner' else 'customer' end::customer_account_type, case when i % 2 = 0 then 'company' else 'individual' end::customer_type,
    'Customer ' || m, 'First ' || m, 'Last ' || m, m || '@cust.example', 'Phone ' || m, 'https://cust.example/' || m, 'https://cust.example/' || m || '.png',
    'Legal ' || m, 'Number ' || m, 'Tax ' || m, 'Street ' || m, 'Floor ' || m, 'City ' || m, 'Zip ' || m, 'State ' || m, 'DE', 'Street ' || m, 'Floor ' || m,
    'City ' || m, 'Zip ' || m, 'State ' || m, 'DE', 'UTC', 'en', 'EUR', 20, 'stripe', 'stripe_main', jsonb_build_object('type', 'net', 'label', 'For ' || m),
    '{"EUR": 1}', case i when 15 then pg_temp.t(400 + c) end, pg_temp.t(c), pg_temp.t(c)
  from cus, pg_temp.c(c) m;

-- The account manager of a customer is a member, by mail address.
insert into customer_metadata (id, organization_id, customer_id, key, value, display_in_invoice, created_at, updated_at)
  select pg_temp.k('cusmeta', c * 2), pg_temp.k('org', o), pg_temp.k('customer', c), 'segment', 'Segment of ' || pg_temp.c(c), true, pg_temp.t(c), pg_temp.t(c) from cus
  union all select pg_temp.k('cusmeta', c * 2 + 1), pg_temp.k('org', cus.o), pg_temp.k('customer', c), 'account_manager', pg_temp.u(a.u) || '@mail.example', false, pg_temp.t(c), pg_temp.t(c)
  from cus join actor a on a.o = cus.o and a.i = 1 + cus.i % 3;

insert into plans (id, organization_id, parent_id, code, name, invoice_display_name, description, pricing_type, "interval", amount_cents, amount_currency,
    trial_period, pay_in_advance, deleted_at, created_at, updated_at)
  select pg_temp.k('plan', o * 4 - 4 + i), pg_temp.k('org', o), case i when 4 then pg_temp.k('plan', o * 4 - 3) end, (array['starter', 'team', 'starter', 'starter'])[i],
    'Plan ' || m, 'Plan ' || m, 'A plan of ' || m, 'legacy', 1, 1000 * i, 'EUR', 14, false, case i when 3 then pg_temp.t(300) end, pg_temp.t(o), pg_temp.t(o)
  from generate_series(1, 11) o, generate_series(1, 4) i, pg_temp.o(o) m;

insert into subscriptions (id, organization_id, customer_id, plan_id, billing_entity_id, previous_subscription_id, external_id, name, purchase_order_number, status,
    subscription_at, started_at, activated_at, terminated_at, created_at, updated_at)
  select pg_temp.k('subscription', c), pg_temp.k('org', o), pg_temp.k('customer', c), pg_temp.k('plan', o * 4 - 4 + 1 + c % 2), case when i % 3 = 0 then pg_temp.k('entity', o * 3 - 2) end,
    case when i % 5 = 0 then pg_temp.k('subscription', c - 1) end, 'sub_' || i, 'Subscription of ' || pg_temp.c(c), 'PO ' || pg_temp.c(c), case i when 15 then 2 else 1 end,
    pg_temp.t(c), pg_temp.t(c), pg_temp.t(c), case i when 15 then pg_temp.t(c + 400) end, pg_temp.t(c), pg_temp.t(c)
  from cus;

insert into invoices (id, organization_id, billing_entity_id, customer_id, number, sequential_id, organization_sequential_id, billing_entity_sequential_id,
    purchase_order_number, file, xml_file, currency, status, payment_status, tax_status, fees_amount_cents, total_amount_cents, taxes_rate, payment_term,
    payment_term_source, issuing_date, payment_due_date, finalized_at, voided_at, created_at, updated_at)
  select pg_temp.k('invoice', c * 2 - 2 + j), pg_temp.k('org', o), pg_temp.k('entity', o * 3 - 2), pg_temp.k('customer', c), 'INV-' || lpad(i::text, 3, '0') || '-' || j, j, i * 2 + j, i * 2 + j,
    'PO ' || m, m || '.pdf', m || '.xml', 'EUR', case when i % 6 = 0 then 2 else 1 end, j % 2, 'succeeded', 1000 * j, 1200 * j, 20, jsonb_build_object('type', 'net', 'label', 'For ' || m),
    'customer', date '2026-01-01' + i, date '2026-02-01' + i, pg_temp.t(c + 5000), case when i % 6 = 0 then pg_temp.t(c + 5100) end, pg_temp.t(c + 5000), pg_temp.t(c + 5000)
  from cus, generate_series(1, 2) j, pg_temp.c(c) m;

insert into webhooks (id, organization_id, webhook_endpoint_id, object_type, object_id, webhook_type, endpoint, status, retries, http_status, payload, response,
    payload_key, response_key, last_retried_at, created_at, updated_at)
  select pg_temp.k('webhook', c * 3 + j), pg_temp.k('org', o), case when i < 15 then pg_temp.k('endpoint', o) end, (array['Customer', 'Invoice', 'Subscription'])[j],
    pg_temp.k((array['customer', 'invoice', 'subscription'])[j], case j when 2 then c * 2 else c end), (array['customer.created', 'invoice.created', 'subscription.started'])[j],
    'https://hooks.example/lago', 1 + i % 2, i % 3, 200, json_build_object('object_type', (array['customer', 'invoice', 'subscription'])[j],
      'customer', json_build_object('external_id', 'cust_' || x, 'name', 'Customer ' || pg_temp.c(c), 'email', pg_temp.c(c) || '@cust.example')),
    json_build_object('ok', true, 'seen', 'By ' || pg_temp.o(o)), null, null, null, pg_temp.t(c + 5200), pg_temp.t(c + 5200)
  from cus, generate_series(1, 3) j;

-- Quotes: numbers start again in each organization. The owners are members, two each; account 52 still owns one, its membership is gone.
create temp table quo as select (o - 1) * 4 + i as q, o, i, (o - 1) * 15 + i as c from generate_series(1, 11) o, generate_series(1, 4) i;
insert into quotes (id, organization_id, customer_id, subscription_id, number, sequential_id, order_type, created_at, updated_at)
  select pg_temp.k('quote', q), pg_temp.k('org', o), pg_temp.k('customer', c), case i when 2 then pg_temp.k('subscription', c) end, 'QT-2026-' || lpad(i::text, 4, '0'), i,
    (array['subscription_creation', 'subscription_amendment', 'one_off', 'one_off'])[i]::quote_order_type, pg_temp.t(q + 5300), pg_temp.t(q + 5300) from quo;
insert into quote_owners (organization_id, quote_id, user_id, created_at, updated_at)
  select pg_temp.k('org', o), pg_temp.k('quote', q), pg_temp.k('user', u), pg_temp.t(q + 5300), pg_temp.t(q + 5300)
  from (select distinct q, quo.o, u from quo join mem on mem.o = quo.o and (mem.m % 4 = quo.i % 4) union all select 1, 1, 52) x order by q, u;
insert into quote_versions (id, organization_id, quote_id, billing_entity_id, sequential_id, status, void_reason, approved_at, voided_at, currency, billing_items,
    mention_variables, content, share_token, created_at, updated_at)
  select pg_temp.k('quotever', q * 2 - 2 + j), pg_temp.k('org', o), pg_temp.k('quote', q), case when i > 2 then pg_temp.k('entity', o * 3 - 2) end, j,
    case when j = 1 then 'voided' when i = 4 then 'draft' else 'approved' end::quote_status, case j when 1 then 'superseded' end::quote_void_reason,
    case when j = 2 and i < 4 then pg_temp.t(q + 5320) end, case j when 1 then pg_temp.t(q + 5310) end, 'EUR', jsonb_build_object('plans', jsonb_build_array(jsonb_build_object('name', 'Plan ' || pg_temp.o(o)))),
    case when j = 2 and i < 4 then jsonb_build_object('customer_name', 'Customer ' || pg_temp.c(c), 'customer_email', pg_temp.c(c) || '@cust.example', 'organization_name', pg_temp.o(o)) end,
    'An offer of ' || pg_temp.o(o) || ' to ' || pg_temp.c(c), 'share-' || q || '-' || j || pg_temp.o(o), pg_temp.t(q + 5300 + j), pg_temp.t(q + 5300 + j)
  from quo, generate_series(1, 2) j;
insert into order_forms (id, organization_id, customer_id, quote_version_id, number, sequential_id, status, void_reason, expires_at, signed_at, voided_at, created_at, updated_at)
  select pg_temp.k('orderform', q), pg_temp.k('org', o), pg_temp.k('customer', c), pg_temp.k('quotever', q * 2), 'OF-2026-' || lpad(i::text, 4, '0'), i,
    (array['signed', 'signed', 'voided'])[i]::order_form_status, case i when 3 then 'manual' end::order_form_void_reason, pg_temp.t(q + 6000),
    case when i < 3 then pg_temp.t(q + 5330) end, case i when 3 then pg_temp.t(q + 5330) end, pg_temp.t(q + 5325), pg_temp.t(q + 5330)
  from quo where i < 4;
insert into orders (id, organization_id, customer_id, order_form_id, number, sequential_id, status, execution_mode, execution_record, execute_at, executed_at, created_at, updated_at)
  select pg_temp.k('order', q), pg_temp.k('org', o), pg_temp.k('customer', c), pg_temp.k('orderform', q), 'OR-2026-' || lpad(i::text, 4, '0'), i,
    (array['executed', 'failed'])[i]::order_status, 'execute_in_lago', jsonb_build_object('subscription_ids', jsonb_build_array(pg_temp.k('subscription', c)),
      'errors', case i when 2 then jsonb_build_array('No plan for ' || pg_temp.c(c)) else '[]' end), pg_temp.t(q + 5340), case i when 1 then pg_temp.t(q + 5341) end, pg_temp.t(q + 5335), pg_temp.t(q + 5341)
  from quo where i < 3;

-- What a member does for itself: conversations (some name a customer), exports (some search for a customer), and the exports of nobody.
insert into ai_conversations (id, organization_id, membership_id, name, mistral_conversation_id, created_at, updated_at)
  select pg_temp.k('ai', m * 2 + i), pg_temp.k('org', o), pg_temp.k('membership', m), 'Question of ' || pg_temp.u(u) || case when m % 4 = 1 and i = 1 then ' on ' || pg_temp.c((o - 1) * 15 + 1 + m % 5) else '' end,
    'conv_' || md5('ai' || m || '-' || i), pg_temp.t(m + 3000), pg_temp.t(m + 3000)
  from mem, generate_series(0, 1) i where m % 2 = 1;

create temp table exp as
  select row_number() over (order by m, i) as e, * from (
    select m, o, u, i from mem, generate_series(1, 2) i where m % 3 = 0
    union all select null, o, null, 1 from generate_series(1, 11) o) x;
insert into data_exports (id, organization_id, membership_id, format, resource_type, resource_query, status, started_at, completed_at, expires_at, created_at, updated_at)
  select pg_temp.k('dataexport', e), pg_temp.k('org', o), pg_temp.k('membership', m), 0, (array['invoices', 'credit_notes'])[i],
    jsonb_build_object('currency', 'EUR', 'search_term', coalesce('Search of ' || pg_temp.u(u), 'Search in ' || pg_temp.o(o)) || case when e % 3 = 0 then ' for ' || pg_temp.c((o - 1) * 15 + 2) else '' end),
    case when e % 5 = 0 then 3 else 2 end, pg_temp.t(e + 4000), pg_temp.t(e + 4001), pg_temp.t(e + 4169), pg_temp.t(e + 4000), pg_temp.t(e + 4001)
  from exp;
-- The lines of the file: data of the tenant's customers.
insert into data_export_parts (id, organization_id, data_export_id, index, object_ids, csv_lines, completed, created_at, updated_at)
  select pg_temp.k('exportpart', e * 2 + j), pg_temp.k('org', o), pg_temp.k('dataexport', e), j, array(select pg_temp.k('invoice', ((o - 1) * 15 + j * 3 + l) * 2) from generate_series(1, 3) l),
    (select string_agg(pg_temp.k('invoice', ((o - 1) * 15 + j * 3 + l) * 2) || ',cust_' || j * 3 + l || ',Customer ' || pg_temp.c((o - 1) * 15 + j * 3 + l) || ',' || pg_temp.c((o - 1) * 15 + j * 3 + l) || '@cust.example', E'\n')
      from generate_series(1, 3) l), true, pg_temp.t(e + 4000), pg_temp.t(e + 4000)
  from exp, generate_series(0, 1) j;

-- Files: of exports, invoices, order forms, quotes, organizations and billing entities, with equal record ids for different kinds, and of nothing.
create temp table att as
  select row_number() over (order by type, n) as b, * from (
    select 'DataExport' as type, 'dataexport' as kind, e as n, 'file' as name, coalesce(pg_temp.u(u), pg_temp.o(o)) as mark from exp where e % 5 <> 0
    union all select 'Invoice', 'invoice', c * 2, 'file', pg_temp.c(c) from cus where i <= 7
    union all select 'OrderForm', 'orderform', q, 'signed_document', pg_temp.c(c) from quo where i < 3
    union all select 'Quote', 'quote', q, 'images', pg_temp.o(o) from quo where i < 4
    union all select 'BillingEntity', 'entity', o * 3 - 2, 'logo', pg_temp.o(o) from generate_series(1, 11) o
    union all select 'Organization', 'org', o, 'logo', pg_temp.o(o) from generate_series(1, 11) o
    union all select null, null, n, null, pg_temp.o(1 + n % 11) from generate_series(1, 10) n) x;
insert into active_storage_blobs (id, key, filename, content_type, metadata, service_name, byte_size, checksum, created_at)
  select pg_temp.k('blob', b), md5('blob' || b), coalesce(name, 'unused') || '-' || mark, case when name in ('logo', 'images') then 'image/png' else 'text/csv' end,
    jsonb_build_object('identified', true, 'custom', 'Of ' || mark)::text, 'local', 1000 + b, md5('sum' || b), pg_temp.t(b + 4000) from att;
insert into active_storage_attachments (id, blob_id, name, record_type, record_id, created_at)
  select pg_temp.k('attachment', b), pg_temp.k('blob', b), name, type, pg_temp.k(kind, n), pg_temp.t(b + 4000) from att where type is not null;
insert into active_storage_variant_records (id, blob_id, variation_digest) select pg_temp.k('variant', b), pg_temp.k('blob', b), md5('variant' || b) from att where name = 'logo';

-- The history. An account is created and changes its password (the digest is in the json).
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select 'User', id::text, 'create', null, null, jsonb_build_object('id', jsonb_build_array(null, id), 'email', jsonb_build_array('', email), 'password_digest', jsonb_build_array(null, password_digest)), '1.30.0', created_at
  from users where right(id::text, 3)::int <= 58;
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select 'User', id::text, 'update', 'membership/unidentifiable', jsonb_build_object('id', id, 'email', email, 'password_digest', 'old-' || password_digest),
    jsonb_build_object('password_digest', jsonb_build_array('old-' || password_digest, password_digest)), '1.31.0', updated_at from users where right(id::text, 3)::int <= 58 and right(id::text, 3)::int % 6 = 0;
-- An account that is gone, with a membership that is gone as actor.
insert into versions (item_type, item_id, event, whodunnit, object, lago_version, created_at)
  select 'User', pg_temp.k('user', n)::text, 'destroy', 'membership/' || pg_temp.k('membership', n), jsonb_build_object('id', pg_temp.k('user', n), 'email', pg_temp.u(n) || '@mail.example'), '1.31.0', pg_temp.t(n)
  from generate_series(901, 905) n;
-- A membership: only ids, so no mark. It is created by nobody or by another member, and ended by another member.
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select 'Membership', pg_temp.k('membership', mem.m)::text, 'create', case when a.m <> mem.m then 'membership/' || pg_temp.k('membership', a.m) end, null,
    jsonb_build_object('id', jsonb_build_array(null, pg_temp.k('membership', mem.m)), 'user_id', jsonb_build_array(null, pg_temp.k('user', mem.u)), 'organization_id', jsonb_build_array(null, pg_temp.k('org', mem.o))), '1.30.0', pg_temp.t(mem.m)
  from mem join actor a on a.o = mem.o and a.i = 1
  union all
  select 'Membership', pg_temp.k('membership', mem.m)::text, 'update', 'membership/' || pg_temp.k('membership', a.m), jsonb_build_object('id', pg_temp.k('membership', mem.m), 'user_id', pg_temp.k('user', mem.u), 'status', 'active'),
    jsonb_build_object('status', jsonb_build_array('active', 'revoked')), '1.31.0', pg_temp.t(mem.m + 600)
  from mem join actor a on a.o = mem.o and a.i = 2 where revoked;
-- An invitation: the inviter is only here, and the address of the invited person is in the row that the inviter made.
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select 'Invite', t.id::text, 'create', case when n % 7 = 0 then 'membership/unidentifiable' when a.m is not null then 'membership/' || pg_temp.k('membership', a.m) end, null,
    jsonb_build_object('email', jsonb_build_array('', t.email), 'token', jsonb_build_array(null, t.token), 'roles', jsonb_build_array('[]'::jsonb, to_jsonb(t.roles))), '1.30.0', t.created_at
  from inv join invites t on t.id = pg_temp.k('invite', n) left join actor a on a.o = inv.o and a.i = 1 + n % 3 and a.u is distinct from inv.u
  union all
  select 'Invite', t.id::text, 'update', null, jsonb_build_object('email', t.email, 'token', t.token, 'status', 'pending'), jsonb_build_object('status', jsonb_build_array('pending', case t.status when 1 then 'accepted' else 'revoked' end)), '1.31.0', t.updated_at
  from invites t where t.status > 0;
-- What members, the interface (unidentifiable) and jobs (null) do to the tenant's things; the numbers are equal for all kinds.
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select type, pg_temp.k(kind, cus.c)::text, event, case cus.c % 5 when 0 then null when 1 then 'membership/unidentifiable' else 'membership/' || pg_temp.k('membership', a.m) end,
    case event when 'create' then null else jsonb_build_object('name', 'Customer ' || pg_temp.c(cus.c), 'email', pg_temp.c(cus.c) || '@cust.example') end,
    jsonb_build_object('name', jsonb_build_array(case event when 'update' then 'Old ' || pg_temp.c(cus.c) end, 'Customer ' || pg_temp.c(cus.c))), '1.31.0', pg_temp.t(cus.c + 700)
  from cus cross join (values ('Customer', 'customer', 'create'), ('Customer', 'customer', 'update'), ('Subscription', 'subscription', 'create'), ('Invoice', 'invoice', 'update')) k (type, kind, event)
  left join actor a on a.o = cus.o and a.i = 1 + cus.i % 4 where a.m is not null or cus.c % 5 < 2;
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select type, pg_temp.k(kind, case kind when 'org' then a.o when 'entity' then a.o * 3 - 2 when 'plan' then a.o * 4 - 3 else a.o * 2 - 1 end)::text, 'update', 'membership/' || pg_temp.k('membership', a.m),
    case kind when 'apikey' then jsonb_build_object('name', 'Key of ' || pg_temp.o(a.o), 'value', 'lago-key-1' || pg_temp.o(a.o)) else jsonb_build_object('name', 'Old ' || pg_temp.o(a.o)) end,
    jsonb_build_object('name', jsonb_build_array('Old ' || pg_temp.o(a.o), 'New ' || pg_temp.o(a.o))), '1.31.0', pg_temp.t(a.m + 720)
  from actor a cross join (values ('Organization', 'org'), ('BillingEntity', 'entity'), ('Plan', 'plan'), ('ApiKey', 'apikey')) k (type, kind) where a.i <= 3;
-- What a member did before it was put out.
insert into versions (item_type, item_id, event, whodunnit, object, object_changes, lago_version, created_at)
  select 'Customer', pg_temp.k('customer', o * 15 - 12 + i)::text, 'update', 'membership/' || pg_temp.k('membership', m), jsonb_build_object('name', 'Older ' || pg_temp.c(o * 15 - 12 + i)),
    jsonb_build_object('name', jsonb_build_array('Older ' || pg_temp.c(o * 15 - 12 + i), 'Old ' || pg_temp.c(o * 15 - 12 + i))), '1.30.0', pg_temp.t(m + 100)
  from mem, generate_series(1, 2) i where revoked;

-- More that hangs on any model.
insert into item_metadata (id, organization_id, owner_type, owner_id, value, created_at, updated_at)
  select pg_temp.k('itemmeta', c * 3 + j), pg_temp.k('org', o), (array['CreditNote', 'Plan', 'Subscription'])[j + 1], pg_temp.k((array['creditnote', 'plan', 'subscription'])[j + 1], c),
    jsonb_build_object('note', 'About ' || pg_temp.c(c), 'sales', pg_temp.u(1 + c % 50) || '@mail.example'), pg_temp.t(c), pg_temp.t(c)
  from cus, generate_series(0, 2) j where i <= 8 and (j <> 1 or c <= 44);
insert into error_details (id, organization_id, owner_type, owner_id, error_code, details, deleted_at, created_at, updated_at)
  select pg_temp.k('errdetail', c * 2 + j), pg_temp.k('org', o), (array['Invoice', 'CreditNote'])[j + 1], pg_temp.k((array['invoice', 'creditnote'])[j + 1], c), 3 - j * 2,
    jsonb_build_object('error', 'No tax for ' || pg_temp.c(c)), case when i = 2 then pg_temp.t(c + 900) end, pg_temp.t(c), pg_temp.t(c)
  from cus, generate_series(0, 1) j where i <= 4;

-- Usage: in the partition of one month and in the rest.
insert into enriched_events (id, organization_id, event_id, subscription_id, plan_id, charge_id, transaction_id, external_subscription_id, code, "timestamp", enriched_at,
    grouped_by, value, decimal_value, operation_type)
  select pg_temp.k('enriched', c * 4 + j), pg_temp.k('org', o), pg_temp.k('event', c * 4 + j), pg_temp.k('subscription', c), pg_temp.k('plan', o * 4 - 3), pg_temp.k('charge', o), 'tx_' || j, 'sub_' || i, 'api_calls',
    timestamp '2025-12-15' + j * interval '20 days' + c * interval '1 minute', timestamp '2026-03-01', jsonb_build_object('person', pg_temp.c(c)), pg_temp.c(c), j, 'add'
  from cus, generate_series(0, 3) j;

-- Nobody's.
insert into idempotency_records (id, organization_id, idempotency_key, resource_type, resource_id, created_at, updated_at)
  select pg_temp.k('idem', n), case when n % 2 = 0 then pg_temp.k('org', 1 + n % 11) end, decode(md5('idem' || n), 'hex'), (array['Invoice', 'Customer', null])[1 + n % 3],
    case n % 3 when 0 then pg_temp.k('invoice', n) when 1 then pg_temp.k('customer', n) end, pg_temp.t(n), pg_temp.t(n) from generate_series(1, 40) n;
insert into schema_migrations select (20250101000000 + n * 1000000)::text from generate_series(0, 29) n;
insert into ar_internal_metadata values ('environment', 'production', pg_temp.t(0), pg_temp.t(0)), ('schema_sha1', md5('schema'), pg_temp.t(0), pg_temp.t(0));

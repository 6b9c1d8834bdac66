-- chatwoot: 60 users, 10 accounts (tenants). Users 1-44 and 57 are agents, every fourth in two accounts, every twelfth in three. 45-50 were agents
-- of one account: the membership is gone, what they wrote and set up is still there. 51-56 are in no account, 57 and 58 are super admins, 59 and 60
-- have nothing beside the account row. Account 10 has no agents, account 9 is suspended. Users 901-910 are gone (one per account); rows that name
-- them are nobody's. Numbers are equal for all kinds (user 7, account 7, contact 7, bot 7, conversation 7). There are no columns for soft deletion;
-- a deleted message says so in its attributes.
create function pg_temp.u(n bigint) returns text immutable language sql as $$ select '~u:' || n || '~' $$;
create function pg_temp.o(n bigint) returns text immutable language sql as $$ select '~o:' || n || '~' $$;
create function pg_temp.c(n bigint) returns text immutable language sql as $$ select '~c:' || n || '~' $$;
create function pg_temp.t(h bigint) returns timestamp immutable language sql as $$ select timestamp '2026-01-05 08:00' + h * interval '1 hour' $$;

insert into users (id, provider, uid, encrypted_password, reset_password_token, reset_password_sent_at, remember_created_at, sign_in_count, current_sign_in_at,
    last_sign_in_at, current_sign_in_ip, last_sign_in_ip, confirmation_token, confirmed_at, confirmation_sent_at, unconfirmed_email, name, display_name, email,
    tokens, created_at, updated_at, pubsub_token, availability, ui_settings, custom_attributes, type, message_signature, otp_secret, consumed_timestep,
    otp_required_for_login, otp_backup_codes)
  select n, case when n % 10 = 0 then 'google_oauth2' else 'email' end, m || '@mail.example', '$2a$11$' || m, case when n % 6 = 0 then 'reset-' || m end,
    case when n % 6 = 0 then pg_temp.t(n) end, case when n % 3 = 0 then pg_temp.t(n) end, n, pg_temp.t(n + 9), pg_temp.t(n + 4), '10.0.0.' || n || ' ' || m,
    '10.0.1.' || n || ' ' || m, case when n % 8 = 0 then 'confirm-' || m end, case when n % 8 > 0 then pg_temp.t(n) end, pg_temp.t(n),
    case when n % 9 = 0 then 'new-' || m || '@mail.example' end, 'Agent ' || m, case when n % 4 > 0 then 'Ag. ' || m end, m || '@mail.example',
    case when n <= 56 then json_build_object('client-1', json_build_object('token', '$2a$10$' || m, 'expiry', 1780000000 + n)) end, pg_temp.t(n), pg_temp.t(n + 9),
    'pubsub-' || m, n % 3, jsonb_build_object('rtl_view', false, 'editor_note', 'Set by ' || m), jsonb_build_object('phone_number', 'Phone of ' || m),
    case when n in (57, 58) then 'SuperAdmin' end, case when n % 2 = 0 then 'Kind regards, ' || m end, case when n % 5 = 0 then 'otp-' || m end,
    case when n % 5 = 0 then 5900000 + n end, n % 5 = 0, case when n % 5 = 0 then '["$2a$11$code-' || m || '"]' end
  from generate_series(1, 60) n, pg_temp.u(n) m;

insert into accounts (id, name, created_at, updated_at, locale, domain, support_email, feature_flags, auto_resolve_duration, limits, custom_attributes, status,
    internal_attributes, settings)
  select n, 'Account ' || m, pg_temp.t(n), pg_temp.t(n), n % 3, m || '.example', 'support@' || m || '.example', 9007199254740993, 14400, '{"agents": 20, "inboxes": 10}',
    jsonb_build_object('industry', 'Trade of ' || m, 'stripe_customer_id', 'cus_' || m), (n = 9)::int, jsonb_build_object('suspension_reason', 'Unpaid bill of ' || m),
    jsonb_build_object('auto_resolve_after', 14400, 'auto_resolve_message', 'Closed by ' || m)
  from generate_series(1, 10) n, pg_temp.o(n) m;

create temp table mem as
  select row_number() over (order by u, o) as m, * from (
    select 1 + u % 9 as o, u, false as former from generate_series(1, 44) u
    union all select 1 + (u + 3) % 9, u, false from generate_series(1, 44) u where u % 4 = 0
    union all select 1 + (u + 6) % 9, u, false from generate_series(1, 44) u where u % 12 = 0
    union all select 1, 57, false
    union all select 1 + u % 9, u, true from generate_series(45, 50) u) x;
-- Agents of an account in order: those that are in it now, and with those that were.
create temp table cur as select o, u, m, row_number() over (partition by o order by m) - 1 as i, count(*) over (partition by o) as n from mem where not former;
create temp table act as select o, u, m, row_number() over (partition by o order by m) - 1 as i, count(*) over (partition by o) as n from mem;

insert into account_users (id, account_id, user_id, role, inviter_id, created_at, updated_at, active_at, availability, auto_offline, custom_role_id, agent_capacity_policy_id)
  select cur.m, cur.o, cur.u, (cur.i = 0)::int, case when cur.i > 0 then a.u end, pg_temp.t(cur.m), pg_temp.t(cur.m), pg_temp.t(cur.m + 100), cur.m % 3, true,
    case when cur.m % 7 = 0 then cur.o end, case when cur.m % 5 = 0 then cur.o end
  from cur join cur a on a.o = cur.o and a.i = 0;

insert into access_tokens (owner_type, owner_id, token, created_at, updated_at)
  select 'User', n, 'token-' || pg_temp.u(n), pg_temp.t(n), pg_temp.t(n) from generate_series(1, 58) n
  union all select 'AgentBot', n, 'bot-token-' || pg_temp.o(n), pg_temp.t(n), pg_temp.t(n) from generate_series(1, 10) n
  union all select 'PlatformApp', n, 'platform-token-' || n, pg_temp.t(n), pg_temp.t(n) from generate_series(1, 3) n;
insert into user_sessions (user_id, client_id, ip_address, user_agent, browser_name, browser_version, device_name, platform_name, platform_version, city, country,
    country_code, last_activity_at, created_at, updated_at)
  select n, 'client-' || i, '10.1.' || i || '.' || n || ' ' || m, 'Mozilla/5.0 of ' || m, 'Firefox', '140.0', 'Laptop of ' || m, 'Linux', '6.1', 'City of ' || m, 'Country of ' || m,
    'DE', case when i = 1 then pg_temp.t(n + 300) end, pg_temp.t(n + 200), pg_temp.t(n + 300)
  from generate_series(1, 56) n, generate_series(1, 3) i, pg_temp.u(n) m where i <= 1 + n % 3;
-- The last three rows are of no agent, or of one that is gone.
insert into notification_settings (account_id, user_id, email_flags, push_flags, created_at, updated_at)
  select o, u, m % 32, m % 64, pg_temp.t(m), pg_temp.t(m) from cur union all select o, null, 0, 0, pg_temp.t(o), pg_temp.t(o) from generate_series(1, 2) o
  union all select 3, 903, 1, 1, pg_temp.t(3), pg_temp.t(3);
insert into notification_subscriptions (user_id, subscription_type, subscription_attributes, identifier, created_at, updated_at)
  select n, i, case i when 1 then jsonb_build_object('endpoint', 'https://push.example/' || m, 'p256dh', 'key-' || m, 'auth', 'auth-' || m)
    else jsonb_build_object('device_id', 'device-' || m, 'push_token', 'push-' || m, 'platform', 'ios') end, 'subscription-' || i || '-' || m, pg_temp.t(n + 200), pg_temp.t(n + 200)
  from generate_series(1, 56) n, generate_series(1, 2) i, pg_temp.u(n) m where i = 1 or n % 3 = 0;

insert into portals (id, account_id, name, slug, custom_domain, color, homepage_link, page_title, header_text, archived, ssl_settings, created_at, updated_at)
  select n, n, 'Help of ' || m, 'help-' || m, case when n % 3 = 0 then 'help.' || m || '.example' end, '#1f93ff', 'https://' || m || '.example', 'Page of ' || m, 'Welcome to ' || m,
    n = 8, jsonb_build_object('cf_verification_body', 'secret-' || m), pg_temp.t(n), pg_temp.t(n)
  from generate_series(1, 10) n, pg_temp.o(n) m;
insert into portals_members (portal_id, user_id) select o, u from act where i % 2 = 0 union all select 4, 904;
-- Articles: of an agent, of nobody, and of authors that are gone.
insert into articles (id, account_id, portal_id, category_id, title, description, content, status, views, author_id, associated_article_id, meta, slug, position, locale, created_at, updated_at)
  select k, o, o, o, 'Title of ' || m, 'Description of ' || m, 'Text of ' || m, j % 3, k * 3, a, case when j = 2 then k - 1 end,
    jsonb_build_object('title', 'Meta of ' || m, 'tags', jsonb_build_array('tag of ' || m)), k || '-' || m, j * 10, case j when 2 then 'de' else 'en' end, pg_temp.t(k), pg_temp.t(k)
  from generate_series(1, 10) o, generate_series(1, 6) j, lateral (select (o - 1) * 6 + j as k) k
  left join lateral (select u from act where act.o = o.o and act.i = (k * 5) % act.n) w on true,
  lateral (select case j when 3 then null when 4 then 900 + o else w.u end as a) a, lateral (select coalesce(pg_temp.u(a), pg_temp.o(o)) as m) m;

insert into inboxes (id, channel_id, account_id, name, channel_type, greeting_enabled, greeting_message, email_address, out_of_office_message, portal_id, business_name,
    auto_assignment_config, csat_config, created_at, updated_at)
  select (o - 1) * 3 + i, o, o, 'Support ' || m, (array['Channel::WebWidget', 'Channel::Email', 'Channel::Api'])[i], i = 1, 'Hello from ' || m, case i when 2 then 'support@' || m || '.example' end,
    'Closed, ' || m, case i when 1 then o end, 'Business ' || m, '{"max_assignment_limit": 20}', jsonb_build_object('message', 'Rate ' || m), pg_temp.t(o), pg_temp.t(o)
  from generate_series(1, 10) o, generate_series(1, 3) i, pg_temp.o(o) m;
insert into inbox_members (user_id, inbox_id, created_at, updated_at)
  select u, (o - 1) * 3 + 1 + (m + j) % 3, pg_temp.t(m), pg_temp.t(m) from cur, generate_series(0, 1) j where j = 0 or m % 2 = 0 union all select 905, 13, pg_temp.t(5), pg_temp.t(5);
-- A team has the same name in each account.
insert into teams (id, name, description, account_id, created_at, updated_at)
  select (o - 1) * 2 + i, (array['sales', 'support'])[i], 'Team of ' || pg_temp.o(o), o, pg_temp.t(o), pg_temp.t(o) from generate_series(1, 10) o, generate_series(1, 2) i;
insert into team_members (team_id, user_id, created_at, updated_at)
  select o * 2 - m % 2, u, pg_temp.t(m), pg_temp.t(m) from cur union all select 2, 901, pg_temp.t(1), pg_temp.t(1);
insert into leaves (account_id, user_id, start_date, end_date, leave_type, status, reason, approved_by_id, approved_at, created_at, updated_at)
  select act.o, act.u, date '2026-03-01' + act.m::int, date '2026-03-05' + act.m::int, act.m % 5, act.m % 4, 'A doctor sees ' || pg_temp.u(act.u), case when act.m % 4 = 1 then a.u end,
    case when act.m % 4 = 1 then pg_temp.t(act.m + 50) end, pg_temp.t(act.m), pg_temp.t(act.m)
  from act join cur a on a.o = act.o and a.i = 0 where act.m % 3 > 0;

-- Contacts: some have the mail address of an agent of another account (and are contacts all the same). Identifiers start again in each account.
create temp table con as select (o - 1) * 12 + i as c, o, i from generate_series(1, 10) o, generate_series(1, 12) i;
insert into contacts (id, name, email, phone_number, account_id, additional_attributes, identifier, custom_attributes, last_activity_at, contact_type, middle_name, last_name,
    location, country_code, blocked, company_id, created_at, updated_at)
  select c, 'Contact ' || m, case when i = 5 then null when i = 6 then pg_temp.u(o * 4) || '@mail.example' else m || '@cust.example' end, 'Phone ' || m, o,
    jsonb_build_object('city', 'City of ' || m, 'company_name', 'Company of ' || m, 'social_profiles', jsonb_build_object('github', 'gh-' || m)), case when i <> 7 then 'crm-' || i end,
    jsonb_build_object('plan_note', 'Plan of ' || m), pg_temp.t(c + 400), i % 3, 'M. ' || m, 'Last ' || m, 'Place of ' || m, 'DE', i = 9, case when i % 2 = 0 then o end, pg_temp.t(c), pg_temp.t(c)
  from con, pg_temp.c(c) m;
-- Notes: the author of every seventh is gone (the column is empty then), of some the number of a gone author is still there.
insert into notes (id, content, account_id, contact_id, user_id, created_at, updated_at)
  select c * 2 - j, 'Note of ' || coalesce(pg_temp.u(a), pg_temp.u(900 + o)) || ' on ' || pg_temp.c(c), o, c, a, pg_temp.t(c + 500 + j), pg_temp.t(c + 500 + j)
  from con cross join generate_series(0, 1) j left join lateral (select u from act where act.o = con.o and act.i = (con.i + j) % act.n) w on true,
  lateral (select case when c % 7 = 0 then null when c % 7 = 1 and j = 1 then 900 + o else w.u end as a) a;

-- Conversations: numbers (display_id) start again in each account. Every fifth is assigned to nobody, those of account 10 too.
create temp table conv as
  select v, con.c, con.o, con.i, v - (con.o - 1) * 24 as d, (con.o - 1) * 3 + 1 + v % 3 as x, case when v % 5 > 0 then cur.u end as a
  from con cross join generate_series(0, 1) k cross join lateral (select con.c * 2 - 1 + k as v) v left join cur on cur.o = con.o and cur.i = v % cur.n;
insert into conversations (id, account_id, inbox_id, status, assignee_id, contact_id, display_id, contact_last_seen_at, agent_last_seen_at, additional_attributes, contact_inbox_id, uuid,
    identifier, last_activity_at, team_id, campaign_id, snoozed_until, custom_attributes, assignee_last_seen_at, first_reply_created_at, priority, sla_policy_id, waiting_since,
    cached_label_list, assignee_agent_bot_id, created_at, updated_at)
  select v, o, x, v % 4, a, c, d, pg_temp.t(v + 610), pg_temp.t(v + 611), case when v % 3 = 1 then jsonb_build_object('source', 'email', 'mail_subject', 'Question of ' || m)
      else jsonb_build_object('browser', jsonb_build_object('browser_name', 'Firefox'), 'referer', 'https://shop.example/' || m, 'initiated_at', jsonb_build_object('timestamp', 'Seen by ' || m)) end,
    v, md5('conversation' || v)::uuid, case when v % 6 = 0 then 'ext-' || m end, pg_temp.t(v + 620), case when v % 3 = 0 then o * 2 end, case when v % 8 = 0 then o * 2 end,
    case when v % 4 = 3 then pg_temp.t(v + 900) end, jsonb_build_object('order', 'Order of ' || m), case when a is not null then pg_temp.t(v + 612) end, pg_temp.t(v + 602), v % 4, null,
    case when v % 2 = 0 then pg_temp.t(v + 615) end, case when v % 3 = 0 then 'billing, vip' end, case when a is null then o end, pg_temp.t(v + 600), pg_temp.t(v + 620)
  from conv, pg_temp.c(c) m;
insert into conversation_participants (account_id, user_id, conversation_id, created_at, updated_at)
  select distinct conv.o, cur.u, v, pg_temp.t(v + 605), pg_temp.t(v + 605) from conv, generate_series(1, 2) j, cur where cur.o = conv.o and cur.i = (v + j) % cur.n
  union all select 1, 901, v, pg_temp.t(v + 605), pg_temp.t(v + 605) from generate_series(1, 4) v order by 3, 2;
-- Who is named in the note of the conversation (message 6 below).
create temp table named as select conv.v, conv.o, cur.u from conv join cur on cur.o = conv.o and cur.i = (v + 3) % cur.n where v % 3 = 0;
insert into mentions (user_id, conversation_id, account_id, mentioned_at, created_at, updated_at)
  select u, v, o, pg_temp.t(v + 606), pg_temp.t(v + 606), pg_temp.t(v + 606) from named union all select 902, 30, 2, pg_temp.t(30), pg_temp.t(30), pg_temp.t(30);
insert into notifications (account_id, user_id, notification_type, primary_actor_type, primary_actor_id, secondary_actor_type, secondary_actor_id, read_at, snoozed_until, last_activity_at, meta,
    created_at, updated_at)
  select o, a, 2, 'Conversation', v, null, null, case when v % 2 = 0 then pg_temp.t(v + 700) end, case when v % 9 = 0 then pg_temp.t(v + 800) end, pg_temp.t(v + 601), '{}'::jsonb, pg_temp.t(v + 601), pg_temp.t(v + 601)
  from conv where a is not null
  union all select o, u, 4, 'Conversation', v, 'Message', v * 9 - 3, null, null, pg_temp.t(v + 606), '{}', pg_temp.t(v + 606), pg_temp.t(v + 606) from named
  union all select 2, 902, 4, 'Conversation', 30, 'Message', 267, null, null, pg_temp.t(636), '{}', pg_temp.t(636), pg_temp.t(636)
  union all select o, a, 7, 'Conversation', v, 'SlaPolicy', o, null, null, pg_temp.t(v + 620), jsonb_build_object('sla_policy_id', o), pg_temp.t(v + 620), pg_temp.t(v + 620) from conv where a is not null and v % 10 = 1;

-- Messages: 1 and 4 are of the contact, 2 of a bot, 3 of an agent (or of one that left), 5 is what happened, 6 is a note in which an agent names another (by number;
-- the words are the author's), 7 of the assistant, 8 of an agent and deleted, 9 asks for a rating. The attributes are json inside a json string, as the platform writes them.
create temp table msg as
  select conv.v * 9 - 9 + j as id, conv.*, j, q.type, coalesce(q.sender, case when q.type is not null and q.type = 'User' then 900 + conv.o end) as sender, q.other
  from conv cross join generate_series(1, 9) j
  left join act w on w.o = conv.o and w.i = (conv.v + case j when 3 then 1 else 0 end) % w.n left join cur z on z.o = conv.o and z.i = (conv.v + 2) % z.n
  left join cur p on p.o = conv.o and p.i = (conv.v + 4) % p.n left join named on named.v = conv.v,
  lateral (select case j when 1 then 'Contact' when 4 then 'Contact' when 2 then 'AgentBot' when 7 then 'Captain::Assistant' when 5 then null when 9 then null
      else case when conv.v % 11 > 0 then 'User' end end as type,
    case j when 1 then c when 4 then c when 2 then conv.o when 7 then conv.o when 3 then w.u when 6 then z.u when 8 then w.u end as sender,
    case j when 6 then named.u when 3 then p.u end as other) q;
-- The sender of every eleventh conversation's messages is gone: the pair is empty.
update msg set sender = null where type is null;
insert into messages (id, content, account_id, inbox_id, conversation_id, message_type, private, status, source_id, content_type, content_attributes, sender_type, sender_id,
    external_source_ids, additional_attributes, processed_message_content, sentiment, created_at, updated_at)
  select id, content, o, x, v, case when j in (1, 4) then 0 when j = 5 then 2 when j in (2, 9) then 3 else 1 end, j = 6, j % 3, case when j in (1, 3) and v % 3 = 1 then '<msg-' || id || '@mail>' end,
    case when j = 9 then 9 when j in (1, 4) and v % 3 = 1 then 8 else 0 end, case when attributes is null then '{}' else to_json(attributes::text) end, type, sender,
    case when v % 20 = 0 then jsonb_build_object('slack', id) else '{}' end,
    case when j = 3 and v % 3 = 2 then jsonb_build_object('template_params', jsonb_build_object('name', 'greeting', 'processed_params', jsonb_build_object('1', 'Dear ' || pg_temp.c(c))))
      when j = 3 and v % 8 = 0 then jsonb_build_object('campaign_id', o * 2) else '{}' end,
    case when j <> 5 then content end, case when j = 1 then '{"label": "neutral", "score": 0.5}'::jsonb else '{}' end, pg_temp.t(v + 600 + j), pg_temp.t(v + 600 + j)
  from msg, lateral (select case when type = 'User' then pg_temp.u(sender) else pg_temp.u(900 + o) end as m) m,
  lateral (select case j when 1 then 'Question of ' || pg_temp.c(c) when 4 then 'Thanks from ' || pg_temp.c(c) when 2 then 'The bot greets ' || pg_temp.c(c) when 3 then 'Reply of ' || m
      when 5 then case when a is null then 'Opened by ' || pg_temp.c(c) else 'Assigned to ' || pg_temp.u(a) || ' by ' || coalesce(pg_temp.u((select u from cur where cur.o = msg.o and i = 0)), '') end
      when 6 then 'Note of ' || m || coalesce(' for [@Agent ' || other || '](mention://user/' || other || '/Agent%20' || other || ')', '') when 7 then 'The assistant answers ' || pg_temp.c(c)
      when 8 then 'This message was deleted, ' || m else 'Please rate us, ' || pg_temp.c(c) end as content) content,
  lateral (select case when j in (1, 4) and v % 3 = 1 then jsonb_build_object('email', jsonb_build_object('from', jsonb_build_array(pg_temp.c(c) || '@cust.example'), 'subject', 'Question of ' || pg_temp.c(c),
        'cc', jsonb_build_array(coalesce(pg_temp.u(a), pg_temp.o(o)) || '@mail.example')))
      when j = 3 and v % 3 = 1 then jsonb_build_object('to_emails', jsonb_build_array(pg_temp.c(c) || '@cust.example'), 'cc_emails', jsonb_build_array(coalesce(pg_temp.u(other), pg_temp.o(o)) || '@mail.example'),
        'bcc_emails', '[]'::jsonb)
      when j = 3 then jsonb_build_object('in_reply_to', id - 2) when j = 8 then jsonb_build_object('deleted', true)
      when j = 9 and v % 4 = 0 then jsonb_build_object('submitted_values', jsonb_build_object('csat_survey_response', jsonb_build_object('rating', 1 + v % 5, 'feedback_message', 'Feedback of ' || pg_temp.c(c)))) end as attributes) y;
insert into attachments (id, file_type, external_url, coordinates_lat, message_id, account_id, fallback_title, extension, meta, created_at, updated_at)
  select row_number() over (order by id), case when j = 6 then 1 else 3 end, case when v % 4 = 0 then 'https://files.example/' || m end, v / 8.0, id, o, 'File of ' || m, 'pdf',
    case when j = 6 then jsonb_build_object('transcribed_text', 'Voice of ' || m) else '{}' end, pg_temp.t(v + 600 + j), pg_temp.t(v + 600 + j)
  from msg, lateral (select case when type = 'User' then pg_temp.u(sender) when type = 'Contact' then pg_temp.c(c) else pg_temp.u(900 + o) end as m) m
  where j = 3 and v % 2 = 0 or j = 1 and v % 3 = 0 or j = 6 and v % 5 = 0;
-- Calls: the phones of other agents rang too.
insert into calls (id, account_id, inbox_id, conversation_id, contact_id, message_id, accepted_by_agent_id, provider_call_id, provider, direction, status, started_at, duration_seconds, end_reason, meta,
    transcript, ring_state, created_at, updated_at)
  select v, conv.o, x, v, c, v * 9 - 8, u, 'CA' || md5('call' || v), v % 2, v / 2 % 2, case when u is null then 'no_answer' else 'completed' end, case when u is not null then pg_temp.t(v + 603) end,
    case when u is not null then v end, case when u is null then 'timeout' else 'hangup' end, jsonb_build_object('conference_sid', 'conf_account_' || conv.o || '_call_' || v, 'recording_enabled', true),
    case when u is not null then 'Agent ' || pg_temp.u(u) || ': hello. Caller ' || pg_temp.c(c) || ': hello.' end,
    jsonb_build_object('rung_devices', (select coalesce(jsonb_agg('subscription-2-' || pg_temp.u(k.u) order by k.u), '[]') from cur k where k.o = conv.o)), pg_temp.t(v + 603), pg_temp.t(v + 604)
  from conv left join lateral (select u from cur where cur.o = conv.o and cur.i = conv.v / 6 % cur.n and conv.v % 4 > 0) w on true where v % 6 in (1, 2);
insert into csat_survey_responses (account_id, conversation_id, message_id, rating, feedback_message, contact_id, assigned_agent_id, created_at, updated_at)
  select o, v, v * 9, 1 + v % 5, 'Feedback of ' || pg_temp.c(c) || coalesce(' on ' || pg_temp.u(a), ''), c, a, pg_temp.t(v + 630), pg_temp.t(v + 630) from conv where v % 4 = 0;
insert into reporting_events (name, value, account_id, inbox_id, user_id, conversation_id, value_in_business_hours, event_start_time, event_end_time, created_at, updated_at)
  select (array['first_response', 'reply_time', 'conversation_resolved'])[k], v * k / 8.0, conv.o, x, case when k = 3 then a when v % 13 = 0 then 900 + conv.o else w.u end, v, v / 16.0,
    pg_temp.t(v + 600), pg_temp.t(v + 602), pg_temp.t(v + 602), pg_temp.t(v + 602)
  from conv cross join generate_series(1, 3) k left join act w on w.o = conv.o and w.i = (v + 1) % w.n;

-- What agents set up. A search can name a contact.
insert into custom_filters (name, filter_type, query, account_id, user_id, created_at, updated_at)
  select 'View of ' || pg_temp.u(u), k, case k when 0 then '{"payload": [{"attribute_key": "status", "filter_operator": "equal_to", "values": ["open"]}]}'
      else jsonb_build_object('payload', jsonb_build_array(jsonb_build_object('attribute_key', 'email', 'filter_operator', 'equal_to', 'values', jsonb_build_array(pg_temp.c((o - 1) * 12 + 1 + m % 12) || '@cust.example')))) end,
    o, u, pg_temp.t(m + 100), pg_temp.t(m + 100) from act, generate_series(0, 1) k where k = 0 or m % 4 = 0;
insert into dashboard_apps (title, content, account_id, user_id, created_at, updated_at)
  select 'App of ' || m, jsonb_build_array(jsonb_build_object('type', 'frame', 'url', 'https://apps.example/' || m)), o, a, pg_temp.t(o + k), pg_temp.t(o + k)
  from generate_series(1, 10) o, generate_series(0, 2) k, lateral (select case when k < 2 then (select u from act where act.o = o.o and i = (o.o + k) % n) end as a) a,
  lateral (select coalesce(pg_temp.u(a), pg_temp.o(o)) as m) m;
-- Macros: personal ones, and ones for all, which stay when the agent that made them is gone.
create temp table mac as
  select row_number() over (order by o, m, k) as id, * from (
    select o, m, u, k, i, n from act, generate_series(0, 1) k where k = 0 or m % 2 = 0 union all select o, 0, 900 + o, 1, 0, 1 from generate_series(1, 10) o) x;
insert into macros (id, account_id, name, visibility, created_by_id, updated_by_id, actions, created_at, updated_at)
  select id, mac.o, 'Macro of ' || pg_temp.u(mac.u), k, mac.u, w.u, jsonb_build_array(jsonb_build_object('action_name', 'assign_agent', 'action_params', jsonb_build_array(w.u)),
      jsonb_build_object('action_name', 'send_message', 'action_params', jsonb_build_array('Regards, ' || pg_temp.u(mac.u))),
      jsonb_build_object('action_name', 'send_email_transcript', 'action_params', jsonb_build_array(coalesce(pg_temp.u(w.u), pg_temp.o(mac.o)) || '@mail.example'))), pg_temp.t(id + 150), pg_temp.t(id + 160)
  from mac left join cur w on w.o = mac.o and w.i = (mac.i + 1) % w.n;
insert into campaigns (id, display_id, title, description, message, sender_id, account_id, inbox_id, trigger_rules, campaign_type, campaign_status, audience, scheduled_at, template_params, created_at, updated_at)
  select o * 3 - 3 + k, k, 'Campaign of ' || m, 'About ' || m, 'Hello, I am ' || m, a, o, o * 3 - 2, jsonb_build_object('url', 'https://shop.example/' || m, 'time_on_page', 10), k % 2, k % 2,
    jsonb_build_array(jsonb_build_object('id', o, 'type', 'Label')), pg_temp.t(o + k + 400), case when k = 2 then jsonb_build_object('name', 'offer of ' || m) end, pg_temp.t(o + 300), pg_temp.t(o + 300)
  from generate_series(1, 10) o, generate_series(1, 3) k, lateral (select case k when 3 then null else (select u from act where act.o = o.o and i = (o.o * 2 + k) % n) end as a) a,
  lateral (select coalesce(pg_temp.u(a), pg_temp.o(o)) as m) m;
-- The assistant of the agents: its thoughts name the agent who answered last.
create temp table thr as select row_number() over (order by m, k) as id, o, m, u, k, i from act, generate_series(1, 2) k where m % 2 = 0;
insert into copilot_threads (id, title, user_id, account_id, assistant_id, created_at, updated_at)
  select id, 'Asked by ' || pg_temp.u(u), u, o, o, pg_temp.t(id + 700), pg_temp.t(id + 700) from thr;
insert into copilot_messages (copilot_thread_id, account_id, message_type, message, created_at, updated_at)
  select id, thr.o, j, case j when 0 then jsonb_build_object('content', 'Question of ' || pg_temp.u(thr.u))
      when 1 then jsonb_build_object('content', 'Answer to ' || pg_temp.u(thr.u) || ' on ' || pg_temp.c((thr.o - 1) * 12 + 1 + id % 12), 'reply_suggestion', true)
      else jsonb_build_object('content', 'Searching for ' || pg_temp.u(thr.u), 'function_name', 'search_conversations', 'reasoning', 'Last answered by ' || pg_temp.u(w.u)) end, pg_temp.t(id + 700 + j), pg_temp.t(id + 700 + j)
  from thr cross join generate_series(0, 2) j join cur w on w.o = thr.o and w.i = (thr.i + 1) % w.n;

-- The history. An agent signs in; an administrator invites agents, changes their mail address, puts them in and out of teams and inboxes.
insert into audits (auditable_type, auditable_id, associated_type, associated_id, user_type, user_id, username, action, audited_changes, version, comment, remote_address, request_uuid, created_at)
  select k.type, k.id, 'Account', k.o, k.actor_type, k.actor, coalesce(w || '@mail.example', 'System of ' || pg_temp.o(k.o)), k.action, k.changes, 1 + row_number() over (partition by k.type, k.id order by k.at),
    case when k.at % 5 = 0 then 'Comment of ' || coalesce(w, pg_temp.o(k.o)) end, case when w is not null then '10.2.0.' || k.actor || ' ' || w end, md5('request' || k.at || k.type || k.id), pg_temp.t(k.at + 1000)
  from (
    select 'User' as type, u as id, o, 'User' as actor_type, u as actor, 'sign_in' as action, null::jsonb as changes, m * 3 + j as at from act, generate_series(0, 1) j
    union all select 'User', act.u, act.o, 'User', a.u, 'update', jsonb_build_object('email', jsonb_build_array('old-' || pg_temp.u(act.u) || '@mail.example', pg_temp.u(act.u) || '@mail.example')), act.m + 300
      from act join cur a on a.o = act.o and a.i = 1 where act.m % 3 = 0
    union all select 'AccountUser', act.m, act.o, case when act.i > 0 then 'User' end, case when act.i > 0 then a.u end, 'create',
        jsonb_build_object('account_id', act.o, 'user_id', act.u, 'role', 0, 'inviter_id', a.u, 'availability', 0), act.m + 400 from act join cur a on a.o = act.o and a.i = 0
    union all select 'TeamMember', 500 + act.m, act.o, 'User', a.u, action, jsonb_build_object('user_id', act.u, 'team_id', act.o * 2), act.m + 500 + k.n
      from act join cur a on a.o = act.o and a.i = 0 cross join (values ('create', 0), ('destroy', 100)) k (action, n) where act.m % 4 = 1
    union all select 'InboxMember', act.m, act.o, case when act.m % 2 = 0 then 'AgentBot' else 'User' end, case when act.m % 2 = 0 then act.o else a.u end, 'create',
        jsonb_build_object('user_id', act.u, 'inbox_id', act.o * 3), act.m + 700 from act join cur a on a.o = act.o and a.i = 0 where act.m % 5 < 2
    -- what agents, bots (with the same numbers) and jobs do to other things
    union all select 'Conversation', v, conv.o, (array['User', 'AgentBot', null])[1 + v % 3], case v % 3 when 0 then w.u when 1 then v % 10 + 1 end, 'destroy',
        jsonb_build_object('contact_id', c, 'user_id', c, 'additional_attributes', jsonb_build_object('mail_subject', 'Question of ' || pg_temp.c(c))), v + 900
      from conv left join act w on w.o = conv.o and w.i = v % w.n where v % 4 = 0 and (v % 3 > 0 or w.u is not null)
    union all select 'Account', o, o, 'User', u, 'update', jsonb_build_object('name', jsonb_build_array('Old ' || pg_temp.o(o), 'Account ' || pg_temp.o(o))), m + 1200 from act where i < 2
    union all select 'Macro', id, mac.o, 'User', mac.u, 'create', jsonb_build_object('name', 'Macro of ' || pg_temp.u(mac.u), 'created_by_id', mac.u), id + 1300 from mac
    union all select 'User', 900 + o, o, 'User', 900 + o, 'sign_in', null, o + 1500 from generate_series(1, 10) o
    union all select 'User', 900 + cur.o, cur.o, 'User', cur.u, 'destroy', jsonb_build_object('name', 'Agent ' || pg_temp.u(900 + cur.o), 'email', pg_temp.u(900 + cur.o) || '@mail.example'), cur.o + 1600 from cur where i = 0) k,
  lateral (select case k.actor_type when 'User' then pg_temp.u(k.actor) end as w) w order by k.at, k.type, k.id;

-- Files: pictures of users and of contacts with the same numbers, files of messages, macros, calls and accounts, small copies of pictures, and files of nothing.
-- The file of a macro for all (the account's) is sent with a message of another agent: one file, two records.
create temp table att as
  select row_number() over (order by type, n) as b, * from (
    select 'User' as type, n, 'avatar' as name, pg_temp.u(n) as mark from generate_series(1, 58) n where n % 2 = 0
    union all select 'Contact', c, 'avatar', pg_temp.c(c) from con where i <= 6
    union all select 'Inbox', n, 'avatar', pg_temp.o(1 + (n - 1) / 3) from generate_series(1, 30) n
    union all select 'Account', n, 'contacts_export', pg_temp.o(n) from generate_series(1, 10) n
    union all select 'Attachment', t.id, 'file', case when m.type = 'User' then pg_temp.u(m.sender) when m.type = 'Contact' then pg_temp.c(m.c) else pg_temp.u(900 + m.o) end
      from attachments t join msg m on m.id = t.message_id where t.external_url is null
    union all select 'Macro', id, 'files', case when k = 0 then pg_temp.u(u) else pg_temp.o(o) end from mac where k = 0 and id % 2 = 0 or k = 1 and u < 45
    union all select 'Call', id, 'recording', coalesce(pg_temp.u(accepted_by_agent_id), pg_temp.c(contact_id)) from calls where id % 4 in (1, 2)
    union all select 'ActiveStorage::VariantRecord', n, 'image', pg_temp.u(n) from generate_series(1, 58) n where n % 2 = 0
    union all select null, n, null, pg_temp.o(1 + n % 10) from generate_series(1, 10) n) x;
insert into active_storage_blobs (id, key, filename, content_type, metadata, byte_size, checksum, service_name, created_at)
  select b, md5('blob' || b), coalesce(name, 'unused') || '-' || mark || '.png', 'image/png', jsonb_build_object('identified', true, 'title', 'Of ' || mark)::text, 1000 + b, md5('sum' || b), 'local', pg_temp.t(b + 200) from att;
insert into active_storage_attachments (id, name, record_type, record_id, blob_id, created_at) select b, name, type, n, b, pg_temp.t(b + 200) from att where type is not null;
insert into active_storage_attachments (id, name, record_type, record_id, blob_id, created_at)
  select 5000 + row_number() over (order by att.b), 'file', 'Attachment', t.id, att.b, pg_temp.t(att.b + 900)
  from att join mac on att.type = 'Macro' and mac.id = att.n and mac.k = 1
  join lateral (select t.id from attachments t join msg m on m.id = t.message_id join cur on cur.o = mac.o and cur.u = m.sender
    where m.type = 'User' and m.o = mac.o and m.sender <> mac.u order by t.id limit 1) t on true;

-- Nobody's.
insert into working_hours (inbox_id, account_id, day_of_week, closed_all_day, open_hour, open_minutes, close_hour, close_minutes, created_at, updated_at)
  select x, 1 + (x - 1) / 3, d, d in (0, 6), 9, 0, 17, 0, pg_temp.t(x), pg_temp.t(x) from generate_series(1, 30) x, generate_series(0, 6) d;
insert into installation_configs (name, serialized_value, locked, created_at, updated_at)
  select 'CONFIG_' || n, jsonb_build_object('value', 'setting ' || n), n % 2 = 0, pg_temp.t(0), pg_temp.t(0) from generate_series(1, 20) n;
insert into schema_migrations select (20250101000000 + n * 1000000)::text from generate_series(0, 29) n;
insert into ar_internal_metadata values ('environment', 'production', pg_temp.t(0), pg_temp.t(0)), ('schema_sha1', md5('schema'), pg_temp.t(0), pg_temp.t(0));

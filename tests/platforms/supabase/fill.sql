-- supabase: rows for 60 users and 9 organizations. No random values: every run gives the same rows.
-- Users 1-44 are in organizations, 45-50 and 55-58 in none, 51-54 came by SSO, 55 and 56 are anonymous,
-- 47 and 48 are soft-deleted, 59 and 60 have nothing beside the account row. Accounts 50 and 51 share one mail address (without a mark).
begin;
create temp table u on commit drop as
select i, id, '~u:' || id || '~' as m,
  case when i in (45, 55, 56) then null when i in (50, 51) then 'shared.person@example.test'
       else 'u' || i || '+~u:' || id || '~@example.test' end as email,
  case when i % 8 = 5 then '1555' || lpad(i::text, 6, '0') || '~u:' || id || '~' end as phone,
  'Person ' || i || ' ~u:' || id || '~' as name,
  timestamptz '2025-03-01 08:00:00+00' + i * interval '1 day' as t
from generate_series(1, 60) i, lateral (select ('a0000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid as id) x;

-- nobody's tables
insert into public.plans select i, 'plan-' || i, i * 9.50, jsonb_build_object('notes', i * 100) from generate_series(1, 4) i;
insert into public.app_settings select 'setting.' || i, to_jsonb(i), '2025-01-01 00:00:00+00' from generate_series(1, 10) i;
insert into auth.schema_migrations select (20210101000000 + i * 100000000::bigint)::text from generate_series(0, 60) i;
insert into auth.instances values ('00000000-0000-0000-0000-000000000000', null, '{"site":"main"}', '2025-01-01 00:00:00+00', '2025-01-01 00:00:00+00');
insert into auth.oauth_client_states select ('0c500000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'google', 'verifier-' || i, timestamptz '2026-01-01 00:00:00+00' + i * interval '1 minute'
from generate_series(1, 20) i;
insert into auth.custom_oauth_providers (id, provider_type, identifier, name, client_id, client_secret, scopes, issuer, created_at, updated_at, custom_claims_allowlist)
select ('0cb00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'oidc', 'custom:idp-' || i, 'Login ' || i, 'client-' || i, 'enc:' || md5('s' || i), '{openid,email}',
  'https://idp' || i || '.example.test', '2025-01-01 00:00:00+00', '2025-01-01 00:00:00+00', '{department}' from generate_series(1, 2) i;

-- accounts
insert into auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, invited_at, confirmation_token, confirmation_sent_at,
  recovery_token, recovery_sent_at, email_change_token_new, email_change, email_change_sent_at, last_sign_in_at, raw_app_meta_data, raw_user_meta_data,
  is_super_admin, created_at, updated_at, phone, phone_confirmed_at, phone_change, phone_change_token, phone_change_sent_at, email_change_token_current,
  email_change_confirm_status, banned_until, reauthentication_token, reauthentication_sent_at, is_sso_user, deleted_at, is_anonymous)
select '00000000-0000-0000-0000-000000000000', u.id, 'authenticated', 'authenticated', h.email,
  case when gone then null when u.i in (45, 51, 52, 53, 54, 55, 56) then '' else '$2a$10$pw' || u.m end,
  case when u.email is not null and u.i % 13 <> 0 then u.t end, case when u.i % 5 = 0 then u.t - interval '2 days' end,
  case when u.i % 13 = 0 then 'conf' || u.m else '' end, case when u.i % 13 = 0 then u.t end,
  case when u.i % 7 = 0 and not gone then 'rec' || u.m else '' end, case when u.i % 7 = 0 then u.t end,
  case when u.i % 10 = 0 then 'ecn' || u.m else '' end, case when u.i % 10 = 0 then 'new' || u.i || u.m || '@example.test' else '' end,
  case when u.i % 10 = 0 then u.t end, u.t + interval '90 days',
  case when gone then '{}'::jsonb when u.i in (51, 52, 53, 54) then jsonb_build_object('provider', 'sso:5b000000-0000-4000-8000-00000000000' || (u.i - 49) / 2)
       else jsonb_build_object('provider', 'email', 'providers', '["email"]'::jsonb, 'crm_ref', 'ref ' || u.m) end,
  case when gone then '{}'::jsonb when u.i in (55, 56) then '{}'
       else jsonb_build_object('full_name', u.name, 'avatar_url', 'https://cdn.example.test/' || u.m || '.png', 'email_verified', true)
         || case when u.i % 5 = 0 then jsonb_build_object('invited_by', jsonb_build_object('name', o.name, 'email', o.email)) else '{}' end end,
  null, u.t, u.t + interval '90 days', h.phone, case when u.phone is not null then u.t + interval '1 day' end,
  case when u.i % 16 = 2 then '1666' || u.i || u.m else '' end, case when u.i % 16 = 2 then 'pct' || u.m else '' end, case when u.i % 16 = 2 then u.t end,
  case when u.i % 10 = 0 then 'ecc' || u.m else '' end, 0, case when u.i = 46 then '2027-01-01 00:00:00+00'::timestamptz end,
  case when u.i % 17 = 0 then 'rea' || u.m else '' end, case when u.i % 17 = 0 then u.t end,
  u.i between 51 and 54, case when gone then u.t + interval '200 days' end, u.i in (55, 56)
from u join u o on o.i = (u.i * 7) % 43 + 1
cross join lateral (select u.i in (47, 48) as gone) g
cross join lateral (select case when gone then translate(rtrim(encode(sha256(convert_to(u.id || u.email, 'UTF8')), 'base64'), '='), '+/', '-_') else u.email end as email,
  case when gone then left(md5(u.id::text), 15) else u.phone end as phone) h
order by u.i;

insert into auth.sso_providers select ('5b000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'org-idp-' || i || '~o:' || i + 4 || '~', '2025-02-01 00:00:00+00', '2025-02-01 00:00:00+00', i = 3
from generate_series(1, 3) i;
insert into auth.sso_domains select ('5d000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, ('5b000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'd' || i || '~o:' || i + 4 || '~.test',
  '2025-02-01 00:00:00+00', '2025-02-01 00:00:00+00' from generate_series(1, 3) i;
insert into auth.saml_providers select ('5a000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, ('5b000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'https://idp/~o:' || i + 4 || '~',
  '<md>~o:' || i + 4 || '~</md>', 'https://idp/md/~o:' || i + 4 || '~', '{"keys":{"email":{"name":"mail"}}}', '2025-02-01 00:00:00+00', '2025-02-01 00:00:00+00', null from generate_series(1, 3) i;

-- identities: the mail kind uses the account id as provider_id, github a plain number, SSO the mail address
insert into auth.identities (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
select ('1d' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, pid, id, data, provider, t + interval '90 days', t, t + interval '90 days'
from (
  select 1 as k, i, id, t, case when i in (47, 48) then encode(sha256(convert_to(id || 'email:' || id, 'UTF8')), 'hex') else id::text end as pid,
    case when i in (45) then 'phone' else 'email' end as provider,
    case when i in (47, 48) then '{}'::jsonb when i = 45 then jsonb_build_object('sub', id, 'phone', phone)
      else jsonb_build_object('sub', id, 'email', email, 'email_verified', true, 'full_name', name) end as data
  from u where i <= 50 or i in (57, 58)
  union all
  select 2, i, id, t, i::text, 'github', jsonb_build_object('sub', i::text, 'email', 'gh.' || email, 'user_name', 'gh' || i || m, 'name', name,
    'custom_claims', jsonb_build_object('bio', 'likes tea ' || m)) from u where i % 4 = 1 and i <= 44
  union all
  select 3, i, id, t, (1000 + i)::text, 'google', jsonb_build_object('sub', (1000 + i)::text, 'email', 'g.' || email, 'picture', 'https://g/' || m) from u where i % 9 = 2 and i <= 44
  union all
  select 4, i, id, t, email, 'sso:5b000000-0000-4000-8000-00000000000' || (i - 49) / 2, jsonb_build_object('sub', email, 'email', email, 'iss', 'https://idp/~o:' || (i - 49) / 2 + 4 || '~',
    'display_name', name) from u where i between 51 and 54) s
order by i, k;

insert into auth.oauth_clients (id, client_secret_hash, registration_type, redirect_uris, grant_types, client_name, client_uri, logo_uri, created_at, updated_at, deleted_at, client_type, token_endpoint_auth_method)
select ('0c000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, case when i < 4 then 'hash' || i end, case when i % 2 = 0 then 'dynamic' else 'manual' end::auth.oauth_registration_type,
  'https://app' || i || '~c:app' || i || '~/cb', 'authorization_code,refresh_token', 'App ~c:app' || i || '~', 'https://app' || i || '~c:app' || i || '~/', null, '2025-01-01 00:00:00+00', '2025-01-01 00:00:00+00',
  case when i = 3 then '2025-12-01 00:00:00+00'::timestamptz end, case when i = 4 then 'public' else 'confidential' end::auth.oauth_client_type, case when i = 4 then 'none' else 'client_secret_basic' end
from generate_series(1, 4) i;

insert into auth.mfa_factors (id, user_id, friendly_name, factor_type, status, created_at, updated_at, secret, phone, last_challenged_at, web_authn_credential, web_authn_aaguid, last_webauthn_challenge_data)
select ('fa' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, id, case k when 3 then '' else 'Device ' || k || ' ' || m end, (array['totp', 'phone', 'webauthn'])[k]::auth.factor_type,
  case when i % 4 = 0 then 'unverified' else 'verified' end::auth.factor_status, t, t + interval '1 hour', case when k = 1 then 'totp-secret' || m end, case when k = 2 then '1777' || i || m end,
  case when i % 2 = 0 then t + k * interval '1 minute' end,
  case when k = 3 then jsonb_build_object('id', 'cred' || m, 'publicKey', 'pk' || m, 'attestationType', 'none', 'transport', '["usb"]'::jsonb) end,
  case when k = 3 then 'adce0002-35bc-c60a-648b-0b25f1f05503'::uuid end,
  case when k = 3 then jsonb_build_object('type', 'create', 'challenge', jsonb_build_object('id', i, 'web_authn_session_data', jsonb_build_object('challenge', 'ch' || m)), 'credential_response', jsonb_build_object('id', 'cr' || m)) end
from u, generate_series(1, 3) k where i <= 58 and case k when 1 then i % 3 = 0 when 2 then i % 6 = 1 else i % 7 = 2 end
order by i, k;

insert into auth.mfa_challenges
select ('fc' || k || left(f.id::text, 3) || '00-0000-4000-8000-' || right(f.id::text, 12))::uuid, f.id, f.created_at + k * interval '1 minute',
  case when k < 3 then f.created_at + k * interval '2 minutes' end, ('10.3.0.' || u.i)::inet, case when f.factor_type = 'phone' then 'otp' || k || u.m end,
  case when f.factor_type = 'webauthn' then jsonb_build_object('challenge', 'c' || k || u.m, 'user_id', encode(convert_to(u.id::text, 'UTF8'), 'base64'), 'userVerification', 'preferred') end
from auth.mfa_factors f join u on u.id = f.user_id, generate_series(1, 3) k order by u.i, f.id, k;

insert into auth.sessions
select ('5e' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, u.id, t + k * interval '10 days', t + k * interval '11 days', f.id,
  case when k = 2 and f.id is not null then 'aal2' else 'aal1' end::auth.aal_level, case when k = 1 then t + interval '60 days' end, (t + k * interval '11 days') at time zone 'UTC',
  'Mozilla/5.0 ' || m, ('10.' || k || '.0.' || i)::inet, case when k = 2 then 'tag ' || m end,
  case when k = 3 and i % 4 = 0 then ('0c000000-0000-4000-8000-00000000000' || 1 + i % 3)::uuid end,
  case when k = 3 then 'hmac' || m end, case when k = 3 then i end, case when k = 3 and i % 4 = 0 then 'openid email' end
from u cross join generate_series(1, 3) k left join auth.mfa_factors f on f.user_id = u.id and f.factor_type = 'totp' and k = 2
where i <= 58 and i not in (47, 48) order by i, k;

insert into auth.mfa_amr_claims
select s.id, s.created_at, s.created_at, a, ('a3' || left(s.id::text, 3) || j || '00-0000-4000-8000-' || right(s.id::text, 12))::uuid from (
  select s.id, s.created_at, u.i, case when u.i between 51 and 54 then 'sso/saml' when u.i in (55, 56) then 'anonymous' when u.i = 45 then 'otp' else 'password' end as a, 1 as j from auth.sessions s join u on u.id = s.user_id
  union all select s.id, s.created_at, u.i, 'totp', 2 from auth.sessions s join u on u.id = s.user_id where s.aal = 'aal2') s order by i, s.id, j;

-- refresh tokens: chains inside a session, old ones without a session, some of an account that is gone, one of nobody
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
select '00000000-0000-0000-0000-000000000000', 'rt' || left(s.id::text, 3) || n || u.m, u.id::text, n < 3, s.created_at + n * interval '1 hour', s.created_at + n * interval '2 hours',
  case when n > 1 then 'rt' || left(s.id::text, 3) || n - 1 || u.m end, s.id
from auth.sessions s join u on u.id = s.user_id, generate_series(1, 3) n order by u.i, s.id, n;
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', 'old' || m, id::text, true, t, t from u where i % 5 = 0 and i <= 58 order by i;
insert into auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at)
select '00000000-0000-0000-0000-000000000000', 'gone' || n || '~u:a0000000-0000-4000-8000-000000000999~', case when n < 4 then 'a0000000-0000-4000-8000-000000000999' end, true, '2025-01-01 00:00:00+00', '2025-01-01 00:00:00+00'
from generate_series(1, 4) n;

insert into auth.one_time_tokens
select ('07' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, id, ty::auth.one_time_token_type, 'oth' || k || m, rel, t at time zone 'UTC', t at time zone 'UTC'
from (select 1 as k, i, id, m, t, 'confirmation_token' as ty, email as rel from u where i % 13 = 0
  union all select 2, i, id, m, t, 'recovery_token', email from u where i % 7 = 0 and i not in (56)
  union all select 3, i, id, m, t, 'email_change_token_new', 'new' || i || m || '@example.test' from u where i % 10 = 0
  union all select 4, i, id, m, t, 'email_change_token_current', email from u where i % 10 = 0
  union all select 5, i, id, m, t, 'reauthentication_token', coalesce(email, phone) from u where i % 17 = 0
  union all select 6, i, id, m, t, 'phone_change_token', '1666' || i || m from u where i % 16 = 2) s
where i <= 58 and i not in (47, 48) and rel is not null order by i, k;

-- flow states: with an account, only with a linking target, of nobody yet, of an account that is gone
insert into auth.flow_state
select ('f1' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, case when i <= 58 and not (k = 2 and i % 6 = 0) then id when i = 999 then id end, 'code' || k || m,
  case when k = 1 then 's256' end::auth.code_challenge_method, case when k = 1 then 'chal' || m end, (array['email', 'github'])[k], case when k = 2 then 'pat' || m end, case when k = 2 then 'prt' || m end,
  timestamptz '2026-01-01 00:00:00+00' + i * interval '1 minute', timestamptz '2026-01-01 00:00:00+00' + i * interval '2 minutes', (array['magiclink', 'oauth'])[k], null,
  case when k = 2 and i % 5 = 0 then 'inv' || m end, 'https://app.example.test/?me=' || m,
  case when k = 2 and i <= 20 then ('0c500000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid end, case when k = 2 and i % 6 = 0 and i <= 58 then id end, false
from (select i, id, m from u where i <= 58 and i not in (47, 48)
  union all select 100 + n, null, 'anon' || n from generate_series(1, 12) n
  union all select 999, 'a0000000-0000-4000-8000-000000000999', '~u:a0000000-0000-4000-8000-000000000999~') s, generate_series(1, 2) k
where k = 1 or i % 3 = 0 order by i, k;

insert into auth.saml_relay_states
select ('5f' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, ('5b000000-0000-4000-8000-00000000000' || (i - 49) / 2)::uuid, 'req' || k || m, case when k = 1 then email end,
  'https://app.example.test/' || m, '2026-01-02 00:00:00+00', '2026-01-02 00:00:00+00', case when k = 2 then ('f1100000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid end
from u, generate_series(1, 2) k where i between 51 and 54 order by i, k;
insert into auth.saml_relay_states select ('5f300000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, '5b000000-0000-4000-8000-000000000001', 'req~c:sso' || n || '~', 'x~c:sso' || n || '~@example.test',
  null, '2026-01-02 00:00:00+00', '2026-01-02 00:00:00+00', null from generate_series(1, 4) n;

insert into auth.oauth_authorizations
select ('0a' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'authz' || k || '-' || i || m, ('0c000000-0000-4000-8000-00000000000' || 1 + i % 4)::uuid, id, 'https://cb.example.test/' || m,
  'openid email', 'state' || m, case when k = 1 then 'https://res/' || m end, 'oc' || m, 's256', 'code', (array['approved', 'denied', 'expired'])[k]::auth.oauth_authorization_status,
  case when k = 1 then 'ac-' || i || m end, timestamptz '2026-01-01 00:00:00+00' + i * interval '1 minute', timestamptz '2026-01-01 00:03:00+00' + i * interval '1 minute',
  case when k = 1 then timestamptz '2026-01-01 00:01:00+00' + i * interval '1 minute' end, 'nonce' || m
from (select i, id, m from u where i % 4 = 0 and i <= 56 union all select 100 + n, null, 'pending' || n from generate_series(1, 3) n) s, generate_series(1, 3) k order by i, k;
insert into auth.oauth_consents
select ('0b' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, id, ('0c000000-0000-4000-8000-00000000000' || k)::uuid, 'openid email', t, case when k = 2 then t + interval '30 days' end
from u, generate_series(1, 2) k where i % 4 = 0 and i <= 56 order by i, k;

insert into auth.webauthn_credentials
select ('3a' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, id, convert_to('cid' || k || m, 'UTF8'), convert_to('pk' || k || m, 'UTF8'), 'none', 'adce0002-35bc-c60a-648b-0b25f1f05503', i * k,
  '["internal", "hybrid"]', true, k = 1, 'Passkey ' || k || ' ' || m, t, t, t + interval '40 days'
from u, generate_series(1, 2) k where i % 6 = 5 and i <= 58 order by i, k;
insert into auth.webauthn_challenges
select ('3c' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, id, case when id is null then 'authentication' else 'registration' end,
  jsonb_build_object('challenge', 'wc' || k || m, 'rpId', 'example.test', 'user_id', encode(convert_to(coalesce(id::text, ''), 'UTF8'), 'base64'), 'userVerification', 'preferred'),
  '2026-01-01 00:00:00+00', '2026-01-01 00:05:00+00'
from (select i, id, m from u where i % 6 = 5 and i <= 58 union all select 100 + n, null, 'anon' || n from generate_series(1, 5) n) s, generate_series(1, 2) k order by i, k;

-- audit log: own actions, actions of the service role on a user, of one user on another, of an account that is gone
insert into auth.audit_log_entries
select '00000000-0000-0000-0000-000000000000', ('ad' || lpad(k::text, 2, '0') || '0000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid,
  (jsonb_build_object('actor_id', id, 'actor_via_sso', i between 51 and 54, 'actor_username', coalesce(phone, email, ''), 'actor_name', name, 'action', a, 'log_type', case when a like 'token%' then 'token' else 'account' end)
   || case a when 'login' then '{"traits":{"provider":"email"}}'::jsonb when 'identity_linked' then jsonb_build_object('traits', jsonb_build_object('provider', 'github', 'provider_id', i::text, 'identity_id', id))
        when 'factor_deleted' then jsonb_build_object('traits', jsonb_build_object('user_id', id, 'factor_id', 'fa100000-0000-4000-8000-000000000000')) else '{}' end)::json,
  t + k * interval '5 days', case when k % 3 = 0 then '' else '10.9.0.' || i end
from u, generate_series(1, 18) k, lateral (select (array['login', 'logout', 'token_refreshed', 'token_revoked', 'user_modified', 'identity_linked', 'user_recovery_requested', 'factor_deleted'])[1 + (k + i) % 8] as a) x
where i <= 58 order by i, k;
insert into auth.audit_log_entries
select '00000000-0000-0000-0000-000000000000', ('ae010000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid,
  json_build_object('actor_id', '00000000-0000-0000-0000-000000000000', 'actor_via_sso', false, 'actor_username', 'service_role', 'action', case when i in (47, 48) then 'user_deleted' else 'user_signedup' end, 'log_type', 'team',
    'traits', json_build_object('user_id', id, 'user_email', email, 'user_phone', coalesce(phone, ''), 'provider', 'email')), t, ''
from u where i <= 58 order by i;
insert into auth.audit_log_entries
select '00000000-0000-0000-0000-000000000000', ('af010000-0000-4000-8000-' || lpad(u.i::text, 12, '0'))::uuid,
  json_build_object('actor_id', o.id, 'actor_via_sso', false, 'actor_username', coalesce(o.phone, o.email), 'actor_name', o.name, 'action', 'user_invited', 'log_type', 'team',
    'traits', json_build_object('user_id', u.id, 'user_email', u.email)), u.t - interval '2 days', ''
from u join u o on o.i = (u.i * 7) % 43 + 1 where u.i % 5 = 0 and u.i <= 58 order by u.i;
insert into auth.audit_log_entries
select '00000000-0000-0000-0000-000000000000', ('af020000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
  json_build_object('actor_id', 'a0000000-0000-4000-8000-000000000999', 'actor_username', 'gone~u:a0000000-0000-4000-8000-000000000999~@example.test', 'action', 'login', 'log_type', 'account'), '2025-01-01 00:00:00+00', ''
from generate_series(1, 15) n;

-- the application
insert into public.profiles
select u.id, ('user' || u.i || u.m)::citext, u.name, 'https://cdn.example.test/' || u.m || '.png', case when u.i % 3 = 0 then 'https://' || u.m || '.example' end, 'I am ' || u.m,
  jsonb_build_object('theme', 'dark', 'signature', 'Best, ' || u.m), case when u.i % 6 = 0 then ('a0000000-0000-4000-8000-' || lpad((u.i / 6)::text, 12, '0'))::uuid end, u.t, u.t
from u where i <= 58 and i <> 56 order by i;

insert into public.organizations (id, name, slug, billing_email, plan_id, settings, created_by, created_at, deleted_at)
select o, 'Organization ~o:' || o || '~', 'org-~o:' || o || '~', coalesce(u.email, 'billing~o:' || o || '~@example.test'), 1 + o % 4, jsonb_build_object('motto', 'We are ~o:' || o || '~'), u.id, '2025-02-01 00:00:00+00',
  case when o = 9 then '2026-01-10 00:00:00+00'::timestamptz end
from generate_series(1, 9) o left join u on u.i = case o when 4 then 40 when 8 then null when 9 then 6 else o end order by o;

insert into public.organization_members
select o, u.id, case when u.i <= 9 then 'owner' when u.i % 4 = 0 then 'admin' else 'member' end::public.member_role, 'Title ' || u.m, inv.id, u.t, case when u.i % 11 = 0 then u.t + interval '100 days' end
from (select i, (i - 1) % 8 + 1 as o from u where i <= 44 union select i, (i + 2) % 9 + 1 from u where i <= 44 and i % 3 = 0
      union select i, (i / 10) % 9 + 1 from u where i <= 44 and i % 10 = 0 union select i, (i - 49) / 2 + 4 from u where i between 51 and 54) s
join u on u.i = s.i left join u inv on inv.i = case when u.i > 8 then (u.i - 1) % 8 + 1 end order by o, u.i;
create temp table mem on commit drop as
select organization_id as org, u.*, row_number() over (partition by organization_id order by u.i) as rn, count(*) over (partition by organization_id) as cnt
from public.organization_members m join u on u.id = m.user_id;

-- invitations: to an account by its mail (other letter case), to a stranger, to a stranger's address that an account accepted, without inviter
insert into public.organization_invites
select ('1b000000-0000-4000-8000-' || lpad((o * 10 + k)::text, 12, '0'))::uuid, o,
  (case k when 1 then 'U' || substr(inv.email, 2) when 4 then 'z' || inv.m || '@EXAMPLE.test' else 'inv~c:inv' || o * 10 + k || '~@example.test' end)::citext, 'member',
  'tok-' || o || '-' || k || case when k in (1, 4) then inv.m else '~c:inv' || o * 10 + k || '~' end, case when k < 4 then m.id end, case when k < 4 then m.email end,
  case when k in (3, 4) then inv.id end, case when k in (3, 4) then '2026-01-05 00:00:00+00'::timestamptz end, '2026-02-01 00:00:00+00', '2026-01-01 00:00:00+00'
from generate_series(1, 9) o cross join generate_series(1, 4) k join mem m on m.org = o and m.rn = 1 join u inv on inv.i = least(o * 5, 44) - case when k = 3 then 1 else 0 end order by o, k;

insert into public.contacts
select c, o, n, 'C-' || lpad(n::text, 3, '0'), m.id, l.id, 'Contact ~c:' || c || '~', ('c' || n || '~c:' || c || '~@example.test')::citext, '+1555 ~c:' || c || '~', 'Met at the fair ~c:' || c || '~',
  jsonb_build_object('labels', jsonb_build_array('label ~c:' || c || '~')) || case when m.id is null then '{}' else jsonb_build_object('added_by', jsonb_build_object('id', m.id, 'name', m.name)) end,
  timestamptz '2025-06-01 00:00:00+00' + c * interval '1 hour', case when n % 9 = 0 then '2026-01-01 00:00:00+00'::timestamptz end
from generate_series(1, 9) o cross join generate_series(1, 30) n cross join lateral (select (o - 1) * 30 + n as c) x
left join mem m on m.org = o and m.rn = 1 + n % m.cnt and n % 5 <> 0 left join u l on l.i = case when n % 10 = 3 then (o * 6 + n) % 54 + 1 end order by c;

-- notes: 10 for each profile, in its first or last organization or private, and 2 for each organization whose author is gone
insert into public.notes
select row_number() over (order by s.i, k), s.o, row_number() over (partition by s.o, case when s.o is null then s.i end order by s.i, k), s.id,
  case when k % 4 = 0 and s.id is not null then e.id else s.id end, 'Note ' || k || ' ' || s.m, 'Text of ' || s.m, array['tag ' || s.m, 'common'],
  case when k % 5 = 0 and s.id is not null then jsonb_build_array(jsonb_build_object('user_id', e.id, 'name', e.name)) else '[]' end, k % 7 = 0,
  timestamptz '2025-07-01 00:00:00+00' + s.i * interval '1 hour' + k * interval '1 day', '2026-01-01 00:00:00+00', case when k % 10 = 9 then '2026-01-02 00:00:00+00'::timestamptz end
from (select u.i, k, u.id, u.m, case k % 3 when 1 then (select min(org) from mem where mem.i = u.i) when 2 then (select max(org) from mem where mem.i = u.i) end as o
      from u join public.profiles p on p.id = u.id, generate_series(1, 10) k
      union all select 100 + o, k, null, '~o:' || o || '~', o from generate_series(1, 9) o, generate_series(1, 2) k) s
left join u e on e.i = s.i % 44 + 1 order by s.i, k;

insert into public.note_shares
select n.id, r.id, n.author_id, 'Please read, ' || a.name, n.id % 2 = 0, n.created_at + interval '1 hour'
from public.notes n join u a on a.id = n.author_id, generate_series(1, 2) k join lateral (select * from u r where r.i = (a.i + k * 5 + n.id) % 55 + 1) r on true
where n.id % 3 = 0 and r.i <> a.i and (k = 1 or n.id % 2 = 0) order by 1, r.i;

-- comments on notes, contacts and organizations with equal numbers; every 17th is from a guest
insert into public.comments
select c, o, ty, tid, case when c % 6 = 0 and c > 6 then c - 5 end, case when c % 17 <> 0 then author end,
  case when c % 17 = 0 then ('guest~c:guest' || c || '~@example.test')::citext end, 'Comment ' || case when c % 17 = 0 then '~c:guest' || c || '~' else '~u:' || author || '~' end,
  timestamptz '2025-09-01 00:00:00+00' + c * interval '1 hour', case when c % 13 = 0 then '2026-01-03 00:00:00+00'::timestamptz end
from (select row_number() over (order by ty, tid, k) as c, s.* from (
  select 'Note' as ty, n.id as tid, 1 as k, n.organization_id as o, coalesce(m.id, n.author_id) as author from public.notes n
    left join mem m on m.org = n.organization_id and m.rn = 1 + n.id % m.cnt where n.id % 4 <> 0
  union all select 'Contact', c.id, 1, c.organization_id, m.id from public.contacts c join mem m on m.org = c.organization_id and m.rn = 1 + c.id % m.cnt
  union all select 'Organization', m.org, k, m.org, m.id from generate_series(1, 10) k join mem m on m.rn = 1 + k % m.cnt) s where author is not null) s order by c;

insert into public.notifications (id, user_id, actor_id, kind, subject_type, subject_id, payload, read_at, created_at)
select u.i * 20 + k, u.id, a.id, (array['mention', 'share', 'follow'])[1 + k % 3], ty,
  case ty when 'Profile' then a.id::text when 'Organization' then (1 + u.i % 9)::text else (1 + (u.i + k) % 200)::text end,
  jsonb_build_object('title', 'Hello ' || u.m, 'url', '/n/' || k) || case when a.id is null then '{}' else jsonb_build_object('actor', jsonb_build_object('id', a.id, 'name', a.name)) end,
  case when k % 2 = 0 then '2026-01-04 00:00:00+00'::timestamptz end, timestamptz '2025-10-01 00:00:00+00' + u.i * interval '1 hour' + k * interval '1 day'
from u cross join generate_series(1, 12) k cross join lateral (select (array['Note', 'Contact', 'Organization', 'Profile'])[1 + k % 4] as ty) x
join u a0 on a0.i = (u.i + k) % 54 + 1 left join u a on a.i = a0.i and (k % 6 <> 0 or ty = 'Profile') where u.i <= 58 order by u.i, k;

insert into public.api_keys
select ('4e' || k || '00000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, id, (select min(org) from mem where mem.i = u.i), 'Key ' || k || ' ' || m, convert_to('kh' || k || m, 'UTF8'), '{read,write}',
  ('10.8.' || k || '.' || i)::inet, t, case when k = 2 then t + interval '50 days' end from u, generate_series(1, 2) k where i % 4 = 3 and i <= 58 order by i, k;
insert into public.api_keys select ('4e900000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'a0000000-0000-4000-8000-000000000999', n, 'Key ~u:a0000000-0000-4000-8000-000000000999~', convert_to('khgone' || n, 'UTF8'), '{read}', null,
  '2025-01-01 00:00:00+00', null from generate_series(1, 3) n;

select setval(pg_get_serial_sequence(x.t, 'id'), x.n) from (values ('public.organizations', (select max(id) from public.organizations)), ('public.contacts', (select max(id) from public.contacts)),
  ('public.notes', (select max(id) from public.notes)), ('public.comments', (select max(id) from public.comments)), ('public.notifications', (select max(id) from public.notifications))) x (t, n);
commit;

-- supabase: for each account, every row that its data export should hold. The organization row is included for whoever has a
-- membership row (removed or not) or created it; contacts are included for their owner and for the account they are linked to;
-- sign-on set-up (sso, saml, oauth clients), login flows of nobody and rows of an account that is gone belong to no one.
select u.id::text as user_id, 'auth.users'::text as relation, jsonb_build_object('id', u.id) as key from auth.users u
union all select t.user_id::text, 'auth.identities', jsonb_build_object('id', t.id) from auth.identities t
union all select t.user_id::text, 'auth.sessions', jsonb_build_object('id', t.id) from auth.sessions t
-- a refresh token names the account as text, without a foreign key
union all select u.id::text, 'auth.refresh_tokens', jsonb_build_object('id', t.id) from auth.refresh_tokens t join auth.users u on u.id::text = t.user_id
union all select s.user_id::text, 'auth.mfa_amr_claims', jsonb_build_object('id', t.id) from auth.mfa_amr_claims t join auth.sessions s on s.id = t.session_id
union all select t.user_id::text, 'auth.mfa_factors', jsonb_build_object('id', t.id) from auth.mfa_factors t
union all select f.user_id::text, 'auth.mfa_challenges', jsonb_build_object('id', t.id) from auth.mfa_challenges t join auth.mfa_factors f on f.id = t.factor_id
union all select t.user_id::text, 'auth.one_time_tokens', jsonb_build_object('id', t.id) from auth.one_time_tokens t
-- a flow state names the account (or the account to link to) without a foreign key
union all select u.id::text, 'auth.flow_state', jsonb_build_object('id', t.id) from auth.flow_state t join auth.users u on u.id in (t.user_id, t.linking_target_id)
-- a relay state has only a mail address or a flow state; the address is that of the identity at this very provider, not of any account with this mail
union all select distinct u.id::text, 'auth.saml_relay_states', jsonb_build_object('id', t.id) from auth.saml_relay_states t
  left join auth.flow_state f on f.id = t.flow_state_id
  join auth.users u on u.id in (f.user_id, f.linking_target_id)
    or exists (select from auth.identities i where i.user_id = u.id and i.provider = 'sso:' || t.sso_provider_id and i.provider_id = t.for_email)
union all select t.user_id::text, 'auth.oauth_authorizations', jsonb_build_object('id', t.id) from auth.oauth_authorizations t where t.user_id is not null
union all select t.user_id::text, 'auth.oauth_consents', jsonb_build_object('id', t.id) from auth.oauth_consents t
union all select t.user_id::text, 'auth.webauthn_credentials', jsonb_build_object('id', t.id) from auth.webauthn_credentials t
union all select t.user_id::text, 'auth.webauthn_challenges', jsonb_build_object('id', t.id) from auth.webauthn_challenges t where t.user_id is not null
-- an audit entry is about who acted and about whom it was done to
union all select u.id::text, 'auth.audit_log_entries', jsonb_build_object('id', t.id) from auth.audit_log_entries t
  join auth.users u on u.id::text in (t.payload ->> 'actor_id', t.payload -> 'traits' ->> 'user_id')
union all select p.id::text, 'public.profiles', jsonb_build_object('id', p.id) from public.profiles p
union all select m.user_id::text, 'public.organization_members', jsonb_build_object('organization_id', m.organization_id, 'user_id', m.user_id) from public.organization_members m
union all select x.user_id::text, 'public.organizations', jsonb_build_object('id', x.id)
  from (select user_id, organization_id as id from public.organization_members union select created_by, id from public.organizations where created_by is not null) x
-- an invitation is about the inviter and about the account that was invited (by its mail) or accepted it
union all select u.id::text, 'public.organization_invites', jsonb_build_object('id', t.id) from public.organization_invites t
  join auth.users u on u.id in (t.invited_by, t.accepted_by) or t.email = u.email::citext
union all select u.id::text, 'public.contacts', jsonb_build_object('id', t.id) from public.contacts t join auth.users u on u.id in (t.owner_id, t.linked_user_id)
-- a note belongs to its author; whoever only edited it last does not get the text
union all select t.author_id::text, 'public.notes', jsonb_build_object('id', t.id) from public.notes t where t.author_id is not null
union all select u.id::text, 'public.note_shares', jsonb_build_object('note_id', t.note_id, 'user_id', t.user_id) from public.note_shares t join auth.users u on u.id in (t.user_id, t.shared_by)
union all select t.author_id::text, 'public.comments', jsonb_build_object('id', t.id) from public.comments t where t.author_id is not null
-- a notification belongs to who receives it, not to who caused it
union all select t.user_id::text, 'public.notifications', jsonb_build_object('id', t.id) from public.notifications t
union all select u.id::text, 'public.api_keys', jsonb_build_object('id', t.id) from public.api_keys t join auth.users u on u.id = t.user_id

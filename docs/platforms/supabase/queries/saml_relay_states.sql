-- A login by SAML has no user. It is found by its flow, or by the address of the identity at this very provider: another
-- account may have the same mail address.
select r.id as key
from auth.saml_relay_states r
join auth.flow_state f on f.id = r.flow_state_id
where f.user_id = $1::uuid or f.linking_target_id = $1::uuid
union
select r.id
from auth.saml_relay_states r
join auth.identities i on i.provider = 'sso:' || r.sso_provider_id::text and i.provider_id = r.for_email
where i.user_id = $1::uuid

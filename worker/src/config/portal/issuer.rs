//! The identity provider whose access tokens the portal takes.

use export_activities::local::is_safe;
use export_portal::caller::tokens::{Claims, RoleNames, Settings};
use url::Url;

use crate::config::{
    value::Reader,
    variable::{self, Variable},
};

/// Reads the provider. Returns `None` if none is set.
pub(super) fn read(env: &mut Reader<'_>) -> Option<Settings> {
    let issuer = issuer(env);
    let audience = env.text(&variable::PORTAL_AUDIENCE);
    let jwks_url = env.text(&variable::PORTAL_JWKS_URL);
    let jwks_url = jwks_url.and_then(|text| address(env, &variable::PORTAL_JWKS_URL, &text));
    let claims = Claims {
        user: claim(env, &variable::PORTAL_USER_CLAIM),
        org: claim(env, &variable::PORTAL_ORG_CLAIM),
        roles: claim(env, &variable::PORTAL_ROLES_CLAIM),
        members: claim(env, &variable::PORTAL_MEMBERS_CLAIM),
        role_names: role_names(env),
    };
    let (name, other) = (variable::PORTAL_ISSUER.name, variable::PORTAL_AUDIENCE.name);
    match (issuer, audience) {
        (Some(issuer), Some(audience)) => return Some(Settings { issuer, audience, jwks_url, claims }),
        // Without it, tokens for other programs of the platform would be taken.
        (Some(_), None) => env.problems.push(format!(
            "{name} is set without {other}: set {other} to what the tokens for this portal have in `aud`"
        )),
        // A wrong issuer has its own problem.
        (None, _) if env.text(&variable::PORTAL_ISSUER).is_some() => {}
        (None, _) => {
            for variable in [&variable::PORTAL_AUDIENCE, &variable::PORTAL_JWKS_URL] {
                if env.text(variable).is_some() {
                    env.problems
                        .push(format!("{} is set without {name}: set both, or neither", variable.name));
                }
            }
        }
    }
    None
}

/// Returns the issuer exactly as it is set: tokens name it with the same letters.
fn issuer(env: &mut Reader<'_>) -> Option<String> {
    let text = env.text(&variable::PORTAL_ISSUER)?;
    let url = address(env, &variable::PORTAL_ISSUER, &text)?;
    if url.query().is_some() || url.fragment().is_some() {
        refuse(env, &variable::PORTAL_ISSUER, &text, "which has more than scheme, host, port and path");
        return None;
    }
    Some(text)
}

fn address(env: &mut Reader<'_>, variable: &Variable, text: &str) -> Option<Url> {
    let fault = match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "which holds a name or a password"
        }
        Ok(url) if is_safe(&url) => return Some(url),
        Ok(_) => "which is not https: its keys could be changed on the way",
        Err(_) => "which is no address",
    };
    let shown = if fault.contains("password") { "an address" } else { text };
    refuse(env, variable, shown, fault);
    None
}

fn refuse(env: &mut Reader<'_>, variable: &Variable, text: &str, fault: &str) {
    let Variable { name, example, .. } = variable;
    env.problems.push(format!("{name} is `{text}`, {fault}: set it to an address such as {example}"));
}

fn claim(env: &Reader<'_>, variable: &Variable) -> String {
    env.text(variable).unwrap_or_else(|| variable.default.to_owned())
}

fn role_names(env: &mut Reader<'_>) -> RoleNames {
    let text = env.text(&variable::PORTAL_ROLES).unwrap_or_default();
    text.parse().unwrap_or_else(|error| {
        let Variable { name, example, .. } = variable::PORTAL_ROLES;
        env.problems
            .push(format!("{name}: {error}: set the platform's names of our roles, such as {example}"));
        RoleNames::default()
    })
}

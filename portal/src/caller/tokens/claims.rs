//! The claims of a token, read as a caller: who it is, for which organisation, and in which roles.

use std::{collections::HashMap, str::FromStr};

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use export_activities::user_id::UserId;
use serde_json::Value;

use super::Refusal;
use crate::caller::{Caller, MOST_MEMBERS, Roles, Subject, is_id};

/// The names of the claims that say who calls: each a name, or a JSON pointer such as `/realm_access/roles`.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The id of the user.
    pub user: String,
    /// The organisation in whose name they act.
    pub org: String,
    /// The names of their roles.
    pub roles: String,
    /// The members for whom an admin may ask.
    pub members: String,
    /// Which of these names are roles here.
    pub role_names: RoleNames,
}

/// The platform's names of our roles. Each other name is no role.
#[derive(Clone, Debug, Default)]
pub struct RoleNames(HashMap<String, Roles>);

impl FromStr for RoleNames {
    type Err = anyhow::Error;

    /// Reads a list such as `team-lead=manager,org:admin=admin`. Several names may be one role.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut names = HashMap::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let pair = pair.rsplit_once('=').map(|(name, role)| (name.trim(), role.trim()));
            let (name, role) =
                pair.filter(|(name, _)| !name.is_empty()).context("an entry is not NAME=ROLE")?;
            let roles = match role {
                "manager" => Roles { manager: true, ..Roles::default() },
                "admin" => Roles { admin: true, ..Roles::default() },
                "operator" => Roles { operator: true, ..Roles::default() },
                _ => bail!("`{role}` is not manager, admin or operator"),
            };
            if names.insert(name.to_owned(), roles).is_some() {
                bail!("`{name}` is there twice");
            }
        }
        Ok(Self(names))
    }
}

impl RoleNames {
    fn of<'n>(&self, names: impl Iterator<Item = &'n str>) -> Roles {
        let held = names.filter_map(|name| self.0.get(name));
        held.fold(Roles::default(), |all, one| Roles {
            manager: all.manager || one.manager,
            admin: all.admin || one.admin,
            operator: all.operator || one.operator,
        })
    }
}

impl Claims {
    /// Returns the caller of whom the claims of a checked token speak.
    pub(super) fn caller(&self, claims: &Value) -> Result<Caller, Refusal> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // A program that got the token for itself is the subject by its id (RFC 9068), which may be a user's id, too.
        if text("client_id").is_some_and(|program| Some(program) == text("sub")) {
            return Err(Refusal::Program);
        }
        let user = id(find(claims, &self.user)).ok().flatten().ok_or(Refusal::User)?;
        let org = id(find(claims, &self.org)).map_err(|()| Refusal::Org)?;
        let roles = match find(claims, &self.roles) {
            None => Roles::default(),
            Some(Value::String(name)) => self.role_names.of(std::iter::once(name.as_str())),
            Some(Value::Array(names)) => {
                let names: Option<Vec<_>> = names.iter().map(Value::as_str).collect();
                self.role_names.of(names.ok_or(Refusal::Roles)?.into_iter())
            }
            Some(_) => return Err(Refusal::Roles),
        };
        Ok(Caller {
            subject: Subject::Person(user.parse().map_err(|_| Refusal::User)?),
            org,
            roles,
            members: members(find(claims, &self.members))?,
            acting: acting(claims)?,
            session: None,
            expires_at: Some(expires_at(claims)),
        })
    }
}

/// Returns a claim by its name, or by the pointer to it. Null is no claim.
fn find<'c>(claims: &'c Value, name: &str) -> Option<&'c Value> {
    let found = if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) };
    found.filter(|value| !value.is_null())
}

/// Reads an id: a text, or a whole number, as platforms with numbers have it.
fn id(value: Option<&Value>) -> Result<Option<String>, ()> {
    let id = match value {
        None => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
        Some(_) => return Err(()),
    };
    if is_id(&id) { Ok(Some(id)) } else { Err(()) }
}

fn members(value: Option<&Value>) -> Result<Vec<UserId>, Refusal> {
    let list = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MOST_MEMBERS => list,
        Some(_) => return Err(Refusal::Members),
    };
    let ids = list.iter().map(|one| id(Some(one)).ok().flatten().and_then(|id| id.parse().ok()));
    ids.collect::<Option<_>>().ok_or(Refusal::Members)
}

/// Returns who acts as the person (RFC 8693). An `act` that cannot be read must not pass as none.
fn acting(claims: &Value) -> Result<Option<String>, Refusal> {
    let Some(act) = find(claims, "act") else { return Ok(None) };
    id(act.get("sub")).ok().flatten().map(Some).ok_or(Refusal::Actor)
}

/// Returns when the token ends. It was checked that there is such a claim; one that is beyond all dates ends at the last one.
fn expires_at(claims: &Value) -> DateTime<Utc> {
    let seconds = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
    DateTime::from_timestamp(seconds as i64, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: Value) -> Result<Caller, Refusal> {
        let names = Claims {
            user: "sub".to_owned(),
            org: "https://example.com/org".to_owned(),
            roles: "/realm_access/roles".to_owned(),
            members: "members".to_owned(),
            role_names: "lead=manager, org:a=b=admin,boss=admin,support=operator".parse().unwrap(),
        };
        names.caller(&claims)
    }

    #[test]
    fn claims_become_a_caller_and_an_unmapped_role_is_no_role() {
        let caller = read(json!({
            "sub": "7", "client_id": "app", "https://example.com/org": 42, "exp": 1_900_000_000.0,
            "realm_access": {"roles": ["lead", "org:a=b", "operator", "admin"]}, "members": ["8", 9],
            "act": {"sub": "staff 9"},
        }))
        .unwrap();
        assert!(caller.is(&"7".parse().unwrap()));
        assert_eq!((caller.org.as_deref(), caller.acting.as_deref()), (Some("42"), Some("staff 9")));
        assert_eq!(caller.roles, Roles { manager: true, admin: true, operator: false });
        assert_eq!(caller.members, ["8", "9"].map(|id| id.parse().unwrap()));
        assert_eq!(caller.expires_at.unwrap().timestamp(), 1_900_000_000);
        let alone =
            read(json!({"sub": "7", "roles": ["boss"], "realm_access": {"roles": "boss"}, "act": null}));
        let alone = alone.unwrap();
        assert_eq!((alone.org, alone.acting, alone.roles.admin), (None, None, true));
    }

    #[test]
    fn a_claim_of_the_wrong_form_is_refused_and_never_left_out() {
        for (claims, refusal) in [
            (json!({}), Refusal::User),
            (json!({"sub": ""}), Refusal::User),
            (json!({"sub": "a\nb"}), Refusal::User),
            (json!({"sub": 1.5}), Refusal::User),
            (json!({"sub": "app", "client_id": "app"}), Refusal::Program),
            (json!({"sub": "7", "https://example.com/org": ["a"]}), Refusal::Org),
            (json!({"sub": "7", "realm_access": {"roles": {"lead": true}}}), Refusal::Roles),
            (json!({"sub": "7", "realm_access": {"roles": ["lead", 7]}}), Refusal::Roles),
            (json!({"sub": "7", "members": "8"}), Refusal::Members),
            (json!({"sub": "7", "members": vec!["8"; 51]}), Refusal::Members),
            (json!({"sub": "7", "act": {}}), Refusal::Actor),
            (json!({"sub": "7", "act": "staff"}), Refusal::Actor),
        ] {
            assert_eq!(read(claims.clone()).unwrap_err(), refusal, "{claims}");
        }
    }

    #[test]
    fn a_wrong_list_of_roles_is_refused_by_its_entry() {
        for (text, part) in [
            ("lead", "not NAME=ROLE"),
            ("=admin", "not NAME=ROLE"),
            ("lead=king", "`king`"),
            ("a=admin,a=manager", "`a` is there twice"),
        ] {
            let error = text.parse::<RoleNames>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

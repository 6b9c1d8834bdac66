//! Who may do what: one table, and one function that reads it.

use export_activities::user_id::UserId;
use serde::{Deserialize, Serialize};

use crate::caller::{Caller, Subject};

/// An act on an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// See its state.
    See,
    /// Ask for it, or ask again.
    Ask,
    /// Take it back.
    Withdraw,
    /// Download it.
    Download,
}

impl Act {
    /// Every act, in the order of the table's columns.
    pub const ALL: [Self; 4] = [Self::See, Self::Ask, Self::Withdraw, Self::Download];
}

/// What a caller is to an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person whose data it is.
    Owner,
    /// A backend of the platform, with a service key.
    Service,
    /// Staff of the platform.
    Operator,
    /// An admin of the organisation in whose name it was asked for.
    Admin,
    /// A manager of that organisation.
    Manager,
}

impl Role {
    /// Returns the text in the log of accesses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Service => "service",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Manager => "manager",
        }
    }
}

/// Whether a role may do an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// It may not.
    No,
    /// It may.
    Yes,
    /// It may, and has to say why.
    WithWhy,
    /// It may if the installation allows it, and has to say why.
    IfAllowed,
}

/// The rights of each role, one column for each of [`Act::ALL`]. `docs/PORTAL.md` has the same table.
pub const RIGHTS: [(Role, [Right; 4]); 5] = {
    use Right::{IfAllowed, No, WithWhy, Yes};
    [
        (Role::Owner, [Yes, Yes, Yes, Yes]),
        (Role::Service, [Yes, Yes, Yes, No]),
        (Role::Operator, [Yes, WithWhy, WithWhy, No]),
        (Role::Admin, [Yes, WithWhy, WithWhy, IfAllowed]),
        (Role::Manager, [Yes, No, No, No]),
    ]
};

/// Whether an admin may download the export of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminDownloads {
    /// They may not.
    Refused,
    /// They may, and have to say why.
    Allowed,
}

/// What an act is about: an export, or one that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// Whose data.
    pub user: &'t UserId,
    /// In the name of which organisation it was asked for.
    pub org: Option<&'t str>,
}

/// An act that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// In which role.
    pub role: Role,
    /// The caller has to say why.
    pub needs_why: bool,
}

/// Why an act is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The caller may not even see it: the answer is the same as for an export that does not exist.
    Unseen,
    /// A member of the staff acts as the person, and may only look.
    Impersonated,
    /// No role of the caller allows it.
    NotAllowed,
}

/// Returns in which role the caller may do this, if in any.
pub fn may(
    caller: &Caller,
    act: Act,
    target: Target<'_>,
    admins: AdminDownloads,
) -> Result<Allowed, Refused> {
    let column = Act::ALL.iter().position(|other| *other == act).unwrap_or_default();
    let mut held = RIGHTS.iter().filter(|(role, _)| is(caller, *role, target)).peekable();
    if held.peek().is_none() {
        return Err(Refused::Unseen);
    }
    if caller.acting.is_some() && act != Act::See {
        return Err(Refused::Impersonated);
    }
    let allowed = |(role, rights): &(Role, [Right; 4])| {
        let needs_why = match rights[column] {
            Right::No => return None,
            Right::IfAllowed if admins == AdminDownloads::Refused => return None,
            Right::Yes => false,
            Right::WithWhy | Right::IfAllowed => true,
        };
        Some(Allowed { role: *role, needs_why })
    };
    held.find_map(allowed).ok_or(Refused::NotAllowed)
}

/// Returns in which role the caller may ask for an export of this person, also again. An admin may ask for the members
/// that the platform has named.
pub fn may_ask(caller: &Caller, user: &UserId) -> Result<Allowed, Refused> {
    let is_member = caller.members.contains(user);
    let org = caller.org.as_deref().filter(|_| is_member || !caller.roles.admin || caller.is(user));
    match may(caller, Act::Ask, Target { user, org }, AdminDownloads::Refused) {
        // Whether there is such a person is not known here, so there is nothing to hide.
        Err(Refused::Unseen) => Err(Refused::NotAllowed),
        other => other,
    }
}

/// Returns the organisation of an export that a person with a session asks for: their own, if it is theirs or a member's.
/// What an operator asks for belongs to no organisation, or its managers would see the export of a person outside of it.
pub fn org_of_ask(caller: &Caller, allowed: Allowed) -> Option<&str> {
    caller.org.as_deref().filter(|_| matches!(allowed.role, Role::Owner | Role::Admin))
}

fn is(caller: &Caller, role: Role, target: Target<'_>) -> bool {
    let of_org = caller.org.is_some() && caller.org.as_deref() == target.org;
    match role {
        Role::Owner => caller.is(target.user),
        Role::Service => matches!(caller.subject, Subject::Service(_)),
        Role::Operator => caller.roles.operator,
        Role::Admin => caller.roles.admin && of_org,
        Role::Manager => caller.roles.manager && of_org,
    }
}

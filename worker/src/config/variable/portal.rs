//! The variables of `serve`.

use super::{Group, Variable};

pub static PORTAL_DATABASE_URL: Variable = Variable::example(
    "EXPORT_PORTAL_DATABASE_URL",
    "postgres://export_portal:secret@127.0.0.1:5432/platform",
    "Only for `serve`: the database of EXPORT_DATABASE_URL, as role `export_portal`, which can read no link, no salt and no \
     table of the platform.",
);
pub static PORTAL_ADDR: Variable = Variable::example(
    "EXPORT_PORTAL_ADDR",
    "127.0.0.1:8080",
    "Only for `serve`: where it answers, without TLS: put a proxy with TLS before it.",
);
pub static PORTAL_URL: Variable = Variable::example(
    "EXPORT_PORTAL_URL",
    "https://exports.example.com",
    "The address under which people reach `serve`: https, or http on this machine for development. Its cookie works only \
     there.",
);
pub static PORTAL_KEY_FILE: Variable = Variable::example(
    "EXPORT_PORTAL_KEY_FILE",
    "/etc/export-worker/portal.keys",
    "Only for `serve`: the service keys of the platform's backends, a line `<name> <SHA-256 of the key>` each, as \
     `export-worker portal key NAME` prints it. A process that has a key can sign in as every person. Not needed with \
     EXPORT_PORTAL_ISSUER.",
);
pub static PORTAL_ORIGINS: Variable = Variable::example(
    "EXPORT_PORTAL_ORIGINS",
    "https://app.example.com",
    "Only for `serve`: the addresses of the platform whose pages may call it, comma-separated. Without them no page of \
     another origin may.",
);
pub static DOWNLOADS: Variable = Variable::new(
    "EXPORT_DOWNLOADS",
    "redirect",
    "Only for `serve`: `redirect` leads people to the store with a link for one click; `stream` sends archives through the \
     portal, for a store that people cannot reach. A replica streams at most 64 at a time.",
);
pub static PORTAL_ADMIN_DOWNLOADS: Variable = Variable::new(
    "EXPORT_PORTAL_ADMIN_DOWNLOADS",
    "false",
    "Only for `serve`: true lets the admin of an organisation download the exports of its members, with a reason that is \
     logged. It is their personal data: ask your lawyers first.",
);
pub static PORTAL_CONNECTIONS: Variable = Variable::new(
    "EXPORT_PORTAL_CONNECTIONS",
    "8",
    "Only for `serve`: database connections of one replica. Too few: calls queue behind each other; too many: the role's \
     CONNECTION LIMIT is met.",
)
.number(1, 1000);
pub static PORTAL_ISSUER: Variable = Variable::example(
    "EXPORT_PORTAL_ISSUER",
    "https://login.example.com",
    "Only for `serve`: the identity provider whose access tokens (JWT, RFC 9068) it takes, letter by letter as the tokens name \
     it in `iss`: https, or http on this machine for development. None: only service keys and sessions.",
);
pub static PORTAL_AUDIENCE: Variable = Variable::example(
    "EXPORT_PORTAL_AUDIENCE",
    "https://exports.example.com",
    "What the tokens for the portal have in `aud`. Never the id of a client: tokens for another program would then be taken.",
);
pub static PORTAL_JWKS_URL: Variable = Variable::example(
    "EXPORT_PORTAL_JWKS_URL",
    "https://login.example.com/jwks.json",
    "Where the public keys of the provider are; none: as `jwks_uri` of its `/.well-known/openid-configuration` says.",
);
pub static PORTAL_USER_CLAIM: Variable = Variable::new(
    "EXPORT_PORTAL_USER_CLAIM",
    "sub",
    "The claim that has the id of the user, as the platform's tables have it. This and the other claims are a name, or a \
     JSON pointer such as /realm_access/roles.",
);
pub static PORTAL_ORG_CLAIM: Variable = Variable::new(
    "EXPORT_PORTAL_ORG_CLAIM",
    "org_id",
    "The claim that has the organisation in whose name the person acts. Without it they have no role of an organisation.",
);
pub static PORTAL_ROLES_CLAIM: Variable = Variable::new(
    "EXPORT_PORTAL_ROLES_CLAIM",
    "roles",
    "The claim that has the names of the person's roles.",
);
pub static PORTAL_ROLES: Variable = Variable::example(
    "EXPORT_PORTAL_ROLES",
    "team-lead=manager,org:admin=admin,support=operator",
    "Which names of roles are ours (manager, admin, operator), comma-separated. Each other name is no role: a provider's \
     `admin` is often one of the whole platform.",
);
pub static PORTAL_MEMBERS_CLAIM: Variable = Variable::new(
    "EXPORT_PORTAL_MEMBERS_CLAIM",
    "members",
    "The claim that has the members for whom an admin may ask; at most 50. Without it an admin can ask only for themselves.",
);

pub(super) const PORTAL: Group = Group {
    title: "Portal",
    variables: &[
        &PORTAL_DATABASE_URL,
        &PORTAL_ADDR,
        &PORTAL_URL,
        &PORTAL_KEY_FILE,
        &PORTAL_ORIGINS,
        &DOWNLOADS,
        &PORTAL_ADMIN_DOWNLOADS,
        &PORTAL_CONNECTIONS,
    ],
};

pub(super) const IDENTITY_PROVIDER: Group = Group {
    title: "Identity provider of the portal",
    variables: &[
        &PORTAL_ISSUER,
        &PORTAL_AUDIENCE,
        &PORTAL_JWKS_URL,
        &PORTAL_USER_CLAIM,
        &PORTAL_ORG_CLAIM,
        &PORTAL_ROLES_CLAIM,
        &PORTAL_ROLES,
        &PORTAL_MEMBERS_CLAIM,
    ],
};

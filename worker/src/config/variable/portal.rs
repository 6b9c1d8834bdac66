//! The variables of `serve`.

use super::Variable;

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
     `export-worker portal key NAME` prints it. A process that has a key can sign in as every person.",
);
pub static PORTAL_ORIGINS: Variable = Variable::example(
    "EXPORT_PORTAL_ORIGINS",
    "https://app.example.com",
    "Only for `serve`: the addresses of the platform whose pages may call it, comma-separated. Without them no page of \
     another origin may.",
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

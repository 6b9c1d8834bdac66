//! The variables of notices.

use super::{Group, Variable};

pub static SMTP_URL: Variable = Variable::example(
    "EXPORT_SMTP_URL",
    "smtps://exports:secret@mail.example.com:465",
    "The server that takes mails to people: smtps, or smtp with STARTTLS, which is then required; without encryption only on \
     this machine. None: this worker sends no mail. `export-worker notices on mail` turns mails on for all.",
);
pub static MAIL_FROM: Variable = Variable::example(
    "EXPORT_MAIL_FROM",
    "Example <exports@example.com>",
    "Who mails are from; the name is what they call the platform. Needed with EXPORT_SMTP_URL.",
);
pub static PAGE_URL: Variable = Variable::example(
    "EXPORT_PAGE_URL",
    "https://app.example.com/settings/export",
    "Where a person sees their exports, after signing in; mails lead there, and never to an archive. Needed with \
     EXPORT_SMTP_URL; https, unless the SMTP server is on this machine.",
);
pub static MAIL_LANGUAGE: Variable = Variable::new(
    "EXPORT_MAIL_LANGUAGE",
    "en",
    "The language of mails to people of whom the platform knows none: en, de, fr or es.",
);
pub static TEMPLATE_DIR: Variable = Variable::example(
    "EXPORT_TEMPLATE_DIR",
    "/etc/export-worker/mails",
    "A directory with your texts, such as `en/ready.txt` and `layout.html`, in place of the compiled-in ones. Each is \
     rendered once when the worker starts; one that does not render stops the start.",
);
pub static WEBHOOK_URL: Variable = Variable::example(
    "EXPORT_WEBHOOK_URL",
    "https://app.example.com/hooks/exports",
    "The platform's receiver of webhooks. None: this worker sends none. `export-worker notices on webhook` turns webhooks on \
     for all.",
);
pub static WEBHOOK_SECRETS: Variable = Variable::example(
    "EXPORT_WEBHOOK_SECRETS",
    "whsec_bm90IGEgc2VjcmV0OiBhbiBleGFtcGxlIG9ubHk=",
    "What signs webhooks: `whsec_` and 24 to 64 random bytes in base64; two, separated by a comma, while the receiver changes \
     from one to the other. Needed with EXPORT_WEBHOOK_URL.",
);
pub static WEBHOOK_NETWORKS: Variable = Variable::example(
    "EXPORT_WEBHOOK_NETWORKS",
    "10.1.0.0/16",
    "Networks that are not on the public Internet, comma-separated, to which webhooks may go anyway. Name no more than \
     the receiver's: a name that leads elsewhere could reach every service there.",
);

pub(super) const NOTICES: Group = Group {
    title: "Notices",
    variables: &[
        &SMTP_URL,
        &MAIL_FROM,
        &PAGE_URL,
        &MAIL_LANGUAGE,
        &TEMPLATE_DIR,
        &WEBHOOK_URL,
        &WEBHOOK_SECRETS,
        &WEBHOOK_NETWORKS,
    ],
};

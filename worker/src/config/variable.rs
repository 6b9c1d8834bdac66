//! Describes every environment variable of the worker: its default, and the failures at its extremes.
//!
//! `.env.sample` and `docs/CONFIGURATION.md` are rendered from this table.

#[cfg(test)]
mod documents;
mod limits;
mod notices;
mod portal;

use std::time::Duration;

pub use self::limits::{
    DEFER_AFTER, LEASE, MAX_ATTEMPTS, MAX_LOST, PRICE_EGRESS, PRICE_GETS, PRICE_GIB_MONTH, PRICE_PUTS,
    RECHECK_BYTES, STALL_TIMEOUT, SWEEP_MIN_AGE,
};
pub use self::notices::{
    MAIL_FROM, MAIL_LANGUAGE, PAGE_URL, SMTP_URL, TEMPLATE_DIR, WEBHOOK_NETWORKS, WEBHOOK_SECRETS,
    WEBHOOK_URL,
};
pub use self::portal::{
    DOWNLOADS, PORTAL_ADDR, PORTAL_ADMIN_DOWNLOADS, PORTAL_AUDIENCE, PORTAL_CONNECTIONS, PORTAL_DATABASE_URL,
    PORTAL_ISSUER, PORTAL_JWKS_URL, PORTAL_KEY_FILE, PORTAL_MEMBERS_CLAIM, PORTAL_ORG_CLAIM, PORTAL_ORIGINS,
    PORTAL_ROLES, PORTAL_ROLES_CLAIM, PORTAL_URL, PORTAL_USER_CLAIM,
};
use super::value::{show_size, show_time};

/// One variable of the configuration.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Value if the variable is not set; empty if there is no default.
    pub default: &'static str,
    /// Value shown in `.env.sample` instead of the default; empty if the default is shown.
    pub example: &'static str,
    /// Its meaning, and the failures if it is too small or too large.
    pub about: &'static str,
    /// Its minimum and maximum.
    pub bounds: Bounds,
}

/// Minimum and maximum of a variable, both valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// A text.
    None,
    /// A whole number.
    Number(u64, u64),
    /// A time.
    Time(Duration, Duration),
    /// A size in bytes.
    Size(u64, u64),
}

impl Bounds {
    /// Formats both in the form in which they may be set.
    pub fn show(self) -> Option<[String; 2]> {
        match self {
            Self::None => None,
            Self::Number(least, most) => Some([least, most].map(|number| number.to_string())),
            Self::Time(least, most) => Some([least, most].map(show_time)),
            Self::Size(least, most) => Some([least, most].map(show_size)),
        }
    }
}

impl Variable {
    const fn new(name: &'static str, default: &'static str, about: &'static str) -> Self {
        Self { name, default, example: "", about, bounds: Bounds::None }
    }

    const fn example(name: &'static str, example: &'static str, about: &'static str) -> Self {
        Self { name, default: "", example, about, bounds: Bounds::None }
    }

    const fn number(self, least: u64, most: u64) -> Self {
        Self { bounds: Bounds::Number(least, most), ..self }
    }

    const fn time(self, least: Duration, most: Duration) -> Self {
        Self { bounds: Bounds::Time(least, most), ..self }
    }

    const fn size(self, least: u64, most: u64) -> Self {
        Self { bounds: Bounds::Size(least, most), ..self }
    }
}

/// An export holds three blocking threads while it is read, and tokio has 512 of them.
const MOST_SLOTS: u64 = 160;

const MOMENT: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A heading of `.env.sample` and the variables under it.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// Its variables.
    pub variables: &'static [&'static Variable],
}

pub static DATABASE_URL: Variable = Variable::example(
    "EXPORT_DATABASE_URL",
    "postgres://export_state:secret@127.0.0.1:5432/platform",
    "Where the export requests and their log are, as role `export_state`. Any stronger role works and is \
     reported by `doctor`: a bug could then write more than its own tables.",
);
pub static SOURCE_URL: Variable = Variable::example(
    "EXPORT_SOURCE_URL",
    "postgres://export_read:secret@127.0.0.1:5432/platform",
    "Where the exported tables are, as role `export_read`; it alone decides that an account is gone. May be a replica \
     itself, whose lag is then the age of the exported data, and whose missing users fail for good as `account_deleted`, \
     as a wrong database's would; with EXPORT_REPLICA_URL it must be the primary.",
);
pub static REPLICA_URL: Variable = Variable::example(
    "EXPORT_REPLICA_URL",
    "postgres://export_read:secret@127.0.0.1:5433/platform",
    "A streaming replica of EXPORT_SOURCE_URL, as role `export_read`, on which accounts are read once it has replayed what \
     the source had written when the request was claimed; after 10 s without that they are read on the source. One that \
     always lags costs each minute 10 s of one export and spares the source nothing.",
);
pub static OWNER_URL: Variable = Variable::example(
    "EXPORT_OWNER_URL",
    "postgres://owner:secret@127.0.0.1:5432/platform",
    "Only for `migrate` and `grants --apply`: the owner of the tables, who may create tables in schema `public` and roles. \
     Do not give it to the worker.",
);
pub static STATE_CONNECTIONS: Variable = Variable::example(
    "EXPORT_STATE_CONNECTIONS",
    "4",
    "Connections for requests and events, beside one that listens; default: the larger of 4 and an eighth of \
     EXPORT_SLOTS. Too few: claims queue behind each other; too many: the role's CONNECTION LIMIT is met and attempts fail with 53300.",
)
// At least two: the lease must be renewed while the attempt itself writes.
.number(2, 1000);
pub static SOURCE_CONNECTIONS: Variable = Variable::example(
    "EXPORT_SOURCE_CONNECTIONS",
    "8",
    "Connections with which this worker reads the exported tables, so the most exports that it reads at a time, beside one \
     for addresses of mail; default: EXPORT_SLOTS. Fewer than slots: exports wait for each other; more is of no use. What bounds all workers together is \
     the role's CONNECTION LIMIT.",
)
.number(1, 1000);
pub static STATEMENT_TIMEOUT: Variable = Variable::new(
    "EXPORT_STATEMENT_TIMEOUT",
    "4h",
    "The longest that one statement may read on the source, whatever is set for role or database; one statement reads all \
     rows of an entity. Too short: a heavy account is never served; too long: a query that went astray holds back vacuum \
     until a DBA stops it.",
)
// An activity ends after a day, so a longer statement would be useless.
.time(SECOND, DAY);
pub static ACQUIRE_TIMEOUT: Variable = Variable::new(
    "EXPORT_ACQUIRE_TIMEOUT",
    "30s",
    "How long a step waits for a free database connection. Too short: a busy moment looks like an outage; \
     too long: an outage is noticed late.",
)
// Opening and setting up a session takes a while on a busy machine.
.time(SECOND, HOUR);

pub static BUCKET: Variable = Variable::example(
    "EXPORT_BUCKET",
    "exports",
    "The bucket of the archives, for this installation alone: a bucket that carries another installation's mark is \
     neither written nor cleaned.",
);
pub static S3_ENDPOINT: Variable = Variable::example(
    "EXPORT_S3_ENDPOINT",
    "http://127.0.0.1:7070",
    "Address of an S3-compatible store; none: AWS S3.",
);
pub static PUBLIC_ENDPOINT: Variable = Variable::example(
    "EXPORT_PUBLIC_ENDPOINT",
    "https://downloads.example.com",
    "Address under which users reach the store, when it is not EXPORT_S3_ENDPOINT. The host is part of a link's \
     signature: a wrong one makes every link fail.",
);
pub static PLATFORM_ROLES: Variable = Variable::new(
    "EXPORT_PLATFORM_ROLES",
    "platform",
    "The roles, separated by commas, that may read links in the view `data_export_requests_effective`, because the platform \
     shows them. `doctor` fails when any other role can read a link or a salt.",
);
pub static SIGNING_ACCESS_KEY_ID: Variable = Variable::example(
    "EXPORT_SIGNING_ACCESS_KEY_ID",
    "AKIAEXAMPLE",
    "A long-lived key that signs the links; none: the key that reads and writes. Needed where that one is temporary \
     (a role, SSO, a session token): a link dies with the credentials that signed it.",
);
pub static SIGNING_SECRET_ACCESS_KEY: Variable = Variable::example(
    "EXPORT_SIGNING_SECRET_ACCESS_KEY",
    "secret",
    "The secret of EXPORT_SIGNING_ACCESS_KEY_ID; the two go together.",
);
pub static FILES_ACCESS_KEY_ID: Variable = Variable::example(
    "EXPORT_FILES_ACCESS_KEY_ID",
    "AKIAEXAMPLE",
    "A key that may read the buckets of `[files]` in the catalogue and do nothing else; none: the key that reads and \
     writes archives.",
);
pub static FILES_SECRET_ACCESS_KEY: Variable = Variable::example(
    "EXPORT_FILES_SECRET_ACCESS_KEY",
    "secret",
    "The secret of EXPORT_FILES_ACCESS_KEY_ID; the two go together.",
);
pub static LINKS: Variable = Variable::new(
    "EXPORT_LINKS",
    "presigned",
    "presigned: `download_url` is a link to the store, and each person who has it can download for seven days. on_click: it leads to \
     EXPORT_PORTAL_URL, which makes a link of minutes for each click of a person who may download; then no bearer secret is stored \
     anywhere, and signing credentials may be temporary.",
);
pub static STORE_CONNECT_TIMEOUT: Variable = Variable::new(
    "EXPORT_STORE_CONNECT_TIMEOUT",
    "5s",
    "The longest wait for a connection to the store. Too short: a busy store looks dead; too long: a dead one \
     holds its slot.",
)
.time(MOMENT, HOUR);
pub static STORE_ATTEMPT_TIMEOUT: Variable = Variable::new(
    "EXPORT_STORE_ATTEMPT_TIMEOUT",
    "60s",
    "The longest single try of one call. Too short: a part never gets through a slow line; too long: a hung \
     connection is noticed late.",
)
.time(MOMENT, HOUR);
pub static STORE_OPERATION_TIMEOUT: Variable = Variable::new(
    "EXPORT_STORE_OPERATION_TIMEOUT",
    "4m",
    "The longest that one call may take with all its tries. Keep it under EXPORT_STALL_TIMEOUT, or a slow call is \
     stopped as stalled.",
)
.time(MOMENT, HOUR);
pub static SSE: Variable = Variable::example(
    "EXPORT_SSE",
    "AES256",
    "How the store must encrypt archives: AES256 (a key of the store), aws:kms (the default key of the bucket) or aws:kms:KEY \
     (this key, by id or ARN). The worker asks for it, reads it back, and delivers nothing without it. None: as the store \
     does by itself.",
);
pub static PUT_LIMIT: Variable = Variable::new(
    "EXPORT_PUT_LIMIT",
    "16MiB",
    "The largest archive that goes up in one put, else multipart. It is held in memory once for each slot: too large \
     costs memory; too small costs three calls in place of one.",
)
// S3 accepts at most 5 GiB in one put.
.size(0, 5 << 30);
pub static PARALLEL_PARTS: Variable = Variable::new(
    "EXPORT_PARALLEL_PARTS",
    "4",
    "Parts of one archive in flight. Each costs a part's size in memory, for each slot; 1 leaves a fast line idle.",
)
.number(1, 64);

pub static TASK_QUEUE: Variable = Variable::new(
    "EXPORT_TASK_QUEUE",
    "exports",
    "The Temporal task queue; expiry and sweep use the same name with `-passes` behind it. It must be the same for worker and \
     schedules. Where they differ, runs wait for ever.",
);
pub static SLOTS: Variable = Variable::new(
    "EXPORT_SLOTS",
    "8",
    "Exports that one worker runs at a time; expiry and sweep have slots of their own. Memory, spool and \
     database connections grow with it; too few and a large account keeps others waiting.",
)
.number(1, MOST_SLOTS);
pub static HEARTBEAT_THROTTLE: Variable = Variable::new(
    "EXPORT_HEARTBEAT_THROTTLE",
    "3s",
    "How seldom heartbeats reach the server. A cancel, a reset or a terminate arrives with a heartbeat, so longer means \
     a slower stop; near the heartbeat timeout of 30s healthy attempts are given up.",
)
.time(MOMENT, Duration::from_secs(20));
pub static SHUTDOWN_GRACE: Variable = Variable::new(
    "EXPORT_SHUTDOWN_GRACE",
    "25s",
    "How long a stopping worker lets attempts finish before it interrupts them. Keep it 5s under the grace of whatever \
     stops it (30s in Kubernetes), or it is killed and its claims count as lost.",
)
.time(Duration::ZERO, DAY);
pub static RECYCLE_AFTER: Variable = Variable::new(
    "EXPORT_RECYCLE_AFTER",
    "100000",
    "Activities after which the worker drains and restarts, as a new process under the same id: the SDK keeps \
     about 480 bytes of each. Too small: it drains all the time; too large: memory grows.",
)
.number(100, u64::MAX);

pub static CATALOGUE_DIR: Variable = Variable::example(
    "EXPORT_CATALOGUE_DIR",
    "/etc/export-worker/catalogue",
    "A directory with `catalogue.toml` and its queries in place of the compiled-in catalogue. These are trusted files: \
     they decide what leaves the platform.",
);
pub static NOTICE_FILE: Variable = Variable::example(
    "EXPORT_NOTICE_FILE",
    "/etc/export-worker/notice.txt",
    "A text (UTF-8) that each archive carries as NOTICE.txt: purposes, recipients, rights, whatever the law asks you to \
     say with the copy.",
);
pub static DEFLATE_LEVEL: Variable = Variable::new(
    "EXPORT_DEFLATE_LEVEL",
    "1",
    "Compression, 0 to 9. 0 stores; 3 makes archives a third smaller than 1 for a little more time, 6 the smallest. A \
     change changes the bytes of the archives, not their contents.",
)
.number(0, 9);
pub static SPOOL_DIR: Variable = Variable::example(
    "EXPORT_SPOOL_DIR",
    "/var/tmp/export-worker",
    "Where archives lie until they are uploaded, as files without a name; default: `export-worker` under the system's \
     directory for temporary files. On a tmpfs they cost memory.",
);
pub static SPOOL_QUOTA: Variable = Variable::new(
    "EXPORT_SPOOL_QUOTA",
    "20GiB",
    "The most that the spool of one process may hold. An archive takes its size plus the size of its CSV part \
     and of its further formats. One that needs more than the whole quota fails its request in the end; a quota over the \
     disk's space turns into `spool_full`.",
)
.size(1 << 20, 1 << 50);

pub static HTTP_ADDR: Variable = Variable::example(
    "EXPORT_HTTP_ADDR",
    "127.0.0.1:9464",
    "Where the worker answers /metrics, /livez and /readyz, without TLS or password; none: nowhere, so that no port is \
     open unasked and several workers fit on one machine. Reachable from outside, it tells strangers how busy the \
     platform is.",
);

pub static RECEIPT_KEY_FILE: Variable = Variable::example(
    "EXPORT_RECEIPT_KEY_FILE",
    "/etc/export-worker/receipt.pem",
    "The private key (Ed25519, PKCS#8 in PEM) with which workers sign a receipt of each archive, as `export-worker receipt \
     key FILE` makes it. None: there are no receipts. A process that has it can state anything in your name: give it to \
     workers and auditors' commands, never to `serve`.",
);

pub static CODEC_KEY_FILE: Variable = Variable::example(
    "EXPORT_CODEC_KEY_FILE",
    "/etc/export-worker/codec.keys",
    "A file of keys with which payloads are encrypted (AES-256-GCM) before Temporal gets them: a line `<key id> <32 \
     bytes in base64 or hexadecimal>` each; the first one encrypts, all decrypt. None: payloads (ids, counts, codes) are \
     plain. The same for workers and commands: without a key that was used, runs stand still.",
);
pub static CODEC_ADDR: Variable = Variable::example(
    "EXPORT_CODEC_ADDR",
    "127.0.0.1:8234",
    "Only for `codec-server`: where it answers /decode and /encode, without TLS: put a proxy with TLS before it when \
     it leaves this machine.",
);
pub static CODEC_TOKEN: Variable = Variable::example(
    "EXPORT_CODEC_TOKEN",
    "secret",
    "Only for `codec-server`: what a caller sends as `Authorization: Bearer`. Anyone with it can read every payload.",
);
pub static CODEC_ORIGINS: Variable = Variable::example(
    "EXPORT_CODEC_ORIGINS",
    "http://localhost:8233",
    "Only for `codec-server`: the addresses of Web UIs whose pages may ask it, comma-separated. Without them no \
     browser may.",
);

pub static LOG_FORMAT: Variable = Variable::new(
    "EXPORT_LOG_FORMAT",
    "auto",
    "human, json, or auto: human on a terminal, JSON otherwise. What is logged is set by RUST_LOG (default: info); the \
     targets that see credentials and row values stay at info whatever it says.",
);

/// Every variable, in the order of `.env.sample`.
pub static GROUPS: [Group; 12] = [
    Group {
        title: "Databases",
        variables: &[
            &DATABASE_URL,
            &SOURCE_URL,
            &REPLICA_URL,
            &OWNER_URL,
            &PLATFORM_ROLES,
            &STATE_CONNECTIONS,
            &SOURCE_CONNECTIONS,
            &STATEMENT_TIMEOUT,
            &ACQUIRE_TIMEOUT,
        ],
    },
    Group {
        title: "Store",
        variables: &[
            &BUCKET,
            &S3_ENDPOINT,
            &PUBLIC_ENDPOINT,
            &LINKS,
            &SIGNING_ACCESS_KEY_ID,
            &SIGNING_SECRET_ACCESS_KEY,
            &FILES_ACCESS_KEY_ID,
            &FILES_SECRET_ACCESS_KEY,
            &STORE_CONNECT_TIMEOUT,
            &STORE_ATTEMPT_TIMEOUT,
            &STORE_OPERATION_TIMEOUT,
            &SSE,
            &PUT_LIMIT,
            &PARALLEL_PARTS,
        ],
    },
    Group {
        title: "Worker",
        variables: &[&TASK_QUEUE, &SLOTS, &HEARTBEAT_THROTTLE, &SHUTDOWN_GRACE, &RECYCLE_AFTER],
    },
    Group {
        title: "Archive",
        variables: &[&CATALOGUE_DIR, &NOTICE_FILE, &DEFLATE_LEVEL, &SPOOL_DIR, &SPOOL_QUOTA],
    },
    limits::LIMITS,
    limits::COSTS,
    Group { title: "Receipts", variables: &[&RECEIPT_KEY_FILE] },
    Group {
        title: "Encryption of payloads",
        variables: &[&CODEC_KEY_FILE, &CODEC_ADDR, &CODEC_TOKEN, &CODEC_ORIGINS],
    },
    portal::PORTAL,
    portal::IDENTITY_PROVIDER,
    notices::NOTICES,
    Group { title: "Watching", variables: &[&HTTP_ADDR, &LOG_FORMAT] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_our_prefix_and_stands_once() {
        let mut names: Vec<_> =
            GROUPS.iter().flat_map(|group| group.variables).map(|variable| variable.name).collect();
        assert!(names.iter().all(|name| name.starts_with("EXPORT_")));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

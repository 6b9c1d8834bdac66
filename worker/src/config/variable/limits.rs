//! How long and how often the worker tries, and what archives cost.

use std::time::Duration;

use super::{Group, HOUR, Variable};

pub static MAX_ATTEMPTS: Variable = Variable::new(
    "EXPORT_MAX_ATTEMPTS",
    "15",
    "Failures of our own code after which a request fails as `attempts_exhausted` (five a night). Too few: a bug that is \
     mended tomorrow has already failed the request.",
)
.number(1, 1000);
pub static MAX_LOST: Variable = Variable::new(
    "EXPORT_MAX_LOST",
    "20",
    "Workers killed over one request after which it fails as `attempts_exhausted`. Too few: a bad day of the cluster \
     fails requests; too many: a poisonous one kills workers for nights.",
)
.number(1, 1000);
pub static DEFER_AFTER: Variable = Variable::new(
    "EXPORT_DEFER_AFTER",
    "30m",
    "How long after its first failed attempt a request is retried while database or store fail, before the night leaves \
     it to its second round. Too short: a small outage defers the night; too long: a dead store holds every lane.",
)
.time(Duration::ZERO, Duration::from_secs(12 * 3600));
pub static STALL_TIMEOUT: Variable = Variable::new(
    "EXPORT_STALL_TIMEOUT",
    "5m",
    "How long an attempt may move no row and no byte before it is stopped. Too short: slow stores and disks look dead; \
     too long: a hung one holds its slot.",
)
.time(Duration::from_secs(60), Duration::from_secs(12 * 3600));
pub static LEASE: Variable = Variable::new(
    "EXPORT_LEASE",
    "60s",
    "How long others leave a claimed request alone after its last sign of life. Under 20s a pause of the worker loses \
     its claims; longer delays the takeover from a killed worker.",
)
.time(Duration::from_secs(15), HOUR);
pub static SWEEP_MIN_AGE: Variable = Variable::new(
    "EXPORT_SWEEP_MIN_AGE",
    "24h",
    "How old an object must be to count as an orphan. Shorter than the longest upload and the sweep has to rely on the \
     claims alone; longer keeps personal data lying about.",
)
.time(Duration::ZERO, Duration::from_secs(365 * 24 * 3600));
pub static RECHECK_BYTES: Variable = Variable::new(
    "EXPORT_RECHECK_BYTES",
    "1GiB",
    "How much of the delivered archives in a bucket a night reads back and compares with their SHA-256, those that were not read for \
     longest first, and at least one. The presence and the size of each are compared anyway. 0: none is read.",
)
.size(0, 1 << 50);
pub static PRICE_GIB_MONTH: Variable = Variable::new(
    "EXPORT_PRICE_GIB_MONTH",
    "0.023",
    "Only for `cost`: the price of a GiB stored for a month. This default and the next three are those of S3 Standard in \
     us-east-1, in US dollars.",
);
pub static PRICE_PUTS: Variable = Variable::new(
    "EXPORT_PRICE_PUTS",
    "0.005",
    "Only for `cost`: the price of 1,000 calls that store something.",
);
pub static PRICE_GETS: Variable =
    Variable::new("EXPORT_PRICE_GETS", "0.0004", "Only for `cost`: the price of 1,000 calls that read.");
pub static PRICE_EGRESS: Variable = Variable::new(
    "EXPORT_PRICE_EGRESS",
    "0.09",
    "Only for `cost`: the price of a GiB that leaves the store. 0 for a store that does not bill it.",
);

pub(super) const LIMITS: Group = Group {
    title: "Limits",
    variables: &[
        &MAX_ATTEMPTS,
        &MAX_LOST,
        &DEFER_AFTER,
        &STALL_TIMEOUT,
        &LEASE,
        &SWEEP_MIN_AGE,
        &RECHECK_BYTES,
    ],
};

pub(super) const COSTS: Group =
    Group { title: "Costs", variables: &[&PRICE_GIB_MONTH, &PRICE_PUTS, &PRICE_GETS, &PRICE_EGRESS] };

//! What is done to a night, and when: all of it from a seed, so that a bad round can be repeated.

use std::{fmt, time::Duration};

use export_stack::{
    instruments::{faulty_store::Fault, proxy::Mode},
    servers::random::{Random, pick},
};

/// One thing that an operator does, or that happens to a server.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Pause,
    Resume,
    Window,
    CancelAndBegin,
    TerminateAndBegin,
    Reset,
    BeginByHand,
    Trigger,
    Backfill,
    PauseSchedule,
    UnpauseSchedule,
    PauseActivity,
    UnpauseActivities,
    ResetActivity,
    UnknownSignal,
    Replace,
    Kill,
    Freeze,
    Thaw,
    Disturb(Server, Mode),
    CutBackends,
    StoreFails(&'static str, Fault, Calls),
    StoreHeals,
    Fulfil,
    Revoke,
    Sweep,
}

/// What lies behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    State,
    Source,
    Temporal,
}

/// Which calls of the store fail.
#[derive(Clone, Copy, Debug)]
pub(super) enum Calls {
    Nth(usize),
    All,
}

/// An operation at its moment. What it is done to is only known then: `number` chooses among what is there.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) operation: Operation,
    pub(super) number: u64,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disturb(server, Mode::Pass) => write!(f, "{server:?} passes"),
            Self::Disturb(server, mode) => write!(f, "{server:?} {mode:?}"),
            Self::StoreFails(call, fault, calls) => write!(f, "{call} {fault:?} {calls:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// The kinds of disturbance; each comes at most once in a round.
const KINDS: usize = 23;
const SHORTEST: Duration = Duration::from_millis(300);
/// Longer than it takes until a worker that cannot reach Temporal drops the results of its attempts.
const LONGEST: Duration = Duration::from_secs(12);

/// Chooses `operations` kinds and their moments within `length`; what has to be undone is undone within the round, or by
/// its end.
pub(super) fn plan(seed: u64, operations: usize, length: Duration) -> Vec<Step> {
    let random = Random::new(seed);
    let mut kinds: Vec<usize> = (0..KINDS).collect();
    random.shuffle(&mut kinds);
    let mut steps = Vec::new();
    for kind in kinds.into_iter().take(operations) {
        let at = random.between(Duration::ZERO, length);
        let (operation, undone) = disturbance(kind, &random);
        steps.push(Step { at, operation, number: random.number() });
        if let Some(operation) = undone {
            let at = at + random.between(SHORTEST, LONGEST);
            steps.push(Step { at, operation, number: random.number() });
        }
    }
    steps.sort_by_key(|step| step.at);
    steps
}

/// Returns a disturbance and what undoes it.
fn disturbance(kind: usize, random: &Random) -> (Operation, Option<Operation>) {
    use Operation::*;
    match kind {
        0 => (Pause, Some(Resume)),
        1 => (Window, None),
        2 => (CancelAndBegin, None),
        3 => (TerminateAndBegin, None),
        4 | 5 => (Reset, None),
        6 => (BeginByHand, None),
        7 => (Trigger, None),
        8 => (Backfill, None),
        9 => (PauseSchedule, Some(UnpauseSchedule)),
        10 => (PauseActivity, Some(UnpauseActivities)),
        11 => (ResetActivity, None),
        12 => (UnknownSignal, None),
        13 => (Replace, None),
        14 => (Kill, None),
        15 => (Freeze, Some(Thaw)),
        16 => {
            let server = [Server::State, Server::Source][pick(random.number(), 2)];
            (Disturb(server, database_fault(random)), Some(Disturb(server, Mode::Pass)))
        }
        17 => (Disturb(Server::Temporal, Mode::Cut), Some(Disturb(Server::Temporal, Mode::Pass))),
        18 => (CutBackends, None),
        19 => (store_fault(random), Some(StoreHeals)),
        20 => (Fulfil, None),
        21 => (Revoke, None),
        _ => (Sweep, None),
    }
}

fn database_fault(random: &Random) -> Mode {
    let answers = pick(random.number(), 9) + 1;
    let modes = [
        Mode::Cut,
        Mode::DropCommitAnswer,
        Mode::DropAnswer(answers),
        Mode::Delay(Duration::from_millis(300)),
    ];
    modes[pick(random.number(), modes.len())]
}

fn store_fault(random: &Random) -> Operation {
    let calls = [
        "PutObject",
        "HeadObject",
        "DeleteObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
        "ListMultipartUploads",
        "GetObject",
    ];
    let faults = [Fault::InternalError, Fault::SlowDown, Fault::Hang, Fault::Refuse, Fault::LoseAnswer];
    let which = [Calls::Nth(pick(random.number(), 8) + 1), Calls::All];
    Operation::StoreFails(
        calls[pick(random.number(), calls.len())],
        faults[pick(random.number(), faults.len())].clone(),
        which[pick(random.number(), which.len())],
    )
}

#[test]
fn a_seed_gives_the_same_operations_again_and_many_seeds_give_all() {
    let length = Duration::from_secs(20);
    let named = |seed| -> Vec<String> {
        plan(seed, 14, length).iter().map(|step| format!("{:?} {}", step.at, step.operation)).collect()
    };
    assert_eq!(named(7), named(7));
    assert_ne!(named(7), named(8));
    let all: std::collections::BTreeSet<String> = (0..50)
        .flat_map(|seed| plan(seed, 14, length))
        .map(|step| format!("{:?}", std::mem::discriminant(&step.operation)))
        .collect();
    assert_eq!(all.len(), 26, "{all:?}");
}

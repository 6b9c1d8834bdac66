//! The goals P1 to P11, and the figures measured for them.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use crate::{
    bench::{ACTIVITY, BY_HAND, BY_KEY, FEW_ENTITIES, HUNDREDS, MANY, MANY_ENTITIES, PEERS, QUERIES},
    formats::{ALL, USUAL, WITH_WORKBOOK},
    scale,
    table::Table,
};

/// Memory of a worker without an export, and maximum memory of an export's parts and queues, in MiB; see docs/SCALE.md.
const BASE_MEBIBYTES: u64 = 80;
const QUEUES_MEBIBYTES: u64 = 32 + 2;

/// One goal and the figure measured for it.
#[derive(Clone, Serialize)]
struct Goal {
    goal: f64,
    /// None if a needed program is not installed, or the bench was too small.
    measured: Option<f64>,
    met: bool,
    what: String,
    /// The distance from the goal, which is 1; infinite if nothing was measured.
    #[serde(skip)]
    distance: f64,
}

/// The goals, `P1` to `P11`. A goal with several figures has the worst of them, and each figure also has its own name.
#[derive(Default)]
pub(crate) struct Goals(BTreeMap<String, Goal>);

impl Goals {
    /// Records a figure that must not be above its goal.
    fn at_most(&mut self, name: &str, goal: f64, measured: Option<f64>, what: &str) {
        self.note(name, goal, measured, measured.map(|measured| measured / goal), what);
    }

    /// Records a figure that must not be below its goal.
    fn at_least(&mut self, name: &str, goal: f64, measured: Option<f64>, what: &str) {
        self.note(name, goal, measured, measured.map(|measured| goal / measured), what);
    }

    fn note(&mut self, name: &str, goal: f64, measured: Option<f64>, distance: Option<f64>, what: &str) {
        let distance = distance.unwrap_or(f64::INFINITY);
        let noted = Goal { goal, measured, met: distance <= 1.0, what: what.to_owned(), distance };
        for name in [name, whole(name)] {
            if self.0.get(name).is_none_or(|known| known.distance < distance) {
                self.0.insert(name.to_owned(), noted.clone());
            }
        }
    }

    /// Reads the table of the heavy account.
    pub(crate) fn heavy(&mut self, table: &Table, zipped: Option<u64>) {
        let wall =
            |level| table.ratio(&format!("engine to spool, level {level}"), "COPY, binary", |cost| cost.wall);
        self.at_most(
            "P1 level 1",
            1.3,
            wall(1),
            "wall seconds of the engine at level 1, to spool with digests, over those of binary COPY",
        );
        self.at_most("P1 level 3", 1.7, wall(3), "the same at level 3");
        let peers = PEERS.iter().filter_map(|(_, peer)| table.median(peer, |cost| cost.wall));
        let ours = table.median("engine to spool, level 1", |cost| cost.wall);
        let faster = peers.reduce(f64::min).zip(ours).map(|(fastest, ours)| fastest / ours);
        self.at_least("P2", 2.5, faster, "how many times faster than the fastest peer at level 1");
        self.at_most(
            "P3 heavy account",
            128.0,
            mebibytes(table, ACTIVITY),
            "MiB of memory at most, one export",
        );
        let postgres = table.ratio("engine to spool, level 1", "COPY, binary", |cost| cost.postgres);
        self.at_most("P4", 1.15, postgres, "CPU seconds of PostgreSQL over those of binary COPY");
        let ours = table.bytes("engine to spool, level 6");
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let size = ours.zip(zipped).map(|(ours, zipped)| ours as f64 / zipped as f64);
        self.at_most("P7", 1.1, size, "bytes of the archive at level 6 over those of `zip -6`");
    }

    /// Reads the table of formats.
    pub(crate) fn formats(&mut self, table: &Table) {
        let own = table.ratio(ALL, USUAL, |cost| cost.own);
        self.at_most("P11", 3.0, own, "our CPU with a workbook and Parquet over that without");
        self.at_most(
            "P3 workbook",
            128.0,
            mebibytes(table, WITH_WORKBOOK),
            "MiB of memory at most, with a workbook",
        );
        self.at_most("P3 formats", 168.0, mebibytes(table, ALL), "MiB of memory at most, in all formats");
    }

    /// Reads the table of large cells.
    pub(crate) fn cells(&mut self, table: &Table) {
        self.at_most(
            "P3 200 cells of 1 MB",
            128.0,
            mebibytes(table, "200 cells of 1 MB"),
            "MiB of memory at most, one export with cells of 1 MB",
        );
        for (name, slots, row) in [
            ("one cell of 64 MB", 1, 64),
            ("four such accounts at once", 4, 64),
            ("eight such accounts at once", 8, 1),
            ("eight heavy accounts at once", 8, 0),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
            let bound = (BASE_MEBIBYTES + slots * (QUEUES_MEBIBYTES + 4 * row)) as f64;
            let what =
                format!("MiB of memory at most with {name}: base + slots x (queues + 4 x the largest row)");
            self.at_most(&format!("P3 {name}"), bound, mebibytes(table, name), &what);
        }
    }

    /// Reads the cost of the small accounts, without Temporal and in a night.
    pub(crate) fn small(
        &mut self,
        table: &Table,
        round_trips: Option<f64>,
        night: &scale::Cost,
        requests: u32,
    ) {
        let requests = f64::from(requests);
        let per_request = |seconds: f64| seconds * 1000.0 / requests;
        let activity = table.median(ACTIVITY, |cost| cost.own).map(per_request);
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let hundred = table.last(HUNDREDS).map(|cost| cost.own * 1000.0 / cost.did.count as f64);
        self.at_most(
            "P5 CPU",
            5.0,
            hundred,
            "CPU milliseconds of the worker for an account of about 100 rows",
        );
        self.at_most(
            "P5 round trips",
            12.0,
            round_trips,
            "round trips to databases and store for a small account",
        );
        let over_queries = table.ratio(ACTIVITY, QUERIES, |cost| cost.own);
        self.at_most(
            "P5 over queries",
            4.0,
            over_queries,
            "CPU of the worker for small accounts over that of their queries alone",
        );
        let cpu =
            |name: &str| night.cpu.iter().find(|(known, _)| known == name).map(|(_, cpu)| per_request(*cpu));
        let orchestration = cpu("temporal")
            .zip(cpu("workers"))
            .zip(activity)
            .map(|((temporal, workers), activity)| temporal + workers - activity);
        self.at_most(
            "P6",
            10.0,
            orchestration,
            "CPU milliseconds a request of Temporal's server and of the worker beyond the activity",
        );
        let most = table.last(MANY).or_else(|| table.last(ACTIVITY));
        let grown = most.and_then(|cost| {
            let (early, late) = cost.did.early_mebibytes.zip(cost.did.late_mebibytes)?;
            #[expect(clippy::cast_precision_loss, reason = "a ratio")]
            Some(late as f64 / early as f64)
        });
        self.at_most(
            "P8",
            1.1,
            grown,
            "memory after the last thousand of many small accounts over that after the first, without Temporal",
        );
    }

    /// Reads the tables of many entities and of the large table.
    pub(crate) fn other_schemas(&mut self, entities: &Table, large: &Table) {
        let many = entities.ratio(MANY_ENTITIES, FEW_ENTITIES, |cost| cost.wall);
        self.at_most("P9", 2.0, many, "seconds of empty accounts with 120 entities over those with 11");
        let sorted = large.ratio(BY_KEY, BY_HAND, |cost| cost.wall);
        self.at_most(
            "P10",
            1.3,
            sorted,
            "seconds of our statement without an index in its order over those of one written by hand",
        );
    }

    /// Reads the memory of the enormous account.
    pub(crate) fn enormous(&mut self, table: &Table) {
        let what = "MiB of memory at most, one export of ten times the runs";
        self.at_most("P3 enormous account", 128.0, mebibytes(table, ACTIVITY), what);
    }

    /// Writes the summary.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&self.0).context("failed to write down the goals")?;
        std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred")]
fn mebibytes(table: &Table, name: &str) -> Option<f64> {
    table.peak(name).map(|peak| peak as f64)
}

/// Returns the name of a figure's goal.
fn whole(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(goal, _)| goal)
}

impl fmt::Display for Goals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nGoals")?;
        let has_parts = |goal: &str| self.0.keys().any(|name| name != goal && whole(name) == goal);
        for (name, Goal { goal, measured, met, what, .. }) in &self.0 {
            if has_parts(name) {
                continue;
            }
            let met = if *met { "met   " } else { "MISSED" };
            let measured = measured.map_or_else(|| "nothing".to_owned(), |measured| format!("{measured:.2}"));
            writeln!(out, "  {met} {name:<32} {measured:>8} of {goal:>7.2}  {what}")?;
        }
        Ok(())
    }
}

//! The clocks of database, worker and store: the first signs links, the last decides whether they have expired.

use chrono::TimeDelta;
use export_activities::database::pool::Pool;

use super::{Line, store::Clock};
use crate::connect::{
    clock::{self, FAIL, WARN},
    explain::{self, Explained},
};

/// Compares the three clocks.
pub(super) async fn examine(state: Option<&Pool>, bucket: Option<Clock>, lines: &mut Vec<Line>) {
    const CHECK: &str = "clocks";
    let Some(state) = state else {
        lines.push(Line::skipped(CHECK, "the database does not answer"));
        return;
    };
    let database = match clock::ahead(state).await {
        Ok(database) => database,
        Err(error) => {
            lines.push(Line::failed(CHECK, explain::database(&error.into(), "EXPORT_DATABASE_URL")));
            return;
        }
    };
    let store = bucket.map(|clock| clock.store - clock.here);
    lines.push(judge(database, store));
}

/// Judges how far the clocks of database and store are ahead of ours.
fn judge(database: TimeDelta, store: Option<TimeDelta>) -> Line {
    const CHECK: &str = "clocks";
    let apart = |a: TimeDelta, b: TimeDelta| (a - b).num_milliseconds().abs();
    // The store reports whole seconds, so less than one is no difference.
    let mut pairs = vec![("database and worker", apart(database, TimeDelta::zero()))];
    if let Some(store) = store {
        pairs.push(("store and database", apart(store, database)));
        pairs.push(("store and worker", apart(store, TimeDelta::zero())));
    }
    let worst = pairs.iter().map(|(_, apart)| *apart).max().unwrap_or(0);
    let found = pairs
        .iter()
        .map(|(who, apart)| format!("{who} {}.{} s apart", apart / 1000, apart % 1000 / 100))
        .collect::<Vec<_>>()
        .join(", ");
    let remedy =
        "synchronise all three by NTP: a link starts by the database's clock and ends by the store's";
    match worst {
        worst if worst >= FAIL * 1000 => Line::failed(CHECK, Explained::new(found, remedy)),
        worst if worst >= WARN * 1000 => Line::warning(CHECK, Explained::new(found, remedy)),
        _ => Line::ok(CHECK, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::CheckState;

    #[test]
    fn five_seconds_are_a_warning_and_sixty_a_failure_between_any_two() {
        let seconds = TimeDelta::seconds;
        for (database, store, state) in [
            (0, Some(0), CheckState::Ok),
            (4, Some(0), CheckState::Ok),
            (5, None, CheckState::Warning),
            (0, Some(-5), CheckState::Warning),
            (30, Some(-30), CheckState::Failed),
            (-60, None, CheckState::Failed),
        ] {
            let line = judge(seconds(database), store.map(seconds));
            assert_eq!(line.state, state, "{database} {store:?}: {}", line.found);
        }
    }
}

//! Reports how far a long export is, for the person who waits. A short one ends before its first report.
//!
//! A report that fails is left out: the next one follows, and no export fails because of it. A report also finds out within
//! seconds that the request was taken back, so that its query does not go on reading.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;

use super::{
    attempt::Job,
    lease::{TICK, every},
};
use crate::{
    failure::{Failure, judge},
    pulse::{Pulse, Reached},
    requests::progress::{self, Phase, Report},
    scope::{Offer, Scope},
};

/// The first report comes with the second tick: most accounts are done by then.
const FIRST_TICK: u32 = 2;
/// A database that does not answer must not hold back the next report.
const REPORT_WITHIN: Duration = Duration::from_secs(2);

/// Writes a report at each tick, until the request is no longer this attempt's.
pub(super) async fn report(job: Job<'_>, pulse: &Pulse) -> Failure {
    let Job { steps, claim, .. } = job;
    let names = names(&claim.scope, steps.catalogue.offer());
    let mut ticks = every(TICK);
    for _ in 1..FIRST_TICK {
        ticks.tick().await;
    }
    let (mut expected, mut last) = (None, None::<Report>);
    loop {
        ticks.tick().await;
        // How many rows a part has is not known.
        if expected.is_none() && claim.scope.is_whole() {
            let read = timeout(REPORT_WITHIN, progress::expected_rows(&steps.state, &claim.user_id)).await;
            expected = read.ok().and_then(Result::ok);
        }
        let reached = report_of(&pulse.reached(), &names, expected.flatten());
        // Reading starts again when a replica fails, and the person must not see that.
        let report = match last {
            Some(last) if reached.phase == Phase::Reading && reached.done < last.done => last,
            _ => reached,
        };
        let written = progress::write(&steps.state, claim.request_id, claim.token, &report);
        match timeout(REPORT_WITHIN, written).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Failure::ClaimLost,
            Ok(Err(error)) => {
                tracing::debug!(error.chain = %judge(&error), "A report of progress was left out");
            }
            Err(_) => tracing::debug!("A report of progress was left out: the database did not answer"),
        }
        last = Some(report);
    }
}

/// Returns the entities that are read, in their order.
fn names<'o>(scope: &Scope, offer: &'o Offer) -> Vec<&'o str> {
    // A scope that does not fit ends the export before anything is read.
    let part = scope.part(offer).map(|part| part.entities).unwrap_or_default();
    part.iter().map(|entity| offer.entities[*entity].name.as_str()).collect()
}

fn report_of(reached: &Reached, names: &[&str], expected: Option<u64>) -> Report {
    let by_entity = |rows: &[u64]| -> BTreeMap<String, u64> {
        names.iter().zip(rows).map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
    };
    match reached {
        Reached::Reading(rows) => {
            let done = rows.iter().sum();
            // More than was expected: then nothing is known of the rest.
            let total = expected.filter(|total| *total >= done);
            Report { phase: Phase::Reading, done, total, entities: by_entity(rows) }
        }
        Reached::Uploading { rows, sent, total } => {
            Report { phase: Phase::Uploading, done: *sent, total: Some(*total), entities: by_entity(rows) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn a_part_reports_the_entities_that_it_has() {
        let catalogue = Catalogue::builtin().unwrap();
        let all = names(&Scope::default(), catalogue.offer());
        assert_eq!(all, ["users", "projects", "features", "pipeline_runs", "releases"]);
        let releases = Scope { entities: Some(vec!["releases".to_owned()]), ..Scope::default() };
        assert_eq!(names(&releases, catalogue.offer()), ["users", "projects", "releases"]);
    }

    #[test]
    fn a_report_has_rows_while_it_reads_and_bytes_while_it_uploads() {
        let pulse = Pulse::default();
        let report = |pulse: &Pulse, expected| report_of(&pulse.reached(), &["users", "projects"], expected);
        pulse.row_read();
        pulse.entity_read();
        pulse.row_read();
        pulse.row_read();
        let entities = BTreeMap::from([("users".to_owned(), 1), ("projects".to_owned(), 2)]);
        let reading = |total| Report { phase: Phase::Reading, done: 3, total, entities: entities.clone() };
        assert_eq!(report(&pulse, Some(10)), reading(Some(10)));
        assert_eq!(report(&pulse, None), reading(None));
        assert_eq!(report(&pulse, Some(2)), reading(None), "an estimate that was wrong is no longer shown");
        pulse.entity_read();
        pulse.begin_upload(100);
        pulse.sent(60);
        let uploading =
            |done| Report { phase: Phase::Uploading, done, total: Some(100), entities: entities.clone() };
        assert_eq!(report(&pulse, Some(10)), uploading(60));
        // A part that was sent twice.
        pulse.sent(60);
        assert_eq!(report(&pulse, Some(10)), uploading(100));
    }
}

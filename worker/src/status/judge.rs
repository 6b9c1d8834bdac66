//! Which readings are troubles that need a person, each with its remedy.

use export_activities::requests::{brake::Held, checks::Damaged};
use export_notices::outbox::{self, ChannelStatus};
use export_workflows::contract::passes_queue;

use super::{Requests, show_age};
use crate::{
    config::Config,
    connect::explain::Explained,
    temporal::night::{How, Last, Pollers},
};

/// Two nights: after an outage in the first, the second serves the rest.
const PENDING_SECONDS: i64 = 48 * 3600;
/// Twenty days: ten are left of the month that the law allows, or eight in February.
const UNANSWERED_SECONDS: i64 = 20 * 86_400;
/// Three missed expiry passes, which run every five minutes.
const OVERDUE_SECONDS: i64 = 15 * 60;

/// A receiver that is away for an hour needs a look, although nothing is lost.
const NOTICE_DUE_SECONDS: i64 = 3600;

/// Six missed passes. An archive is deleted in the pass that ends its request, or in one of the next.
const UNDELETED_SECONDS: i64 = 30 * 60;

pub(super) fn night(night: &Last) -> Option<Explained> {
    let id = &night.workflow_id;
    match &night.how {
        How::StandsStill { failures } => Some(Explained::new(
            format!("night `{id}` is stuck: its workflow task has failed {failures} times"),
            "see \"A night that is stuck\" in docs/OPERATIONS.md",
        )),
        How::NotCompleted(sentence) => Some(Explained::new(
            format!("the last night, `{id}`, did not complete: {sentence}"),
            "remove its cause (\"A night that failed\" in docs/OPERATIONS.md), then `export-worker night trigger --wait`",
        )),
        How::Well => None,
    }
}

pub(super) fn misfits(misfits: &[String]) -> Option<Explained> {
    let first = misfits.first()?;
    let more = match misfits.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Some(Explained::new(
        format!("the catalogue does not fit the source, so nothing is exported: {first}{more}"),
        "see all of it in `export-worker catalogue check`, decide it in the catalogue, and run the SQL of \
         `export-worker grants`",
    ))
}

pub(super) fn counts(night: &Last) -> Option<Explained> {
    let counts = night.miscounted.iter();
    let counts: Vec<_> =
        counts.map(|(what, count)| format!("{what} {}, found {}", count.counted, count.found)).collect();
    (!counts.is_empty()).then(|| {
        Explained::new(
            format!("night `{}` counted what the database does not have: {}", night.workflow_id, counts.join("; ")),
            "trust the rows (`export-worker night show`), and see \"Counts that differ\" in docs/OPERATIONS.md",
        )
    })
}

pub(super) fn requests(requests: &Requests) -> Vec<Explained> {
    let mut troubles = Vec::new();
    for (reason, count) in &requests.held_back {
        troubles.push(Explained::new(
            format!("{count} requests are held back: too many of a night would fail as `{reason}`"),
            format!(
                "see why in `export-worker request list --status pending`; is EXPORT_SOURCE_URL the right database, and \
                 does the catalogue fit? If it is true, `export-worker night trigger --accept {reason}`"
            ),
        ));
    }
    if requests.deferred_twice > 0 {
        troubles.push(Explained::new(
            format!("{} requests were deferred in two nights or more", requests.deferred_twice),
            "see the last error in `export-worker request list --status pending`, fix that, then `export-worker night \
             trigger --wait`",
        ));
    }
    if requests.oldest_pending_seconds > PENDING_SECONDS {
        troubles.push(Explained::new(
            format!("the oldest pending request has waited for {}", show_age(requests.oldest_pending_seconds)),
            "see its last error in `export-worker request list --status pending`, fix that, then `export-worker \
             night trigger --wait`",
        ));
    }
    if requests.oldest_unanswered_seconds > UNANSWERED_SECONDS {
        let left = match requests.days_left {
            Some(days) if days >= 0 => format!("{days} days are left of the month that the law allows"),
            _ => "the month that the law allows is over".to_owned(),
        };
        troubles.push(Explained::new(
            format!(
                "a request has had no answer for {}, and {left}",
                show_age(requests.oldest_unanswered_seconds)
            ),
            "find it in `export-worker register`: its state is open. See \"The month runs out\" in docs/OPERATIONS.md",
        ));
    }
    if requests.overdue_seconds > OVERDUE_SECONDS {
        troubles.push(Explained::new(
            format!(
                "a ready request is overdue by {}, so nothing expires",
                show_age(requests.overdue_seconds)
            ),
            "see why in the runs of `export_expiry` in the Web UI; `export-worker expire` does it by hand",
        ));
    }
    if requests.undeleted_seconds > UNDELETED_SECONDS {
        troubles.push(Explained::new(
            format!(
                "{} archives of failed requests are still in the store, the oldest for {}: their links work",
                requests.queue.deletions_left,
                show_age(requests.undeleted_seconds)
            ),
            "see why with `export-worker expire`; the store must allow s3:ListBucketVersions, s3:DeleteObject and \
             s3:DeleteObjectVersion, and no lock or retention may keep the objects",
        ));
    }
    troubles.extend(requests.held.iter().map(held));
    troubles.extend(damaged(&requests.damaged));
    troubles.extend(requests.notices.iter().filter(|channel| channel.is_on).flat_map(channel));
    troubles
}

fn damaged(damaged: &Damaged) -> Option<Explained> {
    let (first, finding) = damaged.requests.first()?;
    let more = if damaged.count > 1 { format!(" and {} more", damaged.count - 1) } else { String::new() };
    Some(Explained::new(
        format!("the archive of request {first}{more} is missing, or not as it was delivered ({finding})"),
        "see \"An archive is damaged\" in docs/OPERATIONS.md",
    ))
}

fn channel(status: &ChannelStatus) -> Vec<Explained> {
    let channel = status.channel.as_str();
    let mut troubles = Vec::new();
    if let Some(because) = &status.paused_because {
        troubles.push(Explained::new(
            format!("notices ({channel}) are paused: {because}"),
            format!("remove the cause, restart the workers if a variable changed, then `export-worker notices resume {channel}`"),
        ));
    } else if status.oldest_due_seconds > NOTICE_DUE_SECONDS {
        troubles.push(Explained::new(
            format!("a notice ({channel}) has been due for {}", show_age(status.oldest_due_seconds)),
            format!(
                "see its code in `export-worker notices list --state due`; is a worker configured to send ({})?",
                match status.channel {
                    outbox::Channel::Mail => "EXPORT_SMTP_URL",
                    outbox::Channel::Webhook => "EXPORT_WEBHOOK_URL",
                }
            ),
        ));
    }
    if status.dead > 0 {
        troubles.push(Explained::new(
            format!("{} notices ({channel}) were given up", status.dead),
            format!(
                "see why in `export-worker notices list --state dead`, then `export-worker notices retry --dead {channel}` or \
                 `drop --dead {channel}`"
            ),
        ));
    }
    troubles
}

fn held(held: &Held) -> Explained {
    let Held { hit, total, .. } = held;
    match held.brake.as_str() {
        "accounts_gone" => Explained::new(
            format!(
                "{hit} of {total} delivered archives belong to users who seem to be gone, so nothing was revoked"
            ),
            "check that EXPORT_SOURCE_URL is the right database; if they are gone, run `export-worker expire --accounts \
             --force`",
        ),
        "sweep" => Explained::new(
            format!("{hit} of {total} stored objects seem orphaned, so nothing was swept"),
            "check that EXPORT_DATABASE_URL is the right database and was not restored; if they are orphans, run \
             `export-worker sweep --force`",
        ),
        other => Explained::new(
            format!("the brake `{other}` holds: {hit} of {total}"),
            "see \"A brake that holds\" in docs/OPERATIONS.md",
        ),
    }
}

pub(super) fn pollers(config: &Config, pollers: Pollers) -> Vec<Explained> {
    let queues =
        [(config.task_queue.clone(), pollers.exports), (passes_queue(&config.task_queue), pollers.passes)];
    let idle = queues.into_iter().filter(|(_, pollers)| *pollers == 0);
    idle.map(|(queue, _)| {
        Explained::new(
            format!("no worker polls task queue `{queue}`"),
            "start `export-worker run` with the same EXPORT_TASK_QUEUE and namespace; `/readyz` says what it waits for",
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, TimeDelta, Utc};
    use export_activities::requests::census::Queue;
    use export_workflows::contract::Miscount;

    use super::*;

    fn seen(oldest: Option<TimeDelta>, overdue: Option<TimeDelta>) -> Requests {
        let now: DateTime<Utc> = "2026-03-31T12:00:00Z".parse().unwrap();
        let queue = Queue {
            pending: 1,
            oldest_pending: oldest.map(|age| now - age),
            oldest_unanswered: oldest.map(|age| now - age),
            ready: 1,
            overdue_since: overdue.map(|age| now - age),
            deletions_left: 0,
            undeleted_since: None,
            now,
        };
        Requests {
            notices: Vec::new(),
            oldest_pending_seconds: queue.oldest_pending_seconds(),
            oldest_unanswered_seconds: queue.oldest_unanswered_seconds(),
            days_left: queue.days_left(),
            overdue_seconds: queue.overdue_seconds(),
            undeleted_seconds: queue.undeleted_seconds(),
            queue,
            failed: BTreeMap::new(),
            held_back: BTreeMap::new(),
            deferred_twice: 0,
            held: Vec::new(),
            damaged: Damaged::default(),
        }
    }

    #[test]
    fn an_archive_that_is_kept_and_a_brake_that_holds_need_a_person() {
        let mut found = seen(None, None);
        found.undeleted_seconds = UNDELETED_SECONDS;
        assert_eq!(requests(&found), []);
        found.undeleted_seconds += 1;
        let hold = |brake: &str| Held { brake: brake.to_owned(), since: found.queue.now, hit: 15, total: 20 };
        found.held = vec![hold("accounts_gone"), hold("sweep")];
        let troubles = requests(&found);
        assert_eq!(troubles.len(), 3, "{troubles:?}");
        for (trouble, part) in
            troubles.iter().zip(["their links work", "nothing was revoked", "nothing was swept"])
        {
            assert!(trouble.cause.contains(part), "{trouble}");
        }
        assert!(troubles[1].cause.contains("15 of 20"), "{}", troubles[1]);
    }

    #[test]
    fn a_damaged_archive_needs_a_person() {
        let mut found = seen(None, None);
        let request = uuid::Uuid::from_u128(7);
        found.damaged = Damaged { count: 3, requests: vec![(request, "missing".to_owned())] };
        let troubles = requests(&found);
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        assert!(troubles[0].cause.contains(&format!("{request} and 2 more")), "{}", troubles[0]);
        assert!(troubles[0].cause.ends_with("(missing)"), "{}", troubles[0]);
    }

    #[test]
    fn a_person_is_needed_from_two_days_of_waiting_and_from_a_quarter_of_an_hour_overdue() {
        for (oldest, overdue, troubles) in [
            (None, None, 0),
            (Some(TimeDelta::hours(48)), Some(TimeDelta::minutes(15)), 0),
            (Some(TimeDelta::hours(49)), None, 1),
            (None, Some(TimeDelta::minutes(16)), 1),
        ] {
            assert_eq!(requests(&seen(oldest, overdue)).len(), troubles, "{oldest:?} {overdue:?}");
        }
    }

    #[test]
    fn a_person_is_needed_for_what_is_held_back_and_for_what_was_deferred_twice() {
        let mut found = seen(None, None);
        found.held_back.insert("account_deleted".to_owned(), 3);
        found.deferred_twice = 1;
        let troubles = requests(&found);
        assert_eq!(troubles.len(), 2, "{troubles:?}");
        assert!(troubles[0].remedy.contains("night trigger --accept account_deleted"), "{troubles:?}");
        assert!(troubles[1].cause.starts_with("1 requests were deferred in two nights"), "{troubles:?}");
    }

    #[test]
    fn a_night_whose_counts_the_database_does_not_confirm_needs_a_person() {
        let mut night = Last { workflow_id: "n".to_owned(), how: How::Well, miscounted: BTreeMap::new() };
        assert_eq!(counts(&night), None);
        night.miscounted.insert("fulfilled".to_owned(), Miscount { counted: 2, found: 1 });
        night.miscounted.insert("left".to_owned(), Miscount { counted: 0, found: 3 });
        assert_eq!(
            counts(&night).unwrap().cause,
            "night `n` counted what the database does not have: fulfilled 2, found 1; left 0, found 3"
        );
    }

    #[test]
    fn the_month_that_the_law_allows_is_a_calendar_month() {
        // From the 28th of February to the 28th of March.
        let late = seen(Some(TimeDelta::days(31)), None);
        assert_eq!(late.days_left, Some(-3));
        assert!(requests(&late)[1].cause.contains("is over"));
        let soon = seen(Some(TimeDelta::days(21)), None);
        assert_eq!(soon.days_left, Some(10));
        assert!(requests(&soon)[1].cause.contains("10 days are left"), "{:?}", requests(&soon));
        let early = seen(Some(TimeDelta::days(3)), None);
        assert_eq!(early.days_left, Some(28));
        assert_eq!(requests(&early).len(), 1, "{:?}", requests(&early));
    }

    #[test]
    fn an_age_is_shown_in_its_two_largest_units() {
        assert_eq!([59, 3600, 90_000].map(show_age), ["0 min", "1 h 0 min", "1 d 1 h"]);
    }
}

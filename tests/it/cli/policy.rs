//! `export-worker policy`: what it shows and takes, and what it refuses.

use export_stack::servers::worker;
use serde_json::json;

use crate::support::{answers::say, night_of::Nights};

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_shown_and_what_is_named_is_changed() {
    let nights = Nights::new().await;
    let environment = &nights.environment;
    let text = worker::command(environment, &["policy", "show"]).await.unwrap();
    assert_eq!(text, "start      night\nper user   1 pending, and 1 in 24h\nper org    100 pending\n");
    let set = ["policy", "set", "--start", "at_once", "--per-user", "3", "--every", "90m"];
    let answer = say(environment, &set).await.answer;
    assert_eq!(
        answer,
        json!({ "start": "at_once", "pending_per_user": 3, "pending_per_org": 100, "ask_every_seconds": 5400 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_is_refused_by_name() {
    let nights = Nights::new().await;
    for (arguments, part) in [
        (&[][..], "required"),
        (&["--start", "soon"], "[possible values: night, at_once, choose]"),
        (&["--per-user", "0"], "1..=100"),
        (&["--per-org", "1000001"], "1..=1000000"),
        (&["--every", "soon"], "a time such as 30m, 24h or 168h, at most 366 days"),
        (&["--every", "8785h"], "a time such as 30m, 24h or 168h, at most 366 days"),
    ] {
        let refused = worker::command(&nights.environment, &[&["policy", "set"], arguments].concat()).await;
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(refused.contains(part), "{arguments:?}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_own_the_policy_changes_nothing() {
    let nights = Nights::new().await;
    let mut environment = nights.environment.clone();
    environment.insert("EXPORT_OWNER_URL".into(), environment["EXPORT_DATABASE_URL"].clone());
    let refused = worker::command(&environment, &["policy", "set", "--start", "at_once"]).await;
    let refused = format!("{:#}", refused.unwrap_err());
    assert!(refused.contains("the role lacks a right") && refused.contains("EXPORT_OWNER_URL"), "{refused}");
    let policy = say(&environment, &["policy", "show"]).await.answer;
    assert_eq!(policy["start"], "night");
}

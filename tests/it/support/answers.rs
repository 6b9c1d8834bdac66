//! Answers of commands that may end badly.

use std::collections::BTreeMap;

use export_stack::{servers::worker, wait};
use serde_json::Value;

use super::night_of::{Nights, SOON};

/// How a command ended that may end badly.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) answer: Value,
    pub(crate) aside: String,
}

pub(crate) async fn say(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Said {
    let arguments = [&["--output", "json"], arguments].concat();
    let output =
        wait::within("a command", SOON, worker::output(environment, &arguments)).await.unwrap().unwrap();
    let aside = String::from_utf8(output.stderr).unwrap();
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}: {aside}", String::from_utf8_lossy(&output.stdout)));
    Said { code: output.status.code(), answer, aside }
}

/// Returns the causes that `status` names, and fails unless its exit code fits them and each has a remedy.
pub(crate) async fn troubles(nights: &Nights) -> Vec<String> {
    let said = say(&nights.environment, &["status"]).await;
    let troubles = said.answer["troubles"].as_array().unwrap();
    assert!(troubles.iter().all(|trouble| !trouble["remedy"].as_str().unwrap().is_empty()), "{troubles:?}");
    assert_eq!(said.code, Some(i32::from(!troubles.is_empty())), "{}", said.aside);
    assert_eq!(said.answer["well"], troubles.is_empty());
    troubles.iter().map(|trouble| trouble["cause"].as_str().unwrap().to_owned()).collect()
}

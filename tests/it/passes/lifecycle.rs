//! The bucket's own rules are set beside those of others, and what harms an archive is named.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use export_activities::store::lifecycle::Lifecycle;
use export_stack::servers::worker;

use crate::support::{
    night_of::{Nights, until_said},
    servers::{connect, faulty_store, real_store, sdk_client},
};

fn rule(id: &str, prefix: &str, days: i32) -> LifecycleRule {
    LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .expiration(LifecycleExpiration::builder().days(days).build())
        .build()
        .unwrap()
}

#[tokio::test]
async fn our_rules_are_set_beside_those_of_others() {
    let (_store, config, _folder) = faulty_store().await;
    let (store, client) = (connect(&config).await, sdk_client(&config));
    let none = Lifecycle { is_ours: false, harmful: Vec::new() };
    assert_eq!(store.lifecycle().await.unwrap(), Some(none));
    let others = vec![rule("logs", "logs/", 30), rule("all", "", 5)];
    let others = BucketLifecycleConfiguration::builder().set_rules(Some(others)).build().unwrap();
    let put = client.put_bucket_lifecycle_configuration().bucket(&config.bucket);
    put.lifecycle_configuration(others).send().await.unwrap();
    let harmful = vec!["the rule `all` deletes archives after 5 days, before their links end".to_owned()];
    let seen = store.lifecycle().await.unwrap();
    assert_eq!(seen, Some(Lifecycle { is_ours: false, harmful: harmful.clone() }));
    for _ in 0..2 {
        store.set_lifecycle().await.unwrap();
        assert_eq!(
            store.lifecycle().await.unwrap(),
            Some(Lifecycle { is_ours: true, harmful: harmful.clone() })
        );
        let held = client.get_bucket_lifecycle_configuration().bucket(&config.bucket).send().await.unwrap();
        let held = held.rules();
        assert_eq!(held.len(), 18);
        assert!(held.contains(&rule("logs", "logs/", 30)));
    }
}

/// versitygw keeps its objects in a file system, and has no such rules.
#[tokio::test]
async fn a_store_that_has_no_rules_is_not_given_any() {
    let store = connect(&real_store().await).await;
    assert_eq!(store.lifecycle().await.unwrap(), None);
    let error = store.set_lifecycle().await.unwrap_err().to_string();
    assert!(error.contains("has no lifecycle rules"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_set_by_command_and_the_doctor_says_so() {
    let nights = Nights::on_faulty_store().await;
    // It marks the bucket as ours.
    let worker = nights.worker(&[]).await;
    until_said(&worker, "Polling task queue").await;
    let (_, line) = nights.doctor("lifecycle").await;
    assert!(line["found"].as_str().unwrap().contains("`export-worker lifecycle apply` sets them"), "{line}");
    let said = worker::command(&nights.environment, &["lifecycle", "apply"]).await.unwrap();
    assert!(said.contains("deletes what was left by itself, after nine days"), "{said}");
    let (_, line) = nights.doctor("lifecycle").await;
    assert_eq!(
        (&line["state"], &line["found"]),
        (&"ok".into(), &"the store itself deletes what was left, after nine days".into())
    );
    let printed = worker::command(&nights.environment, &["lifecycle", "print"]).await.unwrap();
    let rules: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(rules["Rules"].as_array().unwrap().len(), 16);
}

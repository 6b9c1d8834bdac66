//! The bucket's own rules: a belt beside the expiry passes, should no worker run for days.
//!
//! The store deletes an archive two days after its link has ended, unfinished uploads after two days, and older versions
//! after one. There is a rule for each digit with which a request's id begins: one rule for all of `exports/` would delete
//! the mark of the installation, too. Rules of others are kept, and examined: one may delete an archive too early.

use anyhow::{Context as _, Result};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
};
use serde_json::{Value, json};

use super::Store;
use crate::{
    failure::StoreError,
    store::object_key::{INSTALLATION_MARK, PREFIX},
};

/// A link works for seven days; two more, because a store counts days from midnight and a pass may be late.
const ARCHIVE_DAYS: i32 = 9;
/// An archive whose link works is at most this old. A store may count a day that has begun as a whole one.
const LINK_DAYS: i32 = 8;
/// No upload takes as long.
const UPLOAD_DAYS: i32 = 2;
/// Older versions are deleted with an archive; these are left by a deletion that failed.
const VERSION_DAYS: i32 = 1;

/// The first digits of a request's id.
const DIGITS: &str = "0123456789abcdef";

/// The rules of a bucket, as far as archives are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// It has all of ours.
    pub is_ours: bool,
    /// Other rules that do harm, each as a sentence.
    pub harmful: Vec<String>,
}

/// Returns our rules as the S3 API takes them.
pub fn rules() -> Value {
    let rules = DIGITS.chars().map(|digit| {
        json!({
            "ID": id(digit),
            "Status": "Enabled",
            "Filter": { "Prefix": prefix(digit) },
            "Expiration": { "Days": ARCHIVE_DAYS },
            "NoncurrentVersionExpiration": { "NoncurrentDays": VERSION_DAYS },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": UPLOAD_DAYS },
        })
    });
    json!({ "Rules": rules.collect::<Vec<_>>() })
}

impl Store {
    /// Examines the rules of the bucket. `None` if the store has no such rules.
    pub async fn lifecycle(&self) -> Result<Option<Lifecycle>> {
        let Some(held) = self.lifecycle_rules().await? else { return Ok(None) };
        let is_ours = ours()?.iter().all(|rule| held.contains(rule));
        let harmful = held.iter().filter(|rule| !is_one_of_ours(rule)).filter_map(harm).collect();
        Ok(Some(Lifecycle { is_ours, harmful }))
    }

    /// Sets our rules, and keeps those of others.
    ///
    /// # Errors
    /// When the store has no such rules, or refuses.
    pub async fn set_lifecycle(&self) -> Result<()> {
        let held = self.lifecycle_rules().await?;
        let held =
            held.with_context(|| format!("the store of `{}` has no lifecycle rules", self.location()))?;
        let others = held.into_iter().filter(|rule| !is_one_of_ours(rule));
        let rules = ours()?.into_iter().chain(others).collect();
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build()?;
        let put = self.client().put_bucket_lifecycle_configuration().bucket(self.bucket());
        put.lifecycle_configuration(configuration)
            .send()
            .await
            .map_err(|error| StoreError::new("PutBucketLifecycleConfiguration", &error))
            .with_context(|| format!("failed to set the lifecycle rules of `{}`", self.location()))?;
        Ok(())
    }

    async fn lifecycle_rules(&self) -> Result<Option<Vec<LifecycleRule>>> {
        match self.client().get_bucket_lifecycle_configuration().bucket(self.bucket()).send().await {
            Ok(output) => Ok(Some(output.rules.unwrap_or_default())),
            Err(error) => match StoreError::new("GetBucketLifecycleConfiguration", &error) {
                error if error.code == "NoSuchLifecycleConfiguration" => Ok(Some(Vec::new())),
                error if error.is_not_implemented() => Ok(None),
                error => Err(error)
                    .with_context(|| format!("failed to read the lifecycle rules of `{}`", self.location())),
            },
        }
    }
}

fn id(digit: char) -> String {
    format!("data-export-{digit}")
}

fn prefix(digit: char) -> String {
    format!("{PREFIX}{digit}")
}

fn ours() -> Result<Vec<LifecycleRule>> {
    let rule = |digit: char| {
        let rule = LifecycleRule::builder()
            .id(id(digit))
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix(digit)).build())
            .expiration(LifecycleExpiration::builder().days(ARCHIVE_DAYS).build())
            .noncurrent_version_expiration(
                NoncurrentVersionExpiration::builder().noncurrent_days(VERSION_DAYS).build(),
            )
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder().days_after_initiation(UPLOAD_DAYS).build(),
            );
        Ok(rule.build()?)
    };
    DIGITS.chars().map(rule).collect()
}

fn is_one_of_ours(rule: &LifecycleRule) -> bool {
    rule.id()
        .and_then(|id| id.strip_prefix("data-export-"))
        .is_some_and(|digit| digit.len() == 1 && DIGITS.contains(digit))
}

/// Says what harm another rule does to us, if any.
fn harm(rule: &LifecycleRule) -> Option<String> {
    let expiration = rule.expiration().filter(|_| *rule.status() == ExpirationStatus::Enabled)?;
    let days = expiration.days();
    // A rule without days or date only removes markers of deleted versions.
    let is_deleting = days.is_some() || expiration.date().is_some();
    let filter = rule.filter();
    let and = filter.and_then(LifecycleRuleFilter::and);
    #[expect(deprecated, reason = "older rules have their prefix here")]
    let prefix = rule.prefix();
    let prefix =
        filter.and_then(LifecycleRuleFilter::prefix).or_else(|| and?.prefix()).or(prefix).unwrap_or("");
    // Our objects have no tags.
    let is_tagged =
        filter.is_some_and(|filter| filter.tag().is_some()) || and.is_some_and(|and| !and.tags().is_empty());
    if !is_deleting || is_tagged {
        return None;
    }
    let name = rule.id().unwrap_or("without a name");
    let larger = filter.and_then(LifecycleRuleFilter::object_size_greater_than);
    let larger = larger.or_else(|| and?.object_size_greater_than()).unwrap_or(0);
    let is_early = days.is_none_or(|days| days < LINK_DAYS);
    let has_archives = PREFIX.starts_with(prefix)
        || prefix.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with(|first| DIGITS.contains(first)));
    if has_archives && is_early {
        let when = days.map_or_else(|| "on a date".to_owned(), |days| format!("after {days} days"));
        return Some(format!("the rule `{name}` deletes archives {when}, before their links end"));
    }
    // The mark is smaller than any archive.
    (INSTALLATION_MARK.starts_with(prefix) && larger < 64)
        .then(|| format!("the rule `{name}` deletes `{INSTALLATION_MARK}`, the mark of this installation"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleAndOperator, Tag};

    use super::*;

    fn rule(filter: LifecycleRuleFilter, days: i32) -> LifecycleRule {
        let expiration = LifecycleExpiration::builder().days(days).build();
        let rule = LifecycleRule::builder().id("x").status(ExpirationStatus::Enabled).filter(filter);
        rule.expiration(expiration).build().unwrap()
    }

    fn with_prefix(prefix: &str, days: i32) -> Option<String> {
        harm(&rule(LifecycleRuleFilter::builder().prefix(prefix).build(), days))
    }

    #[test]
    fn a_rule_of_others_that_deletes_an_archive_too_early_or_the_mark_is_named() {
        for (prefix, days, expected) in [
            ("", 7, Some("deletes archives after 7 days")),
            ("exports/", 1, Some("deletes archives after 1 days")),
            ("exports/a", 3, Some("deletes archives after 3 days")),
            ("exp", 30, Some("the mark of this installation")),
            ("exports/.installation", 30, Some("the mark of this installation")),
            ("exports/a", 8, None),
            ("logs/", 1, None),
            ("exports/manual", 1, None),
        ] {
            let harm = with_prefix(prefix, days);
            assert_eq!(harm.is_some(), expected.is_some(), "{prefix} {days}: {harm:?}");
            assert!(harm.unwrap_or_default().contains(expected.unwrap_or_default()), "{prefix} {days}");
        }
        let tagged = Tag::builder().key("temporary").value("yes").build().unwrap();
        assert_eq!(harm(&rule(LifecycleRuleFilter::builder().tag(tagged).build(), 1)), None);
        let large =
            LifecycleRuleAndOperator::builder().prefix("exports/").object_size_greater_than(64).build();
        assert_eq!(harm(&rule(LifecycleRuleFilter::builder().and(large).build(), 30)), None);
        let mut off = rule(LifecycleRuleFilter::builder().prefix("").build(), 1);
        off.status = ExpirationStatus::Disabled;
        assert_eq!(harm(&off), None);
    }

    #[test]
    fn our_rules_reach_every_archive_and_not_the_mark() {
        let rules = rules();
        let rules = rules["Rules"].as_array().unwrap();
        assert_eq!(rules.len(), ours().unwrap().len());
        for (printed, rule) in rules.iter().zip(ours().unwrap()) {
            assert!(is_one_of_ours(&rule));
            assert_eq!(printed["ID"], rule.id().unwrap());
            let prefix = rule.filter().unwrap().prefix().unwrap();
            assert_eq!(printed["Filter"]["Prefix"], prefix);
            assert!(!INSTALLATION_MARK.starts_with(prefix));
            assert_eq!(printed["Expiration"]["Days"], rule.expiration().unwrap().days().unwrap());
        }
    }
}

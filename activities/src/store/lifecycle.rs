//! The bucket's own rules: a belt beside the expiry passes, should no worker run for days.
//!
//! The store deletes an archive two days after its link has ended, unfinished uploads after two days, and older versions
//! after seven. There is a rule for each digit with which a request's id begins: one rule for all of `exports/` would delete
//! the mark of the installation, too. Rules of others are kept, and examined: one may delete an archive too early.

use anyhow::{Context as _, Result};
use aws_sdk_s3::{
    operation::get_bucket_lifecycle_configuration::GetBucketLifecycleConfigurationOutput,
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
        LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, TransitionStorageClass,
    },
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
/// Older versions are deleted with an archive; these are left by a deletion that failed, or by something that replaced an
/// archive, and then they are what it can be restored from.
const VERSION_DAYS: i32 = 7;

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
        let ours = ours()?;
        let is_ours = ours.iter().all(|rule| held.iter().any(|held| does(held, rule)));
        let harmful = held.iter().filter(|held| !ours.iter().any(|rule| does(held, rule))).filter_map(harm);
        let harmful = harmful.collect();
        Ok(Some(Lifecycle { is_ours, harmful }))
    }

    /// Sets our rules, and keeps those of others.
    ///
    /// # Errors
    /// When the store has no such rules, or refuses.
    pub async fn set_lifecycle(&self) -> Result<()> {
        let held = self.lifecycle_configuration().await?;
        let held =
            held.with_context(|| format!("the store of `{}` has no lifecycle rules", self.location()))?;
        let others = held.rules.unwrap_or_default().into_iter().filter(|rule| !is_one_of_ours(rule));
        let rules = ours()?.into_iter().chain(others.map(of_the_new_form)).collect();
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build()?;
        let put = self.client().put_bucket_lifecycle_configuration().bucket(self.bucket());
        let smallest = held.transition_default_minimum_object_size;
        put.lifecycle_configuration(configuration)
            .set_transition_default_minimum_object_size(smallest)
            .send()
            .await
            .map_err(|error| StoreError::new("PutBucketLifecycleConfiguration", &error))
            .with_context(|| format!("failed to set the lifecycle rules of `{}`", self.location()))?;
        Ok(())
    }

    async fn lifecycle_rules(&self) -> Result<Option<Vec<LifecycleRule>>> {
        Ok(self.lifecycle_configuration().await?.map(|held| held.rules.unwrap_or_default()))
    }

    async fn lifecycle_configuration(&self) -> Result<Option<GetBucketLifecycleConfigurationOutput>> {
        match self.client().get_bucket_lifecycle_configuration().bucket(self.bucket()).send().await {
            Ok(output) => Ok(Some(output)),
            Err(error) => match StoreError::new("GetBucketLifecycleConfiguration", &error) {
                error if error.code == "NoSuchLifecycleConfiguration" => {
                    Ok(Some(GetBucketLifecycleConfigurationOutput::builder().build()))
                }
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

/// Returns whether a rule deletes what one of ours deletes, and when. Some stores do not keep the rest of it.
fn does(held: &LifecycleRule, ours: &LifecycleRule) -> bool {
    let days = |rule: &LifecycleRule| rule.expiration().and_then(LifecycleExpiration::days);
    *held.status() == ExpirationStatus::Enabled
        && Target::of(held) == Target::of(ours)
        && days(held) == days(ours)
}

/// Returns a rule with its prefix where it stands today: a store takes both forms, and not beside each other.
fn of_the_new_form(mut rule: LifecycleRule) -> LifecycleRule {
    #[expect(deprecated, reason = "it is taken from there")]
    if let Some(prefix) = rule.prefix.take()
        && rule.filter.is_none()
    {
        rule.filter = Some(LifecycleRuleFilter::builder().prefix(prefix).build());
    }
    rule
}

/// The objects of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    prefix: String,
    has_tags: bool,
    larger_than: i64,
}

impl Target {
    fn of(rule: &LifecycleRule) -> Self {
        let filter = rule.filter();
        let and = filter.and_then(LifecycleRuleFilter::and);
        #[expect(deprecated, reason = "older rules have their prefix here")]
        let prefix = rule.prefix();
        let prefix = filter.and_then(LifecycleRuleFilter::prefix).or_else(|| and?.prefix()).or(prefix);
        let has_tags = filter.is_some_and(|filter| filter.tag().is_some())
            || and.is_some_and(|and| !and.tags().is_empty());
        let larger_than = filter.and_then(LifecycleRuleFilter::object_size_greater_than);
        let larger_than = larger_than.or_else(|| and?.object_size_greater_than()).unwrap_or(0);
        Self { prefix: prefix.unwrap_or("").to_owned(), has_tags, larger_than }
    }

    /// Returns whether an archive may be among them: its key is `exports/`, two uuids and `.zip`.
    fn has_archives(&self) -> bool {
        const DASHES: [usize; 4] = [8, 13, 18, 23];
        PREFIX.starts_with(&self.prefix)
            || self.prefix.strip_prefix(PREFIX).is_some_and(|rest| {
                rest.chars().take(36).enumerate().all(|(place, letter)| {
                    if DASHES.contains(&place) { letter == '-' } else { DIGITS.contains(letter) }
                })
            })
    }

    /// Returns whether the mark of the installation is among them. It is smaller than any archive.
    fn has_mark(&self) -> bool {
        INSTALLATION_MARK.starts_with(&self.prefix) && self.larger_than < 64
    }
}

/// Describes the harm that another rule does to archives, if any.
fn harm(rule: &LifecycleRule) -> Option<String> {
    const ARCHIVES: [TransitionStorageClass; 2] =
        [TransitionStorageClass::Glacier, TransitionStorageClass::DeepArchive];
    let target = Target::of(rule);
    // Our objects have no tags.
    if *rule.status() != ExpirationStatus::Enabled || target.has_tags {
        return None;
    }
    let name = rule.id().unwrap_or("without a name");
    let is_early = |days: Option<i32>| days.is_none_or(|days| days < LINK_DAYS);
    let when =
        |days: Option<i32>| days.map_or_else(|| "on a date".to_owned(), |days| format!("after {days} days"));
    let expiration = rule.expiration();
    // A rule without days or date only removes markers of deleted versions.
    let deletes = expiration.filter(|expiration| expiration.days().is_some() || expiration.date().is_some());
    if let Some(expiration) = deletes {
        let days = expiration.days();
        if target.has_archives() && is_early(days) {
            return Some(format!(
                "the rule `{name}` deletes archives {}, before their links end",
                when(days)
            ));
        }
        if target.has_mark() {
            return Some(format!(
                "the rule `{name}` deletes `{INSTALLATION_MARK}`, the mark of this installation"
            ));
        }
    }
    let moves = rule.transitions().iter().find(|transition| {
        transition.storage_class().is_some_and(|class| ARCHIVES.contains(class))
            && is_early(transition.days())
    });
    moves.filter(|_| target.has_archives()).map(|transition| {
        let class = transition.storage_class().map(TransitionStorageClass::as_str).unwrap_or_default();
        let when = when(transition.days());
        format!("the rule `{name}` moves archives to {class} {when}, where no link finds them")
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleRuleAndOperator, Tag, Transition};

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
            ("exports/backup/", 1, None),
            ("exports/dead-", 1, None),
            ("exports/0f0e9e3e-6f0c", 1, Some("deletes archives after 1 days")),
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
    fn a_rule_that_moves_archives_where_no_link_finds_them_is_named() {
        let moves = |class, days, prefix: &str| {
            let transition = Transition::builder().days(days).storage_class(class).build();
            let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
            let rule = LifecycleRule::builder().id("x").status(ExpirationStatus::Enabled).filter(filter);
            harm(&rule.transitions(transition).build().unwrap())
        };
        let harm = moves(TransitionStorageClass::Glacier, 1, "exports/").unwrap();
        assert!(harm.contains("moves archives to GLACIER after 1 days"), "{harm}");
        assert_eq!(moves(TransitionStorageClass::Glacier, 30, ""), None);
        assert_eq!(moves(TransitionStorageClass::GlacierIr, 1, ""), None);
        assert_eq!(moves(TransitionStorageClass::DeepArchive, 1, "logs/"), None);
    }

    #[test]
    fn a_rule_of_ours_that_was_changed_is_judged_like_any_other() {
        let mut changed = ours().unwrap().remove(0);
        assert!(does(&changed, &ours().unwrap()[0]));
        // MinIO does not keep it.
        changed.abort_incomplete_multipart_upload = None;
        assert!(does(&changed, &ours().unwrap()[0]));
        changed.expiration = Some(LifecycleExpiration::builder().days(1).build());
        assert!(!does(&changed, &ours().unwrap()[0]));
        assert!(harm(&changed).unwrap().contains("`data-export-0` deletes archives after 1 days"));
    }

    #[test]
    fn a_rule_of_the_old_form_gets_the_new_one_and_keeps_its_prefix() {
        #[expect(deprecated, reason = "it is the old form")]
        let old = LifecycleRule::builder().id("x").status(ExpirationStatus::Enabled).prefix("logs/");
        let new = of_the_new_form(old.build().unwrap());
        assert_eq!(new.filter().unwrap().prefix(), Some("logs/"));
        assert_eq!(Target::of(&new).prefix, "logs/");
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

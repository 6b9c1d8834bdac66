//! The buckets of `[files]` in the catalogue: whether their objects can be read.

use export_activities::catalogue::Catalogue;

use super::Line;
use crate::{
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
};

/// No platform has this object. A store that lets us read answers that it is not there.
const NO_OBJECT: &str = ".export-worker-doctor";

/// Asks each bucket for an object that is not there.
pub(super) async fn examine(config: &Config, catalogue: Option<&Catalogue>, lines: &mut Vec<Line>) {
    const CHECK: &str = "files of users";
    let Some(catalogue) = catalogue.filter(|catalogue| !catalogue.files().is_empty()) else { return };
    let stores = match connect::files(config, catalogue).await {
        Ok(stores) => stores,
        Err(error) => {
            let remedy = "check `endpoint` in [files], and EXPORT_FILES_ACCESS_KEY_ID";
            return lines.push(Line::failed(CHECK, Explained::new(format!("{error:#}"), remedy)));
        }
    };
    for (set, store) in catalogue.files().iter().zip(stores.iter()) {
        lines.push(match store.read(NO_OBJECT).await {
            Ok(_) => Line::ok(CHECK, format!("[files.{}]: `{}` can be read", set.name, store.location())),
            Err(error) => {
                let Explained { cause, .. } = explain::store(&error);
                let cause = format!("[files.{}]: `{}`: {cause}", set.name, store.location());
                let remedy =
                    "let EXPORT_FILES_ACCESS_KEY_ID get objects and list the bucket, or correct `bucket`";
                Line::failed(CHECK, Explained::new(cause, remedy))
            }
        });
    }
}

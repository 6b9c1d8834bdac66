//! Finds the bucket that holds an archive, and makes sure that it is ours before anything in it is deleted.
//!
//! Most installations have one bucket. After a move, older archives are still in the former bucket, and each row names
//! its bucket. This module never uploads and never marks a bucket.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    database::pool::Pool,
    failure::{Failure, judge},
    requests::archives,
    store::{
        Store,
        installation::{check_bucket, check_mark},
    },
};

/// The buckets of one installation during one pass.
pub struct Buckets {
    id: Uuid,
    current: Store,
    /// Former buckets by location; `None` for a bucket that could not be checked in this pass.
    former: Mutex<HashMap<String, Option<Store>>>,
}

impl Buckets {
    /// Checks the bucket in use.
    ///
    /// # Errors
    /// [`Failure::Installation`] when it is not the one of this installation; other errors when the database or the store
    /// does not answer.
    pub async fn open(state: &Pool, store: &Store) -> Result<Self> {
        let installation = check_bucket(state, store).await?;
        Ok(Self { id: installation.id, current: store.clone(), former: Mutex::default() })
    }

    /// Returns the store for an archive, by the location on its row; `None` means the bucket in use. Checks a former
    /// bucket once a pass.
    pub async fn store(&self, location: Option<&str>) -> Result<Store> {
        let location = match location {
            Some(location) if !self.is_current(Some(location)) => location,
            _ => return Ok(self.current.clone()),
        };
        let mut former = self.former.lock().await;
        if let Some(store) = former.get(location) {
            return store.clone().ok_or_else(|| unchecked(location));
        }
        let checked = self.check(location).await;
        former.insert(location.to_owned(), checked.as_ref().ok().cloned());
        checked
    }

    /// Returns whether the location on a row is the bucket in use.
    pub fn is_current(&self, location: Option<&str>) -> bool {
        location.is_none_or(|location| location == self.current.location())
    }

    async fn check(&self, location: &str) -> Result<Store> {
        let store = self.current.at(location)?;
        check_mark(&store, self.id)
            .await
            .with_context(|| format!("failed to check the bucket `{location}`"))?;
        Ok(store)
    }

    /// Returns the bucket in use and the former buckets that still hold archives. Leaves out, with a warning, a bucket
    /// that cannot be checked.
    pub async fn all(&self, state: &Pool) -> Result<Vec<Store>> {
        let former = archives::list_other_locations(state, self.current.location()).await?;
        let mut stores = vec![self.current.clone()];
        for location in former {
            match self.store(Some(&location)).await {
                Ok(store) => stores.push(store),
                Err(error) => tracing::warn!(
                    error.chain = %judge(&error),
                    "Skipped the former bucket `{location}` in this pass: it could not be checked"
                ),
            }
        }
        Ok(stores)
    }
}

fn unchecked(location: &str) -> anyhow::Error {
    Failure::Installation(format!("the bucket `{location}` could not be checked in this pass")).into()
}

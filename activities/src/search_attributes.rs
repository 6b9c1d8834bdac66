//! Asks the server for the two search attributes by which nights are found, and registers them.
//!
//! A run may only set attributes that the server knows: an unknown one fails its workflow task again and again, and no
//! code of the workflow can catch that.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use export_workflows::contract::{EXPORT_FAILED, EXPORT_NIGHT};
use temporalio_client::{Client, NamespacedClient as _, grpc::OperatorService as _};
use temporalio_common::protos::temporal::api::{
    enums::v1::IndexedValueType,
    operatorservice::v1::{AddSearchAttributesRequest, ListSearchAttributesRequest},
};
use tonic::IntoRequest as _;

/// The longest wait for an answer: a night without search attributes is better than one that waits for them.
const ANSWER: Duration = Duration::from_secs(5);

/// The command that an operator runs to register the search attributes where `schedule apply` has no right to.
pub const COMMAND: &str = "temporal operator search-attribute create \
     --name ExportNight --type Keyword --name ExportFailed --type Int";

fn ours() -> [(&'static str, IndexedValueType); 2] {
    [
        (EXPORT_NIGHT.name(), EXPORT_NIGHT.indexed_value_type()),
        (EXPORT_FAILED.name(), EXPORT_FAILED.indexed_value_type()),
    ]
}

/// Returns whether a run may set them. A server that does not answer, or may not be asked, counts as one that does not
/// know them.
pub async fn are_known(client: &Client) -> bool {
    match missing(client).await {
        Ok(missing) => missing.is_empty(),
        Err(error) => {
            tracing::debug!(error.chain = %format!("{error:#}"), "The run goes without search attributes");
            false
        }
    }
}

/// Returns the names that the server does not know.
///
/// # Errors
/// When the server does not answer in time, refuses the question, or has one of them under another type.
pub async fn missing(client: &Client) -> Result<Vec<&'static str>> {
    let request = ListSearchAttributesRequest { namespace: client.namespace() };
    let mut service = client.clone();
    let answer = tokio::time::timeout(ANSWER, service.list_search_attributes(request.into_request())).await;
    let answer = answer.context("Temporal did not answer in time")?;
    let known = answer
        .map_err(refused)
        .context("failed to list the search attributes")?
        .into_inner()
        .custom_attributes;
    let mut missing = Vec::new();
    for (name, kind) in ours() {
        match known.get(name) {
            None => missing.push(name),
            Some(known) if *known == kind as i32 => {}
            Some(_) => bail!("search attribute `{name}` has another type than {}", kind.as_str_name()),
        }
    }
    Ok(missing)
}

/// Registers the missing attributes and returns their names.
///
/// # Errors
/// As [`missing`], and when the server refuses: then an operator with the right runs [`COMMAND`].
pub async fn register(client: &Client) -> Result<Vec<&'static str>> {
    let missing = missing(client).await?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let wanted = ours().into_iter().filter(|(name, _)| missing.contains(name));
    let request = AddSearchAttributesRequest {
        search_attributes: wanted.map(|(name, kind)| (name.to_owned(), kind as i32)).collect(),
        namespace: client.namespace(),
    };
    let mut service = client.clone();
    let answer = tokio::time::timeout(ANSWER, service.add_search_attributes(request.into_request())).await;
    answer
        .context("Temporal did not answer in time")?
        .map_err(refused)
        .context("failed to register search attributes")?;
    Ok(missing)
}

fn refused(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

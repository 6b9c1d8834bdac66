//! Watches the connection to Temporal while the worker runs. Reports once that it is lost and once that it is back.
//!
//! The worker's pollers resume by themselves after an outage, but the SDK does not report it. This probe only reports,
//! in the log and as readiness.

use std::time::Duration;

use temporalio_client::{Client, grpc::WorkflowService as _};
use temporalio_common::protos::temporal::api::workflowservice::v1::GetSystemInfoRequest;
use tokio_util::sync::CancellationToken;
use tonic::IntoRequest as _;

use super::{outage::Outage, readiness::Readiness};
use crate::connect::explain::Explained;

/// Interval of the probes.
const EVERY: Duration = Duration::from_secs(5);
/// Time limit of one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Number of answers in a row that must be missing: one lost packet is no outage.
const MISSES: u32 = 2;

/// Probes until `stop`.
pub(super) async fn watch(client: Client, readiness: Readiness, stop: CancellationToken) {
    let mut outage = Outage::new("Temporal", &readiness);
    let mut missed = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        if answers(&client).await {
            missed = 0;
            if outage.over() {
                readiness.serves();
            }
            continue;
        }
        missed += 1;
        if missed >= MISSES {
            outage.goes_on(&Explained::new(
                "it no longer answers",
                "check the server; the worker resumes by itself, and attempts that ended meanwhile run again",
            ));
        }
    }
}

async fn answers(client: &Client) -> bool {
    let mut client = client.clone();
    let answer = client.get_system_info(GetSystemInfoRequest::default().into_request());
    matches!(tokio::time::timeout(ANSWER_WITHIN, answer).await, Ok(Ok(_)))
}

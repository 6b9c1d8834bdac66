//! How the SDK's workers are set up: slots, pollers, and times.

use anyhow::{Result, anyhow};
use export_activities::context::ExportSteps;
use export_workflows::{
    contract::passes_queue, export_at_once::ExportAtOnce, export_expiry::ExportExpiry,
    nightly_batch::NightlyBatch,
};
use temporalio_common::worker::{WorkerDeploymentOptions, WorkerDeploymentVersion};
use temporalio_sdk::{
    WorkerOptions,
    runtime::{
        PollerBehavior,
        worker_tuner::{FixedSizeSlotSupplier, TunerHolder},
    },
};

use super::renewal::Renewal;
use crate::config::{Config, show_time};

/// Maximum number of concurrent workflow tasks. Each takes milliseconds.
const WORKFLOW_SLOTS: usize = 20;

/// Maximum number of concurrent passes: the pass of a night and the five-minute pass.
const PASS_SLOTS: usize = 2;

/// Concurrent polls. The SDK refuses fewer than two for workflows.
const POLLERS: usize = 2;

/// Runs cached in memory between their tasks: a night, an expiry pass, and room for runs started by hand.
const CACHED_WORKFLOWS: usize = 20;

/// The exports and all workflows.
pub(super) fn worker_options(
    config: &Config,
    steps: &ExportSteps,
    renewal: Renewal,
) -> Result<WorkerOptions> {
    let options = WorkerOptions::new(config.task_queue.clone())
        .register_activities(steps.clone())
        .register_workflow::<NightlyBatch>()
        .and_then(|options| options.register_workflow::<ExportExpiry>())
        .and_then(|options| options.register_workflow::<ExportAtOnce>())
        .map_err(|error| anyhow!("failed to register the workflows: {error}"))?
        .activity_inbound_interceptor(renewal)
        .deployment_options(deployment())
        .tuner(slots(config.slots))
        .max_cached_workflows(CACHED_WORKFLOWS)
        .workflow_task_poller_behavior(PollerBehavior::SimpleMaximum(POLLERS))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(POLLERS))
        // The server must record the start of an activity before it runs, or it misses a kill between the two.
        .max_eager_activity_reservations_per_workflow_task(0)
        .build();
    tracing::debug!("Drains for at most {}", show_time(config.shutdown_grace));
    Ok(with_times(config, options))
}

/// The passes have separate slots on a separate queue, so that long exports do not delay the expiry of links.
pub(super) fn passes_options(config: &Config, steps: &ExportSteps) -> WorkerOptions {
    let options = WorkerOptions::new(passes_queue(&config.task_queue))
        .register_activities(steps.clone())
        .deployment_options(deployment())
        .tuner(slots(PASS_SLOTS))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(1))
        .build();
    with_times(config, options)
}

fn deployment() -> WorkerDeploymentOptions {
    let version = WorkerDeploymentVersion::builder()
        .deployment_name("export-worker")
        .build_id(env!("CARGO_PKG_VERSION"))
        .build();
    WorkerDeploymentOptions::new(version).use_worker_versioning(false).build()
}

fn slots(activities: usize) -> TunerHolder {
    let fixed = FixedSizeSlotSupplier::new;
    TunerHolder::builder()
        .workflow_task_slot_supplier(fixed(WORKFLOW_SLOTS))
        .activity_task_slot_supplier(fixed(activities))
        .local_activity_task_slot_supplier(fixed(1))
        .nexus_task_slot_supplier(fixed(1))
        .build()
}

fn with_times(config: &Config, mut options: WorkerOptions) -> WorkerOptions {
    options.max_heartbeat_throttle_interval = config.heartbeat_throttle;
    options.default_heartbeat_throttle_interval = config.heartbeat_throttle;
    options.graceful_shutdown_period = Some(config.shutdown_grace);
    options
}

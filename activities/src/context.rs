//! The dependencies and settings of every step. The worker builds them once.

use std::{sync::Arc, time::Duration};

use crate::{
    alone::Alone,
    catalogue::Catalogue,
    database::pool::Pool,
    fulfil::presign::Links,
    metrics::Metrics,
    receipt::SigningKey,
    source::replica::Replica,
    spool::Spool,
    store::{Checksum, Store, installation::MarkWatch},
};

/// Everything that the steps work with; cheap to clone.
#[derive(Clone)]
pub struct ExportSteps {
    /// Requests and events, as role `export_state`.
    pub state: Pool,
    /// The platform's tables, as role `export_read`.
    pub source: Pool,
    /// A replica of the source, to read accounts from.
    pub replica: Option<Replica>,
    /// The bucket.
    pub store: Store,
    /// The stores of the users' own files, one for each set of the catalogue.
    pub files: Arc<[Store]>,
    /// The checksum of a whole object that the store keeps, by which uploads are compared.
    pub checksum: Checksum,
    /// The identity of this installation, which the bucket must hold.
    pub installation: MarkWatch,
    /// Which attempts are in flight in this process.
    pub alone: Alone,
    /// What is exported.
    pub catalogue: Arc<Catalogue>,
    /// Holds archives until they are uploaded.
    pub spool: Spool,
    /// Limits and times.
    pub settings: Settings,
    /// The metrics of the steps.
    pub metrics: Metrics,
}

/// Limits and times of the steps, from the worker's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Failures of our own code after which a request fails for good.
    pub max_attempts: u32,
    /// Workers lost over one request after which it fails for good.
    pub max_lost: u32,
    /// How long after its first failed attempt an activity with a fault of the system is deferred to the second round.
    pub defer_after: Duration,
    /// How long an attempt may make no progress before it is stopped.
    pub stall_timeout: Duration,
    /// How long a claim lasts before other attempts may take over.
    pub lease: Duration,
    /// Deflate level of the archive, 0 to 9.
    pub deflate_level: u32,
    /// How old an object or upload must be to count as an orphan.
    pub sweep_min_age: Duration,
    /// How many bytes of delivered archives a night reads back; 0: none.
    pub recheck_bytes: u64,
    /// The controller's own text, added to each archive as `NOTICE.txt`.
    pub notice: Option<Vec<u8>>,
    /// Where `download_url` leads.
    pub links: Links,
    /// The key that signs receipts; none: there are none.
    pub receipts: Option<Arc<SigningKey>>,
}

//! Every documented value of every variable works: both extremes of each serve a request.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use export_activities::{
    alone::Alone,
    catalogue::Catalogue,
    context::ExportSteps,
    metrics::Metrics,
    spool::Spool,
    store::{
        Checksum, KeyPair, Store, StoreConfig,
        installation::{self, MarkWatch},
    },
};
use export_stack::{
    instruments::checker::{self, Subject},
    servers::{postgres::Role, worker},
    shared::{TestInstallation, stack},
    wait,
};
use export_worker::{
    config::{
        Config,
        variable::{Bounds, GROUPS, Variable},
    },
    connect, run,
};
use export_workflows::contract::Outcome;

use crate::support::{
    installation_of::{self as given, attempt, serve},
    night_of::{NIGHT, Nights, SOON},
};

/// Every variable with bounds, and its extremes as they are set.
fn bounded() -> impl Iterator<Item = (&'static Variable, [String; 2])> {
    let all = GROUPS.iter().flat_map(|group| group.variables.iter().copied());
    all.filter_map(|variable| Some((variable, variable.bounds.show()?)))
}

/// Serves one request with the steps that this environment asks for; a timeout of a moment may need several attempts.
async fn serve_one(environment: &BTreeMap<String, String>, owner: &sqlx::PgPool, what: &str) -> Outcome {
    let config = Config::from_lookup(&|name| environment.get(name).cloned()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = connect::state(&config).unwrap();
    // The SDK reads its own variables from this process; the rest is as `connect` has it.
    let versitygw = &stack().await.unwrap().servers().store;
    let secret = versitygw.secret_access_key().to_owned().into();
    let store = StoreConfig {
        endpoint: config.s3_endpoint.clone(),
        access: Some(KeyPair::new(versitygw.access_key_id(), secret)),
        connect_timeout: config.store_connect_timeout,
        attempt_timeout: config.store_attempt_timeout,
        operation_timeout: config.store_operation_timeout,
        put_limit: config.put_limit,
        parallel_parts: config.parallel_parts,
        ..StoreConfig::new(config.bucket().unwrap())
    };
    let store = Store::connect(&store).await.unwrap();
    // At the least, a store that takes a moment does not answer.
    let bucket =
        wait::until(what, SOON, || async { Ok(installation::open_bucket(&state, &store).await.ok()) });
    let bucket = bucket.await.unwrap();
    let steps = ExportSteps {
        installation: MarkWatch::new(bucket),
        state,
        source: connect::source(&config).unwrap(),
        replica: None,
        alone: Alone::default(),
        store,
        files: Arc::new([]),
        checksum: Checksum::Crc64Nvme,
        catalogue: Arc::new(Catalogue::builtin().unwrap()),
        spool: Spool::new(&folder.path().join("spool"), config.spool_quota).unwrap(),
        settings: run::settings(&config).unwrap(),
        metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
    };
    let request = given::request(owner, given::user_with_project(owner).await).await;
    let (began, mut number) = (Instant::now(), 0);
    loop {
        number += 1;
        match serve(&steps, &attempt(request, number)).await {
            Ok(outcome @ Outcome::Fulfilled { .. }) => return outcome,
            ended => assert!(began.elapsed() < Duration::from_secs(60), "{what}: {ended:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_served_at_both_extremes_of_every_variable() {
    let installation = TestInstallation::new().await.unwrap();
    let environment = installation.environment().await.unwrap();
    let owner = installation.database.owner().await.unwrap();
    let mut sizes = BTreeMap::new();
    for (variable, extremes) in bounded() {
        for text in extremes {
            let mut environment = environment.clone();
            // What the longest timeouts need to be of use.
            environment.insert("EXPORT_STALL_TIMEOUT".to_owned(), "12h".to_owned());
            environment.insert(variable.name.to_owned(), text.clone());
            let what = format!("{}={text}", variable.name);
            let outcome = Box::pin(serve_one(&environment, &owner, &what)).await;
            if let Outcome::Fulfilled { archive_bytes, .. } = outcome {
                sizes.insert(what, archive_bytes);
            }
        }
    }
    assert!(sizes["EXPORT_DEFLATE_LEVEL=0"] > sizes["EXPORT_DEFLATE_LEVEL=9"], "the control: {sizes:#?}");
    // A put that was abandoned after a moment may have arrived anyway.
    let mut sweeping = environment.clone();
    sweeping.insert("EXPORT_SWEEP_MIN_AGE".to_owned(), "0s".to_owned());
    worker::command(&sweeping, &["sweep", "--force"]).await.unwrap();
    let subject = Subject {
        database: installation.database.pool(Role::Superuser).await.unwrap(),
        s3: stack().await.unwrap().servers().store.client(),
        bucket: installation.names.bucket.clone(),
        histories: None,
    };
    let findings = checker::check(&subject).await.unwrap();
    assert!(findings.broke(&[]), "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_every_variable_at_its_least_or_at_its_most_serves_a_night() {
    for which in [0, 1] {
        let nights = Nights::new().await;
        let settings: Vec<(&str, String)> = bounded()
            // Memory and disk of the machine bound these two, not the program.
            .filter(|(variable, _)| which == 0 || !matches!(variable.bounds, Bounds::Size(..)))
            .map(|(variable, extremes)| (variable.name, extremes[which].clone()))
            .collect();
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let worker = nights.worker(&settings).await;
        nights.requests(3).await;
        let began = Instant::now();
        // At the least, a moment's delay of the store leaves a request to the next night.
        while nights.ready().await < 3 {
            assert!(began.elapsed() < NIGHT, "{}", worker.last_words());
            let _ = nights.try_night().await;
        }
        drop(worker);
    }
}

//! PgBouncer between the worker and its databases: one that keeps sessions changes nothing, one that does not is refused
//! at start.

use std::collections::BTreeMap;

use export_stack::{
    servers::{
        postgres::{
            Role,
            pgbouncer::{PgBouncer, PoolMode},
        },
        worker,
    },
    shared::{TestInstallation, stack},
    supervisor::Process,
};
use secrecy::ExposeSecret as _;

use crate::support::{night_of::Nights, servers::own_servers};

const REQUESTS: i32 = 5;

/// Starts PgBouncer, and makes an installation whose worker reaches both databases through it.
async fn pooled(mode: PoolMode, folder: &tempfile::TempDir) -> (Nights, Process) {
    let supervisor = own_servers(folder.path());
    let postgres = &stack().await.unwrap().servers().postgres;
    let (bouncer, process) = PgBouncer::start(&supervisor, folder.path(), postgres, mode).await.unwrap();
    let installation = TestInstallation::with_namespace().await.unwrap();
    let mut settings = BTreeMap::new();
    for (variable, role) in [("EXPORT_DATABASE_URL", Role::State), ("EXPORT_SOURCE_URL", Role::Read)] {
        let url = bouncer.url(role, installation.database.name());
        settings.insert(variable.to_owned(), url.expose_secret().to_owned());
    }
    (Nights::of(&installation, settings).await, process)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_that_keeps_sessions_a_night_is_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let (nights, _bouncer) = pooled(PoolMode::Session, &folder).await;
    for check in ["database", "source database"] {
        let (_, line) = nights.doctor(check).await;
        assert_eq!(line["state"], "ok", "{line}");
    }
    nights.requests(REQUESTS).await;
    let _worker = nights.worker(&[]).await;
    nights.night().await;
    assert_eq!(nights.ready().await, i64::from(REQUESTS));
    nights.assert_sound(REQUESTS as usize).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_changes_sessions_is_refused_by_doctor_and_run() {
    const CAUSE: &str = "a pooler";
    let folder = tempfile::tempdir().unwrap();
    let (nights, _bouncer) = pooled(PoolMode::Transaction, &folder).await;
    for check in ["database", "source database"] {
        let (_, line) = nights.doctor(check).await;
        assert_eq!(line["state"], "failed", "{line}");
        assert!(line.to_string().contains(CAUSE), "{line}");
    }
    let run = worker::output(&nights.environment, &["run"]).await.unwrap();
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(!run.status.success() && said.contains(CAUSE) && said.contains("EXPORT_DATABASE_URL"), "{said}");
}

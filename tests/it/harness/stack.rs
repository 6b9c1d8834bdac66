//! The servers start, belong to one owner, and are gone when nobody is there any more.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use export_stack::{
    servers::{
        postgres::{Postgres, Role},
        versitygw,
    },
    shared::{TestDatabase, TestInstallation, stack},
    stack::{Lifetime, Stack},
    supervisor::{
        Supervisor,
        protocol::{Order, Program, Signal},
        record,
    },
    tools, wait,
};

const BOUND: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_test_has_a_database_a_bucket_and_a_namespace_of_its_own() -> anyhow::Result<()> {
    let (one, two) = tokio::try_join!(TestInstallation::with_namespace(), TestInstallation::new())?;
    let insert = "insert into public.data_export_requests (user_id) values (gen_random_uuid())";
    sqlx::raw_sql(insert).execute(&one.database.owner().await?).await?;
    let count = "select count(*) from public.data_export_requests";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&one.database.owner().await?).await?, 1);
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&two.database.owner().await?).await?, 0);

    let store = &stack().await?.servers().store;
    for installation in [&one, &two] {
        store.client().head_bucket().bucket(&installation.names.bucket).send().await?;
    }
    assert!(store.client().list_buckets().send().await?.buckets().len() >= 2);
    assert_ne!(one.names.namespace, two.names.namespace);
    assert_eq!(two.environment().await?["EXPORT_BUCKET"], two.names.bucket);
    Ok(())
}

#[tokio::test]
async fn the_migrations_are_recorded_in_a_table_of_their_own_and_applied_once() -> anyhow::Result<()> {
    let database = TestDatabase::new().await?;
    let url = database.url(Role::Owner).await?;
    assert_eq!(export_worker::migrate::migrate(&url).await?, Vec::<String>::new());

    let owner = database.owner().await?;
    let (ours, theirs): (bool, bool) = sqlx::query_as(
        "select to_regclass('public.data_export_migrations') is not null, to_regclass('_sqlx_migrations') is not null",
    )
    .fetch_one(&owner)
    .await?;
    assert!(ours && !theirs);

    // A migration that is recorded but was another one then is refused.
    sqlx::raw_sql("update public.data_export_migrations set checksum = '\\x00'").execute(&owner).await?;
    assert!(export_worker::migrate::migrate(&url).await.is_err());
    Ok(())
}

#[tokio::test]
async fn two_stacks_run_side_by_side_and_each_is_gone_after_its_stop() -> anyhow::Result<()> {
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (first, second) = tokio::try_join!(
        Stack::start(one.path(), Lifetime::Demo),
        Stack::start(two.path(), Lifetime::Lasting)
    )?;
    assert_ne!(first.servers().postgres.port(), second.servers().postgres.port());
    let refused = Stack::start(one.path(), Lifetime::Demo).await.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|error| error.contains("belongs to another running stack")));

    let (left, right) = (processes(one.path())?, processes(two.path())?);
    assert_eq!(left.len(), 4);
    tokio::task::spawn_blocking(move || drop(first)).await?;
    assert!(left.iter().all(|process| !process.is_alive()));
    assert!(right.iter().all(record::Born::is_alive));
    assert!(!one.path().join("data").exists());
    assert!(!Postgres::home(one.path())?.exists());

    // What lasts is found again, with its data and at the same addresses.
    let (port, postgres) = (second.servers().postgres.port(), second.servers().postgres.clone());
    postgres.run(Role::Owner, "postgres", "select 1".to_owned()).await?;
    postgres.run(Role::Superuser, "postgres", "create table kept ()".to_owned()).await?;
    second.servers().store.make_bucket("kept").await?;
    tokio::task::spawn_blocking(move || drop(second)).await?;
    assert!(right.iter().all(|process| !process.is_alive()));
    let again = Stack::start(two.path(), Lifetime::Lasting).await?;
    assert_eq!(again.servers().postgres.port(), port);
    postgres.run(Role::Superuser, "postgres", "drop table kept".to_owned()).await?;
    again.servers().store.client().head_bucket().bucket("kept").send().await?;
    let home = Postgres::home(two.path())?;
    tokio::task::spawn_blocking(move || drop(again)).await?;
    fs::remove_dir_all(home)?;
    Ok(())
}

#[tokio::test]
async fn a_kept_stack_goes_on_until_it_is_stopped_by_its_folder() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(folder.path(), Lifetime::Demo).await?;
    let processes = processes(folder.path())?;
    let endpoint = stack.servers().store.endpoint();
    stack.keep()?;
    drop(stack);
    let health = versitygw::http()?.get(format!("{endpoint}/health")).send().await?;
    assert!(health.status().is_success());
    assert!(record::owner(folder.path()).await?.is_some_and(|record| record.kept));

    assert!(record::stop(folder.path()).await?);
    assert!(processes.iter().all(|process| !process.is_alive()));
    assert!(!record::stop(folder.path()).await?);
    Ok(())
}

#[tokio::test]
async fn a_master_killed_with_its_supervisor_leaves_nothing_behind() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(folder.path(), Lifetime::Demo).await?;
    let processes = processes(folder.path())?;
    let owner = record::owner(folder.path()).await?.map(|record| record.supervisor).unwrap_or_default();
    Signal::Kill.send(owner)?;
    // On Linux the kernel stops the servers itself; elsewhere the next start or stop does.
    record::stop(folder.path()).await?;
    wait::until("the servers are gone", BOUND, || async {
        Ok(processes.iter().all(|process| !process.is_alive()).then_some(()))
    })
    .await?;
    assert!(stack.check_alive().is_err());
    Ok(())
}

#[tokio::test]
async fn the_end_of_the_pipe_stops_everything_as_when_the_kernel_closes_it_for_a_killed_master()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut supervisor = Command::new(tools::stack_program()?)
        .arg("supervise")
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut orders = supervisor.stdin.take().context("no pipe")?;
    let mut answers = BufReader::new(supervisor.stdout.take().context("no pipe")?).lines();
    let sleeper = Program {
        name: "sleeper".to_owned(),
        path: "/bin/sleep".into(),
        arguments: vec!["600".to_owned()],
        ..Program::default()
    };
    writeln!(orders, "{}", serde_json::to_string(&Order::Start(sleeper))?)?;
    let (ready, started) = (answers.next().transpose()?, answers.next().transpose()?);
    assert!(ready.is_some() && started.is_some_and(|line| line.contains("started")));
    let processes = processes(folder.path())?;
    assert!(processes.len() == 1 && processes[0].is_alive());

    drop(orders);
    assert!(supervisor.wait()?.success());
    assert!(!processes[0].is_alive());
    Ok(())
}

#[tokio::test]
async fn a_program_is_stopped_killed_and_started_again_under_its_name() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let supervisor = Supervisor::start(folder.path())?;
    let program = |script: &str| Program {
        name: "script".to_owned(),
        path: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        ..Program::default()
    };
    supervisor.finish(program("echo one"), BOUND).await?;
    let failed = supervisor.finish(program("echo two; exit 3"), BOUND).await.unwrap_err().to_string();
    assert!(failed.contains("exit code 3") && failed.contains("two") && !failed.contains("one"), "{failed}");

    let deaf = supervisor.run(program("trap '' TERM; echo deaf; while :; do read x < /dev/zero; done"))?;
    wait::until("the script runs", BOUND, || async { Ok(deaf.output().contains("deaf").then_some(())) })
        .await?;
    assert!(supervisor.run(program("true")).is_err());
    deaf.signal(Signal::Kill)?;
    assert_eq!(deaf.ended(BOUND).await?.signal, Some(9));
    assert!(deaf.check_alive().is_err());
    supervisor.finish(program("true"), BOUND).await
}

#[tokio::test]
async fn a_file_that_holds_passwords_is_for_its_owner_only() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = stack().await?.folder();
    for file in ["stack.json", "processes.json"] {
        assert_eq!(fs::metadata(folder.join(file))?.permissions().mode() & 0o077, 0, "{file}");
    }
    // They are not on any command line either, where every user could read them.
    let servers = stack().await?.servers();
    let [.., (_, password), _] = servers.postgres.libpq(Role::Owner, "postgres");
    let mut read = 0;
    for process in processes(folder)? {
        // A process of another test may have ended meanwhile.
        let Ok(line) = fs::read(format!("/proc/{}/cmdline", process.pid)) else { continue };
        let line = String::from_utf8_lossy(&line);
        assert!(!line.contains(servers.store.secret_access_key()) && !line.contains(&password));
        read += usize::from(!line.is_empty());
    }
    assert!(read >= 3, "PostgreSQL, Temporal and the store run");
    Ok(())
}

fn processes(folder: &Path) -> anyhow::Result<Vec<record::Born>> {
    let record: record::Record = serde_json::from_slice(&fs::read(folder.join("processes.json"))?)?;
    Ok(record.processes)
}

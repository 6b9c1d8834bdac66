//! `make up` and `make down`: the servers and a worker for development, with data that lasts.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    database,
    platform::SeedOptions,
    servers::{portal::Portal, postgres::Role, private, temporal::Temporal, worker},
    stack::{Installation, Lifetime, Servers, Stack},
    supervisor::{Process, record},
    terminal::{say, step},
    tools,
};

fn folder() -> PathBuf {
    tools::root().join(".stack")
}

/// Returns the names of the installation of the development stack and the demo.
pub fn installation() -> Installation {
    Installation {
        database: "platform".to_owned(),
        bucket: "exports".to_owned(),
        namespace: Temporal::NAMESPACE.to_owned(),
        task_queue: "exports".to_owned(),
    }
}

/// Starts the servers and a worker, and leaves them running.
pub async fn up() -> anyhow::Result<()> {
    if record::owner(&folder()).await?.is_some_and(|owner| owner.kept) {
        say("The development stack runs already.");
        return show(&Servers::read(&folder())?);
    }
    let stack = Box::pin(start(&folder(), Lifetime::Lasting, &database::EXAMPLE)).await?;
    let portal = step("Starting the portal", Portal::start(&stack, &installation())).await?;
    let settings = mail_settings(&stack, &portal.url);
    step("Starting the worker and applying the schedules", start_worker(&stack, &settings)).await?;
    let environment = stack.servers().environment(&installation());
    step("Letting people ask by day, and turning mails on", allow_by_day(&environment)).await?;
    stack.keep()?;
    show(stack.servers())
}

/// Returns the settings with which a worker sends mails to the mail server of the stack. They lead to the portal.
pub fn mail_settings(stack: &Stack, portal_url: &str) -> BTreeMap<String, String> {
    let settings = [
        ("EXPORT_SMTP_URL", stack.servers().mail.smtp_url()),
        ("EXPORT_MAIL_FROM", "The demo <exports@example.com>".to_owned()),
        ("EXPORT_PAGE_URL", format!("{portal_url}/")),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Lets people ask by day, and again although they asked for the night; and turns mails on.
pub async fn allow_by_day(environment: &BTreeMap<String, String>) -> anyhow::Result<()> {
    worker::command(environment, &["policy", "set", "--start", "choose", "--every", "0s"]).await?;
    worker::command(environment, &["notices", "on", "mail"]).await.map(drop)
}

/// Starts the servers, and makes the reference platform and the export's objects if they are missing.
pub async fn start(folder: &Path, lifetime: Lifetime, seed: &SeedOptions) -> anyhow::Result<Stack> {
    let starting = Box::pin(Stack::start(folder, lifetime));
    let stack = step("Starting PostgreSQL, Temporal, the store and a mail server", starting).await?;
    let postgres = &stack.servers().postgres;
    let Installation { database, .. } = installation();
    let platform = database::make_platform(postgres, &database, Some(seed));
    step(&format!("Making a platform with {} users", seed.users), platform).await?;
    step("Making the export's tables, rights and bucket", install(stack.servers())).await?;
    Ok(stack)
}

/// Makes the export's own tables, the rights of its roles and its bucket. Tables and rights come from the production
/// binary, as in every installation.
async fn install(servers: &Servers) -> anyhow::Result<()> {
    let Installation { database, bucket, .. } = installation();
    let environment = servers.environment(&installation());
    worker::command(&environment, &["migrate"]).await?;
    let grants = worker::command(&environment, &["grants"]).await?;
    let granted = servers.postgres.run(Role::Owner, &database, grants).await;
    granted.context("failed to give the roles their rights")?;
    servers.store.make_bucket(&bucket).await
}

/// Starts the worker as part of the stack, with further settings, and applies the schedules.
pub async fn start_worker(stack: &Stack, settings: &BTreeMap<String, String>) -> anyhow::Result<Process> {
    let mut environment = stack.servers().environment(&installation());
    environment.extend(settings.clone());
    let process = stack.start_worker("worker", &["run"], environment.clone())?;
    worker::command(&environment, &["schedule", "apply"]).await?;
    process.check_alive()?;
    Ok(process)
}

/// Stops the development stack and a kept demo. The data of the development stack stays.
pub async fn down() -> anyhow::Result<()> {
    let mut stopped = false;
    for (name, folder) in [("development", folder()), ("demo", crate::demo::folder())] {
        if record::stop(&folder).await? {
            say(format_args!("The {name} stack has stopped."));
            stopped = true;
        }
    }
    if !stopped {
        say("Nothing was running.");
    }
    Ok(())
}

fn show(servers: &Servers) -> anyhow::Result<()> {
    let environment = folder().join("worker.env");
    let mut text = String::new();
    let mut variables = servers.environment(&installation());
    let spool = folder().join("data").join("spool").display().to_string();
    variables.insert("EXPORT_SPOOL_DIR".to_owned(), spool);
    for (name, value) in variables {
        writeln!(text, "{name}='{value}'").context("failed to write the worker's environment")?;
    }
    private::write(&environment, text.as_bytes())?;
    addresses(servers);
    say(format_args!(
        "  worker   set -a; . {}; set +a; {}",
        environment.display(),
        tools::worker_program()?.display()
    ));
    let (url, key) = Portal::read(&folder())?;
    say(format_args!("  API      {url}/v1/openapi.json"));
    say(format_args!("  mail     {}/view/latest.html", servers.mail.http_url()));
    say(format_args!("  logs     {}", folder().join("logs").display()));
    say("  stop     make down");
    say("\nThis signs a user in, and prints the address of their page. It works once, within a minute:");
    say(format_args!(
        "  curl --silent --header \"Authorization: Bearer $(cat {})\" --json '{{\"user_id\": \"'$({} -Atc \"select id from users where email_verified_at is not null limit 1\")'\"}}' {url}/v1/sessions",
        key.display(),
        servers.postgres.psql(Role::Owner, &installation().database)
    ));
    Ok(())
}

/// Prints the address of the Web UI and the command for psql.
pub fn addresses(servers: &Servers) {
    say(format_args!(
        "  Web UI   {}/namespaces/{}/workflows",
        servers.temporal.web_ui(),
        Temporal::NAMESPACE
    ));
    say(format_args!("  psql     {}", servers.postgres.psql(Role::Owner, &installation().database)));
}

//! PgBouncer in front of a cluster, as Debian's package runs it: a pooler that an operator may use.

use std::{path::Path, str::FromStr as _, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use export_activities::database::session;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};

use super::{Postgres, Role, home::Home};
use crate::{
    servers::{ports, private},
    supervisor::{
        Process, Supervisor,
        protocol::{Program, Signal},
    },
    tools, wait,
};

const START_BOUND: Duration = Duration::from_secs(30);

/// How long a client keeps its session on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// Until it disconnects.
    Session,
    /// Until its transaction ends.
    Transaction,
}

impl PoolMode {
    /// Returns the name of the mode in PgBouncer's configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
        }
    }
}

/// Where PgBouncer listens.
pub struct PgBouncer<'a> {
    postgres: &'a Postgres,
    port: u16,
}

impl<'a> PgBouncer<'a> {
    /// Starts PgBouncer in front of `postgres`, with its files in `folder`.
    pub async fn start(
        supervisor: &Arc<Supervisor>,
        folder: &Path,
        postgres: &'a Postgres,
        mode: PoolMode,
    ) -> anyhow::Result<(Self, Process)> {
        let home = Home::find(folder)?;
        home.make()?;
        for _ in 0..ports::TRIES {
            let [port] = ports::free_again(None)?;
            let bouncer = Self { postgres, port };
            let process = supervisor.run(bouncer.program(&home, mode)?)?;
            match bouncer.answers(&process).await {
                Ok(()) => return Ok((bouncer, process)),
                Err(error) if !process.output().contains("in use") => return Err(error),
                Err(_) => {}
            }
        }
        bail!("PgBouncer found its port taken {} times", ports::TRIES)
    }

    fn program(&self, home: &Home, mode: PoolMode) -> anyhow::Result<Program> {
        let users = home.path.join("users.txt");
        let passwords: String = [Role::Superuser, Role::Owner, Role::State, Role::Read]
            .map(|role| format!("\"{}\" \"{}\"\n", role.name(), self.postgres.password(role)))
            .concat();
        home.write(&users, &passwords)?;
        let settings = home.path.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {own}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n\
             pool_mode = {mode}\n",
            server = self.postgres.port,
            own = self.port,
            users = users.display(),
            mode = mode.as_str(),
        );
        home.write(&settings, &text)?;
        // Debian installs it in a folder that is only on root's PATH.
        let sbin = || Some(Path::new("/usr/sbin/pgbouncer").to_owned()).filter(|path| path.is_file());
        let path = tools::on_path("pgbouncer").or_else(sbin);
        Ok(Program {
            name: format!("pgbouncer-{}", mode.as_str()),
            path: path.context("PgBouncer is missing: run `tools/setup readers`")?,
            arguments: vec![settings.display().to_string()],
            stop_with: Signal::Interrupt,
            ..home.program("postgres", Vec::new(), Signal::Interrupt)?
        })
    }

    async fn answers(&self, process: &Process) -> anyhow::Result<()> {
        let url = self.url(Role::Superuser, "postgres");
        let options = PgConnectOptions::from_str(url.expose_secret()).context("no URL of a database")?;
        // PgBouncer refuses the options that sqlx sends by default.
        let options = session::options(options);
        wait::until("PgBouncer answers", START_BOUND, || async {
            process.check_alive()?;
            let Ok(connection) = options.connect().await else { return Ok(None) };
            Ok(connection.close().await.ok())
        })
        .await
    }

    /// Returns the address of a database for a role, through PgBouncer.
    pub fn url(&self, role: Role, database: &str) -> SecretString {
        let through = Postgres { port: self.port, ..self.postgres.clone() };
        through.url(role, database)
    }
}

impl Home {
    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        private::write(path, text.as_bytes())?;
        self.hand_over(path)
    }
}

//! A throw-away PostgreSQL cluster, made from the system's own programs, with the roles of the export.
//!
//! It listens on 127.0.0.1 only, on a free port and with random passwords. PostgreSQL refuses to run as root. In that
//! case it runs as the system's user `postgres`, and its data is in a folder that this user can reach.

mod home;
pub mod pgbouncer;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use self::home::Home;
use crate::{
    servers::{ports, private},
    supervisor::{
        Process, Supervisor,
        protocol::{Program, Signal},
    },
    tools, wait,
};

/// The longest time to make a new cluster, and for a server to answer.
const START_BOUND: Duration = Duration::from_secs(90);

/// Enough for every test of a run to have separate pools at the same time.
const CONNECTIONS: u32 = 400;

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The superuser of the cluster, for the harness alone.
    Superuser,
    /// `export_owner`: owns the tables and runs the migrations.
    Owner,
    /// `export_state`: requests and events.
    State,
    /// `export_read`: the platform's tables, read only.
    Read,
    /// `export_portal`: what the portal may do to requests.
    Portal,
}

impl Role {
    /// The roles that every cluster gets.
    const MADE: [Self; 4] = [Self::Owner, Self::State, Self::Read, Self::Portal];

    /// Returns the name of the role in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superuser => "postgres",
            Self::Owner => "export_owner",
            Self::State => "export_state",
            Self::Read => "export_read",
            Self::Portal => "export_portal",
        }
    }
}

/// Where the cluster listens, and its passwords.
#[derive(Clone, Serialize, Deserialize)]
pub struct Postgres {
    port: u16,
    superuser: String,
    owner: String,
    state: String,
    read: String,
    /// A stack that was made before there was this role gets it at the next start.
    #[serde(default = "private::password")]
    portal: String,
}

impl Postgres {
    /// Starts the cluster of `folder`, and makes it first if there is none. `last` has its previous port and passwords.
    ///
    /// A lasting cluster writes durably. A throw-away one is fast instead.
    pub async fn start(
        supervisor: &Arc<Supervisor>,
        folder: &Path,
        last: Option<Self>,
        lasts: bool,
    ) -> anyhow::Result<(Self, Process)> {
        let home = Home::find(folder)?;
        let postgres = match last {
            Some(last) if home.has_cluster()? => last,
            _ => Self::make(supervisor, &home, lasts).await?,
        };
        postgres.serve(supervisor, &home, lasts).await
    }

    /// Starts a throw-away streaming replica of this cluster in `folder`, which must differ from the cluster's folder.
    pub async fn replicate(
        &self,
        supervisor: &Arc<Supervisor>,
        folder: &Path,
    ) -> anyhow::Result<(Self, Process)> {
        let home = Home::find(folder)?;
        home.make()?;
        let arguments = [
            format!("--pgdata={}", home.cluster().display()),
            "--host=127.0.0.1".to_owned(),
            format!("--port={}", self.port),
            format!("--username={}", Role::Superuser.name()),
            "--write-recovery-conf".to_owned(),
            "--checkpoint=fast".to_owned(),
            "--no-sync".to_owned(),
        ];
        let mut copy = home.program("pg_basebackup", arguments.into(), Signal::Terminate)?;
        // The password is written to the replica's configuration, in a folder that only its user can read.
        copy.environment.insert("PGPASSWORD".to_owned(), self.superuser.clone());
        supervisor.finish(copy, START_BOUND).await.context("failed to copy a PostgreSQL cluster")?;
        Self { port: 0, ..self.clone() }.serve(supervisor, &home, false).await
    }

    async fn serve(
        mut self,
        supervisor: &Arc<Supervisor>,
        home: &Home,
        lasts: bool,
    ) -> anyhow::Result<(Self, Process)> {
        for _ in 0..ports::TRIES {
            let wanted = (self.port != 0).then_some([self.port]);
            [self.port] = ports::free_again(wanted)?;
            let process = supervisor.run(self.program(home, lasts)?)?;
            match self.answers(&process).await {
                Ok(connection) => {
                    self.make_roles(connection).await?;
                    return Ok((self, process));
                }
                Err(error) if !process.output().contains("could not bind") => return Err(error),
                Err(_) => self.port = 0,
            }
        }
        bail!("PostgreSQL found its port taken {} times", ports::TRIES)
    }

    /// Returns the folder with the data of the cluster of `folder`, which may be elsewhere.
    pub fn home(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
        Ok(Home::find(folder)?.path)
    }

    async fn make(supervisor: &Arc<Supervisor>, home: &Home, lasts: bool) -> anyhow::Result<Self> {
        let postgres = Self {
            port: 0,
            superuser: private::password(),
            owner: private::password(),
            state: private::password(),
            read: private::password(),
            portal: private::password(),
        };
        home.make()?;
        let passwords = home.write_password(&postgres.superuser)?;
        let mut arguments = vec![
            format!("--pgdata={}", home.cluster().display()),
            format!("--username={}", Role::Superuser.name()),
            format!("--pwfile={}", passwords.display()),
            "--auth=scram-sha-256".to_owned(),
            "--encoding=UTF8".to_owned(),
            "--locale=C".to_owned(),
        ];
        if !lasts {
            arguments.push("--no-sync".to_owned());
        }
        let initdb = home.program("initdb", arguments, Signal::Terminate)?;
        supervisor.finish(initdb, START_BOUND).await.context("failed to make a PostgreSQL cluster")?;
        std::fs::remove_file(&passwords).context("failed to remove the password file of the new cluster")?;
        Ok(postgres)
    }

    fn program(&self, home: &Home, lasts: bool) -> anyhow::Result<Program> {
        let port = format!("port={}", self.port);
        let connections = format!("max_connections={CONNECTIONS}");
        let mut settings = vec![
            "listen_addresses=127.0.0.1",
            // The path of a socket may not be longer than 107 bytes, and no test needs a socket.
            "unix_socket_directories=",
            &port,
            &connections,
            "timezone=UTC",
            "log_timezone=UTC",
            "log_min_messages=warning",
            // A failed statement in the log could show a link or a row.
            "log_min_error_statement=panic",
            "log_parameter_max_length_on_error=0",
        ];
        if !lasts {
            settings.extend([
                "fsync=off",
                "full_page_writes=off",
                "synchronous_commit=off",
                "max_wal_size=2GB",
            ]);
        }
        let mut arguments = vec!["-D".to_owned(), home.cluster().display().to_string()];
        for setting in settings {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        home.program("postgres", arguments, Signal::Interrupt)
    }

    async fn answers(&self, process: &Process) -> anyhow::Result<PgConnection> {
        wait::until("PostgreSQL answers", START_BOUND, || async {
            process.check_alive()?;
            Ok(self.connect(Role::Superuser, "postgres").await.ok())
        })
        .await
    }

    /// Makes the roles of the export. Roles belong to the cluster, not to one database.
    async fn make_roles(&self, mut connection: PgConnection) -> anyhow::Result<()> {
        for role in Role::MADE {
            let there: bool =
                sqlx::query_scalar("select exists (select from pg_catalog.pg_roles where rolname = $1)")
                    .bind(role.name())
                    .fetch_one(&mut connection)
                    .await
                    .context("failed to look for a role")?;
            if !there {
                let sql = format!("create role {} login password '{}'", role.name(), self.password(role));
                connection.execute(AssertSqlSafe(sql)).await.context("failed to make a role")?;
            }
        }
        connection.close().await.context("failed to close a connection")
    }

    fn password(&self, role: Role) -> &str {
        match role {
            Role::Superuser => &self.superuser,
            Role::Owner => &self.owner,
            Role::State => &self.state,
            Role::Read => &self.read,
            Role::Portal => &self.portal,
        }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of a database for a role.
    pub fn url(&self, role: Role, database: &str) -> SecretString {
        let (name, password, port) = (role.name(), self.password(role), self.port);
        format!("postgres://{name}:{password}@127.0.0.1:{port}/{database}").into()
    }

    /// Opens one connection.
    pub async fn connect(&self, role: Role, database: &str) -> anyhow::Result<PgConnection> {
        use secrecy::ExposeSecret as _;
        let url = self.url(role, database);
        PgConnection::connect(url.expose_secret())
            .await
            .with_context(|| format!("failed to connect to the database `{database}` as {}", role.name()))
    }

    /// Runs SQL that the harness itself wrote.
    pub async fn run(&self, role: Role, database: &str, sql: String) -> anyhow::Result<()> {
        let mut connection = self.connect(role, database).await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.context("failed to run SQL")?;
        connection.close().await.context("failed to close a connection")
    }

    /// Returns the variables by which clients with `libpq`, and most others, find a database.
    pub fn libpq(&self, role: Role, database: &str) -> [(&'static str, String); 5] {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", role.name().to_owned()),
            ("PGPASSWORD", self.password(role).to_owned()),
            ("PGDATABASE", database.to_owned()),
        ]
    }

    /// Returns the line that opens a database in PostgreSQL's own client. The password is not an argument, because
    /// every user sees the arguments of a program.
    pub fn psql(&self, role: Role, database: &str) -> String {
        let psql = tools::on_path("psql").or_else(|| Some(tools::postgresql().ok()?.join("psql")));
        let psql = psql.map_or_else(|| "psql".to_owned(), |path| path.display().to_string());
        let variables = self.libpq(role, database).map(|(name, value)| format!("{name}='{value}'"));
        format!("{} {psql}", variables.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_opens_a_database_keeps_the_password_out_of_the_arguments() {
        let secret = || "s3cret".to_owned();
        let postgres = Postgres {
            port: 5433,
            superuser: secret(),
            owner: secret(),
            state: secret(),
            read: secret(),
            portal: secret(),
        };
        let line = postgres.psql(Role::Owner, "platform");
        let (variables, arguments) = line.split_once("psql").unwrap();
        assert!(variables.contains("PGPASSWORD='s3cret'") && !arguments.contains("s3cret"), "{line}");
    }
}

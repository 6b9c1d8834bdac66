//! Temporal's own development server, with its Web UI.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use temporalio_client::{
    Connection, ConnectionOptions, RegisterNamespaceOptions, Url,
    tonic::{Code, IntoRequest as _},
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeNamespaceRequest, RegisterNamespaceRequest,
};

use crate::{
    servers::ports,
    supervisor::{Process, Supervisor, protocol::Program},
    tools, wait,
};

const START_BOUND: Duration = Duration::from_secs(60);

/// Where the server listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Temporal {
    port: u16,
    ui_port: u16,
}

impl Temporal {
    /// The namespace that the server makes for itself.
    pub const NAMESPACE: &'static str = "default";

    /// Starts the server. A lasting one keeps its histories in `folder`; otherwise they are lost when it stops.
    pub async fn start(
        supervisor: &Arc<Supervisor>,
        folder: &Path,
        last: Option<Self>,
        lasts: bool,
    ) -> anyhow::Result<(Self, Process)> {
        let mut wanted = last.map(|last| [last.port, last.ui_port]);
        for _ in 0..ports::TRIES {
            let [port, ui_port] = ports::free_again(wanted.take())?;
            let temporal = Self { port, ui_port };
            let process = supervisor.run(temporal.program(folder, lasts)?)?;
            match temporal.answers(&process).await {
                Ok(()) => return Ok((temporal, process)),
                Err(error) if !process.output().contains("address already in use") => return Err(error),
                Err(_) => {}
            }
        }
        bail!("the Temporal server found its ports taken {} times", ports::TRIES)
    }

    fn program(&self, folder: &Path, lasts: bool) -> anyhow::Result<Program> {
        let (port, ui_port) = (self.port.to_string(), self.ui_port.to_string());
        let mut arguments =
            ["server", "start-dev", "--ip", "127.0.0.1", "--port", &port, "--ui-port", &ui_port]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--ui-disable-news-fetch", "--log-level", "error"].map(str::to_owned));
        if lasts {
            arguments.extend(["--db-filename".to_owned(), folder.join("temporal.db").display().to_string()]);
        }
        Ok(Program {
            name: "temporal".to_owned(),
            path: tools::server("temporal")?,
            arguments,
            ..Program::default()
        })
    }

    async fn answers(&self, process: &Process) -> anyhow::Result<()> {
        let connection = wait::until("Temporal answers", START_BOUND, || async {
            process.check_alive()?;
            Ok(self.connect().await.ok())
        })
        .await?;
        wait_for_namespace(&connection, Self::NAMESPACE).await?;
        // Another Temporal may have taken the port first; then ours has ended.
        process.check_alive()
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let url = Url::parse(&format!("http://{}", self.address()))
            .context("failed to write Temporal's address")?;
        let options = ConnectionOptions::new(url).identity("export-stack".to_owned()).build();
        Connection::connect(options).await.context("failed to connect to Temporal")
    }

    /// Returns host and port for `TEMPORAL_ADDRESS`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the address of the Web UI.
    pub fn web_ui(&self) -> String {
        format!("http://127.0.0.1:{}", self.ui_port)
    }

    /// Makes a namespace, in which a test can use the fixed workflow and schedule ids alone.
    pub async fn make_namespace(&self, name: &str) -> anyhow::Result<()> {
        let connection = self.connect().await?;
        let options = RegisterNamespaceOptions::builder().namespace(name).description("").build();
        let request: RegisterNamespaceRequest = options.into();
        connection
            .workflow_service()
            .register_namespace(request.into_request())
            .await
            .with_context(|| format!("failed to make the namespace `{name}`"))?;
        wait_for_namespace(&connection, name).await
    }
}

/// Waits for a new namespace, because the server notices it with a delay.
async fn wait_for_namespace(connection: &Connection, name: &str) -> anyhow::Result<()> {
    wait::until(&format!("Temporal knows the namespace `{name}`"), START_BOUND, || async {
        let request = DescribeNamespaceRequest { namespace: name.to_owned(), ..Default::default() };
        match connection.workflow_service().describe_namespace(request.into_request()).await {
            Ok(_) => Ok(Some(())),
            Err(status) if matches!(status.code(), Code::NotFound | Code::Unavailable) => Ok(None),
            Err(status) => Err(status).context("failed to inspect a namespace"),
        }
    })
    .await
}

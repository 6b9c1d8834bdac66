//! The portal of an installation: the production binary with the rights that it has in production.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde::Deserialize;

use super::{ports, private, worker};
use crate::{
    stack::{Installation, Stack},
    supervisor::Process,
    wait,
};

const START_BOUND: Duration = Duration::from_secs(60);
/// The file in the data of a stack that names the address of its portal.
const URL: &str = "portal.url";
/// The line that the process logs when it answers.
const SERVING: &str = "Serving the portal at ";

/// A portal that answers.
pub struct Portal {
    /// The process.
    pub process: Process,
    /// Its address.
    pub url: String,
    /// A service key.
    pub key: String,
    /// The file that holds the key, for a person.
    pub key_path: PathBuf,
}

#[derive(Deserialize)]
struct Made {
    key: String,
    line: String,
}

impl Portal {
    /// Reads the address of the portal of a stack, and the file with its service key.
    pub fn read(folder: &Path) -> anyhow::Result<(String, PathBuf)> {
        let data = folder.join("data");
        let url = std::fs::read_to_string(data.join(URL)).context("failed to read where the portal is")?;
        Ok((url, data.join("portal.key")))
    }

    /// Starts the portal as part of the stack, with a new service key.
    pub async fn start(stack: &Stack, installation: &Installation) -> anyhow::Result<Self> {
        let made = ["--output", "json", "portal", "key", "demo"];
        let made = worker::command(&std::collections::BTreeMap::new(), &made).await?;
        let Made { key, line } = serde_json::from_str(&made).context("failed to read the new service key")?;
        let data = stack.folder().join("data");
        let (file, key_path) = (data.join("portal.keys"), data.join("portal.key"));
        private::write(&file, line.as_bytes())?;
        private::write(&key_path, key.as_bytes())?;
        let mut environment = stack.servers().portal_environment(installation, &file).await?;
        let [port] = ports::free()?;
        environment.insert("EXPORT_PORTAL_ADDR".to_owned(), format!("127.0.0.1:{port}"));
        environment.insert("EXPORT_PORTAL_URL".to_owned(), format!("http://127.0.0.1:{port}"));
        let process = stack.start_worker("portal", &["serve"], environment)?;
        let url = address(&process).await?;
        private::write(&data.join(URL), url.as_bytes())?;
        Ok(Self { process, url, key, key_path })
    }
}

/// Waits until a portal answers. Returns its address.
pub async fn address(process: &Process) -> anyhow::Result<String> {
    let said = wait::until("the portal answers", START_BOUND, || async {
        process.check_alive()?;
        let output = process.output();
        let line = output.split_once(SERVING).and_then(|(_, rest)| rest.split_once('\n'));
        Ok(line.map(|(line, _)| line.split(['"', ' ']).next().unwrap_or_default().to_owned()))
    });
    said.await.with_context(|| process.last_words())
}

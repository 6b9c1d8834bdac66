//! versitygw, a small S3 server over a folder: signatures, presigned links, multipart uploads and checksums are real.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use anyhow::{Context as _, bail};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use export_activities::store;
use serde::{Deserialize, Serialize};

use crate::{
    servers::{ports, private},
    supervisor::{Process, Supervisor, protocol::Program},
    tools, wait,
};

const START_BOUND: Duration = Duration::from_secs(30);

/// Where the store listens, and its credentials.
#[derive(Clone, Serialize, Deserialize)]
pub struct Versitygw {
    port: u16,
    access_key_id: String,
    secret_access_key: String,
}

impl Versitygw {
    /// The region that it serves.
    pub const REGION: &'static str = "us-east-1";

    /// Starts the store over a folder below `folder`.
    pub async fn start(
        supervisor: &Arc<Supervisor>,
        folder: &Path,
        last: Option<Self>,
    ) -> anyhow::Result<(Self, Process)> {
        Self::start_as(supervisor, folder, last, "versitygw").await
    }

    /// Starts one more store under a separate name, for a test that stops and starts it.
    pub async fn start_as(
        supervisor: &Arc<Supervisor>,
        folder: &Path,
        last: Option<Self>,
        name: &str,
    ) -> anyhow::Result<(Self, Process)> {
        let mut store = last.unwrap_or_else(|| Self {
            port: 0,
            access_key_id: format!("export{}", &private::password()[..12]),
            secret_access_key: private::password(),
        });
        for _ in 0..ports::TRIES {
            let wanted = (store.port != 0).then_some([store.port]);
            [store.port] = ports::free_again(wanted)?;
            let process = supervisor.run(store.program(folder, name)?)?;
            match store.answers(&process).await {
                Ok(()) => return Ok((store, process)),
                Err(error) if !process.output().contains("address already in use") => return Err(error),
                Err(_) => store.port = 0,
            }
        }
        bail!("the store found its port taken {} times", ports::TRIES)
    }

    fn program(&self, folder: &Path, name: &str) -> anyhow::Result<Program> {
        let folders = ["objects", "sidecar", "versions", "users"].map(|part| folder.join(name).join(part));
        for folder in &folders {
            private::folder(folder)?;
        }
        let port = format!("127.0.0.1:{}", self.port);
        let [objects, sidecar, versions, users] = folders.map(|path| path.display().to_string());
        let arguments = [
            "--port",
            &port,
            "--health",
            "/health",
            "--keep-alive",
            "--quiet",
            "--iam-dir",
            &users,
            "posix",
            "--sidecar",
            &sidecar,
            "--versioning-dir",
            &versions,
            &objects,
        ];
        Ok(Program {
            name: name.to_owned(),
            path: tools::server("versitygw")?,
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: BTreeMap::from([
                ("ROOT_ACCESS_KEY".to_owned(), self.access_key_id.clone()),
                ("ROOT_SECRET_KEY".to_owned(), self.secret_access_key.clone()),
            ]),
            ..Program::default()
        })
    }

    async fn answers(&self, process: &Process) -> anyhow::Result<()> {
        let http = http()?;
        wait::until("the store answers", START_BOUND, || async {
            process.check_alive()?;
            let answer = http.get(format!("{}/health", self.endpoint())).send().await;
            Ok(answer.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
        .await?;
        process.check_alive()
    }

    /// Returns the address for `EXPORT_S3_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the id of the access key.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// Returns the secret of the access key.
    pub fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// Returns a client that may do everything.
    pub fn client(&self) -> aws_sdk_s3::Client {
        let credentials = Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            None,
            None,
            "the development store",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(store::http_client())
            .region(Region::from_static(Self::REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(credentials)
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Makes a bucket, unless it already exists.
    pub async fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        match self.client().create_bucket().bucket(name).send().await {
            Err(error)
                if !error.as_service_error().is_some_and(|error| error.is_bucket_already_owned_by_you()) =>
            {
                Err(error).with_context(|| format!("failed to make the bucket `{name}`"))
            }
            _ => Ok(()),
        }
    }
}

impl Versitygw {
    /// Makes a key that can read the archives of a bucket, and nothing else. Returns its id and its secret.
    pub async fn make_reader(&self, bucket: &str) -> anyhow::Result<(String, String)> {
        let (id, secret) = (format!("reader{}", &private::password()[..12]), private::password());
        let mut admin = tokio::process::Command::new(tools::server("versitygw")?);
        // The tool takes the new secret as an argument only; it is of a development store and seen for milliseconds.
        admin.args(["admin", "create-user", "--access", &id, "--secret", &secret, "--role", "user"]);
        admin
            .env("ADMIN_ACCESS_KEY_ID", &self.access_key_id)
            .env("ADMIN_SECRET_ACCESS_KEY", &self.secret_access_key);
        admin.env("ADMIN_ENDPOINT_URL", self.endpoint()).kill_on_drop(true);
        let made = admin.output().await.context("failed to run the store's admin tool")?;
        if !made.status.success() {
            bail!("the store made no reader: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": [id]},
                "Action": ["s3:GetObject"],
                "Resource": [format!("arn:aws:s3:::{bucket}/exports/*")],
            }],
        });
        let put = self.client().put_bucket_policy().bucket(bucket).policy(policy.to_string()).send().await;
        put.with_context(|| format!("failed to let a reader into the bucket `{bucket}`"))?;
        Ok((id, secret))
    }
}

/// Returns a plain HTTP client, which follows no redirects.
pub fn http() -> anyhow::Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    // Two providers are compiled in, and rustls cannot choose by itself.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
    client.build().context("failed to make an HTTP client")
}

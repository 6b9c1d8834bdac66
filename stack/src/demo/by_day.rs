//! One export by day, over HTTP, as a person's browser and the platform's backend would ask for it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::download::fetch;
use crate::{
    development::{allow_by_day, installation},
    servers::{portal::Portal, versitygw},
    stack::Stack,
    wait,
};

/// The longest time until the export is ready on a slow machine.
const READY_BOUND: Duration = Duration::from_secs(120);

/// One when it was asked for, and one when it was ready.
const MAILS: usize = 2;

/// An export that was made by day.
pub(super) struct ByDay {
    /// The portal, which goes on.
    pub(super) portal: Portal,
    /// The person.
    user: String,
    /// Seconds from the click to the file.
    pub(super) seconds: f64,
    /// The file, which has a workbook and Parquet files, too.
    pub(super) archive: PathBuf,
}

/// Asks for one export, downloads it, and waits for the mails that tell the person of it.
pub(super) async fn export(
    stack: &Stack,
    portal: Portal,
    database: &mut PgConnection,
    folder: &Path,
) -> anyhow::Result<ByDay> {
    let environment = stack.servers().environment(&installation());
    allow_by_day(&environment).await?;
    let (user, email): (String, String) = sqlx::query_as(
        "select r.user_id, u.email::text from public.data_export_requests r
         join public.users u on u.id::text = r.user_id and u.email_verified_at is not null
         where r.status = 'ready' and '0' <> all (select value from jsonb_each_text(r.row_counts))
         order by r.archive_bytes limit 1",
    )
    .fetch_one(database)
    .await
    .context("failed to find a user")?;
    let http = versitygw::http()?;
    let session = sign_in(&http, &portal, &user).await?;
    let token = session["token"].as_str().context("the portal made no session")?;
    let begun = Instant::now();
    let ask = http.post(format!("{}/v1/exports", portal.url)).bearer_auth(token);
    let asked = answer(
        ask.json(&json!({ "start": "at_once", "formats": ["xlsx", "parquet"] })),
        StatusCode::ACCEPTED,
    )
    .await?;
    let id = asked["id"].as_str().context("the portal made no export")?;
    let path = format!("{}/v1/exports/{id}", portal.url);
    tokio::time::timeout(READY_BOUND, until_ready(&http, &path, token))
        .await
        .with_context(|| format!("the export was not ready within {} s", READY_BOUND.as_secs()))??;
    let click = http.get(format!("{path}/download")).bearer_auth(token).send().await;
    let click = click.context("the portal did not answer")?;
    ensure!(click.status() == StatusCode::FOUND, "the portal answered {} to the download", click.status());
    let link = click.headers().get("location").and_then(|link| link.to_str().ok());
    let archive = folder.join(format!("export-{id}.zip"));
    fetch(link.context("the portal gave no link")?, &archive).await?;
    let seconds = begun.elapsed().as_secs_f64();
    wait::until("the mails", READY_BOUND, || async {
        let mails = stack.servers().mail.mails(&email).await?;
        Ok((mails.len() >= MAILS).then_some(()))
    })
    .await?;
    Ok(ByDay { portal, user, seconds, archive })
}

/// Returns the address of the page for the person. It works once, within a minute.
pub(super) async fn page(by_day: &ByDay) -> anyhow::Result<String> {
    let session = sign_in(&versitygw::http()?, &by_day.portal, &by_day.user).await?;
    let url = session["url"].as_str().context("the portal made no address of the page")?;
    Ok(url.to_owned())
}

async fn sign_in(http: &Client, portal: &Portal, user: &str) -> anyhow::Result<Value> {
    let sign_in = http.post(format!("{}/v1/sessions", portal.url)).bearer_auth(&portal.key);
    answer(sign_in.json(&json!({ "user_id": user })), StatusCode::CREATED).await
}

async fn answer(call: RequestBuilder, expected: StatusCode) -> anyhow::Result<Value> {
    let answer = call.send().await.context("the portal did not answer")?;
    let status = answer.status();
    let body: Value = answer.json().await.context("the portal's answer cannot be read")?;
    ensure!(status == expected, "the portal answered {status}: {body}");
    Ok(body)
}

/// Waits at the portal for each change.
async fn until_ready(http: &Client, path: &str, token: &str) -> anyhow::Result<()> {
    let mut etag = String::new();
    loop {
        let ask = http.get(path).bearer_auth(token).header("prefer", "wait=30");
        let answer = ask.header("if-none-match", &etag).send().await.context("the portal did not answer")?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            continue;
        }
        etag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
        let export: Value = answer.json().await.context("the portal's answer cannot be read")?;
        match export["status"].as_str() {
            Some("ready") => return Ok(()),
            Some("pending") => {}
            _ => bail!("the export did not become ready: {export}"),
        }
    }
}

//! Checks that a link works as a user opens it. If not, finds whether the address or the key is the cause.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use export_activities::{
    fulfil::{
        presign::{Links, PresignedUrl, presign, presign_for_click},
        upload::PROBE_TEXT,
    },
    store::{Store, object_key::ObjectKey},
};
use reqwest::{StatusCode, header};

use super::Clock;
use crate::{
    config::Config,
    connect::{
        self,
        explain::{self, Explained},
    },
    doctor::Line,
};

const CHECK: &str = "store";
/// Time limit of the link's answer.
const LINK_WITHIN: Duration = Duration::from_secs(10);

/// Why a link does not work.
enum LinkFault {
    /// Nothing answers at its address, seen from this machine.
    NoAnswer(String),
    /// A server answers, but wrongly.
    Wrong(String),
}

/// Reads the small probe over its link.
///
/// If the public endpoint is unreachable from here but the link works at the worker's endpoint, that is only a warning:
/// users may reach the public endpoint although a worker in a container or behind a firewall does not.
pub(super) async fn examine(
    config: &Config,
    store: &Store,
    key: &ObjectKey,
    lines: &mut Vec<Line>,
) -> Result<Option<Clock>, Line> {
    let fault = match read_over(&sign(store, key, &config.links).await?).await {
        Ok(clock) => return Ok(clock),
        Err(fault) => fault,
    };
    let wrong = |cause: &str, remedy: &str| {
        Err(Line::failed(CHECK, Explained::new(format!("the link does not work: {cause}"), remedy)))
    };
    const KEY: &str = "set EXPORT_SIGNING_ACCESS_KEY_ID and EXPORT_SIGNING_SECRET_ACCESS_KEY (none: AWS_ACCESS_KEY_ID and \
                       AWS_SECRET_ACCESS_KEY) to a key that may read exports/*";
    let mut direct = config.clone();
    direct.public_endpoint = None;
    let direct = connect::store_for_command(&direct)
        .await
        .map_err(|error| Line::failed(CHECK, explain::store(&error)))?;
    let Some(public) =
        config.public_endpoint.as_deref().filter(|_| config.public_endpoint != config.s3_endpoint)
    else {
        let (LinkFault::NoAnswer(cause) | LinkFault::Wrong(cause)) = fault;
        return wrong(&cause, KEY);
    };
    match (read_over(&sign(&direct, key, &config.links).await?).await, fault) {
        (Err(LinkFault::NoAnswer(cause) | LinkFault::Wrong(cause)), _) => {
            wrong(&format!("also without EXPORT_PUBLIC_ENDPOINT {cause}"), KEY)
        }
        (Ok(clock), LinkFault::NoAnswer(cause)) => {
            let cause =
                format!("from here {cause} at `{public}`; at the endpoint of the worker the link works");
            let remedy = "open a link in a browser of a user (`export-worker request show ID --reveal`); if it does not \
                          open there either, fix EXPORT_PUBLIC_ENDPOINT";
            lines.push(Line::warning("public endpoint", Explained::new(cause, remedy)));
            Ok(clock)
        }
        (Ok(_), LinkFault::Wrong(cause)) => wrong(
            &format!("at `{public}` {cause}"),
            "fix EXPORT_PUBLIC_ENDPOINT: users reach the store under it, and it is part of the signature",
        ),
    }
}

async fn sign(store: &Store, key: &ObjectKey, links: &Links) -> Result<PresignedUrl, Line> {
    // One minute ago, so that a store whose clock is slow does not refuse the link as not yet valid.
    let start = Utc::now() - TimeDelta::seconds(60);
    let signed = match links {
        Links::Presigned => presign(store, key, start).await,
        Links::OnClick(_) => presign_for_click(store, key, "probe", LINK_WITHIN * 6).await,
    };
    signed.map_err(|error| Line::failed(CHECK, explain::store(&error)))
}

/// Requests the first bytes by plain HTTP. Never shows an error of reqwest: it contains the link.
async fn read_over(link: &PresignedUrl) -> Result<Option<Clock>, LinkFault> {
    let wrong = |cause: &str| LinkFault::Wrong(cause.to_owned());
    let client = reqwest::Client::builder().timeout(LINK_WITHIN).build().context("failed to make a client");
    let client = client.map_err(|error| LinkFault::Wrong(format!("{error:#}")))?;
    let answer = client.get(link.reveal()).header(header::RANGE, "bytes=0-9").send().await;
    let here = Utc::now();
    let answer = answer.map_err(|_| LinkFault::NoAnswer("nothing answers".to_owned()))?;
    let status = answer.status();
    if !matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::OK) {
        return Err(LinkFault::Wrong(format!("it answered with HTTP {}", status.as_u16())));
    }
    let store = answer
        .headers()
        .get(header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let body = answer.bytes().await.map_err(|_| wrong("the answer broke off"))?;
    if !PROBE_TEXT.starts_with(&body) {
        return Err(wrong("it gives other bytes than were stored"));
    }
    if status != StatusCode::PARTIAL_CONTENT || body.len() != 10 {
        return Err(wrong("it ignores the range, so downloads cannot resume"));
    }
    Ok(store.map(|store| Clock { store: store.with_timezone(&Utc), here }))
}

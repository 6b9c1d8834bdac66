//! The HTTP API and the page for the person who asks for an export, and for the platform around them.
//!
//! The process that serves it faces the Internet. Its database role reads one view without links, and its key to the
//! store can only read. The portal never reads the platform's tables, never calls Temporal, and never moves a request by
//! itself: two functions of the database do that, within the limits of the policy.

pub mod caller;
pub mod rights;

mod body;
mod cursor;
mod export;
mod flood;
mod layers;
mod live;
mod problem;
mod records;
mod routes;

use std::{future::IntoFuture as _, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use axum::{http::HeaderValue, serve::ListenerExt as _};
use export_activities::{database::pool::Pool, scope::Offer, store::Store};
use futures::future::OptionFuture;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::TcpListener,
    sync::{OnceCell, Semaphore},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{
    caller::{
        Known,
        keys::ServiceKeys,
        tokens::{self, Tokens},
    },
    flood::Floodgate,
    live::Live,
    problem::Problem,
};

/// What the portal works with, and its settings.
pub struct Settings {
    /// The database of requests, as `export_portal`.
    pub database: Pool,
    /// The store, with a key that can only read.
    pub store: Store,
    /// The keys of the platform's backends.
    pub keys: ServiceKeys,
    /// The identity provider whose access tokens are taken, if there is one.
    pub issuer: Option<tokens::Settings>,
    /// The address under which people reach the portal, such as `https://exports.example.com`.
    pub url: Url,
    /// The addresses of pages of other origins that may call the API.
    pub origins: Vec<HeaderValue>,
    /// Whether an admin may download the export of a member.
    pub admin_downloads: rights::AdminDownloads,
    /// How archives come to people.
    pub downloads: Downloads,
    /// What an archive holds, and what can be asked for. The worker reads the same catalogue.
    pub offer: Offer,
}

/// How archives come to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Downloads {
    /// From the store, by a link for one click.
    Redirect,
    /// Through the portal, for stores that people cannot reach.
    Stream,
}

/// After so many milliseconds a caller who takes nothing of what was sent is cut off by the system.
const CALLER_TAKES_NOTHING: u32 = 120_000;

/// Archives that a replica streams at a time. Each one takes about 2 MB of memory.
const MOST_DOWNLOADS: usize = 64;

/// The state that all calls share.
pub(crate) struct Portal {
    settings: Settings,
    floodgate: Floodgate,
    tokens: Option<Tokens>,
    known: Known,
    live: Arc<Live>,
    /// A permit for each archive that is streamed.
    streaming: Arc<Semaphore>,
    /// The key of cursors, after it was read.
    cursor_key: OnceCell<Vec<u8>>,
}

impl Portal {
    /// Returns the key of every replica, with which cursors are signed.
    async fn cursor_key(&self) -> Result<&[u8], Problem> {
        let read =
            async || records::installation(&self.settings.database).await.map(|found| found.cursor_key);
        self.cursor_key.get_or_try_init(read).await.map(Vec::as_slice)
    }
}

/// Listens. Returns the address, and the future that serves until `stop`.
///
/// # Errors
/// When the address is not free.
pub async fn listen(
    address: SocketAddr,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(SocketAddr, impl Future<Output = std::io::Result<()>>)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen at {address}: set EXPORT_PORTAL_ADDR to an address of this machine and a free port"
        )
    })?;
    let at = listener.local_addr()?;
    let listener = listener.tap_io(|caller| {
        if let Err(error) = set_tcp_user_timeout(caller, CALLER_TAKES_NOTHING) {
            tracing::debug!(%error, "A caller who takes nothing is not cut off");
        }
    });
    let live = Live::new();
    let watching = Arc::clone(&live).run(settings.database.clone(), stop.clone());
    let tokens = settings.issuer.clone().map(Tokens::new).transpose()?;
    let fetching = OptionFuture::from(tokens.as_ref().map(|tokens| tokens.watch(stop.clone())));
    let portal = Arc::new(Portal {
        settings,
        tokens,
        floodgate: Floodgate::default(),
        known: Known::default(),
        live,
        streaming: Arc::new(Semaphore::new(MOST_DOWNLOADS)),
        cursor_key: OnceCell::new(),
    });
    let router = layers::around(routes::router(), &portal).with_state(portal);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    Ok((at, async move { tokio::join!(serving.into_future(), watching, fetching).0 }))
}

/// Returns the description of the API: OpenAPI 3.1, as JSON.
pub fn openapi() -> Result<String> {
    routes::openapi().to_pretty_json().context("failed to write the description of the API")
}

//! A TCP proxy that counts round trips: how often the client sends after the server has sent.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// Size of one read: about what the kernel returns at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Starts the proxy in front of a URL's server. Returns the URL through the proxy, and the count over all connections.
///
/// It runs as long as the runtime.
pub async fn counting_proxy(url: &str) -> anyhow::Result<(String, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
    let mut proxied = Url::parse(url).context("a server's URL cannot be read")?;
    let host = proxied.host_str().context("a server's URL has no host")?.to_owned();
    let server = (host, proxied.port().context("a server's URL has no port")?);
    proxied.set_host(Some("127.0.0.1")).context("failed to replace the host")?;
    let port = listener.local_addr().context("failed to read a port")?.port();
    proxied.set_port(Some(port)).ok().context("failed to replace the port")?;
    let trips = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&trips);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect((server.0.as_str(), server.1)).await else { return };
            tokio::spawn(forward(client, server, Arc::clone(&counted)));
        }
    });
    let url = proxied.as_str();
    // The URL type adds a slash to a host without a path, but a store's endpoint must not have one.
    Ok((url.strip_suffix('/').unwrap_or(url).to_owned(), trips))
}

/// Forwards until either side ends. Then both connections close.
async fn forward(mut client: TcpStream, mut server: TcpStream, trips: Arc<AtomicU64>) {
    let (mut asked, mut answered) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    let mut server_spoke = true;
    loop {
        let written = tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                trips.fetch_add(u64::from(std::mem::take(&mut server_spoke)), Ordering::SeqCst);
                server.write_all(&asked[..read]).await
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                server_spoke = true;
                client.write_all(&answered[..read]).await
            }
        };
        if written.is_err() {
            return;
        }
    }
}

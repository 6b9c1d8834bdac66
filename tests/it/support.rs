//! A database of its own for each test.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use export_activities::source;
use export_tests::{postgres::Role, shared::stack};
use secrecy::ExposeSecret as _;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

/// A new, empty database and how its roles connect to it.
pub(crate) struct Database {
    /// As superuser, who may become any role.
    pub(crate) owner: PgPool,
    /// The URL of `export_read`.
    pub(crate) read_url: String,
}

impl Database {
    /// Connects as `export_read`.
    pub(crate) fn source(&self) -> PgPool {
        source::pool(&self.read_url.clone().into(), 4, Duration::from_secs(20)).unwrap()
    }
}

pub(crate) async fn database() -> Database {
    let postgres = &stack().await.unwrap().servers().postgres;
    let name = format!("test_{}", Uuid::new_v4().simple());
    let create = format!("create database {name} owner {}", Role::Owner.name());
    postgres.run(Role::Superuser, "postgres", create).await.unwrap();
    let owner = postgres.url(Role::Superuser, &name);
    let owner = PgPoolOptions::new().max_connections(2).connect(owner.expose_secret()).await.unwrap();
    Database { owner, read_url: postgres.url(Role::Read, &name).expose_secret().to_owned() }
}

/// Forwards one connection after another and counts how often the client speaks after the server has spoken.
pub(crate) async fn counting_proxy(url: &str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut proxied = url::Url::parse(url).unwrap();
    let server = (proxied.host_str().unwrap().to_owned(), proxied.port().unwrap());
    proxied.set_host(Some("127.0.0.1")).unwrap();
    proxied.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let trips = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&trips);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect((server.0.as_str(), server.1)).await.unwrap();
            let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
            let mut server_spoke = true;
            loop {
                tokio::select! {
                    read = client.read(&mut asked) => {
                        let Ok(read @ 1..) = read else { break };
                        counted.fetch_add(u64::from(std::mem::take(&mut server_spoke)), Ordering::SeqCst);
                        server.write_all(&asked[..read]).await.unwrap();
                    }
                    read = server.read(&mut answered) => {
                        let Ok(read @ 1..) = read else { break };
                        server_spoke = true;
                        client.write_all(&answered[..read]).await.unwrap();
                    }
                }
            }
        }
    });
    (proxied.to_string(), trips)
}

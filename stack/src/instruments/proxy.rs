//! A TCP proxy between the processor and one of its servers that misbehaves on purpose.
//!
//! It handles bytes, not protocols, with one exception: it recognises the messages that make PostgreSQL commit, to lose
//! the answer after the commit. Its random choices come from a seed, so that a failure can be repeated.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::servers::random::Random;

/// Size of one read: about what the kernel returns at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// PostgreSQL's simple query COMMIT on the wire: type, length, text, end.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// Text of a parameter of the statement that makes a request `ready`. It commits by itself, and only it carries a link.
const LINK: &[u8] = b"&X-Amz-Signature=";

/// How the proxy treats its connections, from the moment the mode is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Cuts every connection, and every new one at once.
    Cut,
    /// Passes each piece on after a random pause up to this length.
    Delay(Duration),
    /// Reads everything and passes nothing on. Connections stay open.
    BlackHole,
    /// Drops the server's n-th answer of each connection (1 is the next one), then cuts the connection. An answer is
    /// everything that the server sends until the client sends again.
    DropAnswer(usize),
    /// Lets PostgreSQL commit and drops its answer to COMMIT, or to the statement that makes a request `ready`, then cuts
    /// the connection.
    DropCommitAnswer,
}

/// The proxy; it stops, with all its connections, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    counters: Arc<Counters>,
    accept: AbortHandle,
}

#[derive(Default)]
struct Counters {
    connections: AtomicUsize,
    dropped_answers: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy to `upstream` on a free port of 127.0.0.1, in mode [`Mode::Pass`].
    pub async fn start(upstream: SocketAddr, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to bind the proxy")?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::Pass);
        let counters = Arc::<Counters>::default();
        let links = Links {
            upstream,
            mode: mode.clone(),
            counters: Arc::clone(&counters),
            random: Arc::new(Random::new(seed)),
        };
        let accept = tokio::spawn(links.accept(listener)).abort_handle();
        Ok(Self { address, mode, counters, accept })
    }

    /// Returns the address to connect to instead of the server's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the mode of all connections, also of open ones.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns the number of connections that are open.
    pub fn open(&self) -> usize {
        // Each of them watches the mode.
        self.mode.receiver_count()
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.counters.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of answers dropped by [`Mode::DropAnswer`] and [`Mode::DropCommitAnswer`].
    pub fn dropped_answers(&self) -> usize {
        self.counters.dropped_answers.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

#[derive(Clone)]
struct Links {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    counters: Arc<Counters>,
    random: Arc<Random>,
}

impl Links {
    async fn accept(self, listener: TcpListener) {
        let mut links = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            self.counters.connections.fetch_add(1, Ordering::SeqCst);
            let link = self.clone();
            // Broken connections are the purpose of the proxy.
            links.spawn(async move {
                let _ = link.join(client).await;
            });
            while links.try_join_next().is_some() {}
        }
    }

    /// Joins client and server until one of them or the mode ends the connection. Then both connections are cut.
    async fn join(self, client: TcpStream) -> anyhow::Result<()> {
        let mut mode = self.mode.subscribe();
        if *mode.borrow_and_update() == Mode::Cut {
            return Ok(());
        }
        let server = TcpStream::connect(self.upstream).await.context("failed to reach the server")?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        let turns = Turns::default();
        tokio::select! {
            cut = mode.wait_for(|mode| *mode == Mode::Cut) => cut.map(|_| ()).map_err(Into::into),
            ended = self.requests(client_in, server_out, &turns) => ended,
            ended = self.answers(server_in, client_out, &turns) => ended,
        }
    }

    async fn requests(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        turns: &Turns,
    ) -> anyhow::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut commit = CommitFinder::default();
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let mode = self.pause().await;
            turns.client_speaks();
            // Search in every mode, because a COMMIT may begin before the mode is set.
            if commit.found_in(&buffer[..read]) && mode == Mode::DropCommitAnswer {
                turns.drop_next_answer();
            }
            if mode != Mode::BlackHole {
                to.write_all(&buffer[..read]).await?;
            }
        }
    }

    async fn answers(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        turns: &Turns,
    ) -> anyhow::Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let mode = self.pause().await;
            let answer = turns.server_speaks(mode);
            if turns.must_drop() || matches!(mode, Mode::DropAnswer(nth) if answer == nth) {
                // The server has answered, so its work is done. The client does not get the answer.
                self.counters.dropped_answers.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            if mode != Mode::BlackHole {
                to.write_all(&buffer[..read]).await?;
            }
        }
    }

    async fn pause(&self) -> Mode {
        let mode = *self.mode.borrow();
        if let Mode::Delay(most) = mode {
            tokio::time::sleep(most.mul_f64(self.random.fraction())).await;
        }
        mode
    }
}

/// Which side sends now, and the number of the server's current answer since the last change of mode.
#[derive(Default)]
struct Turns {
    state: std::sync::Mutex<TurnState>,
}

#[derive(Default)]
struct TurnState {
    mode: Option<Mode>,
    client_spoke: bool,
    answers: usize,
    drop_next: bool,
}

impl Turns {
    fn state(&self) -> std::sync::MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn client_speaks(&self) {
        self.state().client_spoke = true;
    }

    /// Returns the number of the answer that the server is sending.
    fn server_speaks(&self, mode: Mode) -> usize {
        let mut state = self.state();
        if state.mode != Some(mode) {
            state.mode = Some(mode);
            state.answers = 0;
        }
        if state.client_spoke || state.answers == 0 {
            state.answers += 1;
            state.client_spoke = false;
        }
        state.answers
    }

    fn drop_next_answer(&self) {
        self.state().drop_next = true;
    }

    fn must_drop(&self) -> bool {
        self.state().drop_next
    }
}

/// Finds commits in a stream that arrives in arbitrary pieces.
#[derive(Default)]
struct CommitFinder {
    tail: Vec<u8>,
}

impl CommitFinder {
    fn found_in(&mut self, piece: &[u8]) -> bool {
        self.tail.extend_from_slice(piece);
        let end = |mark: &[u8]| {
            let found = self.tail.windows(mark.len()).rposition(|window| window == mark);
            found.map(|start| start + mark.len())
        };
        let found = end(COMMIT).max(end(LINK));
        // The kept bytes are too short for a commit, or begin after the one just found.
        let keep = self.tail.len().saturating_sub(COMMIT.len().max(LINK.len()) - 1);
        self.tail.drain(..keep.max(found.unwrap_or(0)));
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with the next one.
    async fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    while let Ok(byte) = socket.read_u8().await {
                        if socket.write_u8(byte + 1).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    async fn ask(client: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
        client.write_u8(byte).await?;
        client.read_u8().await
    }

    #[tokio::test]
    async fn it_passes_both_ways() {
        let proxy = Proxy::start(server().await, 1).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
        proxy.set(Mode::Delay(Duration::from_millis(5)));
        assert_eq!(ask(&mut client, 2).await.unwrap(), 3);
        assert_eq!(proxy.connections(), 1);
    }

    #[tokio::test]
    async fn it_cuts_open_connections_and_new_ones_until_it_passes_again() {
        let proxy = Proxy::start(server().await, 1).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
        proxy.set(Mode::Cut);
        assert!(ask(&mut client, 1).await.is_err());
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(ask(&mut client, 1).await.is_err());
        proxy.set(Mode::Pass);
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_black_hole_keeps_the_connection_and_says_nothing() {
        let proxy = Proxy::start(server().await, 1).await.unwrap();
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        proxy.set(Mode::BlackHole);
        let silence = tokio::time::timeout(Duration::from_millis(100), ask(&mut client, 1)).await;
        assert!(silence.is_err());
    }

    #[tokio::test]
    async fn it_swallows_exactly_the_nth_answer() {
        let proxy = Proxy::start(server().await, 1).await.unwrap();
        proxy.set(Mode::DropAnswer(3));
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(ask(&mut client, 1).await.unwrap(), 2);
        assert_eq!(ask(&mut client, 2).await.unwrap(), 3);
        assert_eq!(proxy.dropped_answers(), 0);
        assert!(ask(&mut client, 3).await.is_err());
        assert_eq!(proxy.dropped_answers(), 1);
    }

    #[test]
    fn a_commit_is_found_in_whatever_pieces_it_comes() {
        for cut in 0..COMMIT.len() {
            let mut finder = CommitFinder::default();
            let stream = [b"Q\0\0\0\x0bBEGINN\0".as_slice(), COMMIT].concat();
            let (first, second) = stream.split_at(stream.len() - COMMIT.len() + cut);
            assert!(!finder.found_in(first));
            assert!(finder.found_in(second));
            assert!(!finder.found_in(b"Q"), "one COMMIT is found once");
        }
    }
}

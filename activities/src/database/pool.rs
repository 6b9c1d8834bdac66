//! A pool of sessions with known settings.
//!
//! A session returns to the pool only after its work has ended well, so nothing has to be asked about it. The pool of
//! sqlx asks each session that returns, which would be a fifth of a small export's round trips.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::{Duration, Instant},
};

use async_stream::try_stream;
use deadpool::managed::{self, Manager, Metrics, Object, PoolError, QueueMode, RecycleResult, WeakPool};
use futures::{TryStreamExt as _, future::BoxFuture, stream::BoxStream};
use scopeguard::ScopeGuard;
use sqlx::{
    Connection as _, Describe, Either, Execute, Executor, PgConnection, Postgres, SqlStr,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
};
use tokio::time::{sleep, timeout};

use crate::database::session::{self, Kind};

/// A session that was idle for longer is asked before it is used. A busy one saves the round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);
/// How long a rested session may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// No session serves for longer: a server may have moved behind its name.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Delay before a server that is starting, or has no free connection, is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Limits of a role or a server may end a session before our settings arrive: `idle_session_timeout` and
/// `statement_timeout`.
const TOO_SOON: [&str; 2] = ["57P05", "57014"];

/// A pool of sessions; cheap to clone.
///
/// As an executor it runs a query on one of its sessions.
#[derive(Clone)]
pub struct Pool {
    sessions: managed::Pool<Opener>,
    acquire_timeout: Duration,
}

impl Pool {
    /// Makes a pool of at most `most` sessions. It opens none: the database may be down for now.
    ///
    /// Must be called within a Tokio runtime, in which a task closes idle sessions.
    pub fn new(options: PgConnectOptions, kind: Kind, most: u32, acquire_timeout: Duration) -> Self {
        let opener = Opener { options: session::options(options), kind };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // The last returned first, so that the others become idle.
        let sessions = managed::Pool::builder(opener).max_size(most).queue_mode(QueueMode::Lifo);
        // Fails only with a timeout and no runtime, and it has no timeout.
        let sessions = sessions.build().unwrap_or_else(|error| unreachable!("{error}"));
        tokio::spawn(close_idle(sessions.weak(), kept_idle(kind)));
        Self { sessions, acquire_timeout }
    }

    /// Waits for a session, and opens one if none is free and there may be more.
    ///
    /// # Errors
    /// [`sqlx::Error::PoolTimedOut`] after [`acquire_timeout`](Self::acquire_timeout).
    pub async fn acquire(&self) -> sqlx::Result<Session> {
        // Boxed: the future of a new session is large.
        match timeout(self.acquire_timeout, Box::pin(self.sessions.get())).await {
            Ok(Ok(session)) => Ok(Session(scopeguard::guard(session, close))),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
            Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Opens a connection beside the sessions of the pool, which listens to a channel.
    pub async fn listen(&self, channel: &str) -> sqlx::Result<PgListener> {
        let one = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.connect_options().clone());
        let mut listener = PgListener::connect_with(&one).await?;
        listener.listen(channel).await?;
        Ok(listener)
    }

    /// How long [`acquire`](Self::acquire) waits.
    pub fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    /// How its sessions are opened.
    pub fn connect_options(&self) -> &PgConnectOptions {
        &self.sessions.manager().options
    }
}

impl fmt::Debug for Pool {
    // The options hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A session of a pool. It is closed when it is dropped, unless it is [kept](Self::keep): a half-read answer, an open
/// transaction or a call that was given up may still be under way.
pub struct Session(ScopeGuard<Object<Opener>, fn(Object<Opener>)>);

impl Session {
    /// Returns the session to its pool, after its work has ended well.
    pub fn keep(self) {
        ScopeGuard::into_inner(self.0).returned_at = Instant::now();
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0.connection
    }
}

/// Closes the socket at once, without a message to a server that may not respond.
fn close(session: Object<Opener>) {
    drop(Object::take(session));
}

/// A session, and when it last returned to the pool.
struct Pooled {
    connection: PgConnection,
    returned_at: Instant,
}

/// Opens the sessions of a pool.
struct Opener {
    options: PgConnectOptions,
    kind: Kind,
}

impl Manager for Opener {
    type Type = Pooled;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<Pooled> {
        loop {
            match session::connect(&self.options, self.kind).await {
                Ok(connection) => return Ok(Pooled { connection, returned_at: Instant::now() }),
                Err(error) if is_transient(&error) => sleep(TRY_AGAIN).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn recycle(&self, session: &mut Pooled, _: &Metrics) -> RecycleResult<sqlx::Error> {
        if session.returned_at.elapsed() > TRUSTED_IDLE {
            let answered = timeout(ANSWERS_WITHIN, session.connection.ping()).await;
            answered.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))?;
        }
        Ok(())
    }
}

/// Returns whether the next try may succeed.
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => {
            error.is_transient_in_connect_phase()
                || error.code().is_some_and(|code| TOO_SOON.contains(&&*code))
        }
        _ => false,
    }
}

/// How long an unused session is kept.
fn kept_idle(kind: Kind) -> Duration {
    match kind {
        Kind::Calls { .. } => Duration::from_secs(10 * 60),
        // Under the role's `CONNECTION LIMIT` another worker may wait for it.
        Kind::Reads { .. } => Duration::from_secs(10),
    }
}

/// Closes sessions that are idle or old, as long as there is the pool.
async fn close_idle(pool: WeakPool<Opener>, longest: Duration) {
    loop {
        sleep(longest / 10).await;
        let Some(pool) = pool.upgrade() else { return };
        let closed =
            pool.retain(|session, has| session.returned_at.elapsed() < longest && has.age() < LIFETIME);
        for session in closed.removed {
            // Politely, as there is time. A server that does not take it notices the closed socket.
            let _ = timeout(ANSWERS_WITHIN, session.connection.close()).await;
        }
    }
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<PgQueryResult, PgRow>>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(try_stream! {
            let mut session = pool.acquire().await?;
            let mut answers = session.fetch_many(query);
            while let Some(answer) = answers.try_next().await? {
                yield answer;
            }
            drop(answers);
            session.keep();
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut session = pool.acquire().await?;
            let row = session.fetch_optional(query).await?;
            session.keep();
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut session = pool.acquire().await?;
            let prepared = session.prepare_with(sql, parameters).await?;
            session.keep();
            Ok(prepared)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Postgres>>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move {
            let mut session = pool.acquire().await?;
            let described = session.describe(sql).await?;
            session.keep();
            Ok(described)
        })
    }
}

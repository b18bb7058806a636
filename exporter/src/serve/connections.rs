//! Connections: how many there may be, how long each may do nothing, and how they end.
//!
//! Called by `listen.rs` for each connection that it accepts, and by [`super::Server`] at the end. Nobody who holds a
//! connection and does nothing costs the others theirs: one without a request ends after a while, or at once where its
//! place is needed; one that does not read its answer, or takes too long over it, ends, and with it the place of its request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer_time::AnswerTime;
use super::listen::Peer;

/// What connections may cost.
///
/// ```
/// let limits = tachograph_exporter::serve::Limits::default();
/// assert!(limits.connections > 40 && limits.idle.as_secs() > 300);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, at least 1. The next one takes the place of the one that has been without a request for longest, and
    /// is closed where all are being answered.
    pub connections: usize,
    /// How long a connection may be without a whole request: longer than the pause between two scrapes, since scrapers keep
    /// theirs.
    pub idle: Duration,
    /// How long a client may take no byte of an answer.
    pub write: Duration,
    /// How long a client may take over a whole answer: longer than any scraper waits, and not for ever.
    pub answer: Duration,
    /// How long requests in flight may take once the server was told to end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            idle: Duration::from_secs(600),
            write: Duration::from_secs(30),
            answer: Duration::from_secs(300),
            drain: Duration::from_secs(10),
        }
    }
}

/// How long an answer that was made may take to reach the kernel, at the end, where it keeps no place.
const FLUSH: Duration = Duration::from_millis(200);

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    http: http1::Builder,
    open: Mutex<Open>,
    tasks: TaskTracker,
    /// Requests that are being answered; of metrics until the last byte is handed to the kernel.
    in_flight: TaskTracker,
}

/// Those that are open.
#[derive(Debug, Default)]
struct Open {
    last: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// Since when it has been without a request; `None` while one is being answered.
    waits_since: Option<Instant>,
    task: AbortHandle,
}

impl Connections {
    /// `in_flight` counts answers that are not sent yet.
    pub(super) fn new(limits: Limits, in_flight: TaskTracker) -> Self {
        let mut http = http1::Builder::new();
        // It runs while no request has begun, too.
        http.timer(TokioTimer::new()).header_read_timeout(limits.idle);
        Self { limits, http, open: Mutex::default(), tasks: TaskTracker::new(), in_flight }
    }

    /// Serves a connection on a task of its own, until it ends by itself, by a limit or because the server is `ending`.
    pub(super) fn take<S>(self: &Arc<Self>, stream: S, peer: Peer, router: &Router, ending: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.connections.len() >= self.limits.connections.max(1) && !open.end_one() {
            tracing::debug!("a connection was closed: as many are being answered as may be open");
            return;
        }
        open.last += 1;
        let id = open.last;
        let place = Place { connections: Arc::clone(self), id };
        let task = self.tasks.spawn(Arc::clone(self).serve(stream, peer, router.clone(), ending, place)).abort_handle();
        open.connections.insert(id, Connection { waits_since: Some(Instant::now()), task });
    }

    async fn serve<S>(self: Arc<Self>, stream: S, peer: Peer, router: Router, ending: CancellationToken, place: Place)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.write));
        let stream = AnswerTime::new(stream, self.limits.answer);
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let token = self.in_flight.token();
            place.answers(true);
            let answer = router.call(request);
            let place = &place;
            async move {
                let answer = answer.await;
                place.answers(false);
                drop(token);
                answer
            }
        });
        let mut connection = std::pin::pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended");
        }
    }

    /// Waits until every request is answered, and no longer than that: whoever sent half of one is not waited for. Whether
    /// they all were in time.
    pub(super) async fn drain(&self) -> bool {
        self.tasks.close();
        self.in_flight.close();
        let answered = async {
            self.in_flight.wait().await;
            tokio::time::sleep(FLUSH).await;
        };
        let drained = tokio::time::timeout(self.limits.drain, async {
            tokio::select! { () = self.tasks.wait() => {}, () = answered => {} }
        });
        let drained = drained.await.is_ok();
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.values().for_each(|connection| connection.task.abort());
        drained
    }
}

impl Open {
    /// Ends the connection that has been without a request for longest; false where there is none.
    fn end_one(&mut self) -> bool {
        let waiting = self.connections.iter().filter_map(|(id, connection)| Some((connection.waits_since?, *id)));
        let Some((_, id)) = waiting.min() else { return false };
        if let Some(connection) = self.connections.remove(&id) {
            connection.task.abort();
        }
        true
    }
}

/// A connection's entry among the open ones, which goes with it, however it ends.
#[derive(Debug)]
struct Place {
    connections: Arc<Connections>,
    id: u64,
}

impl Place {
    fn answers(&self, answers: bool) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = open.connections.get_mut(&self.id) {
            connection.waits_since = if answers { None } else { Some(Instant::now()) };
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.id);
    }
}

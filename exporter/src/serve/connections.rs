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
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::Answer;
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
    /// is closed where all are being answered, which they are until the last byte is handed to the kernel.
    pub connections: usize,
    /// How long a connection may be without a whole request: longer than the pause between two scrapes, since scrapers keep
    /// theirs.
    pub idle: Duration,
    /// How long a client may take no byte of an answer.
    pub write: Duration,
    /// How long a client may take over a whole answer, however it reads: longer than any scraper waits, and not for ever.
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
    answer: Arc<Answer>,
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
        let answer = Answer::none();
        let place = Place { connections: Arc::clone(self), id, answer: Arc::clone(&answer) };
        let task = self.tasks.spawn(Arc::clone(self).serve(stream, peer, router.clone(), ending, place)).abort_handle();
        open.connections.insert(id, Connection { answer, task });
    }

    async fn serve<S>(self: Arc<Self>, stream: S, peer: Peer, router: Router, ending: CancellationToken, place: Place)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.write));
        let stream = AnswerTime::new(stream, self.limits.answer, Arc::clone(&place.answer));
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let token = self.in_flight.token();
            let unsent = place.answer.begins();
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(token);
                answer.map(|answer| answer.map(|body| unsent.with(body)))
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
        let waiting =
            self.connections.iter().filter_map(|(id, connection)| Some((connection.answer.waits_since()?, *id)));
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
    answer: Arc<Answer>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::Body;
    use axum::routing::get;
    use hyper::body::{Bytes, Frame, SizeHint};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::sleep;

    use super::*;

    /// What stands in large bodies only.
    const MARK: u8 = b'#';
    static PIECE: [u8; PIECE_BYTES] = [MARK; PIECE_BYTES];
    const PIECE_BYTES: usize = 1 << 16;
    const PIECES: usize = 240;
    const WHOLE: usize = PIECES * PIECE_BYTES;
    /// What a connection holds, and a client reads at once: so much more than `hyper` takes of a body before it writes that
    /// all of that is with the kernel, and flushed, many times within a body.
    const BURST: usize = 1 << 20;

    /// A body in so many pieces, as those of metrics are.
    struct Many(usize);

    impl hyper::body::Body for Many {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let left = self.0.checked_sub(1);
            self.0 = left.unwrap_or_default();
            Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(&PIECE)))))
        }

        fn is_end_stream(&self) -> bool {
            self.0 == 0
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact((self.0 * PIECE_BYTES) as u64)
        }
    }

    /// A client that asked for something.
    async fn asking(connections: &Arc<Connections>, path: &str) -> DuplexStream {
        let router = Router::new()
            .route("/pieces", get(async || Body::new(Many(PIECES))))
            .route("/whole", get(async || PIECE.repeat(PIECES)))
            .route("/small", get(async || "small"));
        let (mut client, stream) = duplex(BURST);
        connections.take(stream, Peer::Local, &router, CancellationToken::new());
        ask(&mut client, path).await;
        client
    }

    async fn ask(client: &mut DuplexStream, path: &str) {
        // Who was refused can't.
        let _ = client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        // Paused time goes on only once all that can be done without the client is done.
        sleep(Duration::from_millis(1)).await;
    }

    /// Reads a large body with a pause after each burst; how much of it came.
    async fn read(client: &mut DuplexStream, pause: Duration) -> usize {
        let (mut taken, mut burst, mut bytes) = (0, 0, vec![0; BURST]);
        while taken < WHOLE {
            let count = client.read(&mut bytes).await.unwrap_or_default();
            if count == 0 {
                break;
            }
            taken += bytes[..count].iter().filter(|byte| **byte == MARK).count();
            burst += count;
            if burst >= BURST {
                burst = 0;
                sleep(pause).await;
            }
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_in_bursts_has_no_longer_and_the_next_answer_has_its_own_time() {
        let connections = Arc::new(Connections::new(Limits::default(), TaskTracker::new()));
        let (quick, slow) = (Duration::from_secs(15), Duration::from_secs(25));
        for path in ["/pieces", "/whole"] {
            let mut client = asking(&connections, path).await;
            assert_eq!(read(&mut client, quick).await, WHOLE, "{path}: less than 225 s");
            ask(&mut client, path).await;
            assert_eq!(read(&mut client, quick).await, WHOLE, "{path}: the same again");
            ask(&mut client, path).await;
            let taken = read(&mut client, slow).await;
            assert!(taken > WHOLE / 2 && taken < WHOLE, "{path}: {taken} of {WHOLE} would have taken more than 320 s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_makes_no_room_before_its_answer_is_sent() {
        for path in ["/pieces", "/whole"] {
            let limits = Limits { connections: 1, ..Limits::default() };
            let connections = Arc::new(Connections::new(limits, TaskTracker::new()));
            let mut first = asking(&connections, path).await;
            let mut refused = asking(&connections, "/small").await;
            assert_eq!(refused.read(&mut [0]).await.unwrap_or_default(), 0, "{path}");
            assert_eq!(read(&mut first, Duration::ZERO).await, WHOLE, "{path}");
            let mut next = asking(&connections, "/small").await;
            assert_eq!(next.read(&mut [0]).await.expect("an answer"), 1, "{path}");
            assert_eq!(first.read(&mut [0]).await.expect("the end"), 0, "{path}");
        }
    }
}

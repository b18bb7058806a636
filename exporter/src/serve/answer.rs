//! How far the answer on a connection is: from its request until its last byte is with the kernel.
//!
//! Used by `connections.rs` and `answer_time.rs`. Neither the head of an answer nor a flush is its end: whoever writes takes
//! a body piece by piece and flushes as often as it has nothing left to write, many times within one body; and once it has
//! taken the last piece, that may wait for the client still. It is over with the first flush after the body was taken.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The answer on a connection, of which HTTP/1 has one at a time.
#[derive(Debug)]
pub(super) struct Answer {
    stage: Mutex<Stage>,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// There is none: since when the connection has been without a request.
    None(Instant),
    /// There is a request, and its body, once there is one, was not taken whole by who writes it.
    Unsent,
    /// The body was taken whole, or dropped, and not all of it is known to be with the kernel.
    Taken,
}

impl Answer {
    /// None yet.
    pub(super) fn none() -> Arc<Self> {
        Arc::new(Self { stage: Mutex::new(Stage::None(Instant::now())) })
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came: what goes with its answer's body.
    pub(super) fn begins(self: &Arc<Self>) -> Unsent {
        *self.stage() = Stage::Unsent;
        Unsent(Arc::clone(self))
    }

    /// All that was written is with the kernel. Whether no more of the answer is to come.
    pub(super) fn flushed(&self) -> bool {
        let mut stage = self.stage();
        if matches!(*stage, Stage::Taken) {
            *stage = Stage::None(Instant::now());
        }
        matches!(*stage, Stage::None(_))
    }

    /// Since when the connection has been without a request; `None` while one is being answered.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        match *self.stage() {
            Stage::None(since) => Some(since),
            Stage::Unsent | Stage::Taken => None,
        }
    }
}

/// Says with its drop that nothing more of an answer is to be taken.
#[derive(Debug)]
pub(super) struct Unsent(Arc<Answer>);

impl Unsent {
    /// The body that this goes with.
    pub(super) const fn with<B>(self, body: B) -> Sending<B> {
        Sending { body, _unsent: self }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        *self.0.stage() = Stage::Taken;
    }
}

/// A body that is dropped once it was taken whole, as `hyper` does.
#[derive(Debug)]
pub(super) struct Sending<B> {
    body: B,
    _unsent: Unsent,
}

impl<B: Body + Unpin> Body for Sending<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

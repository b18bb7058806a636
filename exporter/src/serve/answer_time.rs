//! How long a client may take over an answer: a connection that measures it.
//!
//! Used by `connections.rs` around each connection. A limit on one write alone would let a client that takes a byte now and
//! then keep what an answer holds for ever. The time runs from the first write that has to wait for the client until the answer
//! is over, however often the client reads all that was written until then, and begins anew with the next answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::answer::Answer;

/// A connection on which writing fails once an answer takes longer than its limit.
#[derive(Debug)]
pub(super) struct AnswerTime<S> {
    stream: Pin<Box<S>>,
    limit: Duration,
    answer: Arc<Answer>,
    /// From when the client was waited for until the answer is over: most never wait, and cost no timer.
    over: Option<Pin<Box<Sleep>>>,
}

impl<S> AnswerTime<S> {
    pub(super) fn new(stream: S, limit: Duration, answer: Arc<Answer>) -> Self {
        Self { stream: Box::pin(stream), limit, answer, over: None }
    }

    /// What a write gave; an error instead of a further wait where the time is over.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_pending() {
            let limit = self.limit;
            let over = self.over.get_or_insert_with(|| Box::pin(sleep(limit)));
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not read in time")));
            }
        }
        wrote
    }
}

impl<S: AsyncWrite> AsyncWrite for AnswerTime<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = self.stream.as_mut().poll_write(cx, bytes);
        self.in_time(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = self.stream.as_mut().poll_write_vectored(cx, bytes);
        self.in_time(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Whoever writes flushes within an answer, too, and once more when it has written the last byte of it.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.stream.as_mut().poll_flush(cx);
        if flushed.is_ready() && self.answer.flushed() {
            self.over = None;
        }
        self.in_time(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.stream.as_mut().poll_shutdown(cx);
        self.in_time(cx, shut)
    }
}

impl<S: AsyncRead> AsyncRead for AnswerTime<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    /// Writes an answer of so many bytes in pieces, and flushes after each, as `hyper` does.
    async fn answer(stream: &mut AnswerTime<DuplexStream>, pieces: usize, bytes: usize) -> io::Result<()> {
        let unsent = stream.answer.begins();
        for _ in 1..pieces {
            stream.write_all(&vec![0; bytes]).await?;
            stream.flush().await?;
        }
        stream.write_all(&vec![0; bytes - 1]).await?;
        drop(unsent);
        stream.write_all(&[0]).await?;
        stream.flush().await
    }

    /// A connection whose other end takes a byte a second.
    fn slow() -> (AnswerTime<DuplexStream>, tokio::task::JoinHandle<()>) {
        let (mut other, stream) = duplex(1);
        let reader = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if other.read(&mut [0]).await.is_ok_and(|count| count == 0) {
                    break;
                }
            }
        });
        (AnswerTime::new(stream, LIMIT, Answer::none()), reader)
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_enough_and_the_next_answer_has_its_own_time() {
        let (mut stream, reader) = slow();
        for _ in 0..3 {
            answer(&mut stream, 1, 200).await.expect("in time");
        }
        let error = answer(&mut stream, 1, 400).await.expect_err("not in time");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(stream);
        reader.await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_flushed_within_an_answer_gives_it_no_more_time() {
        let (mut stream, reader) = slow();
        for _ in 0..3 {
            answer(&mut stream, 10, 20).await.expect("in time");
        }
        let error = answer(&mut stream, 20, 20).await.expect_err("not in time");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(stream);
        reader.await.expect("it ends");
    }
}

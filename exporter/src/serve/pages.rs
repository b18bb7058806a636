//! Bodies that are sent from the pages that they were written on, and pages that are written on again once nobody reads them.
//!
//! Called by the scraper and the routes. No byte of a body is copied between the renderer and the kernel, and what is as large as the body
//! before costs no new memory: neither is asked of the kernel for each scrape, which would clear it page by page.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};

use crate::exposition::Exposition;
use crate::exposition::body::{Page, blank};
use crate::plan::{Plan, Source};

/// Pages that are free. Clones share them.
///
/// ```
/// use tachograph_exporter::exposition::{Exposition, Format};
/// use tachograph_exporter::plan::{Options, Plan};
/// use tachograph_exporter::serve::Pages;
/// let (pages, plan) = (Pages::default(), Plan::new(&[], &Options::default())?);
/// let body = pages.render(&Exposition::new(Format::OpenMetrics), &plan, &[]).expect("the plan fits");
/// assert_eq!((body.len(), body.whole()), (6, b"# EOF\n".to_vec()));
/// # Ok::<(), tachograph_exporter::plan::PlanError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Pages {
    shared: Arc<Mutex<Free>>,
}

#[derive(Debug, Default)]
struct Free {
    pages: Vec<Box<Page>>,
    /// How many are kept.
    kept: usize,
}

/// A body in pieces, for `hyper` and `axum`: each is let go once it is handed to the kernel. Clones share the pieces.
///
/// The example of [`Pages`] shows where they come from.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    all: VecDeque<Bytes>,
    /// Bytes in all of them.
    len: u64,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        self.len += piece.len() as u64;
        self.all.push_back(piece);
    }

    /// Bytes in all of them.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them as one.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(usize::try_from(self.len).unwrap_or_default());
        self.all.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole
    }

    /// Has something kept until the last piece is handed to the kernel, or nobody waits for it any more.
    pub(super) fn keeping<T: Send + 'static>(mut self, kept: T) -> Self {
        let last = self.all.pop_back().unwrap_or_default();
        self.all.push_back(Bytes::from_owner(Keeping { last, _kept: kept }));
        self
    }
}

/// The last piece of a body, with something that is kept as long as it is.
struct Keeping<T> {
    last: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Keeping<T> {
    fn as_ref(&self) -> &[u8] {
        &self.last
    }
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let pieces = self.get_mut();
        let piece = pieces.all.pop_front();
        pieces.len -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.all.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len)
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(whole: Vec<u8>) -> Self {
        let mut pieces = Self::default();
        pieces.push(whole.into());
        pieces
    }
}

impl Pages {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of an exposition, on pages; `None` where the plan does not fit ([`Plan::fits`]).
    #[must_use]
    pub fn render(&self, exposition: &Exposition, plan: &Plan, sources: &[Source]) -> Option<Pieces> {
        let mut pieces = Pieces::default();
        let first = self.take();
        let last = exposition.write(plan, sources, first, &mut |page, len| {
            let full = std::mem::replace(page, self.take());
            pieces.push(self.sent(full, len));
        });
        let (page, len) = last?;
        if len > 0 {
            pieces.push(self.sent(page, len));
        } else {
            self.give_back(page);
        }
        self.keep(pieces.all.len());
        Some(pieces)
    }

    /// A page to write on.
    fn take(&self) -> Box<Page> {
        let page = self.free().pages.pop();
        page.unwrap_or_else(blank)
    }

    /// So many bytes of a page, which comes back once they are read.
    fn sent(&self, page: Box<Page>, len: usize) -> Bytes {
        Bytes::from_owner(Sent { page: Some(page), len, pages: self.clone() })
    }

    /// Keeps as many pages as a body took that was just made; of those before it, if they took more, half each time. One that was
    /// compressed takes none.
    pub(super) fn keep(&self, pages: usize) {
        let mut free = self.free();
        free.kept = pages.max(free.kept.saturating_add(pages) / 2);
        let kept = free.kept;
        free.pages.truncate(kept);
    }

    /// Takes a page back.
    fn give_back(&self, page: Box<Page>) {
        let mut free = self.free();
        if free.pages.len() < free.kept {
            free.pages.push(page);
        }
    }
}

/// A page while somebody reads it.
struct Sent {
    page: Option<Box<Page>>,
    len: usize,
    pages: Pages,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        self.page.as_ref().and_then(|page| page.get(..self.len)).unwrap_or_default()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            self.pages.give_back(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of so many pages, each with its number on it.
    fn body(pages: &Pages, count: u8) -> Pieces {
        let mut pieces = Pieces::default();
        for number in 0..count {
            let mut page = pages.take();
            page[..2].fill(number);
            pieces.push(pages.sent(page, 2));
        }
        pages.keep(pieces.all.len());
        pieces
    }

    #[test]
    fn a_page_is_written_on_again_only_once_nobody_reads_it() {
        let pages = Pages::default();
        let (first, second) = (body(&pages, 3), body(&pages, 3));
        let read = Pieces::whole;
        assert_eq!((read(&first), read(&second), first.len), (vec![0, 0, 1, 1, 2, 2], vec![0, 0, 1, 1, 2, 2], 6));
        let kept = first.all[1].clone();
        drop((first, second));
        assert_eq!(pages.free().pages.len(), 3, "as many as a body takes");
        let third = body(&pages, 200);
        assert_eq!((kept.as_ref(), third.all.len()), ([1, 1].as_slice(), 200));
    }

    #[test]
    fn what_is_kept_goes_with_the_bodies_that_took_it() {
        let pages = Pages::default();
        drop(body(&pages, 100));
        assert_eq!(pages.free().pages.len(), 100);
        let kept = [2, 2, 0, 0].map(|count| {
            drop(body(&pages, count));
            pages.free().pages.len()
        });
        assert_eq!(kept, [51, 26, 13, 6]);
    }

    #[test]
    fn a_body_as_large_as_the_one_before_takes_no_page_that_was_not_there() {
        let (pages, plan) = (Pages::default(), Plan::new(&[], &crate::plan::Options::default()).expect("a plan"));
        let render = || pages.render(&Exposition::new(crate::exposition::Format::OpenMetrics), &plan, &[]);
        drop(render().expect("it fits"));
        let address = |pages: &Pages| pages.free().pages.iter().map(|page| page.as_ptr().addr()).collect::<Vec<_>>();
        let before = address(&pages);
        assert_eq!(before.len(), 1);
        drop(render().expect("it fits"));
        assert_eq!(address(&pages), before);
    }
}

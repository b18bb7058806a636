//! Which activity the calling thread is running: what the crash hooks write beside a panic or a fatal signal.
//!
//! Kept in thread-locals without destructors, so that a signal handler can read them at any time. Actors of a runtime move
//! between threads, so it is said for the time of a poll ([`ActivityId::track`]) or of a scope ([`ActivityId::enter`]).

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{Ordering, compiler_fence};
use std::task::{Context, Poll};

use crate::process::Attached;

thread_local! {
    /// Address of the region as the process knows it; 0 where there is none.
    static REGION: Cell<usize> = const { Cell::new(0) };
    /// The slot's number, plus 1.
    static SLOT: Cell<u64> = const { Cell::new(0) };
}

/// The activity slot, plus 1, that the calling thread is running in a region; 0 where it runs none. Async-signal-safe.
pub(crate) fn current(region: &Attached) -> u64 {
    let same = REGION.get() == std::ptr::from_ref(region).addr();
    compiler_fence(Ordering::SeqCst);
    if same { SLOT.get() } else { 0 }
}

/// Which activity slot an actor has: for the crash hooks, which write beside a panic or a fatal signal what its thread was
/// running. `Copy`; to be used while the actor lives. The default is no activity.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let activity = region.activity("worker", "3", 0);
/// {
///     let _entered = activity.id().enter();
///     // a panic here is told as worker 3's
/// }
/// let task = activity.id().track(async { /* so is one in here, on whatever thread it is polled */ });
/// # drop(task);
/// # Ok::<(), tachograph::BuildError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActivityId {
    region: usize,
    slot: u64,
}

impl ActivityId {
    pub(super) fn new(region: &'static Attached, index: u64) -> Self {
        Self { region: std::ptr::from_ref(region).addr(), slot: index + 1 }
    }

    /// Says that the calling thread runs the activity, until the guard is dropped. Not to be held across an `.await`
    /// (it is not `Send`): [`ActivityId::track`] is for that.
    #[must_use = "the thread leaves the activity when this is dropped"]
    pub fn enter(self) -> Entered {
        let before = Self { region: REGION.get(), slot: SLOT.get() };
        self.set();
        Entered { before, not_send: PhantomData }
    }

    /// Wraps a future so that whichever thread polls it runs the activity for the time of the poll.
    pub const fn track<F>(self, future: F) -> Tracked<F> {
        Tracked { id: self, future }
    }

    fn set(self) {
        // A signal handler of this thread never finds the slot of one region with the address of another.
        REGION.set(0);
        compiler_fence(Ordering::SeqCst);
        SLOT.set(self.slot);
        compiler_fence(Ordering::SeqCst);
        REGION.set(self.region);
    }
}

/// The calling thread runs an activity until this is dropped; then it runs what it ran before. Drop guards in the reverse
/// order of their making.
///
/// ```
/// use tachograph::Entered;
/// let region = tachograph::Region::private("doc")?;
/// let [outer, inner] = ["outer", "inner"].map(|id| region.activity("worker", id, 0));
/// let first: Entered = outer.id().enter();
/// let second = inner.id().enter(); // a panic here is the inner one's
/// drop(second); // and here the outer one's again
/// drop(first);
/// # Ok::<(), tachograph::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Entered {
    before: ActivityId,
    not_send: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.before.set();
    }
}

pin_project_lite::pin_project! {
    /// A future that runs an activity: see [`ActivityId::track`].
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let mut activity = region.activity("worker", "3", 0);
    /// let flush = region.doing("flush")?;
    /// let id = activity.id();
    /// let task = id.track(async move {
    ///     activity.begin(flush); // a panic from here on is told as worker 3's, in flush
    ///     activity.end();
    /// });
    /// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// # assert!(std::pin::pin!(task).poll(&mut context).is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Tracked<F> {
        id: ActivityId,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let _entered = this.id.enter();
        this.future.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::Region;

    #[test]
    fn a_thread_runs_what_it_entered_last() {
        let (one, two) = (Region::private("one").expect("memory"), Region::private("two").expect("memory"));
        let [first, second] = ["first", "second"].map(|id| one.activity("actor", id, 0));
        let other = two.activity("actor", "other", 0);
        let running = |region: &Region| current(region.marks().activities.attached());
        assert_eq!((running(&one), running(&two)), (0, 0));
        let outer = first.id().enter();
        assert_eq!((running(&one), running(&two)), (1, 0));
        {
            let _inner = second.id().enter();
            assert_eq!(running(&one), 2);
            let _innermost = other.id().enter();
            assert_eq!((running(&one), running(&two)), (0, 1), "one at a time");
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!(running(&one), 0, "another thread runs nothing"));
            });
        }
        assert_eq!(running(&one), 1);
        drop(outer);
        assert_eq!(running(&one), 0);
    }

    #[test]
    fn a_tracked_future_runs_its_activity_while_it_is_polled() {
        let region = Region::private("one").expect("memory");
        let attached = region.marks().activities.attached();
        let activity = region.activity("actor", "first", 0);
        let mut polls = 0;
        let inner = std::future::poll_fn(|_| {
            polls += 1;
            assert_eq!(current(attached), 1);
            if polls < 3 { Poll::Pending } else { Poll::Ready(7) }
        });
        let mut task = pin!(activity.id().track(inner));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(task.as_mut().poll(&mut context).is_pending());
            assert_eq!(current(attached), 0, "suspended, it runs on no thread");
        }
        assert_eq!(task.as_mut().poll(&mut context), Poll::Ready(7));

        // A panic leaves the thread, too.
        let mut task = pin!(activity.id().track(async { panic!("planted") }));
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _: Poll<()> = task.as_mut().poll(&mut context);
        }));
        assert!(polled.is_err());
        assert_eq!(current(attached), 0);
    }
}

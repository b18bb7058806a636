//! One render at a time: requests that wait for the same one (format, selection, compression) share its bytes.
//!
//! A request that arrives while a render is under way does not get that one, whose values may be older than the
//! request, but the next; so what a scrape shows was always read after it was asked for, and a crowd of scrapers
//! that come together costs two bodies of memory, not one each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, watch};

/// Renders that have not begun, by what is to be rendered: whoever arrives joins one.
type Waiting<K, T> = Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>;

/// Makes values when asked, one at a time.
pub(super) struct Coalescer<K, T> {
    make: Arc<dyn Fn(&K) -> T + Send + Sync>,
    /// At most one entry for each request that waits.
    next: Waiting<K, T>,
    /// Held by the render that is under way.
    turn: Arc<AsyncMutex<()>>,
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + Sync + 'static> Coalescer<K, T> {
    /// `make` runs on a thread that may block.
    pub(super) fn new(make: impl Fn(&K) -> T + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), next: Arc::default(), turn: Arc::default() }
    }

    /// A value made after this call; `None` if making it panicked.
    pub(super) async fn take(&self, key: K) -> Option<T> {
        let mut receiver = self.join(key);
        let made = receiver.wait_for(Option::is_some).await.ok()?;
        made.clone()
    }

    /// Joins the next render of this key, and starts the wait for its turn where nobody waits yet.
    fn join(&self, key: K) -> watch::Receiver<Option<T>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = next.get(&key) {
            return receiver.clone();
        }
        let (sender, receiver) = watch::channel(None);
        next.insert(key.clone(), receiver.clone());
        let (make, waiting, turn) = (Arc::clone(&self.make), Arc::clone(&self.next), Arc::clone(&self.turn));
        // A task of its own: if the request that began it goes away, the others still get their bytes.
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            // From here on whoever arrives waits for the one after this.
            waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let Ok(made) = tokio::task::spawn_blocking(move || make(&key)).await {
                let _ = sender.send(Some(made));
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn those_who_wait_share_the_next_one() {
        let count = Arc::new(AtomicU32::new(0));
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (counted, gated) = (Arc::clone(&count), Arc::clone(&gate));
        let coalescer = Arc::new(Coalescer::new(move |key: &u32| {
            let mut open = gated.0.lock().unwrap();
            while !*open {
                open = gated.1.wait(open).unwrap();
            }
            (*key, counted.fetch_add(1, Ordering::SeqCst) + 1)
        }));
        let started = Arc::clone(&coalescer);
        let first = tokio::spawn(async move { started.take(7).await });
        // The first is under way once nobody is listed as waiting for it.
        while !coalescer.next.lock().unwrap().is_empty() || coalescer.turn.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let waiters: Vec<_> = (0..10).map(|_| coalescer.join(7)).collect();
        let other = coalescer.join(8);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        assert_eq!(first.await.unwrap(), Some((7, 1)));
        let mut made = Vec::new();
        for mut waiter in waiters.into_iter().chain([other]) {
            made.extend(*waiter.wait_for(Option::is_some).await.unwrap());
        }
        // One for the ten that waited, one for whoever wanted something else.
        assert!(made[..10].iter().all(|one| *one == made[0]) && made[0].0 == 7 && made[10].0 == 8, "{made:?}");
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_panic_is_told_and_the_next_one_works() {
        let count = AtomicU32::new(0);
        let coalescer = Coalescer::new(move |_: &()| {
            assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "the first one panics");
            7
        });
        assert_eq!(coalescer.take(()).await, None);
        assert_eq!(coalescer.take(()).await, Some(7));
    }
}

//! The workload's own books, beside the region's: what a test holds the region against.
//!
//! For each series: how many facts were claimed, how many are done, and a ceiling that claims must not pass. A fact is
//! claimed before the region's cell is written and done after it, so `done <= region <= claimed` at any instant, and
//! `region <= ceiling` too. Where facts take time there is also how long they took: what is in it is in the region's sum.
//! Without `--acks` the ceilings are infinite and nobody ever waits. Used by the binary and by tests; an `ActorMetrics`
//! without a witness does not pay for one. Not shown anywhere as a metric.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::fact::{CountedSeries, Fact};

/// Counts each fact a second time, and holds claims back at an announced ceiling.
///
/// ```
/// use meeting_controller::{ActorMetrics, ActorType, Fact, McMetrics, Witness};
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let region = tachograph::Region::private("doc")?;
/// let witness = std::sync::Arc::new(Witness::unlimited());
/// let metrics = ActorMetrics::new(region.metrics::<McMetrics>()?).with_witness(witness.clone());
/// metrics.count(Fact::Message(ActorType::Meeting)).await;
/// assert_eq!(witness.done(Fact::Message(ActorType::Meeting)), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Witness {
    books: [Book; CountedSeries::COUNT],
    raised: Notify,
}

#[derive(Debug)]
struct Book {
    /// Claims ever made. Relaxed: it only hands out numbers.
    claimed: AtomicU64,
    /// Claims whose region cell is written.
    done: AtomicU64,
    /// Nanoseconds that those took, which are in the region's sum. Wraps after 584 years, as that does.
    nanoseconds: AtomicU64,
    /// A claim numbered at or past it waits. Never falls.
    ceiling: AtomicU64,
}

impl Witness {
    /// Books without ceilings: no claim waits.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::with_ceiling(u64::MAX)
    }

    /// Books with ceilings of 0: every claim waits until [`Witness::raise`].
    #[must_use]
    pub fn limited() -> Self {
        Self::with_ceiling(0)
    }

    fn with_ceiling(ceiling: u64) -> Self {
        let book = || Book { claimed: 0.into(), done: 0.into(), nanoseconds: 0.into(), ceiling: ceiling.into() };
        Self { books: std::array::from_fn(|_| book()), raised: Notify::new() }
    }

    /// Claims the next of a fact: returns once it is below the ceiling.
    pub async fn claim(&self, fact: Fact) {
        let book = &self.books[fact.series().index()];
        let number = book.claimed.fetch_add(1, Ordering::Relaxed);
        // SYNC(ack-ceiling): the line that announces this ceiling was written before it was raised.
        while number >= book.ceiling.load(Ordering::Acquire) {
            let raised = self.raised.notified();
            // Looked at again once the waiter is in place: `notify_waiters` wakes only those that came before it.
            if number < book.ceiling.load(Ordering::Acquire) {
                break;
            }
            raised.await;
        }
    }

    /// Says that the region's cell of a claimed fact is written.
    pub fn finish(&self, fact: Fact) {
        let book = &self.books[fact.series().index()];
        // SYNC(ack-done): whoever reads this count, or this sum, finds the region's cells written.
        if let Some(took) = fact.took() {
            book.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
        }
        book.done.fetch_add(1, Ordering::Release);
    }

    /// How many facts of a series are in the region for sure.
    #[must_use]
    pub fn done(&self, series: impl Into<CountedSeries>) -> u64 {
        // SYNC(ack-done): see `finish`.
        self.books[series.into().index()].done.load(Ordering::Acquire)
    }

    /// How many nanoseconds of a series are in the region's sum for sure.
    #[must_use]
    pub fn nanoseconds(&self, series: impl Into<CountedSeries>) -> u64 {
        // SYNC(ack-done): see `finish`.
        self.books[series.into().index()].nanoseconds.load(Ordering::Acquire)
    }

    /// The ceiling of a series now.
    #[must_use]
    pub fn ceiling(&self, series: impl Into<CountedSeries>) -> u64 {
        self.books[series.into().index()].ceiling.load(Ordering::Acquire)
    }

    /// Raises the ceilings, one a series in index order, and wakes who waits. A ceiling never falls.
    pub fn raise(&self, ceilings: &[u64; CountedSeries::COUNT]) {
        for (book, &ceiling) in self.books.iter().zip(ceilings) {
            // SYNC(ack-ceiling): after the announcing line.
            book.ceiling.fetch_max(ceiling, Ordering::Release);
        }
        self.raised.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::Witness;
    use crate::fact::{CountedSeries, Fact};
    use crate::metrics::ActorType;

    #[tokio::test(start_paused = true)]
    async fn claims_wait_at_the_ceiling() {
        let witness = Arc::new(Witness::limited());
        let fact = Fact::Message(ActorType::Meeting);
        let worker = tokio::spawn({
            let witness = Arc::clone(&witness);
            async move {
                for _ in 0..5 {
                    witness.claim(fact).await;
                    witness.finish(fact);
                }
            }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(witness.done(fact), 0);
        witness.raise(&[3; CountedSeries::COUNT]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(witness.done(fact), 3);
        witness.raise(&[1; CountedSeries::COUNT]); // never falls
        witness.raise(&[5; CountedSeries::COUNT]);
        worker.await.unwrap();
        assert_eq!(witness.done(fact), 5);
    }
}

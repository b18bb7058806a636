//! What is measured: one metric of one library, on which an operation can be done again and again.
//!
//! Every row gives each library a type of its own; the modes are generic over it, so that all of them run the same
//! loop. A subject can prove what was done to it: a bench that does not count what it claims panics.

/// A metric of some library, and the row's operation on it.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    /// Its crate's name, in the results; ours is `tachograph`.
    const NAME: &'static str;

    /// `count` new metrics beside each other, as an application would have them.
    fn make(count: usize) -> Vec<Self>;

    /// A handle for each of `threads` threads that work on the same metric. A floor, which would lose counts there, has
    /// words of its own for each.
    fn same(threads: usize) -> Vec<Self> {
        let one = Self::make(1);
        (0..threads).map(|_| one[0].clone()).collect()
    }

    /// Whether the handles of [`Subject::same`] are one metric.
    const SAME_IS_ONE: bool = true;

    /// A metric for each of `threads` threads.
    fn apart(threads: usize) -> Vec<Self> {
        Self::make(threads)
    }

    /// What a thread does before its first operation.
    fn enter_thread() {}

    /// The operation; `step` counts up from 0.
    fn act(&self, step: u64);

    /// How many operations were done on it.
    fn done(&self) -> u64;

    /// Panics where the metrics do not show what was done to them: `each` operations a thread, `all` together.
    fn prove(metrics: &[Self], before: u64, all: u64, each: u64) {
        let _ = each;
        let done: u64 = metrics.iter().map(Self::done).sum();
        assert_eq!(done.wrapping_sub(before), all, "{} lost operations", Self::NAME);
    }
}

//! What all kinds of handles have in common: how registration makes them out of cells.

/// A handle: what an application holds to write one series. Sealed: the kinds are the region layout's.
///
/// Every handle is `Copy + Send + Sync + 'static` and as large as one pointer. Its write methods return `()`; they
/// never fail, panic, lock or allocate. They are not for use inside signal handlers.
///
/// ```
/// use tachograph::{Counter, Gauge, Metric, Watermark};
/// fn is_a_pointer<M: Metric>() -> bool {
///     size_of::<M>() == size_of::<usize>()
/// }
/// assert!(is_a_pointer::<Counter>() && is_a_pointer::<Gauge<f64>>() && is_a_pointer::<Watermark>());
/// ```
pub trait Metric: sealed::Handle {}

impl<M: sealed::Handle> Metric for M {}

pub(crate) mod sealed {
    use tachograph_layout::{Aggregation, Kind, Number, WriterMap};

    /// What registration needs to know of a kind.
    #[allow(unnameable_types, reason = "sealed: users name `Metric`")]
    pub trait Handle: Copy + Send + Sync + 'static {
        const KIND: Kind;
        const NUMBER: Number;
        /// Cells a series: of a lane, or lines of the shared plane.
        const CELLS: u32;
        /// How values of several regions become one, unless the application says otherwise.
        const AGGREGATION: Aggregation = Aggregation::Sum;
        /// The cells of a run of series.
        type Block: Copy + Send + Sync + 'static + std::fmt::Debug;

        /// The run's cells: `first` is the index of a lane cell, or the file offset of a line of the shared plane.
        fn block(map: &'static WriterMap, first: u64, series: u64) -> Option<Self::Block>;
        /// The handle of one series of the run.
        fn pick(block: Self::Block, series: usize) -> Self;
    }
}

//! What all kinds of handles have in common: how registration makes them out of cells.

/// A handle: what an application holds to write one series. Sealed: the kinds are the region layout's.
///
/// Every handle is `Copy + Send + Sync + 'static`, and as large as one pointer (a histogram's: two). Its write methods return `()`; they
/// never fail, panic, lock or allocate. They are not for use inside signal handlers.
///
/// ```
/// use tachograph::{Counter, Gauge, Metric, WatermarkMax};
/// fn is_a_pointer<M: Metric>() -> bool {
///     size_of::<M>() == size_of::<usize>()
/// }
/// assert!(is_a_pointer::<Counter>() && is_a_pointer::<Gauge<f64>>() && is_a_pointer::<WatermarkMax>());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no single metric",
    label = "not a kind of metric (`Counter`, `Gauge<i64>`, ..)",
    note = "a `Family` is registered by `Region::family`, an `OpenFamily` by `Region::open_family`, a group of metrics by \
            `Region::metrics`"
)]
pub trait Metric: sealed::Handle {}

// Without this the compiler speaks of the sealed trait.
#[diagnostic::do_not_recommend]
impl<M: sealed::Handle> Metric for M {}

pub(crate) mod sealed {
    use tachograph_layout::{Aggregation, Kind, Number, WriterMap};

    use crate::Desc;
    use crate::register::Place;
    use crate::shape::Shape;

    /// What registration needs to know of a kind.
    #[allow(unnameable_types, reason = "sealed: users name `Metric`")]
    pub trait Handle: Copy + Send + Sync + 'static {
        const KIND: Kind;
        const NUMBER: Number;
        /// The unit that it is shown in, where the kind has one.
        const UNIT: &'static str = "";
        /// How values of several regions become one, unless the application says otherwise.
        const AGGREGATION: Aggregation = Aggregation::Sum;
        /// The cells of a run of series.
        type Block: Copy + Send + Sync + 'static + std::fmt::Debug;

        /// What the description makes of a series; or the rule that it breaks, in words that follow "metric `x` ".
        fn shape(desc: &Desc) -> Result<Shape, String>;
        /// The cells of the run of series at a place.
        fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block>;
        /// The handle of one series of the run.
        fn pick(block: Self::Block, series: usize) -> Self;
    }
}

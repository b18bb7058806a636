//! Gauges: values that are set. One cell on a line of its own in the shared plane; the last writer wins.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tachograph_layout::{Kind, Number, SharedBlock, WriterMap};

use crate::Desc;
use crate::metric::sealed::Handle;
use crate::register::Place;
use crate::shape::Shape;

/// A value that is set: `Gauge<i64>` or `Gauge<f64>`.
///
/// [`Gauge::set`] is one store. `add` and `sub` are read-modify-writes of one line that all threads share: for what many
/// threads raise and lower, [`crate::UpDownCounter`] does not contend. Relaxed: a gauge publishes no other memory.
///
/// ```
/// let region = tachograph::Region::private("doc")?;
/// let depth = region.gauge::<i64>("app_queue_depth", "Jobs waiting")?;
/// depth.set(2);
/// depth.sub(3);
/// assert_eq!(depth.get(), -1);
/// let ratio = region.gauge::<f64>("app_cache_hit_ratio", "Share of reads that hit")?;
/// ratio.set(0.75);
/// assert_eq!(ratio.get(), 0.75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Gauge<N: GaugeNumber = i64> {
    cell: &'static AtomicU64,
    number: PhantomData<N>,
}

impl<N: GaugeNumber> Clone for Gauge<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N: GaugeNumber> Copy for Gauge<N> {}

/// The numbers that a gauge or a watermark may hold: `i64` and `f64`. Sealed.
///
/// ```
/// use tachograph::{Gauge, GaugeNumber};
/// fn clear<N: GaugeNumber + Default>(gauge: Gauge<N>) {
///     gauge.set(N::default());
/// }
/// let region = tachograph::Region::private("doc")?;
/// clear::<i64>(region.gauge("app_queue_depth", "Jobs waiting")?);
/// clear::<f64>(region.gauge("app_load_ratio", "Share of the workers that are busy")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait GaugeNumber: sealed::Bits {}

impl GaugeNumber for i64 {}
impl GaugeNumber for f64 {}

mod sealed {
    use tachograph_layout::{Number, Ordered};

    #[allow(unnameable_types, reason = "sealed: users name `GaugeNumber`")]
    pub trait Bits: Copy + Send + Sync + std::fmt::Debug + 'static {
        const NUMBER: Number;
        const ONE: Self;
        fn to_bits(self) -> u64;
        fn from_bits(bits: u64) -> Self;
        fn plus(self, other: Self) -> Self;
        fn minus(self, other: Self) -> Self;
        /// The value as a watermark's word; `None` where it is no number.
        fn ordered(self) -> Option<Ordered>;
        fn from_ordered(word: Ordered) -> Self;
    }

    impl Bits for i64 {
        const NUMBER: Number = Number::I64;
        const ONE: Self = 1;
        #[inline]
        fn to_bits(self) -> u64 {
            self as u64
        }
        #[inline]
        fn from_bits(bits: u64) -> Self {
            bits as Self
        }
        #[inline]
        fn plus(self, other: Self) -> Self {
            self.wrapping_add(other)
        }
        #[inline]
        fn minus(self, other: Self) -> Self {
            self.wrapping_sub(other)
        }
        #[inline]
        fn ordered(self) -> Option<Ordered> {
            Some(Ordered::from_i64(self))
        }
        fn from_ordered(word: Ordered) -> Self {
            word.to_i64()
        }
    }

    impl Bits for f64 {
        const NUMBER: Number = Number::F64;
        const ONE: Self = 1.0;
        #[inline]
        fn to_bits(self) -> u64 {
            self.to_bits()
        }
        #[inline]
        fn from_bits(bits: u64) -> Self {
            Self::from_bits(bits)
        }
        #[inline]
        fn plus(self, other: Self) -> Self {
            self + other
        }
        #[inline]
        fn minus(self, other: Self) -> Self {
            self - other
        }
        #[inline]
        fn ordered(self) -> Option<Ordered> {
            (!self.is_nan()).then(|| Ordered::from_f64(self))
        }
        fn from_ordered(word: Ordered) -> Self {
            word.to_f64()
        }
    }
}

impl<N: GaugeNumber> Gauge<N> {
    /// Sets the value.
    #[inline]
    pub fn set(self, value: N) {
        self.cell.store(value.to_bits(), Relaxed);
    }

    /// Adds `amount`; an `i64` wraps.
    #[inline]
    pub fn add(self, amount: N) {
        self.update(|value| value.plus(amount));
    }

    /// Takes `amount` off; an `i64` wraps. Goes below 0: see [`Gauge::saturating_sub`].
    #[inline]
    pub fn sub(self, amount: N) {
        self.update(|value| value.minus(amount));
    }

    /// Adds 1.
    #[inline]
    pub fn inc(self) {
        self.add(N::ONE);
    }

    /// Takes 1 off.
    #[inline]
    pub fn dec(self) {
        self.sub(N::ONE);
    }

    /// The value now.
    #[must_use]
    #[inline]
    pub fn get(self) -> N {
        N::from_bits(self.cell.load(Relaxed))
    }

    #[inline]
    fn update(self, change: impl Fn(N) -> N) {
        // Relaxed on both sides: only the value itself is read and written. The closure never gives up.
        let _ = self.cell.fetch_update(Relaxed, Relaxed, |bits| Some(change(N::from_bits(bits)).to_bits()));
    }
}

impl Gauge<i64> {
    /// Takes `amount` off, and stops at 0 for real: the stored value never goes below it, whatever other threads do
    /// meanwhile. A negative value stays as it is.
    ///
    /// ```
    /// let region = tachograph::Region::private("doc")?;
    /// let meetings = region.gauge::<i64>("mc_meetings_active", "Meetings")?;
    /// meetings.saturating_sub(1); // one removal too many
    /// assert_eq!(meetings.get(), 0);
    /// meetings.inc();
    /// assert_eq!(meetings.get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn saturating_sub(self, amount: i64) {
        self.update(|value| if value <= 0 { value } else { value.saturating_sub(amount).max(0) });
    }
}

impl<N: GaugeNumber> Handle for Gauge<N> {
    const KIND: Kind = Kind::Gauge;
    const NUMBER: Number = N::NUMBER;
    type Block = SharedBlock;

    fn shape(desc: &Desc) -> Result<Shape, String> {
        Shape::plain(desc, 1)
    }

    fn block(map: &'static WriterMap, place: Place) -> Option<Self::Block> {
        map.shared_block(place.first, place.series)
    }

    #[inline]
    fn pick(block: Self::Block, series: usize) -> Self {
        Self { cell: block.series(series), number: PhantomData }
    }
}

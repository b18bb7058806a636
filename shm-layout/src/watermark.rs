//! How a watermark's values are stored: as unsigned words that compare as the values do, with 0 for "nothing seen".
//!
//! A series owns four lane cells: `[window 0, window 1, since start, time of the extreme since start]`. Window
//! `w & 1` of the control block's `watermark_window` is the current one; the other is the one before. A window is
//! 60 s, so current and previous together cover at least the last 60 s.

/// A value as an order-preserving word. For a minimum the complement is stored, so that "larger word" always means
/// "more extreme" and lanes are combined by the largest.
///
/// ```
/// use tachograph_layout::Ordered;
/// assert!(Ordered::from_i64(-5).bits() < Ordered::from_i64(3).bits());
/// assert!(Ordered::from_f64(-0.5).bits() < Ordered::from_f64(0.25).bits());
/// assert_eq!(Ordered::from_bits(Ordered::from_i64(-5).bits()).map(Ordered::to_i64), Some(-5));
/// assert!(Ordered::from_bits(0).is_none()); // nothing seen
/// assert!(Ordered::from_i64(3).reversed().bits() < Ordered::from_i64(-5).reversed().bits());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ordered(u64);

const SIGN: u64 = 1 << 63;

impl Ordered {
    /// An integer.
    #[must_use]
    #[inline]
    pub const fn from_i64(value: i64) -> Self {
        Self(value as u64 ^ SIGN)
    }

    /// A number that is not NaN.
    #[must_use]
    #[inline]
    pub const fn from_f64(value: f64) -> Self {
        let bits = value.to_bits();
        Self(if bits & SIGN == 0 { bits ^ SIGN } else { !bits })
    }

    /// The same value for a series that keeps the smallest: the complement.
    #[must_use]
    #[inline]
    pub const fn reversed(self) -> Self {
        Self(!self.0)
    }

    /// A stored word; `None` for 0, where nothing was seen.
    #[must_use]
    #[inline]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits == 0 { None } else { Some(Self(bits)) }
    }

    /// The word as it is stored. 0 would mean "nothing seen", so the value that comes to it is stored as its neighbour:
    /// `i64::MIN` in a series that keeps the largest, `i64::MAX` in one that keeps the smallest.
    ///
    /// ```
    /// use tachograph_layout::Ordered;
    /// let stored = |value: Ordered| Ordered::from_bits(value.bits()).expect("something was seen");
    /// assert_eq!(stored(Ordered::from_i64(i64::MIN)).to_i64(), i64::MIN + 1);
    /// assert_eq!(stored(Ordered::from_i64(i64::MIN).reversed()).reversed().to_i64(), i64::MIN);
    /// assert_eq!(stored(Ordered::from_i64(i64::MAX).reversed()).reversed().to_i64(), i64::MAX - 1);
    /// ```
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u64 {
        if self.0 == 0 { 1 } else { self.0 }
    }

    /// The integer it stands for.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        (self.0 ^ SIGN) as i64
    }

    /// The number it stands for.
    #[must_use]
    pub const fn to_f64(self) -> f64 {
        let bits = if self.0 & SIGN != 0 { self.0 ^ SIGN } else { !self.0 };
        f64::from_bits(bits)
    }
}

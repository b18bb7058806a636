//! What an application says of a family: name, help, unit, and how regions are merged.

use std::ops::RangeInclusive;

use tachograph_layout::Aggregation;

use crate::open::OpenSettings;

/// Describes a family for registration. Nothing is checked before [`crate::Region::register`] and its like.
///
/// ```
/// use tachograph::{Aggregation, Desc, Gauge, Region};
/// let region = Region::private("doc")?;
/// let desc = Desc::new("app_cache_bytes", "Bytes held by the cache").unit("bytes").aggregation(Aggregation::Max);
/// let cache: Gauge<i64> = region.register(desc)?;
/// cache.set(4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Desc {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) aggregation: Option<Aggregation>,
    pub(crate) buckets: Option<Buckets>,
    /// What a group's table says of an open family.
    pub(crate) open: OpenSettings,
}

impl Desc {
    /// A family by its name (as text 0.0.4 shows it: counters end in `_total`) and its HELP.
    #[must_use]
    pub fn new(name: impl Into<String>, help: impl Into<String>) -> Self {
        let (name, help, unit) = (name.into(), help.into(), String::new());
        Self { name, help, unit, aggregation: None, buckets: None, open: OpenSettings::NONE }
    }

    /// The unit, which the name must end in (before `_total`): `bytes`, `seconds`.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }

    /// How values of several regions become one, where they are merged. By default counters and up-down counters are
    /// added up, and so are gauges; watermarks take the largest (the smallest).
    #[must_use]
    pub const fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = Some(aggregation);
        self
    }

    /// The buckets of a histogram. Kinds that are no histograms have none: that is an error at registration.
    ///
    /// ```
    /// use tachograph::{Buckets, Desc};
    /// let desc = Desc::new("app_reply_bytes", "Size of replies").buckets(Buckets::bounds([100.0, 1e3, 1e4]));
    /// assert_eq!(desc, desc.clone().buckets(Buckets::bounds([100.0, 1e3, 1e4])));
    /// ```
    #[must_use]
    pub fn buckets(mut self, buckets: Buckets) -> Self {
        self.buckets = Some(buckets);
        self
    }
}

/// Which buckets a histogram counts in. In the unit that is shown: seconds for durations.
///
/// Nothing is checked before registration.
///
/// ```
/// use tachograph::Buckets;
/// let own = Buckets::bounds([0.005, 0.01, 0.025, 0.05, 0.1]); // and +Inf, always
/// let native = Buckets::exponential(3, 1e-6..=100.0); // 2^(1/8) from one bound to the next
/// assert_ne!(own, native);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets(pub(crate) BucketRule);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BucketRule {
    Bounds(Vec<f64>),
    Exponential { schema: i32, lower: f64, upper: f64 },
}

impl Buckets {
    /// Own upper bounds, each inclusive: finite, strictly ascending, at least one. A bucket for all that is larger
    /// (`le="+Inf"`) is always there and must not be named.
    #[must_use]
    pub fn bounds(bounds: impl IntoIterator<Item = f64>) -> Self {
        Self(BucketRule::Bounds(bounds.into_iter().collect()))
    }

    /// The buckets of Prometheus' native histograms: each upper bound is the one before times 2^(2^-schema). `schema`
    /// is 0 (times 2) to 5 (times 1.022); 3 is the usual choice (times 1.09).
    ///
    /// At and below the range's lower end is one bucket, the zero bucket; the last bucket is the one that holds the
    /// upper end, and what is above it is counted as `+Inf`. The ends are numbers from 2^-1022 to 2^1023, at most
    /// 16,384 buckets apart. A bucket takes a cell in every lane: 1e-6 to 100 are 214 of schema 3, 27 of schema 0.
    #[must_use]
    pub fn exponential(schema: i32, range: RangeInclusive<f64>) -> Self {
        Self(BucketRule::Exponential { schema, lower: *range.start(), upper: *range.end() })
    }
}

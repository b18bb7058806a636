// Buckets that registration would refuse, and settings of buckets that say too little or too much.
use tachograph::{Counter, DurationHistogram, ExponentialHistogram, Histogram, Metrics};

#[derive(Metrics)]
#[metrics(prefix = "app")]
struct Refused {
    /// Bounds that do not ascend.
    #[metric(bounds = [0.1, 0.5, 0.5])]
    size: Histogram,
    /// An infinite one.
    #[metric(bounds = [0.1, f64::INFINITY])]
    infinite: Histogram,
    /// None at all.
    #[metric(bounds = [])]
    empty: Histogram,
    /// Not named.
    unnamed: Histogram,
    /// Of the other kind.
    #[metric(exponential(schema = 3, range = 1e-6..=100.0))]
    own: Histogram,
    /// Of the other kind.
    #[metric(bounds = [0.1])]
    native: ExponentialHistogram,
    /// There is no such schema.
    #[metric(exponential(schema = 9, range = 1e-6..=100.0))]
    schema: ExponentialHistogram,
    /// No histogram.
    #[metric(bounds = [0.1])]
    served: Counter,
    /// Durations without their unit.
    #[metric(bounds = [0.1])]
    latency: DurationHistogram,
    /// Durations in another one.
    #[metric(unit = "minutes", bounds = [0.1])]
    uptime: DurationHistogram,
}

#[derive(Metrics)]
struct Unread {
    /// Half of it.
    #[metric(exponential(schema = 3))]
    half: ExponentialHistogram,
    /// Unknown.
    #[metric(exponential(scheme = 3))]
    unknown: ExponentialHistogram,
    /// Both.
    #[metric(bounds = [0.1], exponential(schema = 3, range = 1e-6..=100.0))]
    both: Histogram,
}

fn main() {}

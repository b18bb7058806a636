//! How the recorder is doing: counts that its thread keeps and the exporter's own metrics show.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a recorder did so far. Relaxed: statistics only, nothing is published through them.
#[derive(Debug, Default)]
pub struct RecorderStats {
    pub(crate) ticks: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) failing: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) regions: AtomicU64,
    pub(crate) oldest_ns: AtomicU64,
    pub(crate) busy_ns: AtomicU64,
    pub(crate) cases: AtomicU64,
    pub(crate) case_errors: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecorderCounts {
    /// Ticks that were done.
    pub ticks: u64,
    /// Ticks that were left out because the one before took too long.
    pub late: u64,
    /// Samples written, of all regions and tiers.
    pub samples: u64,
    /// Samples that could not be taken or written.
    pub errors: u64,
    /// Whether the last tick could not write: 1 or 0.
    pub failing: u64,
    /// Bytes of the blocks that are kept.
    pub bytes: u64,
    /// Bytes written.
    pub written: u64,
    /// Regions that are being recorded.
    pub regions: u64,
    /// The oldest sample kept, in nanoseconds since the Unix epoch; 0 where there is none.
    pub oldest_ns: u64,
    /// Time spent in ticks, in nanoseconds.
    pub busy_ns: u64,
    /// Cases written.
    pub cases: u64,
    /// Cases that could not be written.
    pub case_errors: u64,
}

impl RecorderStats {
    pub(crate) fn add(count: &AtomicU64, by: u64) {
        count.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(count: &AtomicU64, value: u64) {
        count.store(value, Ordering::Relaxed);
    }

    /// The counts as they are now.
    ///
    /// ```
    /// let stats = tachograph_exporter::recording::RecorderStats::default();
    /// assert_eq!(stats.counts().ticks, 0);
    /// ```
    #[must_use]
    pub fn counts(&self) -> RecorderCounts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RecorderCounts {
            ticks: get(&self.ticks),
            late: get(&self.late),
            samples: get(&self.samples),
            errors: get(&self.errors),
            failing: get(&self.failing),
            bytes: get(&self.bytes),
            written: get(&self.written),
            regions: get(&self.regions),
            oldest_ns: get(&self.oldest_ns),
            busy_ns: get(&self.busy_ns),
            cases: get(&self.cases),
            case_errors: get(&self.case_errors),
        }
    }
}

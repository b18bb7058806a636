//! Lanes: one private plane of cells a thread. Their number and their distance are the process's own.
//!
//! All regions of a process map the same number of lanes, each at the same virtual distance from the one before, so a
//! thread's lane is one byte offset that fits every handle of every region.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes from one lane to the next in the writer's address space (not in the file). Only reserved, not used.
pub const LANE_DISTANCE: usize = 64 << 20;

/// Most lanes that a process may have.
pub const MAX_LANES: usize = 1024;

/// Cells at the start of each lane that belong to the region, not to a series: cell 0 counts observations that were
/// dropped (NaN, or negative where that has no meaning), the others are zero.
pub const LANE_HEADER_CELLS: usize = 16;

/// The process's number of lanes; 0 until fixed. Relaxed everywhere: it goes from 0 to its value once, and publishes
/// nothing else.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Fixes the process's number of lanes to `wanted`, unless it is fixed already; returns the number in force.
/// `wanted` is taken into 1 to [`MAX_LANES`].
///
/// ```
/// use tachograph_layout::{fix_lane_count, lane_count};
/// let first = fix_lane_count(16);
/// assert_eq!(fix_lane_count(99), first);
/// assert_eq!(lane_count(), first);
/// ```
pub fn fix_lane_count(wanted: usize) -> usize {
    let wanted = wanted.clamp(1, MAX_LANES);
    match COUNT.compare_exchange(0, wanted, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => wanted,
        Err(fixed) => fixed,
    }
}

/// The process's number of lanes; 0 until [`fix_lane_count`].
pub fn lane_count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// A lane, as the byte distance of its cells from lane 0's. Always below `lane_count() * LANE_DISTANCE`.
///
/// ```
/// use tachograph_layout::{fix_lane_count, LaneOffset};
/// let lanes = fix_lane_count(16);
/// assert!(LaneOffset::SHARED.is_shared());
/// assert_eq!(LaneOffset::new(1).map(LaneOffset::lane), Some(1));
/// assert_eq!(LaneOffset::new(lanes), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneOffset(usize);

impl LaneOffset {
    /// Lane 0, which threads without a lane of their own share by read-modify-write.
    pub const SHARED: Self = Self(0);

    /// The offset of a lane; `None` unless the process has that many lanes.
    #[must_use]
    pub fn new(lane: usize) -> Option<Self> {
        (lane < lane_count()).then_some(Self(lane * LANE_DISTANCE))
    }

    /// Whether this is lane 0.
    #[must_use]
    #[inline]
    pub const fn is_shared(self) -> bool {
        self.0 == 0
    }

    /// The lane's number.
    #[must_use]
    pub const fn lane(self) -> usize {
        self.0 / LANE_DISTANCE
    }

    /// The distance in bytes.
    #[must_use]
    #[inline]
    pub(crate) const fn bytes(self) -> usize {
        self.0
    }
}

//! What a group of metrics takes of a region: the sum that `Builder::fit` sizes a region by.

use std::ops::AddAssign;

/// Capacities that a group of metrics needs, exactly.
///
/// ```
/// use tachograph::{Counter, Desc, Needs, Registrable};
/// let mut needs = Counter::needs(&Desc::new("app_served_total", "Requests served"));
/// needs += Counter::needs(&Desc::new("app_failed_total", "Requests failed"));
/// assert_eq!((needs.families, needs.series, needs.cells), (2, 2, 2));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Families.
    pub families: u32,
    /// Series slots.
    pub series: u32,
    /// Cells a lane.
    pub cells: u32,
    /// Lines of the shared plane.
    pub shared: u32,
    /// Bytes of strings.
    pub string_bytes: u32,
    /// Words of histogram bounds.
    pub bounds: u32,
    /// Families by name, with their series: shown when the region is built.
    pub largest: Vec<(String, u32)>,
}

impl AddAssign for Needs {
    fn add_assign(&mut self, other: Self) {
        self.families += other.families;
        self.series += other.series;
        self.cells += other.cells;
        self.shared += other.shared;
        self.string_bytes += other.string_bytes;
        self.bounds += other.bounds;
        self.largest.extend(other.largest);
        self.largest.sort_by_key(|(_, series)| std::cmp::Reverse(*series));
        self.largest.truncate(8);
    }
}

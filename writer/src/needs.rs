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
    /// Bytes of label areas, of open families.
    pub label_bytes: u32,
    /// Words of histogram bounds.
    pub bounds: u32,
    /// Families by name, with their series: shown when the region is built.
    pub largest: Vec<(String, u32)>,
}

impl AddAssign for Needs {
    fn add_assign(&mut self, other: Self) {
        let sums = [
            (&mut self.families, other.families),
            (&mut self.series, other.series),
            (&mut self.cells, other.cells),
            (&mut self.shared, other.shared),
            (&mut self.string_bytes, other.string_bytes),
            (&mut self.label_bytes, other.label_bytes),
            (&mut self.bounds, other.bounds),
        ];
        // What is too much for any region is refused when one is built.
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
        self.largest.extend(other.largest);
        self.largest.sort_by_key(|(_, series)| std::cmp::Reverse(*series));
        self.largest.truncate(8);
    }
}

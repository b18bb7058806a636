//! Which cells of a plane have an owner, so that no two series share one.
//!
//! Called by the parser once for each series; one bit a cell of the file.

/// Which cells have an owner: no two series may share one.
pub(super) struct Taken(Vec<u64>);

impl Taken {
    pub(super) fn new(cells: u64) -> Self {
        Self(vec![0; cells.div_ceil(64) as usize])
    }

    /// Takes a run of cells; says whether all of them were free.
    pub(super) fn take(&mut self, first: u64, count: u64) -> bool {
        (first..first.saturating_add(count)).fold(true, |free, cell| {
            let Some(word) = self.0.get_mut((cell / 64) as usize) else { return false };
            let bit = 1 << (cell % 64);
            let was_free = *word & bit == 0;
            *word |= bit;
            free && was_free
        })
    }
}

//! The series descriptor: one cold cache line that says which cells a series owns and what its labels are.

use bytemuck::{Pod, Zeroable};

use crate::{FamilyRecord, SlotWord, StrRef, record};

/// A series descriptor, 64 bytes. Values never stand here: a descriptor is written at registration and then only read.
///
/// ```
/// use tachograph_layout::SeriesRecord;
/// assert_eq!(size_of::<SeriesRecord>(), 64);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SeriesRecord {
    /// [`SlotWord`]; stored last, with Release.
    pub state: u64,
    /// Index of the family, below the families' capacity.
    pub family: u32,
    /// How many cells the series owns, as its family says.
    pub cells: u32,
    /// First cell: an index into every lane's cells, or for kinds of the shared plane the index of the first line.
    pub cell: u64,
    /// The label block, escaped and ready to print (`a="x",b="y"`), in the strings section; in the family's label
    /// area where the family is open. Empty where the family has no labels.
    pub labels: StrRef,
    /// When the series was registered: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// When its last handle went, on the monotonic clock; 0 while it is live.
    pub retired_monotonic_ns: u64,
    /// FNV-1a of the label block: a hint for those who merge regions, never trusted.
    pub labels_hash: u64,
    /// Zero.
    pub reserved: u64,
}

record!(SeriesRecord, 64, {
    state @ 0, family @ 8, cells @ 12, cell @ 16, labels @ 24, created_realtime_ns @ 32, retired_monotonic_ns @ 40,
    labels_hash @ 48, reserved @ 56,
});

/// Why a series descriptor can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// Its state word is none of the known states.
    #[error("state word {0:#x} is not a state of this layout")]
    State(u64),
    /// It names another family than the one whose block it stands in.
    #[error("family index {found} where the slot belongs to family {expected}")]
    Family {
        /// Index found.
        found: u32,
        /// Index of the family whose block holds the slot.
        expected: u32,
    },
    /// It says another number of cells than its family.
    #[error("{found} cells where its family has {expected} a series")]
    Cells {
        /// Count found.
        found: u32,
        /// What the family says.
        expected: u32,
    },
    /// Its cells are not all inside the plane.
    #[error("cells {cell}..+{cells} end outside the plane of {plane} cells")]
    Outside {
        /// First cell found.
        cell: u64,
        /// Count of cells (or lines).
        cells: u32,
        /// Cells (or lines) in the plane.
        plane: u64,
    },
}

impl SeriesRecord {
    /// The descriptor's state word.
    #[must_use]
    pub const fn slot(&self) -> SlotWord {
        SlotWord::from_bits(self.state)
    }

    /// Checks a copied descriptor against its family and the plane its cells stand in (`plane` counted in cells for
    /// lane kinds, in 64-byte lines for kinds of the shared plane).
    ///
    /// # Errors
    /// [`SeriesError`] naming the field that is off.
    ///
    /// ```
    /// use tachograph_layout::{FamilyRecord, SeriesError, SeriesRecord, SlotState, SlotWord};
    /// let family = FamilyRecord { cells_per_series: 1, ..FamilyRecord::default() };
    /// let live = SlotWord::new(0, SlotState::Live).bits();
    /// let series = SeriesRecord { state: live, cells: 1, cell: 99, ..SeriesRecord::default() };
    /// assert!(series.check(0, &family, 100).is_ok());
    /// assert!(matches!(series.check(0, &family, 99), Err(SeriesError::Outside { .. })));
    /// ```
    pub const fn check(&self, family_index: u32, family: &FamilyRecord, plane: u64) -> Result<(), SeriesError> {
        if self.slot().state().is_none() {
            return Err(SeriesError::State(self.state));
        }
        if self.family != family_index {
            return Err(SeriesError::Family { found: self.family, expected: family_index });
        }
        if self.cells != family.cells_per_series {
            return Err(SeriesError::Cells { found: self.cells, expected: family.cells_per_series });
        }
        match self.cell.checked_add(self.cells as u64) {
            Some(end) if end <= plane => Ok(()),
            _ => Err(SeriesError::Outside { cell: self.cell, cells: self.cells, plane }),
        }
    }
}

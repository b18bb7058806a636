//! The section table: where each part of a region stands. A reader skips kinds that it does not know.

use bytemuck::{Pod, Zeroable};

use crate::{CrashSlots, record};

/// Every section starts at a multiple of this, whatever the page size of writer or reader.
pub const SECTION_ALIGN: u64 = 64 * 1024;

/// One entry of the table, 64 bytes.
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::SectionEntry>(), 64);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct SectionEntry {
    /// [`SectionKind`], or a kind of a later layout.
    pub kind: u32,
    /// Bit 0: a reader that does not know the kind must refuse the file. Others zero.
    pub flags: u32,
    /// First byte in the file; a multiple of [`SECTION_ALIGN`].
    pub offset: u64,
    /// Bytes from one entry to the next.
    pub stride: u64,
    /// How many entries: the capacity.
    pub count: u64,
    /// Zero.
    pub reserved: [u64; 4],
}

record!(SectionEntry, 64, { kind @ 0, flags @ 4, offset @ 8, stride @ 16, count @ 24, reserved @ 32 });

macro_rules! sections {
    ($($(#[$doc:meta])* $variant:ident = $value:literal, $name:literal, $stride:expr;)*) => {
        /// What a section holds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SectionKind { $($(#[$doc])* $variant,)* }
        impl SectionKind {
            /// All kinds of this layout, by their numbers.
            pub const ALL: [Self; 13] = [$(Self::$variant),*];
            /// The number that stands in the table.
            #[must_use]
            pub const fn to_wire(self) -> u32 { match self { $(Self::$variant => $value,)* } }
            /// From the number in a table; `None` for kinds that this layout does not know.
            #[must_use]
            pub const fn from_wire(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }
            /// Its name in messages and in `docs/LAYOUT.md`.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name,)* } }
            /// Bytes an entry; `None` for the lanes, whose stride is part of the geometry.
            #[must_use]
            pub const fn stride(self) -> Option<u64> { match self { $(Self::$variant => $stride,)* } }
        }
    };
}

sections! {
    /// Header and control block.
    Header = 1, "header", Some(SECTION_ALIGN);
    /// [`crate::FamilyRecord`]s.
    Families = 2, "families", Some(256);
    /// [`crate::SeriesRecord`]s.
    Series = 3, "series", Some(64);
    /// Bytes of strings, append-only.
    Strings = 4, "strings", Some(1);
    /// Bytes of the label areas of open families.
    LabelAreas = 5, "label-areas", Some(1);
    /// Histogram bounds: words.
    Bounds = 6, "bounds", Some(8);
    /// The shared plane: 64-byte lines whose first word is the cell.
    Shared = 7, "shared", Some(64);
    /// [`crate::ActivityRecord`]s.
    Activities = 8, "activities", Some(256);
    /// [`crate::PulseRecord`]s.
    Pulses = 9, "pulses", Some(128);
    /// [`crate::NoteRecord`]s.
    Notes = 10, "notes", Some(256);
    /// Crash slots, see [`CrashSlots`].
    Crash = 11, "crash", Some(CrashSlots::STRIDE);
    /// The lanes: each a plane of 8-byte cells.
    Lanes = 12, "lanes", None;
    /// What is carried on of the predecessor: [`crate::CarriedFamily`], by words. Only where there is something.
    Carried = 13, "carried", Some(8);
}

impl SectionKind {
    /// Whether a region may be without it.
    ///
    /// ```
    /// use tachograph_layout::SectionKind;
    /// assert!(SectionKind::Carried.is_optional() && !SectionKind::Lanes.is_optional());
    /// ```
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::Carried)
    }
}

/// A checked section: all its bytes are inside the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Section {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes from one entry to the next.
    pub stride: u64,
    /// How many entries.
    pub count: u64,
}

impl Section {
    /// An optional section that a region does not have.
    pub(crate) fn none(kind: SectionKind) -> Self {
        Self { offset: 0, stride: kind.stride().unwrap_or(0), count: 0 }
    }

    /// Bytes in all.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.stride * self.count
    }

    /// Whether it has no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// First byte in the file of entry `index`; `None` past the end.
    ///
    /// ```
    /// use tachograph_layout::Section;
    /// let section = Section { offset: 65_536, stride: 64, count: 2 };
    /// assert_eq!(section.entry(1), Some(65_600));
    /// assert_eq!(section.entry(2), None);
    /// ```
    #[must_use]
    pub const fn entry(&self, index: u64) -> Option<u64> {
        if index < self.count { Some(self.offset + index * self.stride) } else { None }
    }
}

/// Why a section table can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SectionError {
    /// A section ends outside the file, or starts at no multiple of 64 KiB.
    #[error("section {name}: offset {offset}, {count} entries of {stride} bytes do not fit a file of {file_len} bytes")]
    Outside {
        /// The section.
        name: &'static str,
        /// Offset found.
        offset: u64,
        /// Stride found.
        stride: u64,
        /// Count found.
        count: u64,
        /// Length of the file.
        file_len: u64,
    },
    /// A section has another stride than this layout's.
    #[error("section {name}: entries of {found} bytes where layout 1 has {expected}")]
    Stride {
        /// The section.
        name: &'static str,
        /// Stride found.
        found: u64,
        /// What the layout says.
        expected: u64,
    },
    /// A section stands twice in the table.
    #[error("section {0} stands twice in the table")]
    Twice(&'static str),
    /// A section that every region has is not in the table.
    #[error("section {0} is missing from the table")]
    Missing(&'static str),
    /// Two sections share bytes.
    #[error("sections {0} and {1} overlap")]
    Overlap(&'static str, &'static str),
    /// A section of a kind that is required and not known.
    #[error("section of kind {0} is required to read this region and not known to this version")]
    Required(u32),
    /// The table says more entries than it has room for.
    #[error("{0} sections where a table holds {max}", max = SectionTable::MAX)]
    TooMany(u32),
    /// More lanes than any writer has, or none, or more cells than a lane holds.
    #[error("{count} lanes of {stride} bytes: a region has 1 to 1024 lanes of 64 KiB to 64 MiB each")]
    Lanes {
        /// Lanes found.
        count: u64,
        /// Bytes a lane found.
        stride: u64,
    },
}

/// The checked sections of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionTable {
    sections: [Section; 13],
}

impl SectionTable {
    /// Entries that a header has room for.
    pub const MAX: u32 = 32;
    /// Entry flag: a reader that does not know the kind must refuse the file.
    pub const FLAG_REQUIRED: u32 = 1;

    /// One section; an empty one where the region has none of an optional kind.
    #[must_use]
    pub fn section(&self, kind: SectionKind) -> Section {
        let index = kind.to_wire() as usize - 1;
        self.sections.get(index).copied().unwrap_or_default()
    }

    /// Cells a lane.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.section(SectionKind::Lanes).stride / 8
    }

    /// Checks the entries of a header against the length of its file.
    ///
    /// # Errors
    /// [`SectionError`] naming the section and what is off.
    ///
    /// ```
    /// use tachograph_layout::{Geometry, SectionTable};
    /// let layout = Geometry::default().layout()?;
    /// let entries = layout.entries();
    /// assert!(SectionTable::check(&entries, entries.len() as u32, layout.file_len()).is_ok());
    /// assert!(SectionTable::check(&entries, entries.len() as u32, layout.file_len() - 1).is_err());
    /// # Ok::<(), tachograph_layout::GeometryError>(())
    /// ```
    pub fn check(entries: &[SectionEntry], count: u32, file_len: u64) -> Result<Self, SectionError> {
        if count > Self::MAX || count as usize > entries.len() {
            return Err(SectionError::TooMany(count));
        }
        let mut found: [Option<Section>; 13] = [None; 13];
        for entry in entries.iter().take(count as usize) {
            let Some(kind) = SectionKind::from_wire(entry.kind) else {
                if entry.flags & Self::FLAG_REQUIRED != 0 {
                    return Err(SectionError::Required(entry.kind));
                }
                continue;
            };
            let section = Self::check_one(kind, entry, file_len)?;
            let slot = found.get_mut(kind.to_wire() as usize - 1).ok_or(SectionError::Missing(kind.as_str()))?;
            if slot.replace(section).is_some() {
                return Err(SectionError::Twice(kind.as_str()));
            }
        }
        let mut sections = [Section::default(); 13];
        for ((kind, found), section) in SectionKind::ALL.iter().zip(found).zip(&mut sections) {
            *section = match found {
                None if kind.is_optional() => Section::none(*kind),
                found => found.ok_or(SectionError::Missing(kind.as_str()))?,
            };
        }
        for (a, one) in SectionKind::ALL.iter().zip(&sections) {
            for (b, other) in SectionKind::ALL.iter().zip(&sections) {
                let apart = one.offset + one.len() <= other.offset || other.offset + other.len() <= one.offset;
                if a != b && !apart && !one.is_empty() && !other.is_empty() {
                    return Err(SectionError::Overlap(a.as_str(), b.as_str()));
                }
            }
        }
        Ok(Self { sections })
    }

    fn check_one(kind: SectionKind, entry: &SectionEntry, file_len: u64) -> Result<Section, SectionError> {
        let (offset, stride, count) = (entry.offset, entry.stride, entry.count);
        let name = kind.as_str();
        match kind.stride() {
            Some(expected) if expected != stride => {
                return Err(SectionError::Stride { name, found: stride, expected });
            }
            None if count == 0
                || count > crate::MAX_LANES as u64
                || stride == 0
                || stride % SECTION_ALIGN != 0
                || stride > crate::LANE_DISTANCE as u64 =>
            {
                return Err(SectionError::Lanes { count, stride });
            }
            _ => {}
        }
        let end = stride.checked_mul(count).and_then(|len| len.checked_add(offset));
        let right_place = if kind == SectionKind::Header { offset == 0 && count == 1 } else { offset >= SECTION_ALIGN };
        if offset % SECTION_ALIGN != 0 || !right_place || end.is_none_or(|end| end > file_len) {
            return Err(SectionError::Outside { name, offset, stride, count, file_len });
        }
        Ok(Section { offset, stride, count })
    }
}

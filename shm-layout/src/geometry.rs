//! Geometry: how much a region holds, fixed when it is built, and the file layout that follows from it.

use crate::{
    CrashSlots, LANE_DISTANCE, LANE_HEADER_CELLS, MAX_LANES, SECTION_ALIGN, Section, SectionEntry, SectionKind, StrRef,
};

/// Capacities of a region. The default holds 2,048 series in 8,192 cells and takes 3.4 MiB with 40 lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Families, 1 to 65,536.
    pub families: u32,
    /// Series slots, 1 to 16,777,216.
    pub series: u32,
    /// Bytes of strings.
    pub string_bytes: u32,
    /// Bytes of label areas, for open families.
    pub label_bytes: u32,
    /// Words of histogram bounds.
    pub bounds: u32,
    /// Lines of the shared plane: one a gauge, one a state set.
    pub shared: u32,
    /// Cells a lane, beyond the lane's header cells; at most 8,388,592.
    pub cells: u32,
    /// Lanes, 1 to 1,024.
    pub lanes: u32,
    /// Activity slots.
    pub activities: u32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            families: 256,
            series: 2_048,
            string_bytes: 256 * 1024,
            label_bytes: 64 * 1024,
            bounds: 8_192,
            shared: 1_024,
            cells: 8_192 - LANE_HEADER_CELLS as u32,
            lanes: 40,
            activities: 256,
        }
    }
}

/// A capacity out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {value} is out of range, 1 to {max}")]
pub struct GeometryError {
    /// Which capacity.
    pub what: &'static str,
    /// What was asked for.
    pub value: u64,
    /// Most that a region can hold.
    pub max: u64,
}

/// Where the sections of a region with some geometry stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    sections: [Section; 13],
    file_len: u64,
}

/// Lines in the ring of notes.
const NOTES: u64 = 256;
/// Promises that a region holds.
const PULSES: u64 = 64;

impl Geometry {
    /// The file layout: sections in the order of their kinds, each on a multiple of 64 KiB, the lanes last.
    ///
    /// # Errors
    /// [`GeometryError`] naming the first capacity out of its range.
    ///
    /// ```
    /// use tachograph_layout::{Geometry, SectionKind};
    /// let layout = Geometry { lanes: 16, ..Geometry::default() }.layout()?;
    /// assert_eq!(layout.section(SectionKind::Lanes).count, 16);
    /// assert!(Geometry { lanes: 0, ..Geometry::default() }.layout().is_err());
    /// # Ok::<(), tachograph_layout::GeometryError>(())
    /// ```
    pub fn layout(&self) -> Result<Layout, GeometryError> {
        let max_cells = (LANE_DISTANCE / 8 - LANE_HEADER_CELLS) as u64;
        let max_strings = u64::from(u32::MAX - StrRef::MAX_LEN);
        for (what, value, max) in [
            ("families", self.families, 65_536),
            ("series", self.series, 1 << 24),
            ("string bytes", self.string_bytes, max_strings),
            ("label bytes", self.label_bytes, max_strings),
            ("bounds", self.bounds, 1 << 24),
            ("shared lines", self.shared, 1 << 24),
            ("cells", self.cells, max_cells),
            ("lanes", self.lanes, MAX_LANES as u64),
            ("activities", self.activities, 1 << 20),
        ] {
            if value == 0 || u64::from(value) > max {
                return Err(GeometryError { what, value: u64::from(value), max });
            }
        }
        let lane_bytes = align((u64::from(self.cells) + LANE_HEADER_CELLS as u64) * 8);
        let mut offset = 0;
        let sections = SectionKind::ALL.map(|kind| {
            let count = match kind {
                SectionKind::Header => 1,
                SectionKind::Families => u64::from(self.families),
                SectionKind::Series => u64::from(self.series),
                SectionKind::Strings => align(u64::from(self.string_bytes)),
                SectionKind::LabelAreas => align(u64::from(self.label_bytes)),
                SectionKind::Bounds => u64::from(self.bounds),
                SectionKind::Shared => u64::from(self.shared),
                SectionKind::Activities => u64::from(self.activities),
                SectionKind::Pulses => PULSES,
                SectionKind::Notes => NOTES,
                SectionKind::Crash => CrashSlots::COUNT,
                SectionKind::Lanes => u64::from(self.lanes),
                SectionKind::Carried => return Section::none(kind),
            };
            let section = Section { offset, stride: kind.stride().unwrap_or(lane_bytes), count };
            offset += align(section.len());
            section
        });
        Ok(Layout { sections, file_len: offset })
    }
}

const fn align(bytes: u64) -> u64 {
    bytes.next_multiple_of(SECTION_ALIGN)
}

impl Layout {
    /// The same with room for so many words that are carried on of a predecessor, before the lanes; without such a section
    /// where there are none.
    ///
    /// ```
    /// use tachograph_layout::{Geometry, SectionKind};
    /// let layout = Geometry::default().layout()?;
    /// let adopter = layout.carrying(1000);
    /// assert_eq!(adopter.section(SectionKind::Carried).count, 1000);
    /// assert_eq!(adopter.file_len(), layout.file_len() + 65_536);
    /// assert_eq!(layout.carrying(0), layout);
    /// # Ok::<(), tachograph_layout::GeometryError>(())
    /// ```
    #[must_use]
    pub fn carrying(&self, words: u64) -> Self {
        let mut layout = *self;
        let room = align(words.saturating_mul(8));
        let offset = layout.main_len();
        for (kind, section) in SectionKind::ALL.iter().zip(&mut layout.sections) {
            match kind {
                SectionKind::Carried if words > 0 => *section = Section { offset, stride: 8, count: words },
                SectionKind::Lanes => section.offset += room,
                _ => {}
            }
        }
        layout.file_len += room;
        layout
    }

    /// One section.
    #[must_use]
    pub fn section(&self, kind: SectionKind) -> Section {
        self.sections.get(kind.to_wire() as usize - 1).copied().unwrap_or_default()
    }

    /// Bytes of the whole file.
    #[must_use]
    pub const fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Bytes before the lanes.
    #[must_use]
    pub fn main_len(&self) -> u64 {
        self.section(SectionKind::Lanes).offset
    }

    /// The entries of the section table, for the header.
    #[must_use]
    pub fn entries(&self) -> Vec<SectionEntry> {
        SectionKind::ALL
            .iter()
            .zip(&self.sections)
            .filter(|(kind, section)| !kind.is_optional() || !section.is_empty())
            .map(|(kind, section)| SectionEntry {
                kind: kind.to_wire(),
                offset: section.offset,
                stride: section.stride,
                count: section.count,
                ..SectionEntry::default()
            })
            .collect()
    }
}

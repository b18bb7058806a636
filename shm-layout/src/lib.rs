//! The bytes of a Tachograph region.
//!
//! A *region* is one shared-memory file, written by one process and read by any number of others. This crate says
//! where every byte of it stands, and holds the only unsafe code that touches those bytes. `docs/LAYOUT.md` says the
//! same in prose, for readers in other languages; a test holds the two together.
//!
//! What it promises:
//! - every count, offset and length that comes out of a file passes a checked constructor ([`Header::check`],
//!   [`SectionTable::check`], [`FamilyRecord::check`], [`SeriesRecord::check`], [`StrRef::check`], [`carried_entries`]) before it is used;
//! - live memory is only ever seen as `&AtomicU64`, never as a slice or a reference to a struct;
//! - the mirrors of the records are plain old data ([`bytemuck::Pod`]) with their sizes and offsets asserted.
//!
//! What it does not do: it opens no file, takes no lock, knows neither the writer nor the exporter.
//!
//! ```
//! use tachograph_layout::{Geometry, SectionKind};
//!
//! let layout = Geometry::default().layout()?;
//! let series = layout.section(SectionKind::Series);
//! assert_eq!(series.stride, 64);
//! assert_eq!(series.offset % 65_536, 0);
//! assert!(layout.file_len() < 4 << 20);
//! # Ok::<(), tachograph_layout::GeometryError>(())
//! ```

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a region is read and written with 8-byte atomics at 64-bit offsets: 64-bit targets only");

mod activity;
mod carried;
#[allow(unsafe_code)]
mod cells;
mod control;
mod crash;
#[cfg(loom)]
mod explore;
mod family;
mod geometry;
mod header;
mod high_water;
mod histogram;
mod lanes;
#[allow(unsafe_code)]
mod map;
mod note;
mod owned;
mod ring;
mod section;
mod series;
mod slot;
mod strings;
mod structure;
mod watermark;
mod word;

pub mod retention;

pub use activity::{ActivityRecord, PulseRecord};
pub use carried::{CarriedEntry, CarriedError, CarriedFamily, CarriedSeries, CarriedSet, carried_entries};
pub use cells::{CellShape, LaneBlock, LaneCell, LaneCells, ShapedBlock, ShapedCells, SharedBlock, WordView};
pub use control::{Control, CrashHooks, RegionState};
pub use crash::{CrashSlots, FatalRecord, PanicRecord};
#[cfg(loom)]
pub use explore::explore;
pub use family::{Aggregation, Combine, FamilyError, FamilyRecord, Kind, Number};
pub use geometry::{Geometry, GeometryError, Layout};
pub use header::{Header, HeaderError, LAYOUT_MAJOR, LAYOUT_MINOR, MemoryLock};
pub use high_water::{HighWater, append};
pub use histogram::{bounds_cells, exponential_buckets, exponential_cells, exponential_index, exponential_upper};
pub use lanes::{LANE_DISTANCE, LANE_HEADER_CELLS, LaneOffset, MAX_LANES, fix_lane_count, lane_count};
pub use map::{MapError, ReaderMap, WriterMap};
pub use note::NoteRecord;
pub use owned::{give_slot, read_owned, retire_slot};
pub use ring::{read_stamped, ring_slot, write_stamped};
pub use section::{SECTION_ALIGN, Section, SectionEntry, SectionError, SectionKind, SectionTable};
pub use series::{SeriesError, SeriesRecord};
pub use slot::{SlotState, SlotWord};
pub use strings::{StrError, StrRef};
pub use structure::{StructureChange, read_structure, slot_stands};
pub use watermark::Ordered;
pub use word::{Word, add_own, downs_then_ups, load_acquire, publish, read_published};

/// The bytes of a record as the 8-byte words that live memory is read and written in.
pub trait Words: bytemuck::Pod {
    /// How many 8-byte words one record takes.
    const WORDS: usize = size_of::<Self>() / 8;

    /// This record as words, in file order.
    ///
    /// ```
    /// use tachograph_layout::{SeriesRecord, Words};
    /// let record = SeriesRecord { cell: 7, ..SeriesRecord::default() };
    /// assert_eq!(record.as_words()[2], 7);
    /// ```
    fn as_words(&self) -> &[u64] {
        // Records hold 8-byte fields, so they are aligned for it.
        bytemuck::cast_slice(std::slice::from_ref(self))
    }

    /// A record from words that were copied out of a region; `None` unless there are exactly [`Words::WORDS`].
    ///
    /// ```
    /// use tachograph_layout::{SeriesRecord, Words};
    /// let record = SeriesRecord::from_words(&[0, 0, 7, 0, 0, 0, 0, 0]).unwrap();
    /// assert_eq!(record.cell, 7);
    /// assert!(SeriesRecord::from_words(&[0; 3]).is_none());
    /// ```
    fn from_words(words: &[u64]) -> Option<Self> {
        bytemuck::try_pod_read_unaligned(bytemuck::cast_slice(words)).ok()
    }
}

macro_rules! record {
    ($type:ty, $size:literal, { $($field:ident @ $offset:literal),* $(,)? }) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(std::mem::offset_of!($type, $field) == $offset);)*
        };
        impl $crate::Words for $type {}
        impl $type {
            /// Name and byte offset of each field, for the test that holds `docs/LAYOUT.md` to the code.
            ///
            /// ```
            /// assert_eq!(tachograph_layout::SeriesRecord::FIELDS[0], ("state", 0));
            /// ```
            pub const FIELDS: &'static [(&'static str, usize)] = &[$((stringify!($field), $offset)),*];
        }
    };
}
pub(crate) use record;

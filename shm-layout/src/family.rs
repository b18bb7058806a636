//! The family table: a metric name with its kind, help, unit, label names, and the block of series slots it owns.

use bytemuck::{Pod, Zeroable};

use crate::{SlotWord, StrRef, record};

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// The number that stands in the file.
            #[must_use]
            pub const fn to_wire(self) -> u32 {
                match self { $(Self::$variant => $value,)* }
            }
            /// From the number in a file; `None` where this layout knows no such value.
            #[must_use]
            pub const fn from_wire(value: u32) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

wire_enum! {
    /// What a family measures, and so which cells a series owns and where they stand.
    ///
    /// ```
    /// use tachograph_layout::Kind;
    /// assert_eq!(Kind::from_wire(Kind::UpDownCounter.to_wire()), Some(Kind::UpDownCounter));
    /// assert_eq!(Kind::from_wire(999), None);
    /// ```
    Kind {
        /// Goes up only. One lane cell.
        Counter = 1,
        /// Set to any value by one last writer. One line of the shared plane.
        Gauge = 2,
        /// Goes up and down from many threads. Two lane cells: ups, downs.
        UpDownCounter = 3,
        /// Observations counted between declared bounds. Lane cells: one a bound, one for +Inf, one for the sum.
        HistogramBounds = 4,
        /// Observations counted in the exponential buckets of Prometheus' native histograms. Lane cells: the zero
        /// bucket, one a bucket of the range, the overflow, the sum.
        HistogramExponential = 5,
        /// A constant 1 whose labels are the information. No cell.
        Info = 6,
        /// Named states, each on or off. One line of the shared plane: a bit a state.
        StateSet = 7,
        /// The largest of the values seen. Four lane cells.
        WatermarkMax = 8,
        /// The smallest of the values seen. Four lane cells.
        WatermarkMin = 9,
    }
}

wire_enum! {
    /// What the bits of a value cell are.
    Number {
        /// Unsigned 64-bit integer; wraps.
        U64 = 1,
        /// Signed 64-bit integer, two's complement.
        I64 = 2,
        /// IEEE 754 binary64 bits.
        F64 = 3,
    }
}

wire_enum! {
    /// How the cells of a series in all lanes become one value.
    Combine {
        /// Added up, as the family's number says.
        Sum = 1,
        /// The largest, compared as unsigned words.
        Max = 2,
        /// There is one cell only, in the shared plane.
        Single = 3,
    }
}

wire_enum! {
    /// How values of several regions become one, where they are merged.
    Aggregation {
        /// Added up.
        Sum = 1,
        /// The smallest.
        Min = 2,
        /// The largest.
        Max = 3,
        /// The one of the newest region.
        Newest = 4,
    }
}

impl Kind {
    /// Whether the cells stand in the shared plane (one line each) instead of in the lanes.
    #[must_use]
    pub const fn in_shared_plane(self) -> bool {
        matches!(self, Self::Gauge | Self::StateSet)
    }

    /// The way this kind's lanes are combined. Histogram buckets and sums are added up, too.
    #[must_use]
    pub const fn combine(self) -> Combine {
        match self {
            Self::Counter | Self::UpDownCounter | Self::HistogramBounds | Self::HistogramExponential => Combine::Sum,
            Self::WatermarkMax | Self::WatermarkMin => Combine::Max,
            Self::Gauge | Self::Info | Self::StateSet => Combine::Single,
        }
    }

    /// The word that people read, as in the kind column of `tacho show`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::UpDownCounter => "updown",
            Self::HistogramBounds => "histogram",
            Self::HistogramExponential => "exponential",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::WatermarkMax => "watermark-max",
            Self::WatermarkMin => "watermark-min",
        }
    }
}

/// A family, 256 bytes.
///
/// The series of a family stand in one block of slots, `first_series .. first_series + series_slots`. In a closed
/// family all of them are live from the start, in index order of the label values; an open family hands its slots out.
///
/// ```
/// assert_eq!(size_of::<tachograph_layout::FamilyRecord>(), 256);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct FamilyRecord {
    /// [`SlotWord`]; stored last, with Release.
    pub state: u64,
    /// [`Kind`].
    pub kind: u32,
    /// [`Number`].
    pub number: u32,
    /// [`Combine`].
    pub combine: u32,
    /// [`Aggregation`].
    pub aggregation: u32,
    /// Bit 0: [`FamilyRecord::FLAG_OPEN`]. Others zero.
    pub flags: u32,
    /// How many label names.
    pub label_count: u32,
    /// Metric name as exposed in text 0.0.4: counters with `_total`, units included.
    pub name: StrRef,
    /// HELP, as written by the author: not escaped.
    pub help: StrRef,
    /// Unit, the name's suffix; empty where none.
    pub unit: StrRef,
    /// Label names, joined by commas.
    pub label_names: StrRef,
    /// Names of a state set's states, each ended by a zero byte; bit `n` of the cell is the n-th.
    pub states: StrRef,
    /// First slot of the family's block of series.
    pub first_series: u32,
    /// Slots in the block: the closed set's size, or an open family's budget and its overflow series.
    pub series_slots: u32,
    /// Cells a series owns: lane cells, or lines of the shared plane.
    pub cells_per_series: u32,
    /// Histogram: how many bounds.
    pub bounds_count: u32,
    /// Histogram: index of the first bound in the bounds section; bits as `number` says, ascending.
    pub bounds_index: u64,
    /// Exponential histogram: buckets grow by 2^(2^-schema).
    pub schema: i32,
    /// Open family: bytes of label area a slot owns.
    pub label_area_len: u32,
    /// Open family: first byte of its label areas in that section; slot `n`'s begins `n * label_area_len` later.
    pub label_area_offset: u64,
    /// Open family: how long a retired series is shown, in nanoseconds.
    pub linger_ns: u64,
    /// Exponential histogram: lower end of the range, binary64 bits; at and below it is the zero bucket.
    pub range_lower: u64,
    /// Exponential histogram: upper end of the range, binary64 bits; above it is +Inf.
    pub range_upper: u64,
    /// What a raw value is multiplied by to be shown, binary64 bits: 1, or 1e-9 for nanoseconds shown in seconds.
    pub scale: u64,
    /// When the family was registered: nanoseconds since the Unix epoch.
    pub created_realtime_ns: u64,
    /// Zero.
    pub reserved: [u64; 13],
}

record!(FamilyRecord, 256, {
    state @ 0, kind @ 8, number @ 12, combine @ 16, aggregation @ 20, flags @ 24, label_count @ 28, name @ 32,
    help @ 40, unit @ 48, label_names @ 56, states @ 64, first_series @ 72, series_slots @ 76, cells_per_series @ 80,
    bounds_count @ 84, bounds_index @ 88, schema @ 96, label_area_len @ 100, label_area_offset @ 104, linger_ns @ 112,
    range_lower @ 120, range_upper @ 128, scale @ 136, created_realtime_ns @ 144, reserved @ 152,
});

impl Default for FamilyRecord {
    fn default() -> Self {
        Self { scale: 1f64.to_bits(), ..Self::zeroed() }
    }
}

/// Why a family can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FamilyError {
    /// Its state word is none of the known states.
    #[error("state word {0:#x} is not a state of this layout")]
    State(u64),
    /// A field holds a number that this layout gives no meaning.
    #[error("{field} is {value}, which this layout does not know")]
    Unknown {
        /// The field's name.
        field: &'static str,
        /// What was found.
        value: u32,
    },
    /// Its block of series is not all inside the series section.
    #[error("series {first}..+{slots} end outside the {capacity} slots of the region")]
    Series {
        /// First slot found.
        first: u32,
        /// Count found.
        slots: u32,
        /// Slots in the section.
        capacity: u64,
    },
    /// Its cells a series do not fit its kind.
    #[error("{found} cells a series where its kind takes {expected}")]
    Cells {
        /// Count found.
        found: u32,
        /// What kind, bounds and range ask for.
        expected: u64,
    },
    /// Its bounds are not all inside the bounds section.
    #[error("bounds {index}..+{count} end outside the {capacity} words of the section")]
    Bounds {
        /// First index found.
        index: u64,
        /// Count found.
        count: u32,
        /// Words in the section.
        capacity: u64,
    },
    /// Its label areas are not all inside their section.
    #[error("label areas at {offset}, {slots} of {len} bytes, end outside the section of {section} bytes")]
    LabelAreas {
        /// Offset found.
        offset: u64,
        /// Slots found.
        slots: u32,
        /// Bytes a slot found.
        len: u32,
        /// Length of the section.
        section: u64,
    },
    /// Schema or range of an exponential histogram make no buckets.
    #[error("schema {schema} with the range found makes no buckets")]
    Exponential {
        /// Schema found.
        schema: i32,
    },
}

impl FamilyRecord {
    /// Flag bit: label sets come and go; slots carry their labels in the family's label area.
    pub const FLAG_OPEN: u32 = 1;

    /// The record's state word.
    #[must_use]
    pub const fn slot(&self) -> SlotWord {
        SlotWord::from_bits(self.state)
    }

    /// Whether label sets come and go.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.flags & Self::FLAG_OPEN != 0
    }

    /// Kind, number and aggregation, checked.
    ///
    /// # Errors
    /// [`FamilyError::Unknown`] naming the first field whose value this layout does not know.
    pub fn meaning(&self) -> Result<(Kind, Number, Aggregation), FamilyError> {
        let unknown = |field, value| FamilyError::Unknown { field, value };
        let kind = Kind::from_wire(self.kind).ok_or_else(|| unknown("kind", self.kind))?;
        let number = Number::from_wire(self.number).ok_or_else(|| unknown("number", self.number))?;
        let aggregation =
            Aggregation::from_wire(self.aggregation).ok_or_else(|| unknown("aggregation", self.aggregation))?;
        if Combine::from_wire(self.combine) != Some(kind.combine()) {
            return Err(unknown("combine", self.combine));
        }
        Ok((kind, number, aggregation))
    }

    /// How many cells a series of this family must own, by kind, bounds and range.
    ///
    /// # Errors
    /// [`FamilyError`] where kind or range make no sense.
    pub fn expected_cells(&self) -> Result<u64, FamilyError> {
        let (kind, ..) = self.meaning()?;
        Ok(match kind {
            Kind::Info => 0,
            Kind::Counter | Kind::Gauge | Kind::StateSet => 1,
            Kind::UpDownCounter => 2,
            Kind::WatermarkMax | Kind::WatermarkMin => 4,
            Kind::HistogramBounds => u64::from(crate::bounds_cells(self.bounds_count)),
            Kind::HistogramExponential => {
                let (lower, upper) = (f64::from_bits(self.range_lower), f64::from_bits(self.range_upper));
                crate::exponential_cells(self.schema, lower, upper)
                    .map(u64::from)
                    .ok_or(FamilyError::Exponential { schema: self.schema })?
            }
        })
    }

    /// Checks a copied record against the region's capacities. The strings are checked where they are read.
    ///
    /// # Errors
    /// [`FamilyError`] naming the first field that is off.
    ///
    /// ```
    /// use tachograph_layout::*;
    /// let family = FamilyRecord {
    ///     state: SlotWord::new(0, SlotState::Live).bits(),
    ///     kind: Kind::Counter.to_wire(),
    ///     number: Number::U64.to_wire(),
    ///     combine: Combine::Sum.to_wire(),
    ///     aggregation: Aggregation::Sum.to_wire(),
    ///     series_slots: 3,
    ///     cells_per_series: 1,
    ///     ..FamilyRecord::default()
    /// };
    /// assert!(family.check(3, 0, 0).is_ok());
    /// assert!(matches!(family.check(2, 0, 0), Err(FamilyError::Series { .. })));
    /// ```
    pub fn check(&self, series: u64, bounds_words: u64, label_bytes: u64) -> Result<(), FamilyError> {
        if self.slot().state().is_none() {
            return Err(FamilyError::State(self.state));
        }
        if u64::from(self.first_series) + u64::from(self.series_slots) > series {
            return Err(FamilyError::Series { first: self.first_series, slots: self.series_slots, capacity: series });
        }
        let expected = self.expected_cells()?;
        if u64::from(self.cells_per_series) != expected {
            return Err(FamilyError::Cells { found: self.cells_per_series, expected });
        }
        if self.bounds_index.checked_add(u64::from(self.bounds_count)).is_none_or(|end| end > bounds_words) {
            return Err(FamilyError::Bounds {
                index: self.bounds_index,
                count: self.bounds_count,
                capacity: bounds_words,
            });
        }
        let areas = u64::from(self.series_slots) * u64::from(self.label_area_len);
        if self.is_open() && self.label_area_offset.checked_add(areas).is_none_or(|end| end > label_bytes) {
            return Err(FamilyError::LabelAreas {
                offset: self.label_area_offset,
                slots: self.series_slots,
                len: self.label_area_len,
                section: label_bytes,
            });
        }
        Ok(())
    }
}

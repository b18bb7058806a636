//! The hinge of the exporter: an owned, plain picture of one region. Only `reader.rs` takes it from a map; every output
//! renders from it, so all outputs agree.
//!
//! A snapshot borrows nothing and never changes. Values come out combined over lanes and scaled as they are shown.

use std::sync::Arc;

use tachograph_layout::Ordered;

use crate::RegionInfo;
use crate::schema::{Family, Kind, Number, Schema};
use crate::series::Series;

/// A region at one moment.
///
/// ```
/// use std::sync::Arc;
/// use tachograph_exporter::{Family, Kind, Number, RegionInfo, Schema, Series, Snapshot, Value};
/// let mut family = Family::new("app_served_total", "Requests served", Kind::Counter, Number::U64);
/// family.series = 0..1;
/// let series = Series {
///     family: 0, slot: 0, generation: 0, labels: "", created_realtime_ns: 0, retired: false, cell: 0, cells: 1,
/// };
/// let schema = Schema { families: vec![family], series: [series].into_iter().collect(), ..Schema::default() };
/// let snapshot = Snapshot::from_parts(RegionInfo::default(), Arc::new(schema), vec![7], vec![])?;
/// assert_eq!(snapshot.value(0), Value::U64(7));
/// # Ok::<(), tachograph_exporter::PartsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Facts about the region and its writer.
    pub region: RegionInfo,
    /// Its structure.
    pub schema: Arc<Schema>,
    /// Cells of a lane, combined over all lanes: index `Series::cell`.
    pub(crate) lane: Vec<u64>,
    /// First words of the shared plane's lines: index `Series::cell`.
    pub(crate) shared: Vec<u64>,
}

/// The value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer: counters.
    U64(u64),
    /// A signed integer: gauges, up-down counters, watermarks.
    I64(i64),
    /// A floating point number, scaled.
    F64(f64),
    /// A histogram.
    Histogram {
        /// Observations by bucket, not cumulative. The last is +Inf; an exponential histogram's first is the zero
        /// bucket. One more than the family's bounds. Their sum is the count.
        buckets: &'a [u64],
        /// Sum of the observations, scaled.
        sum: f64,
    },
    /// The states of a state set: bit `n` is on where the n-th state is.
    States(u64),
    /// An info: its labels are the information, its value is 1.
    Info,
}

/// Why parts make no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// A family's range of series is not inside the schema's series.
    #[error("family {family}: its series {start}..{end} end outside the schema's {series}")]
    SeriesRange {
        /// Index of the family.
        family: usize,
        /// Start of the range.
        start: usize,
        /// End of the range.
        end: usize,
        /// Series in the schema.
        series: usize,
    },
    /// A series does not name the family whose range it stands in, or stands in none.
    #[error("series {series} names family {found}, which does not list it")]
    Family {
        /// Index of the series.
        series: usize,
        /// The family that it names.
        found: usize,
    },
    /// A series' cells are not all there.
    #[error("series {series}: cells {cell}..+{cells} end outside the {len} given")]
    Cells {
        /// Index of the series.
        series: usize,
        /// First cell.
        cell: u64,
        /// Count of cells.
        cells: u32,
        /// Cells given.
        len: usize,
    },
    /// A series has another number of cells than its family's kind takes.
    #[error("series {series}: {found} cells where its family's kind takes {expected}")]
    Count {
        /// Index of the series.
        series: usize,
        /// Count of cells.
        found: u32,
        /// What kind and bounds ask for.
        expected: usize,
    },
}

impl Snapshot {
    /// A snapshot of something that is no region, such as a registry of the `prometheus` crate. `lane` holds the cells
    /// of lane kinds as a region's lanes would after combining (a float's bits, an up-down counter's ups and downs, a
    /// histogram's buckets and then its sum), `shared` one word for each gauge or state set.
    ///
    /// # Errors
    /// [`PartsError`] where an index leads outside.
    pub fn from_parts(
        region: RegionInfo,
        schema: Arc<Schema>,
        lane: Vec<u64>,
        shared: Vec<u64>,
    ) -> Result<Self, PartsError> {
        for (index, family) in schema.families.iter().enumerate() {
            if family.series.start > family.series.end || family.series.end > schema.series.len() {
                let (start, end) = (family.series.start, family.series.end);
                return Err(PartsError::SeriesRange { family: index, start, end, series: schema.series.len() });
            }
        }
        for (index, series) in schema.series.iter().enumerate() {
            let unlisted = PartsError::Family { series: index, found: series.family };
            let family = schema.families.get(series.family).filter(|family| family.series.contains(&index));
            let family = family.ok_or(unlisted)?;
            let expected = cells_of(family);
            if series.cells as usize != expected {
                return Err(PartsError::Count { series: index, found: series.cells, expected });
            }
            let plane = if family.kind.in_shared_plane() { &shared } else { &lane };
            if series.cell.checked_add(u64::from(series.cells)).is_none_or(|end| end > plane.len() as u64) {
                let (cell, cells) = (series.cell, series.cells);
                return Err(PartsError::Cells { series: index, cell, cells, len: plane.len() });
            }
        }
        Ok(Self { region, schema, lane, shared })
    }

    /// The value of a series, by its index in [`Schema::series`]. An index past the end gives [`Value::Info`].
    #[must_use]
    #[inline]
    pub fn value(&self, series: usize) -> Value<'_> {
        let Some(series) = self.schema.series.get(series) else { return Value::Info };
        let Some(family) = self.schema.families.get(series.family) else { return Value::Info };
        self.value_at(family, series.cell)
    }

    /// The value of a series of this family, by its first cell (or line of the shared plane).
    #[inline]
    pub(crate) fn value_at(&self, family: &Family, cell: u64) -> Value<'_> {
        match family.kind {
            Kind::Counter => scalar(family, word(&self.lane, cell)),
            Kind::Gauge => scalar(family, word(&self.shared, cell)),
            Kind::UpDownCounter => {
                let value = word(&self.lane, cell).wrapping_sub(word(&self.lane, cell.wrapping_add(1)));
                scalar_i64(family, value.cast_signed())
            }
            Kind::HistogramBounds | Kind::HistogramExponential => {
                let cells = words(&self.lane, cell, cells_of(family));
                let Some((sum, buckets)) = cells.split_last() else { return Value::Info };
                let sum = if family.number == Number::F64 { f64::from_bits(*sum) } else { *sum as f64 };
                Value::Histogram { buckets, sum: family.shown(sum) }
            }
            Kind::StateSet => Value::States(word(&self.shared, cell)),
            Kind::WatermarkMax | Kind::WatermarkMin => {
                let highest = word(&self.lane, cell).max(word(&self.lane, cell.wrapping_add(1)));
                match extreme(family, highest) {
                    Some(value) => value,
                    None if family.kind == Kind::WatermarkMin => Value::F64(f64::NAN),
                    None if family.number == Number::F64 => Value::F64(0.0),
                    None => scalar_i64(family, 0),
                }
            }
            Kind::Info => Value::Info,
        }
    }

    /// The cells that are the values of a family as they stand: of a counter of whole things.
    pub(crate) fn integers(&self, family: &Family) -> Option<&[u64]> {
        let plain = family.kind == Kind::Counter && family.number == Number::U64 && family.scale == 1.0;
        plain.then_some(&self.lane)
    }

    /// The extreme since start of a watermark and when it was seen, in nanoseconds since the Unix epoch; `None` for
    /// other kinds, and where nothing was recorded yet.
    #[must_use]
    pub fn since_start(&self, series: usize) -> Option<(Value<'_>, u64)> {
        let series = self.schema.series.get(series)?;
        let family = self.schema.families.get(series.family)?;
        if !matches!(family.kind, Kind::WatermarkMax | Kind::WatermarkMin) {
            return None;
        }
        let cell = |index| word(&self.lane, series.cell.wrapping_add(index));
        Some((extreme(family, cell(2))?, cell(3)))
    }

    /// Appends the raw words of a series of this snapshot: as many as its kind has, 0 for what is missing.
    pub(crate) fn append_cells(&self, series: &Series<'_>, out: &mut Vec<u64>) {
        let shared = self.schema.families.get(series.family).is_some_and(|family| family.kind.in_shared_plane());
        let (plane, end) = (if shared { &self.shared } else { &self.lane }, out.len() + series.cells as usize);
        out.extend_from_slice(words(plane, series.cell, series.cells as usize));
        out.resize(end, 0);
    }

    /// Gives the two buffers back, for [`crate::RegionReader::recycle`].
    pub(crate) fn into_buffers(self) -> (Vec<u64>, Vec<u64>) {
        (self.lane, self.shared)
    }
}

/// So many cells of a plane; none where they are not all there.
#[inline]
fn words(plane: &[u64], cell: u64, count: usize) -> &[u64] {
    let Ok(start) = usize::try_from(cell) else { return &[] };
    plane.get(start..start.saturating_add(count)).unwrap_or_default()
}

/// One cell of a plane; 0 where there is none.
#[inline]
fn word(plane: &[u64], cell: u64) -> u64 {
    usize::try_from(cell).ok().and_then(|cell| plane.get(cell)).copied().unwrap_or(0)
}

/// Cells that a series of a family owns, from what the owned family tells.
pub(crate) const fn cells_of(family: &Family) -> usize {
    match family.kind {
        Kind::Info => 0,
        Kind::Counter | Kind::Gauge | Kind::StateSet => 1,
        Kind::UpDownCounter => 2,
        Kind::WatermarkMax | Kind::WatermarkMin => 4,
        // The family's bounds, +Inf, the sum.
        Kind::HistogramBounds | Kind::HistogramExponential => family.bounds.len() + 2,
    }
}

fn scalar<'a>(family: &Family, bits: u64) -> Value<'a> {
    match family.number {
        Number::U64 if family.scale == 1.0 => Value::U64(bits),
        Number::U64 => Value::F64(family.shown(bits as f64)),
        Number::I64 => scalar_i64(family, bits.cast_signed()),
        Number::F64 => Value::F64(family.shown(f64::from_bits(bits))),
    }
}

fn scalar_i64<'a>(family: &Family, value: i64) -> Value<'a> {
    if family.scale == 1.0 { Value::I64(value) } else { Value::F64(family.shown(value as f64)) }
}

/// The value that a watermark's word stands for.
fn extreme<'a>(family: &Family, word: u64) -> Option<Value<'a>> {
    let ordered = Ordered::from_bits(word)?;
    let ordered = if family.kind == Kind::WatermarkMin { ordered.reversed() } else { ordered };
    Some(match family.number {
        Number::F64 => Value::F64(family.shown(ordered.to_f64())),
        Number::U64 | Number::I64 => scalar_i64(family, ordered.to_i64()),
    })
}

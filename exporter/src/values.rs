//! Reads the cells: all lanes ever used, combined into one plane, and the first words of the shared plane.
//!
//! Called by `reader.rs`. Work is bounded by the sections, which were checked against the file's length; the plan comes
//! from a checked schema. Cells carry statistics and publish nothing, so their loads are Relaxed.

use std::sync::atomic::AtomicU64;

use tachograph_layout::{Control, LANE_HEADER_CELLS, Section, SectionKind, SectionTable, WordView, downs_then_ups};

use crate::schema::{Kind, Number, Schema};

/// Cells that are summed over all lanes at a time: small enough that a tile of every lane stays in the nearest cache.
const TILE: u64 = 512;

/// Which cells are to be read, and which of them are not just added up. Made once for a schema.
#[derive(Debug, Default)]
pub(crate) struct ReadPlan {
    /// Cells of a lane up to the highest that a series owns; at least the lane's header.
    cells: u64,
    /// Lines of the shared plane up to the highest that a series owns.
    lines: u64,
    /// Cells that count the downs of up-down counters, ascending.
    downs: Vec<u64>,
    /// Cells that hold an f64, ascending.
    floats: Vec<u64>,
    /// First cells of watermarks, ascending.
    extremes: Vec<u64>,
}

impl ReadPlan {
    /// The plan for a schema.
    pub(crate) fn new(schema: &Schema) -> Self {
        let mut plan = Self { cells: LANE_HEADER_CELLS as u64, ..Self::default() };
        for family in &schema.families {
            for series in schema.series.range(family.series.clone()) {
                let end = series.cell.saturating_add(u64::from(series.cells));
                if family.kind.in_shared_plane() {
                    plan.lines = plan.lines.max(end);
                } else if series.cells > 0 {
                    plan.cells = plan.cells.max(end);
                }
                match (family.kind, family.number) {
                    (Kind::UpDownCounter, _) => plan.downs.push(series.cell + 1),
                    (Kind::Counter, Number::F64) => plan.floats.push(series.cell),
                    (Kind::HistogramBounds | Kind::HistogramExponential, Number::F64) => plan.floats.push(end - 1),
                    (Kind::WatermarkMax | Kind::WatermarkMin, _) => plan.extremes.push(series.cell),
                    _ => {}
                }
            }
        }
        for cells in [&mut plan.downs, &mut plan.floats, &mut plan.extremes] {
            cells.sort_unstable();
            // Only in a damaged region do two series own one cell; it must not be added up twice.
            cells.dedup();
        }
        plan
    }

    /// Cells that count the downs of up-down counters, ascending; the ups of each stand one before.
    pub(crate) fn downs(&self) -> &[u64] {
        &self.downs
    }
}

/// How many lanes may hold values: what the region says, taken into 1 to what it has.
pub(crate) fn lanes_used(view: WordView<'_>, sections: &SectionTable) -> u64 {
    let used = view.load(Control::LANES_USED).unwrap_or(1);
    used.clamp(1, sections.section(SectionKind::Lanes).count.max(1))
}

/// Reads all cells of the plan into `lane` and `shared`, which are overwritten.
pub(crate) fn read(
    view: WordView<'_>,
    sections: &SectionTable,
    plan: &ReadPlan,
    lane: &mut Vec<u64>,
    shared: &mut Vec<u64>,
) {
    let lanes = sections.section(SectionKind::Lanes);
    let mut downs = vec![0; plan.downs.len()];
    downs_then_ups::<AtomicU64, _, _>(
        || read_downs(view, lanes, lanes_used(view, sections), &plan.downs, &mut downs),
        || {
            // A lane that was claimed meanwhile counts, too, so the number is loaded again.
            let used = lanes_used(view, sections);
            read_tiles(view, lanes, used, plan, lane);
            read_extremes(view, lanes, used, &plan.extremes, lane);
        },
    );
    for (cell, value) in plan.downs.iter().zip(downs) {
        put(lane, *cell, value);
    }
    shared.clear();
    let section = sections.section(SectionKind::Shared);
    shared.extend((0..plan.lines.min(section.count)).map(|line| load(view, section, line, 0)));
}

/// Adds the downs up over all lanes, tile by tile so that lines are not fetched twice.
fn read_downs(view: WordView<'_>, lanes: Section, used: u64, cells: &[u64], sums: &mut [u64]) {
    let mut sums = sums;
    for tile in cells.chunk_by(|a, b| a / TILE == b / TILE) {
        let (here, rest) = std::mem::take(&mut sums).split_at_mut(tile.len());
        sums = rest;
        for lane in 0..used {
            for (cell, sum) in tile.iter().zip(&mut *here) {
                *sum = sum.wrapping_add(load(view, lanes, lane, *cell));
            }
        }
    }
}

fn read_tiles(view: WordView<'_>, lanes: Section, used: u64, plan: &ReadPlan, out: &mut Vec<u64>) {
    let cells = plan.cells.min(lanes.stride / 8);
    out.clear();
    out.resize(cells as usize, 0);
    let mut floats = plan.floats.as_slice();
    let mut start = 0;
    for tile in out.chunks_mut(TILE as usize) {
        let end = start + tile.len() as u64;
        let here = floats.partition_point(|cell| *cell < end);
        let (these, rest) = floats.split_at(here);
        floats = rest;
        // The tile is inside each lane, and the lanes inside the file, so nothing is left out here.
        view.add_into((0..used).filter_map(|lane| lanes.entry(lane)).map(|base| base + start * 8), tile);
        // Floats were added up as if they were integers; while their tile is in the cache, do it right.
        for cell in these {
            let sum = (0..used).fold(0.0, |sum, lane| sum + f64::from_bits(load(view, lanes, lane, *cell)));
            put(tile, cell - start, sum.to_bits());
        }
        start = end;
    }
}

/// Combines watermarks by the largest word; the time of the extreme since start is that of the lane that has it.
fn read_extremes(view: WordView<'_>, lanes: Section, used: u64, firsts: &[u64], out: &mut [u64]) {
    for first in firsts {
        let mut best = [0_u64; 4];
        for lane in 0..used {
            let cell = |index| load(view, lanes, lane, first + index);
            best[0] = best[0].max(cell(0));
            best[1] = best[1].max(cell(1));
            if cell(2) > best[2] {
                (best[2], best[3]) = (cell(2), cell(3));
            }
        }
        for (index, word) in (0..).zip(best) {
            put(out, first + index, word);
        }
    }
}

/// One cell of one lane; 0 where there is none, which a checked plan never asks for.
#[inline]
fn load(view: WordView<'_>, section: Section, entry: u64, cell: u64) -> u64 {
    section.entry(entry).and_then(|base| view.load(base + cell * 8)).unwrap_or(0)
}

#[inline]
fn put(cells: &mut [u64], cell: u64, value: u64) {
    if let Some(word) = cells.get_mut(cell as usize) {
        *word = value;
    }
}

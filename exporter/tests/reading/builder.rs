//! Lays region files out by hand, byte by byte, from the layout crate alone: what the tests read does not depend on
//! the writer.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use tachograph_exporter::json::Now;
use tachograph_layout::{
    Aggregation, Control, FamilyRecord, Geometry, Header, Kind, LANE_HEADER_CELLS, LAYOUT_MAJOR, Layout, MemoryLock,
    Number, RegionState, SectionKind, SeriesRecord, SlotState, SlotWord, StrRef, Words, bounds_cells,
    exponential_cells,
};

/// Lanes of every region built here; lane 2 is used last.
pub(crate) const LANES: u64 = 3;

/// A region being laid out.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) layout: Layout,
    pub(crate) bytes: Vec<u8>,
    strings: u64,
    label_areas: u64,
    series: u64,
    families: u64,
    cells: u64,
    shared: u64,
    bounds: u64,
}

/// A family to lay out; `FamilySpec::of` fills in what most tests do not care about.
#[derive(Debug, Clone)]
pub(crate) struct FamilySpec<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) number: Number,
    pub(crate) unit: &'a str,
    pub(crate) label_names: &'a [&'a str],
    /// One block a series; an empty one where there are no labels.
    pub(crate) blocks: &'a [&'a str],
    pub(crate) bounds: &'a [f64],
    pub(crate) exponential: (i32, f64, f64),
    pub(crate) states: &'a [&'a str],
    pub(crate) scale: f64,
    /// Free slots of an open family, beyond its blocks; `None` for a closed one.
    pub(crate) open: Option<u32>,
}

impl<'a> FamilySpec<'a> {
    pub(crate) fn of(name: &'a str, kind: Kind, number: Number) -> Self {
        Self {
            name,
            kind,
            number,
            unit: "",
            label_names: &[],
            blocks: &[""],
            bounds: &[],
            exponential: (0, 1.0, 8.0),
            states: &[],
            scale: 1.0,
            open: None,
        }
    }
}

/// Where a laid-out family stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) family: u64,
    pub(crate) slot: u64,
    /// First cell (or line) of the first series.
    pub(crate) cell: u64,
}

impl Region {
    pub(crate) fn new(name: &str) -> Self {
        Self::of_series(name, 128)
    }

    /// One with room for that many series.
    pub(crate) fn of_series(name: &str, series: u32) -> Self {
        let geometry = Geometry {
            families: 32,
            series,
            string_bytes: 8 * 1024,
            label_bytes: 8 * 1024,
            bounds: 256,
            shared: series.max(64),
            cells: 8_192 - LANE_HEADER_CELLS as u32,
            lanes: LANES as u32,
            activities: 4,
        };
        let layout = geometry.layout().expect("the test's geometry is in range");
        let mut header: Header = bytemuck::Zeroable::zeroed();
        header.magic = Header::MAGIC;
        header.layout_major = LAYOUT_MAJOR;
        header.byte_order = Header::BYTE_ORDER;
        header.header_len = 4096;
        header.file_len = layout.file_len();
        header.uuid = *uuid::Uuid::new_v4().as_bytes();
        header.boot_id = boot_id();
        header.pid = std::process::id();
        header.created_realtime_ns = 1_700_000_000_000_000_000;
        // No test takes so long that its writer would be taken for hung.
        header.tick_period_ns = 60_000_000_000;
        header.created_monotonic_ns = Now::read().monotonic_ns;
        header.memory_lock = MemoryLock::Held.to_wire();
        header.name_len = name.len() as u32;
        header.name[..name.len()].copy_from_slice(name.as_bytes());
        header.host[..4].copy_from_slice(b"ho\x1bt");
        header.host_len = 4;
        let entries = layout.entries();
        header.section_count = entries.len() as u32;
        header.sections[..entries.len()].copy_from_slice(&entries);
        let mut region = Self {
            name: name.to_owned(),
            bytes: vec![0; layout.file_len() as usize],
            layout,
            strings: 0,
            label_areas: 0,
            series: 0,
            families: 0,
            cells: LANE_HEADER_CELLS as u64,
            shared: 0,
            bounds: 0,
        };
        region.bytes[..4096].copy_from_slice(bytemuck::bytes_of(&header));
        region.control(Control::STATE, RegionState::Live.to_wire());
        region.control(Control::LANES_USED, LANES);
        region.control(Control::CELLS_USED, region.cells);
        region
    }

    /// One region with a family of each kind; every test that only needs "a region" takes it.
    pub(crate) fn full(name: &str) -> Self {
        let mut region = Self::new(name);
        let served = region.family(&FamilySpec {
            unit: "bytes",
            label_names: &["actor", "zone"],
            blocks: &[r#"actor="a",zone="\"q\"""#, r#"actor="b",zone="é\\""#],
            ..FamilySpec::of("app_served_bytes_total", Kind::Counter, Number::U64)
        });
        region.lane(0, served.cell, 1);
        region.lane(1, served.cell, 20);
        region.lane(2, served.cell, 300);
        region.lane(2, served.cell + 1, 7);
        let spent = region.family(&FamilySpec::of("app_spent_total", Kind::Counter, Number::F64));
        region.lane_f64(0, spent.cell, 0.5);
        region.lane_f64(2, spent.cell, 0.25);
        let depth = region.family(&FamilySpec::of("app_depth", Kind::Gauge, Number::I64));
        region.line(depth.cell, (-3_i64).cast_unsigned());
        let load = region.family(&FamilySpec::of("app_load", Kind::Gauge, Number::F64));
        region.line(load.cell, 0.75_f64.to_bits());
        let live = region.family(&FamilySpec::of("app_live", Kind::UpDownCounter, Number::I64));
        region.lane(0, live.cell, 10);
        region.lane(1, live.cell + 1, 4);
        region.lane(2, live.cell, 1);
        let seconds = region.family(&FamilySpec {
            unit: "seconds",
            bounds: &[0.1, 1.0],
            ..FamilySpec::of("app_wait_seconds", Kind::HistogramBounds, Number::F64)
        });
        for (lane, cell, count) in [(0, 0, 2), (1, 0, 3), (1, 1, 4), (2, 2, 5)] {
            region.lane(lane, seconds.cell + cell, count);
        }
        region.lane_f64(0, seconds.cell + 3, 1.5);
        region.lane_f64(1, seconds.cell + 3, 2.25);
        let nanoseconds = region.family(&FamilySpec {
            bounds: &[3_000_000.0, 5_000_000.0],
            scale: 1e-9,
            ..FamilySpec::of("app_step_seconds", Kind::HistogramBounds, Number::U64)
        });
        region.lane(1, nanoseconds.cell, 1);
        region.lane(1, nanoseconds.cell + 3, 2_000_000);
        region.lane(2, nanoseconds.cell + 3, 1_000_000);
        let exponential = region.family(&FamilySpec::of("app_sizes", Kind::HistogramExponential, Number::U64));
        region.lane(0, exponential.cell + 1, 6);
        region.lane(0, exponential.cell + 5, 12);
        let peak = region.family(&FamilySpec::of("app_peak", Kind::WatermarkMax, Number::I64));
        let word = |value| tachograph_layout::Ordered::from_i64(value);
        region.lane(0, peak.cell, word(-5).bits());
        region.lane(1, peak.cell + 1, word(9).bits());
        region.lane(1, peak.cell + 2, word(9).bits());
        region.lane(1, peak.cell + 3, 1_111);
        region.lane(2, peak.cell + 2, word(12).bits());
        region.lane(2, peak.cell + 3, 900);
        let low = region.family(&FamilySpec::of("app_low", Kind::WatermarkMin, Number::F64));
        for (lane, value) in [(0, 2.5), (1, -1.5)] {
            region.lane(lane, low.cell, tachograph_layout::Ordered::from_f64(value).reversed().bits());
        }
        region.family(&FamilySpec::of("app_lowest", Kind::WatermarkMin, Number::I64));
        region.family(&FamilySpec {
            label_names: &["version"],
            blocks: &[r#"version="1.2""#],
            ..FamilySpec::of("app_build_info", Kind::Info, Number::U64)
        });
        let phase = region.family(&FamilySpec {
            states: &["starting", "up"],
            ..FamilySpec::of("app_phase", Kind::StateSet, Number::U64)
        });
        region.line(phase.cell, 0b10);
        region.family(&FamilySpec {
            label_names: &["peer"],
            blocks: &[r#"overflow="true""#, r#"peer="x""#],
            open: Some(2),
            ..FamilySpec::of("app_peers_total", Kind::Counter, Number::U64)
        });
        region
    }

    pub(crate) fn family(&mut self, spec: &FamilySpec<'_>) -> Place {
        let slots = spec.blocks.len() as u32 + spec.open.unwrap_or(0);
        let cells = match spec.kind {
            Kind::Info => 0,
            Kind::Counter | Kind::Gauge | Kind::StateSet => 1,
            Kind::UpDownCounter => 2,
            Kind::WatermarkMax | Kind::WatermarkMin => 4,
            Kind::HistogramBounds => bounds_cells(spec.bounds.len() as u32),
            Kind::HistogramExponential => {
                let (schema, lower, upper) = spec.exponential;
                exponential_cells(schema, lower, upper).expect("the test's range makes buckets")
            }
        };
        let exponential = spec.kind == Kind::HistogramExponential;
        let area = 64;
        let label_area_offset = self.label_areas;
        let states: String = spec.states.iter().map(|state| format!("{state}\0")).collect();
        let record = FamilyRecord {
            state: SlotWord::new(0, SlotState::Live).bits(),
            kind: spec.kind.to_wire(),
            number: spec.number.to_wire(),
            combine: spec.kind.combine().to_wire(),
            aggregation: Aggregation::Sum.to_wire(),
            flags: u32::from(spec.open.is_some()),
            label_count: spec.label_names.len() as u32,
            name: self.string(spec.name),
            help: self.string("What it \"is\".\nTwo lines."),
            unit: self.string(spec.unit),
            label_names: self.string(&spec.label_names.join(",")),
            states: self.string(&states),
            first_series: self.series as u32,
            series_slots: slots,
            cells_per_series: cells,
            bounds_count: spec.bounds.len() as u32,
            bounds_index: self.bounds,
            schema: if exponential { spec.exponential.0 } else { 0 },
            label_area_len: if spec.open.is_some() { area } else { 0 },
            label_area_offset,
            range_lower: if exponential { spec.exponential.1.to_bits() } else { 0 },
            range_upper: if exponential { spec.exponential.2.to_bits() } else { 0 },
            scale: spec.scale.to_bits(),
            created_realtime_ns: 1_700_000_000_000_000_001,
            ..FamilyRecord::default()
        };
        for bound in spec.bounds {
            let bits = if spec.number == Number::U64 { *bound as u64 } else { bound.to_bits() };
            self.word(self.layout.section(SectionKind::Bounds).offset + self.bounds * 8, bits);
            self.bounds += 1;
        }
        let shared = spec.kind.in_shared_plane();
        let place =
            Place { family: self.families, slot: self.series, cell: if shared { self.shared } else { self.cells } };
        self.record(SectionKind::Families, place.family, &record);
        for (index, block) in (0..).zip(spec.blocks) {
            let labels = if spec.open.is_some() {
                let offset = label_area_offset + index * u64::from(area);
                let base = (self.layout.section(SectionKind::LabelAreas).offset + offset) as usize;
                self.bytes[base..base + block.len()].copy_from_slice(block.as_bytes());
                StrRef { offset: offset as u32, len: block.len() as u32 }
            } else {
                self.string(block)
            };
            let series = SeriesRecord {
                state: SlotWord::new(0, SlotState::Live).bits(),
                family: place.family as u32,
                cells,
                cell: place.cell + index * u64::from(cells),
                labels,
                labels_hash: labels_hash(block),
                created_realtime_ns: 1_700_000_000_000_000_002,
                ..SeriesRecord::default()
            };
            self.record(SectionKind::Series, place.slot + index, &series);
        }
        self.families += 1;
        self.series += u64::from(slots);
        *(if shared { &mut self.shared } else { &mut self.cells }) += u64::from(slots * cells);
        if spec.open.is_some() {
            self.label_areas += u64::from(slots * area);
        }
        for (offset, value) in [
            (Control::FAMILIES_USED, self.families),
            (Control::SERIES_USED, self.series),
            (Control::STRINGS_USED, self.strings),
            (Control::LABEL_AREAS_USED, self.label_areas),
            (Control::CELLS_USED, self.cells),
            (Control::SHARED_USED, self.shared),
            (Control::BOUNDS_USED, self.bounds),
        ] {
            self.control(offset, value);
        }
        place
    }

    pub(crate) fn string(&mut self, text: &str) -> StrRef {
        let offset = self.strings;
        let base = (self.layout.section(SectionKind::Strings).offset + offset) as usize;
        self.bytes[base..base + text.len()].copy_from_slice(text.as_bytes());
        self.strings += (text.len() as u64).next_multiple_of(8);
        StrRef { offset: offset as u32, len: text.len() as u32 }
    }

    pub(crate) fn record<T: Words>(&mut self, section: SectionKind, index: u64, record: &T) {
        let entry = self.entry(section, index) as usize;
        self.bytes[entry..entry + size_of::<T>()].copy_from_slice(bytemuck::bytes_of(record));
    }

    /// Changes a record in place.
    pub(crate) fn edit<T: Words>(&mut self, section: SectionKind, index: u64, edit: impl FnOnce(&mut T)) {
        let entry = self.entry(section, index) as usize;
        let mut record: T = bytemuck::pod_read_unaligned(&self.bytes[entry..entry + size_of::<T>()]);
        edit(&mut record);
        self.record(section, index, &record);
    }

    pub(crate) fn entry(&self, section: SectionKind, index: u64) -> u64 {
        self.layout.section(section).entry(index).expect("the test names an entry of the section")
    }

    pub(crate) fn word(&mut self, offset: u64, value: u64) {
        let offset = offset as usize;
        self.bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn control(&mut self, offset: u64, value: u64) {
        self.word(offset, value);
    }

    pub(crate) fn lane(&mut self, lane: u64, cell: u64, value: u64) {
        self.word(self.entry(SectionKind::Lanes, lane) + cell * 8, value);
    }

    pub(crate) fn lane_f64(&mut self, lane: u64, cell: u64, value: f64) {
        self.lane(lane, cell, value.to_bits());
    }

    /// The first word of a line of the shared plane.
    pub(crate) fn line(&mut self, line: u64, value: u64) {
        self.word(self.entry(SectionKind::Shared, line), value);
    }

    /// Writes the file under the name that goes with its lock, without making the lock.
    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("{}.tacho", self.name));
        std::fs::write(&path, &self.bytes).expect("the test's directory takes files");
        path
    }
}

/// A fresh directory on tmpfs.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("/dev/shm takes directories")
}

/// Makes the lock file of a region without taking the lock.
pub(crate) fn lock_file(directory: &Path, name: &str) -> File {
    let path = directory.join(format!("{name}.lock"));
    File::options().create(true).truncate(false).read(true).write(true).open(path).expect("the lock file can be made")
}

/// Takes the lock as a living writer does; it is held until the file is dropped.
pub(crate) fn hold_lock(directory: &Path, name: &str) -> File {
    let file = lock_file(directory, name);
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&whole)).expect("nobody else holds the test's lock");
    file
}

fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the test runs on Linux");
    text.trim().parse::<uuid::Uuid>().expect("a boot id is a uuid").into_bytes()
}

/// FNV-1a, 64 bits, of a label block.
fn labels_hash(block: &str) -> u64 {
    block.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

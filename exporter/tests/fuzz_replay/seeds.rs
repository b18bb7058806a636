//! Region files of every sort, small: laid out by hand, by a real writer, and the golden ones.

use std::path::Path;

use tachograph_exporter::{Kind, Number};
use tachograph_layout::{Control, NoteRecord, RegionState, SectionKind, SeriesRecord, SlotState, SlotWord};

use crate::builder::{FamilySpec, Region};
use crate::packed::{Case, Lock, NAME};

/// All seeds by name.
pub(crate) fn all() -> Vec<(&'static str, Case)> {
    let full = Region::full(NAME);
    let mut closed = full.clone();
    closed.control(Control::STATE, RegionState::Closed.to_wire());
    let mut torn = full.clone();
    torn.control(Control::STRUCTURE, 7);
    torn.edit::<SeriesRecord>(SectionKind::Series, 15, |series| {
        series.state = SlotWord::new(3, SlotState::Building).bits();
    });
    let mut retired = full.clone();
    retired.edit::<SeriesRecord>(SectionKind::Series, 15, |series| {
        series.state = SlotWord::new(3, SlotState::Retired).bits();
    });
    retired.edit::<NoteRecord>(SectionKind::Notes, 0, |note| {
        (note.sequence, note.level, note.len) = (1, 2, 5);
        note.text[..5].copy_from_slice(b"hello");
    });
    let mut later = case(&full, Lock::Held);
    later.later = vec![(4224 / 8, 1), (4352 / 8, 14), (4224 / 8, 2)];
    vec![
        ("empty-ish", case(&one(), Lock::Missing)),
        ("copy", case(&full, Lock::Missing)),
        ("crashed", case(&full, Lock::Free)),
        ("running", case(&full, Lock::Held)),
        ("running-changed", later),
        ("closed", case(&closed, Lock::Free)),
        ("torn", case(&torn, Lock::Free)),
        ("torn-alive", case(&torn, Lock::Held)),
        ("retired", case(&retired, Lock::Held)),
        ("many-series", case(&many(), Lock::Held)),
        ("histograms", case(&histograms(), Lock::Free)),
        ("golden", golden("layout-1.tacho")),
        ("golden-kinds", golden("layout-1-kinds.tacho")),
        ("written", written()),
    ]
}

fn case(region: &Region, lock: Lock) -> Case {
    Case { raw_header: false, lock, bytes: region.bytes.clone(), later: Vec::new() }
}

fn one() -> Region {
    let mut region = Region::new(NAME);
    region.family(&FamilySpec::of("app_up", Kind::Gauge, Number::F64));
    region
}

fn many() -> Region {
    let mut region = Region::new(NAME);
    let blocks: Vec<String> = (0..110).map(|index| format!("shard=\"{index}\"")).collect();
    let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
    let spec = FamilySpec::of("app_shards_total", Kind::Counter, Number::U64);
    let place = region.family(&FamilySpec { label_names: &["shard"], blocks: &blocks, ..spec });
    for cell in 0..110 {
        region.lane(cell % 3, place.cell + cell, cell + 1);
    }
    region
}

fn histograms() -> Region {
    let mut region = Region::new(NAME);
    for (name, schema, upper) in [("app_fine", 5, 1024.0), ("app_coarse", 0, 1e9), ("app_default", 3, 64.0)] {
        let spec = FamilySpec::of(name, Kind::HistogramExponential, Number::F64);
        let place = region.family(&FamilySpec { exponential: (schema, 1.0, upper), ..spec });
        region.lane(1, place.cell + 2, 40);
    }
    let bounds: Vec<f64> = (1..100).map(f64::from).collect();
    region.family(&FamilySpec { bounds: &bounds, ..FamilySpec::of("app_wide", Kind::HistogramBounds, Number::F64) });
    region
}

fn golden(file: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(file);
    let bytes = std::fs::read(path).expect("the golden region");
    Case { raw_header: false, lock: Lock::Missing, bytes, later: Vec::new() }
}

/// A region of a real writer, as it stands while it lives.
fn written() -> Case {
    let folder = crate::builder::directory();
    let builder = tachograph::Region::builder(NAME).dir(folder.path()).lanes(2).series(64).families(16).cells(256);
    let region = builder.build().expect("a region");
    region.counter("app_served_total", "Requests served").expect("a counter").add(7);
    region.gauge::<i64>("app_depth", "Depth").expect("a gauge").set(-4);
    region.updown_counter("app_live", "Living").expect("an up-down counter").add(3);
    region.watermark_max("app_peak", "Peak").expect("a watermark").record(11);
    region.float_counter("app_spent_seconds_total", "Spent").expect("a counter").add(0.5);
    let bytes = std::fs::read(region.path().expect("a file")).expect("its bytes");
    region.close();
    Case { raw_header: false, lock: Lock::Held, bytes, later: Vec::new() }
}

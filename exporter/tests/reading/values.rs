//! What a snapshot shows: structure and combined values.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tachograph_exporter::{Kind, RegionReader, Snapshot, Value};
use tachograph_layout::{Control, FamilyRecord, SectionKind, SeriesRecord, SlotState, SlotWord};

use crate::builder::{LANES, Region, directory};

fn snapshot(region: &Region) -> Snapshot {
    let directory = directory();
    RegionReader::open(&region.write(directory.path())).unwrap().snapshot().unwrap()
}

fn value<'a>(snapshot: &'a Snapshot, name: &str) -> Value<'a> {
    let family = snapshot.schema.families.iter().find(|family| family.name == name).unwrap();
    snapshot.value(family.series.start)
}

#[test]
fn every_kind_has_its_lanes_combined() {
    let snapshot = snapshot(&Region::full("mc-0"));
    assert_eq!(snapshot.schema.damaged, []);
    assert_eq!(value(&snapshot, "app_served_bytes_total"), Value::U64(321));
    assert_eq!(value(&snapshot, "app_spent_total"), Value::F64(0.75));
    assert_eq!(value(&snapshot, "app_depth"), Value::I64(-3));
    assert_eq!(value(&snapshot, "app_load"), Value::F64(0.75));
    assert_eq!(value(&snapshot, "app_live"), Value::I64(7));
    assert_eq!(value(&snapshot, "app_wait_seconds"), Value::Histogram { buckets: &[5, 4, 5], sum: 3.75 });
    assert_eq!(value(&snapshot, "app_step_seconds"), Value::Histogram { buckets: &[1, 0, 0], sum: 0.003 });
    assert_eq!(value(&snapshot, "app_sizes"), Value::Histogram { buckets: &[0, 6, 0, 0, 0], sum: 12.0 });
    assert_eq!(value(&snapshot, "app_peak"), Value::I64(9));
    assert_eq!(value(&snapshot, "app_low"), Value::F64(-1.5));
    assert!(matches!(value(&snapshot, "app_lowest"), Value::F64(nan) if nan.is_nan()));
    assert_eq!(value(&snapshot, "app_build_info"), Value::Info);
    assert_eq!(value(&snapshot, "app_phase"), Value::States(0b10));
    let peak = snapshot.schema.families.iter().find(|family| family.name == "app_peak").unwrap();
    assert_eq!(snapshot.since_start(peak.series.start), Some((Value::I64(12), 900)));
    assert_eq!(snapshot.value(usize::MAX), Value::Info);
}

#[test]
fn structure_is_owned_text() {
    let snapshot = snapshot(&Region::full("mc-0"));
    let family = &snapshot.schema.families[0];
    assert_eq!((family.unit.as_str(), family.help.as_str()), ("bytes", "What it \"is\".\nTwo lines."));
    assert_eq!(family.label_names, ["actor", "zone"]);
    assert_eq!(family.series, 0..2);
    assert_eq!(snapshot.schema.series.get(0).expect("a series").labels, r#"actor="a",zone="\"q\"""#);
    assert_eq!(snapshot.value(1), Value::U64(7));
    let find = |name: &str| snapshot.schema.families.iter().find(|family| family.name == name).unwrap();
    assert_eq!(find("app_wait_seconds").bounds, [0.1, 1.0]);
    assert_eq!(find("app_step_seconds").bounds, [0.003, 0.005]);
    assert_eq!(find("app_sizes").bounds, [1.0, 2.0, 4.0, 8.0]);
    assert_eq!(find("app_phase").states, ["starting", "up"]);
    let peers = find("app_peers_total");
    assert!(peers.open && peers.kind == Kind::Counter);
    let labels: Vec<_> = snapshot.schema.series.range(peers.series.clone()).map(|series| series.labels).collect();
    assert_eq!(labels, [r#"overflow="true""#, r#"peer="x""#]);
}

#[test]
fn facts_come_with_the_values() {
    let mut region = Region::full("mc-0");
    region.lane(0, 0, 2);
    region.lane(2, 0, 3);
    region.control(Control::LANE_OVERFLOWS, 4);
    let info = snapshot(&region).region;
    assert_eq!((info.name.as_str(), info.host.as_str()), ("mc-0", "ho\u{fffd}t"));
    assert_eq!((info.dropped_observations, info.lane_overflows), (5, 4));
    assert_eq!((info.capacity.lanes.used, info.capacity.lanes.capacity), (LANES, LANES));
    assert_eq!((info.capacity.families.used, info.capacity.families.capacity), (14, 32));
    assert!(info.memory_locked && !info.archived && !info.unlinked);
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!((json["verdict"].as_str(), json["state"].as_str()), (Some("copy"), Some("live")));
    assert_eq!(json["uuid"].as_str().map(str::len), Some(32));
}

#[test]
fn lanes_never_used_are_not_read() {
    let mut region = Region::full("mc-0");
    region.control(Control::LANES_USED, 2);
    assert_eq!(value(&snapshot(&region), "app_served_bytes_total"), Value::U64(21));
    for (lanes, expected) in [(0, 1), (99, 321)] {
        region.control(Control::LANES_USED, lanes);
        assert_eq!(value(&snapshot(&region), "app_served_bytes_total"), Value::U64(expected), "{lanes} lanes");
    }
}

#[test]
fn unchanged_structure_is_shared_and_growth_is_seen() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    let path = region.write(directory.path());
    let reader = RegionReader::open(&path).unwrap();
    let first = reader.snapshot().unwrap();
    let second = reader.snapshot().unwrap();
    assert!(Arc::ptr_eq(&first.schema, &second.schema));
    reader.recycle(second);

    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let cell = first.schema.series.get(0).expect("a series").cell;
    file.write_all_at(&9_u64.to_le_bytes(), region.entry(SectionKind::Lanes, 0) + cell * 8).unwrap();
    let third = reader.snapshot().unwrap();
    assert!(Arc::ptr_eq(&first.schema, &third.schema));
    assert_eq!(third.value(0), Value::U64(329));
    assert_eq!(first.value(0), Value::U64(321));

    let late = crate::builder::FamilySpec::of("app_late_total", Kind::Counter, tachograph_exporter::Number::U64);
    region.family(&late);
    file.write_all_at(&region.bytes, 0).unwrap();
    let fourth = reader.snapshot().unwrap();
    assert_eq!(fourth.schema.families.len(), first.schema.families.len() + 1);
    assert_eq!(value(&fourth, "app_late_total"), Value::U64(0));
}

#[test]
fn open_slots_are_followed_without_any_other_word() {
    let directory = directory();
    let region = Region::full("mc-0");
    let path = region.write(directory.path());
    let reader = RegionReader::open(&path).unwrap();
    let first = reader.snapshot().unwrap();
    let peer = first.schema.series.iter().find(|series| series.labels == r#"peer="x""#).unwrap();
    let state = region.entry(SectionKind::Series, u64::from(peer.slot));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let store = |word: SlotWord| file.write_all_at(&word.bits().to_le_bytes(), state).unwrap();
    let shown = || {
        let snapshot = reader.snapshot().unwrap();
        let series = snapshot.schema.series.iter().find(|series| series.slot == peer.slot);
        series.map(|series| (series.generation, series.retired))
    };
    store(SlotWord::new(0, SlotState::Retired));
    assert_eq!(shown(), Some((0, true)));
    store(SlotWord::new(1, SlotState::Building));
    assert_eq!(shown(), None);
    store(SlotWord::new(1, SlotState::Live));
    assert_eq!(shown(), Some((1, false)));
    store(SlotWord::new(1, SlotState::Free));
    assert_eq!(shown(), None);
}

/// Linger is counted on the writer's clock: the machine's while it lives, its last tick's once it is dead.
#[test]
fn a_retired_series_is_shown_until_its_linger_ends() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    region.control(Control::TICK_MONOTONIC_NS, 1_000);
    let families = region.layout.section(SectionKind::Families).count;
    for family in 0..families {
        region.edit::<FamilyRecord>(SectionKind::Families, family, |family| family.linger_ns = 100);
    }
    let path = region.write(directory.path());
    let reader = RegionReader::open(&path).unwrap();
    let first = reader.snapshot().unwrap();
    let peer = first.schema.series.iter().find(|series| series.labels == r#"peer="x""#).unwrap();
    let slot = region.entry(SectionKind::Series, u64::from(peer.slot));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let store = |offset: u64, word: u64| file.write_all_at(&word.to_le_bytes(), offset).unwrap();
    let is_shown = || {
        let snapshot = reader.snapshot().unwrap();
        snapshot.schema.series.iter().any(|series| series.slot == peer.slot)
    };
    let retired_at = slot + std::mem::offset_of!(SeriesRecord, retired_monotonic_ns) as u64;
    store(retired_at, 990);
    assert!(is_shown(), "the time means nothing while the series is live");
    store(slot, SlotWord::new(0, SlotState::Retired).bits());
    assert!(is_shown());
    // Nothing but time goes by.
    store(Control::TICK_MONOTONIC_NS, 1_089);
    let lingering = reader.snapshot().unwrap();
    assert!(is_shown());
    store(Control::TICK_MONOTONIC_NS, 1_090);
    assert!(!is_shown());
    let gone = reader.snapshot().unwrap();
    assert_eq!(gone.schema.series.len() + 1, lingering.schema.series.len());
    assert!(Arc::ptr_eq(&gone.schema, &reader.snapshot().unwrap().schema), "no new plan for each scrape after");
    assert!(gone.schema.damaged.is_empty() && reader.verify().is_empty());
    // Revived: the state is stored before the time.
    store(slot, SlotWord::new(0, SlotState::Live).bits());
    assert!(is_shown());
    store(slot, SlotWord::new(0, SlotState::Retired).bits());
    store(retired_at, 0);
    assert!(is_shown(), "retired, and just being revived");
    // As long as the writer lives its clock is the machine's.
    store(retired_at, 990);
    let _held = crate::builder::hold_lock(directory.path(), "mc-0");
    assert!(!is_shown(), "that was long ago");
}

#[test]
fn a_dead_writers_odd_structure_word_is_final() {
    let mut region = Region::full("mc-0");
    region.control(Control::STRUCTURE, 7);
    region.edit::<SeriesRecord>(SectionKind::Series, 0, |series| series.created_realtime_ns = 5);
    let snapshot = snapshot(&region);
    assert_eq!(snapshot.schema.series.get(0).expect("a series").created_realtime_ns, 5);
    assert_eq!(snapshot.value(0), Value::U64(321));
}

#[test]
fn a_legal_history_never_reads_below_zero() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use tachograph_layout::{LaneOffset, WriterMap, fix_lane_count};

    assert_eq!(fix_lane_count(LANES as usize), LANES as usize);
    let directory = directory();
    let mut region = Region::new("mc-0");
    // Far apart, so that much happens between the reads of one and the other.
    let filler = crate::builder::FamilySpec {
        bounds: &std::array::from_fn::<f64, 200, _>(|bound| bound as f64),
        ..crate::builder::FamilySpec::of("app_filler", Kind::HistogramBounds, tachograph_exporter::Number::F64)
    };
    region.family(&filler);
    let live = region.family(&crate::builder::FamilySpec::of(
        "app_live",
        Kind::UpDownCounter,
        tachograph_exporter::Number::I64,
    ));
    let path = region.write(directory.path());
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let map = WriterMap::of_file(&file, &region.layout).unwrap().leak();
    let cells = map.lane_block::<2>(live.cell, 1).unwrap().series(0);
    let reader = RegionReader::open(&path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (ups, downs) = (cells.cell::<0>(), cells.cell::<1>());
            while !done.load(Ordering::Relaxed) {
                for (up, down) in [(0, 1), (1, 2), (2, 0)] {
                    let (up, down) = (LaneOffset::new(up).unwrap(), LaneOffset::new(down).unwrap());
                    let word = ups.at(up);
                    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    let word = downs.at(down);
                    // SYNC(updown): as the writer's handle stores it.
                    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Release);
                }
            }
        });
        for _ in 0..5_000 {
            let snapshot = reader.snapshot().unwrap();
            let Value::I64(live) = value(&snapshot, "app_live") else { panic!("an up-down counter is an integer") };
            assert!(live >= 0, "{live}");
            reader.recycle(snapshot);
        }
        done.store(true, Ordering::Relaxed);
    });
}

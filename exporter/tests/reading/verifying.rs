//! `verify`: nothing for a healthy region, a place and a reason for each thing that is wrong.

use tachograph_exporter::{RegionReader, Severity};
use tachograph_layout::{
    ActivityRecord, Control, CrashSlots, FatalRecord, Header, NoteRecord, PanicRecord, PulseRecord, RegionState,
    SectionKind, SeriesRecord, SlotState, SlotWord,
};

use crate::builder::{Region, directory, hold_lock, lock_file};

/// What `verify` must say, and the damage that makes it.
type Case = (&'static str, Box<dyn Fn(&mut Region)>);

fn findings(region: &Region) -> Vec<String> {
    let directory = directory();
    let reader = RegionReader::open(&region.write(directory.path())).unwrap();
    reader.verify().into_iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect()
}

#[test]
fn a_healthy_region_has_no_finding_alive_or_dead() {
    let directory = directory();
    let mut region = Region::full("mc-0");
    let path = region.write(directory.path());
    let reader = RegionReader::open(&path).unwrap();
    assert_eq!(reader.verify(), [], "as a copy");
    let lock = hold_lock(directory.path(), "mc-0");
    assert_eq!(reader.verify(), [], "running");
    drop(lock);
    assert_eq!(reader.verify(), [], "crashed");
    region.control(Control::STATE, RegionState::Closed.to_wire());
    assert_eq!(findings(&region), [""; 0]);
}

#[test]
fn every_structure_is_checked() {
    let live = SlotWord::new(0, SlotState::Live).bits();
    let cases: Vec<Case> = vec![
        ("header: its uuid is zero", Box::new(|r| r.edit::<Header>(SectionKind::Header, 0, |h| h.uuid = [0; 16]))),
        ("header: reserved bytes", Box::new(|r| r.edit::<Header>(SectionKind::Header, 0, |h| h.reserved_d[9] = 1))),
        ("control word lanes_used: 9 of 3", Box::new(|r| r.control(Control::LANES_USED, 9))),
        ("control word lanes_used: 0", Box::new(|r| r.control(Control::LANES_USED, 0))),
        ("control word state: 9 is", Box::new(|r| r.control(Control::STATE, 9))),
        ("control word state: still being built", Box::new(|r| r.control(Control::STATE, 0))),
        ("control word series_used: 999 of 128", Box::new(|r| r.control(Control::SERIES_USED, 999))),
        (
            "series 0 of app_served_bytes_total: state Building",
            Box::new(|r| {
                r.edit::<SeriesRecord>(SectionKind::Series, 0, |s| s.state = 1);
            }),
        ),
        (
            "series 100: Live, past the high-water mark",
            Box::new(move |r| {
                r.edit::<SeriesRecord>(SectionKind::Series, 100, |s| s.state = live);
            }),
        ),
        (
            "series 1 of app_served_bytes_total: cells 16..+1 are another series' too",
            Box::new(|r| {
                let mut first = 0;
                r.edit::<SeriesRecord>(SectionKind::Series, 0, |s| first = s.cell);
                r.edit::<SeriesRecord>(SectionKind::Series, 1, |s| s.cell = first);
            }),
        ),
        ("where 17 are in use", Box::new(|r| r.control(Control::CELLS_USED, 17))),
        (
            "note 3: text of 999 bytes",
            Box::new(|r| {
                r.edit::<NoteRecord>(SectionKind::Notes, 3, |n| {
                    (n.sequence, n.level, n.len) = (4, 3, 999);
                })
            }),
        ),
        (
            "note 3: number 9 stands in the wrong slot",
            Box::new(|r| {
                r.edit::<NoteRecord>(SectionKind::Notes, 3, |n| (n.sequence, n.level) = (9, 3));
            }),
        ),
        (
            "fatal slot: sequence 1, claim 0",
            Box::new(|r| {
                r.edit::<FatalRecord>(SectionKind::Crash, CrashSlots::FATAL, |f| f.sequence = 1);
            }),
        ),
        (
            "panic slot 1: message of 2000 bytes",
            Box::new(|r| {
                r.edit::<PanicRecord>(SectionKind::Crash, CrashSlots::FIRST_PANIC, |p| {
                    (p.sequence, p.message_len) = (1, 2_000);
                });
            }),
        ),
        (
            "panic slot 2: 65 frames",
            Box::new(|r| {
                r.edit::<PanicRecord>(SectionKind::Crash, CrashSlots::PANIC_RING, |p| {
                    (p.sequence, p.frame_count) = (1, 65)
                });
            }),
        ),
        (
            "activity 1: id of 40 bytes",
            Box::new(move |r| {
                r.edit::<ActivityRecord>(SectionKind::Activities, 1, |a| (a.state, a.id_len) = (live, 40));
            }),
        ),
        (
            "pulse 0: name is no UTF-8",
            Box::new(move |r| {
                r.edit::<PulseRecord>(SectionKind::Pulses, 0, |p| (p.state, p.name_len, p.name[0]) = (live, 1, 0xff));
            }),
        ),
    ];
    for (expected, edit) in cases {
        let mut region = Region::full("mc-0");
        edit(&mut region);
        let found = findings(&region);
        assert!(found.iter().any(|finding| finding.contains(expected)), "{expected:?} in {found:?}");
    }
}

/// So that a file can't make a list that is larger than itself.
#[test]
fn many_findings_are_counted_and_not_listed() {
    let mut region = Region::of_series("mc-0", 3_000);
    for slot in 0..3_000 {
        region.edit::<SeriesRecord>(SectionKind::Series, slot, |s| s.state = SlotWord::new(0, SlotState::Live).bits());
    }
    let findings = findings(&region);
    assert_eq!(findings.len(), 1_001);
    assert_eq!(findings[1_000], "series: 2000 more findings");
}

#[test]
fn what_a_writer_leaves_between_two_steps_is_no_finding() {
    // It died after its newest family's series were published, before they were counted.
    let mut region = Region::full("mc-0");
    let directory = directory();
    lock_file(directory.path(), "mc-0");
    let late = crate::builder::FamilySpec::of(
        "app_late_total",
        tachograph_exporter::Kind::Counter,
        tachograph_exporter::Number::U64,
    );
    let place = region.family(&late);
    region.control(Control::SERIES_USED, place.slot);
    let reader = RegionReader::open(&region.write(directory.path())).unwrap();
    assert_eq!(reader.verify(), []);
    let snapshot = reader.snapshot().unwrap();
    assert!(snapshot.schema.families.last().unwrap().series.is_empty());

    // In a region that was closed it is one.
    region.control(Control::STATE, RegionState::Closed.to_wire());
    std::fs::write(reader.path(), &region.bytes).unwrap();
    let findings = reader.verify();
    assert!(findings.len() == 1 && findings[0].severity == Severity::Error, "{findings:?}");
}

//! Copies of a living region, taken while its threads write and its label sets change hands.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tachograph::{Counter, Desc, OpenFamily, OpenRules, Region};
use tachograph_exporter::{RegionReader, Snapshot, Value, Verdict};

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tacho-copy-").tempdir_in("/dev/shm").expect("a tmpfs")
}

/// Copies, opens the copy, and checks what holds for every region that nobody damaged.
fn copy(reader: &RegionReader, to: &Path) -> Snapshot {
    let target = File::options().read(true).write(true).create(true).truncate(true).open(to).expect("a target");
    reader.copy_to(&target, 0).expect("a copy");
    let copy = RegionReader::open(to).expect("the copy is a region");
    assert_eq!(copy.verify(), [], "a copy is whole");
    let snapshot = copy.snapshot().expect("a snapshot");
    assert_eq!((snapshot.region.verdict, snapshot.region.uuid), (Verdict::Copy, reader.uuid()));
    snapshot
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn values<'a>(snapshot: &'a Snapshot, family: &str) -> Vec<(String, Value<'a>)> {
    let family = snapshot.schema.families.iter().find(|one| one.name == family).expect("the family");
    let series = family.series.clone();
    series
        .map(|index| (snapshot.schema.series.get(index).expect("a series").labels.to_owned(), snapshot.value(index)))
        .collect()
}

#[test]
fn copies_under_writers_mix_nothing_and_fall_below_nothing() {
    let directory = directory();
    let region = Region::builder("mc-0").dir(directory.path()).lanes(16).build().expect("a region");
    let levels: Vec<_> =
        (0..64).map(|n| region.updown_counter(&format!("mc_level_{n}"), "Level").expect("room")).collect();
    let rules = OpenRules::new(8).linger(Duration::ZERO);
    let sent: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("mc_sent_total", "Sent"), ["id"], rules).expect("room");
    let reader = RegionReader::open(region.path().expect("a file")).expect("readable");
    let path = directory.path().join("copy");
    let (stop, copies) = (AtomicBool::new(false), 60);
    let (mut shown, mut raised) = (0, 0);
    std::thread::scope(|scope| {
        let (ups, downs) = std::sync::mpsc::sync_channel(1);
        let (levels, stop, sent) = (&levels, &stop, &sent);
        // What one thread raises, another lowers: the level is 0 or 1 at every moment, in two lanes.
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                levels.iter().for_each(|level| level.add(1));
                if ups.send(()).is_err() {
                    break;
                }
            }
        });
        scope.spawn(move || downs.iter().for_each(|()| levels.iter().for_each(|level| level.sub(1))));
        for thread in 0..2_u64 {
            scope.spawn(move || {
                for id in (thread..).step_by(2).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    sent.with([&id.to_string()]).add(id + 1);
                }
            });
        }
        // A failed assertion ends the writers, too.
        let _stop = Stop(stop);
        for _ in 0..copies {
            let snapshot = copy(&reader, &path);
            for (labels, value) in values(&snapshot, "mc_sent_total") {
                let Value::U64(value) = value else { panic!("{value:?}") };
                if let Some(id) = labels.strip_prefix("id=\"").and_then(|rest| rest.strip_suffix('"')) {
                    let expected = id.parse::<u64>().expect("a number") + 1;
                    assert!(value == 0 || value == expected, "{labels} has {value}");
                    shown += u64::from(value == expected);
                }
            }
            for n in 0..levels.len() {
                let level = format!("mc_level_{n}");
                let [(_, Value::I64(value))] = *values(&snapshot, &level) else { panic!("{level}") };
                assert!(value >= 0, "{level} is {value}");
                raised += value;
            }
        }
    });
    assert!(shown > 0 && raised > 0, "the writers wrote meanwhile: {shown} values, levels of {raised}");
}

#[test]
fn a_copy_of_the_dead_is_all_that_they_left() {
    let directory = directory();
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    region.counter("mc_served_total", "Served").expect("room").add(7);
    let path = directory.path().join("dead");
    // Away from its process, whose other threads' lanes are told to every region.
    std::fs::copy(region.path().expect("a file"), &path).expect("room");
    let reader = RegionReader::open(&path).expect("readable");
    let before = reader.snapshot().expect("a snapshot");
    let to = directory.path().join("copy");
    let after = copy(&reader, &to);
    assert_eq!(values(&after, "mc_served_total"), values(&before, "mc_served_total"));
    assert_eq!(after.region.state, before.region.state);
    let (copied, region) = (std::fs::read(&to).expect("the copy"), std::fs::read(&path).expect("the region"));
    assert_eq!(copied.len(), region.len());
    assert_eq!(copied.iter().zip(&region).position(|(one, other)| one != other), None, "the first byte that differs");
}

//! What goes in comes out: every kind of metric, label sets that come and go, activities, in both tiers, from a copied file.

use tachograph::{Counter, FloatCounter, Gauge, OnExisting, Region};
use tachograph_exporter::case::{self, Case};
use tachograph_exporter::evidence::{Activity, ActivityState};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::recording::Recordings;
use tachograph_exporter::recording::history::{Point, Rows};
use tachograph_exporter::{RegionReader, Value, Verdict};

use super::{Place, blocks, until};

#[test]
fn samples_are_what_the_region_was() {
    let place = Place::new();
    let region = Region::builder("app").dir(&place.regions).build().unwrap();
    let served: Counter = region.counter("app_served_total", "Served").unwrap();
    let spent: FloatCounter = region.float_counter("app_spent_total", "Spent").unwrap();
    let depth: Gauge<i64> = region.gauge("app_depth", "Depth").unwrap();
    let recorder = place.record();
    let stats = recorder.stats();
    for round in 1..=5_i64 {
        served.add(10);
        spent.add(0.1);
        depth.set(-round);
        let before = stats.counts().samples;
        until("a sample", || stats.counts().samples > before + 2);
    }
    drop(recorder);
    let recordings = place.recordings();
    assert_eq!(recordings.problems(), []);
    let [recorded] = recordings.regions() else { panic!("{recordings:?}") };
    let mut window = recorded.window(0, u64::MAX);
    let (mut last, mut count, mut seen) = (0, 0, Vec::new());
    while let Some(sample) = window.next_sample() {
        assert_eq!((sample.snapshot.region.name.as_str(), sample.snapshot.region.verdict), ("app", Verdict::Running));
        assert!(sample.realtime_ns > last);
        (last, count) = (sample.realtime_ns, count + 1);
        let value = |name: &str| {
            let family = sample.snapshot.schema.families.iter().find(|family| family.name == name).unwrap();
            sample.snapshot.value(family.series.start)
        };
        let Value::U64(served) = value("app_served_total") else { panic!() };
        assert!(seen.last().is_none_or(|last| *last <= served));
        seen.push(served);
        let rounds = served / 10;
        if let (Value::F64(spent), Value::I64(depth)) = (value("app_spent_total"), value("app_depth")) {
            // Values of one sample are read within one pass: at most one round apart.
            assert!((spent - rounds as f64 * 0.1).abs() < 0.11 && (-depth - rounds as i64).abs() <= 1);
        }
    }
    assert_eq!(window.problems(), []);
    seen.dedup();
    assert_eq!(seen.last(), Some(&50));
    assert!(seen.len() >= 4 && count >= 10, "{seen:?}, {count}");

    // The coarse tier alone, from a copy of its block.
    let coarse = blocks(&place.recorder).into_iter().find(|path| path.to_string_lossy().contains(".200ms.")).unwrap();
    let copy = place.regions.join("copy-of-a-block");
    std::fs::copy(coarse, &copy).unwrap();
    let copied = Recordings::open(&copy).unwrap();
    let filter = Filter::new("app_served_total");
    let rows: Vec<_> = Rows::new(copied.regions()[0].window(0, u64::MAX), &filter, 0).collect();
    assert!(rows.len() >= 2 && rows.len() < count, "{} of {count}", rows.len());
    assert!(matches!(rows[0].point, Point::Count(_, None)));
    assert!(rows[1..].iter().all(|row| matches!(row.point, Point::Count(_, Some(rate)) if rate >= 0.0)));
}

/// Who did what, and which region this one continues, are in the recording, in a copy of its files, and in the case.
#[test]
fn activities_and_the_predecessor_come_back() {
    let place = Place::new();
    let builder = Region::builder("app").dir(&place.regions).on_existing(OnExisting::Adopt);
    let predecessor = builder.clone().build().unwrap();
    let before = predecessor.uuid();
    predecessor.close();
    let region = builder.build().unwrap();
    let (join, leave) = (region.doing("join").unwrap(), region.doing("leave").unwrap());
    let recorder = place.record();
    let stats = recorder.stats();
    let sampled = |more: u64| {
        let before = stats.counts().samples;
        until("samples", || stats.counts().samples >= before + more);
    };
    let mut activity = region.activity("meeting", "retro", 500);
    let depth = activity.mailbox();
    sampled(3);
    activity.begin(join);
    depth.inc();
    sampled(3);
    activity.end();
    activity.begin(leave);
    sampled(3);
    drop(activity);
    sampled(3);
    drop(recorder);
    let case_path = place.regions.join("app.case.tar.gz");
    let reader = RegionReader::open(region.path().unwrap()).unwrap();
    case::write(&reader, place.recordings().of_uuid(region.uuid()), &case_path).unwrap();
    let case = Case::open(&case_path).unwrap();
    let hex = uuid::Uuid::from_bytes(before).simple().to_string();
    assert_eq!(case.manifest().predecessor, hex);
    let copy = place.regions.join("copy");
    std::fs::create_dir(&copy).unwrap();
    for block in blocks(&place.recorder) {
        std::fs::copy(&block, copy.join(block.file_name().unwrap())).unwrap();
    }
    for recordings in [place.recordings(), Recordings::open(&copy).unwrap(), case.recordings().unwrap()] {
        let recorded = recordings.of_uuid(region.uuid()).unwrap();
        assert_eq!(recorded.origin().predecessor, hex);
        let mut window = recorded.window(0, u64::MAX);
        let mut seen: Vec<(ActivityState, Option<String>, u64)> = Vec::new();
        while let Some(sample) = window.next_sample() {
            let [Activity { actor, state, doing, handled, mailbox_capacity, .. }] = &sample.activities[..] else {
                assert!(seen.is_empty() && sample.activities.is_empty(), "the actor is there until its slot is taken");
                continue;
            };
            assert_eq!((actor.actor_type.as_str(), actor.id.as_str(), *mailbox_capacity), ("meeting", "retro", 500));
            seen.push((*state, doing.clone(), *handled));
        }
        assert_eq!(window.problems(), []);
        seen.dedup();
        let doing = |word: &str| Some(word.to_owned());
        let expected = [
            (ActivityState::Live, None, 0),
            (ActivityState::Live, doing("join"), 0),
            (ActivityState::Live, doing("leave"), 1),
        ];
        assert_eq!(seen[..3], expected);
        assert_eq!((seen.len(), seen[3].0), (4, ActivityState::Ended), "{seen:?}");
    }
}

//! What goes in comes out: every kind of metric, label sets that come and go, activities, in both tiers, from a copied file.

use tachograph::{Counter, FloatCounter, Gauge, Region};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::recording::Recordings;
use tachograph_exporter::recording::history::{Point, Rows};
use tachograph_exporter::{Value, Verdict};

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

//! Eight threads on one histogram, and a reader that takes snapshots meanwhile: no bucket ever falls, nothing is counted
//! that was not observed, and at the end everything is there.

use std::sync::atomic::{AtomicU64, Ordering};

use tachograph::{Buckets, Region};
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{RegionReader, Snapshot, Value};

const THREADS: u64 = 8;
const EACH: u64 = 50_000;
const BOUNDS: [f64; 4] = [1.0, 2.0, 4.0, 7.0];

/// Buckets and sum of a family's one series.
fn histogram(snapshot: &Snapshot, name: &str) -> (Vec<u64>, f64) {
    let family = snapshot.schema.families.iter().find(|family| family.name == name).expect("registered");
    match snapshot.value(family.series.start) {
        Value::Histogram { buckets, sum } => (buckets.to_vec(), sum),
        other => panic!("{other:?}"),
    }
}

/// The `_count` and the `le="+Inf"` line of a family in text 0.0.4.
fn shown(snapshot: Snapshot, name: &str) -> (u64, u64) {
    let sources = [Source::own(snapshot.into())];
    let plan = Plan::new(&sources, &Options::default()).expect("one region");
    let mut out = Vec::new();
    assert!(Exposition::new(Format::Text).render(&plan, &sources, &mut out));
    let text = String::from_utf8(out).expect("UTF-8");
    let number = |prefix: String| {
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix)).expect("the line");
        line.parse().expect("a number")
    };
    (number(format!("{name}_count ")), number(format!("{name}_bucket{{le=\"+Inf\"}} ")))
}

#[test]
fn snapshots_never_go_back_and_the_last_is_exact() {
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
    let region = Region::builder("threads").dir(folder.path()).build().expect("a region");
    let shares = region.histogram::<f64>("app_share", "Shares", Buckets::bounds(BOUNDS)).expect("fits");
    let waits = region
        .exponential_duration_histogram("app_wait_seconds", "Waits", Buckets::exponential(2, 1e-8..=1e-6))
        .expect("fits");
    let reader = RegionReader::open(region.path().expect("a file")).expect("a region");

    let running = AtomicU64::new(THREADS);
    let mut snapshots = 0;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let running = &running;
            scope.spawn(move || {
                for step in 0..EACH {
                    shares.observe((thread + step % 2) as f64 + 0.5);
                    waits.observe_ns(step % 2_000);
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let mut before = (vec![0; 5], vec![0; 0]);
        while running.load(Ordering::Acquire) > 0 {
            let snapshot = reader.snapshot().expect("a snapshot");
            let (now, _) = histogram(&snapshot, "app_share");
            let (wait, _) = histogram(&snapshot, "app_wait_seconds");
            assert!(before.0.iter().zip(&now).all(|(before, now)| before <= now), "{before:?} then {now:?}");
            assert!(before.1.iter().zip(&wait).all(|(before, now)| before <= now), "{before:?} then {wait:?}");
            let count: u64 = now.iter().sum();
            assert!(count <= THREADS * EACH);
            assert_eq!(shown(snapshot, "app_share"), (count, count));
            before = (now, wait);
            snapshots += 1;
        }
    });
    assert!(snapshots > 0, "the reader never came to its turn");

    let snapshot = reader.snapshot().expect("a snapshot");
    // Thread n observes n + 0.5 and n + 1.5, half of the times each.
    let values: Vec<f64> = (0..THREADS).flat_map(|thread| [thread as f64 + 0.5, thread as f64 + 1.5]).collect();
    let below = |bound: f64| values.iter().filter(|value| **value <= bound).count() as u64 * EACH / 2;
    let cumulative: Vec<u64> = BOUNDS.into_iter().chain([f64::INFINITY]).map(below).collect();
    let (buckets, sum) = histogram(&snapshot, "app_share");
    let found: Vec<u64> =
        buckets.iter().scan(0, |sum, bucket| Some(std::mem::replace(sum, *sum + bucket) + bucket)).collect();
    assert_eq!(found, cumulative);
    // Halves and their sums are exact in an f64, in whatever order.
    assert_eq!(sum, values.iter().sum::<f64>() * (EACH / 2) as f64);

    // The reader has what the writer's own handles say.
    let own = |buckets: Vec<(f64, u64)>| buckets.into_iter().map(|(_, count)| count).collect::<Vec<_>>();
    assert_eq!((buckets, sum), (own(shares.buckets()), shares.sum()));
    let (buckets, sum) = histogram(&snapshot, "app_wait_seconds");
    assert_eq!(buckets, own(waits.buckets()));
    let nanoseconds: u64 = (0..EACH).map(|step| step % 2_000).sum::<u64>() * THREADS;
    assert_eq!((waits.count(), waits.sum().as_nanos()), (THREADS * EACH, u128::from(nanoseconds)));
    assert_eq!(sum, nanoseconds as f64 / 1e9);
    assert_eq!(reader.verify(), []);
}

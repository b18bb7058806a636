//! Writes the second golden region of layout 1, with the kinds that the first has not:
//! `cargo run -p tachograph-tests --example make-golden-kinds -- FILE`.
//!
//! Run once a layout version. The file is then kept as it is, and read by `tests/golden.rs` for ever.

use std::error::Error;

use tachograph::{Aggregation, Buckets, Desc, Family, Histogram, Region};

tachograph::label_value! {
    enum Phase: "phase" { Starting = "starting", Serving = "serving", Odd = "quote \" backslash \\ newline \n ü" }
}
tachograph::label_value! {
    enum Verb: "verb" { Get = "get", Put = "put" }
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = std::env::args().nth(1).ok_or("usage: make-golden-kinds FILE")?;
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let region = Region::builder("golden-kinds")
        .dir(folder.path())
        .lanes(3)
        .families(16)
        .series(64)
        .cells(1024)
        .shared(16)
        .bounds(64)
        .string_bytes(4096)
        .version("golden 1.0")
        .build()?;
    let shares: Family<Histogram, Verb> = region.family(
        Desc::new("golden_share", "Own bounds, some negative").buckets(Buckets::bounds([-1.5, 0.0, 1e-7, 0.5, 1e6])),
    )?;
    let sizes = region.histogram::<u64>("golden_size_bytes", "Whole numbers", Buckets::bounds([1.0, 1024.0]))?;
    let waits =
        region.duration_histogram("golden_wait_seconds", "Nanoseconds", Buckets::bounds([1e-9, 0.005, 2.5, 3600.0]))?;
    let fill = region.exponential_histogram(
        "golden_fill",
        "Schema 5, ends that are no edges",
        Buckets::exponential(5, 0.3..=3.0),
    )?;
    let turns = region.exponential_duration_histogram(
        "golden_turn_seconds",
        "Schema 3, in the buckets of seconds",
        Buckets::exponential(3, 1e-6..=100.0),
    )?;
    region.info("golden_build_info", "Labels are the information", &[("version", "1.0"), ("odd", "\"\\\n")])?;
    let phase = region.state_set::<Phase>("golden_phase", "One of three")?;
    let peak = region.watermark_max::<f64>("golden_peak", "Largest f64")?;
    let least = region.watermark_min::<i64>("golden_least", "Smallest")?;
    let _never = region.watermark_min::<f64>("golden_never", "Nothing was recorded")?;
    let newest = region.register::<tachograph::Gauge>(
        Desc::new("golden_newest", "Merged by the newest").aggregation(Aggregation::Newest),
    )?;

    phase.set(Phase::Starting);
    phase.set(Phase::Odd);
    newest.set(7);
    let write = |step: u32| {
        let value = f64::from(step);
        for share in [-2.0, -1.5, 0.0, 1e-7, value] {
            shares.at(Verb::Get).observe(share);
        }
        shares.at(Verb::Put).observe(1e7 * value);
        sizes.observe(1 << (10 * step));
        for nanoseconds in [0, 1, 5_000_000, 5_000_001, 10_000_000_000_000] {
            waits.observe_ns(nanoseconds * u64::from(step));
        }
        for share in [0.3, 0.301, 1.0, 2.9, 3.1] {
            fill.observe(share);
        }
        for nanoseconds in [1_000, 1_001, 500_000_000, 1_000_000_000 * u64::from(step), 200_000_000_000] {
            turns.observe_ns(nanoseconds);
        }
        peak.record(-0.5 - value);
        least.record(17 - i64::from(step));
    };
    write(0);
    // Lanes 2 and, with no lane left, the shared lane 0.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            write(1);
            scope.spawn(|| write(2)).join()
        });
        other.join()
    })
    .and_then(|inner| inner)
    .map_err(|_| "a thread panicked")?;
    let path = region.path().ok_or("the region has no file")?.to_owned();
    region.close();
    let mut bytes = std::fs::read(path)?;
    // Where it was made is nobody's business: lengths and bytes of the host's name and the executable's path.
    for blank in [200..204, 208..212, 376..440, 504..760] {
        bytes.get_mut(blank).ok_or("the file is too short")?.fill(0);
    }
    std::fs::write(target, bytes)?;
    Ok(())
}

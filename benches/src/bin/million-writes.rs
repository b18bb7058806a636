//! What `ci/quiet_writes.sh` counts by: writes of every kind, as many as it is told, after a thread was entered.
//!
//! `million-writes COUNT` writes each kind COUNT times and prints the page faults that this took. Started once for none
//! and once for a million, under a tool that counts the allocations (C heap too) or the system calls of a whole run, the
//! difference is what the writes cost. The region is a file, as in production; its housekeeping sleeps.

use std::time::{Duration, Instant};

use tachograph::{
    Buckets, Counter, Desc, DurationHistogram, ExponentialHistogram, Family, FloatCounter, Gauge, Histogram,
    LabelValue, NoteLevel, OpenFamily, OpenRules, Region, UpDownCounter, WatermarkMax,
};

tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).ok_or("usage: million-writes COUNT")?.parse()?;
    let dir = tempfile::tempdir_in("/dev/shm")?;
    let region = Region::builder("writes").dir(dir.path()).tick(Duration::from_secs(3600)).build()?;

    let counter = region.counter("bench_total", "Written by a bench")?;
    let labelled: Family<Counter, Outcome> = region.family(Desc::new("bench_labelled_total", "Written by a bench"))?;
    let float: FloatCounter = region.float_counter("bench_float_total", "Written by a bench")?;
    let gauge: Gauge<i64> = region.gauge("bench_gauge", "Written by a bench")?;
    let updown: UpDownCounter = region.updown_counter("bench_updown", "Written by a bench")?;
    let peak: WatermarkMax = region.watermark_max("bench_peak", "Written by a bench")?;
    let own: Histogram = region.histogram("bench_own", "Written by a bench", Buckets::bounds([1.0, 10.0, 100.0]))?;
    let native: ExponentialHistogram =
        region.register(Desc::new("bench_native", "Written by a bench").buckets(Buckets::exponential(3, 1.0..=1e6)))?;
    let timed: DurationHistogram =
        region.duration_histogram("bench_seconds", "Written by a bench", Buckets::bounds([0.001, 1.0]))?;
    let open: OpenFamily<Counter, 1> =
        region.open_family(Desc::new("bench_open_total", "Written by a bench"), ["peer"], OpenRules::new(10))?;
    let lease = open.with(["10.0.0.7"]);

    let doing = region.doing("message")?;
    let mut activity = region.activity("actor", "bench", 10);
    let depth = activity.mailbox();
    let mut pulse = region.pulse("bench", Duration::from_secs(60))?;

    tachograph::enter_thread();
    let faults = faults()?;
    let start = Instant::now();
    for step in 0..count {
        counter.inc();
        labelled.at(Outcome::all()[step as usize % 2]).inc();
        float.add(0.5);
        gauge.set(step as i64);
        updown.inc();
        updown.dec();
        peak.record(step as i64);
        own.observe(step as f64);
        native.observe(step as f64);
        timed.observe_ns(step);
        lease.inc();
        // The label set has a lease, so this looks it up.
        open.with(["10.0.0.7"]).inc();
        depth.inc();
        activity.begin(doing);
        activity.end();
        depth.dec();
        pulse.beat();
        region.note(NoteLevel::Info, format_args!("round {step}"));
    }
    let took = start.elapsed();
    let faults = self::faults()? - faults;

    let done = [counter.get(), own.count(), native.count(), timed.count(), lease.get() / 2];
    assert_eq!(done, [count; 5], "writes are missing");
    assert_eq!((updown.get(), labelled.at(Outcome::Ok).get()), (0, count.div_ceil(2)), "writes are missing");
    assert_eq!([activity.handled(), pulse.count(), region.notes_written()], [count; 3], "marks are missing");
    println!("faults {faults} for {count} rounds of 18 writes in {took:?}");
    Ok(())
}

/// Page faults of this process so far, minor and major.
fn faults() -> Result<u64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat")?;
    // After the command's closing parenthesis: state, ppid, pgrp, session, tty, tpgid, flags, minflt, cminflt, majflt.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let field = |index: usize| {
        fields.get(index).ok_or("a short stat file").and_then(|text| text.parse().map_err(|_| "no number"))
    };
    let (minor, major): (u64, u64) = (field(7)?, field(9)?);
    Ok(minor + major)
}

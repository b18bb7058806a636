//! Row `recorder`: the processor time that one tick of the flight recorder takes, of a region of 2,000 scalars. The recorder
//! is the real one, at its shortest interval; its work a tick is that of a tick at 1 s. Also told, by the program `recording`:
//! bytes a sample.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tachograph::{Counter, Gauge, Region};
use tachograph_exporter::Directories;
use tachograph_exporter::recording::{Recorder, RecorderConfig, Tier};

const COUNTERS: usize = 1_700;
const GAUGES: usize = 300;
/// Scalars of the region.
pub const SCALARS: usize = COUNTERS + GAUGES;

/// How much of the set changes between two ticks.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// One counter in twenty, by a few; one gauge in ten.
    MostlyIdle,
    /// A third of the counters, by up to 4,000; two gauges in three, all digits.
    Mixed,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Processor time a tick, in nanoseconds.
    pub tick_ns: f64,
    /// Bytes a sample, the block's header and structure spread over its samples.
    pub sample_bytes: f64,
    /// Bytes of a sample alone.
    pub tick_bytes: f64,
    /// Samples written.
    pub samples: u64,
}

/// Records so many ticks of a region under load.
///
/// # Panics
/// Where the machine has no room, or nothing was recorded.
#[must_use]
pub fn measure(load: Load, ticks: u64) -> Measured {
    let place = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let regions = place.path().join("regions");
    rustix::fs::mkdir(&regions, rustix::fs::Mode::from_raw_mode(0o750)).expect("a directory");
    let sized = Region::builder("bench").dir(&regions).families(4096).series(4096).cells(8192).string_bytes(1 << 20);
    let region = sized.shared(1024).build().expect("a region");
    let counters: Vec<Counter> =
        (0..COUNTERS).map(|n| region.counter(&format!("bench_{n}_total"), "Raised").expect("room")).collect();
    let gauges: Vec<Gauge<f64>> =
        (0..GAUGES).map(|n| region.gauge(&format!("bench_gauge_{n}"), "Set").expect("room")).collect();
    let tier = Tier { interval: Duration::from_millis(50), keep: Duration::from_secs(3600) };
    let config = RecorderConfig { tiers: vec![tier], ..RecorderConfig::new(place.path().join("recorder")) };
    let cpu = || {
        let ns = |clock| {
            let time = clock_gettime(clock);
            time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
        };
        // What this thread does is the load, not the recorder.
        ns(ClockId::ProcessCPUTime) - ns(ClockId::ThreadCPUTime)
    };
    let recorder = Recorder::start(config, Directories::from_args(vec![regions])).expect("a recorder");
    let stats = recorder.stats();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut change = || {
        let (busy, most, noisy) = match load {
            Load::MostlyIdle => (20, 4, 10),
            Load::Mixed => (3, 4_000, 2),
        };
        for (index, counter) in counters.iter().enumerate() {
            if (index as u64).is_multiple_of(busy) {
                counter.add(1 + next(most));
            }
        }
        for (index, gauge) in gauges.iter().enumerate() {
            match load {
                Load::MostlyIdle if (index as u64).is_multiple_of(noisy) => gauge.set(next(100) as f64),
                Load::Mixed if index as u64 % 3 < noisy => gauge.set(next(1 << 52) as f64 / 1e6),
                _ => {}
            }
        }
    };
    let wait = |ticks: u64, change: &mut dyn FnMut()| {
        let mut seen = stats.counts().ticks;
        while seen < ticks {
            let now = stats.counts().ticks;
            if now > seen {
                change();
                seen = now;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // The first ticks parse the region and write its structure.
    wait(5, &mut change);
    let (before, cpu_before) = (stats.counts(), cpu());
    wait(before.ticks + ticks, &mut change);
    let (after, cpu_after) = (stats.counts(), cpu());
    drop(recorder);
    assert_eq!((after.errors, after.late < after.ticks), (0, true), "the recorder did not record");
    let ticked = (after.ticks - before.ticks) as f64;
    Measured {
        tick_ns: (cpu_after - cpu_before) / ticked,
        sample_bytes: after.written as f64 / after.samples as f64,
        tick_bytes: (after.written - before.written) as f64 / (after.samples - before.samples) as f64,
        samples: after.samples,
    }
}

//! Hundreds of short threads that claim and give back lanes, write every kind, register families and build regions, while
//! readers of the same process take snapshots: what was written before a snapshot is in it, nothing falls that may not
//! fall, and at the end every sum is exact.
//!
//! Short enough for every run; `ci/tsan.sh` runs it under ThreadSanitizer. Nothing here forks.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tachograph::{
    Buckets, Counter, Desc, DurationHistogram, FloatCounter, Gauge, Histogram, OpenFamily, OpenRules, Region,
    UpDownCounter, WatermarkMax, WatermarkMin,
};
use tachograph_exporter::{RegionReader, Snapshot, Value};

/// More than the lanes of `LANES`, so that some threads own a lane and some share one.
const CROWD: u64 = 8;
const LANES: usize = 6;
/// Short threads that each of the crowd starts, one after the other.
const EACH: u64 = 60;
const THREADS: u64 = CROWD * EACH;
const STEPS: u64 = 40;
/// A family is registered by as many threads as come to it at a time, and a region is built every so many threads.
const THREADS_A_FAMILY: u64 = 4;
const THREADS_A_REGION: u64 = 48;
const FAMILIES: u64 = THREADS / THREADS_A_FAMILY;
const REGIONS: usize = (THREADS / THREADS_A_REGION) as usize;
const SETS: u64 = 6;

/// Every kind that threads write to, each registered once.
#[derive(Clone)]
struct Kinds {
    served: Counter,
    spent: FloatCounter,
    live: UpDownCounter,
    level: Gauge<i64>,
    balance: Gauge<i64>,
    peak: WatermarkMax<i64>,
    low: WatermarkMin<i64>,
    share: Histogram<f64>,
    wait: DurationHistogram,
    sent: OpenFamily<Counter, 1>,
}

impl Kinds {
    fn register(region: &Region) -> Self {
        let rules = OpenRules::new(SETS as u32 + 2);
        let waits = Buckets::bounds([10e-9, 20e-9, 30e-9]);
        Self {
            served: region.counter("app_served_total", "Served").expect("fits"),
            spent: region.float_counter("app_spent_seconds_total", "Spent").expect("fits"),
            live: region.updown_counter("app_live", "Live").expect("fits"),
            level: region.gauge("app_level", "Number of a thread").expect("fits"),
            balance: region.gauge("app_balance", "Added and taken away").expect("fits"),
            peak: region.watermark_max("app_peak", "Largest").expect("fits"),
            low: region.watermark_min("app_low", "Smallest").expect("fits"),
            share: region.histogram("app_share", "Shares", Buckets::bounds([0.0, 1.0, 2.0])).expect("fits"),
            wait: region.duration_histogram("app_wait_seconds", "Waits", waits).expect("fits"),
            sent: region.open_family(Desc::new("app_sent_total", "Sent"), ["set"], rules).expect("fits"),
        }
    }
}

/// A region that was built while threads claimed lanes, and what was surely counted in it.
struct Late {
    region: Region,
    counter: Counter,
    done: AtomicU64,
}

/// What writers tell readers outside of the regions. The order of these two: what is in `done` is in a later snapshot, and
/// what is in a snapshot is in `started` afterwards.
#[derive(Default)]
struct Ledger {
    started: AtomicU64,
    done: AtomicU64,
    /// Families below this number are registered, and `number + 1` is counted in each.
    registered: [AtomicU64; FAMILIES as usize / 64 + 1],
    late: [OnceLock<Late>; REGIONS],
    ended: AtomicU64,
}

fn extra(number: u64) -> String {
    format!("app_extra_{number}_total")
}

/// One short thread. `first` of its starter has no predecessor whose `live` it takes back.
fn short_thread(number: u64, first: bool, dir: &Path, region: &Region, kinds: &Kinds, ledger: &Ledger) {
    if number.is_multiple_of(THREADS_A_REGION) {
        let name = format!("late-{}", number / THREADS_A_REGION);
        let region = Region::builder(name).dir(dir).lanes(LANES).series(16).cells(64).build().expect("a region");
        let counter = region.counter("app_served_total", "Served").expect("fits");
        let late = Late { region, counter, done: AtomicU64::new(0) };
        assert!(ledger.late[(number / THREADS_A_REGION) as usize].set(late).is_ok(), "built once");
    }
    for step in 0..STEPS {
        ledger.started.fetch_add(1, Ordering::SeqCst);
        kinds.served.inc();
        ledger.done.fetch_add(1, Ordering::SeqCst);
        kinds.spent.add(0.5);
        kinds.live.add(2);
        kinds.live.sub(2);
        kinds.level.set(number as i64);
        kinds.balance.add(3);
        kinds.balance.sub(3);
        kinds.peak.record((number * STEPS + step) as i64);
        kinds.low.record(-((number * STEPS + step) as i64));
        kinds.share.observe((step % 4) as f64);
        kinds.wait.observe_ns(10 * (step % 4) + 10);
        for late in ledger.late.iter().filter_map(OnceLock::get) {
            late.counter.inc();
            late.done.fetch_add(1, Ordering::SeqCst);
        }
        if step % 8 == 0 {
            kinds.sent.with([&(number % SETS).to_string()]).inc();
        }
    }
    // Raised by one thread, lowered by the next one in another lane.
    kinds.live.inc();
    if !first {
        kinds.live.dec();
    }
    let family = number / THREADS_A_FAMILY;
    region.counter(&extra(family), "Registered while others write").expect("fits").add(family + 1);
    ledger.registered[family as usize / 64].fetch_or(1 << (family % 64), Ordering::SeqCst);
}

fn value<'a>(snapshot: &'a Snapshot, name: &str) -> Value<'a> {
    let family = snapshot.schema.families.iter().find(|family| family.name == name);
    snapshot.value(family.unwrap_or_else(|| panic!("{name} was registered before")).series.start)
}

fn count(snapshot: &Snapshot, name: &str) -> u64 {
    match value(snapshot, name) {
        Value::U64(count) => count,
        other => panic!("{name} is {other:?}"),
    }
}

fn level(snapshot: &Snapshot, name: &str) -> i64 {
    match value(snapshot, name) {
        Value::I64(level) => level,
        other => panic!("{name} is {other:?}"),
    }
}

fn observed<'a>(snapshot: &'a Snapshot, name: &str) -> (&'a [u64], f64) {
    match value(snapshot, name) {
        Value::Histogram { buckets, sum } => (buckets, sum),
        other => panic!("{name} is {other:?}"),
    }
}

/// One snapshot while the threads run: against what the ledger says, and against the one before.
fn look(reader: &RegionReader, ledger: &Ledger, before: Option<&Snapshot>) -> Snapshot {
    let done = ledger.done.load(Ordering::SeqCst);
    let registered: Vec<u64> = ledger.registered.iter().map(|word| word.load(Ordering::SeqCst)).collect();
    let snapshot = reader.snapshot().expect("a snapshot");
    let started = ledger.started.load(Ordering::SeqCst);

    assert!(snapshot.schema.damaged.is_empty(), "{:?}", snapshot.schema.damaged);
    let served = count(&snapshot, "app_served_total");
    assert!((done..=started).contains(&served), "{served} served, {done} before and {started} after");
    for family in (0..FAMILIES).filter(|family| registered[*family as usize / 64] >> (family % 64) & 1 == 1) {
        let counted = count(&snapshot, &extra(family));
        let whole = counted.is_multiple_of(family + 1) && (1..=THREADS_A_FAMILY).contains(&(counted / (family + 1)));
        assert!(whole, "family {family} is {counted}");
    }
    assert!(level(&snapshot, "app_live") >= 0, "a lowering was seen without its raise");
    assert!((0..THREADS as i64).contains(&level(&snapshot, "app_level")));
    assert!((0..=3 * CROWD as i64).contains(&level(&snapshot, "app_balance")));
    if let Some(before) = before {
        assert!(count(before, "app_served_total") <= served);
        assert!(before.schema.families.len() <= snapshot.schema.families.len());
        for name in ["app_share", "app_wait_seconds"] {
            let (old, new) = (observed(before, name).0, observed(&snapshot, name).0);
            assert!(old.iter().zip(new).all(|(old, new)| old <= new), "{name}: {old:?}, then {new:?}");
        }
    }
    snapshot
}

/// Snapshots until all threads ended; how many.
fn look_on(reader: &RegionReader, ledger: &Ledger) -> u64 {
    let mut before: Option<Snapshot> = None;
    let mut snapshots = 0;
    while ledger.ended.load(Ordering::SeqCst) < CROWD {
        let snapshot = look(reader, ledger, before.as_ref());
        if let Some(old) = before.replace(snapshot) {
            reader.recycle(old);
        }
        snapshots += 1;
    }
    snapshots
}

/// Opens each region anew for every look, the late ones too.
fn look_anew(path: &Path, ledger: &Ledger) -> u64 {
    let mut snapshots = 0;
    while ledger.ended.load(Ordering::SeqCst) < CROWD {
        look(&RegionReader::open(path).expect("a region"), ledger, None);
        for late in ledger.late.iter().filter_map(OnceLock::get) {
            let done = late.done.load(Ordering::SeqCst);
            let reader = RegionReader::open(late.region.path().expect("a file")).expect("a region");
            let counted = count(&reader.snapshot().expect("a snapshot"), "app_served_total");
            assert!(counted >= done, "{}: {counted}, of {done} counted before", late.region.name());
        }
        snapshots += 1;
    }
    snapshots
}

#[test]
fn short_threads_count_exactly_under_readers() {
    let folder = tachograph_tests::tmpfs::folder();
    let builder = Region::builder("threads").dir(folder.path()).lanes(LANES);
    let region = builder.families(256).series(512).build().expect("a region");
    let path = region.path().expect("a file").to_owned();
    let kinds = Kinds::register(&region);
    let reader = RegionReader::open(&path).expect("a region");
    let ledger = Ledger::default();

    let snapshots = std::thread::scope(|scope| {
        for starter in 0..CROWD {
            let (dir, region, kinds, ledger) = (folder.path(), &region, &kinds, &ledger);
            scope.spawn(move || {
                for round in 0..EACH {
                    let number = round * CROWD + starter;
                    let thread = scope.spawn(move || short_thread(number, round == 0, dir, region, kinds, ledger));
                    // Unlike the scope's end, this waits for the thread's destructors too: its lane is given back.
                    if thread.join().is_err() {
                        break;
                    }
                }
                ledger.ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        // Two share a reader, with its cache; one opens its own each time.
        let readers = [
            scope.spawn(|| look_on(&reader, &ledger)),
            scope.spawn(|| look_on(&reader, &ledger)),
            scope.spawn(|| look_anew(&path, &ledger)),
        ];
        readers.map(|reader| reader.join().expect("no broken promise"))
    });
    assert!(snapshots.iter().all(|snapshots| *snapshots > 1), "a reader never came to its turn: {snapshots:?}");

    let writes = THREADS * STEPS;
    let last = look(&reader, &ledger, None);
    assert_eq!(count(&last, "app_served_total"), writes);
    assert_eq!(value(&last, "app_spent_seconds_total"), Value::F64(writes as f64 / 2.0));
    assert_eq!(level(&last, "app_live"), CROWD as i64);
    assert_eq!(level(&last, "app_balance"), 0);
    assert_eq!((kinds.peak.get(), kinds.low.get()), (Some(writes as i64 - 1), Some(1 - writes as i64)));
    assert_eq!((level(&last, "app_peak"), level(&last, "app_low")), (writes as i64 - 1, 1 - writes as i64));
    assert_eq!(observed(&last, "app_share"), ([writes / 4; 4].as_slice(), writes as f64 * 1.5));
    let (waits, slept) = observed(&last, "app_wait_seconds");
    assert_eq!((waits, slept), ([writes / 4; 4].as_slice(), (writes * 25) as f64 / 1e9));
    for family in 0..FAMILIES {
        assert_eq!(count(&last, &extra(family)), THREADS_A_FAMILY * (family + 1));
    }
    let sent = last.schema.families.iter().find(|family| family.name == "app_sent_total").expect("registered");
    let sent = sent
        .series
        .clone()
        .filter(|index| last.schema.series.get(*index).expect("a series").labels != "overflow=\"true\"");
    let sent: Vec<Value<'_>> = sent.map(|index| last.value(index)).collect();
    assert_eq!(sent, vec![Value::U64(writes / 8 / SETS); SETS as usize]);
    assert_eq!(reader.verify(), []);

    for late in &ledger.late {
        let late = late.get().expect("built");
        let reader = RegionReader::open(late.region.path().expect("a file")).expect("a region");
        let (done, counted) = (late.done.load(Ordering::SeqCst), late.counter.get());
        assert_eq!(count(&reader.snapshot().expect("a snapshot"), "app_served_total"), done, "{}", late.region.name());
        assert_eq!(counted, done, "{}", late.region.name());
    }
}

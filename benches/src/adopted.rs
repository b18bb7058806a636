//! Rows `start_adopting` and `registration_adopted`: what it costs to continue the region before. No peer does.

use std::path::Path;
use std::time::Instant;

use tachograph::{Builder, Counter, Desc, OnExisting, Region};

use crate::contest::{Effort, Line};
use crate::start::{Digit, Labelled, SERIES, alone, labelled_all};

/// Families of ten series in the region that is continued: nearly all that one of default size holds.
const FAMILIES: u64 = 204;

/// Building a region of default size in the place of one whose series are nearly all in use.
pub(crate) fn start(effort: Effort) -> Vec<Line> {
    let build = || {
        let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
        let builder = Region::builder("bench").dir(dir.path()).on_existing(OnExisting::Adopt);
        let before = builder.clone().build().expect("a region");
        for index in 0..FAMILIES {
            let desc = Desc::new(format!("bench_{index}_total"), "Counted by a bench");
            before.family::<Counter, Digit>(desc).expect("room").at(Digit::D7).inc();
        }
        before.close();
        let start = Instant::now();
        let region = builder.build().expect("a region");
        let took = start.elapsed();
        assert_eq!(region.adopted().map(|adopted| adopted.unmatched), Some(FAMILIES * 10), "it carries all of them");
        took.as_secs_f64() * 1e9
    };
    vec![alone("start_adopting", "default_region", (0..effort.rounds).map(|_| build()).collect())]
}

/// Registering 10,000 series that continue those of the region before: as row `registration`.
pub(crate) fn registration(effort: Effort) -> Vec<Line> {
    let names: Vec<String> = (0..SERIES).map(|index| format!("bench_{index}_total")).collect();
    let builder = |dir: &Path| -> Builder {
        let builder = Region::builder("bench").families(SERIES).series(SERIES).cells(SERIES).string_bytes(8 << 20);
        builder.dir(dir).on_existing(OnExisting::Adopt)
    };
    // The region that is to be continued holds `seven` in each series.
    let after = |seven: &dyn Fn(&Region), register: &dyn Fn(&Region)| {
        let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
        let before = builder(dir.path()).build().expect("a region");
        seven(&before);
        before.close();
        let region = builder(dir.path()).build().expect("a region");
        let start = Instant::now();
        register(&region);
        let took = start.elapsed();
        let adopted = region.adopted().expect("it continues");
        assert_eq!((adopted.taken, adopted.unmatched), (u64::from(SERIES), 0), "each began with its total");
        took.as_secs_f64() * 1e9 / f64::from(SERIES)
    };
    let family = |region: &Region| -> Labelled {
        region.family(Desc::new("bench_total", "Registered by a bench")).expect("room")
    };
    let single = |region: &Region| -> Vec<Counter> {
        names.iter().map(|name| region.counter(name, "Registered by a bench").expect("room")).collect()
    };
    let seven = |counters: Vec<Counter>| counters.iter().for_each(|counter| counter.add(7));
    let one_family = || {
        after(&|region| seven(labelled_all(&family(region))), &|region| {
            family(region);
        })
    };
    let many = || after(&|region| seven(single(region)), &|region| drop(single(region)));
    let rounds = effort.rounds.min(5);
    vec![
        alone("registration_adopted", "one_family", (0..rounds).map(|_| one_family()).collect()),
        alone("registration_adopted", "10000_families", (0..rounds).map(|_| many()).collect()),
    ]
}

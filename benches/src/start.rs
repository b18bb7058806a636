//! Rows `start` and `registration`: what an application pays once. They have no peer.

use std::time::Instant;

use tachograph::{Counter, Desc, Family, LabelValue, Region};

use crate::contest::{Effort, Line, median};

pub(crate) const SERIES: u32 = 10_000;

tachograph::label_value! {
    pub(crate) enum Digit: "digit" {
        D0 = "0", D1 = "1", D2 = "2", D3 = "3", D4 = "4", D5 = "5", D6 = "6", D7 = "7", D8 = "8", D9 = "9",
    }
}
tachograph::label_value! {
    pub(crate) enum Ten: "ten" {
        T0 = "0", T1 = "1", T2 = "2", T3 = "3", T4 = "4", T5 = "5", T6 = "6", T7 = "7", T8 = "8", T9 = "9",
    }
}
tachograph::label_value! {
    pub(crate) enum Hundred: "hundred" {
        H0 = "0", H1 = "1", H2 = "2", H3 = "3", H4 = "4", H5 = "5", H6 = "6", H7 = "7", H8 = "8", H9 = "9",
    }
}
tachograph::label_value! {
    pub(crate) enum Thousand: "thousand" {
        M0 = "0", M1 = "1", M2 = "2", M3 = "3", M4 = "4", M5 = "5", M6 = "6", M7 = "7", M8 = "8", M9 = "9",
    }
}

/// Building a region of default size in `/dev/shm`: file, reservation, mapping, header, lock.
pub(crate) fn start(effort: Effort) -> Vec<Line> {
    let build = || {
        let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
        let builder = Region::builder("bench").dir(dir.path());
        let start = Instant::now();
        let region = builder.build().expect("a region");
        let took = start.elapsed();
        assert!(region.path().is_some_and(std::path::Path::exists), "the region has no file");
        took.as_secs_f64() * 1e9
    };
    vec![alone("start", "default_region", (0..effort.rounds).map(|_| build()).collect())]
}

/// The family of 10,000 series by four labels.
pub(crate) type Labelled = Family<Counter, (Thousand, Hundred, Ten, Digit)>;

/// All of its series.
pub(crate) fn labelled_all(family: &Labelled) -> Vec<Counter> {
    let all = Thousand::all().iter().flat_map(|m| Hundred::all().iter().map(move |h| (*m, *h)));
    let all = all.flat_map(|(m, h)| Ten::all().iter().map(move |t| (m, h, *t)));
    all.flat_map(|(m, h, t)| Digit::all().iter().map(move |d| family.at((m, h, t, *d)))).collect()
}

/// Registering 10,000 series: as one family with four labels, and as 10,000 families without.
pub(crate) fn registration(effort: Effort) -> Vec<Line> {
    let region = || {
        let builder = Region::builder("bench").families(SERIES).series(SERIES).cells(SERIES).string_bytes(8 << 20);
        builder.private().expect("private memory")
    };
    let labelled = || {
        let region = region();
        let start = Instant::now();
        let family: Labelled = region.family(Desc::new("bench_total", "Registered by a bench")).expect("room");
        let took = start.elapsed();
        let last = family.at((Thousand::M9, Hundred::H9, Ten::T9, Digit::D9));
        last.inc();
        let sum: u64 = labelled_all(&family).into_iter().map(Counter::get).sum();
        assert_eq!((sum, last.get()), (1, 1), "the 10,000 series are not apart");
        took.as_secs_f64() * 1e9 / f64::from(SERIES)
    };
    let names: Vec<String> = (0..SERIES).map(|index| format!("bench_{index}_total")).collect();
    let single = || {
        let region = region();
        let start = Instant::now();
        let counters: Vec<Counter> =
            names.iter().map(|name| region.counter(name, "Registered by a bench").expect("room")).collect();
        let took = start.elapsed();
        counters.iter().for_each(|counter| counter.inc());
        assert!(counters.iter().all(|counter| counter.get() == 1), "the 10,000 series are not apart");
        took.as_secs_f64() * 1e9 / f64::from(SERIES)
    };
    let rounds = effort.rounds.min(9);
    vec![
        alone("registration", "one_family", (0..rounds).map(|_| labelled()).collect()),
        alone("registration", "10000_families", (0..rounds).map(|_| single()).collect()),
    ]
}

pub(crate) fn alone(row: &'static str, mode: &'static str, samples: Vec<f64>) -> Line {
    Line { row, mode, ours_ns: median(samples), peer: "none", peer_ns: None }
}

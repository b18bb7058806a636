//! Row `merge_8x10k`: one whole scrape of eight living regions of 10,000 series each, as `tacho serve --merge` makes it: found,
//! read, added up, made durable, rendered as text; nanoseconds a scrape. Between two, a tenth of the series of each region is
//! raised, untimed. Mode `disk` has the ledger on the disk below the target folder, `tmpfs` in `/dev/shm`; `disk_1000_dead` has
//! a thousand regions in it that lived and died before, and shows that they cost nothing.
//!
//! The floors: `sum_of_renders`, eight regions read and rendered one by one, without adding and without keeping; and `memcpy` of
//! the body. The peer is one `prometheus` registry of 10,000 series, gathered and encoded: what a pool that shared one would pay.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tachograph::{Counter, Desc, Family, LabelSet, OnExisting, Region};
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::serve::Scraper;
use tachograph_exporter::{Directories, RegionReader};

use crate::contest::{Contestant, Effort, Line, contest};
use crate::render::{Labels, all};
use crate::render_peers;

const REGIONS: usize = 8;
const SERIES: usize = 10_000;
const DEAD: usize = 1_000;
/// What each series begins with.
const RAISED: u64 = 12_345;

/// A region of the pool, with its families.
struct Worker {
    region: Region,
    families: Vec<Family<Counter, Labels>>,
}

impl Worker {
    fn start(dir: &Path, name: &str, series: usize) -> Self {
        let builder = Region::builder(name).dir(dir).families(20).series(series as u32).cells(series as u32 + 16);
        let builder = builder.string_bytes((series * 64 + (1 << 16)) as u32).on_existing(OnExisting::Archive);
        let region = builder.lanes(4).keep_archived(1).build().expect("a region");
        let family = |index| {
            region.family(Desc::new(format!("bench_{index}_total"), "Raised by a bench")).expect("room for a family")
        };
        let families: Vec<Family<Counter, Labels>> = (0..series.div_ceil(Labels::COUNT)).map(family).collect();
        families.iter().for_each(|family| all().for_each(|labels| family.at(labels).add(RAISED)));
        Self { region, families }
    }

    /// Raises a tenth of its series, spread evenly.
    fn work(&self) {
        self.families.iter().for_each(|family| all().step_by(10).for_each(|labels| family.at(labels).inc()));
    }
}

pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let disk = std::env::current_exe().expect("its own path");
    let disk = disk.parent().expect("a folder").to_owned();
    let modes = [("tmpfs", Path::new("/dev/shm"), 0), ("disk", &disk, 0), ("disk_1000_dead", &disk, DEAD)];
    modes.into_iter().flat_map(|(mode, book, dead)| mode_lines(effort, mode, book, dead)).collect()
}

fn mode_lines(effort: Effort, mode: &'static str, book: &Path, dead: usize) -> Vec<Line> {
    let regions = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let book = tempfile::tempdir_in(book).expect("a folder for the ledger");
    let directories = || Directories::from_args(vec![regions.path().to_owned()]);
    let scraper = Scraper::new(directories(), Options::default()).expect("a scraper");
    let scraper = scraper.merging(book.path()).expect("a scraper that adds up");
    let exposition = Exposition::new(Format::Text);
    let scrape = move |scraper: &Scraper| scraper.metrics(&exposition).expect("a body");
    for index in 0..dead {
        // Each puts the one before aside, and the scrape folds that.
        drop(Worker::start(regions.path(), &format!("old-{}", index % REGIONS), Labels::COUNT));
        if index % REGIONS == REGIONS - 1 {
            scrape(&scraper);
        }
    }
    let start = |index| Worker::start(regions.path(), &format!("mc-{index}"), SERIES);
    let workers: Vec<Worker> = (0..REGIONS).map(start).collect();
    let body = scrape(&scraper);
    prove(&body, dead);
    let readers: Vec<RegionReader> = workers
        .iter()
        .map(|worker| RegionReader::open(worker.region.path().expect("a file")).expect("it opens"))
        .collect();
    let workers = Arc::new(workers);
    let working = Arc::clone(&workers);
    let ours = Contestant::long("tachograph", move || {
        working.iter().for_each(Worker::work);
        let start = Instant::now();
        assert!(!scrape(&scraper).is_empty());
        start.elapsed()
    });
    let mut last: Vec<(Plan, Source)> = readers
        .iter()
        .map(|reader| {
            let source = Source::region(Arc::new(reader.snapshot().expect("a snapshot")));
            (Plan::new(std::slice::from_ref(&source), &Options::default()).expect("a plan"), source)
        })
        .collect();
    let mut out = Vec::new();
    let renders = Contestant::long("sum_of_renders", move || {
        workers.iter().for_each(Worker::work);
        let start = Instant::now();
        for (reader, (plan, source)) in readers.iter().zip(&mut last) {
            let before = std::mem::replace(source, Source::region(Arc::new(reader.snapshot().expect("a snapshot"))));
            Arc::into_inner(before.snapshot).into_iter().for_each(|snapshot| reader.recycle(snapshot));
            out.clear();
            assert!(
                Exposition::new(Format::Text).render(plan, std::slice::from_ref(source), &mut out),
                "the plan fits"
            );
        }
        start.elapsed()
    });
    let mut copied: Vec<u8> = Vec::with_capacity(body.len());
    let copy = Contestant::long("memcpy", move || {
        let start = Instant::now();
        copied.clear();
        copied.extend_from_slice(std::hint::black_box(&body));
        std::hint::black_box(&copied);
        start.elapsed()
    });
    let mut gather = render_peers::prometheus_body(SERIES);
    let prometheus = Contestant::long("prometheus", move || {
        let start = Instant::now();
        assert!(gather() > 0, "nothing was rendered");
        start.elapsed()
    });
    contest("merge_8x10k", mode, effort, vec![ours, renders, copy, prometheus])
}

/// The body shows the sum of all, the dead included.
fn prove(body: &[u8], dead: usize) {
    let text = String::from_utf8_lossy(body);
    let samples: Vec<&str> = text.lines().filter(|line| line.starts_with("bench_")).collect();
    assert_eq!(samples.len(), SERIES, "each series once");
    let total = |regions: usize| format!(" {}", regions * RAISED as usize);
    assert!(
        samples.iter().any(|line| line.starts_with("bench_0_") && line.ends_with(&total(REGIONS + dead))),
        "{}",
        samples[0]
    );
    assert!(
        samples.iter().any(|line| line.starts_with("bench_9_") && line.ends_with(&total(REGIONS))),
        "{}",
        samples[0]
    );
}

//! Rows `render_text`, `render_text_histogram`, `render_openmetrics`, `render_protobuf`: from a region of the size that
//! the mode says to a body, the cells of eight lanes summed on the way; nanoseconds a sample line. And `scrape_read`, the
//! first half of it alone, with writers running; nanoseconds a series.
//!
//! Counters have three labels, a thousand series a family; histograms have 12 buckets, so 14 lines a series. The floors are
//! `memcpy` of the finished body, and `prefix_itoa`: each line's prefix copied and its number formatted, from an array.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tachograph::{Buckets, Counter, Desc, Family, Histogram, LabelSet, LabelValue, Region};
use tachograph_exporter::RegionReader;
use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::serve::Pages;

use crate::contest::{Contestant, Effort, Line, contest};
use crate::inputs::BOUNDS;
use crate::render_peers;
use crate::start::{Digit, Hundred, Ten};

pub(crate) type Labels = (Hundred, Ten, Digit);

/// Lanes that hold values, the shared one among them.
const LANES: usize = 8;
/// Lines of a histogram with twelve buckets.
pub(crate) const HISTOGRAM_LINES: usize = 14;
/// How often each series was raised, by each of the lanes.
const RAISED: u64 = 12_345;

const MODES: [(&str, usize); 4] = [("1k", 1_000), ("10k", 10_000), ("100k", 100_000), ("1m", 1_000_000)];

/// The sizes of a run: a quick one has the two small ones.
fn modes(effort: Effort) -> &'static [(&'static str, usize)] {
    if effort.rounds == Effort::QUICK.rounds { &MODES[..2] } else { &MODES }
}

pub(crate) fn text(effort: Effort) -> Vec<Line> {
    let peers = |lines| {
        vec![
            render_peers::prometheus(lines),
            render_peers::client(lines),
            render_peers::measured(lines),
            render_peers::metrics(lines),
        ]
    };
    row("render_text", Format::Text, effort, Region::counters, peers)
}

pub(crate) fn text_histogram(effort: Effort) -> Vec<Line> {
    let peers = |lines| {
        let series = lines / HISTOGRAM_LINES;
        vec![
            render_peers::prometheus_histograms(series),
            render_peers::client_histograms(series),
            render_peers::measured_histograms(series),
            render_peers::metrics_histograms(series),
        ]
    };
    row("render_text_histogram", Format::Text, effort, Region::histograms, peers)
}

pub(crate) fn openmetrics(effort: Effort) -> Vec<Line> {
    row("render_openmetrics", Format::OpenMetrics, effort, Region::counters, |lines| vec![render_peers::client(lines)])
}

pub(crate) fn protobuf(effort: Effort) -> Vec<Line> {
    row("render_protobuf", Format::Protobuf, effort, Region::counters, |_| Vec::new())
}

/// A region with series to render.
trait Filled: Sized {
    fn counters(lines: usize) -> Bench;
    fn histograms(lines: usize) -> Bench;
}

struct Bench {
    /// Keeps the file.
    _dir: tempfile::TempDir,
    region: Region,
    lines: usize,
}

impl Filled for Region {
    fn counters(lines: usize) -> Bench {
        let (dir, region) = empty(lines, lines);
        let families: Vec<Family<Counter, Labels>> = (0..lines / Labels::COUNT)
            .map(|index| region.family(Desc::new(format!("bench_{index}_total"), "Raised by a bench")).expect("room"))
            .collect();
        in_lanes(|| families.iter().for_each(|family| all().for_each(|labels| family.at(labels).add(RAISED))));
        Bench { _dir: dir, region, lines }
    }

    fn histograms(lines: usize) -> Bench {
        let series = lines / HISTOGRAM_LINES;
        let count = series.div_ceil(Labels::COUNT);
        let (dir, region) = empty(count * Labels::COUNT, count * Labels::COUNT * (BOUNDS.len() + 2));
        let buckets = Buckets::bounds(BOUNDS);
        let families: Vec<Family<Histogram, Labels>> = (0..count)
            .map(|index| {
                let desc = Desc::new(format!("bench_{index}_seconds"), "Filled by a bench").buckets(buckets.clone());
                region.family(desc).expect("room")
            })
            .collect();
        in_lanes(|| {
            let fill = |histogram: Histogram| (0..12).for_each(|step| histogram.observe(f64::from(step) / 4.0));
            families.iter().for_each(|family| all().for_each(|labels| fill(family.at(labels))));
        });
        Bench { _dir: dir, region, lines: count * Labels::COUNT * HISTOGRAM_LINES }
    }
}

fn empty(series: usize, cells: usize) -> (tempfile::TempDir, Region) {
    let dir = tempfile::tempdir_in("/dev/shm").expect("/dev/shm is writable");
    let builder = Region::builder("bench").dir(dir.path()).families(2_000).bounds(20_000);
    let builder = builder.series(series as u32).cells(cells as u32 + 16).string_bytes((series * 64 + (1 << 20)) as u32);
    let region = builder.build().expect("a region");
    (dir, region)
}

pub(crate) fn all() -> impl Iterator<Item = Labels> {
    let pairs = Hundred::all().iter().flat_map(|h| Ten::all().iter().map(move |t| (*h, *t)));
    pairs.flat_map(|(h, t)| Digit::all().iter().map(move |d| (h, t, *d)))
}

/// Does something from as many threads at once as there are lanes to fill.
fn in_lanes(work: impl Fn() + Sync) {
    let barrier = std::sync::Barrier::new(LANES - 1);
    std::thread::scope(|scope| {
        (1..LANES).for_each(|_| {
            scope.spawn(|| {
                work();
                barrier.wait();
            });
        });
    });
}

/// A contestant that renders `lines` lines each time; its time is told as if it had rendered as many as were asked for.
pub(crate) fn renderer(name: &'static str, lines: usize, mut render: impl FnMut() -> usize + 'static) -> Contestant {
    Contestant::new(name, move |operations| {
        let times = (operations / lines as u64).max(1);
        let start = Instant::now();
        for _ in 0..times {
            assert!(render() > 0, "nothing was rendered");
        }
        scaled(start.elapsed(), operations, times * lines as u64)
    })
}

fn scaled(took: Duration, operations: u64, done: u64) -> Duration {
    Duration::from_secs_f64(took.as_secs_f64() * operations as f64 / done as f64)
}

fn row(
    name: &'static str,
    format: Format,
    effort: Effort,
    fill: fn(usize) -> Bench,
    peers: impl Fn(usize) -> Vec<Contestant>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for (mode, size) in modes(effort) {
        let bench = fill(*size);
        let reader = RegionReader::open(bench.region.path().expect("a file")).expect("it opens");
        let first = Source::region(Arc::new(reader.snapshot().expect("a snapshot")));
        let sources = vec![first];
        let plan = Plan::new(&sources, &Options::default()).expect("a plan");
        let mut body = Vec::new();
        Exposition::new(format).render(&plan, &sources, &mut body);
        if format != Format::Protobuf {
            let text = String::from_utf8_lossy(&body);
            let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert_eq!(samples.len(), bench.lines, "as many lines as the mode says");
            let total = format!(" {}", RAISED * (LANES as u64 - 1));
            assert!(samples[0].ends_with(&total) || samples[0].ends_with(" 7"), "{}", samples[0]);
        }
        let floors = floors(&body, bench.lines);
        let total = bench.lines;
        let (pages, mut sources) = (Pages::default(), sources);
        let ours = renderer("tachograph", total, move || {
            // The last one's buffers are used again, as the server does.
            if let Some(snapshot) = sources.pop().and_then(|source: Source| Arc::into_inner(source.snapshot)) {
                reader.recycle(snapshot);
            }
            sources.push(Source::region(Arc::new(reader.snapshot().expect("a snapshot"))));
            let body = pages.render(&Exposition::new(format), &plan, &sources).expect("the plan fits");
            black_box(&body).len() as usize
        });
        let all = [vec![ours], floors, peers(total)].into_iter().flatten().collect();
        // Once through a million lines takes longer than a turn.
        let effort = Effort { rounds: if *size > 100_000 { effort.rounds.min(7) } else { effort.rounds }, ..effort };
        lines.extend(contest(name, mode, effort, all));
        drop(bench);
    }
    lines
}

/// What no renderer can be faster than.
fn floors(body: &[u8], lines: usize) -> Vec<Contestant> {
    let (source, mut out) = (body.to_vec(), Vec::with_capacity(body.len()));
    let copy = renderer("memcpy", lines, move || {
        out.clear();
        out.extend_from_slice(black_box(&source));
        black_box(&out).len()
    });
    let Ok(text) = std::str::from_utf8(body) else { return vec![copy] };
    let (mut arena, mut ends, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let (prefix, value) = line.rsplit_once(' ').unwrap_or((line, ""));
        let value = if line.starts_with('#') { None } else { value.parse::<u64>().ok() };
        arena.extend_from_slice(if value.is_some() { prefix } else { line }.as_bytes());
        arena.push(b' ');
        ends.push(arena.len());
        values.push(value.unwrap_or(0));
    }
    let mut out: Vec<u8> = Vec::with_capacity(body.len() + lines * 20);
    let itoa = renderer("prefix_itoa", lines, move || {
        out.clear();
        let mut start = 0;
        for (end, value) in ends.iter().zip(black_box(&values)) {
            out.extend_from_slice(&arena[start..*end]);
            start = *end;
            out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes());
            out.push(b'\n');
        }
        black_box(&out).len()
    });
    if text.starts_with('#') { vec![copy, itoa] } else { vec![copy] }
}

/// Snapshots of counters in 16 lanes while a thread raises them; the floor copies as many bytes.
pub(crate) fn read(effort: Effort) -> Vec<Line> {
    const LANES: usize = 16;
    let mut lines = Vec::new();
    for (mode, size) in modes(effort) {
        let bench = Region::counters(*size);
        let barrier = std::sync::Barrier::new(LANES - 1);
        std::thread::scope(|scope| {
            (1..LANES).for_each(|_| {
                scope.spawn(|| {
                    tachograph::enter_thread();
                    barrier.wait();
                });
            });
        });
        let reader = RegionReader::open(bench.region.path().expect("a file")).expect("it opens");
        let stop = Arc::new(AtomicBool::new(false));
        let family: Family<Counter, Labels> =
            bench.region.family(Desc::new("bench_0_total", "Raised by a bench")).expect("it is there");
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                all().for_each(|labels| family.at(labels).inc());
            }
        });
        let mut last = 0;
        let ours = renderer("tachograph", *size, move || {
            let snapshot = reader.snapshot().expect("a snapshot");
            let tachograph_exporter::Value::U64(value) = snapshot.value(0) else { panic!("a counter") };
            assert!(value >= last, "a counter fell");
            last = value;
            let series = snapshot.schema.series.len();
            reader.recycle(snapshot);
            series
        });
        let words = vec![1_u64; size * LANES];
        let mut out: Vec<u64> = Vec::with_capacity(words.len());
        let copy = renderer("memcpy", *size, move || {
            out.clear();
            out.extend_from_slice(black_box(&words));
            black_box(&out).len()
        });
        let effort = Effort { rounds: if *size > 100_000 { effort.rounds.min(7) } else { effort.rounds }, ..effort };
        lines.extend(contest("scrape_read", mode, effort, vec![ours, copy]));
        stop.store(true, Relaxed);
        writer.join().expect("the writer ends");
    }
    lines
}

//! What a crowd of scrapers costs the exporter: however many ask and however slowly they read, they share few bodies (those who come
//! while one is made share the next), of a compressed one nothing is held but what is compressed; and whoever is past
//! `--web.max-requests` gets a 503 at once. The test command runs it over 100,000 series; `long` over up to a million, and tells what it measured:
//! `cargo test --release -p tachograph-tests --test scrape_memory -- --ignored --exact long --nocapture`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tachograph::{Counter, Desc, Family, LabelValue as _, Region};
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::tmpfs;

const TEXT: &str = "Accept: text/plain;version=0.0.4\r\n";
const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";
const GZIP: &str = "Accept: text/plain;version=0.0.4\r\nAccept-Encoding: gzip\r\n";

/// As many requests as the exporter takes at a time by default.
const SCRAPERS: usize = 40;
/// Series a family.
const FAMILY: usize = 1_000;
/// Bodies that are held between scrapes: structure, plan and snapshot of counters with three labels, and the pages for the next body.
const AT_REST: f64 = 2.0;
/// How long a crowd may take.
const PATIENCE: Duration = Duration::from_secs(120);

tachograph::label_value! {
    enum Hundred: "hundred" { N0 = "0", N1 = "1", N2 = "2", N3 = "3", N4 = "4", N5 = "5", N6 = "6", N7 = "7", N8 = "8", N9 = "9" }
}
tachograph::label_value! {
    enum Ten: "ten" { N0 = "0", N1 = "1", N2 = "2", N3 = "3", N4 = "4", N5 = "5", N6 = "6", N7 = "7", N8 = "8", N9 = "9" }
}
tachograph::label_value! {
    enum Digit: "digit" { N0 = "0", N1 = "1", N2 = "2", N3 = "3", N4 = "4", N5 = "5", N6 = "6", N7 = "7", N8 = "8", N9 = "9" }
}

/// Counters with three labels.
fn region(dir: &std::path::Path, series: usize) -> Region {
    let strings = (series * 64 + (1 << 20)) as u32;
    let builder = Region::builder("crowd").dir(dir).lanes(8).families(2_000).series(series as u32);
    let region = builder.cells(series as u32 + 16).string_bytes(strings).build().expect("a region");
    for index in 0..series / FAMILY {
        let desc = Desc::new(format!("crowd_{index}_total"), "Raised by a test");
        let family: Family<Counter, (Hundred, Ten, Digit)> = region.family(desc).expect("room");
        for hundred in Hundred::all() {
            for ten in Ten::all() {
                Digit::all().iter().for_each(|digit| family.at((*hundred, *ten, *digit)).add(12_345));
            }
        }
    }
    region
}

fn serve(dir: &std::path::Path, more: &[&str]) -> (Running, u16) {
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.arg("serve").arg("--region-dir").arg(dir).args(more);
    command.arg("--web.compression=always").arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Running::start(&mut command);
    eventually("the server", PATIENCE, || get(port, "/-/ready"));
    (server, port)
}

/// Private memory of a process: without the region, which is shared.
fn private_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") * 1024
}

/// How many bodies an exporter has rendered, this answer included.
fn renders(port: u16) -> u64 {
    let text = get(port, "/metrics?name[]=tacho_scrapes_total").expect("an answer").body;
    let value = text.lines().find_map(|line| line.strip_prefix("tacho_scrapes_total "));
    value.and_then(|value| value.parse().ok()).expect("a count")
}

/// Watches a process' private memory.
struct Watch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(private_memory(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { peak, stop, thread }
    }

    fn peak(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch ends");
        self.peak.load(Ordering::Relaxed)
    }
}

/// One answer: its status, the length of its body, and how long it took.
#[derive(Debug, Clone, Copy)]
struct Answer {
    status: u16,
    length: u64,
    took: Duration,
}

/// One request; the body is read and forgotten, a piece each time `pause` has passed.
fn scrape(port: u16, accept: &str, pause: Duration) -> Answer {
    let start = Instant::now();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{accept}\r\n")
        .expect("it is sent");
    let mut piece = vec![0; 256 << 10];
    let (mut head, mut all) = (Vec::new(), 0_u64);
    loop {
        let read = stream.read(&mut piece).expect("an answer");
        if read == 0 {
            break;
        }
        all += read as u64;
        if head.len() < 4_096 {
            head.extend_from_slice(&piece[..read.min(4_096)]);
        }
        std::thread::sleep(pause);
    }
    let end = head.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    let said: u64 =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).expect("a length");
    let length = all - end as u64;
    assert_eq!(length, said, "the whole body came");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, length, took: start.elapsed() }
}

/// So many scrapers at once, each with the words of its turn.
fn crowd(port: u16, count: usize, accepts: &[&str], pause: Duration) -> Vec<Answer> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let start = |index: usize| {
            let (accept, barrier) = (accepts[index % accepts.len()], &barrier);
            scope.spawn(move || {
                barrier.wait();
                scrape(port, accept, pause)
            })
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    })
}

/// A crowd: its name, how many, what they ask for in turn, and how long each waits before it reads on, in milliseconds. And
/// how many bodies it may cost on top of what is held between scrapes, where each of its two turns takes two renders of each
/// kind; one more for each render beyond, which is there where some come too late for the next one.
type Crowd = (&'static str, usize, &'static [&'static str], u64, f64);

const ALIKE: Crowd = ("40 alike", SCRAPERS, &[TEXT], 0, 2.2);
const COMPRESSED: Crowd = ("40 with gzip", SCRAPERS, &[GZIP], 0, 0.5);
const SLOW: Crowd = ("40 that read slowly", SCRAPERS, &[TEXT], 20, 2.2);
const MIXED: Crowd = ("40 of three kinds", SCRAPERS, &[TEXT, OPENMETRICS, GZIP], 0, 3.2);
const MANY: Crowd = ("60", SCRAPERS + 20, &[TEXT], 2, 2.2);

/// Runs a crowd twice over the regions of a directory, by an exporter of its own, so that it finds nothing of another's.
fn measure(dir: &std::path::Path, series: usize, body: u64, (name, count, accepts, pause, most): Crowd) {
    let (server, port) = serve(dir, &[]);
    let idle = private_memory(server.0.id());
    let watch = Watch::start(server.0.id());
    let bodies = |bytes: u64| bytes as f64 / body as f64;
    let before = renders(port);
    let first = scrape(port, accepts[0], Duration::ZERO);
    let rest = eventually("the first body is let go", PATIENCE, || {
        let now = private_memory(server.0.id());
        (bodies(now) < AT_REST + bodies(idle)).then_some(now)
    });
    let second = scrape(port, accepts[0], Duration::ZERO);
    let answers: Vec<Answer> = (0..2).flat_map(|_| crowd(port, count, accepts, Duration::from_millis(pause))).collect();
    let peak = watch.peak();
    // Without the two before the crowd, and the one that is asked now.
    let renders = renders(port) - before - 3;
    let beyond = renders.saturating_sub(4 * accepts.len() as u64);
    let of = |status: u16| answers.iter().filter(move |answer| answer.status == status);
    let slowest = |status| of(status).map(|answer| answer.took).max().unwrap_or_default().as_millis();
    let (served, refused) = (of(200).count(), of(503).count());
    let told = format!(
        "{series} series, {name}: body {body} bytes, at rest {:.2} bodies, peak {:.2} ({} MiB); first scrape {} ms, second {} ms \
         ({:.1} ns a line); {renders} renders, {served} served, the slowest in {} ms; {refused} refused, the slowest in {} ms",
        bodies(rest),
        bodies(peak),
        peak >> 20,
        first.took.as_millis(),
        second.took.as_millis(),
        second.took.as_nanos() as f64 / series as f64,
        slowest(200),
        slowest(503),
    );
    println!("{told}");
    assert_eq!(served + refused, answers.len(), "{told}");
    assert!(served >= 2 * SCRAPERS && (count > SCRAPERS) == (refused > 0), "{told}");
    assert!(renders * 4 <= answers.len() as u64, "they share: {told}");
    // Of a compressed one nothing else is held, however many there are.
    let more = if accepts == [GZIP] { 0.0 } else { beyond as f64 };
    assert!(bodies(peak) < bodies(rest) + most + more, "{told}");
    // The aim at a million series.
    assert!(series < 1_000_000 || bodies(peak) <= 3.0, "{told}");
}

/// Runs crowds over so many series.
fn measure_all(series: usize, crowds: &[Crowd]) {
    let dir = tmpfs::folder();
    let _region = region(dir.path(), series);
    let (_server, port) = serve(dir.path(), &[]);
    let body = scrape(port, TEXT, Duration::ZERO).length;
    crowds.iter().for_each(|crowd| measure(dir.path(), series, body, *crowd));
}

/// What a scrape of so many series takes, asked for and read to its end, at best.
fn cost_a_line(series: usize) {
    let dir = tmpfs::folder();
    let _region = region(dir.path(), series);
    let (_server, port) = serve(dir.path(), &[]);
    let best = (0..50).map(|_| scrape(port, TEXT, Duration::ZERO).took).min().unwrap_or_default();
    println!("{series} series: {} us, {:.1} ns a line", best.as_micros(), best.as_nanos() as f64 / series as f64);
}

#[test]
fn a_crowd_shares_few_bodies() {
    measure_all(100_000, &[ALIKE, COMPRESSED, SLOW, MANY]);
}

#[test]
#[ignore = "long, a million series: benches/figures.sh runs it"]
fn long() {
    for series in [1_000, 10_000] {
        cost_a_line(series);
    }
    // Of less than that the exporter's own megabyte and a half is more than the bodies.
    for series in [100_000, 200_000, 1_000_000] {
        measure_all(series, &[ALIKE, COMPRESSED, SLOW, MIXED, MANY]);
    }
}

//! A pool of workers that is recycled all the time, under an exporter that adds them up and is killed and started again: no
//! total ever falls, and at the end every acknowledged count is there, once. `TACHOGRAPH_MERGE_SECONDS` makes it longer than
//! the seconds of the test command.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tachograph::{Buckets, OnExisting, Region};
use tachograph_tests::exposition::Exposition;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually};
use tachograph_tests::tmpfs;

const ROLE: &str = "MERGE_DIR_NAME_AND_START";
const WORKERS: usize = 8;

/// A worker: counts, and says how far it came before each step and after it. Does nothing in a run of all tests.
#[test]
#[ignore = "the worker's role, started by other tests"]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [dir, name, start] = role.split(' ').collect::<Vec<_>>().try_into().expect("three words");
    let on_existing = if start == "adopt" { OnExisting::Adopt } else { OnExisting::Archive };
    let region = Region::builder(name).dir(dir).lanes(4).series(64).keep_archived(8).on_existing(on_existing);
    let region = region.build().expect("a region");
    let jobs = region.counter("app_jobs_total", "Jobs done").expect("a counter");
    let wait = region.histogram("app_wait_seconds", "Time", Buckets::bounds([0.1, 1.0])).expect("a histogram");
    let mut out = std::io::stdout();
    for step in 1_u64.. {
        writeln!(out, "about {step}").expect("a reader");
        jobs.inc();
        wait.observe(0.5);
        writeln!(out, "done {step}").expect("a reader");
        out.flush().expect("a reader");
        std::thread::sleep(Duration::from_millis(2));
        match std::fs::read_to_string(Path::new(dir).join(format!("end-{name}"))).as_deref() {
            Ok("close") => return region.close(),
            Ok("exit") => std::process::exit(3),
            _ => {}
        }
    }
}

/// Starts a worker, and gives what reads its acknowledgements to their end: lower and upper bound of its count.
fn start(dir: &Path, slot: usize) -> (Running, std::thread::JoinHandle<(u64, u64)>) {
    let name = format!("mc-{slot}");
    let _ = std::fs::remove_file(dir.join(format!("end-{name}")));
    let how = if slot.is_multiple_of(2) { "adopt" } else { "archive" };
    let mut command = Command::new(std::env::current_exe().expect("its own path"));
    command.args(["worker", "--exact", "--ignored", "--nocapture"]);
    command.env(ROLE, format!("{} {name} {how}", dir.display())).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut worker = Running::start(command.stderr(Stdio::null()));
    let stdout = worker.0.stdout.take().expect("stdout is piped");
    let reading = std::thread::spawn(move || {
        let (mut done, mut about) = (0, 0);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let number = |word: &str| line.strip_prefix(word).and_then(|number| number.parse::<u64>().ok());
            (done, about) = (number("done ").unwrap_or(done), number("about ").unwrap_or(about));
        }
        (done, about)
    });
    (worker, reading)
}

fn serve(dir: &Path, book: &Path, port: u16) -> Running {
    let mut command = Command::new(binary("tacho"));
    command.args(["serve", "--merge", "--web.listen-address", &format!("127.0.0.1:{port}")]);
    command.arg("--region-dir").arg(dir).arg("--recorder.dir").arg(book).args(["--log.level", "error"]);
    Running::start(command.stdin(Stdio::null()))
}

/// Counts of what must never fall.
fn totals(body: &str) -> BTreeMap<String, f64> {
    let wanted = ["app_jobs_total", "app_wait_seconds_bucket", "app_wait_seconds_sum", "app_wait_seconds_count"];
    let parsed = Exposition::parse(body);
    let totals = parsed.values.iter().filter(|(series, _)| wanted.iter().any(|name| series.starts_with(name)));
    totals.map(|(series, value)| (series.clone(), value.parse().expect("a number"))).collect()
}

#[test]
fn no_total_of_a_recycled_pool_ever_falls_and_all_of_it_is_there_at_the_end() {
    let seconds = std::env::var("TACHOGRAPH_MERGE_SECONDS").map_or(12, |text| text.parse().expect("a number"));
    let (folder, book) = (tmpfs::folder(), tempfile::tempdir().expect("a directory"));
    let (dir, port) = (folder.path(), free_port());
    let mut exporter = serve(dir, book.path(), port);
    let mut pool: Vec<_> = (0..WORKERS).map(|slot| start(dir, slot)).collect();
    let (mut done, mut about, mut lives) = (0, 0, 0);
    let (mut highest, mut scrapes, mut kills) = (BTreeMap::<String, f64>::new(), 0, 0);
    let began = Instant::now();
    let (mut recycled, mut killed) = (Instant::now(), Instant::now());
    let check = |highest: &mut BTreeMap<String, f64>| {
        let Some(answer) = get(port, "/metrics") else { return false };
        if answer.status != 200 {
            return false;
        }
        let now = totals(&answer.body);
        for (series, value) in &*highest {
            let shown = now.get(series).copied();
            assert!(shown.is_some_and(|shown| shown >= *value), "{series} was {value} and is {shown:?}");
        }
        highest.extend(now);
        true
    };
    while began.elapsed() < Duration::from_secs(seconds) {
        scrapes += usize::from(check(&mut highest));
        if recycled.elapsed() >= Duration::from_millis(1_000) {
            recycled = Instant::now();
            let old: Vec<_> = pool.drain(..).enumerate().collect();
            for (slot, (mut worker, reading)) in old {
                match (slot / 2 + lives) % 3 {
                    0 => worker.signal(Signal::SIGKILL),
                    how => {
                        std::fs::write(dir.join(format!("end-mc-{slot}")), ["", "close", "exit"][how]).expect("told")
                    }
                }
                worker.wait(Duration::from_secs(20));
                let bounds = reading.join().expect("read to its end");
                (done, about) = (done + bounds.0, about + bounds.1);
                pool.push(start(dir, slot));
            }
            lives += 1;
        }
        if killed.elapsed() >= Duration::from_millis(2_700) {
            killed = Instant::now();
            exporter.signal(Signal::SIGKILL);
            exporter.wait(Duration::from_secs(5));
            exporter = serve(dir, book.path(), port);
            kills += 1;
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    for (mut worker, reading) in pool.drain(..) {
        worker.signal(Signal::SIGKILL);
        worker.wait(Duration::from_secs(5));
        let bounds = reading.join().expect("read to its end");
        (done, about) = (done + bounds.0, about + bounds.1);
    }
    eventually("a last scrape", Duration::from_secs(10), || check(&mut highest).then_some(()));
    let shown = highest["app_jobs_total"] as u64;
    println!(
        "{lives} lives of {WORKERS}, {kills} kills of the exporter, {scrapes} scrapes: {done}..{about}, shown {shown}"
    );
    assert!(lives >= 3 && kills >= 2 && scrapes > 20, "the pool was recycled under a reader");
    assert!((done..=about).contains(&shown), "{shown} shown, acknowledged {done} to {about}");
}

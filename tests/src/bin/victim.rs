//! The process that the torture kills: it starts a region, registers families while threads write them, and closes.
//!
//! Built with the writer's fail points, so that it can end itself by SIGKILL at any of them. `victim points` lists them;
//! `victim run DIR LEDGER close|die|count [POINT PASS]` lives a whole life, `die` without closing, `count` with the
//! number of passes of each point on stdout; `victim contend DIR [POINT]` waits for a line on stdin, starts, says
//! `won UUID`, `owned PID MESSAGE` or `failed MESSAGE`, and holds what it won until stdin ends; it stops at POINT until
//! the next line. The region is called `mc`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tachograph::fail_point::FailPoint;
use tachograph::{
    Buckets, BuildError, Builder, Counter, Desc, ExponentialDurationHistogram, Family, FloatCounter, Gauge, Histogram,
    Region, UpDownCounter, WatermarkMax,
};
use tachograph_tests::ledger::{BOUNDS, FACTS, FAMILIES, Fact, Ledger, WRITERS, WRITTEN, observed};

tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed", Late = "late" } }

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["points"] => {
            FailPoint::ALL.iter().for_each(|point| println!("{}", point.name()));
            Ok(())
        }
        ["run", dir, ledger, end] => run(Path::new(dir), Path::new(ledger), end),
        ["run", dir, ledger, end, point, pass] => {
            let (pass, passed) = (pass.parse::<u64>()?, AtomicU64::new(0));
            named(point)?.on_pass(move || {
                if passed.fetch_add(1, Ordering::Relaxed) + 1 == pass {
                    die();
                }
            })?;
            run(Path::new(dir), Path::new(ledger), end)
        }
        ["contend", dir] => contend(Path::new(dir)),
        ["contend", dir, point] => {
            let (stop, name) = (named(point)?, (*point).to_owned());
            stop.on_pass(move || {
                println!("at {name}");
                let _ = std::io::stdin().lock().read_line(&mut String::new());
            })?;
            contend(Path::new(dir))
        }
        other => Err(format!("not understood: {other:?}").into()),
    }
}

fn named(point: &str) -> Result<FailPoint, Failed> {
    FailPoint::named(point).ok_or_else(|| format!("no fail point {point}").into())
}

fn die() {
    // Nothing after this line runs in this thread: the signal is delivered before `raise` returns.
    let _ = raise(Signal::SIGKILL);
}

/// A small region, whose archive is limited by the number of files alone.
fn builder(dir: &Path) -> Builder {
    Region::builder("mc").dir(dir).lanes(16).archive_share(100).tick(Duration::from_millis(10))
}

/// The handles that the threads write through, as they are registered.
#[derive(Default)]
struct Handles {
    served: OnceLock<Counter>,
    requests: OnceLock<Family<Counter, Outcome>>,
    active: OnceLock<UpDownCounter>,
    busy: OnceLock<FloatCounter>,
    level: OnceLock<Gauge<i64>>,
    peak: OnceLock<WatermarkMax>,
    wait: OnceLock<Histogram>,
    took: OnceLock<ExponentialDurationHistogram>,
}

fn run(dir: &Path, ledger: &Path, end: &str) -> Result<(), Failed> {
    static PASSES: [AtomicU64; FailPoint::ALL.len()] = [const { AtomicU64::new(0) }; FailPoint::ALL.len()];
    if end == "count" {
        for (point, passes) in FailPoint::ALL.iter().zip(&PASSES) {
            point.on_pass(|| {
                passes.fetch_add(1, Ordering::Relaxed);
            })?;
        }
    }
    let ledger = Ledger::open(ledger)?;
    let region = builder(dir).build()?;
    ledger.built(region.uuid())?;
    let (handles, stop) = (Handles::default(), AtomicBool::new(false));
    let rounds = [const { AtomicU64::new(0) }; WRITERS];
    let lived = std::thread::scope(|scope| {
        for (thread, rounds) in rounds.iter().enumerate() {
            let (handles, stop, ledger) = (&handles, &stop, &ledger);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let round = rounds.load(Ordering::Relaxed) + 1;
                    write(handles, ledger, thread, round).expect("the ledger takes what is written");
                    rounds.store(round, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
        }
        let lived = live(&region, &handles, &ledger, &rounds);
        if lived.is_ok() && end != "die" {
            // The threads write on: what they write now is in the closed region.
            region.clone().close();
        }
        stop.store(true, Ordering::Relaxed);
        lived
    });
    lived?;
    match end {
        "die" => die(),
        "count" => FailPoint::ALL
            .iter()
            .zip(&PASSES)
            .for_each(|(point, passes)| println!("{} {}", point.name(), passes.load(Ordering::Relaxed))),
        _ => {}
    }
    Ok(())
}

/// Registers everything, and lets the threads write a while.
fn live(region: &Region, handles: &Handles, ledger: &Ledger, rounds: &[AtomicU64; WRITERS]) -> Result<(), Failed> {
    for (index, name) in FAMILIES.into_iter().enumerate() {
        ledger.family_about(index as u64 + 1)?;
        match index {
            0 => drop(handles.served.set(region.counter(name, "Requests served")?)),
            1 => drop(handles.requests.set(region.family(Desc::new(name, "Requests by how they ended"))?)),
            2 => drop(handles.active.set(region.updown_counter(name, "Requests being served")?)),
            3 => drop(handles.busy.set(region.float_counter(name, "Time spent serving")?)),
            4 => drop(handles.level.set(region.gauge(name, "The level")?)),
            5 => drop(handles.peak.set(region.watermark_max(name, "The highest level")?)),
            6 => drop(handles.wait.set(region.histogram(name, "Time until served", Buckets::bounds(BOUNDS))?)),
            7 => drop(handles.took.set(region.exponential_duration_histogram(
                name,
                "Time served",
                Buckets::exponential(2, 0.1..=10.0),
            )?)),
            _ => drop(region.family::<Counter, Outcome>(Desc::new(name, "Something else"))?),
        }
        ledger.family_done(index as u64 + 1)?;
        if index < WRITTEN {
            wait_for_rounds(rounds, 1);
        }
    }
    wait_for_rounds(rounds, 3);
    Ok(())
}

fn wait_for_rounds(rounds: &[AtomicU64; WRITERS], more: u64) {
    for round in rounds {
        let before = round.load(Ordering::Relaxed);
        while round.load(Ordering::Relaxed) < before + more {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// One deed of every fact whose family is there already.
fn write(handles: &Handles, ledger: &Ledger, thread: usize, round: u64) -> std::io::Result<()> {
    // Facts of families that came later than the first round are behind it: what counts is the deed's own number.
    thread_local!(static DEEDS: [std::cell::Cell<u64>; FACTS] = const { [const { std::cell::Cell::new(0) }; FACTS] });
    let deed = |fact: Fact, index: usize, write: &dyn Fn(u64)| {
        let value = DEEDS.with(|deeds| {
            let deeds = &deeds[fact as usize + index];
            deeds.set(deeds.get() + 1);
            deeds.get()
        });
        ledger.deed(thread, fact, index, value, || write(value))
    };
    if let Some(served) = handles.served.get() {
        deed(Fact::Served, 0, &|_| served.inc())?;
    }
    if let Some(requests) = handles.requests.get() {
        for (index, outcome) in [Outcome::Ok, Outcome::Failed, Outcome::Late].into_iter().enumerate() {
            if round.is_multiple_of(index as u64 + 1) {
                deed(Fact::Requests, index, &|_| requests.at(outcome).inc())?;
            }
        }
    }
    if let Some(active) = handles.active.get() {
        deed(Fact::Up, 0, &|_| active.inc())?;
        deed(Fact::Down, 0, &|_| active.dec())?;
    }
    if let Some(busy) = handles.busy.get() {
        deed(Fact::Busy, 0, &|_| busy.add(0.5))?;
    }
    if let (0, Some(level)) = (thread, handles.level.get()) {
        deed(Fact::Level, 0, &|value| level.set(value as i64))?;
    }
    if let Some(peak) = handles.peak.get() {
        deed(Fact::Peak, 0, &|value| peak.record(value as i64))?;
    }
    if let Some(wait) = handles.wait.get() {
        deed(Fact::Wait, 0, &|value| wait.observe(observed(value)))?;
    }
    if let Some(took) = handles.took.get() {
        deed(Fact::Took, 0, &|value| took.observe(Duration::from_secs_f64(observed(value))))?;
    }
    Ok(())
}

fn contend(dir: &Path) -> Result<(), Failed> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let mut out = std::io::stdout();
    match builder(dir).build() {
        Ok(region) => {
            let uuid: String = region.uuid().iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "won {uuid}")?;
            let served = region.counter(FAMILIES[0], "Requests served")?;
            served.inc();
            while std::io::stdin().read_line(&mut line)? > 0 {}
            region.close();
        }
        Err(error @ BuildError::Owned { owner, .. }) => {
            let pid = owner.map_or(0, |owner| owner.pid);
            writeln!(out, "owned {pid} {error}")?;
        }
        Err(error) => writeln!(out, "failed {error:?}")?,
    }
    Ok(())
}

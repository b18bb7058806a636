//! The process of a line of regions: it adopts what is there, registers its families while threads write them, and closes.
//!
//! Built with the writer's fail points, as the victim is, so that it can end itself by SIGKILL at any of them. `heir run DIR
//! DEEDS close|die|count all|some|none [POINT PASS]` lives a whole life: `die` without closing, `count` with the number of
//! passes of each point on stdout; it registers all its families, some, or none. The region is called `heir`. What it
//! counts stands in `tachograph_tests::lineage`.

use std::cell::Cell;
use std::error::Error;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tachograph::fail_point::FailPoint;
use tachograph::{
    Buckets, Counter, Desc, ExponentialDurationHistogram, ExponentialHistogram, Family, FloatCounter, Histogram, Lease,
    OnExisting, OpenFamily, OpenRules, Region,
};
use tachograph_tests::lineage::{Deeds, FACTS, STEP, WRITERS};

tachograph::label_value! { enum Outcome: "outcome" { Ok = "ok", Failed = "failed" } }

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["points"] => {
            FailPoint::ALL.iter().for_each(|point| println!("{}", point.name()));
            Ok(())
        }
        ["run", dir, deeds, end, share] => run(Path::new(dir), Path::new(deeds), end, share),
        ["run", dir, deeds, end, share, point, pass] => {
            let (pass, passed) = (pass.parse::<u64>()?, AtomicU64::new(0));
            let point = FailPoint::named(point).ok_or_else(|| format!("no fail point {point}"))?;
            point.on_pass(move || {
                if passed.fetch_add(1, Ordering::Relaxed) + 1 == pass {
                    die();
                }
            })?;
            run(Path::new(dir), Path::new(deeds), end, share)
        }
        other => Err(format!("not understood: {other:?}").into()),
    }
}

fn die() {
    // Nothing after this line runs in this thread: the signal is delivered before `raise` returns.
    let _ = raise(Signal::SIGKILL);
}

/// The handles that the threads write through, as they are registered.
#[derive(Default)]
struct Handles {
    served: OnceLock<Counter>,
    requests: OnceLock<Family<Counter, Outcome>>,
    busy: OnceLock<FloatCounter>,
    wait: OnceLock<Histogram<f64>>,
    took: OnceLock<ExponentialDurationHistogram>,
    size: OnceLock<ExponentialHistogram>,
    peers: [OnceLock<Lease<Counter>>; 3],
}

fn run(dir: &Path, deeds: &Path, end: &str, share: &str) -> Result<(), Failed> {
    static PASSES: [AtomicU64; FailPoint::ALL.len()] = [const { AtomicU64::new(0) }; FailPoint::ALL.len()];
    if end == "count" {
        for (point, passes) in FailPoint::ALL.iter().zip(&PASSES) {
            point.on_pass(|| {
                passes.fetch_add(1, Ordering::Relaxed);
            })?;
        }
    }
    let deeds = Deeds::open(deeds)?;
    let builder = Region::builder("heir").dir(dir).lanes(16).archive_share(100).tick(Duration::from_millis(10));
    let region = builder.on_existing(OnExisting::Adopt).build()?;
    let (handles, stop) = (Handles::default(), AtomicBool::new(false));
    let rounds = [const { AtomicU64::new(0) }; WRITERS];
    let lived = std::thread::scope(|scope| {
        for (thread, rounds) in rounds.iter().enumerate() {
            let (handles, stop, deeds) = (&handles, &stop, &deeds);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    write(handles, deeds, thread).expect("the file takes what is written");
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::yield_now();
                }
            });
        }
        let lived = live(&region, &handles, &rounds, share);
        stop.store(true, Ordering::Relaxed);
        lived
    });
    lived?;
    if end == "die" {
        die();
    }
    // The threads are done: what is written into a closed region is nobody's to continue.
    region.close();
    if end == "count" {
        let counts = FailPoint::ALL.iter().zip(&PASSES);
        counts.for_each(|(point, passes)| println!("{} {}", point.name(), passes.load(Ordering::Relaxed)));
    }
    Ok(())
}

/// Registers what it is to register, in an order of its own each time, and lets the threads write a while.
fn live(region: &Region, handles: &Handles, rounds: &[AtomicU64; WRITERS], share: &str) -> Result<(), Failed> {
    let mut order: Vec<usize> = (0..7).collect();
    fastrand::shuffle(&mut order);
    if share == "none" {
        order.clear();
    } else if share == "some" {
        order.truncate(3);
    }
    for index in order {
        match index {
            0 => set(&handles.served, region.counter(FACTS[0].0, "Requests served")?),
            1 => set(&handles.requests, region.family(Desc::new(FACTS[1].0, "Requests by how they ended"))?),
            2 => set(&handles.busy, region.float_counter(FACTS[3].0, "Time spent serving")?),
            3 => {
                let buckets = Buckets::bounds([0.1, 0.25, 1.0]);
                set(&handles.wait, region.histogram(FACTS[4].0, "Time waited", buckets)?);
            }
            4 => {
                let buckets = Buckets::exponential(3, 0.001..=10.0);
                let took = region.exponential_duration_histogram(FACTS[5].0, "Time taken", buckets)?;
                set(&handles.took, took);
            }
            5 => {
                let buckets = Buckets::exponential(3, 0.001..=10.0);
                set(&handles.size, region.exponential_histogram(FACTS[6].0, "Size", buckets)?);
            }
            _ => {
                let desc = Desc::new(FACTS[7].0, "Requests by peer");
                let peers: OpenFamily<Counter, 1> = region.open_family(desc, ["peer"], OpenRules::new(2))?;
                let [a, b, other] = &handles.peers;
                // Whoever comes third has no slot of its own.
                let mut sets = [(a, "a"), (b, "b")];
                fastrand::shuffle(&mut sets);
                for (lease, peer) in sets.into_iter().take(if share == "some" { 1 } else { 2 }) {
                    set(lease, peers.with([peer]));
                }
                if share == "all" {
                    set(other, peers.with(["c"]));
                }
            }
        }
        wait_for_rounds(rounds, 1);
    }
    wait_for_rounds(rounds, 2);
    Ok(())
}

/// Each is registered once.
fn set<T>(place: &OnceLock<T>, handle: T) {
    assert!(place.set(handle).is_ok(), "registered twice");
}

fn wait_for_rounds(rounds: &[AtomicU64; WRITERS], more: u64) {
    for round in rounds {
        let before = round.load(Ordering::Relaxed);
        while round.load(Ordering::Relaxed) < before + more {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// One deed of every fact whose series is there already.
fn write(handles: &Handles, deeds: &Deeds, thread: usize) -> std::io::Result<()> {
    thread_local!(static DONE: [Cell<u64>; FACTS.len()] = const { [const { Cell::new(0) }; FACTS.len()] });
    let deed = |fact: usize, write: &dyn Fn()| {
        let number = DONE.with(|done| {
            done[fact].set(done[fact].get() + 1);
            done[fact].get()
        });
        deeds.deed(thread, fact, number, write)
    };
    if let Some(served) = handles.served.get() {
        deed(0, &|| served.inc())?;
    }
    if let Some(requests) = handles.requests.get() {
        deed(1, &|| requests.at(Outcome::Ok).inc())?;
        deed(2, &|| requests.at(Outcome::Failed).inc())?;
    }
    if let Some(busy) = handles.busy.get() {
        deed(3, &|| busy.add(STEP))?;
    }
    if let Some(wait) = handles.wait.get() {
        deed(4, &|| wait.observe(STEP))?;
    }
    if let Some(took) = handles.took.get() {
        deed(5, &|| took.observe(Duration::from_secs_f64(STEP)))?;
    }
    if let Some(size) = handles.size.get() {
        deed(6, &|| size.observe(STEP))?;
    }
    for (fact, peer) in (7..).zip(&handles.peers) {
        if let Some(peer) = peer.get() {
            deed(fact, &|| peer.inc())?;
        }
    }
    Ok(())
}

//! Row `counter_inc`: raising a held counter by 1, in the shapes that applications have. Every turn proves its sum.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::bump::{Bump, Plain};
use crate::contest::{Contestant, Effort, Line, contest};

const ROW: &str = "counter_inc";
const IN_TURN: usize = 64;

/// All modes.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    type Ours = tachograph::Counter;
    type Prometheus = prometheus::IntCounter;
    type Client = prometheus_client::metrics::counter::Counter;
    Ours::enter_thread();
    let peers = |plain| vec![plain, two_same::<Prometheus>(), two_same::<Client>()];
    [
        contest(ROW, "1t", effort, held::<Ours>(), vec![held::<Plain>(), held::<Prometheus>(), held::<Client>()]),
        contest(
            ROW,
            "1t_reloaded",
            effort,
            reloaded::<Ours>(),
            vec![reloaded::<Plain>(), reloaded::<Prometheus>(), reloaded::<Client>()],
        ),
        contest(
            ROW,
            "1t_64_in_turn",
            effort,
            in_turn::<Ours>(),
            vec![in_turn::<Plain>(), in_turn::<Prometheus>(), in_turn::<Client>()],
        ),
        // On one word two plain adds would lose counts: the floor is two threads on words of their own.
        contest(ROW, "2t_same", effort, two_same::<Ours>(), peers(two_apart(Plain::apart(2)))),
        contest(
            ROW,
            "2t_apart",
            effort,
            two_apart(Ours::make(2)),
            vec![two_apart(Plain::apart(2)), two_apart(Prometheus::make(2)), two_apart(Client::make(2))],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One thread, the handle in a register.
fn held<B: Bump>() -> Contestant {
    let counters = B::make(1);
    Contestant::new(B::NAME, move |operations| {
        proving(&counters, operations, || {
            let counter = counters[0].clone();
            let start = Instant::now();
            raise(counter, operations);
            start.elapsed()
        })
    })
}

/// The loop over a held handle. Not inlined, so that the compiler knows no more of the handle than an application's does,
/// and finds it in a register.
#[inline(never)]
fn raise<B: Bump>(counter: B, operations: u64) {
    for _ in 0..operations {
        counter.bump();
    }
}

/// One thread, the handle read from memory each time, as out of a struct behind a reference.
fn reloaded<B: Bump>() -> Contestant {
    let counters = B::make(1);
    Contestant::new(B::NAME, move |operations| {
        proving(&counters, operations, || {
            let start = Instant::now();
            for _ in 0..operations {
                black_box(&counters[0]).bump();
            }
            start.elapsed()
        })
    })
}

/// One thread, 64 counters in turn.
fn in_turn<B: Bump>() -> Contestant {
    let counters = B::make(IN_TURN);
    let handles: Box<[B; IN_TURN]> = counters.clone().try_into().unwrap_or_else(|_| unreachable!("64 were made"));
    Contestant::new(B::NAME, move |operations| {
        proving(&counters, operations, || {
            let start = Instant::now();
            raise_in_turn(&handles, operations);
            start.elapsed()
        })
    })
}

#[inline(never)]
fn raise_in_turn<B: Bump>(handles: &[B; IN_TURN], operations: u64) {
    for index in 0..operations as usize {
        handles[index % IN_TURN].bump();
    }
}

/// Two threads on one counter.
fn two_same<B: Bump>() -> Contestant {
    let counters = B::make(1);
    Contestant::new(B::NAME, move |operations| {
        proving(&counters, 2 * operations, || two_threads(&counters[0], &counters[0], operations))
    })
}

/// Two threads, a counter each.
fn two_apart<B: Bump>(counters: Vec<B>) -> Contestant {
    Contestant::new(B::NAME, move |operations| {
        proving(&counters, 2 * operations, || two_threads(&counters[0], &counters[1], operations))
    })
}

/// Each thread does all `operations`; what is returned is the mean of the two threads' own times, so that it reads as
/// what one operation costs a thread while the other is at it.
fn two_threads<B: Bump>(one: &B, other: &B, operations: u64) -> Duration {
    let barrier = Barrier::new(2);
    let run = |counter: &B| {
        B::enter_thread();
        let counter = counter.clone();
        barrier.wait();
        let start = Instant::now();
        raise(counter, operations);
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| run(other));
        let here = run(one);
        (here + beside.join().expect("the thread ends")) / 2
    })
}

/// Runs a turn, and asserts that exactly `bumps` were counted.
fn proving<B: Bump>(counters: &[B], bumps: u64, turn: impl FnOnce() -> Duration) -> Duration {
    let total = || counters.iter().map(B::total).sum::<u64>();
    let before = total();
    let took = turn();
    assert_eq!(total() - before, bumps, "{} lost counts", B::NAME);
    took
}

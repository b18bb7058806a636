//! The shapes in which applications use a metric: every row runs in each of them, ours and its peers alike.
//!
//! | mode | what |
//! |---|---|
//! | `1t` | one thread, the handle in a register |
//! | `1t_reloaded` | one thread, the handle read from memory each time, as out of a struct behind a reference |
//! | `1t_64_in_turn` | one thread, 64 metrics in turn |
//! | `2t_same` | two threads on one metric |
//! | `2t_apart` | two threads, a metric each |
//! | `nt_same` | as many threads as the machine has cores, on one metric |
//!
//! With several threads the figure is what an operation costs each of them while the others are at it.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::contest::{Contestant, Effort, Line, contest};
use crate::subject::Subject;

const IN_TURN: usize = 64;

/// A library in a row: what makes its contestant for each mode.
pub(crate) struct Entry {
    held: fn() -> Contestant,
    reloaded: fn() -> Contestant,
    in_turn: fn() -> Contestant,
    two_same: fn() -> Contestant,
    two_apart: fn() -> Contestant,
    all_same: fn() -> Contestant,
}

impl Entry {
    /// The entry of a subject.
    pub(crate) const fn of<S: Subject>() -> Self {
        Self {
            held: held::<S>,
            reloaded: reloaded::<S>,
            in_turn: in_turn::<S>,
            two_same: || threads("2t_same", S::same(2), if S::SAME_IS_ONE { 1 } else { 2 }),
            two_apart: || threads("2t_apart", S::apart(2), 2),
            all_same: || {
                let cores = cores();
                threads("nt_same", S::same(cores), if S::SAME_IS_ONE { 1 } else { cores })
            },
        }
    }
}

/// Runs a row in every mode; the first entry is ours.
pub(crate) fn row(name: &'static str, effort: Effort, entries: &[Entry]) -> Vec<Line> {
    let run = |mode, pick: fn(&Entry) -> Contestant| contest(name, mode, effort, entries.iter().map(pick).collect());
    [
        run("1t", |entry| (entry.held)()),
        run("1t_reloaded", |entry| (entry.reloaded)()),
        run("1t_64_in_turn", |entry| (entry.in_turn)()),
        run("2t_same", |entry| (entry.two_same)()),
        run("2t_apart", |entry| (entry.two_apart)()),
        run("nt_same", |entry| (entry.all_same)()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

fn held<S: Subject>() -> Contestant {
    let metrics = S::make(1);
    S::enter_thread();
    Contestant::new(S::NAME, move |operations| {
        proving(&metrics, operations, operations, || {
            let metric = metrics[0].clone();
            let start = Instant::now();
            repeat(metric, operations);
            start.elapsed()
        })
    })
}

/// The loop over a held handle. Not inlined, so that the compiler knows no more of the handle than an application's does,
/// and finds it in a register.
#[inline(never)]
fn repeat<S: Subject>(metric: S, operations: u64) {
    for step in 0..operations {
        metric.act(step);
    }
}

fn reloaded<S: Subject>() -> Contestant {
    let metrics = S::make(1);
    S::enter_thread();
    Contestant::new(S::NAME, move |operations| {
        proving(&metrics, operations, operations, || {
            let start = Instant::now();
            for step in 0..operations {
                black_box(&metrics[0]).act(step);
            }
            start.elapsed()
        })
    })
}

fn in_turn<S: Subject>() -> Contestant {
    let metrics = S::make(IN_TURN);
    S::enter_thread();
    let handles: Box<[S; IN_TURN]> = metrics.clone().try_into().unwrap_or_else(|_| unreachable!("64 were made"));
    Contestant::new(S::NAME, move |operations| {
        proving(&metrics, operations, operations, || {
            let start = Instant::now();
            repeat_in_turn(&handles, operations);
            start.elapsed()
        })
    })
}

#[inline(never)]
fn repeat_in_turn<S: Subject>(handles: &[S; IN_TURN], operations: u64) {
    for step in 0..operations {
        handles[step as usize % IN_TURN].act(step);
    }
}

/// A thread for each handle, of which the first `distinct` are all the metrics there are. Each thread does all
/// `operations`; what is returned is the mean of their own times.
fn threads<S: Subject>(mode: &'static str, handles: Vec<S>, distinct: usize) -> Contestant {
    Contestant::new(S::NAME, move |operations| {
        let count = handles.len();
        proving(&handles[..distinct], operations * count as u64, operations, || {
            let barrier = Barrier::new(count);
            let run = |metric: &S| {
                S::enter_thread();
                let metric = metric.clone();
                barrier.wait();
                let start = Instant::now();
                repeat(metric, operations);
                start.elapsed()
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = handles.iter().map(|metric| scope.spawn(|| run(metric))).collect();
                let times = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panic!("{mode} died")));
                times.sum::<Duration>() / count as u32
            })
        })
    })
}

/// Runs a turn, and has the metrics prove what was done.
fn proving<S: Subject>(metrics: &[S], all: u64, each: u64, turn: impl FnOnce() -> Duration) -> Duration {
    let before = metrics.iter().map(S::done).sum();
    let took = turn();
    S::prove(metrics, before, all, each);
    took
}

//! Row `activity_mark`: begin and end of one message, marked in the actor's slot. The floor is two plain stores to a line.
//! What is proved is how many messages were handled.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tachograph::{Activity, Doing, Region};

use crate::contest::{Contestant, Effort, Line, contest};

/// One actor; 64 of them in turn, as a runtime polls them; one each of two threads.
pub(crate) fn lines(effort: Effort) -> Vec<Line> {
    let run = |mode, actors: usize, threads: bool| {
        contest("activity_mark", mode, effort, vec![ours(actors, threads), floor(actors, threads)])
    };
    [run("1t", 1, false), run("1t_64_in_turn", 64, false), run("2t_apart", 2, true)].into_iter().flatten().collect()
}

fn ours(count: usize, threads: bool) -> Contestant {
    let region = Region::builder("bench").activities(64).private().expect("private memory");
    let doing = region.doing("message").expect("room");
    let mut actors: Vec<Activity> = (0..count).map(|n| region.activity("actor", &n.to_string(), 0)).collect();
    assert!(actors.iter().all(Activity::has_slot), "an actor has no slot");
    Contestant::new("tachograph", move |operations| {
        let handled = |actors: &[Activity]| actors.iter().map(Activity::handled).sum::<u64>();
        let before = handled(&actors);
        let took = turn(&mut actors, threads, |actors| mark(actors, doing, operations));
        let all = if threads { operations * count as u64 } else { operations };
        assert_eq!(handled(&actors) - before, all, "messages are missing");
        let _ = &region;
        took
    })
}

/// Not inlined, so that the compiler knows no more of the actors than an application's does.
#[inline(never)]
fn mark(actors: &mut [Activity], doing: Doing, operations: u64) {
    if let [actor] = actors {
        for _ in 0..operations {
            actor.begin(doing);
            black_box(());
            actor.end();
        }
        return;
    }
    let count = actors.len();
    for step in 0..operations as usize {
        let actor = &mut actors[step % count];
        actor.begin(doing);
        black_box(());
        actor.end();
    }
}

#[repr(align(128))]
struct Slot([AtomicU64; 2]);

fn floor(count: usize, threads: bool) -> Contestant {
    let mut slots: Vec<Slot> = (0..count).map(|_| Slot([const { AtomicU64::new(0) }; 2])).collect();
    Contestant::new("plain_store", move |operations| {
        let took = turn(&mut slots, threads, |slots| store(slots, operations));
        assert!(slots.iter().all(|slot| slot.0[1].load(Relaxed) != 0), "nothing was stored");
        took
    })
}

#[inline(never)]
fn store(slots: &[Slot], operations: u64) {
    let count = slots.len();
    if let [slot] = slots {
        for step in 0..operations {
            slot.0[0].store(step, Relaxed);
            black_box(());
            slot.0[1].store(step + 1, Relaxed);
        }
        return;
    }
    for step in 0..operations {
        let slot = &slots[step as usize % count];
        slot.0[0].store(step, Relaxed);
        black_box(());
        slot.0[1].store(step + 1, Relaxed);
    }
}

/// All of them on this thread; or each on a thread of its own, whose mean is returned.
fn turn<T: Send>(all: &mut [T], threads: bool, act: impl Fn(&mut [T]) + Sync) -> Duration {
    let timed = |part: &mut [T]| {
        let start = Instant::now();
        act(part);
        start.elapsed()
    };
    if !threads {
        return timed(all);
    }
    let (count, barrier) = (all.len(), Barrier::new(all.len()));
    std::thread::scope(|scope| {
        let (timed, barrier) = (&timed, &barrier);
        let threads: Vec<_> = all
            .chunks_mut(1)
            .map(|part| {
                scope.spawn(move || {
                    barrier.wait();
                    timed(part)
                })
            })
            .collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        times.sum::<Duration>() / count as u32
    })
}

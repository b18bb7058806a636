//! A contest: ours and its peers do the same thing in turns, again and again, and the medians are compared.
//!
//! Turns are interleaved, and their order moves on by one each round, so that a slow second of the machine hits all
//! alike. Each contestant does as many operations a turn as take it about the same time. Called by every row; it neither
//! knows what is measured nor prints.

use std::time::Duration;

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds: one turn for each contestant.
    pub(crate) rounds: usize,
    /// What a turn should take.
    pub(crate) turn: Duration,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 31, turn: Duration::from_millis(8) };
    /// For a look, and for a check that the benches still work.
    pub(crate) const QUICK: Self = Self { rounds: 7, turn: Duration::from_millis(2) };
}

/// One way to do what the row measures.
pub(crate) struct Contestant {
    name: &'static str,
    turn: Box<dyn FnMut(u64) -> Duration>,
    /// Fewest operations of a turn.
    least: u64,
}

impl Contestant {
    /// `turn` does that many operations, proves that they had their effect, and says how long they took.
    pub(crate) fn new(name: &'static str, turn: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { name, turn: Box::new(turn), least: 1_000 }
    }

    /// One whose operation is long: it does one, and says how long that took. What it does before and after is not timed.
    pub(crate) fn long(name: &'static str, mut once: impl FnMut() -> Duration + 'static) -> Self {
        Self { least: 1, ..Self::new(name, move |operations| (0..operations).map(|_| once()).sum()) }
    }

    /// How many operations take about as long as a turn should. Warms caches, the branch predictor and the core's clock.
    fn calibrate(&mut self, effort: Effort) -> u64 {
        let mut operations = self.least;
        loop {
            let took = (self.turn)(operations);
            if took * 4 >= effort.turn || operations >= 1 << 30 {
                let scale = effort.turn.as_secs_f64() / took.as_secs_f64().max(1e-9);
                return ((operations as f64 * scale) as u64).max(self.least);
            }
            operations *= 4;
        }
    }
}

/// One line of the results.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) row: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) ours_ns: f64,
    pub(crate) peer: &'static str,
    /// `None` where there is no peer.
    pub(crate) peer_ns: Option<f64>,
}

/// Runs ours, the first, against its peers; a line a peer.
pub(crate) fn contest(row: &'static str, mode: &'static str, effort: Effort, mut all: Vec<Contestant>) -> Vec<Line> {
    let operations: Vec<u64> = all.iter_mut().map(|contestant| contestant.calibrate(effort)).collect();
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); all.len()];
    for round in 0..effort.rounds {
        for turn in 0..all.len() {
            let index = (round + turn) % all.len();
            let took = (all[index].turn)(operations[index]);
            samples[index].push(took.as_secs_f64() * 1e9 / operations[index] as f64);
        }
    }
    let medians: Vec<f64> = samples.into_iter().map(median).collect();
    let ours_ns = medians[0];
    let peers = all.iter().zip(medians).skip(1);
    peers.map(|(peer, ns)| Line { row, mode, ours_ns, peer: peer.name, peer_ns: Some(ns) }).collect()
}

/// The middle of some samples.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

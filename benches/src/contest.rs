//! A contest: ours and its peers do the same thing in turns, again and again, and the medians are compared.
//!
//! Turns are interleaved, and their order moves on by one each round, so that a slow second of the machine hits all
//! alike. Called by every row; it neither knows what is measured nor prints.

use std::time::Duration;

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Rounds: one turn for each contestant.
    pub(crate) rounds: usize,
    /// Operations a turn.
    pub(crate) operations: u64,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 31, operations: 4_000_000 };
    /// For a check that the benches still work: too little for figures.
    pub(crate) const QUICK: Self = Self { rounds: 3, operations: 100_000 };
}

/// One way to do what the row measures.
pub(crate) struct Contestant {
    name: &'static str,
    turn: Box<dyn FnMut(u64) -> Duration>,
}

impl Contestant {
    /// `turn` does that many operations, proves that they had their effect, and says how long they took.
    pub(crate) fn new(name: &'static str, turn: impl FnMut(u64) -> Duration + 'static) -> Self {
        Self { name, turn: Box::new(turn) }
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

/// Runs ours against its peers; a line a peer.
pub(crate) fn contest(
    row: &'static str,
    mode: &'static str,
    effort: Effort,
    ours: Contestant,
    peers: Vec<Contestant>,
) -> Vec<Line> {
    let mut all: Vec<Contestant> = std::iter::once(ours).chain(peers).collect();
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); all.len()];
    // The first round warms caches, the branch predictor and the clock of the core, and is not counted.
    for round in 0..=effort.rounds {
        for turn in 0..all.len() {
            let index = (round + turn) % all.len();
            let took = (all[index].turn)(effort.operations);
            if round > 0 {
                samples[index].push(took.as_secs_f64() * 1e9 / effort.operations as f64);
            }
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

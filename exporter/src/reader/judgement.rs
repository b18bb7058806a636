//! What became of the writer, and what speaks for it: asked of the lock, the region and the kernel, anew each time.

use rustix::time::{ClockId, clock_gettime};
use tachograph_layout::{Control, RegionState};

use super::{ReadError, RegionReader};
use crate::Verdict;
use crate::cause::{Cause, DeathFacts};
use crate::evidence::{self, Fatal, Moment};
use crate::json::Now;
use crate::promise::{self, Promise};
use crate::verdict::Facts;

/// The verdict on a region's writer with what speaks for it.
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) signal: Option<String>,
    pub(super) broken_promises: Vec<Promise>,
}

/// A writer that ticked so long after a fatal signal was handled by somebody, and survived it.
const SURVIVED_NS: u64 = 10_000_000_000;

impl RegionReader {
    pub(super) fn state(&self) -> Option<RegionState> {
        // SYNC(region-live): whoever finds the region closed finds its last values.
        self.view().load_acquire(Control::STATE).and_then(RegionState::from_wire)
    }

    /// The verdict with what speaks for it, asked now.
    pub(super) fn judgement(&self) -> Result<Judgement, ReadError> {
        let (facts, broken_promises) = self.facts()?;
        let verdict = facts.verdict();
        if verdict != Verdict::Crashed {
            let broken_promises = if verdict == Verdict::Hung { broken_promises } else { Vec::new() };
            return Ok(Judgement { verdict, cause: None, signal: None, broken_promises });
        }
        let signal = self.fatal_signal();
        let silent = DeathFacts { fatal: signal.is_some(), state: facts.state, process_lives: false };
        let cause = match silent.cause() {
            // Only then is it asked of the kernel, and of the files beside.
            Cause::Killed => DeathFacts { process_lives: self.file.is_outlived(facts), ..silent }.cause(),
            cause => cause,
        };
        Ok(Judgement { verdict, cause: Some(cause), signal: signal.flatten(), broken_promises: Vec::new() })
    }

    /// What a verdict is made of, and the promises that are broken if the writer lives.
    pub(super) fn facts(&self) -> Result<(Facts, Vec<Promise>), ReadError> {
        self.check_length()?;
        let broken_promises = self.broken_promises();
        Ok((self.file.facts(self.state(), !broken_promises.is_empty())?, broken_promises))
    }

    /// The promises that are broken now, if the writer lives.
    fn broken_promises(&self) -> Vec<Promise> {
        let (view, header) = (self.view(), &self.file.header);
        let now = Moment::from(Now::read());
        // Until the first tick there is the start.
        let tick = view.load(Control::TICK_MONOTONIC_NS).unwrap_or(0).max(header.created_monotonic_ns);
        promise::broken(header.tick_period_ns, now.since_ns(tick), evidence::pulses(view, &self.file.sections, now))
    }

    /// The name of the signal that the writer died of; `Some(None)` where its record is unfinished.
    fn fatal_signal(&self) -> Option<Option<String>> {
        let (fatal, unfinished) = evidence::fatal(self.view(), &self.file.sections);
        let ticked = self.view().load(Control::TICK_MONOTONIC_NS).unwrap_or(0);
        let died = |fatal: &Fatal| ticked.saturating_sub(fatal.at.monotonic_ns) <= SURVIVED_NS;
        match fatal {
            Some(fatal) => died(&fatal).then_some(Some(fatal.name)),
            None => unfinished.map(|_| None),
        }
    }

    /// The writer's monotonic clock: now where it lives; else as it was at its last tick, so that what lingered when it
    /// died is shown for as long as its region is.
    pub(super) fn now(&self, verdict: Verdict) -> u64 {
        if verdict.is_alive() {
            let now = clock_gettime(ClockId::Monotonic);
            (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
        } else {
            self.view().load(Control::TICK_MONOTONIC_NS).unwrap_or(0)
        }
    }
}

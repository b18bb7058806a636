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
    /// When the signal that it died of was recorded: nanoseconds since the Unix epoch; 0 where none was.
    pub(super) fatal_realtime_ns: u64,
    /// What had become of the writer of a copy when it was made, and when that was, as far as anybody says so.
    pub(super) copied_as: Option<(Verdict, u64)>,
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
        let verdict = self.told(facts.verdict());
        let signal = if verdict.is_alive() { None } else { self.fatal_signal() };
        let fatal_realtime_ns = signal.as_ref().map_or(0, |(_, at_ns)| *at_ns);
        let alive = Judgement {
            verdict,
            cause: None,
            signal: None,
            broken_promises: Vec::new(),
            fatal_realtime_ns,
            copied_as: None,
        };
        if verdict == Verdict::Copy {
            let (copied_as, broken_promises) = match self.copied_as() {
                Some((verdict, promises, at_ns)) => (Some((verdict, at_ns)), promises),
                None => (None, Vec::new()),
            };
            return Ok(Judgement { broken_promises, copied_as, ..alive });
        }
        if verdict != Verdict::Crashed {
            let broken_promises = if verdict == Verdict::Hung { broken_promises } else { Vec::new() };
            return Ok(Judgement { broken_promises, ..alive });
        }
        let signal = signal.map(|(name, _)| name);
        let silent = DeathFacts { fatal: signal.is_some(), state: facts.state, process_lives: false };
        let cause = match silent.cause() {
            // Only then is it asked of the kernel, and of the files beside.
            Cause::Killed if self.is_of_a_case() => self.told_cause().unwrap_or(Cause::Killed),
            Cause::Killed => DeathFacts { process_lives: self.file.is_outlived(facts), ..silent }.cause(),
            cause => cause,
        };
        Ok(Judgement { cause: Some(cause), signal: signal.flatten(), ..alive })
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

    /// The name of the signal that the writer died of, and when; without a name where its record is unfinished.
    fn fatal_signal(&self) -> Option<(Option<String>, u64)> {
        let (fatal, unfinished) = evidence::fatal(self.view(), &self.file.sections);
        let ticked = self.view().load(Control::TICK_MONOTONIC_NS).unwrap_or(0);
        let died = |fatal: &Fatal| ticked.saturating_sub(fatal.at.monotonic_ns) <= SURVIVED_NS;
        match fatal {
            Some(fatal) => died(&fatal).then_some((Some(fatal.name), fatal.at.realtime_ns)),
            None => unfinished.map(|_| (None, 0)),
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

//! What a case says of the writer whose region it holds: the copy in it can't tell, away from its lock.
//!
//! Called by `reader/judgement.rs`. A case is foreign: it says what became of the writer, and never that one lives now.

use super::RegionReader;
use crate::Verdict;
use crate::case::Manifest;
use crate::cause::Cause;
use crate::evidence::Moment;
use crate::promise::Promise;

/// What was known of the writer when the case was written.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) broken_promises: Vec<Promise>,
    pub(super) at: Moment,
}

impl Told {
    pub(super) fn by(manifest: &Manifest) -> Self {
        let verdicts = [Verdict::Running, Verdict::Hung, Verdict::Closed, Verdict::Crashed];
        let verdict = verdicts.into_iter().find(|verdict| verdict.as_str() == manifest.verdict);
        let at = Moment { realtime_ns: manifest.written_realtime_ns, monotonic_ns: manifest.written_monotonic_ns };
        Self {
            verdict: verdict.unwrap_or(Verdict::Copy),
            cause: manifest.cause.as_deref().and_then(Cause::from_word),
            broken_promises: manifest.broken_promises.clone(),
            at,
        }
    }
}

impl RegionReader {
    /// The verdict on a copy is what its case says of the dead; of the living it stays a copy.
    pub(super) fn told(&self, verdict: Verdict) -> Verdict {
        let told = self.case.as_ref().map(|(_, told)| told.verdict).filter(|told| !told.is_alive());
        told.filter(|_| verdict == Verdict::Copy).unwrap_or(verdict)
    }

    /// The cause that its case gives.
    pub(super) fn told_cause(&self) -> Option<Cause> {
        self.case.as_ref().and_then(|(_, told)| told.cause)
    }

    /// The moment at which a living writer's region was put into the case.
    pub(super) fn copied_alive(&self) -> Option<Moment> {
        let told = self.case.as_ref().map(|(_, told)| told).filter(|told| told.verdict.is_alive())?;
        // An older case has no monotonic clock.
        (told.at.monotonic_ns > 0).then_some(told.at)
    }

    /// What its case says of a writer that lived: the verdict, the promises that it had broken, and when.
    pub(super) fn copied_as(&self) -> Option<(Verdict, Vec<Promise>, u64)> {
        let told = self.case.as_ref().map(|(_, told)| told).filter(|told| told.verdict.is_alive())?;
        Some((told.verdict, told.broken_promises.clone(), told.at.realtime_ns))
    }

    /// Whether it was taken out of a case.
    pub(crate) const fn is_of_a_case(&self) -> bool {
        self.case.is_some()
    }
}

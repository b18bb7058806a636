//! Which panics a death is made of: those that the thread that called `abort` had not got over.
//!
//! The one rule of this, for `tacho show` and the reports. It stands on what was recorded, in which order and by whom, and on
//! whether the thread was over with its panics when it died.

use super::{Evidence, Panic};

/// A panic longer before the abort than this is none of it.
const CLOSE_NS: u64 = 10_000_000_000;

impl Evidence {
    /// The panics that ended in the fatal signal, first one first; empty where none did. They and the signal are one death.
    ///
    /// The last panic of the thread that called `abort`, at most 10 s before, is of it, unless the thread was over with all of its
    /// panics by then: one that was caught is none of it, however short a time ago. Where the runtime raised that one because
    /// another could not go on unwinding, the one before is, too; where it did because a destructor panicked while another
    /// panic was unwinding, the two before are.
    ///
    /// ```
    /// use tachograph_exporter::evidence::{Culprit, Evidence, Fatal, Moment, Panic, Panics};
    /// let by = Culprit { thread_id: 7, ..Culprit::default() };
    /// let at = |monotonic_ns| Moment { realtime_ns: 0, monotonic_ns };
    /// let panic = Panic { number: 1, by: by.clone(), at: at(5), message: "out of tea".into(), ..Panic::default() };
    /// let fatal = Fatal { name: "SIGABRT".into(), by, at: at(6), ..Fatal::default() };
    /// let panics = Panics { latest: vec![panic], ..Panics::default() };
    /// let evidence = Evidence { fatal: Some(fatal), panics, ..Evidence::default() };
    /// assert_eq!(evidence.fatal_panics().first().unwrap().message, "out of tea");
    /// ```
    #[must_use]
    pub fn fatal_panics(&self) -> Vec<&Panic> {
        let Some(fatal) = self.fatal.as_ref().filter(|fatal| fatal.name == "SIGABRT") else { return Vec::new() };
        if fatal.panicking == Some(false) {
            return Vec::new();
        }
        let before = |panic: &&Panic| {
            let apart = fatal.at.monotonic_ns.checked_sub(panic.at.monotonic_ns);
            panic.by.thread_id == fatal.by.thread_id && apart.is_some_and(|apart| apart <= CLOSE_NS)
        };
        let mut panics: Vec<&Panic> = self.panics.all().filter(before).collect();
        let unwinding = panics.last().and_then(|last| last.gave_up()).unwrap_or(0);
        panics.drain(..panics.len().saturating_sub(1 + unwinding));
        panics
    }
}

impl Panic {
    /// Where it is the runtime that gave up: how many panics of the thread it gave up on.
    pub(crate) fn gave_up(&self) -> Option<usize> {
        match self.message.as_str() {
            "panic in a function that cannot unwind" => Some(1),
            "panic in a destructor during cleanup" => Some(2),
            _ => None,
        }
    }
}

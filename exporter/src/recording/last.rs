//! What was last seen beside a region: its process and its memory while it lived, and what its memory cgroup counted by the
//! time that it was dead. For cases and reports, so that both say the same.

use super::facts::{Facts, MemoryFacts};
use super::library::RecordedRegion;
use crate::cause::OomKills;

/// What was sampled beside a region at the end of its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastFacts {
    /// When the writer was last seen alive; where it never was, the first of these samples: nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// Whether it was seen alive then.
    pub alive: bool,
    /// The process and the bytes in use as they were then: a dead one has none of them. Counts of the cgroup are those of
    /// the last sample of all.
    pub facts: Facts,
    /// What its memory cgroup counted; `None` where it was not looked at both before the death and after.
    pub kills: Option<OomKills>,
}

impl RecordedRegion {
    /// What was sampled beside the region last; `None` where no sample is left. Reads the end of the finest tier.
    ///
    /// ```
    /// use tachograph_exporter::recording::Recordings;
    /// let directory = tempfile::tempdir()?;
    /// for region in Recordings::open(directory.path())?.regions() {
    ///     println!("{}: {:?}", region.origin().name, region.last_facts().map(|last| last.facts));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn last_facts(&self) -> Option<LastFacts> {
        let span = self.spans().into_iter().next()?;
        let mut window = self.window(span.last_ns.saturating_sub(span.interval_ns.saturating_mul(4)), u64::MAX);
        let mut seen = Seen::default();
        while let Some(sample) = window.next_sample() {
            seen.take(sample.realtime_ns, sample.snapshot.region.verdict.is_alive(), sample.facts);
        }
        seen.last
    }
}

/// What the samples told so far.
#[derive(Debug, Default)]
struct Seen {
    last: Option<LastFacts>,
    while_alive: Option<u64>,
}

impl Seen {
    fn take(&mut self, at_ns: u64, alive: bool, facts: Facts) {
        let kills = facts.memory.map(|memory| memory.oom_kills);
        if alive {
            self.while_alive = kills.or(self.while_alive);
        }
        let kills = self.while_alive.zip(kills).filter(|_| !alive);
        let kills = kills.map(|(while_alive, after_death)| OomKills { while_alive, after_death });
        self.last = Some(match self.last {
            Some(before) if !alive => LastFacts { facts: end(before.facts, facts), kills, ..before },
            before => {
                let before = before.map(|before| before.facts).unwrap_or_default();
                let process = facts.process.or(before.process);
                LastFacts { at_ns, alive, facts: Facts { process, memory: facts.memory.or(before.memory) }, kills }
            }
        });
    }
}

/// What was seen while it lived, with the counts of a look at the dead.
fn end(alive: Facts, dead: Facts) -> Facts {
    let memory = alive.memory.map(|memory| match dead.memory {
        Some(counts) => MemoryFacts { oom_kills: counts.oom_kills, limit_hits: counts.limit_hits, ..memory },
        None => memory,
    });
    Facts { process: alive.process, memory: memory.or(dead.memory) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::ProcessFacts;

    #[test]
    fn bytes_are_of_the_living_and_counts_of_the_dead() {
        let memory = |usage_bytes, oom_kills, limit_hits| {
            Some(MemoryFacts { usage_bytes, oom_kills, limit_hits, limit_bytes: Some(64) })
        };
        let process = Some(ProcessFacts { resident_bytes: 50, ..ProcessFacts::default() });
        let mut seen = Seen::default();
        seen.take(1, true, Facts { process, memory: memory(60, 2, 7) });
        assert_eq!(seen.last.unwrap().kills, None, "it lives");
        // It died between the looks at its process and at its cgroup.
        seen.take(2, true, Facts { process: None, memory: None });
        seen.take(3, false, Facts { process: None, memory: memory(3, 3, 9) });
        let last = seen.last.unwrap();
        assert_eq!((last.at_ns, last.alive, last.facts), (2, true, Facts { process, memory: memory(60, 3, 9) }));
        assert_eq!(last.kills, Some(OomKills { while_alive: 2, after_death: 3 }));
    }
}

//! Whether the kernel killed a writer for want of memory: what its memory cgroup counted while it lived, and what it counts
//! now. Noted by the sampler at each tick, asked by whoever counts deaths. A file of /sys is read, nothing else is touched.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::proc::Cgroup;
use crate::cause::OomKills;

/// Most writers that are remembered, dead ones included.
const MOST: usize = 10_000;

/// The memory cgroups of writers that were seen alive.
#[derive(Debug, Default)]
pub struct OomWatch {
    writers: Mutex<HashMap<[u8; 16], Writer>>,
}

#[derive(Debug)]
struct Writer {
    cgroup: Cgroup,
    while_alive: u64,
}

impl OomWatch {
    /// Notes what was counted while the writer of this region lived: it lived before and after the look.
    pub(crate) fn note(&self, uuid: [u8; 16], cgroup: &Cgroup, while_alive: u64) {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writers.get_mut(&uuid) {
            writer.while_alive = while_alive;
            return;
        }
        if writers.len() >= MOST {
            let any = writers.keys().next().copied();
            any.map(|uuid| writers.remove(&uuid));
        }
        writers.insert(uuid, Writer { cgroup: cgroup.clone(), while_alive });
    }

    /// What the cgroup of a dead region's writer counted; `None` where it was never looked at, or is gone.
    #[must_use]
    pub fn kills(&self, uuid: &[u8; 16]) -> Option<OomKills> {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writers.get(uuid)?;
        Some(OomKills { while_alive: writer.while_alive, after_death: writer.cgroup.sample()?.oom_kills })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_after_the_last_look_is_told() {
        let cgroup = tempfile::tempdir().unwrap();
        let count = |kills: u64| {
            std::fs::write(cgroup.path().join("memory.current"), "4096\n").unwrap();
            std::fs::write(cgroup.path().join("memory.events"), format!("max 7\noom 1\noom_kill {kills}\n")).unwrap();
        };
        let (watch, place) = (OomWatch::default(), Cgroup::V2(cgroup.path().to_owned()));
        count(2);
        watch.note([1; 16], &place, 2);
        assert_eq!(watch.kills(&[1; 16]), Some(OomKills { while_alive: 2, after_death: 2 }));
        count(3);
        assert_eq!(watch.kills(&[1; 16]), Some(OomKills { while_alive: 2, after_death: 3 }));
        assert_eq!(watch.kills(&[2; 16]), None, "never seen");
        watch.note([1; 16], &place, 3);
        assert_eq!(
            watch.kills(&[1; 16]),
            Some(OomKills { while_alive: 3, after_death: 3 }),
            "another's, which it survived"
        );
        drop(cgroup);
        assert_eq!(watch.kills(&[1; 16]), None, "the cgroup went with it");
    }
}

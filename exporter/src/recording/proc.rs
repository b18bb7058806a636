//! Asks the kernel how a writer's process and its memory cgroup are doing.
//!
//! Called by the sampler at each tick. The process is asked only where it is the writer: its pid namespace is ours and its
//! start time that of the region's header. The cgroup is found once, while the process lives, and still asked afterwards:
//! what killed the process is counted there.

use std::path::PathBuf;

use super::facts::{Facts, MemoryFacts, ProcessFacts};
use crate::json::Now;
use crate::region_info::RegionInfo;
use crate::writer_process::{self, Stat, text};

/// A writer's process and where its memory is counted.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    cgroup: Option<Cgroup>,
    looked: bool,
    survived: Survived,
}

/// Out-of-memory kills that the writer lived on after. The kernel counts a kill before the killed process has let go of its
/// lock, which on a busy machine takes a while: a count that rose is no count of the writer's life until it has outlived it.
#[derive(Debug, Default)]
struct Survived {
    kills: Option<u64>,
    /// A higher count, and when it was first seen on the monotonic clock.
    risen: Option<(u64, u64)>,
}

/// How long a writer that the kernel kills may still be seen alive, in nanoseconds.
const DYING_NS: u64 = 2_000_000_000;

impl Survived {
    fn look(&mut self, kills: u64, now_ns: u64) -> u64 {
        let known = *self.kills.get_or_insert(kills);
        let (risen, since_ns) = *self.risen.get_or_insert((kills, now_ns));
        if kills <= known {
            (self.kills, self.risen) = (Some(kills), None);
        } else if now_ns.saturating_sub(since_ns) >= DYING_NS {
            (self.kills, self.risen) = (Some(risen), None);
        }
        self.kills.unwrap_or(known)
    }
}

impl Watched {
    /// How both are doing now.
    pub(crate) fn sample(&mut self, region: &RegionInfo) -> Facts {
        let process = region.verdict.is_alive().then(|| process(region)).flatten();
        if process.is_some() && !self.looked {
            self.looked = true;
            self.cgroup = Cgroup::of(region.pid);
        }
        let mut memory = self.cgroup.as_ref().and_then(Cgroup::sample);
        if let (Some(memory), true) = (&mut memory, region.verdict.is_alive()) {
            memory.oom_kills = self.survived.look(memory.oom_kills, Now::read().monotonic_ns);
        }
        Facts { process, memory }
    }

    /// Where its memory is counted, once that is known.
    pub(crate) const fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }
}

/// The writer's process, where it can be seen from here and is still the one that made the region.
fn process(region: &RegionInfo) -> Option<ProcessFacts> {
    let Stat { cpu_ns, resident_bytes, threads, .. } = writer_process::stat(region)?;
    Some(ProcessFacts { cpu_ns, resident_bytes, threads })
}

/// A memory cgroup, by its directory.
#[derive(Debug, Clone)]
pub(crate) enum Cgroup {
    /// Of the unified hierarchy.
    V2(PathBuf),
    /// Of the memory controller's own hierarchy.
    V1(PathBuf),
}

impl Cgroup {
    /// The memory cgroup of a process, where it can be seen from here.
    fn of(pid: u32) -> Option<Self> {
        let own = text(&format!("/proc/{pid}/cgroup"))?;
        let mounts = text("/proc/self/mountinfo")?;
        let mut unified = None;
        for line in own.lines() {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            if controllers.split(',').any(|controller| controller == "memory") {
                // Where the memory controller has a hierarchy of its own, it counts there.
                return mounted(&mounts, path, |kind, options| kind == "cgroup" && options.contains(&"memory"))
                    .map(Self::V1);
            }
            if controllers.is_empty() {
                unified = mounted(&mounts, path, |kind, _| kind == "cgroup2");
            }
        }
        unified.filter(|directory| directory.join("memory.current").exists()).map(Self::V2)
    }

    pub(crate) fn sample(&self) -> Option<MemoryFacts> {
        match self {
            Self::V2(directory) => {
                let read = |file: &str| text(&directory.join(file).to_string_lossy());
                let events = read("memory.events")?;
                Some(MemoryFacts {
                    usage_bytes: read("memory.current")?.trim().parse().ok()?,
                    limit_bytes: read("memory.max").and_then(|limit| limit.trim().parse().ok()),
                    oom_kills: keyed(&events, "oom_kill")?,
                    limit_hits: keyed(&events, "max").unwrap_or(0),
                })
            }
            Self::V1(directory) => {
                let read = |file: &str| text(&directory.join(file).to_string_lossy());
                let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
                Some(MemoryFacts {
                    usage_bytes: number("memory.usage_in_bytes")?,
                    // "No limit" is the largest number of pages.
                    limit_bytes: number("memory.limit_in_bytes").filter(|limit| *limit < 1 << 62),
                    // Kernels before 4.13 do not count them.
                    oom_kills: read("memory.oom_control").and_then(|text| keyed(&text, "oom_kill")).unwrap_or(0),
                    limit_hits: number("memory.failcnt").unwrap_or(0),
                })
            }
        }
    }
}

/// Where a cgroup of a hierarchy is found in the file system, from the mounts.
fn mounted(mounts: &str, path: &str, is: impl Fn(&str, &[&str]) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
        let options: Vec<&str> = options.split(',').collect();
        // In a container the mount's root may be the container's own cgroup.
        let below = if root == "/" { path } else { path.strip_prefix(root)? };
        let clean = !below.split('/').any(|part| part == "..");
        (is(kind, &options) && clean).then(|| PathBuf::from(point).join(below.trim_start_matches('/')))
    })
}

/// The number beside a key in lines of `key number`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_of_a_life_that_goes_on_after_it() {
        let mut survived = Survived::default();
        assert_eq!(survived.look(3, 0), 3, "before it");
        assert_eq!(survived.look(4, DYING_NS), 3, "it may be the one that was killed");
        assert_eq!(survived.look(5, 2 * DYING_NS - 1), 3);
        assert_eq!(survived.look(5, 2 * DYING_NS), 4, "another one was, the first time");
        assert_eq!(survived.look(5, 2 * DYING_NS + 1), 4);
        assert_eq!(survived.look(5, 3 * DYING_NS + 1), 5);
        assert_eq!(survived.look(0, 3 * DYING_NS + 2), 0, "counted anew");
    }

    #[test]
    fn cgroups_are_found_below_their_mounts() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n\
                      31 24 0:27 /pod/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let v1 = |kind: &str, options: &[&str]| kind == "cgroup" && options.contains(&"memory");
        assert_eq!(mounted(mounts, "/x/y", v1), Some("/sys/fs/cgroup/memory/x/y".into()));
        let v2 = |kind: &str, _: &[&str]| kind == "cgroup2";
        assert_eq!(mounted(mounts, "/pod/a/b", v2), Some("/sys/fs/cgroup/b".into()));
        assert_eq!(mounted(mounts, "/../b", v2), None);
        assert_eq!(keyed("low 0\noom 3\noom_kill 2\noom_group_kill 9\n", "oom_kill"), Some(2));
    }
}

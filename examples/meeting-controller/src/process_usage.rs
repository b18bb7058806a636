//! How much cpu and memory this process uses, from `/proc`: for the comprehensive heartbeat, once in 30 s.
//!
//! Reads files, so never from a hot path. What cannot be read or understood is `None`, never a made-up number.

use std::fs;
use std::time::Instant;

/// Remembers the cpu time of its last question, so that the next one gives the share since.
#[derive(Debug)]
pub struct ProcessUsage {
    /// When it was asked, and the ticks of cpu time used until then.
    last: (Instant, Option<u64>),
}

impl ProcessUsage {
    /// Starts from now.
    #[must_use]
    pub fn start() -> Self {
        Self { last: (Instant::now(), cpu_ticks()) }
    }

    /// Percent of all cores used since the last question; 0 to 100.
    pub fn cpu_percent(&mut self) -> Option<f64> {
        let (since, before) = std::mem::replace(&mut self.last, (Instant::now(), cpu_ticks()));
        let used = self.last.1?.saturating_sub(before?) as f64 / rustix::param::clock_ticks_per_second() as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let elapsed = self.last.0.duration_since(since).as_secs_f64();
        (elapsed > 0.0).then(|| (100.0 * used / (elapsed * cores)).clamp(0.0, 100.0))
    }

    /// Percent of the machine's memory that is resident for this process; 0 to 100.
    #[must_use]
    pub fn memory_percent() -> Option<f64> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        let resident = statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? as f64;
        let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let total_kib: f64 = total.split_ascii_whitespace().next()?.parse().ok()?;
        let bytes = resident * rustix::param::page_size() as f64;
        (total_kib > 0.0).then(|| (100.0 * bytes / (total_kib * 1024.0)).clamp(0.0, 100.0))
    }
}

/// User and system time of the process, in clock ticks.
fn cpu_ticks() -> Option<u64> {
    ticks_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn ticks_of(stat: &str) -> Option<u64> {
    // The command's name, in parentheses, may hold spaces and parentheses: fields are counted after the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::{ProcessUsage, ticks_of};

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0";
        assert_eq!(ticks_of(stat), Some(175));
        assert_eq!(ticks_of("nonsense"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(ProcessUsage::memory_percent().is_some_and(|percent| percent > 0.0 && percent <= 100.0));
        let mut usage = ProcessUsage::start();
        assert!(usage.cpu_percent().is_some_and(|percent| (0.0..=100.0).contains(&percent)));
    }
}

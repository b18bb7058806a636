//! What /proc says of a region's writer: CPU time, memory, threads, descriptors, start.
//!
//! Called by the recorder's sampler at each tick and by the exporter's own metrics at each scrape: the one place that reads
//! a writer's process. It is asked only where it is the writer: the pid namespace is ours, the boot is this one, and the
//! start time is that of the region's header, before and after all else was read; a pid that was given to another process
//! in between gives nothing. What may not be read (another user's descriptors) is left out, the rest is told.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

use crate::region_file::boot_id;
use crate::region_info::RegionInfo;

/// Most bytes read of a file below /proc.
const MOST: u64 = 64 << 10;
/// Most descriptors that are counted.
#[cfg(feature = "server")]
const MOST_FDS: usize = 1 << 20;

/// What its `stat` says of a writer's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// User and system CPU time spent, in nanoseconds, in steps of the kernel's clock tick.
    pub(crate) cpu_ns: u64,
    /// Resident memory in bytes.
    pub(crate) resident_bytes: u64,
    /// Virtual memory in bytes.
    pub(crate) virtual_bytes: u64,
    /// Threads.
    pub(crate) threads: u64,
}

/// Its limit of open descriptors, and how many it has.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Descriptors {
    /// Open ones; `None` where they may not be counted.
    pub(crate) open: Option<u64>,
    /// The soft limit; `None` where there is none or it can't be read.
    pub(crate) most: Option<u64>,
}

/// The writer's process, where it can be seen from here and is still the one that made the region.
pub(crate) fn stat(region: &RegionInfo) -> Option<Stat> {
    if own_namespace()? != region.pid_namespace || boot_id().is_some_and(|boot| boot != region.boot_id) {
        return None;
    }
    let stat = text(&format!("/proc/{}/stat", region.pid))?;
    // The name stands in parentheses and may hold anything.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    if field(22)? != region.process_start_ticks {
        return None;
    }
    let ticks = field(14)?.saturating_add(field(15)?);
    let tick_ns = 1_000_000_000 / u64::from(region.ticks_per_second.max(1));
    Some(Stat {
        cpu_ns: ticks.saturating_mul(tick_ns),
        resident_bytes: field(24)?.saturating_mul(rustix::param::page_size() as u64),
        virtual_bytes: field(23)?,
        threads: field(20)?,
    })
}

/// The writer's descriptors. For a process that [`stat`] just told of, and is asked about again afterwards.
#[cfg(feature = "server")]
pub(crate) fn descriptors(region: &RegionInfo) -> Descriptors {
    let directory = std::fs::read_dir(format!("/proc/{}/fd", region.pid));
    let open = directory.ok().map(|entries| entries.take(MOST_FDS).filter(Result::is_ok).count() as u64);
    let limits = text(&format!("/proc/{}/limits", region.pid)).unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
    let most = most.and_then(|number| number.parse().ok());
    let still_it = stat(region).is_some();
    if still_it { Descriptors { open, most } } else { Descriptors::default() }
}

/// The pid namespace of this process, which it has for life.
fn own_namespace() -> Option<u64> {
    static NAMESPACE: OnceLock<Option<u64>> = OnceLock::new();
    *NAMESPACE.get_or_init(|| Some(std::fs::metadata("/proc/self/ns/pid").ok()?.ino()))
}

/// When the machine was booted, in seconds since the Unix epoch, as the kernel says it and other exporters say it again. To be
/// asked once for all writers: the file has the interrupts of all processors, which the kernel adds up at each look.
#[cfg(feature = "server")]
pub(crate) fn booted_seconds() -> Option<u64> {
    // Behind the interrupts, a line that may be long.
    let mut stat = String::new();
    File::open("/proc/stat").ok()?.take(4 << 20).read_to_string(&mut stat).ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// When the writer's process began, in seconds since the Unix epoch.
#[cfg(feature = "server")]
pub(crate) fn start_seconds(region: &RegionInfo, booted_seconds: u64) -> f64 {
    booted_seconds as f64 + region.process_start_ticks as f64 / f64::from(region.ticks_per_second.max(1))
}

/// A file below /proc or /sys, up to 64 KiB of it.
pub(crate) fn text(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A region that this process would have written.
    pub(crate) fn own_region() -> RegionInfo {
        let stat = text("/proc/self/stat").unwrap();
        let start = stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(19).unwrap().parse().unwrap();
        RegionInfo {
            name: "own".into(),
            verdict: crate::Verdict::Running,
            pid: std::process::id(),
            pid_namespace: std::fs::metadata("/proc/self/ns/pid").unwrap().ino(),
            process_start_ticks: start,
            ticks_per_second: 100,
            boot_id: boot_id().unwrap(),
            ..RegionInfo::default()
        }
    }

    #[test]
    fn this_process_is_seen_and_another_start_boot_or_namespace_is_not() {
        let region = own_region();
        let seen = stat(&region).unwrap();
        assert!(
            seen.resident_bytes > 100_000 && seen.virtual_bytes > seen.resident_bytes && seen.threads > 0,
            "{seen:?}"
        );
        let start = RegionInfo { process_start_ticks: region.process_start_ticks + 1, ..region.clone() };
        assert_eq!(stat(&start), None);
        assert_eq!(stat(&RegionInfo { boot_id: [7; 16], ..region.clone() }), None);
        assert_eq!(stat(&RegionInfo { pid_namespace: 1, ..region }), None);
    }

    #[cfg(feature = "server")]
    #[test]
    fn descriptors_are_those_of_the_process_that_was_asked_for() {
        let region = own_region();
        let held: Vec<File> = (0..20).map(|_| File::open("/dev/null").unwrap()).collect();
        let seen = descriptors(&region);
        assert!(seen.open.unwrap() >= held.len() as u64 && seen.most.unwrap() >= seen.open.unwrap(), "{seen:?}");
        let other = RegionInfo { process_start_ticks: 1, ..region.clone() };
        assert_eq!(descriptors(&other), Descriptors::default());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let started = start_seconds(&region, booted_seconds().unwrap());
        assert!(started > 1e9 && started <= now + 1.0, "{started}");
    }
}

//! Whether a dead region's process lives on without it: `exec` keeps pid and start time, and lets go of the lock.
//!
//! Called by `reader/judgement.rs` for crashed regions that left no word of their own. Asks `/proc`, where the writer's pid
//! namespace is this one, and else the regions of the same name that were built after it. Reads headers only; what can't be
//! read says nothing.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tachograph_layout::Header;

use crate::region_file;

/// Most files beside a region that are looked at.
const MOST_SIBLINGS: usize = 64;

/// Whether the process that wrote the region at `path`, of `name`, built another one after it.
pub(crate) fn is_followed(header: &Header, path: &Path, name: &str, in_archive: bool) -> bool {
    siblings(path, name, in_archive).any(|sibling| is_same_process(header, &sibling))
}

/// A region of the same process, built later.
fn is_same_process(header: &Header, later: &Header) -> bool {
    let process = |header: &Header| (header.pid, header.pid_namespace, header.process_start_ticks, header.boot_id);
    header.process_start_ticks != 0
        && process(header) == process(later)
        && header.uuid != later.uuid
        && later.created_monotonic_ns > header.created_monotonic_ns
}

/// Whether the process is still there, and runs a program: a dead one that nobody waited for has no memory any more.
pub(crate) fn runs(header: &Header) -> bool {
    let own_namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
    if header.pid == 0 || header.process_start_ticks == 0 || header.pid_namespace != own_namespace {
        return false;
    }
    let mut stat = Vec::new();
    let read = std::fs::File::open(format!("/proc/{}/stat", header.pid))
        .and_then(|file| file.take(4096).read_to_end(&mut stat));
    read.is_ok() && stat_runs(&String::from_utf8_lossy(&stat), header.process_start_ticks)
}

/// Whether a `/proc/PID/stat` tells of a process that started then and has memory.
fn stat_runs(stat: &str, start_ticks: u64) -> bool {
    // Field 2 is the program's name in parentheses and may hold anything, parentheses too; field 3 follows the last.
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3);
    let started = field(22).and_then(|ticks| ticks.parse().ok());
    let memory: Option<u64> = field(23).and_then(|bytes| bytes.parse().ok());
    // A process that ends gives its memory back before its descriptors, the lock's too; a zombie has none.
    started == Some(start_ticks) && memory.is_some_and(|bytes| bytes > 0)
}

/// The headers of the other regions of that name, in place and archived.
fn siblings(path: &Path, name: &str, in_archive: bool) -> impl Iterator<Item = Header> {
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let directory = if in_archive { beside.join("..") } else { beside.to_owned() };
    let archived = format!("{name}.");
    let archive = std::fs::read_dir(directory.join("archive")).into_iter().flatten().flatten();
    let archive = archive.filter(move |entry| entry.file_name().to_string_lossy().starts_with(&archived));
    let paths = archive.take(MOST_SIBLINGS).map(|entry| entry.path());
    std::iter::once(directory.join(format!("{name}.tacho")))
        .chain(paths)
        .filter_map(|path| region_file::header_of(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_on_where_it_has_memory_and_started_then() {
        let stat = |state: &str, memory: u64| {
            format!("7 (a) b) {state} 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 500 {memory} 90 18446744073709551615")
        };
        assert!(stat_runs(&stat("S", 4096), 500));
        assert!(!stat_runs(&stat("S", 4096), 501), "another process got the pid");
        assert!(!stat_runs(&stat("Z", 0), 500), "nobody waited for it");
        assert!(!stat_runs(&stat("R", 0), 500), "it is just ending");
        assert!(!stat_runs("", 500) && !stat_runs("7 (a) S", 500));
    }
}

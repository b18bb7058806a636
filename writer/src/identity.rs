//! Who this process is: what a region's header says of its writer, read from the kernel with plain bounded reads.
//!
//! Nothing here fails: where `/proc` does not tell (not mounted, hidden), the field stays zero or empty.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The writer's identity.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid_namespace: u64,
    pub(crate) process_start_ticks: u64,
    pub(crate) ticks_per_second: u32,
    pub(crate) boot_id: [u8; 16],
    pub(crate) host: String,
    pub(crate) exe: String,
    pub(crate) build_id: Vec<u8>,
}

impl Identity {
    /// This process, now.
    pub(crate) fn own() -> Self {
        Self {
            pid: std::process::id(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            pid_namespace: pid_namespace(),
            process_start_ticks: process_start_ticks("self").unwrap_or(0),
            ticks_per_second: u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(0),
            boot_id: boot_id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            exe: std::env::current_exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
            build_id: build_id().unwrap_or_default(),
        }
    }
}

/// Inode of this process's pid namespace; 0 where unknown.
pub(crate) fn pid_namespace() -> u64 {
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino())
}

/// Start of a process of this pid namespace, in clock ticks since boot: field 22 of its `stat`.
pub(crate) fn process_start_ticks(process: &str) -> Option<u64> {
    let stat = read_text(&format!("/proc/{process}/stat"))?;
    // Field 2 is the program's name in parentheses and may hold anything, parentheses too; field 3 follows the last.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // A zombie has ended.
    fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    fields.nth(22 - 4)?.parse().ok()
}

/// This boot of the machine; zero where unknown.
pub(crate) fn boot_id() -> [u8; 16] {
    read_text("/proc/sys/kernel/random/boot_id")
        .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
        .map(uuid::Uuid::into_bytes)
        .unwrap_or_default()
}

/// At most one page of a file of `/proc`.
fn read_text(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The GNU build id of the running executable; `None` where it was linked without.
fn build_id() -> Option<Vec<u8>> {
    let file = File::open("/proc/self/exe").ok()?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if header.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (table, entry_len) = (u64_at(&header, 32)?, u16_at(&header, 54)?);
    let entries = u16_at(&header, 56)?.min(64);
    if entry_len < 56 {
        return None;
    }
    (0..u64::from(entries)).find_map(|index| {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, table.checked_add(index * u64::from(entry_len))?).ok()?;
        if u32_at(&entry, 0)? != PT_NOTE {
            return None;
        }
        let len = usize::try_from(u64_at(&entry, 32)?).ok()?.min(NOTES_MAX);
        let mut notes = vec![0; len];
        file.read_exact_at(&mut notes, u64_at(&entry, 8)?).ok()?;
        let align = if u64_at(&entry, 48)? == 8 { 8 } else { 4 };
        gnu_build_id(&notes, align)
    })
}

const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// Longest note segment that is looked at, in bytes.
const NOTES_MAX: usize = 64 * 1024;
/// Longest build id that a header holds.
const BUILD_ID_MAX: usize = 64;

/// The build id among the notes of one segment.
fn gnu_build_id(notes: &[u8], align: usize) -> Option<Vec<u8>> {
    let mut at = 0usize;
    loop {
        let (name_len, len) = (u32_at(notes, at)? as usize, u32_at(notes, at + 4)? as usize);
        let kind = u32_at(notes, at + 8)?;
        let name_at = at + 12;
        let id_at = name_at.checked_add(name_len)?.checked_next_multiple_of(align)?;
        let end = id_at.checked_add(len)?;
        if kind == NT_GNU_BUILD_ID && notes.get(name_at..name_at + name_len)? == b"GNU\0" {
            return Some(notes.get(id_at..end)?.iter().copied().take(BUILD_ID_MAX).collect());
        }
        at = end.checked_next_multiple_of(align)?;
    }
}

// The executable that runs has the machine's byte order.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let own = Identity::own();
        assert_eq!(own.pid, std::process::id());
        assert_ne!(own.pid_namespace, 0);
        assert_ne!(own.process_start_ticks, 0);
        assert_eq!(process_start_ticks(&own.pid.to_string()), Some(own.process_start_ticks));
        assert_ne!(own.boot_id, [0; 16]);
        assert!(own.ticks_per_second > 0);
        assert!(own.exe.contains("tachograph"), "{}", own.exe);
    }

    #[test]
    fn build_id_is_found_behind_other_notes() {
        let mut notes = Vec::new();
        for (name, kind, content) in
            [(&b"GNU\0"[..], 5u32, &[9u8; 5][..]), (b"GNU\0", 3, &[7; 20]), (b"X\0", 1, &[1; 4])]
        {
            for word in [name.len() as u32, content.len() as u32, kind] {
                notes.extend(word.to_ne_bytes());
            }
            for part in [name, content] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        }
        assert_eq!(gnu_build_id(&notes, 4), Some(vec![7; 20]));
        for cut in 0..32 {
            assert_eq!(gnu_build_id(&notes[..cut], 4), None);
        }
        assert_eq!(gnu_build_id(&[0xff; 64], 4), None);
    }
}

//! A region file as an input of a few KiB: its words that are not zero, and how it is to be read.
//!
//! Any bytes unpack to something. A region is at least 832 KiB long, nearly all of it zeros, so that a fuzzer that saw
//! the file itself would change nothing that matters.

use tachograph_layout::{Geometry, Header, LAYOUT_MAJOR, SECTION_ALIGN, SectionTable};

/// Longest file that an input makes, in sections' alignments: 3 MiB.
pub const MOST_UNITS: usize = 48;
/// Bytes of an input before its runs of words.
pub const LEAD: usize = 2;
/// The name that every header is given, so that the file is the one that goes with its lock.
pub const NAME: &str = "fuzz";

/// Who holds the lock beside the file while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// There is none: the file is a copy.
    Missing,
    /// Nobody: its writer is dead.
    Free,
    /// Its writer lives.
    Held,
}

/// An unpacked input.
#[derive(Debug, Clone)]
pub struct Case {
    /// Whether the header is left as it is found; else it is mended, so that the file is taken for a region.
    pub raw_header: bool,
    /// Who holds the lock.
    pub lock: Lock,
    /// The file.
    pub bytes: Vec<u8>,
    /// Words that change after the first snapshot: index and value.
    pub later: Vec<(usize, u64)>,
}

/// Bit of a run's header: its words change after the first snapshot.
const LATER: u32 = 1 << 31;

impl Case {
    /// The case that these bytes stand for: a byte of mode, a byte of length, then runs of words (index, count, words).
    pub fn unpack(input: &[u8]) -> Self {
        let mode = input.first().copied().unwrap_or(0);
        let units = usize::from(input.get(1).copied().unwrap_or(13)).clamp(1, MOST_UNITS);
        let len = units * SECTION_ALIGN as usize;
        let lock = match mode & 3 {
            0 => Lock::Missing,
            1 => Lock::Free,
            _ => Lock::Held,
        };
        let mut case = Self { raw_header: mode & 0x80 != 0, lock, bytes: vec![0; len], later: Vec::new() };
        let mut rest = input.get(LEAD..).unwrap_or_default();
        while let Some((head, words)) = rest.split_at_checked(6) {
            let place = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            let count = usize::from(u16::from_le_bytes([head[4], head[5]])).min(words.len() / 8);
            let (words, after) = words.split_at(count * 8);
            rest = after;
            for (index, word) in words.chunks_exact(8).enumerate() {
                let at = ((place & !LATER) as usize + index) % (len / 8);
                if place & LATER == 0 {
                    case.bytes[at * 8..at * 8 + 8].copy_from_slice(word);
                } else {
                    case.later.push((at, u64::from_le_bytes(word.try_into().unwrap_or_default())));
                }
            }
        }
        if !case.raw_header {
            mend_header(&mut case.bytes);
        }
        case
    }

    /// Packs it: unpacking gives the same case again.
    pub fn pack(&self) -> Vec<u8> {
        let lock = match self.lock {
            Lock::Missing => 0,
            Lock::Free => 1,
            Lock::Held => 2,
        };
        let mut out = vec![lock | if self.raw_header { 0x80 } else { 0 }];
        out.push((self.bytes.len() / SECTION_ALIGN as usize).clamp(1, MOST_UNITS) as u8);
        let words: Vec<&[u8]> = self.bytes.chunks_exact(8).collect();
        let zero = |at: usize| words.get(at).is_none_or(|word| word.iter().all(|byte| *byte == 0));
        let mut at = 0;
        while at < words.len() {
            if zero(at) {
                at += 1;
                continue;
            }
            let start = at;
            while at < words.len() && at - start < 60_000 && !(zero(at) && zero(at + 1)) {
                at += 1;
            }
            run(&mut out, start as u32, &words[start..at].concat());
        }
        for (at, word) in &self.later {
            run(&mut out, *at as u32 | LATER, &word.to_le_bytes());
        }
        out
    }
}

fn run(out: &mut Vec<u8>, place: u32, words: &[u8]) {
    out.extend_from_slice(&place.to_le_bytes());
    out.extend_from_slice(&((words.len() / 8) as u16).to_le_bytes());
    out.extend_from_slice(words);
}

/// The geometry of the files that no section table describes.
pub fn geometry() -> Geometry {
    Geometry {
        families: 64,
        series: 256,
        string_bytes: 16 * 1024,
        label_bytes: 8 * 1024,
        bounds: 512,
        shared: 64,
        cells: 4_000,
        lanes: 2,
        activities: 8,
    }
}

/// Makes a file pass for a region, changing as little as will do.
pub fn mend_header(bytes: &mut [u8]) {
    let len = bytes.len() as u64;
    let Some(head) = bytes.get_mut(..Header::LEN as usize) else { return };
    let mut header: Header = bytemuck::pod_read_unaligned(head);
    header.magic = Header::MAGIC;
    header.layout_major = LAYOUT_MAJOR;
    header.byte_order = Header::BYTE_ORDER;
    header.required_features = 0;
    header.file_len = len;
    header.name_len = NAME.len() as u32;
    header.name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    header.build_id_len = header.build_id_len.min(64);
    header.host_len = header.host_len.min(64);
    header.version_len = header.version_len.min(64);
    header.exe_len = header.exe_len.min(256);
    if SectionTable::check(&header.sections, header.section_count, len).is_err() {
        let entries = geometry().layout().map(|layout| layout.entries()).unwrap_or_default();
        header.section_count = entries.len() as u32;
        header.sections[..entries.len()].copy_from_slice(&entries);
    }
    head.copy_from_slice(bytemuck::bytes_of(&header));
}

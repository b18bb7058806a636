//! Block files: their names, and opening one with care.
//!
//! A name says which region, tier and place in the lineage a block has, so that retention needs no look inside:
//! `<region>.<uuid>.<interval>ms.<sequence>.tachorec`. Readers believe the block's header, not its name.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::decoder::Decoder;
use super::origin::{hex, unhex};
use crate::region_file::is_region_name;

/// What a block file's name ends in.
pub(crate) const SUFFIX: &str = ".tachorec";

/// What the name of a block file says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockName {
    /// Name of the region.
    pub(crate) region: String,
    /// Its id.
    pub(crate) uuid: [u8; 16],
    /// Milliseconds between two samples.
    pub(crate) interval_ms: u64,
    /// Number among the blocks of this region and interval, from 1.
    pub(crate) sequence: u64,
}

impl BlockName {
    /// The file's name.
    pub(crate) fn file(&self) -> String {
        let Self { region, uuid, interval_ms, sequence } = self;
        format!("{region}.{}.{interval_ms}ms.{sequence:08}{SUFFIX}", hex(*uuid))
    }

    /// What a file's name says; `None` where it is no block's.
    pub(crate) fn of(file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(SUFFIX)?.rsplitn(4, '.');
        let (sequence, interval, uuid, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let name = Self {
            region: region.to_owned(),
            uuid: unhex(uuid)?,
            interval_ms: interval.strip_suffix("ms")?.parse().ok()?,
            sequence: sequence.parse().ok()?,
        };
        (is_region_name(region) && name.file() == file).then_some(name)
    }
}

/// Whether a file's name is that of a block.
pub(crate) fn is_block_name(file: &str) -> bool {
    BlockName::of(file).is_some()
}

/// A block file that is read.
pub(crate) type BlockReader = Decoder<BufReader<io::Take<File>>>;

/// Opens a block as long as it is now; `None` where the file is none. Follows no link and waits for no FIFO.
pub(crate) fn open(path: &Path) -> io::Result<Option<BlockReader>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    Decoder::open(BufReader::with_capacity(64 << 10, file.take(len)), len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_none() {
        let name = BlockName { region: "mc.0".into(), uuid: [7; 16], interval_ms: 1000, sequence: 12 };
        assert_eq!(BlockName::of(&name.file()), Some(name.clone()));
        assert_eq!(name.file(), "mc.0.07070707070707070707070707070707.1000ms.00000012.tachorec");
        let bad =
            ["x.tachorec", "mc-0.zz.1ms.1.tachorec", "../a.07070707070707070707070707070707.1ms.00000001.tachorec"];
        assert!(bad.iter().all(|file| BlockName::of(file).is_none()));
    }
}

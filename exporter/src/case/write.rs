//! Writes a case: all of it or nothing. It is written beside its place, synced, and named once it is complete.
//!
//! Called by the recorder's case thread and by `tacho case`. Disturbs nobody: the region is read as every reader does, and of a
//! block that is being written the bytes that are there now are taken.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::NamedTempFile;

use super::manifest::{Manifest, Member};
use super::{BLOCKS, MANIFEST, REGION};
use crate::json::Now;
use crate::recording::{RecordedRegion, hex};
use crate::{CopyError, ReadError, RegionReader};

/// Why a case was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The region can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The region can't be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Something is at the path already.
    #[error("{path}: something is there already, and it is not overwritten; remove it, or name another file", path = path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The file can't be written.
    #[error("{path}: the case can't be written", path = path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A case that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// How much of the finest tier goes into a case, back from its last sample, in nanoseconds; of coarser ones six times that.
const WINDOW_NS: u64 = 10 * 60 * 1_000_000_000;
/// Most bytes of blocks in a case: older ones are left out.
const MOST_BLOCK_BYTES: u64 = 128 << 20;

/// Writes the case of a region, with the last minutes of its recording where there is one.
///
/// ```
/// use tachograph_exporter::{RegionReader, case};
/// let directory = tempfile::Builder::new().tempdir_in("/dev/shm")?;
/// let region = tachograph::Region::builder("mc-0").dir(directory.path()).build()?;
/// let path = directory.path().join("mc-0.case.tar.gz");
/// case::write(&RegionReader::open(region.path().unwrap())?, None, &path)?;
/// assert_eq!(case::Case::open(&path)?.manifest().name, "mc-0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`WriteError`]; then nothing is at the path.
pub fn write(reader: &RegionReader, recorded: Option<&RecordedRegion>, path: &Path) -> Result<Written, WriteError> {
    let failed = |source| WriteError::Write { path: path.to_owned(), source };
    if path.symlink_metadata().is_ok() {
        return Err(WriteError::Exists { path: path.to_owned() });
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let (region, now) = (reader.info()?, Now::read());
    let copy = tempfile::tempfile_in(parent).map_err(failed)?;
    reader.copy_to(&copy, 0)?;
    let mut members = vec![(REGION.to_owned(), copy, region.file_len)];
    let (mut facts, mut kills) = (None, None);
    if let Some(recorded) = recorded {
        if let Some(last) = recorded.last_facts() {
            (facts, kills) = (Some((last.at_ns, last.facts)), last.kills);
        }
        for (block, len) in last_blocks(recorded) {
            let file = block.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            // A block may be dropped meanwhile.
            if let (Some(file), Ok(open)) = (file, File::open(&block)) {
                members.push((format!("{BLOCKS}{file}"), open, len));
            }
        }
    }
    let mut manifest = Manifest {
        version: 1,
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        written_realtime_ns: now.realtime_ns,
        written_monotonic_ns: now.monotonic_ns,
        host: region.host.clone(),
        name: region.name.clone(),
        uuid: hex(region.uuid),
        predecessor: hex(reader.predecessor_uuid()),
        verdict: region.verdict.as_str().to_owned(),
        cause: region.cause.map(|cause| cause.given(kills).as_str().to_owned()),
        broken_promises: region.broken_promises.clone(),
        last_sign_ns: region.ended_ns(),
        path: region.path.display().to_string(),
        facts,
        members: Vec::new(),
    };
    for (name, file, len) in &mut members {
        let (bytes, crc32) = checksum(file, *len).map_err(failed)?;
        *len = bytes;
        manifest.members.push(Member { path: name.clone(), bytes, crc32 });
    }
    let target = NamedTempFile::with_prefix_in(".case-", parent).map_err(failed)?;
    archive(&target, &manifest, &mut members).map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    target.as_file().set_permissions(mode).and_then(|()| target.as_file().sync_all()).map_err(failed)?;
    let bytes = target.as_file().metadata().map_err(failed)?.len();
    target.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => WriteError::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })?;
    // The name is on disk, too.
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    Ok(Written { manifest, bytes })
}

fn archive(target: &NamedTempFile, manifest: &Manifest, members: &mut [(String, File, u64)]) -> io::Result<()> {
    let mut tar = tar::Builder::new(GzEncoder::new(io::BufWriter::new(target.as_file()), Compression::fast()));
    let mtime = manifest.written_realtime_ns / 1_000_000_000;
    let header = |bytes: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o640);
        header.set_mtime(mtime);
        header
    };
    let json = serde_json::to_vec_pretty(manifest)?;
    tar.append_data(&mut header(json.len() as u64), MANIFEST, json.as_slice())?;
    for (name, file, bytes) in members {
        file.seek(SeekFrom::Start(0))?;
        tar.append_data(&mut header(*bytes), &*name, io::Read::by_ref(file).take(*bytes))?;
    }
    tar.into_inner()?.finish()?.flush()
}

/// Length and CRC of the first bytes of a file: no more than `most`.
fn checksum(file: &mut File, most: u64) -> io::Result<(u64, u32)> {
    file.seek(SeekFrom::Start(0))?;
    let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 64 << 10]);
    let mut rest = io::Read::by_ref(file).take(most);
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok((bytes, crc.finalize())),
            read => {
                crc.update(buffer.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
        }
    }
}

/// The blocks that hold the last minutes, the newest first, as long as they are now.
fn last_blocks(recorded: &RecordedRegion) -> Vec<(PathBuf, u64)> {
    let mut chosen = Vec::new();
    let mut bytes = 0_u64;
    let spans = recorded.spans();
    for (tier, span) in spans.iter().enumerate() {
        let window = if tier == 0 { WINDOW_NS } else { WINDOW_NS.saturating_mul(6) };
        for path in recorded.files_since(span.interval_ns, span.last_ns.saturating_sub(window)) {
            let Ok(len) = path.metadata().map(|metadata| metadata.len()) else { continue };
            bytes = bytes.saturating_add(len);
            if bytes > MOST_BLOCK_BYTES {
                return chosen;
            }
            chosen.push((path.to_owned(), len));
        }
    }
    chosen
}

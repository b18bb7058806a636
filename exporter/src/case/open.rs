//! Opens a case, wherever it was written. Its bytes are hostile: only members of known names are taken out, under names made
//! here, into a private directory; their count and bytes are bounded; what does not fit its checksum is told.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tempfile::TempDir;

use super::manifest::Manifest;
use super::{BLOCKS, MANIFEST, REGION, SUFFIX};
use crate::promise::Promise;
use crate::reader::printable;
use crate::recording::{RecordingError, Recordings, is_block_name};
use crate::region_file::is_region_name;
use crate::{OpenError, RegionReader};

/// Why a file can't be opened as a case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// It can't be read, or not be unpacked.
    #[error("{path}: can't be opened as a case", path = path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It is no case.
    #[error("{path}: {what}; a case is written by `tacho case` or by the recorder", path = path.display())]
    NotACase {
        /// The path.
        path: PathBuf,
        /// What is missing or wrong.
        what: &'static str,
    },
}

/// Most members that are looked at.
const MOST_MEMBERS: usize = 10_000;
/// Most bytes that are unpacked.
const MOST_BYTES: u64 = 4 << 30;
/// Most broken promises that are told.
const MOST_PROMISES: usize = 1_000;
/// Most bytes of a manifest.
const MOST_MANIFEST: u64 = 8 << 20;

/// Whether a path looks like a case: by its name.
#[must_use]
pub fn is_case(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
}

/// An open case, unpacked into a private directory that goes with it.
///
/// ```
/// let error = tachograph_exporter::case::Case::open("/nowhere/mc-0.case.tar.gz".as_ref()).unwrap_err();
/// assert!(error.to_string().starts_with("/nowhere/mc-0.case.tar.gz: "));
/// ```
#[derive(Debug)]
pub struct Case {
    path: PathBuf,
    manifest: Manifest,
    directory: TempDir,
    problems: Vec<String>,
}

impl Case {
    /// Unpacks and checks a case.
    ///
    /// # Errors
    /// [`CaseError`] where it is none. A member that is missing or damaged is told by [`Case::problems`].
    pub fn open(path: &Path) -> Result<Self, CaseError> {
        let read = |source| CaseError::Read { path: path.to_owned(), source };
        let none = |what| CaseError::NotACase { path: path.to_owned(), what };
        let file = File::open(path).map_err(read)?;
        if !file.metadata().map_err(read)?.is_file() {
            return Err(none("not a regular file"));
        }
        let directory = tempfile::Builder::new().prefix("tacho-case-").tempdir().map_err(read)?;
        std::fs::create_dir(directory.path().join(BLOCKS)).map_err(read)?;
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)).take(MOST_BYTES));
        let mut manifest: Option<Manifest> = None;
        let mut found: HashMap<String, (u64, u32)> = HashMap::new();
        let mut problems = Vec::new();
        for entry in archive.entries().map_err(read)?.take(MOST_MEMBERS) {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(_) if manifest.is_none() => return Err(none("not an archive of that kind")),
                Err(error) => {
                    problems.push(format!("the archive is cut short or damaged: {error}"));
                    break;
                }
            };
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !entry.header().entry_type().is_file() {
                continue;
            }
            if name == MANIFEST && manifest.is_none() {
                manifest = Some(Manifest::from_member(entry).map_err(read)?.map_err(none)?);
            } else if let Some(target) = target(&name).filter(|_| !found.contains_key(&name)) {
                match unpack(&mut entry, &directory.path().join(target)) {
                    Ok(sums) => drop(found.insert(name, sums)),
                    Err(error) => {
                        problems.push(format!("{}: cut short or damaged: {error}", printable(&name)));
                        break;
                    }
                }
            }
        }
        let manifest = manifest.ok_or_else(|| none("it has no manifest"))?;
        for member in &manifest.members {
            match found.get(&member.path) {
                Some(sums) if *sums == (member.bytes, member.crc32) => {}
                Some(_) => problems.push(format!("{}: its checksum is wrong", printable(&member.path))),
                None => problems.push(format!("{}: missing", printable(&member.path))),
            }
        }
        Ok(Self { path: path.to_owned(), manifest, directory, problems })
    }

    /// What the case says of itself.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The copy of the region; its path is that of the case.
    ///
    /// # Errors
    /// [`OpenError`] where it is missing or damaged.
    pub fn region(&self) -> Result<RegionReader, OpenError> {
        Ok(RegionReader::open(&self.directory.path().join(REGION))?.out_of(&self.path, &self.manifest))
    }

    /// The copy of the region, for who needs nothing else of the case.
    ///
    /// # Errors
    /// As [`Case::region`].
    pub fn into_region(self) -> Result<RegionReader, OpenError> {
        Ok(self.region()?.keeping(self.directory))
    }

    /// The recording of the region's last minutes; empty where it was not recorded.
    ///
    /// # Errors
    /// [`RecordingError`]: none is expected.
    pub fn recordings(&self) -> Result<Recordings, RecordingError> {
        Recordings::open(self.directory.path())
    }

    /// Members that are missing or damaged.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Manifest {
    /// The manifest alone, which stands first in a case.
    ///
    /// # Errors
    /// [`CaseError`] where it is not there, or not to be read.
    pub(crate) fn read(path: &Path) -> Result<Self, CaseError> {
        let read = |source| CaseError::Read { path: path.to_owned(), source };
        let none = |what| CaseError::NotACase { path: path.to_owned(), what };
        let file = File::open(path).map_err(read)?;
        if !file.metadata().map_err(read)?.is_file() {
            return Err(none("not a regular file"));
        }
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)).take(MOST_BYTES));
        let first = archive.entries().map_err(read)?.next().ok_or_else(|| none("it is empty"))?;
        let first = first.map_err(|_| none("not an archive of that kind"))?;
        if first.path_bytes() != MANIFEST.as_bytes() || !first.header().entry_type().is_file() {
            return Err(none("it does not begin with its manifest"));
        }
        Self::from_member(first).map_err(read)?.map_err(none)
    }

    /// Reads it, within bounds, without a character that drives a terminal.
    fn from_member(member: impl Read) -> io::Result<Result<Self, &'static str>> {
        let mut json = Vec::new();
        member.take(MOST_MANIFEST).read_to_end(&mut json)?;
        let Ok(mut manifest) = serde_json::from_slice::<Self>(&json) else {
            return Ok(Err("its manifest can't be read"));
        };
        if manifest.version != 1 || !is_region_name(&manifest.name) {
            return Ok(Err("its manifest is of another version, or names no region"));
        }
        for text in [&mut manifest.host, &mut manifest.verdict, &mut manifest.path, &mut manifest.written_by] {
            *text = printable(text);
        }
        manifest.broken_promises.truncate(MOST_PROMISES);
        for promise in &mut manifest.broken_promises {
            if let Promise::Pulse { name, .. } = promise {
                *name = printable(name);
            }
        }
        Ok(Ok(manifest))
    }
}

/// Where a member goes; `None` where it is none of a case's.
fn target(name: &str) -> Option<PathBuf> {
    if name == REGION {
        return Some(REGION.into());
    }
    let block = name.strip_prefix(BLOCKS)?;
    is_block_name(block).then(|| Path::new(BLOCKS).join(block))
}

/// Writes a member out; gives its length and CRC.
fn unpack(entry: &mut impl Read, path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::create_new(path)?;
    let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 64 << 10]);
    loop {
        match entry.read(&mut buffer)? {
            0 => return Ok((bytes, crc.finalize())),
            read => {
                let read = buffer.get(..read).unwrap_or_default();
                crc.update(read);
                file.write_all(read)?;
                bytes += read.len() as u64;
            }
        }
    }
}

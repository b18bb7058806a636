//! `tacho snapshot`: a copy of a region in a file of its own, without stopping anything.
//!
//! The file is there whole or not at all: it is written beside its place and named once it is complete.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use tachograph_exporter::cause::Cause;
use tachograph_exporter::{CopyError, RegionReader, Verdict};

use crate::cli::Snapshot;
use crate::output;

#[derive(Debug, thiserror::Error)]
enum SnapshotError {
    #[error("{path}: something is there already, and it is not overwritten; remove it, or name another file", path = path.display())]
    Exists { path: PathBuf },
    #[error("{path}: can't be written", path = path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path}: the copy can't be written", path = path.display())]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Read(CopyError),
}

pub(crate) fn run(args: &Snapshot) -> ExitCode {
    let reader = match args.directories.open().resolve(&args.region) {
        Ok(reader) => reader,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let (bytes, verdict) = match copy(&reader, &args.output).and_then(|bytes| {
        let verdict = reader.verdict().map_err(|error| SnapshotError::Read(error.into()))?;
        Ok((bytes, verdict))
    }) {
        Ok(copied) => copied,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let (name, path) = (reader.name(), args.output.display().to_string());
    let text = if args.json {
        format!("{}\n", json!({ "version": 1, "region": name, "verdict": verdict, "path": path, "bytes": bytes }))
    } else {
        let mut text =
            format!("{name} ({verdict}): {bytes} bytes in {}\n", tachograph_exporter::table::printable(&path));
        // A signal, an exit and an unwinding are recorded in the region, so that the copy tells them, too.
        let elsewhere = [Cause::Killed, Cause::OutOfMemory, Cause::Exec];
        if verdict == Verdict::Crashed
            && reader.info().is_ok_and(|info| info.cause.is_none_or(|cause| elsewhere.contains(&cause)))
        {
            text.push_str("the copy does not hold that it crashed, or of what: `tacho case` writes a file that does\n");
        }
        text
    };
    output::print(text, ExitCode::SUCCESS)
}

/// Copies, and gives the count of bytes.
fn copy(reader: &RegionReader, path: &Path) -> Result<u64, SnapshotError> {
    let write = |source| SnapshotError::Write { path: path.to_owned(), source };
    let exists = || SnapshotError::Exists { path: path.to_owned() };
    // Said before the work is done; what counts is that naming the file replaces nothing.
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    let file =
        tempfile::Builder::new().prefix(".tacho-").permissions(permissions).tempfile_in(parent).map_err(write)?;
    reader.copy_to(file.as_file(), 0).map_err(|error| match error {
        CopyError::Write(source) => SnapshotError::Copy { path: path.to_owned(), source },
        error => SnapshotError::Read(error),
    })?;
    file.as_file().sync_all().map_err(write)?;
    let file = file.persist_noclobber(path).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => write(error.error),
    })?;
    Ok(file.metadata().map_err(write)?.len())
}

//! `tacho case`: one self-contained file about a region, made by hand.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tachograph_exporter::recording::Recordings;
use tachograph_exporter::{case, table};

use crate::cli::Case;
use crate::output;

/// A case of a case would lose what the first knows: how its region ended, and its last minutes.
#[derive(Debug, thiserror::Error)]
#[error("{path}: it is a case already; copy the file itself")]
struct AlreadyACase {
    path: String,
}

pub(crate) fn run(args: &Case) -> ExitCode {
    if case::is_case(Path::new(&args.region)) {
        return output::fail_as(&AlreadyACase { path: args.region.clone() }, args.json);
    }
    let reader = match args.directories.open().resolve(&args.region) {
        Ok(reader) => reader,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let directory = args.recordings.path();
    let recordings = match Recordings::open(&directory) {
        Ok(recordings) => Some(recordings),
        // Named, it has to be there; the usual place may be missing.
        Err(error) if args.recordings.dir.is_some() => return output::fail_as(&error, args.json),
        Err(_) => None,
    };
    let recorded = recordings.as_ref().and_then(|recordings| recordings.of_uuid(reader.uuid()));
    match case::write(&reader, recorded, &args.output) {
        Ok(written) => {
            let (name, verdict) = (&written.manifest.name, &written.manifest.verdict);
            let blocks = written.manifest.members.len().saturating_sub(1);
            let path = args.output.display().to_string();
            let text = if args.json {
                let object = json!({"version": 1, "path": path, "bytes": written.bytes, "manifest": written.manifest});
                format!("{object}\n")
            } else {
                let recording = if blocks == 0 {
                    "without a recording".to_owned()
                } else {
                    format!("{blocks} blocks of its recording")
                };
                format!("{name} ({verdict}), {recording}: {} bytes in {}\n", written.bytes, table::printable(&path))
            };
            output::print(text, ExitCode::SUCCESS)
        }
        Err(error) => output::fail_as(&error, args.json),
    }
}

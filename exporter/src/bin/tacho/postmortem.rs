//! `tacho postmortem`: the report on what died, as text, JSON or one HTML page.

use std::path::Path;
use std::process::ExitCode;

use tachograph_exporter::case::{self, Case};
use tachograph_exporter::deaths;
use tachograph_exporter::postmortem::{self, Known, Neighbours, Report, Subject};
use tachograph_exporter::recording::{RecordedRegion, Recordings};
use tachograph_exporter::{Directories, RegionReader};

use crate::cli::Postmortem;
use crate::output::{self, FOUND};
use crate::serve::raise_open_files;

pub(crate) fn run(args: &Postmortem) -> ExitCode {
    // Each region is a file held open, and all lives of a name are looked at.
    raise_open_files();
    let directories = args.directories.open();
    if let Some(path) = args.region.as_deref().map(Path::new).filter(|path| case::is_case(path)) {
        return match on_case(args, path, &directories) {
            Ok(code) => code,
            Err(error) => output::fail_as(error.as_ref(), args.json),
        };
    }
    let neighbours = Neighbours::of(&directories);
    let found = match &args.region {
        Some(region) => directories.resolve(region).map(Some),
        None => Ok(neighbours.first_of_newest_burst()),
    };
    let reader = match found {
        Ok(Some(reader)) => reader,
        Ok(None) => return nothing(args, &directories, &neighbours),
        Err(error) => return output::fail_as(&error, args.json),
    };
    let recorder = args.recordings.path();
    let recorded = recording(args, &recorder, &reader);
    let counted_as = deaths::cause_of(&recorder, reader.name(), reader.uuid());
    let known = Known { counted_as, ..Known::in_recorder(&recorder, &reader) };
    let report =
        Subject { reader: &reader, neighbours: &neighbours, recorded: recorded.as_ref(), known: Some(&known) }.report();
    match report {
        Ok(report) => show(args, &report),
        Err(error) => output::fail_as(&error, args.json),
    }
}

/// A case holds all that is needed: the region's copy, and its recording.
fn on_case(args: &Postmortem, path: &Path, directories: &Directories) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let case = Case::open(path)?;
    case.problems().iter().for_each(|problem| output::say(&format!("{}: {problem}", path.display())));
    let reader = case.region()?;
    let recordings = case.recordings()?;
    let recorded = recordings.of_uuid(reader.uuid());
    let known = Known::of_case(path, &case);
    let neighbours = Neighbours::of(directories);
    let report = Subject { reader: &reader, neighbours: &neighbours, recorded, known: Some(&known) }.report()?;
    Ok(show(args, &report))
}

/// Prints a report, and ends with what it found.
pub(crate) fn show(args: &Postmortem, report: &Report) -> ExitCode {
    let code = if report.found() { FOUND } else { ExitCode::SUCCESS };
    if args.html {
        return output::print(postmortem::page(report), code);
    }
    if !args.json {
        return output::print(report.to_string(), code);
    }
    match serde_json::to_string(report) {
        Ok(json) => output::print(format!("{json}\n"), code),
        Err(error) => output::fail_as(&error, true),
    }
}

/// No region was named, and none crashed: said with where that was looked for.
fn nothing(args: &Postmortem, directories: &Directories, neighbours: &Neighbours<'_>) -> ExitCode {
    let problems: Vec<_> = neighbours.problems().collect();
    for problem in &problems {
        output::say(&format!("{}: {}", problem.path.display(), problem.error));
    }
    let places: Vec<String> = directories.paths().iter().map(|path| path.display().to_string()).collect();
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { FOUND };
    if args.json {
        let object = serde_json::json!({ "version": 1, "report": null, "problems": problems });
        return output::print(format!("{object}\n"), code);
    }
    output::print(format!("no crash in {} or an archive of it\n", places.join(", ")), code)
}

/// The recording of the region, where there is one.
fn recording(args: &Postmortem, directory: &Path, reader: &RegionReader) -> Option<RecordedRegion> {
    match Recordings::open(directory) {
        Ok(recordings) => {
            for problem in recordings.problems() {
                output::say(&format!("{}: {}", problem.path.display(), problem.error));
            }
            recordings.of_uuid(reader.uuid()).cloned()
        }
        // The default one need not be there: then the report says that nothing was recorded.
        Err(_) if args.recordings.dir.is_none() && !directory.exists() => None,
        Err(error) => {
            output::say(&tachograph_exporter::listing::chain(&error));
            None
        }
    }
}

//! `tacho verify`: checks every structure of a region.

use std::path::Path;
use std::process::ExitCode;

use tachograph_exporter::case::{self, Case};
use tachograph_exporter::listing::chain;
use tachograph_exporter::{Finding, ResolveError, Severity, json, table};

use crate::cli::Verify;
use crate::output::{self, FOUND};

pub(crate) fn run(args: &Verify) -> ExitCode {
    let path = Path::new(&args.region);
    if case::is_case(path) {
        return on_case(args, path);
    }
    let reader = match args.directories.open().resolve(&args.region) {
        Ok(reader) => reader,
        // A file that is there and is no region is what this command looks for.
        Err(ResolveError::Open(error)) if !error.is_not_found() => {
            let finding = Finding { place: "file".to_owned(), what: chain(&error), severity: Severity::Error };
            return report(args, &args.region, Path::new(&args.region), &[finding]);
        }
        Err(error) => return output::fail_as(&error, args.json),
    };
    report(args, reader.name(), reader.path(), &reader.verify())
}

/// Of a case, its members are checked against its manifest, too.
fn on_case(args: &Verify, path: &Path) -> ExitCode {
    let case = match Case::open(path) {
        Ok(case) => case,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let error = |what| Finding { place: "case".to_owned(), what, severity: Severity::Error };
    let mut findings: Vec<Finding> = case.problems().iter().cloned().map(error).collect();
    match case.region() {
        Ok(reader) => findings.extend(reader.verify()),
        Err(unreadable) => findings.push(error(chain(&unreadable))),
    }
    report(args, &case.manifest().name, path, &findings)
}

fn report(args: &Verify, name: &str, path: &Path, findings: &[Finding]) -> ExitCode {
    let code = if findings.is_empty() { ExitCode::SUCCESS } else { FOUND };
    if args.json {
        return output::print(format!("{}\n", json::findings(name, path, findings)), code);
    }
    let (name, path) = (table::printable(name), table::printable(&path.display().to_string()));
    let mut text = match findings.len() {
        0 => format!("{name}: nothing is wrong with {path}\n"),
        1 => format!("{name}: 1 finding in {path}\n"),
        count => format!("{name}: {count} findings in {path}\n"),
    };
    for finding in findings {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        text.push_str(&table::printable(&format!("{severity}: {}: {}", finding.place, finding.what)));
        text.push('\n');
    }
    output::print(text, code)
}

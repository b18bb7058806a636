//! `tacho ls`: which regions there are.

use std::process::ExitCode;

use tachograph_exporter::listing::Listing;
use tachograph_exporter::{json, table};

use crate::cli::Ls;
use crate::output::{self, FOUND};
use crate::serve::raise_open_files;

pub(crate) fn run(args: &Ls) -> ExitCode {
    // Each region is a file held open, and the archived ones are counted with them.
    raise_open_files();
    let directories = args.directories.open();
    let Listing { entries, problems } = Listing::of(&directories, args.archived);
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { FOUND };
    if args.json {
        return output::print(format!("{}\n", json::regions(&entries, &problems)), code);
    }
    for problem in &problems {
        output::say(&problem.to_string());
    }
    if entries.is_empty() {
        let places: Vec<String> = directories.paths().iter().map(|path| path.display().to_string()).collect();
        // Said already where it is why there are none.
        if !places.is_empty() && problems.is_empty() {
            output::say(&format!("no regions in {}", places.join(", ")));
        }
        return code;
    }
    output::print(table::regions(&entries), code)
}

//! `tacho gc`: applies the archive's rules by hand.

use std::process::ExitCode;

use serde_json::json;
use tachograph_exporter::gc::{self, Limits, Sweep};
use tachograph_exporter::table::Table;

use crate::cli::Gc;
use crate::output::{self, FOUND};
use crate::serve::raise_open_files;

pub(crate) fn run(args: &Gc) -> ExitCode {
    raise_open_files();
    let directories = args.directories.open();
    let limits = Limits { files: args.keep, share_percent: args.share };
    let Sweep { dropped, kept, problems } = gc::sweep(&directories, limits, args.dry_run);
    let code = if problems.is_empty() { ExitCode::SUCCESS } else { FOUND };
    let bytes: u64 = dropped.iter().map(|one| one.bytes).sum();
    if args.json {
        let object = json!({
            "version": 1, "dry_run": args.dry_run, "dropped": dropped, "bytes": bytes, "kept": kept, "problems": problems,
        });
        return output::print(format!("{object}\n"), code);
    }
    for problem in &problems {
        output::say(&problem.to_string());
    }
    let mut table = Table::new(&["REGION", ">BYTES", "WHY", "PATH"]);
    let count = dropped.len();
    for one in dropped {
        table.row(vec![one.region, one.bytes.to_string(), one.why.as_str().to_owned(), one.path.display().to_string()]);
    }
    let rows = if count == 0 { String::new() } else { table.to_string() };
    let would = if args.dry_run { "would be dropped" } else { "dropped" };
    output::print(format!("{rows}{count} archived regions {would} ({bytes} bytes), {kept} stay\n"), code)
}

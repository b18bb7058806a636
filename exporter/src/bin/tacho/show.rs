//! `tacho show`: the values of one region.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use tachograph_exporter::exposition::{Exposition, Format};
use tachograph_exporter::filter::Filter;
use tachograph_exporter::json::{self, Now, RegionEntry};
use tachograph_exporter::plan::{Options, Plan, Source};
use tachograph_exporter::{RegionInfo, Snapshot, Verdict, table};

use crate::cli::{Show, ShowFormat};
use crate::output::{self, FOUND};

pub(crate) fn run(args: &Show) -> ExitCode {
    let directories = args.directories.open();
    let reader = match directories.resolve(&args.region) {
        Ok(reader) => reader,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let snapshot = match reader.snapshot() {
        Ok(snapshot) => snapshot,
        Err(error) => return output::fail_as(&error, args.json),
    };
    let filter = args.filter.as_deref().map_or_else(Filter::default, Filter::new);
    let damaged = snapshot.schema.damaged_count();
    let code = if damaged == 0 { ExitCode::SUCCESS } else { FOUND };
    if damaged > 0 {
        output::say(&format!("{damaged} damaged entries are left out; `tacho verify {}` says which", args.region));
    }
    if args.filter.is_some() && !snapshot.schema.families.iter().any(|family| filter.matches(&family.name)) {
        output::say(&format!("nothing matches {}", args.filter.as_deref().unwrap_or_default()));
    }
    let now = Now::read();
    if args.json {
        let crashes = u64::from(snapshot.region.verdict == Verdict::Crashed);
        let archived = directories.archived(Some(&snapshot.region.name)).regions;
        let others = archived.iter().filter(|other| other.uuid() != snapshot.region.uuid);
        let others = others.filter(|other| other.verdict().is_ok_and(|verdict| verdict == Verdict::Crashed)).count();
        let entry = RegionEntry::new(snapshot.region.clone(), now, crashes + others as u64);
        return output::print(format!("{}\n", json::values(&entry, &snapshot, &filter, usize::MAX)), code);
    }
    let dead = dead_line(&snapshot.region, now);
    match args.format {
        ShowFormat::Table => output::print(
            format!(
                "{}{}",
                dead.map_or_else(String::new, |line| format!("{line}\n\n")),
                table::values(&snapshot, &filter)
            ),
            code,
        ),
        ShowFormat::Prom | ShowFormat::Openmetrics => match exposed(snapshot, &filter, args.format) {
            Ok(body) => {
                // A comment, which every parser of the text format skips; OpenMetrics has none.
                let comment = dead.filter(|_| matches!(args.format, ShowFormat::Prom));
                let mut out = comment.map_or_else(Vec::new, |line| format!("# {line}\n").into_bytes());
                out.extend_from_slice(&body);
                if std::io::stdout().is_terminal() {
                    // What a region says must not drive a terminal; a pipe gets the bytes as they are.
                    let text = String::from_utf8_lossy(&out);
                    out = text.split('\n').map(table::printable).collect::<Vec<_>>().join("\n").into_bytes();
                }
                output::print(out, code)
            }
            Err(error) => output::fail(&error),
        },
    }
}

/// That a region is dead and since when; nothing for a living one.
fn dead_line(region: &RegionInfo, now: Now) -> Option<String> {
    let since = region.last_sign_ns();
    let ago = table::span(now.realtime_ns.saturating_sub(since) as f64 / 1e9);
    let mut line = match region.verdict {
        Verdict::Running | Verdict::Hung => return None,
        Verdict::Closed => format!("{} is dead: closed at {} ({ago} ago)", region.name, table::moment(since)),
        Verdict::Crashed => {
            let why = region.why().map_or_else(String::new, |why| format!(" ({why})"));
            format!("{} is dead: crashed{why}, last sign of life {} ({ago} ago)", region.name, table::moment(since))
        }
        Verdict::Copy => format!("{} is a copy of a region, with the state of {}", region.name, table::moment(since)),
    };
    let _ = write!(line, "; pid was {}. These are its last values.", region.pid);
    Some(line)
}

/// The same bytes that `/metrics` would show of it.
fn exposed(
    mut snapshot: Snapshot,
    filter: &Filter,
    format: ShowFormat,
) -> Result<Vec<u8>, tachograph_exporter::plan::PlanError> {
    let format = if matches!(format, ShowFormat::Openmetrics) { Format::OpenMetrics } else { Format::Text };
    let schema = Arc::make_mut(&mut snapshot.schema);
    for family in &mut schema.families {
        if !filter.matches(&family.name) {
            family.series = 0..0;
        }
    }
    let sources = [Source::region(Arc::new(snapshot))];
    let plan = Plan::new(&sources, &Options::default())?;
    let mut body = Vec::new();
    Exposition::new(format).render(&plan, &sources, &mut body);
    for clash in plan.clashes() {
        output::say(&clash.to_string());
    }
    Ok(body)
}

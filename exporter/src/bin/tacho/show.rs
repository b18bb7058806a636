//! `tacho show`: the values of one region.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;

use tachograph_exporter::evidence::{Activity, Evidence};
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
    let evidence = match reader.evidence() {
        Ok(evidence) => evidence,
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
        let mut values = json::values(&entry, &snapshot, &filter, usize::MAX);
        if let (Some(object), Ok(evidence)) = (values.as_object_mut(), serde_json::to_value(&evidence)) {
            object.insert("evidence".to_owned(), evidence);
        }
        return output::print(format!("{values}\n"), code);
    }
    let dead = state_line(&snapshot.region, &evidence, now);
    match args.format {
        ShowFormat::Table => output::print(
            {
                let mut header: Vec<String> = dead.into_iter().collect();
                header.extend(stuck_lines(&evidence));
                let header: String = header.iter().map(|line| format!("{}\n", table::printable(line))).collect();
                let gap = if header.is_empty() { "" } else { "\n" };
                format!("{header}{gap}{}", table::values(&snapshot, &filter))
            },
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

/// How long an actor may be busy with one message before it is named.
const STUCK_AFTER_NS: u64 = 10_000_000_000;
/// Most stuck actors that are named.
const MOST_STUCK: usize = 10;

/// A line an actor that is stuck, or was when its writer died.
fn stuck_lines(evidence: &Evidence) -> Vec<String> {
    let stuck: Vec<&Activity> =
        evidence.activities.actors.iter().filter(|activity| activity.stuck(STUCK_AFTER_NS).is_some()).collect();
    let line = |activity: &&Activity| {
        let doing = activity.doing.as_deref().unwrap_or("?");
        let busy = table::span(activity.busy_ns.unwrap_or(0) as f64 / 1e9);
        let mailbox = match activity.mailbox_capacity {
            0 => activity.mailbox_depth.to_string(),
            capacity => format!("{}/{capacity}", activity.mailbox_depth),
        };
        format!("stuck: {}, {doing} for {busy}, mailbox {mailbox}", activity.actor)
    };
    let mut lines: Vec<String> = stuck.iter().take(MOST_STUCK).map(line).collect();
    if stuck.len() > MOST_STUCK {
        lines.push(format!("stuck: {} more", stuck.len() - MOST_STUCK));
    }
    lines
}

/// That a region is dead, since when and of what, or hung; nothing for one that runs.
fn state_line(region: &RegionInfo, evidence: &Evidence, now: Now) -> Option<String> {
    let since = region.ended_ns();
    let ago = table::span(now.realtime_ns.saturating_sub(since) as f64 / 1e9);
    let mut line = match region.verdict {
        Verdict::Running => return None,
        Verdict::Hung => {
            let promises: Vec<String> = region.broken_promises.iter().map(ToString::to_string).collect();
            return Some(format!("{} is hung: {}", region.name, promises.join("; ")));
        }
        Verdict::Closed => format!("{} is dead: closed at {} ({ago} ago)", region.name, table::moment(since)),
        Verdict::Crashed => {
            let why = region.why().map(|why| match evidence.fatal_panics().first() {
                Some(panic) => format!(" (panic at {}: {}; then {why})", panic.place, panic.message),
                None => format!(" ({why})"),
            });
            let why = why.unwrap_or_default();
            let when = if region.ended_exactly() { "at" } else { "last sign of life" };
            format!("{} is dead: crashed{why}, {when} {} ({ago} ago)", region.name, table::moment(since))
        }
        Verdict::Copy if region.copied_as == Some(Verdict::Hung) => {
            let promises: Vec<String> = region.broken_promises.iter().map(ToString::to_string).collect();
            format!("{} was hung at {} ({ago} ago): {}", region.name, table::moment(since), promises.join("; "))
        }
        Verdict::Copy if region.copied_as.is_some() => {
            format!("{} was running at {} ({ago} ago)", region.name, table::moment(since))
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

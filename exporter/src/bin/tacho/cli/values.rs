//! What the commands about values are asked: `ls`, `show`, `verify`, `watch`, `diff`.

use clap::{Args, ValueEnum};

use super::{Directories, Recordings};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho ls
  tacho ls --archived                       dead regions that were put away, too
  tacho ls --json | jq '.regions[] | select(.verdict == \"crashed\")'

Verdicts: running (the writer lives), hung (it lives and broke a promise of its own: its housekeeping tick, or a pulse),
closed (ended in order), crashed (ended otherwise), copy (a file away from its lock).
WHY: the promise that a hung writer broke; of a crashed one the signal, or exit (it ended without closing its region),
unwound (a panic unwound through it), exec (its process runs another program now), killed (from outside: nothing else is
known); of one that runs, how many panics it survived, where there were any and its crash hooks are on.
CRASHES: the crashed regions of that name that are kept, in place and archived. The archive keeps the first and the
newest of a burst, so there may have been more.
A crashed region is no problem of `ls`: exit 1 means that something could not be read.")]
pub(crate) struct Ls {
    /// List the archived regions, too
    #[arg(long)]
    pub(crate) archived: bool,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho show mc-0
  tacho show mc-0 --filter 'mc_*_total'
  tacho show mc-0@crash                     the newest crash of that name
  tacho show ./mc-0.tacho --format prom     any region file, in Prometheus' text format
  tacho show mc-0 --json")]
pub(crate) struct Show {
    /// A name, name@crash (its newest crash), or the path of a region file or a case
    pub(crate) region: String,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "table", conflicts_with = "json")]
    pub(crate) format: ShowFormat,
    /// Only metrics whose names match: * is any text, ? one character
    #[arg(long, value_name = "GLOB")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ShowFormat {
    /// For people
    Table,
    /// Prometheus' text format 0.0.4, as /metrics shows it
    Prom,
    /// OpenMetrics text 1.0.0
    Openmetrics,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho verify mc-0
  tacho verify /var/tmp/copy-of-mc-0.tacho --json

Exit 0: nothing is wrong. Exit 1: each finding was printed.")]
pub(crate) struct Verify {
    /// A name, name@crash (its newest crash), or the path of a region file or a case
    pub(crate) region: String,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho watch mc-0 mc_meetings_active 'mc_*_total'
  tacho watch mc-0 'mc_actor_messages_total{actor_type=\"meeting\"}' --interval 5s --count 12

Counters and histograms are shown a second, since the line before: the first line says N/A. Histograms show the 99th
percentile of what was observed in between, as the upper bound of its bucket.
Ends when the region's writer dies, or at once where it is dead already (exit 1), with its last values.")]
pub(crate) struct Watch {
    /// A name, name@crash (its newest crash), or the path of a region file or a case
    pub(crate) region: String,
    /// Metrics to show: a name or a glob, with labels where needed: NAME{LABEL=\"VALUE\"}; at most 16 series in all
    #[arg(required = true, value_name = "METRIC")]
    pub(crate) metrics: Vec<String>,
    /// Time between two lines
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    pub(crate) interval: std::time::Duration,
    /// End after that many lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_interval(text: &str) -> Result<std::time::Duration, String> {
    let error = || format!("{text:?} is no interval: give one such as 500ms, 1s or 1m, at least 10ms");
    let span: jiff::SignedDuration = text.parse().map_err(|_| error())?;
    let span = std::time::Duration::try_from(span).map_err(|_| error())?;
    Some(span).filter(|span| span.as_millis() >= 10).ok_or_else(error)
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho diff mc-0@crash mc-0               the last values of the crash, beside the ones of now
  tacho diff before.tacho after.tacho      two copies, made by `tacho snapshot`
  tacho diff mc-0 mc-1 --filter 'mc_*_total'
  tacho diff mc-0@-5m mc-0                 five minutes ago, from the recording, beside now
  tacho diff mc-0@crash-1m mc-0@crash      what changed in the last minute before a crash

REGION@TIME is the last sample that was recorded until then: @-30s, @2026-11-25T03:12:00Z, @crash-10s.
Histograms are compared by count, sum and two quantiles, as the upper bounds of their buckets.")]
pub(crate) struct Diff {
    /// A name, name@crash (its newest crash), name@TIME (out of its recording), or the path of a region file or a case
    pub(crate) a: String,
    /// What to compare it with: likewise
    pub(crate) b: String,
    #[command(flatten)]
    pub(crate) recordings: Recordings,
    /// Only metrics whose names match: * is any text, ? one character
    #[arg(long, value_name = "GLOB")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

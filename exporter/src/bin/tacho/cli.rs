//! The command line: what can be asked, and help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tachograph_exporter::moment::Moment;
use tachograph_exporter::recording::{RecorderConfig, Tier};
use tachograph_exporter::serve::Listen;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Reads the metrics that applications keep in shared memory: serves them to Prometheus, shows them, and still has
/// them when the application is dead.
#[derive(Debug, Parser)]
#[command(name = "tacho", version = VERSION, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tacho demo                 a real workload to look at, served on http://127.0.0.1:10110
  tacho ls                   which regions there are, and whether their writers live
  tacho show mc-0            current values of region mc-0; its last ones if it is dead
  tacho serve                the exporter: scrape http://127.0.0.1:10110/metrics

Exit codes: 0 ok, 1 found a problem, 2 bad usage.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the metrics of all regions over HTTP, for Prometheus
    Serve(Serve),
    /// List regions: name, verdict, pid, uptime, what is used of them, crashes
    Ls(Ls),
    /// Show the current values of a region, or the last ones of a dead one
    Show(Show),
    /// Check every structure of a region; say what is wrong, and where
    Verify(Verify),
    /// Report on a crash: what died of what, who was doing what, what went quiet first
    Postmortem(Postmortem),
    /// Show some series of a region, a line each interval
    Watch(Watch),
    /// Compare two regions, or two copies of one
    Diff(Diff),
    /// Copy a region into a file, without stopping anything
    Snapshot(Snapshot),
    /// Write one file about a region, living or dead: a copy, its last minutes, and what was known of its process
    Case(Case),
    /// Apply the archive's rules by hand: drop dead regions that need not be kept
    Gc(Gc),
    /// Show how series went: the recorder's window as a table, a plot or CSV
    History(History),
    /// Start a meeting controller under load, serve its metrics, and say what to try
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// The demo's workload, as a process of its own
    #[cfg(feature = "demo")]
    #[command(name = crate::demo::WORKLOAD, hide = true)]
    ControllerWorkload {
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Directories {
    /// Directory to look for regions in; repeatable. Default: $TACHOGRAPH_DIR, else those of /run/tachograph and
    /// /dev/shm/tachograph-UID that exist
    #[arg(long = "region-dir", value_name = "DIR")]
    pub(crate) region_dirs: Vec<PathBuf>,
}

impl Directories {
    pub(crate) fn open(&self) -> tachograph_exporter::Directories {
        tachograph_exporter::Directories::from_args(self.region_dirs.clone())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho serve
  tacho serve --web.listen-address=:10110 --region-dir=/run/tachograph
  tacho serve --web.listen-address=unix:/run/tacho/tacho.sock
  tacho serve --recorder.dir=/var/lib/tacho            keep the last minutes, and a case of each crash
  tacho serve --config.check --region-label=shard     check the flags, serve nothing

Prometheus:
  scrape_configs:
    - job_name: tachograph
      static_configs: [{targets: ['127.0.0.1:10110']}]")]
pub(crate) struct Serve {
    /// Address to listen on: HOST:PORT, :PORT (all interfaces) or unix:PATH; repeatable
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10110")]
    pub(crate) listen: Vec<Listen>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics")]
    pub(crate) telemetry_path: String,
    /// Scrapes answered at a time; more get 503. 0: no limit
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40)]
    pub(crate) max_requests: usize,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Name of the label that says which region a series comes from; empty for none, which one region allows
    #[arg(long = "region-label", value_name = "NAME", default_value = tachograph_exporter::plan::REGION_LABEL)]
    pub(crate) region_label: String,
    /// Add regions up instead of telling them apart: for pools of workers, whose totals stay when one dies. Counters,
    /// histograms and up-down counters by sum, gauges as their family says. Needs --recorder.dir, where the ledger is
    #[arg(long = "merge")]
    pub(crate) merge: bool,
    /// Compress bodies by gzip for scrapers that take it: auto leaves those on this machine plain bytes, which reach them
    /// sooner than compressing takes
    #[arg(long = "web.compression", value_name = "WHEN", default_value = "auto")]
    pub(crate) compression: CompressionChoice,
    /// How much to compress: 1 (fast) to 9 (small)
    #[arg(long = "web.compression-level", value_name = "LEVEL", default_value_t = 1)]
    pub(crate) compression_level: u32,
    /// Say in OpenMetrics when counters and histograms were created, in `_created` lines. Prometheus may store each as a
    /// series
    #[arg(long = "openmetrics.created")]
    pub(crate) created: bool,
    /// An actor that is busy with one message for longer counts as stuck
    #[arg(long = "actors.stuck-after", value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) stuck_after: std::time::Duration,
    #[command(flatten)]
    pub(crate) recorder: Recorder,
    /// Check the flags, then exit: 0 where they can be served, 2 where not
    #[arg(long = "config.check")]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) log: Log,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CompressionChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Args)]
pub(crate) struct Recorder {
    /// Record the regions: keep their last minutes in this directory, and a case of each crash. It is best on disk,
    /// where it outlives a reboot; made where it is missing
    #[arg(long = "recorder.dir", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// What is kept how long, the finest first: INTERVAL:KEEP, joined by commas. The shortest interval is 50ms
    #[arg(long = "recorder.tiers", value_name = "TIERS", default_value = "1s:30m,10s:24h", value_delimiter = ',')]
    pub(crate) tiers: Vec<Tier>,
    /// Most bytes of recordings; the oldest go first. Cases are limited apart from it
    #[arg(long = "recorder.max-bytes", value_name = "BYTES", default_value = "256MiB", value_parser = parse_bytes)]
    pub(crate) max_bytes: u64,
}

impl Recorder {
    pub(crate) fn config(&self) -> Option<RecorderConfig> {
        let directory = self.dir.clone()?;
        Some(RecorderConfig { directory, tiers: self.tiers.clone(), max_bytes: self.max_bytes })
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("", 0)];
    let (number, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift))).unwrap_or((text, 0));
    let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{text:?} is no number of bytes: give one such as 64MiB, 1GiB or 1048576"))
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Least severe messages to log
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) level: LogLevel,
    /// Form of the log, which goes to standard error
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "text")]
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    #[value(alias = "logfmt")]
    Text,
    Json,
}

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
known).
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
  tacho postmortem                         the first crash of the newest burst
  tacho postmortem mc-0@crash              the newest crash of that name
  tacho postmortem mc-0                    of a living one: what would be said now
  tacho postmortem ./mc-0.case.tar.gz      a case: the region and its last minutes, from any machine
  tacho postmortem ./mc-0-crash.tacho --html > report.html

The minutes before stand in the recording of `tacho serve --recorder.dir=DIR`; without one those parts say so.
Exit 0: nothing is wrong. Exit 1: it crashed, hangs, or its file is damaged.")]
pub(crate) struct Postmortem {
    /// A name, name@crash (its newest crash), or the path of a region file or a case; without it, the first crash of the
    /// newest burst
    pub(crate) region: Option<String>,
    /// Directory of `tacho serve --recorder.dir`. Default: $TACHOGRAPH_RECORDER_DIR, else /var/lib/tacho
    #[arg(long = "recorder.dir", value_name = "DIR")]
    pub(crate) recorder_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one HTML page, with charts, that needs nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) html: bool,
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
Ends when the region's writer dies (exit 1), with its last values.")]
pub(crate) struct Watch {
    /// A name, name@crash (its newest crash), or the path of a region file or a case
    pub(crate) region: String,
    /// Metrics to show: a name or a glob, with labels where needed: NAME{LABEL=\"VALUE\"}
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
    /// Directory of `tacho serve --recorder.dir`. Default: $TACHOGRAPH_RECORDER_DIR, else /var/lib/tacho
    #[arg(long = "recorder.dir", value_name = "DIR")]
    pub(crate) recorder_dir: Option<PathBuf>,
    /// Only metrics whose names match: * is any text, ? one character
    #[arg(long, value_name = "GLOB")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho snapshot mc-0 -o before.tacho
  tacho snapshot mc-0@crash -o /var/tmp/mc-0-crash.tacho
  tacho show ./before.tacho                every command reads the copy, here or on another machine

Nothing is overwritten, and after a failure no file is left.")]
pub(crate) struct Snapshot {
    /// A name, name@crash (its newest crash), or the path of a region file or a case
    pub(crate) region: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho case mc-0 -o mc-0.case.tar.gz
  tacho case mc-0@crash -o /tmp/mc-0-crash.case.tar.gz --recorder.dir=/var/lib/tacho

The recorder writes one of each crash by itself, into DIR/cases. `tar tf` opens it anywhere.
Nothing is overwritten, and after a failure no file is left.")]
pub(crate) struct Case {
    /// A name, name@crash (its newest crash), or the path of a region file
    pub(crate) region: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Directory of `tacho serve --recorder.dir`. Default: $TACHOGRAPH_RECORDER_DIR, else /var/lib/tacho
    #[arg(long = "recorder.dir", value_name = "DIR")]
    pub(crate) recorder_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho history mc-0 mc_actor_messages_total
  tacho history mc-0 'mc_*_seconds{type=\"meeting\"}' --from -30m --plot
  tacho history mc-0@crash 'mc_mailbox_*' --from @crash-2m        the minutes before the newest crash
  tacho history ./mc-0.*.tachorec mc_meetings_active --csv        any copied block of a recording

Rows are as far apart as --step says; a table has about 40 without it, CSV and JSON have every sample. Rates and
quantiles (upper bounds of their buckets) are of the time since the row before. A pause in the recording is shown, and
nothing is made up for it.")]
pub(crate) struct History {
    /// A name, name@crash (its newest crash), or the path of a case or a recording: a .tachorec file or a directory of them
    pub(crate) region: String,
    /// Name of the metric, or name{labels}: * is any text, ? one character
    pub(crate) metric: String,
    /// From when on: -30s, 2026-11-25T03:12:00Z, @crash-2m
    #[arg(long, value_name = "TIME", default_value = "-5m", allow_hyphen_values = true)]
    pub(crate) from: Moment,
    /// Until when; without it now; @crash for name@crash, the last sample for a path
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) to: Option<Moment>,
    /// Least time between two rows, such as 10s
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(crate) step: Option<std::time::Duration>,
    /// Directory of `tacho serve --recorder.dir`. Default: $TACHOGRAPH_RECORDER_DIR, else /var/lib/tacho
    #[arg(long = "recorder.dir", value_name = "DIR")]
    pub(crate) recorder_dir: Option<PathBuf>,
    /// Draw each series instead: rates of counters and histograms, values of others
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    pub(crate) plot: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    let span = text.parse::<jiff::Span>().ok().and_then(|span| {
        let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?;
        std::time::Duration::try_from(span).ok()
    });
    span.ok_or_else(|| format!("{text:?} is no span of time: give one such as 10s, 500ms or 5m"))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho gc --dry-run                       what would go, and why
  tacho gc --keep 2 --share 10

The rules are those of an application's start: of the crashes within 10 minutes of each other the first and the newest stay
and the others are counted; then the oldest go, those closed in order first. The newest crash of each region always stays.
Regions in their places, and what a living process has mapped, are never touched.")]
pub(crate) struct Gc {
    /// Say what would go, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Most archived files of one region
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_keep)]
    pub(crate) keep: usize,
    /// Most percent of the file system for an archive
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) share: u8,
    #[command(flatten)]
    pub(crate) directories: Directories,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_keep(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count: &usize| *count > 0);
    count.ok_or_else(|| format!("{text:?} is no count of files: at least 1 stays"))
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho demo
  tacho demo --for 60
  tacho demo --crash                                    it dies within 15 seconds, and the report is shown
  tacho demo --web.listen-address=127.0.0.1:0 --json    any free port, which the JSON line names")]
pub(crate) struct Demo {
    /// End after that many seconds; without it, Ctrl-C ends the demo
    #[arg(long = "for", value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) duration: Option<std::time::Duration>,
    /// Let it come to a bad end, and show the report on that
    #[arg(long, conflicts_with = "duration")]
    pub(crate) crash: bool,
    /// Directory for the region, on tmpfs. Default: as for any application ($TACHOGRAPH_DIR, /run/tachograph,
    /// /dev/shm/tachograph-UID)
    #[arg(long = "region-dir", value_name = "DIR")]
    pub(crate) region_dir: Option<PathBuf>,
    /// Address to serve on: HOST:PORT, :PORT or unix:PATH
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10110")]
    pub(crate) listen: Listen,
    /// Print one JSON object once all is running, and one at the end, instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    let positive = Some(seconds).filter(|seconds| *seconds > 0.0);
    let duration = positive.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| format!("{text} is no time span: give a number of seconds above 0"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

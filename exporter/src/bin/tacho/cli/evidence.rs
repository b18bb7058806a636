//! What the commands about evidence are asked: `postmortem`, `snapshot`, `case`, `history`, `gc`.

use std::path::PathBuf;

use clap::Args;
use tachograph_exporter::moment::Moment;

use super::{Directories, Recordings};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tacho postmortem                         the first crash of the newest burst, of any name
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
    #[command(flatten)]
    pub(crate) recordings: Recordings,
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
    #[command(flatten)]
    pub(crate) recordings: Recordings,
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
    #[command(flatten)]
    pub(crate) recordings: Recordings,
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

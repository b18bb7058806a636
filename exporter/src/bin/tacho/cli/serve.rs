//! What `tacho serve` is asked: addresses, formats, the recorder, the log.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tachograph_exporter::recording::{RecorderConfig, Tier};
use tachograph_exporter::serve::Listen;

use super::{Directories, parse_seconds};

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
    /// Connections at a time. The next one takes the place of the one that has been without a request for longest
    #[arg(long = "web.max-connections", value_name = "N", default_value_t = 256)]
    pub(crate) max_connections: usize,
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

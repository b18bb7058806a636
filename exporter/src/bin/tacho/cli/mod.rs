//! The command line: what can be asked, and help that teaches it. Each file beside has the arguments of some commands.

#[cfg(feature = "demo")]
mod demo;
mod evidence;
mod serve;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "demo")]
pub(crate) use demo::Demo;
pub(crate) use evidence::{Case, Gc, History, Postmortem, Snapshot};
pub(crate) use serve::{CompressionChoice, Log, LogFormat, LogLevel, Serve};
pub(crate) use values::{Diff, Ls, Show, ShowFormat, Verify, Watch};

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

/// Where a recorder left its recordings and cases, for whoever reads them.
#[derive(Debug, Args)]
pub(crate) struct Recordings {
    /// Directory of `tacho serve --recorder.dir`. Default: $TACHOGRAPH_RECORDER_DIR, else /var/lib/tacho
    #[arg(long = "recorder.dir", value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Recordings {
    /// The directory: given, from the environment, or the usual one.
    pub(crate) fn path(&self) -> PathBuf {
        let variable = || std::env::var_os("TACHOGRAPH_RECORDER_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.dir.clone().or_else(variable).unwrap_or_else(|| "/var/lib/tacho".into())
    }
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

//! What `tacho demo` is asked.

use std::path::PathBuf;

use clap::Args;
use tachograph_exporter::serve::Listen;

use super::parse_seconds;

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

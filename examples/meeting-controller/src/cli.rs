//! The binary: options, the region, faults, and the order in which all ends.
//!
//! `main_from` is the whole program; `main.rs` and whoever carries the controller inside another binary call it from
//! the runtime that `runtime` builds. What it did comes out as one JSON line on stdout, logs go to stderr.
//! Exit codes: 0 done, 1 could not start, 2 bad usage.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use nix::sys::signal::{Signal, raise};
use serde_json::{Map, json};
use tachograph::{NoteLayer, OnExisting, Region};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::acks::{Acks, direct_stdout, write_line};
use crate::activities::Activities;
use crate::actor_metrics::ActorMetrics;
use crate::backend::SimulatedGlobalController;
use crate::controller::{Controller, ControllerConfig};
use crate::fact::CountedSeries;
use crate::heartbeat::{self, Intervals};
use crate::load::{Load, LoadConfig, Totals};
use crate::metrics::McMetrics;
use crate::witness::Witness;

/// A meeting controller under load: a small actor system whose metrics are in a shared-memory region.
#[derive(Debug, Parser)]
#[command(name = "meeting-controller", version)]
struct Options {
    /// Meetings from the start on
    #[arg(long, default_value_t = 10, value_name = "N")]
    meetings: usize,
    /// Participants of each meeting from the start on
    #[arg(long, default_value_t = 10, value_name = "N")]
    connections_per_meeting: usize,
    /// Signalling messages a second, over all meetings
    #[arg(long, default_value_t = 1000.0, value_name = "MSGS_PER_S", value_parser = rate)]
    rate: f64,
    /// Comings and goings a second, over all meetings
    #[arg(long, default_value_t = 10.0, value_name = "PER_S", value_parser = rate)]
    churn: f64,
    /// Chooses who does what: the same seed, the same timeline
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Ends after this many seconds of load; without it, at a signal
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Fault: a meeting panics every so many seconds
    #[arg(long, value_name = "S", value_parser = positive_seconds)]
    panic_meeting_every: Option<Duration>,
    /// Fault: a meeting that panicked is not replaced
    #[arg(long)]
    no_replacement: bool,
    /// Fault: a meeting takes no more messages after so many seconds, and its mailbox fills
    #[arg(long, value_name = "S", value_parser = seconds)]
    stall_meeting: Option<Duration>,
    /// Fault: the process aborts after so many seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    abort_after: Option<Duration>,
    /// Fault: the process gets a segmentation fault after so many seconds
    #[arg(long, value_name = "S", value_parser = seconds)]
    segfault_after: Option<Duration>,
    /// Writes a JSON line every 10 ms: how many of each counter, and observations of each histogram, are done, and a ceiling not passed before the next line
    #[arg(long)]
    acks: bool,
    /// Name of the region, and of the controller
    #[arg(long, default_value = "mc-0", value_name = "NAME")]
    region: String,
    /// Directory of the region [default: $TACHOGRAPH_DIR, else /run/tachograph, else /dev/shm/tachograph-<uid>]
    #[arg(long, value_name = "DIR")]
    region_dir: Option<PathBuf>,
    /// Continues the counters and histograms of the region that is there, of a process that is gone
    #[arg(long)]
    adopt: bool,
    /// Ends when stdin is closed: with the process that started it
    #[arg(long)]
    until_stdin_closes: bool,
    /// How many seconds a participant without a connection stays
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    grace: Duration,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("a number that is not negative is needed".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn positive_seconds(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|time| if time.is_zero() { Err("more than 0 is needed".to_owned()) } else { Ok(time) })
}

/// The runtime for [`main_from`]: multi-threaded, each thread with its lane claimed before its first write.
///
/// # Errors
/// Where the operating system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tachograph::enter_thread();
    tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_start(tachograph::enter_thread).build()
}

/// The whole program, from its arguments (the program's name first) to its exit code.
///
/// ```no_run
/// let runtime = meeting_controller::runtime()?;
/// let code = runtime.block_on(meeting_controller::main_from(["meeting-controller", "--for", "1"]));
/// # Ok::<(), std::io::Error>(())
/// ```
pub async fn main_from<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let options = match Options::try_parse_from(args) {
        Ok(options) => options,
        Err(error) => {
            // Help and version are "errors" too, with code 0. Where they cannot be printed nobody is there to be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let filter =
        tracing_subscriber::EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    // Inside another binary there may be a subscriber already: then that one gets the logs.
    let printed = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter);
    let notes = NoteLayer::new();
    let _ = tracing_subscriber::registry().with(notes.clone().with_filter(LevelFilter::WARN)).with(printed).try_init();
    match run(options, &notes).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            eprintln!("meeting-controller: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options, notes: &NoteLayer) -> Result<(), Box<dyn std::error::Error>> {
    // One more of each than the load starts with: churn and panics replace one by another.
    let members = (options.meetings as u64 + 1).saturating_mul(options.connections_per_meeting as u64 + 1);
    let actors = u32::try_from(members.saturating_mul(2)).unwrap_or(u32::MAX).clamp(256, 65_536);
    let mut builder = Region::builder(&options.region)
        .fit::<McMetrics>()
        .activities(actors)
        .version(env!("CARGO_PKG_VERSION"))
        .crash_hooks(true);
    if let Some(dir) = &options.region_dir {
        builder = builder.dir(dir);
    }
    if options.adopt {
        builder = builder.on_existing(OnExisting::Adopt);
    }
    let region = builder.build()?;
    notes.attach(&region);
    let mut stdout = direct_stdout()?;
    let witness = Arc::new(if options.acks { Witness::limited() } else { Witness::unlimited() });
    let metrics = ActorMetrics::new(region.metrics::<McMetrics>()?)
        .with_witness(Arc::clone(&witness))
        .with_activities(Activities::new(&region)?);

    // From here on a signal ends it in order.
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    if options.until_stdin_closes {
        stop_when_stdin_closes(&stop)?;
    }
    let acks = if options.acks { Some(Acks::start(Arc::clone(&witness))?) } else { None };
    start_faults(&options);

    let mut config =
        ControllerConfig { id: options.region.clone(), grace: options.grace, ..ControllerConfig::default() };
    config.max_meetings = config.max_meetings.max(options.meetings as u64 + 1);
    config.max_participants = config.max_participants.max(members.saturating_mul(2));
    let controller = Controller::spawn(config.clone(), &metrics);
    let beats_end = CancellationToken::new();
    let sink = SimulatedGlobalController::new(options.seed);
    let beats = tokio::spawn(heartbeat::run(config, Intervals::default(), metrics.clone(), sink, beats_end.clone()));

    let load = Load::new(options.load(), controller.clone(), &metrics, stop);
    let totals = load.run().await;
    let outcome = controller.shutdown().await;
    tracing::debug!(?outcome, "controller ended");
    beats_end.cancel();
    if let Err(error) = beats.await {
        tracing::warn!(%error, "the heartbeat task did not end as it should");
    }
    if let Some(acks) = acks {
        acks.finish();
    }
    write_line(&mut stdout, &report(&totals, &witness))?;
    region.close();
    Ok(())
}

impl Options {
    fn load(&self) -> LoadConfig {
        LoadConfig {
            meetings: self.meetings,
            connections_per_meeting: self.connections_per_meeting,
            rate: self.rate,
            churn: self.churn,
            seed: self.seed,
            duration: self.duration,
            panic_meeting_every: self.panic_meeting_every,
            no_replacement: self.no_replacement,
            stall_meeting: self.stall_meeting,
        }
    }
}

/// What was done: by the load's own totals, and by the witness for each counter, each histogram's count and its sum.
fn report(totals: &Totals, witness: &Witness) -> serde_json::Value {
    let counters: Map<_, _> = CountedSeries::all().map(|series| (series.name(), json!(witness.done(series)))).collect();
    let sums = CountedSeries::all().filter_map(|series| Some((series.sum_name()?, json!(witness.nanoseconds(series)))));
    json!({ "report": totals, "counters": counters, "sums_ns": sums.collect::<Map<_, _>>() })
}

fn stop_on_signals(stop: &CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

fn stop_when_stdin_closes(stop: &CancellationToken) -> std::io::Result<()> {
    let stop = stop.clone();
    // A thread: reading stdin blocks, and nothing must wait for it at the end.
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        if let Err(error) = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()) {
            tracing::warn!(%error, "stdin cannot be read: taken as closed");
        }
        stop.cancel();
    })?;
    Ok(())
}

fn start_faults(options: &Options) {
    if let Some(after) = options.abort_after {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            std::process::abort();
        });
    }
    if let Some(after) = options.segfault_after {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            // Again and again: the standard library's handler, which looks for stack overflows, takes a fault elsewhere by
            // restoring the default action and returning, so that the instruction faults again. A raised one does not.
            while raise(Signal::SIGSEGV).is_ok() {}
            tracing::error!("the segmentation fault could not be raised");
        });
    }
}

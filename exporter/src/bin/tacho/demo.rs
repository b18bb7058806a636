//! `tacho demo`: a meeting controller under load as a child process, its metrics served, and what to try with them.
//!
//! The child is this same executable with a hidden subcommand. It ends when its standard input closes, so it does not
//! outlive the demo, however that ends. It has a process group of its own: Ctrl-C reaches the demo only, which then
//! ends the child in order.

mod crash;
mod place;
mod workload;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use tachograph_exporter::recording::{RecorderConfig, RecordingError};
use tachograph_exporter::serve::{Config, ServeError, Server};
use tachograph_exporter::{Directories, Kind, ReadError, RegionReader, ResolveError, Snapshot, Value, table};
use tokio::sync::oneshot;

use place::{Place, command};
use workload::Workload;

use crate::cli::{Demo, Log, LogFormat, LogLevel};
use crate::output;
use crate::serve::{ended, log_to_stderr, raise_open_files};

/// The hidden subcommand.
pub(crate) const WORKLOAD: &str = "controller-workload";

/// Name of the demo's region.
const REGION: &str = "meeting-controller";

/// How long the child may take until its region runs.
const START: Duration = Duration::from_secs(20);
/// How long the child may take to end in order.
const END: Duration = Duration::from_secs(5);
/// Between two status lines.
const STATUS: Duration = Duration::from_secs(3);
/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("{path}: {what}; make it on tmpfs, owned by you (mkdir -m 0750), or leave --region-dir out", path = path.display())]
    Directory { path: PathBuf, what: &'static str },
    #[error(
        "{path}: the region {REGION} has a living writer, pid {pid}, since {since}: end it (another tacho demo?), or use another --region-dir",
        path = path.display()
    )]
    Owned { path: PathBuf, pid: u32, since: String },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("there is no place for the recording; name one by $TMPDIR")]
    Recording(#[source] std::io::Error),
    #[error("the workload can't be started")]
    Spawn(#[source] std::io::Error),
    #[error("the workload ended before its region was there ({status}){stderr}")]
    Early { status: ExitStatus, stderr: String },
    #[error("the workload's region was not there within {} s{stderr}", START.as_secs())]
    Late { stderr: String },
    #[error(transparent)]
    Recorded(#[from] RecordingError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the workload did not crash as it was meant to: it ended with {status}{stderr}")]
    NotCrashed { status: ExitStatus, stderr: String },
    #[error("the workload did not crash within {} s", crash::LONGEST.as_secs())]
    Survived,
    #[error("the workload can't be waited for")]
    Wait(#[source] std::io::Error),
}

/// The child process: the controller, as its own binary would run.
pub(crate) fn workload(args: Vec<String>) -> ExitCode {
    let runtime = match meeting_controller::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&error),
    };
    let code = runtime.block_on(meeting_controller::main_from([REGION.to_owned()].into_iter().chain(args)));
    // A thread may still wait for standard input; nothing of it matters any more.
    runtime.shutdown_background();
    code
}

pub(crate) fn run(args: &Demo) -> ExitCode {
    log_to_stderr(&Log { level: LogLevel::Error, format: LogFormat::Text });
    raise_open_files();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&error),
    };
    let done = runtime.block_on(async { if args.crash { crash::demo(args).await } else { demo(args).await } });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error),
    }
}

async fn demo(args: &Demo) -> Result<(), DemoError> {
    // First of all, so that Ctrl-C is answered from here on.
    let mut end = std::pin::pin!(ended());
    let region_dirs: Vec<PathBuf> = args.region_dir.iter().cloned().collect();
    // What is recorded goes with the demo.
    let recording = tempfile::Builder::new().prefix("tacho-demo-").tempdir().map_err(DemoError::Recording)?;
    let recorder_dir = recording.path().join("recorder");
    let config = Config {
        listen: vec![args.listen.clone()],
        region_dirs: region_dirs.clone(),
        recorder: Some(RecorderConfig::new(&recorder_dir)),
        ..Config::default()
    };
    let server = Server::bind(&config).await?;
    check_directory(args.region_dir.as_deref())?;
    let directories = Directories::from_args(region_dirs);
    check_owner(&directories)?;

    let mut workload = Workload::start(args.region_dir.as_deref(), &[])?;
    let reader = tokio::select! {
        reader = workload.wait_for_region(&directories) => reader?,
        () = &mut end => return workload.end().await,
    };
    let place = Place {
        address: server.addresses().into_iter().next().unwrap_or_default(),
        url: server.url(),
        command: command(args.region_dir.as_deref()),
        recorder_dir,
        json: args.json,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(async {
        // The sender being dropped means the same.
        let _ = stopped.await;
    }));
    place.say_running(&reader, workload.pid);
    let started = Instant::now();
    let deadline = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let mut deadline = std::pin::pin!(deadline);
    let mut status = tokio::time::interval(STATUS);
    status.tick().await;
    let live = std::io::stdout().is_terminal() && !args.json;
    let mut messages = 0;
    loop {
        tokio::select! {
            () = &mut end => break,
            () = &mut deadline => break,
            exit = workload.child.wait(), if !workload.dead => {
                workload.dead = true;
                place.say_death(&reader, &exit.map_err(DemoError::Wait)?, workload.pid);
            }
            _ = status.tick(), if live && !workload.dead => messages = say_status(&reader, started.elapsed(), messages),
        }
    }
    let ended = workload.end().await;
    let _ = stop.send(());
    // It ends by itself within its own limit.
    let _ = serving.await;
    place.say_totals(&reader);
    ended
}

fn check_directory(directory: Option<&Path>) -> Result<(), DemoError> {
    let Some(path) = directory else { return Ok(()) };
    let what = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "not a directory",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "no such directory",
        Err(_) => "can't be read",
    };
    Err(DemoError::Directory { path: path.to_owned(), what })
}

/// Two writers can't have one name: says who has it, before a child is started that could only fail.
fn check_owner(directories: &Directories) -> Result<(), DemoError> {
    match directories.resolve(REGION) {
        Ok(reader) => match reader.info() {
            Ok(region) if region.verdict.is_alive() => Err(DemoError::Owned {
                pid: region.pid,
                since: table::moment(region.created_realtime_ns),
                path: region.path,
            }),
            _ => Ok(()),
        },
        Err(error @ ResolveError::Ambiguous { .. }) => Err(error.into()),
        // None there, or one that can't be read, which the child will archive or complain of.
        Err(_) => Ok(()),
    }
}

/// The sum of each counter family.
fn totals(snapshot: &Snapshot) -> Vec<(String, u64)> {
    let counters = snapshot.schema.families.iter().filter(|family| family.kind == Kind::Counter);
    let sum = |family: &tachograph_exporter::Family| {
        family.series.clone().fold(0_u64, |sum, index| match snapshot.value(index) {
            Value::U64(value) => sum.wrapping_add(value),
            Value::F64(value) => sum.wrapping_add(value as u64),
            _ => sum,
        })
    };
    counters.map(|family| (family.name.clone(), sum(family))).collect()
}

/// One line on how it goes; gives the messages so far, for the rate in the next one.
fn say_status(reader: &RegionReader, elapsed: Duration, before: u64) -> u64 {
    let Ok(snapshot) = reader.snapshot() else { return before };
    let counted: Vec<(String, u64)> = totals(&snapshot);
    let messages = counted.iter().find(|(name, _)| name == "mc_actor_messages_total").map_or(0, |(_, count)| *count);
    let gauge = |name: &str| {
        let family = snapshot.schema.families.iter().find(|family| family.name == name)?;
        match snapshot.value(family.series.clone().next()?) {
            Value::I64(value) => Some(value),
            _ => None,
        }
    };
    let mut text = format!("{:>7}", table::span(elapsed.as_secs_f64()));
    for (name, label) in [("mc_meetings_active", "meetings"), ("mc_participants_active", "participants")] {
        if let Some(value) = gauge(name) {
            let _ = write!(text, "  {value} {label}");
        }
    }
    let rate = messages.saturating_sub(before) / STATUS.as_secs().max(1);
    say(&format!("{text}  {messages} messages, {rate}/s\n"));
    reader.recycle(snapshot);
    messages
}

/// Writes to standard output. A demo whose output nobody reads any more goes on serving.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

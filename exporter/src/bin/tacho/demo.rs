//! `tacho demo`: a meeting controller under load as a child process, its metrics served, and what to try with them.
//!
//! The child is this same executable with a hidden subcommand. It ends when its standard input closes, so it does not
//! outlive the demo, however that ends. It has a process group of its own: Ctrl-C reaches the demo only, which then
//! ends the child in order.

mod crash;

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value as Json, json};
use tachograph_exporter::json::Now;
use tachograph_exporter::recording::{RecorderConfig, RecordingError};
use tachograph_exporter::serve::{Config, ServeError, Server};
use tachograph_exporter::{
    Directories, Kind, ReadError, RegionInfo, RegionReader, ResolveError, Snapshot, Value, Verdict, table,
};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;
use tokio::time::timeout;

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
/// Between two looks at a child that starts.
const LOOK: Duration = Duration::from_millis(20);
/// Between two status lines.
const STATUS: Duration = Duration::from_secs(3);
/// How much of the end of the child's standard error is kept.
const KEPT: usize = 16 << 10;

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

/// The child process.
struct Workload {
    child: Child,
    /// Held open, outside of `child`, whose `wait` would close it: the workload ends when it closes.
    _stdin: Option<ChildStdin>,
    pid: u32,
    dead: bool,
    /// The end of what it wrote to standard error.
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Ready when its standard error has ended.
    stderr_ended: Option<tokio::task::JoinHandle<()>>,
}

impl Workload {
    fn start(directory: Option<&Path>, faults: &[&str]) -> Result<Self, DemoError> {
        let executable = std::env::current_exe().map_err(DemoError::Spawn)?;
        let mut command = Command::new(executable);
        command.args([WORKLOAD, "--", "--region", REGION, "--until-stdin-closes"]).args(faults);
        if let Some(directory) = directory {
            command.arg("--region-dir").arg(directory);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(DemoError::Spawn)?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let stderr_ended = child.stderr.take().map(|mut pipe| {
            let kept = Arc::clone(&stderr);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.extend_from_slice(&buffer[..read]);
                    let surplus = kept.len().saturating_sub(KEPT);
                    kept.drain(..surplus);
                }
            })
        });
        let stdin = child.stdin.take();
        Ok(Self { pid: child.id().unwrap_or_default(), child, _stdin: stdin, dead: false, stderr, stderr_ended })
    }

    /// The region of this child, once it runs.
    async fn wait_for_region(&mut self, directories: &Directories) -> Result<Arc<RegionReader>, DemoError> {
        let start = Instant::now();
        while start.elapsed() < START {
            let exit = self.child.try_wait().map_err(DemoError::Wait)?;
            let mine = directories.scan().regions.into_iter().find(|reader| {
                reader.name() == REGION
                    && reader.info().is_ok_and(|region| {
                        let filled = region.capacity.series.used > 0;
                        // Somebody was quick to kill it: that is what a demo is for.
                        let shown = [Verdict::Running, Verdict::Crashed].contains(&region.verdict);
                        region.pid == self.pid && filled && shown
                    })
            });
            match (mine, exit) {
                (Some(reader), _) => return Ok(reader),
                (None, Some(status)) => {
                    self.dead = true;
                    return Err(DemoError::Early { status, stderr: self.stderr_text().await });
                }
                (None, None) => {}
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(DemoError::Late { stderr: self.stderr_text().await })
    }

    /// What it wrote to standard error, as the end of a sentence.
    async fn stderr_text(&mut self) -> String {
        if let Some(ended) = self.stderr_ended.take() {
            let _ = timeout(Duration::from_millis(500), ended).await;
        }
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        if text.trim().is_empty() { String::new() } else { format!(":\n{}", text.trim_end()) }
    }

    /// Ends the child in order: asks, waits, and only then kills.
    async fn end(&mut self) -> Result<(), DemoError> {
        if self.dead {
            return Ok(());
        }
        self.dead = true;
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It was not waited for yet, so the pid is still its own.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        match timeout(END, self.child.wait()).await {
            Ok(exit) => exit.map(drop),
            Err(_) => {
                output::say(&format!("the workload did not end within {} s and is killed", END.as_secs()));
                self.child.kill().await
            }
        }
        .map_err(DemoError::Wait)
    }
}

/// Where the demo is found, and how to say so.
struct Place {
    address: String,
    url: Option<String>,
    /// This executable as it can be called, and the flags that lead to the region.
    command: (String, String),
    recorder_dir: PathBuf,
    json: bool,
}

impl Place {
    fn metrics(&self) -> String {
        self.url.as_ref().map_or_else(|| format!("{} /metrics", self.address), |url| format!("{url}/metrics"))
    }

    fn page(&self) -> String {
        self.url.as_ref().map_or_else(|| format!("{} /", self.address), |url| format!("{url}/"))
    }

    fn say_running(&self, reader: &RegionReader, pid: u32) {
        if self.json {
            return say(&format!(
                "{}\n",
                json!({
                    "version": 1,
                    "event": "running",
                    "pid": pid,
                    "region": REGION,
                    "path": reader.path().display().to_string(),
                    "address": self.address,
                    "metrics": self.metrics(),
                    "recorder_dir": self.recorder_dir.display().to_string(),
                    "page": self.page(),
                })
            ));
        }
        let (tacho, flags) = &self.command;
        let curl = match &self.url {
            Some(url) => format!("curl {url}/metrics"),
            None => format!("curl --unix-socket {} http://tacho/metrics", self.address.trim_start_matches("unix:")),
        };
        let rows = [
            ("", "A meeting controller is running under load; every number it counts is in shared memory.".to_owned()),
            ("workload", format!("pid {pid}")),
            ("region", reader.path().display().to_string()),
            ("", String::new()),
            ("", "Look at it:".to_owned()),
            ("page", self.page()),
            ("metrics", curl),
            ("list", format!("{tacho} ls{flags}")),
            ("values", format!("{tacho} show {REGION}{flags}")),
            (
                "history",
                format!(
                    "{tacho} history {REGION} 'mc_actor_messages_total' --plot --recorder.dir={}",
                    quoted(&self.recorder_dir)
                ),
            ),
            ("", String::new()),
            ("", "Then kill it, and see that nothing is lost:".to_owned()),
            ("crash", format!("kill -9 {pid}")),
            ("verdict", format!("{tacho} ls{flags}")),
            ("last values", format!("{tacho} show {REGION}{flags}")),
            ("", String::new()),
            ("", "Ctrl-C ends the demo.".to_owned()),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            let _ = match name {
                "" => writeln!(text, "{value}"),
                name => writeln!(text, "  {name:<13}{value}"),
            };
        }
        say(&text);
    }

    fn say_death(&self, reader: &RegionReader, exit: &ExitStatus, pid: u32) {
        let verdict = reader.verdict().map_or_else(|error| error.to_string(), |verdict| verdict.to_string());
        if self.json {
            let exit = exit.to_string();
            let event = json!({"version": 1, "event": "died", "pid": pid, "exit": exit, "verdict": verdict});
            return say(&format!("{event}\n"));
        }
        let (tacho, flags) = &self.command;
        say(&format!(
            "\nThe workload, pid {pid}, is dead ({exit}). Its region says: {verdict}. What it counted is still there:\n  \
             {tacho} show {REGION}{flags}\nThe exporter goes on: tacho_region_up of it is 0 now. Ctrl-C ends the demo.\n"
        ));
    }

    fn say_totals(&self, reader: &RegionReader) {
        let snapshot = match reader.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return output::say(&tachograph_exporter::listing::chain(&error)),
        };
        let totals = totals(&snapshot);
        let RegionInfo { verdict, .. } = snapshot.region;
        if self.json {
            let object: Map<String, Json> = totals.into_iter().map(|(name, total)| (name, json!(total))).collect();
            return say(&format!(
                "{}\n",
                json!({"version": 1, "event": "ended", "verdict": verdict, "totals": object})
            ));
        }
        let uptime = table::span(snapshot.region.uptime_ns(Now::read().realtime_ns) as f64 / 1e9);
        let mut table = table::Table::new(&["TOTAL", ">COUNT"]);
        for (name, total) in totals.into_iter().filter(|(_, total)| *total > 0) {
            table.row(vec![name, total.to_string()]);
        }
        say(&format!(
            "\nThe demo has ended. The workload lived {uptime}; its region is {verdict}. What it counted:\n{table}"
        ));
    }
}

/// How to call this executable: by name where that is what the shell would find.
fn command(directory: Option<&Path>) -> (String, String) {
    let executable = std::env::current_exe().unwrap_or_else(|_| "tacho".into());
    let same =
        |path: PathBuf| path.canonicalize().is_ok_and(|path| executable.canonicalize().is_ok_and(|own| own == path));
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&paths).map(|path| path.join("tacho")).find(|path| path.is_file());
    let tacho = if first.is_some_and(same) { "tacho".to_owned() } else { quoted(&executable) };
    (tacho, directory.map_or_else(String::new, |directory| format!(" --region-dir {}", quoted(directory))))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
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

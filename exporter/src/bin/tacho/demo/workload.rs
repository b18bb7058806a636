//! The demo's child process: started, waited for until its region is there, and ended in order.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tachograph_exporter::{Directories, RegionReader, Verdict};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::{DemoError, END, REGION, START, WORKLOAD};
use crate::output;

/// Between two looks at a child that starts.
const LOOK: Duration = Duration::from_millis(20);
/// How much of the end of the child's standard error is kept.
const KEPT: usize = 16 << 10;

/// The child process.
pub(super) struct Workload {
    pub(super) child: Child,
    /// Held open, outside of `child`, whose `wait` would close it: the workload ends when it closes.
    _stdin: Option<ChildStdin>,
    pub(super) pid: u32,
    pub(super) dead: bool,
    /// The end of what it wrote to standard error.
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Ready when its standard error has ended.
    stderr_ended: Option<tokio::task::JoinHandle<()>>,
}

impl Workload {
    pub(super) fn start(directory: Option<&Path>, faults: &[&str]) -> Result<Self, DemoError> {
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
    pub(super) async fn wait_for_region(&mut self, directories: &Directories) -> Result<Arc<RegionReader>, DemoError> {
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
    pub(super) async fn stderr_text(&mut self) -> String {
        if let Some(ended) = self.stderr_ended.take() {
            let _ = timeout(Duration::from_millis(500), ended).await;
        }
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        if text.trim().is_empty() { String::new() } else { format!(":\n{}", text.trim_end()) }
    }

    /// Ends the child in order: asks, waits, and only then kills.
    pub(super) async fn end(&mut self) -> Result<(), DemoError> {
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

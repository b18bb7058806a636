//! The project's own binaries, and processes that end with the test that started them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The path of a binary of this workspace, built first (in the profile of this test) where it is not up to date.
///
/// # Panics
/// Where cargo can't build it.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| build(&["--bins", "-p", "tachograph-exporter", "-p", "meeting-controller"]));
    folder.join(name)
}

/// Builds what the arguments name, in the profile of this test; gives the folder of the binaries.
fn build(what: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned();
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet"]).args(what);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success(), "the binaries under test do not build");
    folder
}

/// The victim: the program that ends itself at fail points. Built first, by a command of its own, since the feature that
/// it needs must reach no other program.
///
/// # Panics
/// Where cargo can't build it.
pub fn victim() -> PathBuf {
    with_fail_points().join("victim")
}

/// The heir: as the victim, for a line of regions each of which continues the one before.
///
/// # Panics
/// Where cargo can't build it.
pub fn heir() -> PathBuf {
    with_fail_points().join("heir")
}

fn with_fail_points() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let bins = ["--bin", "victim", "--bin", "heir"];
    BUILT.get_or_init(|| build(&[&["-p", "tachograph-tests", "--features", "fail-points"], &bins[..]].concat()))
}

/// The program of many deaths, `examples/crash_victim.rs`. Built first where it is not up to date.
///
/// # Panics
/// Where cargo can't build it.
pub fn crash_victim() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| build(&["-p", "tachograph-tests", "--example", "crash_victim"]).join("examples/crash_victim"))
        .clone()
}

/// A tool that the machine must have.
///
/// # Panics
/// Where it is not on the PATH, with the line that installs it.
pub fn tool(name: &str) -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tools/usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(here)
        .chain(std::env::split_paths(&path).map(|folder| folder.join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("`{name}` is missing: run ./ci/install.sh"))
}

/// Runs `tacho` to its end.
///
/// # Panics
/// Where it can't be started.
pub fn tacho(args: &[&str]) -> Output {
    Command::new(binary("tacho")).args(args).stdin(Stdio::null()).output().expect("tacho runs")
}

/// What `tacho ls` says of a region: running, hung, closed, crashed or copy.
///
/// # Panics
/// Where the region is not listed.
pub fn verdict(dir: &Path, name: &str) -> String {
    let listed = tacho(&["ls", "--json", "--region-dir", dir.to_str().expect("UTF-8 path")]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let regions = listed["regions"].as_array().expect("regions").clone();
    let region = regions.iter().find(|region| region["name"] == name).expect("the region is listed");
    region["verdict"].as_str().expect("a verdict").to_owned()
}

/// A process that is killed and reaped when it is dropped.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// Where the process was reaped already.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("the process is there");
    }

    /// Waits for its end, and gives back its exit code (`None`: ended by a signal).
    ///
    /// # Panics
    /// Where it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("the process can be waited for") {
                return status.code();
            }
            assert!(start.elapsed() < limit, "process {} did not end within {limit:?}", self.0.id());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that it wrote to its piped stderr.
    ///
    /// # Panics
    /// Where stderr was not piped.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.0.stderr.take().expect("stderr is piped").read_to_string(&mut text).expect("stderr is text");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again until there is an answer.
///
/// # Panics
/// Where there is none in time; `what` says what was waited for.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

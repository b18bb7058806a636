//! A second process for the tests of starting: this test binary again, running one test that acts a role.
//!
//! The role builds a region, says so on its output and waits, until it is killed or its input ends.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tachograph::Region;

const DIR: &str = "STARTING_CHILD_DIR";
const NAME: &str = "STARTING_CHILD_NAME";

/// A living process that has a region. Killed when dropped.
pub(crate) struct Owner(Child);

impl Owner {
    /// Starts it, and waits until its region is there.
    pub(crate) fn start(dir: &Path, name: &str) -> Self {
        Self::start_with(name, |command| command.env(DIR, dir))
    }

    /// As `start`, with an environment of the test's own and no directory given to the builder.
    pub(crate) fn start_with(name: &str, set: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--ignored", "--nocapture"]).env(NAME, name);
        let mut child = set(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line.ends_with("region ready"));
        assert!(ready, "the child could not build {name}");
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The role; does nothing in a run of all tests.
pub(crate) fn act() {
    let Ok(name) = std::env::var(NAME) else { return };
    let mut builder = Region::builder(name);
    if let Some(dir) = std::env::var_os(DIR) {
        builder = builder.dir(dir);
    }
    let region = builder.lanes(16).build().unwrap();
    let path = region.path().unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "{} region ready", path.display()).unwrap();
    out.flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

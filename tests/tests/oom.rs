//! A writer that the kernel kills for want of memory, in a memory cgroup of its own below this process's: the death is told as
//! `out_of_memory`; one by SIGKILL beside it, in the same kind of cgroup, is not.
//!
//! Where no memory cgroup can be made (not root, or the hierarchy is mounted read-only) these tests say so, aloud, and end: then
//! the rule alone is tested, by the exporter's own tests, over a directory that looks like one.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tachograph_exporter::case::{self, Case};
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, crash_victim, eventually};
use tachograph_tests::tmpfs;

const LIMIT: Duration = Duration::from_secs(30);
const MOST: &str = "67108864";

/// A memory cgroup below this process's own, removed on drop.
struct Limited(PathBuf);

impl Limited {
    /// `None`, and a line past the capture of tests' output, where none can be made.
    fn new(name: &str) -> Option<Self> {
        let made = Self::made(name);
        if made.is_none() {
            let _ = std::io::stderr().write_all(
                b"NOT TESTED: no memory cgroup can be made here, so nothing is killed for want of memory. For that run this \
                  as root where /sys/fs/cgroup can be written\n",
            );
        }
        made
    }

    fn made(name: &str) -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |of: &str| own.lines().find_map(|line| line.split_once(of)?.1.strip_prefix(':'));
        // The controller's own hierarchy, else the unified one where it has the controller.
        let candidates = [
            path(":memory").map(|path| (format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes")),
            path("0:").map(|path| (format!("/sys/fs/cgroup{path}"), "memory.max")),
        ];
        candidates.into_iter().flatten().find_map(|(parent, limit)| {
            let path = Path::new(&parent).join(format!("tachograph-test-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).ok()?;
            let made = Self(path);
            std::fs::write(made.0.join(limit), MOST).ok()?;
            Some(made)
        })
    }

    /// Starts a victim in it that waits to be told.
    fn victim(&self, dir: &Path) -> Running {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"", "sh"]).arg(&self.0);
        shell.arg(crash_victim()).arg(dir).args(["hooks", "eat"]);
        let mut victim = Running::start(shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut line = String::new();
        let out = victim.0.stdout.take().expect("stdout is piped");
        BufReader::new(out).read_line(&mut line).expect("the victim speaks");
        assert!(line.starts_with("ready"), "{line:?}");
        victim
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // Whoever was in it is reaped by now, or in a moment.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_writer_that_is_killed_for_want_of_memory_is_told_so() {
    let (Some(small), Some(other)) = (Limited::new("small"), Limited::new("other")) else { return };
    let (eaten, killed, recorder) = (tmpfs::folder(), tmpfs::folder(), tempfile::tempdir().expect("a folder"));
    let port = free_port();
    let mut serve = Command::new(binary("tacho"));
    serve.arg("serve").arg("--region-dir").arg(eaten.path()).arg("--region-dir").arg(killed.path());
    serve.arg("--recorder.dir").arg(recorder.path()).arg("--recorder.tiers=50ms:10m");
    serve.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    let server = Running::start(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    let count = |what: &str| -> Option<f64> {
        let body = get(port, "/metrics").filter(|reply| reply.status == 200)?.body;
        body.lines().find_map(|line| line.strip_prefix(what)?.trim().parse().ok())
    };
    eventually("the server", LIMIT, || count("tacho_recorder_ticks_total"));
    let (mut hungry, mut other_victim) = (small.victim(eaten.path()), other.victim(killed.path()));
    // Each cgroup is looked at while its writer lives.
    let before = count("tacho_recorder_samples_total").unwrap_or(0.0);
    eventually("samples of both", LIMIT, || count("tacho_recorder_samples_total").filter(|now| *now > before + 6.0));
    hungry.0.stdin.take().expect("stdin is piped").write_all(b"eat\n").expect("it listens");
    assert_eq!(hungry.wait(LIMIT), None, "ended by a signal");
    other_victim.signal(Signal::SIGKILL);
    other_victim.wait(LIMIT);
    let crashes = |cause: &str| count(&format!("tacho_crashes_total{{cause=\"{cause}\"}}"));
    eventually("both deaths", LIMIT, || (crashes("out_of_memory")? + crashes("killed")? == 2.0).then_some(()));
    assert_eq!((crashes("out_of_memory"), crashes("killed")), (Some(1.0), Some(1.0)));
    let cases = eventually("both cases", LIMIT, || {
        let entries = std::fs::read_dir(recorder.path().join("cases")).ok()?;
        let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let cases: Vec<PathBuf> = paths.into_iter().filter(|path| tachograph_exporter::case::is_case(path)).collect();
        (cases.len() == 2).then_some(cases)
    });
    drop(server);
    let mut told: Vec<(String, bool)> = cases
        .iter()
        .map(|case| {
            let output = Command::new(binary("tacho")).arg("postmortem").arg(case).output().expect("it runs");
            let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
            let json =
                Command::new(binary("tacho")).arg("postmortem").arg(case).arg("--json").output().expect("it runs");
            let report: Value = serde_json::from_slice(&json.stdout).expect("JSON");
            let cause = report["headline"]["cause"].as_str().unwrap_or_default().to_owned();
            (cause, text.contains("It was killed, and its memory cgroup counted an out-of-memory kill."))
        })
        .collect();
    told.sort();
    assert_eq!(told, [("killed".to_owned(), false), ("out_of_memory".to_owned(), true)]);
}

/// The report that `tacho postmortem` prints, as text without its line breaks and as JSON.
fn reports(args: &[&OsStr]) -> (String, Value) {
    let run = |json: bool| {
        let mut tacho = Command::new(binary("tacho"));
        tacho.arg("postmortem").args(args).args(json.then_some("--json"));
        tacho.output().expect("tacho runs").stdout
    };
    let text = String::from_utf8(run(false)).expect("text").split_whitespace().collect::<Vec<_>>().join(" ");
    (text, serde_json::from_slice(&run(true)).expect("JSON"))
}

#[test]
fn a_kill_for_want_of_memory_is_told_alike_by_metrics_case_and_report() {
    let (folder, recorder) = (tmpfs::folder(), tempfile::tempdir().expect("a folder"));
    let Some(group) = Limited::new("told") else { return };
    let port = free_port();
    let mut serve = Command::new(binary("tacho"));
    serve.arg("serve").arg("--region-dir").arg(folder.path()).arg("--recorder.dir").arg(recorder.path());
    serve.args(["--recorder.tiers=50ms:1m", "--web.listen-address"]).arg(format!("127.0.0.1:{port}"));
    serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Running::start(&mut serve);
    eventually("the server", LIMIT, || get(port, "/metrics"));

    let mut hungry = group.victim(folder.path());
    let uuid = {
        let header = std::fs::read(folder.path().join("v.tacho")).expect("its region");
        // `uuid` of docs/LAYOUT.md, section 3.
        header[64..80].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let blocks = || std::fs::read_dir(recorder.path().join("blocks")).into_iter().flatten().flatten();
    let has = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().contains(&uuid);
    eventually("its recording", LIMIT, || blocks().any(|entry| has(&entry)).then_some(()));
    hungry.0.stdin.take().expect("stdin is piped").write_all(b"eat\n").expect("it listens");
    assert_eq!(hungry.wait(LIMIT), None, "ended by a signal");
    let metric = "tacho_crashes_total{cause=\"out_of_memory\"} 1\n";
    eventually("the count", LIMIT, || get(port, "/metrics").filter(|reply| reply.body.contains(metric)));
    let case = eventually("its case", LIMIT, || {
        let cases = std::fs::read_dir(recorder.path().join("cases")).ok()?.flatten().map(|entry| entry.path());
        cases.filter(|path| case::is_case(path)).find(|path| path.to_string_lossy().contains(&uuid))
    });
    let manifest = Case::open(&case).expect("a case").manifest().clone();
    assert_eq!(manifest.cause.as_deref(), Some("out_of_memory"), "{manifest:?}");
    let living = [OsStr::new("v"), "--region-dir".as_ref(), folder.path().as_os_str()];
    let living = [&living[..], &["--recorder.dir".as_ref(), recorder.path().as_os_str()]].concat();
    let of_both = [reports(&living), reports(&[case.as_os_str()])];
    for (text, json) in &of_both {
        assert!(text.starts_with("v crashed at or shortly after ") && text.contains("(out_of_memory)"), "{text}");
        assert!(text.contains("its memory cgroup counted an out-of-memory kill"), "{text}");
        assert!(text.contains("1 out-of-memory kill counted"), "{text}");
        for denied in ["no out-of-memory kill", "Who did it is not known", "who killed it", "What killed it"] {
            assert!(!text.contains(denied), "{denied}: {text}");
        }
        assert!(
            text.contains(&case.file_name().expect("a name").to_string_lossy()[..20]),
            "the file to hand on: {text}"
        );
        let (cause, memory) = (&json["headline"]["cause"], &json["memory"]);
        assert_eq!((cause, &memory["cgroup"]["oom_kills"]), (&"out_of_memory".into(), &1.into()), "{json}");
        let seen = json["evidence"]["history"]["last_seconds"].as_f64().expect("samples while it lived");
        assert!(json["headline"]["at_seconds"].as_f64() >= Some(seen), "it lived when it was last sampled: {json}");
        let resident = memory["process"]["resident_bytes"].as_u64().expect("it was seen");
        assert!(resident > 16 << 20, "as it was last seen alive: {memory}");
    }
    assert_eq!(of_both[0].1["memory"], of_both[1].1["memory"]);

    // The ledger alone, without the case and the recording.
    std::fs::remove_file(&case).expect("the case");
    std::fs::remove_dir_all(recorder.path().join("blocks")).expect("the recording");
    let (text, _) = reports(&living);
    assert!(text.contains("(out_of_memory)") && !text.contains("no out-of-memory kill"), "{text}");
}

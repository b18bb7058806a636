//! The binary as a process: its report, its acks, its ends, and what it answers to bad usage.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

fn start(dir: &TempDir, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_meeting-controller"))
        .args(["--region", "mc-test", "--region-dir"])
        .arg(dir.path())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

/// Its lines on stdout, which must all be JSON.
fn lines(child: &mut Child) -> Vec<Value> {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn reports_what_it_did() {
    let dir = dir();
    let mut child =
        start(&dir, &["--for", "0.5", "--meetings", "2", "--connections-per-meeting", "3", "--rate", "2000"]);
    let lines = lines(&mut child);
    assert!(child.wait().unwrap().success());
    assert_eq!(lines.len(), 1);
    let report = &lines[0]["report"];
    assert_eq!((report["sent"].as_u64(), report["dropped"].as_u64()), (Some(1000), Some(0)));
    assert!(report["created"].as_u64() >= Some(2) && report["joined"].as_u64() >= Some(6));
    let beats = &lines[0]["counters"]["mc_gc_heartbeats_total{status=\"success\",heartbeat_type=\"fast\"}"];
    assert_eq!(beats.as_u64(), Some(1));
    assert!(dir.path().join("mc-test.tacho").exists());
}

#[test]
fn acks_never_fall_and_never_pass_the_announced() {
    let dir = dir();
    let mut child =
        start(&dir, &["--for", "1", "--acks", "--rate", "50000", "--churn", "100", "--panic-meeting-every", "0.3"]);
    let lines = lines(&mut child);
    assert!(child.wait().unwrap().success());
    let (report, acks) = lines.split_last().unwrap();
    assert!(acks.len() > 20, "{} lines", acks.len());
    let bounds = |line: &Value| -> Vec<(String, u64, u64)> {
        let counters = line["counters"].as_object().unwrap();
        let bounds = counters.iter().map(|(series, bounds)| {
            (series.clone(), bounds["about"].as_u64().unwrap(), bounds["done"].as_u64().unwrap())
        });
        bounds.collect()
    };
    for pair in acks.windows(2) {
        for ((series, about, done), (again, next_about, next_done)) in
            bounds(&pair[0]).into_iter().zip(bounds(&pair[1]))
        {
            assert_eq!(series, again);
            assert!(done <= next_done && about <= next_about && done <= about, "{series}");
            // What is done when the next line is made was done under this line's ceiling.
            assert!(next_done <= about, "{series}: {next_done} done, {about} announced");
        }
        assert!(pair[0]["t_ms"].as_u64() <= pair[1]["t_ms"].as_u64());
    }
    for (series, _, done) in bounds(acks.last().unwrap()) {
        assert_eq!(report["counters"][&series].as_u64(), Some(done), "{series}");
    }
}

#[test]
fn ends_in_order_by_signals_and_with_stdin() {
    for how in [Some(Signal::SIGTERM), Some(Signal::SIGINT), None] {
        let dir = dir();
        let mut child = start(&dir, &["--acks", "--until-stdin-closes"]);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        // Signals are handled before the first line.
        stdout.read_line(&mut text).unwrap();
        match how {
            Some(signal) => kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap(),
            None => drop(child.stdin.take()),
        }
        stdout.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{how:?}");
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert!(last["report"]["created"].is_u64(), "{how:?}");
    }
}

#[test]
fn faults_kill_it() {
    for (fault, signal) in [("--abort-after", Signal::SIGABRT), ("--segfault-after", Signal::SIGSEGV)] {
        let dir = dir();
        let mut child = start(&dir, &[fault, "0.2", "--for", "20"]);
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32), "{fault}");
    }
}

#[test]
fn a_closed_stdout_does_not_stop_the_workload() {
    let dir = dir();
    let mut child = start(&dir, &["--acks", "--for", "0.5", "--rate", "100000"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    // The report cannot be written either, which is said by the exit code.
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn bad_usage_and_bad_places_are_said() {
    let dir = dir();
    for args in [&["--no-such-flag"][..], &["--rate", "-1"], &["--rate", "many"], &["--panic-meeting-every", "0"]] {
        let child = start(&dir, args).wait_with_output().unwrap();
        assert_eq!((child.status.code(), child.stderr.is_empty()), (Some(2), false), "{args:?}");
    }
    let output = start(&dir, &["--for", "0", "--region-dir", "/no/such/place"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "given twice");
    let child = Command::new(env!("CARGO_BIN_EXE_meeting-controller"))
        .args(["--for", "0", "--region-dir", "/no/such/place"])
        .output()
        .unwrap();
    assert_eq!(child.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&child.stderr).contains("/no/such/place"));
}

//! `tacho snapshot`, `diff` and `watch` over regions that this process writes.

#![cfg(feature = "cli")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value as Json;
use tachograph::Region;

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tacho-commands-").tempdir_in("/dev/shm").expect("a tmpfs")
}

fn tacho(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacho"));
    command.args(args).arg("--region-dir").arg(directory).output().expect("tacho runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(directory: &Path, args: &[&str]) -> Json {
    let output = tacho(directory, &[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    let json: Json = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(json["version"], 1);
    json
}

#[test]
fn a_snapshot_is_whole_or_not_there_and_two_of_them_are_compared() {
    let directory = directory();
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    let served = region.counter("mc_served_total", "Served").expect("room");
    let depth = region.gauge::<i64>("mc_depth", "Depth").expect("room");
    let wait =
        region.histogram::<f64>("mc_wait_seconds", "Wait", tachograph::Buckets::bounds([0.1, 1.0])).expect("room");
    served.add(10);
    depth.set(4);
    wait.observe(0.05);
    let (before, after) = (directory.path().join("before"), directory.path().join("after"));
    let path = |path: &Path| path.display().to_string();

    let copied = json(directory.path(), &["snapshot", "mc-0", "-o", &path(&before)]);
    assert_eq!((&copied["region"], &copied["verdict"]), (&"mc-0".into(), &"running".into()));
    assert_eq!(copied["bytes"], before.metadata().expect("the copy").len());

    served.add(30);
    depth.set(1);
    wait.observe(0.5);
    wait.observe(0.5);
    region.counter("mc_late_total", "Late").expect("room");
    assert_eq!(tacho(directory.path(), &["snapshot", "mc-0", "-o", &path(&after)]).status.code(), Some(0));

    // Nothing is overwritten, no failure leaves anything behind.
    let again = tacho(directory.path(), &["snapshot", "mc-0", "-o", &path(&after)]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("not overwritten; remove it"), "{}", stderr(&again));
    let nowhere = tacho(directory.path(), &["snapshot", "mc-0", "-o", "/nowhere/at/all"]);
    assert!(stderr(&nowhere).contains("/nowhere/at/all: can't be written"), "{}", stderr(&nowhere));
    let mut files: Vec<_> =
        std::fs::read_dir(directory.path()).expect("listed").map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["after", "before", "mc-0.lock", "mc-0.tacho"]);

    let diff = json(directory.path(), &["diff", &path(&before), &path(&after)]);
    assert_eq!((&diff["same_region"], &diff["a"]["verdict"]), (&true.into(), &"copy".into()));
    let change = |name: &str| {
        let changes = diff["changed"].as_array().expect("a list");
        changes.iter().find(|change| change["name"] == name).unwrap_or_else(|| panic!("{name} in {diff}")).clone()
    };
    let served = change("mc_served_total");
    assert_eq!((&served["change"], &served["ratio"], &served["kind"]), (&30.0.into(), &4.0.into(), &"counter".into()));
    assert_eq!(change("mc_depth")["change"], -3.0);
    let wait = change("mc_wait_seconds");
    assert_eq!((&wait["change"], &wait["sum"]["change"], &wait["p50"]["b"]), (&2.0.into(), &1.0.into(), &1.0.into()));
    assert_eq!((&diff["only_in_b"][0]["name"], &diff["only_in_a"]), (&"mc_late_total".into(), &Json::Array(vec![])));

    let text = stdout(&tacho(directory.path(), &["diff", &path(&before), &path(&after)]));
    assert!(text.contains("mc_served_total  counter") && text.contains("+30   4.000x"), "{text}");
    assert!(text.contains("only in B\n  mc_late_total\n"), "{text}");
}

#[test]
fn a_watch_shows_rates_from_its_second_line_on() {
    let directory = directory();
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    let served = region.counter("mc_served_total", "Served").expect("room");
    region.gauge::<i64>("mc_depth", "Depth").expect("room").set(4);
    let watch = ["watch", "mc-0", "mc_served_total", "mc_d*", "--interval", "200ms", "--count"];
    let output = std::thread::scope(|scope| {
        let watching = scope.spawn(|| tacho(directory.path(), &[&watch[..], &["3"]].concat()));
        while !watching.is_finished() {
            served.inc();
            std::thread::sleep(Duration::from_millis(5));
        }
        watching.join().expect("it ran")
    });
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "UTC       mc_served_total /s  mc_depth", "{text}");
    assert_eq!(lines.len(), 4, "{text}");
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(lines[1])[1..], ["N/A", "4"]);
    assert!(cells(lines[3])[1].parse::<f64>().expect("a rate") > 1.0, "{text}");

    let line = json(directory.path(), &["watch", "mc-0", "mc_depth", "--count", "1"]);
    assert_eq!((&line["series"][0]["name"], &line["series"][0]["value"]), (&"mc_depth".into(), &4.0.into()));
    let nothing = tacho(directory.path(), &["watch", "mc-0", "mc_typo"]);
    assert!(stderr(&nothing).contains("mc_typo matches no metric of mc-0"), "{}", stderr(&nothing));
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(tacho(directory.path(), &["watch", "mc-0", "mc_depth", "--interval", "0s"]).status.code(), Some(2));

    // The dead one's last values, and that it is dead.
    region.close();
    let dead = tacho(directory.path(), &["watch", "mc-0", "mc_depth"]);
    assert!(stderr(&dead).contains("mc-0 is closed: these are its last values"), "{}", stderr(&dead));
    assert!(stdout(&dead).trim_end().ends_with('4'), "{}", stdout(&dead));
}

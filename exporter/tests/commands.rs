//! `tacho snapshot`, `diff` and `watch` over regions that this process writes.

#![cfg(feature = "cli")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value as Json;
use tachograph::{Buckets, Desc, Gauge, OpenRules, Region};
use tachograph_exporter::Directories;
use tachograph_exporter::recording::{Recorder, RecorderConfig, Tier};

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

fn json_of(directory: &Path, args: &[&str]) -> Json {
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

    let copied = json_of(directory.path(), &["snapshot", "mc-0", "-o", &path(&before)]);
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

    let diff = json_of(directory.path(), &["diff", &path(&before), &path(&after)]);
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

    let line = json_of(directory.path(), &["watch", "mc-0", "mc_depth", "--count", "1"]);
    assert_eq!((&line["series"][0]["name"], &line["series"][0]["value"]), (&"mc_depth".into(), &4.0.into()));
    let nothing = tacho(directory.path(), &["watch", "mc-0", "mc_typo"]);
    assert!(stderr(&nothing).contains("mc_typo matches no metric of mc-0"), "{}", stderr(&nothing));
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(tacho(directory.path(), &["watch", "mc-0", "mc_depth", "--interval", "0s"]).status.code(), Some(2));

    // The dead one's last values, and that it is dead.
    region.close();
    let dead = tacho(directory.path(), &["watch", "mc-0", "mc_depth"]);
    assert_eq!(dead.status.code(), Some(1), "dead already, or while it is watched");
    assert!(stderr(&dead).contains("mc-0 is closed: these are its last values"), "{}", stderr(&dead));
    assert!(stdout(&dead).trim_end().ends_with('4'), "{}", stdout(&dead));
}

#[test]
fn the_columns_of_a_watch_stand_apart_and_show_what_an_eye_takes() {
    let directory = directory();
    let region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    region.gauge::<f64>("d", "Depth").expect("room").set(0.1 + 0.2);
    let wait = region.histogram("w", "Wait", Buckets::bounds([0.009_290_680_585_958_758, 1.0])).expect("room");
    let by_verb = region.open_family::<Gauge<i64>, 1>(Desc::new("g", "By verb"), ["verb"], OpenRules::new(2));
    by_verb.expect("room").with(["get"]).set(-123_456_789_012);
    let watch = ["watch", "mc-0", "d", "w", "g", "--interval", "100ms", "--count"];
    let output = std::thread::scope(|scope| {
        let watching = scope.spawn(|| tacho(directory.path(), &[&watch[..], &["3"]].concat()));
        while !watching.is_finished() {
            wait.observe(0.001);
            std::thread::sleep(Duration::from_millis(1));
        }
        watching.join().expect("it ran")
    });
    let text = stdout(&output);
    let last: Vec<&str> = text.lines().last().expect("a line").split("  ").filter(|cell| !cell.is_empty()).collect();
    let [_, depth, wait, by_verb] = last.as_slice() else { panic!("{text}") };
    assert_eq!((depth.trim(), by_verb.trim()), ("0.3", "-1.23456789012e+11"), "{text}");
    assert!(wait.trim().ends_with(" p99<=0.00929068"), "{text}");
    let header = text.lines().next().expect("a header");
    assert_eq!(header.split_whitespace().collect::<Vec<_>>(), ["UTC", "d", "w", "/s", "g{verb=\"get\"}"], "{text}");
    let json = json_of(directory.path(), &["watch", "mc-0", "g", "--count", "1"]);
    assert_eq!(json["series"][0]["labels"], serde_json::json!({ "verb": "get" }));
}

#[test]
fn what_can_not_be_read_is_a_problem_of_ls_in_the_archive_too_and_a_crash_is_none() {
    let directory = directory();
    let dir = directory.path();
    let region = Region::builder("mc-0").dir(dir).build().expect("a region");
    let path = region.path().expect("it has a file").to_owned();
    let living = std::fs::read(&path).expect("its bytes");
    region.close();
    // Crashed in its place, and then, of the next start, in the archive.
    std::fs::write(&path, &living).expect("room");
    for args in [&["ls"][..], &["ls", "--archived"]] {
        let listed = tacho(dir, args);
        assert!(stdout(&listed).contains("crashed"), "{}", stdout(&listed));
        assert_eq!((listed.status.code(), stderr(&listed)), (Some(0), String::new()));
    }
    Region::builder("mc-0").dir(dir).build().expect("a region").close();
    let listed = tacho(dir, &["ls", "--archived"]);
    assert!(stdout(&listed).contains("crashed"), "{}", stdout(&listed));
    assert_eq!((listed.status.code(), stderr(&listed)), (Some(0), String::new()));
    // The next start puts away what nobody can read.
    std::fs::write(&path, [0x5a; 70_000]).expect("room");
    let _region = Region::builder("mc-0").dir(dir).build().expect("a region");
    let archive = std::fs::read_dir(dir.join("archive")).expect("an archive").map(|file| file.expect("listed").path());
    let unknown = archive.filter(|path| path.display().to_string().contains(".unknown")).collect::<Vec<_>>();
    let [unknown] = unknown.as_slice() else { panic!("{unknown:?}") };
    for args in [&["ls"][..], &["ls", "--archived"]] {
        let listed = tacho(dir, args);
        assert!(stdout(&listed).contains("running"), "the others are listed: {}", stdout(&listed));
        assert_eq!(stdout(&listed).contains("crashed"), args.len() > 1, "{}", stdout(&listed));
        assert!(stderr(&listed).contains(&unknown.display().to_string()), "{}", stderr(&listed));
        assert_eq!(listed.status.code(), Some(1), "{args:?}");
    }
    std::fs::remove_file(unknown).expect("it goes");
    assert_eq!(tacho(dir, &["ls", "--archived"]).status.code(), Some(0));
}

#[test]
fn bad_usage_is_told_before_anything_is_looked_for() {
    let directory = directory();
    let _region = Region::builder("mc-0").dir(directory.path()).build().expect("a region");
    // Nothing is recorded, and of one side there is no region either.
    for sides in [["mc-0@yesterday", "mc-0"], ["mc-0", "mc-0@yesterday"], ["nobody", "mc-0@"], ["mc-0@now", "mc-0@30s"]]
    {
        let wrong = tacho(directory.path(), &[&["diff", "--recorder.dir", "/nowhere"], &sides[..]].concat());
        assert!(stderr(&wrong).contains("is no time"), "{sides:?}: {}", stderr(&wrong));
        assert_eq!(wrong.status.code(), Some(2), "{sides:?}");
    }
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let check = |path: &Path| {
        let path = path.display().to_string();
        tacho(directory.path(), &["serve", "--config.check", "--recorder.dir", &path])
    };
    for path in [file.clone(), file.join("below")] {
        let wrong = check(&path);
        assert_eq!((wrong.status.code(), stdout(&wrong)), (Some(2), String::new()), "{}", path.display());
        assert!(stderr(&wrong).contains("is no directory; name one"), "{}", stderr(&wrong));
    }
    let fine = check(&directory.path().join("to/be/made"));
    assert_eq!(fine.status.code(), Some(0), "{}", stderr(&fine));
}

#[test]
fn a_moment_of_the_recording_and_a_case_are_compared_with_now() {
    let directory = directory();
    let (dir, recorded) = (directory.path(), directory.path().join("recorder"));
    let region = Region::builder("mc-0").dir(dir).build().expect("a region");
    let served = region.counter("mc_served_total", "Served").expect("room");
    served.add(5);
    let tiers = vec![Tier { interval: Duration::from_millis(50), keep: Duration::from_secs(60) }];
    let config = RecorderConfig { tiers, ..RecorderConfig::new(&recorded) };
    let recorder = Recorder::start(config, Directories::from_args(vec![dir.to_owned()])).expect("it records");
    let recorder_dir = recorded.display().to_string();
    let diff = |a: &str| tacho(dir, &["diff", a, "mc-0", "--json", "--recorder.dir", &recorder_dir]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while diff("mc-0@now").status.code() != Some(0) {
        assert!(std::time::Instant::now() < deadline, "nothing was recorded: {}", stderr(&diff("mc-0@now")));
        std::thread::sleep(Duration::from_millis(50));
    }
    let then = jiff::Timestamp::now();
    served.add(30);
    let output = diff(&format!("mc-0@{then}"));
    let json: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let change = json["changed"].as_array().expect("a list").iter().find(|one| one["name"] == "mc_served_total");
    assert_eq!(change.expect("it changed")["change"], 30.0);
    assert_eq!(json["same_region"], true);
    let before = diff("mc-0@2020-01-01T00:00:00Z");
    assert!(stderr(&before).contains("nothing of mc-0 is recorded just before 2020-01-01"), "{}", stderr(&before));
    let wrong = diff("mc-0@yesterday");
    assert!(stderr(&wrong).contains("is no time: give -30s"), "{}", stderr(&wrong));
    assert_eq!((wrong.status.code(), before.status.code()), (Some(2), Some(1)), "bad usage, and nothing found");
    let no_crash = diff("mc-0@crash-10s");
    assert!(stderr(&no_crash).contains("no crash of region mc-0"), "{}", stderr(&no_crash));
    drop(recorder);

    // Every command opens a case.
    let case = dir.join("mc-0.case.tar.gz").display().to_string();
    let made = tacho(dir, &["case", "mc-0", "-o", &case, "--recorder.dir", &recorder_dir]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    served.add(1);
    let shown = json_of(dir, &["show", &case]);
    assert_eq!((&shown["region"]["name"], &shown["region"]["verdict"]), (&"mc-0".into(), &"copy".into()));
    let diff = json_of(dir, &["diff", &case, "mc-0"]);
    assert_eq!((&diff["changed"][0]["name"], &diff["changed"][0]["change"]), (&"mc_served_total".into(), &1.0.into()));
    // It is told by its own path, not by where it was unpacked.
    assert_eq!((&diff["a"]["path"], &shown["region"]["path"]), (&case.as_str().into(), &case.as_str().into()));
    let sound = tacho(dir, &["verify", &case]);
    assert_eq!((stdout(&sound), sound.status.code()), (format!("mc-0: nothing is wrong with {case}\n"), Some(0)));
    // Its last moments are there however late they are asked for.
    std::thread::sleep(Duration::from_millis(500));
    let mut history = Command::new(env!("CARGO_BIN_EXE_tacho"));
    let late = history.args(["history", &case, "mc_served_total", "--from", "-300ms", "--csv"]);
    let late = late.output().expect("tacho runs");
    assert_eq!((late.status.code(), stdout(&late).lines().count() > 1), (Some(0), true), "{}", stderr(&late));
    let again = tacho(dir, &["case", &case, "-o", &format!("{case}.again")]);
    assert!(stderr(&again).contains("is a case already; copy the file itself"), "{}", stderr(&again));

    // A byte is another one: `verify` says so where the region's structures are sound.
    let forged = dir.join("forged.case.tar.gz").display().to_string();
    forge(&case, &forged);
    let found = tacho(dir, &["verify", &forged]);
    assert!(stdout(&found).contains("region.tacho: its checksum is wrong"), "{}{}", stdout(&found), stderr(&found));
    assert_eq!(found.status.code(), Some(1));
}

/// Copies a case with one other byte at the end of its region.
fn forge(case: &str, forged: &str) {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(case).expect("a case")).read_to_end(&mut bytes).expect("gzip");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let region = archive.entries().expect("members").map(|entry| entry.expect("a member"));
    let region = region.filter(|entry| entry.path_bytes().as_ref() == b"region.tacho");
    let last = region.map(|entry| entry.raw_file_position() + entry.size()).next().expect("a region") as usize - 1;
    bytes[last] ^= 1;
    let mut out =
        flate2::write::GzEncoder::new(std::fs::File::create(forged).expect("room"), flate2::Compression::fast());
    std::io::Write::write_all(&mut out, &bytes).expect("room");
    out.finish().expect("room");
}

/// Whoever may make a file in a region directory makes no line of a log, and drives no terminal.
#[test]
fn no_file_name_makes_lines_of_its_own() {
    use std::io::{Read as _, Write as _};
    let directory = directory();
    std::fs::write(directory.path().join("a\n2026-01-01T00:00:00Z  INFO forged \u{1b}[31m.tacho"), "x")
        .expect("a file");
    let listed = stderr(&tacho(directory.path(), &["ls"]));
    let socket = directory.path().join("tacho.sock");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_tacho"));
    serve.arg("serve").arg("--region-dir").arg(directory.path());
    serve.arg(format!("--web.listen-address=unix:{}", socket.display())).stderr(std::process::Stdio::piped());
    let mut serve = serve.spawn().expect("tacho serves");
    let mut stream = loop {
        match std::os::unix::net::UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("it reads");
    stream.read_to_end(&mut Vec::new()).expect("it answers");
    serve.kill().expect("it runs");
    let logged = stderr(&serve.wait_with_output().expect("it ended"));
    for text in [listed, logged] {
        let forged: Vec<&str> = text.lines().filter(|line| line.contains("forged")).collect();
        assert!(matches!(forged[..], [line] if line.contains(r"a\n2026") && line.contains("too short")), "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

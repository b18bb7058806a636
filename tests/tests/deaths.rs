//! Real deaths of a real writer: each gets its verdict and its cause from `tacho ls --json`, across pid namespaces too, and
//! a crash loop is counted whole.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tachograph_exporter::case;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, crash_victim, eventually, tool};
use tachograph_tests::tmpfs;

const LIMIT: Duration = Duration::from_secs(30);

/// Verdict, cause and reason, as `tacho ls` tells them.
type Told<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

/// What ends a victim.
enum By {
    /// What it was told to do.
    Itself,
    /// A signal, once it waits.
    Sent(Signal),
}

fn victim(dir: &Path, hooks: &str, death: &str) -> Command {
    let mut command = Command::new(crash_victim());
    command.arg(dir).args([hooks, death]).current_dir(dir).env_remove("RUST_BACKTRACE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Starts a victim that waits, and comes back once it does.
fn waiting(command: &mut Command) -> Child {
    let mut child = command.spawn().expect("the victim starts");
    let mut line = String::new();
    let out = child.stdout.take().expect("stdout is piped");
    BufReader::new(out).read_line(&mut line).expect("the victim speaks");
    assert!(line.starts_with("ready"), "{line:?}");
    child
}

fn die(dir: &Path, hooks: &str, death: &str, by: By) {
    let mut command = victim(dir, hooks, death);
    match by {
        By::Itself => drop(command.status().expect("the victim runs")),
        By::Sent(signal) => {
            let mut child = waiting(&mut command);
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"));
            nix::sys::signal::kill(pid, signal).expect("it is there");
            child.wait().expect("it ends");
        }
    }
}

/// `tacho ls --archived --json`, by a command that may put words before it.
fn listed(mut tacho: Command, dir: &Path) -> Vec<Value> {
    tacho.arg("ls").args(["--archived", "--json", "--region-dir"]).arg(dir);
    let output = tacho.output().expect("tacho runs");
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(list["problems"].as_array().map(Vec::len), Some(0), "{list}");
    list["regions"].as_array().expect("regions").clone()
}

/// The region of that name: the oldest of several.
fn region(dir: &Path, name: &str) -> Value {
    region_by(Command::new(binary("tacho")), dir, name)
}

fn region_by(tacho: Command, dir: &Path, name: &str) -> Value {
    let regions = listed(tacho, dir).into_iter().filter(|region| region["name"] == name);
    regions.min_by_key(|region| region["created_realtime_ns"].as_u64()).expect("the region is listed")
}

fn told(region: &Value) -> Told<'_> {
    (region["verdict"].as_str().expect("a verdict"), region["cause"].as_str(), region["why"].as_str())
}

#[test]
fn each_death_has_its_verdict_and_cause() {
    use By::{Itself, Sent};
    let signal = |name| ("crashed", Some("signal"), Some(name));
    let other = |cause| ("crashed", Some(cause), Some(cause));
    let cases: [(&str, &str, By, Told<'_>); 18] = [
        ("hooks", "panic_abort", Itself, signal("SIGABRT")),
        ("hooks", "abort", Itself, signal("SIGABRT")),
        ("hooks", "segv", Itself, signal("SIGSEGV")),
        ("hooks", "segv_thread", Itself, signal("SIGSEGV")),
        ("hooks", "bus", Itself, signal("SIGBUS")),
        ("hooks", "fpe", Itself, signal("SIGFPE")),
        ("hooks", "overflow_main", Itself, signal("SIGSEGV")),
        ("hooks", "overflow_thread", Itself, signal("SIGSEGV")),
        ("hooks", "two_at_once", Itself, ("crashed", Some("signal"), None)),
        ("hooks", "panic_main", Itself, other("unwound")),
        ("hooks", "wait", Sent(Signal::SIGKILL), other("killed")),
        ("hooks", "wait", Sent(Signal::SIGTERM), other("killed")),
        ("bare", "segv", Itself, other("killed")),
        ("hooks", "exit", Itself, other("exit")),
        ("hooks", "return_leaked", Itself, other("exit")),
        ("hooks", "underscore_exit", Itself, other("killed")),
        ("hooks", "return_dropped", Itself, ("closed", None, None)),
        ("hooks", "exec", Itself, other("exec")),
    ];
    for (hooks, death, by, expected) in cases {
        let folder = tmpfs::folder();
        die(folder.path(), hooks, death, by);
        let region = region(folder.path(), "v");
        let (verdict, cause, why) = told(&region);
        let why = if expected.2.is_some() { why } else { None };
        assert_eq!((verdict, cause, why), expected, "{death} of a victim with {hooks}: {region}");
    }
}

#[test]
fn a_panic_and_its_abort_are_shown_as_one_death() {
    let folder = tmpfs::folder();
    die(folder.path(), "hooks", "panic_abort", By::Itself);
    let show = |args: &[&str]| {
        let mut tacho = Command::new(binary("tacho"));
        let output = tacho.args(["show", "v", "--region-dir"]).arg(folder.path()).args(args).output();
        String::from_utf8(output.expect("tacho runs").stdout).expect("text")
    };
    let text = show(&[]);
    let first = text.lines().next().expect("a first line");
    assert!(
        first.starts_with("v is dead: crashed (panic at ") && first.contains(": no way out; then SIGABRT), "),
        "{first}"
    );
    let json: Value = serde_json::from_str(&show(&["--json"])).expect("JSON");
    let evidence = &json["evidence"];
    assert_eq!(
        (&evidence["fatal"]["name"], &evidence["panics"]["first"]["message"]),
        (&"SIGABRT".into(), &"no way out".into())
    );
    assert_eq!(evidence["fatal"]["thread_id"], evidence["panics"]["first"]["thread_id"]);
}

#[test]
fn panics_that_were_survived_are_counted_and_listed_while_the_process_lives() {
    let folder = tmpfs::folder();
    let mut child = waiting(&mut victim(folder.path(), "hooks", "panics_then_wait"));
    let _calm = tachograph::Region::builder("calm").dir(folder.path()).build().expect("a region");
    assert_eq!(told(&region(folder.path(), "v")), ("running", None, Some("survived 2 panics")));
    assert_eq!(told(&region(folder.path(), "calm")), ("running", None, None));
    let port = free_port();
    let mut serve = Command::new(binary("tacho"));
    serve.arg("serve").arg("--region-dir").arg(folder.path());
    serve.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
    let _serve = Running::start(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    let counts = || -> Vec<String> {
        let body = eventually("a scrape", LIMIT, || get(port, "/metrics").filter(|reply| reply.status == 200)).body;
        let lines = body.lines().filter_map(|line| line.strip_prefix("tacho_region_panics_total"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(counts(), ["{tacho_region=\"calm\"} 0", "{tacho_region=\"v\"} 2"]);
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    assert_eq!(told(&region(folder.path(), "v")), ("crashed", Some("killed"), Some("killed")), "a panic is no cause");
    assert_eq!(counts(), ["{tacho_region=\"calm\"} 0"]);
}

#[test]
fn a_process_that_runs_another_program_is_told_as_exec_and_only_where_it_can_be_seen() {
    let folder = tmpfs::folder();
    let mut child = Running::start(&mut victim(folder.path(), "hooks", "exec_other"));
    let exec = eventually("the other program", LIMIT, || {
        let regions = listed(Command::new(binary("tacho")), folder.path());
        regions.into_iter().find(|region| region["verdict"] == "crashed")
    });
    assert_eq!(told(&exec), ("crashed", Some("exec"), Some("exec")));
    let seen = region_by(in_a_namespace_of_its_own(&binary("tacho")), folder.path(), "v");
    assert_eq!(told(&seen), ("crashed", Some("killed"), Some("killed")), "its pid means nothing there");
    child.signal(Signal::SIGKILL);
    child.wait(LIMIT);
    assert_eq!(told(&region(folder.path(), "v")), ("crashed", Some("killed"), Some("killed")), "nobody noted the exec");
}

/// A command that runs a program as the first process of a pid namespace of its own.
fn in_a_namespace_of_its_own(program: &Path) -> Command {
    assert!(nix::unistd::geteuid().is_root(), "this test makes pid namespaces: run it as root (`sudo ./ci/e2e.sh`)");
    let mut command = Command::new(tool("unshare"));
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(program);
    command
}

#[test]
fn verdicts_are_right_across_pid_namespaces() {
    let folder = tmpfs::folder();
    let mut command = in_a_namespace_of_its_own(&crash_victim());
    command.arg(folder.path()).args(["hooks", "wait"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = waiting(&mut command);
    let alive = region(folder.path(), "v");
    assert_eq!(told(&alive), ("running", None, None));
    assert_eq!(alive["pid"], 1, "a pid that here is another's, which lives");
    let other = region_by(in_a_namespace_of_its_own(&binary("tacho")), folder.path(), "v");
    assert_eq!(told(&other), ("running", None, None), "from a third namespace");
    child.kill().expect("unshare is there, and takes its child along");
    child.wait().expect("it ends");
    let dead = eventually("the death", LIMIT, || {
        Some(region(folder.path(), "v")).filter(|region| region["verdict"] == "crashed")
    });
    assert_eq!(told(&dead), ("crashed", Some("killed"), Some("killed")));

    // A process that replaces itself: its second region tells of it, whatever namespace it was in.
    let folder = tmpfs::folder();
    let mut command = in_a_namespace_of_its_own(&crash_victim());
    command.arg(folder.path()).args(["hooks", "exec"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("it runs").success());
    assert_eq!(told(&region(folder.path(), "v")), ("crashed", Some("exec"), Some("exec")));
}

#[test]
fn a_childs_crash_is_not_its_parents() {
    let folder = tmpfs::folder();
    let mut child = waiting(&mut victim(folder.path(), "hooks", "child_with_region_crashes"));
    assert_eq!(told(&region(folder.path(), "v")), ("running", None, None));
    assert_eq!(told(&region(folder.path(), "child")), ("crashed", Some("signal"), Some("SIGSEGV")));
    child.kill().expect("it is there");
    child.wait().expect("it ends");
    assert_eq!(told(&region(folder.path(), "v")), ("crashed", Some("killed"), Some("killed")));
}

#[test]
fn a_crash_loop_of_fifty_counts_fifty_across_restarts_of_the_exporter() {
    let (folder, ledger) = (tmpfs::folder(), tempfile::tempdir().expect("a folder"));
    let log = ledger.path().join("log");
    let serve = || {
        let port = free_port();
        let mut serve = Command::new(binary("tacho"));
        serve.arg("serve").arg("--region-dir").arg(folder.path()).arg("--recorder.dir").arg(ledger.path());
        serve.arg("--web.listen-address").arg(format!("127.0.0.1:{port}"));
        let log = std::fs::File::options().create(true).append(true).open(&log).expect("a log");
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        (Running::start(&mut serve), port)
    };
    let count = |port: u16| {
        let body = eventually("a scrape", LIMIT, || get(port, "/metrics").filter(|reply| reply.status == 200)).body;
        let counts = body.lines().filter_map(|line| line.strip_prefix("tacho_crashes_total{")?.rsplit_once(' '));
        let count = |what: &str| -> u64 {
            let of = counts.clone().filter(|(labels, _)| labels.contains(what));
            of.map(|(_, count)| count.parse::<u64>().expect("a count")).sum()
        };
        (count(""), count("\"signal\""))
    };
    // Beside the loop stands one that lives: crashes are told apart by region.
    let _alive = tachograph::Region::builder("alive").dir(folder.path()).build().expect("a region");
    let by_region = |port: u16, name: &str| {
        let body = eventually("a scrape", LIMIT, || get(port, "/metrics").filter(|reply| reply.status == 200)).body;
        let series = format!("tacho_region_crashes_total{{tacho_region=\"{name}\"}} ");
        body.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
    };
    let (mut server, port) = serve();
    assert_eq!(count(port), (0, 0));
    assert_eq!((by_region(port, "alive"), by_region(port, "v")), (Some(0), None));
    for death in 0..50 {
        die(folder.path(), "hooks", "segv", By::Itself);
        if death == 9 {
            // Nobody looks for the next 39 deaths, and whoever looked is killed.
            assert!(matches!(count(port), (10, 1..=10)), "{:?}", count(port));
            server.signal(Signal::SIGKILL);
            server.wait(LIMIT);
        }
    }
    let (_server, port) = serve();
    let (all, seen) = count(port);
    assert_eq!(all, 50);
    assert!(seen >= 2, "the first and the newest are there to be looked at");
    assert_eq!(count(port), (all, seen), "a second look");
    let log = std::fs::read_to_string(&log).expect("a log");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("before this exporter looked")).collect();
    assert!(
        !told.is_empty() && told.iter().all(|line| line.contains("region=v") || line.contains("region=\"v\"")),
        "{log}"
    );
    assert_eq!((by_region(port, "alive"), by_region(port, "v")), (Some(0), Some(50)));
}

/// With the recorder and its cases on, and every life recorded: fifty are counted, and of recordings, cases and regions
/// the first and the newest death are what is kept whole.
#[test]
fn of_fifty_recorded_crashes_the_first_and_the_newest_have_their_cases() {
    let (folder, recorder) = (tmpfs::folder(), tempfile::tempdir().expect("a folder"));
    let port = free_port();
    let mut serve = Command::new(binary("tacho"));
    serve.arg("serve").arg("--region-dir").arg(folder.path()).arg("--recorder.dir").arg(recorder.path());
    serve.args(["--recorder.tiers=50ms:10m", "--web.listen-address"]).arg(format!("127.0.0.1:{port}"));
    serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Running::start(&mut serve);
    eventually("the server", LIMIT, || get(port, "/metrics"));
    let names = |of: &str| -> Vec<String> {
        let entries = std::fs::read_dir(recorder.path().join(of)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name != "book")
            .collect();
        names.sort();
        names
    };
    let mut uuids = Vec::new();
    for _ in 0..50 {
        let mut child = waiting(&mut victim(folder.path(), "hooks", "wait"));
        let header = std::fs::read(folder.path().join("v.tacho")).expect("its region");
        // `uuid` of docs/LAYOUT.md, section 3.
        let uuid: String = header[64..80].iter().map(|byte| format!("{byte:02x}")).collect();
        eventually("its recording", LIMIT, || names("blocks").iter().any(|name| name.contains(&uuid)).then_some(()));
        uuids.push(uuid);
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"));
        nix::sys::signal::kill(pid, Signal::SIGKILL).expect("it is there");
        child.wait().expect("it ends");
    }
    let (first, newest) = (&uuids[0], &uuids[49]);
    let book = || std::fs::read_to_string(recorder.path().join("cases/book")).unwrap_or_default();
    eventually("a case of each", LIMIT, || (book().lines().count() == 50).then_some(()));
    let seen = book();
    for uuid in &uuids {
        assert!(seen.contains(uuid.as_str()), "{uuid}: each death had its case, and is not forgotten");
    }
    let cases = eventually("the cases of two", LIMIT, || Some(names("cases")).filter(|cases| cases.len() == 2));
    assert!(cases[0].contains(first.as_str()) && cases[1].contains(newest.as_str()), "{cases:?}");
    for name in &cases {
        let path = recorder.path().join("cases").join(name);
        let output =
            Command::new(binary("tacho")).arg("postmortem").arg(&path).arg("--json").output().expect("it runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(
            (&report["headline"]["verdict"], &report["headline"]["cause"]),
            (&"crashed".into(), &"killed".into())
        );
        let case = case::Case::open(&path).expect("a case");
        let recordings = case.recordings().expect("they are in it");
        let [recorded] = recordings.regions() else { panic!("its own recording only: {recordings:?}") };
        assert!(name.contains(&recorded.origin().uuid), "{name}: {:?}", recorded.origin());
        let mut window = recorded.window(0, u64::MAX);
        let samples = std::iter::from_fn(|| window.next_sample().map(|_| ())).count();
        assert!(samples > 0, "{name}: {recorded:?}, {:?}", window.problems());
    }
    let counted = eventually("the count", LIMIT, || {
        let body = get(port, "/metrics").filter(|reply| reply.status == 200)?.body;
        let counts = body.lines().filter_map(|line| line.strip_prefix("tacho_crashes_total{")?.rsplit_once(' '));
        Some(counts.map(|(_, count)| count.parse::<u64>().expect("a count")).sum::<u64>())
    });
    assert_eq!(counted, 50);
    let archived: Vec<String> = std::fs::read_dir(folder.path().join("archive"))
        .expect("an archive")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let has = |uuid: &str| archived.iter().any(|name| name.contains(uuid));
    assert!(has(first) && !has(newest) && archived.len() <= 5, "{archived:?}");
    drop(server);
}

/// What a copy can't hold is said plainly, by the snapshot and by the report on it; what stands in it, and in a case, is told.
#[test]
fn a_copy_of_the_killed_says_what_it_does_not_know_and_its_case_knows() {
    let folder = tmpfs::folder();
    let tacho = |args: &[&str]| {
        let output = Command::new(binary("tacho")).current_dir(folder.path()).args(args).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        (text, output.status.code())
    };
    let hint = "the copy does not hold that it crashed, or of what: `tacho case` writes a file that does";
    for (by, copies, cause) in [
        (By::Sent(Signal::SIGKILL), ["killed.copy", "killed.cp"], "killed"),
        (By::Sent(Signal::SIGSYS), ["sys.copy", "sys.cp"], "SIGSYS"),
    ] {
        die(folder.path(), "hooks", "wait", by);
        let (said, code) = tacho(&["snapshot", "v", "-o", copies[0], "--region-dir", "."]);
        assert!(said.starts_with("v (crashed): ") && code == Some(0), "{said}");
        assert_eq!(said.contains(hint), cause == "killed", "{said}");
        std::fs::copy(folder.path().join("v.tacho"), folder.path().join(copies[1])).expect("room");
        for copy in copies {
            let (report, code) = tacho(&["postmortem", copy]);
            let unknown = report.contains("Whether its writer was killed, or lives, a copy can't hold");
            assert_eq!((unknown, code), (cause == "killed", Some(i32::from(cause != "killed"))), "{report}");
            assert!(
                report.contains("A case (`tacho case REGION -o FILE`) holds the verdict and the cause"),
                "{report}"
            );
            assert_eq!(report.contains("a copy: died at"), cause != "killed", "{report}");
        }
        let case = format!("{cause}.case.tar.gz");
        assert_eq!(tacho(&["case", "v", "-o", &case, "--region-dir", "."]).1, Some(0));
        let (report, code) = tacho(&["postmortem", &case]);
        assert!(
            report.starts_with("v crashed at ") && report.contains(&format!("({cause})")) && code == Some(1),
            "{report}"
        );
    }
}

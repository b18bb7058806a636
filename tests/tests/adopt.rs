//! A region that continues another process's: other lanes, the facade, no room for both, and the controller under load.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use nix::sys::signal::{Signal, raise};
use tachograph::{BuildError, OnExisting, Region, recorder};
use tachograph_tests::controller::Controller;
use tachograph_tests::exposition::Exposition;
use tachograph_tests::process::{eventually, tacho};
use tachograph_tests::tmpfs::{self, Tmpfs};

const ROLE: &str = "ADOPT_DIR_AND_LANES";

/// Threads of the program, all at once.
const THREADS: u64 = 12;
/// What each of them counts.
const EACH: u64 = 1_000;

/// The program, written for the `metrics` crate: it counts with threads of its own, and kills itself. Does nothing in a
/// run of all tests.
#[test]
#[ignore = "the program's role, started by other tests"]
fn program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (dir, lanes) = role.rsplit_once(' ').expect("a directory and a number");
    let builder = Region::builder("mc").dir(dir).lanes(lanes.parse().expect("a number"));
    let region = builder.on_existing(OnExisting::Adopt).build().expect("a region");
    recorder::install(&region).expect("the first recorder");
    let start = std::sync::Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                for _ in 0..EACH {
                    counter!("jobs", "kind" => "small").increment(1);
                    counter!("jobs", "kind" => format!("k{}", thread % 3)).increment(2);
                    histogram!("job_seconds").record(0.25);
                    gauge!("last_thread").increment(1.0);
                }
            });
        }
    });
    raise(Signal::SIGKILL).expect("a signal to itself");
}

fn run(dir: &Path, lanes: u32) {
    let mut program = Command::new(std::env::current_exe().expect("its own path"));
    program.args(["program", "--exact", "--ignored"]).env(ROLE, format!("{} {lanes}", dir.display()));
    let output = program.stdin(Stdio::null()).output().expect("the program runs");
    use std::os::unix::process::ExitStatusExt;
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32), "{text}");
}

fn show(dir: &Path, region: &str) -> Exposition {
    let shown = tacho(&["show", region, "--format", "prom", "--region-dir", dir.to_str().expect("UTF-8 path")]);
    assert_eq!(shown.status.code(), Some(0), "{}", String::from_utf8_lossy(&shown.stderr));
    Exposition::parse(&String::from_utf8(shown.stdout).expect("text"))
}

fn check(dir: &Path, lives: u64) {
    let shown = show(dir, "mc");
    let all = i128::from(THREADS * EACH * lives);
    assert_eq!(shown.integer(r#"jobs_total{kind="small"}"#), all);
    for kind in 0..3 {
        assert_eq!(shown.integer(&format!("jobs_total{{kind=\"k{kind}\"}}")), all * 2 / 3);
    }
    assert_eq!(shown.integer("job_seconds_count"), all);
    let sum: f64 = shown.values["job_seconds_sum"].parse().expect("a number");
    assert_eq!((sum * 4.0) as i128, all);
    assert_eq!(shown.integer("last_thread"), i128::from(THREADS * EACH), "a level is the last process's own");
}

#[test]
fn the_facade_goes_on_over_more_and_fewer_lanes() {
    let folder = tmpfs::folder();
    // Fewer lanes than threads, many more, fewer again: what was in lanes of their own and in the shared one.
    for (lives, lanes) in (1..).zip([16, 64, 2, 40]) {
        run(folder.path(), lanes);
        check(folder.path(), lives);
    }
}

/// There is no room for two regions: the one before is read, and goes, rather than that the application does not start.
#[test]
fn a_file_system_with_room_for_one_region_does_not_stop_the_count() {
    let tmpfs = Tmpfs::new("5m");
    for lives in 1..4 {
        run(tmpfs.path(), 30);
        check(tmpfs.path(), lives);
        let archived = std::fs::read_dir(tmpfs.path().join("archive")).into_iter().flatten();
        let regions = archived
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|it| it == "tacho")));
        assert_eq!(regions.count(), 0, "there is no room for a second one");
    }
    // One that does not even fit alone is refused, and what is there waits for the next start.
    let large = Region::builder("mc").dir(tmpfs.path()).series(1 << 20).on_existing(OnExisting::Adopt);
    assert!(matches!(large.clone().build(), Err(BuildError::Full { .. })));
    assert!(large.build_or_private().is_private());
    run(tmpfs.path(), 30);
    check(tmpfs.path(), 4);
}

#[test]
fn the_controller_goes_on_after_kill_9_under_load() {
    let folder = tmpfs::folder();
    let load =
        ["--acks", "--adopt", "--meetings", "10", "--connections-per-meeting", "4", "--rate", "5000", "--churn", "50"];
    let mut before: Option<Exposition> = None;
    let mut uuid = serde_json::Value::from("0".repeat(32));
    for life in 0..3_u64 {
        let mut controller =
            Controller::start(folder.path(), "mc-adopt", &[&load[..], &["--seed", &life.to_string()]].concat());
        eventually("the first acks", Duration::from_secs(20), || (controller.lines() > 20).then_some(()));
        controller.process.signal(Signal::SIGKILL);
        assert_eq!(controller.process.wait(Duration::from_secs(10)), None, "it ended by the signal");
        let listed = tacho(&["ls", "--json", "--region-dir", folder.path().to_str().expect("UTF-8 path")]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let region = &listed["regions"][0];
        assert_eq!((&region["predecessor"], &region["restarts"]), (&uuid, &serde_json::Value::from(life)));
        uuid = region["uuid"].clone();
        let shown = show(folder.path(), "mc-adopt");
        let acks = controller.last_acks();
        assert!(acks.values().any(|bounds| bounds.done > 0), "the load was running");
        for (series, bounds) in acks {
            let held = before.as_ref().map_or(0, |before| before.integer(&series));
            let value = shown.integer(&series);
            assert!(
                (held + i128::from(bounds.done)..=held + i128::from(bounds.about)).contains(&value),
                "life {life}: {series} is {value}, held {held}, announced {bounds:?}"
            );
        }
        before = Some(shown);
    }
}

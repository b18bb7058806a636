//! kill -9 of a program that was written for the `metrics` crate: what its macros were given is in the region.
//!
//! The program is this test binary again, in a role.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use nix::sys::signal::Signal;
use tachograph::{Region, recorder};
use tachograph_tests::exposition::Exposition;
use tachograph_tests::process::{Running, tacho, verdict};
use tachograph_tests::tmpfs;

const DIR: &str = "FACADE_KILL_DIR";

/// The program in its role; does nothing in a run of all tests.
#[test]
#[ignore = "the program's role, started by the other test"]
fn program() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let region = Region::builder("facade").dir(dir).build().expect("a region");
    recorder::install(&region).expect("the first recorder");
    let mut out = std::io::stdout();
    for done in 1_u64.. {
        counter!("jobs", "kind" => "small").increment(1);
        counter!("jobs", "kind" => format!("k{}", done % 5)).increment(1);
        histogram!("job_seconds").record(0.25);
        gauge!("last.job").set(done as f64);
        if done.is_multiple_of(100) {
            writeln!(out, "done {done}").expect("the test listens");
        }
    }
}

#[test]
fn what_was_written_before_kill_9_is_in_the_region() {
    let folder = tmpfs::folder();
    let mut command = Command::new(std::env::current_exe().expect("its own path"));
    command.args(["program", "--exact", "--ignored", "--nocapture"]).env(DIR, folder.path()).stdout(Stdio::piped());
    let mut program = Running::start(&mut command);
    let mut lines = BufReader::new(program.0.stdout.take().expect("piped")).lines();
    let mut done = move || {
        let mut told = lines.by_ref().map_while(Result::ok);
        told.find_map(|line| line.strip_prefix("done ").and_then(|done| done.parse::<i128>().ok()))
    };
    let at_work = (0..20).map_while(|_| done()).last().expect("the program is at work");
    program.signal(Signal::SIGKILL);
    assert_eq!(program.wait(Duration::from_secs(10)), None, "it ended by the signal");
    let told = std::iter::from_fn(done).last().unwrap_or(at_work);

    let dir = folder.path().to_str().expect("UTF-8 path");
    assert_eq!(verdict(folder.path(), "facade"), "crashed");
    assert_eq!(tacho(&["verify", "facade", "--region-dir", dir]).status.code(), Some(0));
    let shown = tacho(&["show", "facade", "--format", "prom", "--region-dir", dir]);
    let shown = Exposition::parse(&String::from_utf8(shown.stdout).expect("text"));
    let small = shown.integer(r#"jobs_total{kind="small"}"#);
    assert!((told..told + 200).contains(&small), "told {told}, {small} in the region");
    let others: i128 = (0..5).map(|n| shown.integer(&format!("jobs_total{{kind=\"k{n}\"}}"))).sum();
    assert!((small - 1..=small).contains(&others), "{others} of {small}");
    assert!((others - 1..=others).contains(&shown.integer("job_seconds_count")));
    assert!((others - 2..=others).contains(&shown.integer("last_job")));
    let sum: f64 = shown.values["job_seconds_sum"].parse().expect("a number");
    let count = shown.integer("job_seconds_count") as f64;
    assert!((count - 1.0..=count).contains(&(sum * 4.0)), "each value but the last is in the sum: {sum} of {count}");
}

//! `tacho demo`, as a newcomer runs it.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tachograph_tests::http::{free_port, get};
use tachograph_tests::process::{Running, binary, eventually, tacho};
use tachograph_tests::tmpfs;

#[test]
fn it_ends_by_itself_and_says_where_to_look() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path");
    let address = format!("127.0.0.1:{}", free_port());
    let output = tacho(&["demo", "--for", "2", "--region-dir", dir, "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for wanted in
        [format!("http://{address}/metrics"), "tacho".into(), "show meeting-controller".into(), "kill -9".into()]
    {
        assert!(said.contains(&wanted), "{wanted:?} is not in:\n{said}");
    }
    let listed = tacho(&["ls", "--json", "--region-dir", dir]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["regions"][0]["verdict"], "closed", "the child ended in order: {listed}");
}

#[test]
fn a_port_in_use_and_a_missing_directory_are_clear_errors() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = tacho(&["demo", "--for", "1", "--region-dir", dir, "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--web.listen-address"), "{said}");

    let address = format!("127.0.0.1:{}", free_port());
    let output = tacho(&["demo", "--for", "1", "--region-dir", "/nowhere/at/all", "--web.listen-address", &address]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nowhere/at/all"), "{said}");
}

#[test]
fn a_killed_controller_is_told_and_the_demo_serves_on() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path").to_owned();
    let port = free_port();
    let mut command = Command::new(binary("tacho"));
    command.args(["demo", "--region-dir", &dir, "--web.listen-address", &format!("127.0.0.1:{port}")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut demo = Running::start(&mut command);
    let pid = eventually("the controller's pid", Duration::from_secs(30), || {
        let listed = tacho(&["ls", "--json", "--region-dir", &dir]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
        (listed["regions"][0]["verdict"] == "running").then(|| listed["regions"][0]["pid"].as_i64())?
    });
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("the controller is there");
    let scrape = eventually("region down in a scrape", Duration::from_secs(10), || {
        get(port, "/metrics")
            .filter(|reply| reply.body.contains("tacho_region_up{tacho_region=\"meeting-controller\"} 0"))
    });
    assert!(!scrape.body.contains("mc_meetings_active"), "a dead region's series go at once");
    demo.signal(Signal::SIGTERM);
    assert_eq!(demo.wait(Duration::from_secs(20)), Some(0));
}

#[test]
fn the_controller_ends_with_a_killed_demo() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path").to_owned();
    let mut command = Command::new(binary("tacho"));
    command.args(["demo", "--region-dir", &dir, "--web.listen-address", &format!("127.0.0.1:{}", free_port())]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let demo = Running::start(&mut command);
    let verdict = || {
        let listed = tacho(&["ls", "--json", "--region-dir", &dir]);
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
        listed["regions"][0]["verdict"].as_str().map(str::to_owned)
    };
    eventually("a running controller", Duration::from_secs(30), || (verdict()? == "running").then_some(()));
    demo.signal(Signal::SIGKILL);
    eventually("an orderly end of the controller", Duration::from_secs(20), || (verdict()? == "closed").then_some(()));
}

/// A meeting stalls and its mailbox fills, another one panics, the process aborts; the report names both, message and place,
/// and what stopped first.
#[test]
fn a_crash_is_made_and_told() {
    let folder = tmpfs::folder();
    let dir = folder.path().to_str().expect("UTF-8 path").to_owned();
    let output = tacho(&["demo", "--crash", "--region-dir", &dir, "--web.listen-address", "127.0.0.1:0"]);
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Times, pids, addresses and line breaks differ from run to run; the shape does not.
    let shape = masked(&said);
    let mut rest = shape.as_str();
    for wanted in include_str!("../golden/demo-crash.txt").lines() {
        let found = rest.find(wanted).unwrap_or_else(|| panic!("{wanted:?} is missing, or not in its place:\n{said}"));
        rest = &rest[found + wanted.len()..];
    }

    // Without the recording: what stands in the region alone.
    let output = tacho(&["postmortem", "--json", "--region-dir", &dir, "--recorder.dir", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["died_of"]["signal"]["name"], "SIGABRT");
    let panic = &report["caught_panics"]["entries"][0];
    assert_eq!(
        (&panic["actor"]["type"], &panic["message"]),
        (&"meeting".into(), &"injected fault: meeting panics".into())
    );
    assert!(panic["place"].as_str().expect("a place").contains("examples/meeting-controller/src/"), "{panic}");
    let stuck = report["unfinished"]["entries"].as_array().expect("a list").iter().find(|one| one["state"] == "stuck");
    let stuck = stuck.expect("the stalled meeting");
    assert_eq!((&stuck["type"], &stuck["doing"]), (&"meeting".into(), &"stall".into()));
    assert_eq!((&stuck["mailbox_depth"], &stuck["mailbox_capacity"]), (&500.into(), &500.into()));
    assert!(stuck["busy_ns"].as_u64().expect("a time") > 6_000_000_000, "{stuck}");
    assert_ne!(panic["actor"]["id"], stuck["id"], "another one panicked");
    assert!(report["stopped_first"].is_null(), "that needs the recording");
}

/// A text without what differs from run to run: each number is `#`, and each run of white space one space.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for char in text.split_whitespace().flat_map(|word| word.chars().chain([' '])) {
        match char.is_ascii_digit() {
            true if masked.ends_with('#') => {}
            true => masked.push('#'),
            false => masked.push(char),
        }
    }
    masked
}
